"""A conversation put together record by record, for what no stack will send: events in, verdict out."""

from collections.abc import Iterable

from tlspcap.tls.account import Account
from tlspcap.tls.evidence import evidence
from tlspcap.tls.handshake import Follower
from tlspcap.tls.outcome import judge
from tlspcap.tls.verdict import Verdict
from tlspcap.transport import Closed, Conversation, Data, Endpoint, Event, Gap

CLIENT, SERVER = 0, 1
MS = 1_000_000
START = 1_000_000 * MS
CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, DATA = 20, 21, 22, 23


def record(content_type: int, content: bytes, version: int = 0x0303) -> bytes:
    """One TLS record."""
    return bytes([content_type]) + version.to_bytes(2) + len(content).to_bytes(2) + content


def message(code: int, body: bytes = b"") -> bytes:
    """One handshake message."""
    return bytes([code]) + len(body).to_bytes(3) + body


class Talk:
    """Two sides that speak in turn; each packet comes 10 ms after the one before and acknowledges all it has seen."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.clock = START
        self.conversation = Conversation(
            0, "talk.pcap", Endpoint(b"\x0a\0\0\1", 50_000), Endpoint(b"\x0a\0\0\2", 443), 1, START, START
        )
        self._sent = [0, 0]
        self._frame = 0

    def _tick(self, side: int) -> None:
        self.clock += 10 * MS
        self._frame += 1
        end = self.conversation.side(side)
        end.packets += 1
        end.sent = self._sent[side]
        self.conversation.packets += 1
        self.conversation.last_time = end.last_time = self.clock

    def says(self, side: int, *records: bytes, acked: int | None = None) -> "Talk":
        """Send records in one packet; `acked`: less than all that the other side sent."""
        payload, offset = b"".join(records), self._sent[side]
        self._sent[side] += len(payload)
        self._tick(side)
        behind = self._sent[1 - side] if acked is None else acked
        other = self.conversation.side(1 - side)
        other.acknowledged = max(other.acknowledged, behind)
        self.events.append(Data(side, self._frame, self.clock, offset, payload, behind, self._frame, 0))
        return self

    def loses(self, side: int, length: int) -> "Talk":
        """Let bytes of a side be missing from the capture."""
        self.events.append(Gap(side, self._frame + 1, self.clock, self._sent[side], length, "lost"))
        self._sent[side] += length
        return self

    def acks(self, side: int) -> "Talk":
        """Acknowledge without a word."""
        self._tick(side)
        self.conversation.side(1 - side).acknowledged = self._sent[1 - side]
        return self

    def hears(self, side: int) -> "Talk":
        """Send a packet that acknowledges nothing, such as a SYN-ACK."""
        self._tick(side)
        return self

    def repeats(self, side: int) -> "Talk":
        """Send the last bytes again."""
        self._tick(side)
        self.conversation.side(side).repeated += 1
        return self

    def closes(self, side: int, how: str = "fin") -> "Talk":
        """End a side's stream."""
        self._tick(side)
        assert how in ("fin", "reset")
        behind = self._sent[1 - side]
        self.events.append(
            Closed(side, self._frame, self.clock, "fin" if how == "fin" else "reset", behind, self._frame, 0)
        )
        return self

    def waits(self, seconds: float) -> "Talk":
        """Let capture time pass."""
        self.clock += round(seconds * 1_000 * MS)
        return self

    def account(self) -> Account:
        """What a follower saw of it."""
        return follow(self.conversation, self.events)

    def verdict(self, timeout: float = 10.0) -> Verdict:
        """How it is judged at the end of the capture."""
        return judge(evidence(self.account(), self.clock, round(timeout * 1_000 * MS)))


def follow(conversation: Conversation, events: Iterable[Event]) -> Account:
    """Follow events to their end; there must be a hello among them."""
    follower = Follower(conversation)
    for event in events:
        follower.take(event)
    follower.finish()
    assert follower.account is not None
    return follower.account
