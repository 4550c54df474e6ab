"""What is known of one handshake: an account that grows while the connection is followed. Facts only, no verdict."""

from dataclasses import dataclass, field
from typing import NamedTuple

from tlspcap.tls import figures, ssl2
from tlspcap.tls.ciphers import Suite
from tlspcap.tls.messages import CertificateRequest, ClientHello, EncryptedExtensions, ServerHello, ServerKeyExchange
from tlspcap.tls.names import is_tls13
from tlspcap.tls.records import Record, Stray
from tlspcap.transport import Closed, Conversation, Data, Gap

CLIENT, SERVER = figures.CLIENT, figures.SERVER


class SeenRecord(NamedTuple):
    """One record with its sender's role; `sealed` says that its content is encrypted."""

    record: Record
    sender: str
    sealed: bool


class SeenMessage(NamedTuple):
    """One handshake message, ChangeCipherSpec, alert, or first application data of a side."""

    data: Data  # the packet that carries its first byte
    sender: str
    name: str
    length: int
    version: int


class SeenAlert(NamedTuple):
    """One alert; level and code are None where it is sealed and no key opened it."""

    data: Data
    sender: str
    level: int | None
    code: int | None
    position: int  # records seen before it, of both sides: what came later is behind this
    decrypted: bool = False  # it was sealed, and keys opened it


class Opened(NamedTuple):
    """What a sealed record held, as keys showed."""

    content_type: int
    names: tuple[str, ...]  # of its messages and alerts; empty where a message goes on in the next record


class Oddity(NamedTuple):
    """Something for the `notes` table."""

    kind: str
    data: Data | Gap | Closed
    detail: str


@dataclass(slots=True)
class Ssl2Account:
    """What else is known of a conversation that begins with a hello of SSL 2.0."""

    goes_on: bool = False  # as SSL 2.0; else what follows the hello, as far as it was seen, is SSL 3.0 or TLS
    challenge: int = 0  # length of the client's challenge; 0 where its hello was not seen
    server_hello: ssl2.ServerHello | None = None


@dataclass(slots=True)
class SideAccount:
    """What one side, client or server, was seen to send."""

    number: int  # of the side in its conversation
    state: figures.State = figures.TABLE.start
    steps: list[str] = field(default_factory=list)  # handshake messages in clear, by name, and "finished"
    change_cipher_spec: Record | None = None
    rekeyed: bool = False  # another ChangeCipherSpec came: up to TLS 1.2, of a further handshake (RFC 5246 7.4.1)
    # SSL 3.0 to TLS 1.2: the first handshake record behind the ChangeCipherSpec; TLS 1.3: where keys showed it
    finished: Record | None = None
    sealed: list[Record] = field(default_factory=list)  # TLS 1.3: sealed records behind the ServerHello
    early: list[Record] = field(default_factory=list)  # the client's sealed records before the ServerHello
    application: Record | None = None  # the first application data; in TLS 1.3 where keys showed it
    opened: dict[int, Opened] = field(default_factory=dict)  # sealed records that keys opened, by their `end`
    sealed_alerts: list[SeenAlert] = field(default_factory=list)
    after: int = 0  # records since its Finished (1.3: since the ServerHello)
    bytes_after: int = 0  # their content, on the wire
    gaps: list[Gap] = field(default_factory=list)
    closed: Closed | None = None


@dataclass(slots=True)
class Account:
    """All that was seen of one handshake."""

    conversation: Conversation
    client: SideAccount
    server: SideAccount
    hello_first: Data  # the packet that carries the first byte of the row's hello
    starttls: str | None = "none"  # the protocol that was spoken before it; None where it is not known
    ordinal: int = 0  # handshakes of the same conversation before it
    hello: ClientHello | None = None  # the first one
    second_hello: ClientHello | None = None  # the one behind a HelloRetryRequest
    hello_last: Data | None = None  # the packet that completed the first ClientHello
    retry: ServerHello | None = None
    server_hello: ServerHello | None = None
    server_hello_first: Data | None = None  # the packet that carries the first byte of the ServerHello
    answer: Data | None = None  # the server's first packet behind the ClientHello
    suite: Suite | None = None
    chain: tuple[bytes, ...] | None = None
    client_chain: tuple[bytes, ...] | None = None
    certificate_request: CertificateRequest | None = None
    encrypted_extensions: EncryptedExtensions | None = None  # this and the next: where keys showed them
    server_signature: int | None = None  # TLS 1.3: scheme of the server's CertificateVerify
    key_exchange: ServerKeyExchange | None = None
    stapled: bool = False
    ticket_issued: bool = False  # a NewSessionTicket in clear
    records: list[SeenRecord] = field(default_factory=list)
    messages: list[SeenMessage] = field(default_factory=list)
    alerts: list[SeenAlert] = field(default_factory=list)  # in clear, and those that keys opened
    history: list[tuple[str, int]] = field(default_factory=list)  # letter, ns
    turns: list[tuple[int, int]] = field(default_factory=list)  # (ns, side) of every packet with data
    ssl2: Ssl2Account | None = None  # where the first hello has the form of SSL 2.0
    greeting: Data | None = None  # what the server said before the hello, though nobody had asked for TLS
    stray: Stray | None = None  # the first bytes that are no TLS, and whose
    stray_sender: str = ""
    oddities: list[Oddity] = field(default_factory=list)
    keys_known: bool = False  # a key log has secrets of it, whether or not they fit

    version: int | None = None  # the one that the server chose; None without a ServerHello
    offered_max: int | None = None  # the highest that the client offered
    is_tls13: bool = False  # TLS 1.3 rules apply: it was chosen, or nothing is yet and the hello offers it

    def decide_rules(self) -> None:
        """Settle which version's rules apply, as far as the hellos tell (RFC 8446 6)."""
        chosen = self.version if self.version is not None else self.offered_max
        self.is_tls13 = is_tls13(chosen)

    @property
    def is_ssl2(self) -> bool:
        """Whether the conversation is one of SSL 2.0, not only its first hello."""
        return self.ssl2 is not None and self.ssl2.goes_on

    def side(self, role: str) -> SideAccount:
        """The account of the client or of the server."""
        return self.client if role == CLIENT else self.server

    def role(self, number: int) -> str:
        """The role of a side of the conversation."""
        return CLIENT if number == self.client.number else SERVER
