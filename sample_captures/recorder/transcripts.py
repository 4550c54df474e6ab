"""Accounts read from what command-line endpoints print about themselves, and from nginx's log."""

import re

from recorder import names
from recorder.accounts import FINISHED, Account, Trace

_OPENSSL = re.compile(
    r"^(<<<|>>>) [^,]+, (RecordHeader|Handshake|Alert) \[length [0-9a-f]+\].*\n((?:    [0-9a-f ]+\n)+)", re.MULTILINE
)
_OPENSSL_ERROR = re.compile(r"^[0-9A-F]+:(error:.*?):\.\./", re.MULTILINE)
_CURL = re.compile(r"^\* \S+ \((IN|OUT)\), TLS (handshake|alert), .*\((\d+)\):$", re.MULTILINE)
_GNUTLS_SUITE = re.compile(r"Selected cipher suite: (\S+)")
_GNUTLS_VERSION = re.compile(r"Selected version (TLS1\.\d)|Server's version: 3\.(\d)")
_GNUTLS_HANDSHAKE = re.compile(r"HSK\[\w+\]: [A-Z ]+ \((\d+)\) was received|(FINISHED) was queued")
_GNUTLS_ALERT = re.compile(r"REC(?:\[\w+\])?: (Sending )?Alert\[\d\|(\d+)\]")
_GNUTLS_ERROR = re.compile(r"\*\*\* Fatal error: (.*)|Error in handshake: (.*)|Error: (.*)")
_NGINX_DONE = re.compile(r'SSL: (\S+), cipher: "(\S+) ')
_NGINX_ERROR = re.compile(r"SSL_\w+\(\) failed \(SSL: (error:[^)]*)\)")


def openssl(text: str) -> Account:
    """Read what s_client or s_server print with `-msg`."""
    trace = Trace()
    for arrow, kind, dump in _OPENSSL.findall(text):
        body = bytes.fromhex(dump.replace("...", ""))
        {"RecordHeader": trace.record_header, "Handshake": trace.handshake, "Alert": trace.alert}[kind](
            arrow == ">>>", body
        )
    trace.account.handshake_done = bool(trace.account.handshake_done)
    trace.account.error = _first(_OPENSSL_ERROR, text)
    return trace.account


def curl(text: str) -> Account:
    """Read what `curl --verbose` prints; it does not say which alerts were sealed."""
    account = Account(handshake_done=False)
    finished = set()
    for direction, kind, code in _CURL.findall(text):
        sent = direction == "OUT"
        if kind == "alert":
            account.note_alert(sent, int(code) & 0xFF)  # level in the high byte, description in the low one
            continue
        if not sent:
            account.note_received(int(code))
        if int(code) == FINISHED:
            finished.add(sent)
        account.handshake_done = len(finished) == 2
    if chosen := re.search(r"SSL connection using (\S+) / (\S+)", text):
        account.version, account.cipher = names.version(chosen[1]), names.cipher(chosen[2])
    account.alpn = _first(re.compile(r"ALPN: server accepted (\S+)"), text)
    account.error = _first(re.compile(r"^(curl: .*)$", re.MULTILINE), text)
    return account


def gnutls(text: str) -> Account:
    """Read what gnutls-cli or gnutls-serv print with `--debug=5`."""
    account = Account(handshake_done=False)
    account.cipher = names.cipher(_first(_GNUTLS_SUITE, text))
    account.version = _gnutls_version(text, account.cipher)
    finished = set()
    for received, queued in _GNUTLS_HANDSHAKE.findall(text):
        if received:
            account.note_received(int(received))
        if queued or int(received) == FINISHED:
            finished.add(bool(queued))
        account.handshake_done = len(finished) == 2
    if alerts := [alert for alert in _GNUTLS_ALERT.finditer(text) if alert[2] != "0"]:
        account.note_alert(bool(alerts[0][1]), int(alerts[0][2]), _gnutls_sealed(text, alerts[0]))
    account.error = _first(_GNUTLS_ERROR, text)
    return account


def _gnutls_version(text: str, cipher: str | None) -> str | None:
    """Take the version from the suite where it can be: the client logs only the legacy version of a ServerHello."""
    if cipher is None:
        return None
    if "_WITH_" not in cipher:
        return "TLS 1.3"
    match = _GNUTLS_VERSION.search(text)
    if match is None:
        return None
    return names.version(match[1]) if match[1] else names.VERSIONS[0x0300 + int(match[2])]


def _gnutls_sealed(text: str, alert: re.Match[str]) -> bool | None:
    """Epoch 0 is GnuTLS' word for "no keys yet"; a received alert is announced before it is opened."""
    if alert[1]:
        sent = re.search(r"Sent Packet\[\d+\] Alert\(21\) in epoch (\d+)", text[alert.end() :])
        return sent[1] != "0" if sent else None
    received = re.findall(r"SSL 3\.\d (?:Alert|Application Data) packet received\. Epoch (\d+)", text[: alert.start()])
    header = re.findall(r"Received Packet (\w+)[^(]*\(\d+\) with length: (\d+)", text[: alert.start()])
    return header[-1] != ("Alert", "2") if received and header else None


def nginx(log: str) -> Account:
    """Read one connection of nginx's debug log; it tells of alerts received, not of those sent."""
    account = Account(handshake_done=False)
    if done := _NGINX_DONE.search(log):
        account.handshake_done = True
        account.version, account.cipher = names.version(done[1]), names.cipher(done[2])
        account.resumed = "SSL reused session" in log
        account.data_received = "http request line" in log
    account.alpn = _first(re.compile(r"SSL ALPN selected: (\S+)"), log)
    account.error = _first(_NGINX_ERROR, log)
    if received := re.search(r"SSL alert number (\d+)", account.error or ""):
        account.note_alert(False, int(received[1]))
    return account


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return next((group for group in match.groups() if group), None) if match else None
