"""Accounts read from what command-line endpoints print about themselves, and from nginx's log."""

import re

from recorder import names
from recorder.accounts import FINISHED, Account, Trace

_OPENSSL = re.compile(
    r"^(<<<|>>>) [^,]+, (RecordHeader|Handshake|Alert) \[length [0-9a-f]+\].*\n((?:    [0-9a-f ]+\n)+)", re.MULTILINE
)
_OPENSSL_ERROR = re.compile(r"^[0-9A-F]+:(error:.*?):\.\./", re.MULTILINE)
# One block of curl's trace: the line that names a message, which a record header has not, and the dump that follows.
_CURL = re.compile(
    r"(?:^== Info: \S+ \((?:IN|OUT)\), TLS (handshake|alert), .*\n)?"
    r"^(=> Send|<= Recv) SSL data, (\d+) bytes.*\n((?:[0-9a-f]{4}: .*\n)+)",
    re.MULTILINE,
)
_GNUTLS_SUITE = re.compile(r"Selected cipher suite: (\S+)")
_GNUTLS_VERSION = re.compile(r"Selected version (TLS1\.\d)|Server's version: 3\.(\d)")
_GNUTLS_HANDSHAKE = re.compile(r"HSK\[\w+\]: [A-Z ]+ \((\d+)\) was received|(FINISHED) was queued")
_GNUTLS_ALERT = re.compile(r"REC(?:\[\w+\])?: (Sending )?Alert\[\d\|(\d+)\]")
_GNUTLS_ERROR = re.compile(r"\*\*\* Fatal error: (.*)|Error in handshake: (.*)|Error: (.*)")
_NGINX_DONE = re.compile(r'SSL: (\S+), cipher: "(\S+) ')
_NGINX_ERROR = re.compile(r"SSL_\w+\(\) failed \(SSL: (error:[^)]*)\)|(client sent .*?) while")


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
    if summary := re.search(r"^(New|Reused), (?!\(NONE\))", text, re.MULTILINE):
        trace.account.resumed = summary[1] == "Reused"
    return trace.account


def curl(text: str) -> Account:
    """Read what `curl --trace -` prints of OpenSSL's messages."""
    trace = Trace()
    for kind, arrow, length, dump in _CURL.findall(text):
        sent, body = arrow == "=> Send", _curl_bytes(dump)
        if kind == "handshake":
            trace.handshake(sent, body)
        elif kind == "alert":
            trace.alert(sent, body)
        elif length == "5":
            trace.record_header(sent, body)
    account = trace.account
    account.handshake_done = bool(account.handshake_done)
    account.data_received = "<= Recv data" in text
    account.alpn = _first(re.compile(r"ALPN: server accepted (\S+)"), text)
    account.error = _first(re.compile(r"^(curl: .*)$", re.MULTILINE), text)
    return account


def _curl_bytes(dump: str) -> bytes:
    """Sixteen bytes a line, after the offset and before the same in ASCII."""
    return b"".join(bytes.fromhex(line[6:54]) for line in dump.splitlines())


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
