"""Target: packets of every link type, read by column and, by the slow twin, one at a time: both find the same."""

from collections.abc import Iterator

import numpy as np
from packet_builder import ipv4, ipv6

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.wire import headers, links, rare
from tlspcap.wire.columns import AddressBook, FileFacts, Packets, Segments
from tlspcap.wire.files import PADDING
from tlspcap.wire.fragments import Fragments

LONGEST = 4_096
LINKS = (*sorted(links.KNOWN_LINKS), -1, 9_999)
_SECOND = 1_000_000_000


def check(data: bytes) -> None:
    """Read the packets twice; segments, kinds and reasons must be equal, and no payload may leave the buffer."""
    packets = _packets(data)
    (fast, fast_facts), (slow, slow_facts) = _by_column(packets), _one_by_one(packets)
    assert fast == slow
    assert fast_facts == slow_facts


def _packets(data: bytes) -> Packets:
    """Read packets: link type, bytes that were not captured, length, seconds since the one before, bytes."""
    read, buffer, rows = Input(data), bytearray(), list[tuple[int, int, int, int, int]]()
    time = _SECOND
    while read.left > 0:
        link, missing, length = LINKS[read.u8() % len(LINKS)], read.u8() ** 2, read.u16()
        time += read.u8() * _SECOND
        captured = read.take(length)
        rows.append((len(buffer), len(captured), len(captured) + missing, time, link))
        buffer += captured
    columns = np.array(rows, dtype=np.int64).reshape(-1, 5).T
    raw = np.frombuffer(bytes(buffer) + bytes(PADDING), dtype=np.uint8)
    return Packets(raw, 1, *columns[:4], columns[4].astype(np.int32))


def _by_column(packets: Packets) -> tuple[list[object], FileFacts]:
    book, facts, fragments = AddressBook(), FileFacts("fuzz"), Fragments()
    found, rest = headers.columns(packets, book, facts)
    if len(rest):
        found = found.merged(rare.segments(packets, rest.tolist(), book, facts, fragments))
    fragments.finish(facts)
    return list(_rows(found, book)), facts


def _one_by_one(packets: Packets) -> tuple[list[object], FileFacts]:
    book, facts, fragments = AddressBook(), FileFacts("fuzz"), Fragments()
    found = rare.segments(packets, range(len(packets)), book, facts, fragments)
    fragments.finish(facts)
    return list(_rows(found, book)), facts


def _rows(segments: Segments, book: AddressBook) -> Iterator[tuple[object, ...]]:
    names = ("frame", "time", "source_port", "target_port", "seq", "ack", "flags", "length")
    for row in range(len(segments)):
        payload, captured = segments.payload(row), int(segments.captured[row])
        assert len(payload) == captured <= segments.length[row]
        ends = book.bytes(int(segments.source[row])), book.bytes(int(segments.target[row]))
        yield (*ends, *(int(getattr(segments, name)[row]) for name in names), payload)


def seeds() -> list[bytes]:
    """Runs of packets, and one packet in every kind of frame and tunnel."""
    from wrappings import LINKS as WAYS
    from wrappings import TEREDO, TUNNELS, ether

    runs = [b"".join(_one(*frame) for frame in run[:3]) for run in samples.frames()]
    ip = next(frame for link, frame in samples.frames()[0] if link == 1)[14:]
    framed = [_one(link, way(ip)) for link, way in WAYS.values()]
    tunnelled = [_one(1, ether(way(ip))) for way in [*TUNNELS.values(), *TEREDO.values()]]
    return samples.distinct([*runs, *framed, *tunnelled, *_in_parts(ip)], LONGEST)


def _in_parts(ip: bytes) -> list[bytes]:
    """An IP packet in fragments, of either version, in order and not, and quoted by an ICMP error."""
    body = ip[20:]
    v4 = [ipv4(body[:24], fragment=0x2000), ipv4(body[24:], fragment=3)]
    v6 = [ipv6(bytes([6, 0, 0, at | (at == 0), 0, 0, 0, 9]) + part, following=44) for at, part in _halves(body)]
    quoting = [ipv4(b"\3\1" + bytes(6) + ip, protocol=1), ipv6(b"\1\0" + bytes(6) + ipv6(body), following=58)]
    return [b"".join(_one(101, part) for part in parts) for parts in (v4, v4[::-1], v6, v6[::-1], quoting)]


def _halves(body: bytes) -> list[tuple[int, bytes]]:
    return [(0, body[:24]), (24, body[24:])]


def _one(link: int, frame: bytes) -> bytes:
    return bytes([LINKS.index(link), 0]) + len(frame).to_bytes(2) + b"\0" + frame
