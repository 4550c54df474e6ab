"""The nouns that `wire` hands to `tls`: what TCP delivered, lost and closed, and what it knows of each side.

`wire` makes one `Conversation` per TCP connection and, in capture order, a stream of events for it: `Data`, `Gap`
and `Closed`. Bytes of one side come in sequence order; events of both sides come in capture order.
A side is 0 (the opener: who sent the SYN, else who was seen first) or 1 (the other). Which of them is the TLS
client is for `tls` to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

UNKNOWN = -1  # an ACK number that was not seen
FRAME_BITS = 40  # the low bits of a frame: its packet number; above them stands which of several files it is in
FRAME_MASK = (1 << FRAME_BITS) - 1


class Place(NamedTuple):
    """Where a packet is, as Wireshark would name it."""

    capture: str  # name of the file, as given
    stream: int  # tcp.stream of its conversation in that file
    frame: int  # packet number in that file, from 1


class Data(NamedTuple):
    """Bytes of one side, in order, each given once: the part of one packet's payload that is new."""

    side: int
    frame: int  # packet number in its file, from 1; above FRAME_BITS, the file's number among rotated ones
    time: int  # ns since 1970, UTC, of that packet
    offset: int  # of payload[0] in its side's stream; 0 is the byte after the SYN
    payload: bytes
    acked: int  # bytes of the other side's stream that this packet acknowledges, UNKNOWN without an ACK or an origin
    packets: int  # packets of the conversation so far, this one included
    repeats: int  # retransmitted segments of the conversation so far, SYNs apart


class Gap(NamedTuple):
    """Bytes of one side that the capture does not hold. The next `Data` of that side starts behind them."""

    side: int
    frame: int  # of the packet behind the gap (of the last packet where nothing came after it)
    time: int
    offset: int  # of the first missing byte
    length: int
    cause: Literal["lost", "snaplen"]  # never captured, or cut off by the capture's snapshot length


class Closed(NamedTuple):
    """One side ended its stream: in peace (FIN, behind all its bytes) or by a reset (RST, at once)."""

    side: int
    frame: int
    time: int
    how: Literal["fin", "reset"]
    acked: int
    packets: int
    repeats: int


Event = Data | Gap | Closed


class Run(NamedTuple):
    """Events of one conversation that come one behind the other.

    A consumer that sets `Conversation.done` leaves the rest of the run: what of it is still wanted comes as the next.
    """

    events: Iterator[Event]
    orderly: bool = False  # none is missing, and all that each one acknowledges came before it


@dataclass(slots=True)
class Endpoint:
    """What TCP knows of one side of a conversation. Counts are of bytes in that side's own stream."""

    address: bytes  # 4 or 16 bytes, the innermost IP header's
    port: int
    opened: bool = False  # its SYN was seen
    packets: int = 0  # packets it sent
    sent: int = 0  # stream bytes up to the highest one seen, on the wire's count (a cut packet counts whole)
    acknowledged: int = UNKNOWN  # the most of its bytes that the other side acknowledged
    repeated: int = 0  # segments it sent again
    last_time: int = 0  # ns, of its last packet
    closed: Literal["", "fin", "reset"] = ""
    origin: int = UNKNOWN  # sequence number of its stream's offset 0, once the conversation is over


@dataclass(slots=True, eq=False)
class Conversation:
    """One TCP connection: identity, both ends, and the times of its opening. Grows while packets come in.

    Its counts, and those of its ends, may be ahead of the event that is being consumed. What was true at an event is
    in the event; here is what was true of all packets, once the conversation is over.
    """

    number: int  # counted from 0 over all files that are read as one; in the first, Wireshark's tcp.stream
    capture: str  # name of the first of those files, as given
    opener: Endpoint
    other: Endpoint
    first_frame: int
    first_time: int  # ns
    last_time: int  # ns, the largest of its packets
    syn_time: int = 0  # of the first SYN; 0 where not seen
    syn_ack_time: int = 0
    ack_time: int = 0  # of the first packet that acknowledges the SYN-ACK
    syn_repeats: int = 0  # SYNs and SYN-ACKs sent again
    packets: int = 0
    done: bool = False  # set by the consumer: no more bytes are wanted (see `wire.flows`)
    over: bool = False  # set by wire: no further event will come
    until: int = 0  # ns, the capture's clock where it ended by time or was replaced; 0: at the end of the capture
    places: dict[int, tuple[str, int]] = field(default_factory=dict)  # of later files: name, and tcp.stream there
    follower: object = field(default=None, repr=False)  # the consumer's own state, kept here for it

    def side(self, number: int) -> Endpoint:
        """The endpoint behind a side number."""
        return self.other if number else self.opener

    def place(self, frame: int) -> Place:
        """Say where a packet of the conversation is."""
        return Place(*self.places.get(frame >> FRAME_BITS, (self.capture, self.number)), frame & FRAME_MASK)


class Events:
    """The events of a conversation, one by one, made as they are consumed; `runs` gives the same in larger portions.

    >>> talk = Conversation(0, "a.pcap", Endpoint(b"", 1), Endpoint(b"", 2), 1, 1, 1)
    >>> [event.payload for event in Events(talk, iter([Run(iter([Data(0, 2, 0, 0, b"hello", 0, 2, 0)]))]))]
    [b'hello']
    """

    __slots__ = ("_conversation", "runs")

    def __init__(self, conversation: Conversation, runs: Iterator[Run]) -> None:
        self._conversation = conversation
        self.runs = runs

    def __iter__(self) -> Iterator[Event]:
        for run in self.runs:
            done = self._conversation.done
            for event in run.events:
                yield event
                if self._conversation.done and not done:
                    break
