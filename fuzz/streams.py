"""Target: TCP segments in any order, lost, repeated, overlapping, with odd flags and times, to events of each side."""

import struct
from collections.abc import Iterable
from unittest.mock import patch

from segment_builder import ACK, FIN, HELLO, MASK, SECOND, SERVER, SYN, Packet, run

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.transport import Closed, Data, Event, Gap
from tlspcap.wire import beginnings
from tlspcap.wire.direction import MAX_HELD_BYTES, MAX_HELD_SEGMENTS, RECENT
from tlspcap.wire.flows import Flows
from tlspcap.wire.streams import SLICE

LONGEST = 4_096
_CLIENTS = 4
_HEAD = struct.Struct(">BBBhhH")


def check(data: bytes) -> None:
    """Whatever way the segments are cut into chunks, or taken by column, the events are equal, in order and bounded."""
    read = Input(data)
    done_after, cuts = read.u8() % 8, sorted({read.u8() % 64 for _ in range(3)})
    packets = _packets(read)
    whole = run(packets, done_after=done_after, watch=_bounded)
    assert run(packets, [cut for cut in cuts if cut < len(packets)], done_after, watch=_bounded) == whole
    with patch.object(beginnings, "LONGEST", 1):
        assert run(packets, done_after=done_after) == whole
    for number, story in whole.items():
        if number >= 0:
            _in_order(entry[0] for entry in story if len(entry) == 1)


def _packets(read: Input) -> list[Packet]:
    """Read packets: flags, side and client, time, bytes not captured, numbers relative to what is next, payload."""
    following = {(client, side): 1_000 + (MASK - 2_000) * side for client in range(_CLIENTS) for side in (0, 1)}
    packets, time = list[Packet](), SECOND
    while read.left > 0:
        flags, who, pause = read.u8(), read.u8(), read.u8()
        seq, ack, length = read.i16(), read.i16(), read.u16()
        side, client, missing = who & 1, who >> 1 & 3, (who >> 3) ** 2
        payload = HELLO if length == MASK & 0xFFFF else read.take(length)
        time = max(1, time + _nanoseconds(pause))
        mine, theirs = (client, side), (client, 1 - side)
        seq = following[mine] + seq & MASK
        following[mine] = seq + len(payload) + missing + (flags & (SYN | FIN) != 0) & MASK
        length = len(payload) + missing
        ends = (bytes([192, 0, 2, 1]), 50_000 + client), SERVER
        packets.append(Packet(side, seq, payload, flags, following[theirs] + ack & MASK, time, length, *ends))
    return packets


def _nanoseconds(pause: int) -> int:
    """A pause of up to some hours in one byte; the clock may step back."""
    length = 1 << (pause >> 1 & 63) if pause > 1 else 0
    return -min(length, 10 * SECOND) if pause & 1 else min(length, 8_000 * SECOND)


def _bounded(flows: Flows) -> None:
    """What is held of each conversation keeps to its caps."""
    for streams in flows._followed.values():
        for me in streams.sides:
            assert len(me.held) <= MAX_HELD_SEGMENTS
            assert sum(len(piece.payload) for piece in me.held) <= MAX_HELD_BYTES
            assert len(me.recent) <= RECENT + max(SLICE, beginnings.LONGEST)


def _in_order(events: Iterable[Event]) -> None:
    """Each data or gap of a side begins where the one before ended; a side closes once by FIN."""
    reached, closed = [0, 0], list[tuple[int, str]]()
    for event in events:
        if isinstance(event, Closed):
            closed.append((event.side, event.how))
        else:
            assert event.offset == reached[event.side]
            size = event.length if isinstance(event, Gap) else len(event.payload)
            assert size > 0
            reached[event.side] += size
    assert len(closed) == len(set(closed))


def seeds() -> list[bytes]:
    """Conversations of the samples, orderly and with neighbouring packets swapped."""
    orderly = [_conversation(events) for _, events in samples.conversations()]
    swapped = [
        one[:4] + [packet for at in range(4, len(one), 2) for packet in one[at : at + 2][::-1]] for one in orderly
    ]
    return samples.distinct([bytes([0, 3, 5, 8]) + b"".join(one) for one in orderly + swapped], LONGEST)


def _conversation(events: Iterable[Event]) -> list[bytes]:
    opening = [_one(SYN, 0), _one(SYN | ACK, 1), _one(ACK, 0)]
    told = [_one(ACK, event.side, event.payload[:200]) for event in events if isinstance(event, Data)]
    return [*opening, *told, _one(ACK | FIN, 0), _one(ACK | FIN, 1), _one(ACK, 0)]


def _one(flags: int, side: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(flags, side, 40, 0, 0, len(payload)) + payload
