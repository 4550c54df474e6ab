"""TLS that begins in the middle: mail, news, chat, directories and databases by STARTTLS, and the web through proxies.

Clients are real (s_client, curl, Python's mail and file clients); the servers speak their half of the dialogue as the
script beside each name says, and then TLS. A proxy and the server behind it are one.
"""

import ftplib
import imaplib
import poplib
import smtplib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from recorder import python_tls
from recorder.accounts import Account
from recorder.bench import Address, Bench
from recorder.commands import Curl, SClient
from recorder.pki import Leaf

CLIENT = "10.60.0.5"
SERVER = "10.60.0.10"
NAME = "services.example"
ADDRESSES = (CLIENT, SERVER)

Script = tuple[tuple[bytes, bytes], ...]  # what the client's words end with (b"" to speak first), and the reply

EHLO = ((b"", b"220 mx.services.example ESMTP\r\n"),
        (b"\r\n", b"250-mx.services.example\r\n250-SIZE 35882577\r\n250 STARTTLS\r\n"))  # fmt: skip
MYSQL_GREETING = (
    bytes.fromhex("4a0000000a") + b"8.0.28\0" + bytes.fromhex("13000000") + b"saltsalt\0"
    + bytes.fromhex("ffff210200ffff15") + bytes(10) + b"saltsaltsalt\0" + b"mysql_native_password\0"
)  # fmt: skip
LDAP_OID = b"1.3.6.1.4.1.1466.20037"
SOCKS_DONE = bytes.fromhex("0500000100000000 0000")

