"""What one endpoint says of a connection, in the same words for every TLS stack."""

from collections.abc import Iterator
from dataclasses import dataclass

from recorder import names

SUPPORTED_VERSIONS = 43  # RFC 8446 4.2.1
# The random that marks a HelloRetryRequest (RFC 8446 4.1.3).
HELLO_RETRY_REQUEST = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")


@dataclass
class Account:
    """One endpoint's own story; None where its interface does not tell.

    `alert_sealed` is said of the alert sent or received: by the record header that carried it, as the stack itself saw
    it. `last_received` is the last handshake message (IANA name) that the stack took in before it stopped.
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
    error: str | None = None

    def note_alert(self, sent: bool, code: int, sealed: bool | None) -> None:
        """Keep the first alert that is more than a farewell."""
        name = names.ALERTS.get(code, f"unknown_{code}")
        if name in names.CLOSING_ALERTS or self.alert_sent or self.alert_received:
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


def _extensions(block: bytes) -> Iterator[tuple[int, bytes]]:
    while len(block) >= 4:
        length = int.from_bytes(block[2:4], "big")
        yield int.from_bytes(block[:2], "big"), block[4 : 4 + length]
        block = block[4 + length :]
