"""Endpoints on OpenSSL through Python's `ssl`, which report every alert they send and receive.

The account comes from OpenSSL's message callback, which Python exposes as `SSLContext._msg_callback`: it sees records
as headers (so whether one was sealed) and messages as OpenSSL itself wrote or read them.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from recorder import names
from recorder.accounts import ALERT, HANDSHAKE, Account, Trace

RECORD_HEADER = 256  # SSL3_RT_HEADER, OpenSSL's pseudo type for a record header
CLIENT_HELLO, CLIENT_KEY_EXCHANGE = 1, 16
PATIENCE = 10.0  # seconds; nothing on loopback takes so long

Address = tuple[str, int]
ContextFactory = Callable[[], ssl.SSLContext]
STACK = f"Python ssl, {ssl.OPENSSL_VERSION}"
VERSIONS = {
    "TLS 1.0": ssl.TLSVersion.TLSv1,
    "TLS 1.1": ssl.TLSVersion.TLSv1_1,
    "TLS 1.2": ssl.TLSVersion.TLSv1_2,
    "TLS 1.3": ssl.TLSVersion.TLSv1_3,
}


def set_versions(context: ssl.SSLContext, lowest: str, highest: str) -> None:
    """Allow a range of versions; those before TLS 1.2 need OpenSSL's security level 0 (SHA-1 signatures)."""
    if lowest < "TLS 1.2":
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = VERSIONS[lowest], VERSIONS[highest]


def client_context(trust: Path | None, lowest: str = "TLS 1.2", highest: str = "TLS 1.3") -> ssl.SSLContext:
    """Make a client's context; without trust anchors it verifies nothing."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust:
        context.load_verify_locations(trust)
    else:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    set_versions(context, lowest, highest)
    return context


def server_context(chain: Path, lowest: str = "TLS 1.2", highest: str = "TLS 1.3") -> ssl.SSLContext:
    """Make a server's context from a PEM file of leaf, intermediates and key."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    set_versions(context, lowest, highest)
    return context


def refuse(context: ssl.SSLContext, alert: ssl.AlertDescription, ports: Container[int]) -> None:
    """Make a server answer the hellos from some client ports with an alert, through its callback for server names."""
    context.sni_callback = lambda tls, name, _: (
        alert if tls.getpeername()[1] in ports else None  # type: ignore[attr-defined]
    )


def watch(context: ssl.SSLContext, on_received: Callable[[int], None] = lambda kind: None) -> Account:
    """Listen to the one connection that will be made with this context; the account fills while it runs."""
    trace = Trace()

    def message(_: Any, direction: str, version: int, content: int, kind: int, data: bytes) -> None:
        sent = direction == "write"
        if content == RECORD_HEADER:
            trace.record_header(sent, data)
        elif content == ALERT:
            trace.alert(sent, data)
        elif content == HANDSHAKE:
            trace.handshake(sent, data)
            if not sent:
                on_received(data[0])

    setattr(context, "_msg_callback", message)  # noqa: B010 - private, so unknown to type checkers
    return trace.account


def note_done(account: Account, tls: ssl.SSLSocket) -> None:
    """Write down what the API says of a finished handshake."""
    chosen = tls.cipher()
    account.handshake_done = True
    account.version = names.version(tls.version())
    account.cipher = names.cipher(chosen[0] if chosen else None)
    account.alpn = tls.selected_alpn_protocol()
    account.resumed = tls.session_reused


def error_text(error: BaseException) -> str:
    """Return an error as its reader would see it, without the line number of Python's source."""
    return f"{type(error).__name__}: {error}".split(" (_ssl.c")[0]


@dataclass(frozen=True)
class Client:
    """Makes one HTTP request over TLS per connection and says goodbye properly."""

    make_context: ContextFactory
    offered: str
    stack: str = STACK

    def connect(self, source: Address, target: Address, sni: str | None) -> Account:
        """Connect from a given address and return the client's account."""
        context = self.make_context()
        account = watch(context)
        with connected(source, target) as plain:
            try:
                with context.wrap_socket(plain, server_hostname=sni, do_handshake_on_connect=False) as tls:
                    tls.do_handshake()
                    note_done(account, tls)
                    _converse(tls, account, sni or target[0])
            except OSError as error:
                account.handshake_done = bool(account.handshake_done)
                account.error = error_text(error)
        return account


def _converse(tls: ssl.SSLSocket, account: Account, host: str) -> None:
    tls.sendall(request(host))
    account.data_received = bool(tls.recv(16384))
    if not account.data_received:
        raise ConnectionError("closed without an answer")
    tls.unwrap()


def request(host: str, path: str = "/v1/orders") -> bytes:
    """Return the HTTP request of every client that does not write its own."""
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: */*\r\nConnection: close\r\n\r\n".encode()


def connected(source: Address, target: Address) -> socket.socket:
    """Connect by TCP from a given address."""
    connection = socket.socket(socket.AF_INET6 if ":" in target[0] else socket.AF_INET)
    connection.settimeout(PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.bind(source)
    connection.connect(target)
    return connection


@dataclass
class Server:
    """A small HTTP server over TLS in a thread of its own; it keeps its account of every client.

    `think` gives the seconds that the server takes before each flight of the handshake, as a server far busier than
    this one would. `preface` says what comes before TLS, and whether TLS comes at all.
    """

    address: Address
    make_context: ContextFactory
    body: bytes = b'{"status":"ok"}'
    think: Callable[[], float] = lambda: 0.0
    preface: Callable[[socket.socket], bool] = lambda plain: True
    stack: str = STACK
    _accounts: dict[Address, Account] = field(default_factory=dict)
    _told: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        """Listen and serve until the end of the block."""
        family = socket.AF_INET6 if ":" in self.address[0] else socket.AF_INET
        self._listener = socket.create_server(self.address, family=family)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening, which ends the thread."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def account_of(self, client: Address) -> Account:
        """Return the account of a client's connection as soon as that is over."""
        with self._told:
            if not self._told.wait_for(lambda: client in self._accounts, PATIENCE):
                raise TimeoutError(f"the server never finished with {client}")
            return self._accounts[client]

    def _serve(self) -> None:
        while True:
            try:
                plain, peer = self._listener.accept()
            except OSError:  # closed: the recording is over
                return
            account = self._converse(plain)
            with self._told:
                self._accounts[peer[:2]] = account
                self._told.notify_all()

    def _converse(self, plain: socket.socket) -> Account:
        plain.settimeout(PATIENCE)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = self.make_context()
        account = watch(context, self._take_time)
        try:
            if not self.preface(plain):
                return Account()
            with context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as tls:
                self._answer(tls, account)
        except OSError as error:
            account.handshake_done = bool(account.handshake_done)
            account.error = error_text(error)
        finally:
            plain.close()
        return account

    def _answer(self, tls: ssl.SSLSocket, account: Account) -> None:
        try:
            tls.do_handshake()
        except OSError:
            _drain(tls)
            raise
        note_done(account, tls)
        account.data_received = bool(tls.recv(16384))
        if account.data_received:
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(self.body)}\r\n\r\n"
            tls.sendall(head.encode() + self.body)
        tls.unwrap()

    def _take_time(self, handshake_type: int) -> None:
        if handshake_type in (CLIENT_HELLO, CLIENT_KEY_EXCHANGE):
            time.sleep(self.think())


def _drain(tls: ssl.SSLSocket) -> None:
    """Close in peace after a refusal: a close with unread data would reset and could overtake the alert."""
    try:
        tls.shutdown(socket.SHUT_WR)
        while socket.socket.recv(tls, 16384):
            pass
    except OSError:
        pass
