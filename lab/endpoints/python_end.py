"""An endpoint on Python's `ssl`, or on rustls behind the same interface.

OpenSSL's alerts are known from its message callback.
Settings are key=value arguments; each connection gives one line of JSON, as endpoint.h describes.
"""

import importlib
import json
import signal
import socket
import sys
from typing import Any

settings = dict(argument.split("=", 1) for argument in sys.argv[1:])
ssl: Any = importlib.import_module(
    settings.get("module", "ssl")
)  # or rtls, which offers rustls behind the same interface
ALERT = 21
CIPHERS = {"aes128": "ECDHE+AES128+AESGCM", "aes256": "ECDHE+AES256+AESGCM", "chacha": "ECDHE+CHACHA20",
           "cbc": "ECDHE+AES128+SHA1", "ccm8": "ECDHE-ECDSA-AES128-CCM8"}  # fmt: skip
GROUPS = {"P-256": "prime256v1", "P-384": "secp384r1", "X25519": "X25519"}
VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip
AUTH = {"none": ssl.CERT_NONE, "request": ssl.CERT_OPTIONAL, "require": ssl.CERT_REQUIRED}
REFUSALS = {"internal_error": 80, "unrecognized_name": 112}
account: dict[str, Any] = {}


def note(_: Any, direction: str, _version: Any, content: int, _kind: Any, data: bytes) -> None:
    """Keep the alerts that OpenSSL reports."""
    if content == ALERT and data[1] != 0:
        account["alert_sent" if direction == "write" else "alert_received"] = data[1]


def context(is_client: bool) -> ssl.SSLContext:
    """Make the context that the settings describe."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if is_client else ssl.PROTOCOL_TLS_SERVER)
    old = settings.get("min", "1.2") < "1.2"
    level = ":@SECLEVEL=0" if old else ""
    made.set_ciphers(CIPHERS.get(settings.get("ciphers", ""), "ALL" if old else "DEFAULT") + level)
    made.minimum_version, made.maximum_version = (
        VERSIONS[settings.get(k, d)] for k, d in (("min", "1.2"), ("max", "1.3"))
    )
    if settings.get("ca"):
        made.load_verify_locations(settings["ca"])
    if settings.get("cert"):
        made.load_cert_chain(settings["cert"], settings["key"])
    if settings.get("alpn"):
        made.set_alpn_protocols([settings["alpn"]])
    if settings.get("groups"):
        made.set_ecdh_curve(GROUPS[settings["groups"]])
    if settings.get("tickets") == "0":
        made.options |= ssl.OP_NO_TICKET
        if not is_client:
            made.num_tickets = 0
    if settings.get("keylog"):
        made.keylog_filename = settings["keylog"]
    if is_client:
        made.check_hostname = settings.get("verify") == "1"
        made.verify_mode = ssl.CERT_REQUIRED if settings.get("verify") == "1" else ssl.CERT_NONE
    else:
        made.verify_mode = AUTH[settings.get("auth", "none")]
    if settings.get("alert"):
        made.sni_callback = lambda *_: ssl.AlertDescription(REFUSALS[settings["alert"]])
    setattr(made, "_msg_callback", note)  # noqa: B010 - private, so unknown to type checkers
    return made


def talk(tls: ssl.SSLSocket, is_client: bool) -> None:
    """Have the short conversation of endpoint.h."""
    first = settings.get("first") == "1"
    if is_client:
        if settings.get("leave") == "1":
            return
        if first:
            account["got"] += len(tls.recv(4096))
        tls.sendall(b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n")
        while data := tls.recv(4096):
            account["got"] += len(data)
        return
    if first:
        tls.sendall(b"220 lab ready\r\n")
    data = tls.recv(4096)
    account["got"] += len(data)
    if data:
        tls.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n")


def connection(plain: socket.socket, made: ssl.SSLContext, is_client: bool, peer: int, session: Any = None) -> Any:
    """Follow one connection to its end and print the account."""
    account.clear()
    account.update(peer=peer, done=False, got=0)
    plain.settimeout(float(settings.get("wait", "8")))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = None
    try:
        names = {"server_hostname": settings.get("sni") or None} if is_client else {}
        names |= {"session": session} if session else {}
        tls = made.wrap_socket(plain, server_side=not is_client, do_handshake_on_connect=False, **names)
        tls.do_handshake()
        account.update(done=True, version=tls.version(), resumed=getattr(tls, "session_reused", None))
        talk(tls, is_client)
        session = getattr(tls, "session", None) if is_client else None
        tls.settimeout(1)
        plain = tls.unwrap()
    except (OSError, ValueError) as error:
        account["error"] = f"{type(error).__name__}: {error}"
    (tls or plain).close()
    plain.close()
    print(json.dumps(account), flush=True)
    return session


def main() -> None:
    """Be a client or a server."""
    is_client = settings["role"] == "client"
    made, port = context(is_client), int(settings["port"])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if is_client:
        session = None
        for turn in range(2 if settings.get("again") == "1" else 1):
            local = int(settings["local"]) + turn
            plain = socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.1", local))
            session = connection(plain, made, True, local, session)
        return
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        plain, peer = listener.accept()
        connection(plain, made, False, peer[1])


main()