# name -> port, the server's half, s_client's name for it
STARTTLS: dict[str, tuple[int, Script, str]] = {
    "smtp": (587, (*EHLO, (b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")), "smtp"),
    "smtp (lmtp)": (24, (*EHLO, (b"STARTTLS\r\n", b"220 2.0.0 Ready to start TLS\r\n")), "lmtp"),
    "imap": (143, ((b"", b"* OK [CAPABILITY IMAP4rev1 STARTTLS] ready\r\n"),
                   (b"CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\n. OK done\r\n"),
                   (b"STARTTLS\r\n", b". OK Begin TLS negotiation now\r\n")), "imap"),
    "pop3": (110, ((b"", b"+OK ready\r\n"), (b"STLS\r\n", b"+OK Begin TLS negotiation now\r\n")), "pop3"),
    "ftp": (21, ((b"", b"220 (vsFTPd 3.0.5)\r\n"), (b"AUTH TLS\r\n", b"234 Proceed with negotiation.\r\n")), "ftp"),
    "xmpp": (5222, ((b">", b"<?xml version='1.0'?><stream:stream xmlns='jabber:client' "
                     b"xmlns:stream='http://etherx.jabber.org/streams' id='1' from='services.example' version='1.0'>"
                     b"<stream:features><starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
                     b"</stream:features>"),
                    (b"/>", b"<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")), "xmpp"),
    "ldap": (389, ((LDAP_OID, bytes.fromhex("300c02010178070a010004000400")),), "ldap"),
    "postgresql": (5432, ((b"\x04\xd2\x16\x2f", b"S"),), "postgres"),
    "mysql": (3306, ((b"", MYSQL_GREETING), (bytes(23), b"")), "mysql"),
    "irc": (6667, ((b"STARTTLS\r\n", b":irc.services.example 670 * :STARTTLS successful, go ahead\r\n"),), "irc"),
    "nntp": (119, ((b"", b"200 news.services.example ready\r\n"),
                   (b"CAPABILITIES\r\n", b"101 Capability list:\r\nVERSION 2\r\nSTARTTLS\r\n.\r\n"),
                   (b"STARTTLS\r\n", b"382 Continue with TLS negotiation\r\n")), "nntp"),
    "sieve": (4190, ((b"", b'"IMPLEMENTATION" "Example"\r\n"SIEVE" "fileinto"\r\n"STARTTLS"\r\nOK "ready."\r\n'),
                     (b"STARTTLS\r\n", b'OK "Begin TLS negotiation now."\r\n')), "sieve"),
}  # fmt: skip
# name -> port, the proxy's half, curl's scheme for it. Not port 1080: there, Wireshark's SOCKS dissector counts what a
# SOCKS 4 proxy carries as one more conversation, which no packet belongs to.
PROXIES: dict[str, tuple[int, Script, str]] = {
    "connect": (3128, ((b"\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n"),), "http"),
    "connect after a question": (3129, (
        (b"\r\n\r\n", b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="a"\r\n'
                      b"Content-Length: 0\r\n\r\n"),
        (b"\r\n\r\n", b"HTTP/1.1 200 Connection established\r\n\r\n")), "http"),
    "socks4": (9050, ((socket.inet_aton(SERVER) + b"\0", b"\0\x5a" + bytes(6)),), "socks4"),
    "socks4 (4a)": (1081, ((b"services.example\0", b"\0\x5a" + bytes(6)),), "socks4a"),
    "socks5": (1082, ((b"\x05\x02\x00\x01", b"\x05\0"), (b"\x01\xbb", SOCKS_DONE)), "socks5"),
    "socks5 (name)": (1083, ((b"\x05\x02\x00\x01", b"\x05\0"), (b"\x01\xbb", SOCKS_DONE)), "socks5h"),
}  # fmt: skip
REFUSED: dict[str, tuple[int, Script]] = {
    "smtp": (25, (*EHLO, (b"STARTTLS\r\n", b"454 4.7.0 TLS not available due to temporary reason\r\n"),
                  (b"\r\n", b"221 2.0.0 Bye\r\n"))),
    "imap": (1143, ((b"", b"* OK IMAP4rev1 ready\r\n"),
                    (b"CAPABILITY\r\n", b"* CAPABILITY IMAP4rev1 STARTTLS\r\nTAG OK done\r\n"),
                    (b"STARTTLS\r\n", b"TAG NO TLS is not available\r\n"))),
    "pop3": (1110, ((b"", b"+OK ready\r\n"), (b"CAPA\r\n", b"+OK\r\nSTLS\r\n.\r\n"),
                    (b"STLS\r\n", b"-ERR TLS is not available\r\n"))),
    "ftp": (2121, ((b"", b"220 ready\r\n"), (b"AUTH TLS\r\n", b"502 Command not implemented.\r\n"))),
    "connect": (3130, ((b"\r\n\r\n", b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"),)),
    "socks5": (1084, ((b"\x05\x02\x00\x01", b"\x05\0"), (b"\x01\xbb", bytes.fromhex("05020001000000000000")))),
}  # fmt: skip


def run(bench: Bench) -> None:
    """Record one connection by each protocol, then through each proxy, then those that are refused."""
    root = bench.pki.root("Services Trust")
    credential = bench.pki.issue("services", Leaf(NAME), bench.pki.intermediate(root, "Services Trust"))
    trust = bench.pki.trust("services-root", root)
    context = partial(python_tls.server_context, credential.chain)
    for label, (port, script, name) in STARTTLS.items():
        client = SClient(("-CAfile", str(trust), "-name", NAME, "-starttls", name))
        with python_tls.Server((SERVER, port), context, preface=partial(_speak, script)) as server:
            bench.meet(label, client, CLIENT, server, NAME)
    for label, (port, script, scheme) in PROXIES.items():
        with python_tls.Server((SERVER, port), context, preface=partial(_speak, script)) as server:
            bench.meet(label, _through(scheme, port, "--cacert", str(trust)), CLIENT, server, NAME)
    with python_tls.Server((SERVER, 443), context, preface=partial(_speak, ((b"\r\n", b""),))) as server:
        client = Curl(("--haproxy-protocol", "--cacert", str(trust)))
        bench.meet("none (PROXY protocol)", client, CLIENT, server, NAME)
    for label, (port, script) in REFUSED.items():
        with python_tls.Server((SERVER, port), context, preface=partial(_speak, script, refuses=True)) as server:
            bench.meet_without_tls(f"{label}, refused", _refused(label, port), CLIENT, server, NAME)


def _speak(script: Script, plain: socket.socket, refuses: bool = False) -> bool:
    """Speak the server's half of a dialogue; tell whether TLS comes behind it."""
    heard = b""
    for awaited, reply in script:
        heard = b""
        while not heard.endswith(awaited):
            heard += plain.recv(1)
            if not heard:
                return False
        tag = heard.split(b" ")[0]
        plain.sendall(reply.replace(b"TAG", tag))
    while refuses and plain.recv(4096):  # until the client gives up
        pass
    return not refuses


def _through(scheme: str, port: int, *arguments: str) -> Curl:
    """Send curl by way of a proxy; the page that it asks for is on the usual port."""
    asked = port == PROXIES["connect after a question"][0]
    user = ("--proxy-anyauth", "--proxy-user", "user:password") if asked else ()
    return Curl(("--proxy", f"{scheme}://{SERVER}:{port}", *user, *arguments), port=443)


@dataclass(frozen=True)
class Asking:
    """A client of Python's library that asks for TLS and gives up when it is refused."""

    ask: Callable[[Address, Address], object]
    stack: str
    offered: str = ""

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Ask from a given address."""
        try:
            self.ask(source, target)
        except (smtplib.SMTPException, imaplib.IMAP4.error, poplib.error_proto, *ftplib.all_errors) as error:
            return Account(error=python_tls.error_text(error))
        raise RuntimeError(f"{self.stack} was not refused")


def _refused(label: str, port: int) -> "Asking | Curl":
    if label == "smtp":
        return Asking(_ask_smtp, "Python smtplib")
    if label == "imap":
        return Asking(_ask_imap, "Python imaplib")
    if label == "pop3":
        return Asking(_ask_pop3, "Python poplib")
    if label == "ftp":
        return Asking(_ask_ftp, "Python ftplib")
    return _through({"connect": "http", "socks5": "socks5h"}[label], port)


def _ask_smtp(source: Address, target: Address) -> None:
    with smtplib.SMTP(*target, source_address=source, timeout=python_tls.PATIENCE) as client:
        code, answer = client.starttls()
        if code != 220:
            raise smtplib.SMTPResponseException(code, answer)


def _ask_imap(source: Address, target: Address) -> None:
    class Client(imaplib.IMAP4):
        def _create_socket(self, timeout: float | None) -> socket.socket:  # type: ignore[override]
            return python_tls.connected(source, target)

    client = Client(*target)
    try:
        client.starttls()
    finally:
        client.shutdown()


def _ask_pop3(source: Address, target: Address) -> None:
    class Client(poplib.POP3):
        def _create_socket(self, timeout: float) -> socket.socket:
            return python_tls.connected(source, target)

    client = Client(*target)
    try:
        client.stls()
    finally:
        client.close()


def _ask_ftp(source: Address, target: Address) -> None:
    client = ftplib.FTP_TLS(timeout=python_tls.PATIENCE)
    try:
        client.connect(*target, source_address=source)
        client.auth()
    finally:
        client.close()
