"""An endpoint on tlslite-ng, TLS written in Python. Settings as in endpoint.h."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

from tlslite.api import HandshakeSettings, SessionCache, TLSConnection, X509CertChain, parsePEMKey
from tlslite.errors import TLSLocalAlert, TLSRemoteAlert
from tlslite.utils.cryptomath import getRandomBytes

settings = dict(argument.split("=", 1) for argument in sys.argv[1:])
VERSIONS = {"1.0": (3, 1), "1.1": (3, 2), "1.2": (3, 3), "1.3": (3, 4)}
CIPHERS = {"aes128": "aes128gcm", "aes256": "aes256gcm", "chacha": "chacha20-poly1305", "cbc": "aes128",
           "ccm8": "aes128ccm_8"}  # fmt: skip
GROUPS = {"P-256": "secp256r1", "P-384": "secp384r1", "X25519": "x25519"}


def made_settings() -> HandshakeSettings:
    """Translate the settings."""
    made = HandshakeSettings()
    made.minVersion, made.maxVersion = VERSIONS[settings.get("min", "1.2")], VERSIONS[settings.get("max", "1.3")]
    if settings.get("ciphers"):
        made.cipherNames = [CIPHERS[settings["ciphers"]]]
    if settings.get("groups"):
        made.eccCurves, made.keyShares = [GROUPS[settings["groups"]]], [GROUPS[settings["groups"]]]
    if settings["role"] == "server" and settings.get("tickets") != "0":
        made.ticketKeys = [getRandomBytes(32)]
    if settings.get("tickets") == "0":
        made.ticket_count = 0
    return made


def credentials() -> dict[str, Any]:
    """Load the certificate and its key."""
    if not settings.get("cert"):
        return {}
    chain = X509CertChain()
    chain.parsePemList(Path(settings["cert"]).read_text())
    return {"certChain": chain, "privateKey": parsePEMKey(Path(settings["key"]).read_text(), private=True)}


def handshake(tls: TLSConnection, shared: dict[str, Any], session: Any) -> None:
    """Shake hands; tlslite knows no trust anchors, so that a client takes any certificate and a server any client's."""
    alpn = [settings["alpn"].encode()] if settings.get("alpn") else None
    if settings["role"] == "client":
        tls.handshakeClientCert(
            **shared["credentials"],
            session=session,
            settings=shared["settings"],
            serverName=settings.get("sni"),
            alpn=alpn,
        )
        return
    asked = settings.get("auth", "none") != "none"
    name = b"nobody.example" if settings.get("alert", "").startswith("unrecognized") else None
    tls.handshakeServer(
        **shared["credentials"],
        sessionCache=shared["cache"],
        settings=shared["settings"],
        reqCert=asked,
        alpn=alpn,
        sni=name,
    )


def talk(tls: TLSConnection, account: dict[str, Any]) -> None:
    """Have the short conversation of endpoint.h."""
    first = settings.get("first") == "1"
    if settings["role"] == "client":
        if settings.get("leave") == "1":
            return
        account["got"] += len(tls.recv(4096)) if first else 0
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


def connection(plain: socket.socket, peer: int, shared: dict[str, Any], session: Any = None) -> Any:
    """Follow one connection to its end and print the account."""
    account: dict[str, Any] = {"peer": peer, "done": False, "got": 0}
    plain.settimeout(float(settings.get("wait", "8")))
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    tls = TLSConnection(plain)
    tls.ignoreAbruptClose = True
    try:
        handshake(tls, shared, session)
        account.update(done=True, version=tls.getVersionName(), resumed=bool(tls.resumed))
        talk(tls, account)
    except TLSLocalAlert as alert:
        account.update(error=str(alert), alert_sent=alert.description)
    except TLSRemoteAlert as alert:
        account.update(error=str(alert), alert_received=alert.description)
    except Exception as error:
        account["error"] = f"{type(error).__name__}: {error}"
    try:
        tls.close()
    except Exception as error:
        account.setdefault("error", f"closing: {type(error).__name__}")
    plain.close()
    print(json.dumps(account), flush=True)
    return tls.session


def main() -> None:
    """Be a client or a server."""
    shared = {"settings": made_settings(), "credentials": credentials(), "cache": SessionCache()}
    port = int(settings["port"])
    if settings["role"] == "client":
        session = None
        for turn in range(2 if settings.get("again") == "1" else 1):
            local = int(settings["local"]) + turn
            plain = socket.create_connection(("127.0.0.1", port), 5, ("127.0.0.1", local))
            session = connection(plain, local, shared, session)
        return
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        plain, peer = listener.accept()
        connection(plain, peer[1], shared)


main()
