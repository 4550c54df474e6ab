"""Builds TCP segments by hand, and runs them through `Flows` in any chunks."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields, replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np

from tlspcap.transport import Conversation, Data, Event, Events
from tlspcap.wire.columns import AddressBook, Segments
from tlspcap.wire.flows import Flows

FIN, SYN, RST, ACK = 1, 2, 4, 16
SECOND = 1_000_000_000
MASK = 0xFFFF_FFFF
CLIENT = (bytes([192, 0, 2, 1]), 50_000)
SERVER = (bytes([198, 51, 100, 7]), 443)
HELLO = bytes([22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3]) + bytes(range(39))


@dataclass(frozen=True)
class Packet:
    """One TCP packet between two endpoints, side 0 sent by the client."""

    side: int
    seq: int
    payload: bytes = b""
    flags: int = ACK
    ack: int = 0
    time: int = SECOND
    length: int | None = None  # bytes on the wire, where the capture holds fewer
    client: tuple[bytes, int] = CLIENT
    server: tuple[bytes, int] = SERVER


def handshake(client_isn: int = 1000, server_isn: int = 5000) -> list[Packet]:
    """Build the three packets that open a connection."""
    return [
        Packet(0, client_isn, flags=SYN),
        Packet(1, server_isn, flags=SYN | ACK, ack=(client_isn + 1) & MASK),
        Packet(0, (client_isn + 1) & MASK, ack=(server_isn + 1) & MASK),
    ]


def timed(packets: Iterable[Packet], step: int = 1000) -> list[Packet]:
    """Give packets rising times."""
    return [replace(packet, time=SECOND + at * step) for at, packet in enumerate(packets)]


def segments(packets: Sequence[Packet], book: AddressBook, first_frame: int = 1) -> Segments:
    """Build the columns that the scan would make of packets."""
    rows, buffer = [], bytearray()
    for frame, packet in enumerate(packets, start=first_frame):
        ends = (packet.client, packet.server) if packet.side == 0 else (packet.server, packet.client)
        numbers = [book.number(address) for address, _ in ends]
        ports = [port for _, port in ends]
        start, captured = len(buffer), len(packet.payload)
        length = captured if packet.length is None else packet.length
        facts = (packet.seq & MASK, packet.ack & MASK, packet.flags, start, captured, length)
        rows.append((frame, packet.time, *numbers, *ports, *facts))
        buffer += packet.payload
    return Segments.from_rows(np.frombuffer(bytes(buffer) + b"\0", dtype=np.uint8), rows)


def run(
    packets: Sequence[Packet],
    cuts: Iterable[int] = (),
    done_after: int = 0,
    watch: Callable[[Flows], None] = lambda flows: None,
    by_runs: bool = False,
) -> dict[int, list[object]]:
    """Run packets through `Flows`, cut into chunks; return every event and the last facts of each conversation.

    A conversation is done after so many `Data` events, never by default. `watch` looks at what is held behind each.
    """
    book = AddressBook()
    flows = Flows("test.pcap", book)
    told: dict[int, list[object]] = {}

    def hear(conversation: Conversation, events: Iterable[Event], story: list[object]) -> None:
        for event in events:
            story.append((event,))
            was, seen = conversation.done, sum(isinstance(entry[0], Data) for entry in story)
            conversation.done = bool(done_after) and seen >= done_after
            watch(flows)
            if by_runs and conversation.done and not was:
                break

    def consume(pairs: Iterable[tuple[Conversation, Events]]) -> None:
        for conversation, events in pairs:
            story = told.setdefault(conversation.number, [])
            for some in (each.events for each in events.runs) if by_runs else [events]:
                hear(conversation, some, story)
            if conversation.over:
                copied = {field.name: getattr(conversation, field.name) for field in fields(conversation)}
                copied |= {"opener": replace(conversation.opener), "other": replace(conversation.other)}
                story.append((SimpleNamespace(**copied), astuple(conversation.opener), astuple(conversation.other)))

    edges = [0, *sorted(set(cuts)), len(packets)]
    for low, high in pairwise(edges):
        consume(flows.take(segments(packets[low:high], book, first_frame=low + 1)))
    consume(flows.finish())
    told[-1] = [repr(flows.summaries())]
    return told


def events_of(packets: Sequence[Packet], number: int = 0, done_after: int = 0) -> list[Event]:
    """Return the events of one conversation."""
    return [entry[0] for entry in run(packets, done_after=done_after).get(number, ()) if len(entry) == 1]


def bytes_of(events: Iterable[Event], side: int) -> bytes:
    """Join the delivered bytes of a side."""
    return b"".join(event.payload for event in events if isinstance(event, Data) and event.side == side)
