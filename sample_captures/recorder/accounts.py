"""What one endpoint says of a connection, in the same words for every TLS stack."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from recorder import names

ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23  # RFC 8446 5.1, ContentType
SERVER_HELLO, FINISHED = 2, 20  # RFC 8446 4, HandshakeType
SUPPORTED_VERSIONS = 43  # RFC 8446 4.2.1
# The random that marks a HelloRetryRequest (RFC 8446 4.1.3).
HELLO_RETRY_REQUEST = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


@dataclass
class Account:
    """One endpoint's own story; None where its interface does not tell.

    `alert_sealed` is said of the alert sent or received: by the record header that carried it, as the stack itself saw
    it. `last_received` is the last handshake message (IANA name) that the stack took in before it stopped.
    `data_received` says that the application behind the stack got bytes of the other side's.
    """

    handshake_done: bool | None = None
    version: str | None = None
    cipher: str | None = None
    alpn: str | None = None
    resumed: bool | None = None
    alert_sent: str | None = None
    alert_received: str | None = None
    alert_sealed: bool | None = None
    last_received: str | None = None
    data_received: bool | None = None
    error: str | None = None

    def note_alert(self, sent: bool, code: int, sealed: bool | None = None) -> None:
        """Keep the first alert that is more than a farewell and comes before any application data."""
        name = names.ALERTS.get(code, f"unknown_{code}")
        if name in names.CLOSING_ALERTS or self.alert_sent or self.alert_received or self.data_received:
            return
        self.alert_sealed = sealed
        if sent:
            self.alert_sent = name
        else:
            self.alert_received = name

    def note_received(self, handshake_type: int) -> None:
        """Keep the last handshake message before the handshake was done."""
        if not self.handshake_done and handshake_type in names.HANDSHAKE_TYPES:
            self.last_received = names.HANDSHAKE_TYPES[handshake_type]

    def note_server_hello(self, message: bytes) -> None:
        """Keep version and cipher of a ServerHello (RFC 8446 4.1.3) as the stack handed it over, header included."""
        if message[6:38] == HELLO_RETRY_REQUEST:
            return
        after_session = 39 + message[38]
        self.cipher = names.cipher_of_code(int.from_bytes(message[after_session : after_session + 2], "big"))
        extensions = dict(_extensions(message[after_session + 5 :]))
        chosen = extensions.get(SUPPORTED_VERSIONS, message[4:6])
        self.version = names.VERSIONS[int.from_bytes(chosen, "big")]


@dataclass
class Trace:
    """Follows OpenSSL's trace of one connection, from its message callback or from `-msg`, into an account.

    A handshake is done for an endpoint when it has both sent and received a Finished.
    """

    account: Account = field(default_factory=Account)
    _sealed: dict[bool, bool] = field(default_factory=dict)
    _finished: set[bool] = field(default_factory=set)

    def record_header(self, sent: bool, header: bytes) -> None:
        """Remember whether the coming record is sealed: an alert in clear is two bytes under type 21."""
        length = int.from_bytes(header[3:5], "big")
        self._sealed[sent] = header[0] == APPLICATION_DATA or (header[0] == ALERT and length != 2)

    def alert(self, sent: bool, body: bytes) -> None:
        """Take in an alert: its level and its description."""
        self.account.note_alert(sent, body[1], self._sealed.get(sent))

    def handshake(self, sent: bool, message: bytes) -> None:
        """Take in a handshake message, header included."""
        if message[0] == SERVER_HELLO:
            self.account.note_server_hello(message)
        if not sent:
            self.account.note_received(message[0])
        if message[0] == FINISHED:
            self._finished.add(sent)
        self.account.handshake_done = len(self._finished) == 2


def _extensions(block: bytes) -> Iterator[tuple[int, bytes]]:
    while len(block) >= 4:
        length = int.from_bytes(block[2:4], "big")
        yield int.from_bytes(block[:2], "big"), block[4 : 4 + length]
        block = block[4 + length :]
