"""pcapng: sections, interfaces, time units, packet blocks of every kind, and damage."""

import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_builder import block, enhanced, ethernet, interface, ipv4, pcap, pcapng, scan, section, tcp

from tlspcap.errors import CaptureError, UnknownLinkType
from tlspcap.wire.pcapng import Interfaces

FRAMES = [ethernet(ipv4(tcp(bytes([65 + at]) * at, seq=at))) for at in range(5)]
WHOLE = pcapng(FRAMES)
PACKETS = [enhanced(frame, 1_700_000_000_000_000 + at * 1000) for at, frame in enumerate(FRAMES)]
BLOCKS = [section(), interface(), *PACKETS]
STARTS = [sum(map(len, BLOCKS[:at])) for at in range(len(BLOCKS) + 1)]
SECOND = 1_000_000_000


@pytest.mark.parametrize("order", "<>")
def test_both_byte_orders_give_what_the_classic_file_gives(order: str) -> None:
    """The same packets in pcapng of either byte order and in pcap are the same segments."""
    assert scan(pcapng(FRAMES, order=order))[0] == scan(pcap(FRAMES))[0]


def test_sections_have_their_own_byte_order_and_interfaces() -> None:
    """A new section forgets the interfaces before it and may turn the byte order; packet numbers run on."""
    raw = ipv4(tcp(b"second"))
    capture = pcapng(FRAMES[:2]) + section(">") + interface(101, ">") + enhanced(raw, 5, order=">")
    rows, facts = scan(capture)
    assert [(row.frame, row.payload) for row in rows] == [(1, b""), (2, b"B"), (3, b"second")]
    assert facts.links == {1: 2, 101: 1}


@pytest.mark.parametrize(
    ("options", "ticks", "time"),
    [
        ((), 1_500_000, 1_500_000_000),
        (((9, b"\x03"),), 1_500, 1_500_000_000),
        (((9, b"\x09"),), 1_500_000_001, 1_500_000_001),
        (((9, b"\x00"),), 3, 3 * SECOND),
        (((9, b"\x0c"),), 1_500_000_001_999, 1_500_000_001),
        (((9, b"\x7f"),), 5, 0),
        (((9, b"\x8a"),), 1536, 1_500_000_000),
        (((9, b"\xa0"),), (3 << 32) + (1 << 31), 3_500_000_000),
        (((9, b"\xff"),), 5, 0),
        (((14, struct.pack("<q", 10)),), 1, 10_000_001_000),
        (((14, struct.pack("<q", -10)), (9, b"\x06")), 11_000_000, SECOND),
        (((2, b"eth0"), (9, b"\x09"), (0, b""), (9, b"\x03")), 7, 7),
    ],
)
def test_times_follow_the_interfaces_unit_and_offset(options, ticks: int, time: int) -> None:
    """if_tsresol is a power of ten or of two, microseconds where absent; if_tsoffset adds seconds."""
    (row,), _ = scan(section() + interface(options=options) + enhanced(FRAMES[0], ticks))
    assert row.time == time


@given(st.integers(0, 255), st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**64 - 1))
def test_no_time_unit_raises(resolution: int, offset: int, ticks: int) -> None:
    """Whatever an interface claims of its clock, a time comes out; sane ones are exact."""
    interfaces = Interfaces()
    interfaces.add(1, 0, resolution, offset)
    (time,) = interfaces.nanoseconds(interfaces.describe(np.zeros(1, np.int64)), np.array([ticks], np.uint64)).tolist()
    digits = resolution & 0x7F
    exact = (ticks * SECOND >> digits if resolution & 0x80 else ticks * SECOND // 10**digits) + offset * SECOND
    assert time == exact or not 0 <= exact < 2**63 or ticks * SECOND >= 2**64


def test_interfaces_of_different_links_and_units_may_alternate() -> None:
    """Each packet is read by its own interface's link type and clock, in file order."""
    raw = ipv4(tcp(b"raw"))
    two = interface(1) + interface(101, options=[(9, b"\x09")])
    rows, _ = scan(section() + two + enhanced(raw, 9, 1) + enhanced(FRAMES[1], 9, 0) + enhanced(raw, 10, 1))
    assert [(row.time, row.payload) for row in rows] == [(9, b"raw"), (9000, b"B"), (10, b"raw")]


def test_a_packet_of_an_interface_that_is_not_described_costs_itself_only() -> None:
    """Such a packet counts as unread, and keeps its number."""
    rows, facts = scan(section() + interface() + enhanced(FRAMES[1], number=7) + enhanced(FRAMES[2]))
    assert [row.frame for row in rows] == [2]
    assert facts.unread == {"packet of an interface that is not described": 1}


def test_more_interfaces_than_fit_the_first_table_are_kept() -> None:
    """A capture on many interfaces reads each packet by its own."""
    many = b"".join(interface(1 if number % 2 else 101) for number in range(40))
    rows, facts = scan(section() + many + b"".join(enhanced(FRAMES[1], number=number) for number in range(1, 40, 2)))
    assert len(rows) == 20
    assert not facts.unread


@pytest.mark.parametrize("order", "<>")
def test_simple_and_obsolete_packet_blocks_are_packets(order: str) -> None:
    """A simple block has no time, and its interface says what was captured; the obsolete one has 16-bit numbers."""
    frame = FRAMES[4]
    simple = block(3, struct.pack(order + "I", len(frame)) + frame, order)
    cut = block(3, struct.pack(order + "I", 1000) + frame[:56], order)
    times = struct.pack(order + "HHIIII", 0, 0xFFFF, 0, 7, len(frame), len(frame))
    obsolete = block(2, times + frame, order)
    rows, facts = scan(section(order) + interface(1, order, snapshot=56) + simple + cut + obsolete)
    assert [(row.time, row.payload, row.length) for row in rows] == [(0, b"EE", 4), (0, b"EE", 4), (7000, b"EEEE", 4)]
    assert (facts.untimed_packets, facts.cut_packets) == (2, 2)
    assert (facts.first_time, facts.last_time) == (7000, 7000)


def test_unknown_blocks_are_passed_over_however_long() -> None:
    """A block of an unknown type is skipped, even one that fits into no window."""
    odd = block(0x0BAD, bytes(17 << 20))
    capture = section() + interface() + block(5, b"statistics") + enhanced(FRAMES[1]) + odd + enhanced(FRAMES[2])
    rows, facts = scan(capture, chunk_bytes=100)
    assert [row.payload for row in rows] == [b"B", b"CC"]
    assert facts.stopped_at is None


def test_tls_key_logs_in_the_capture_are_kept() -> None:
    """A secrets block's TLS key log is kept as bytes; secrets of other protocols are not."""
    log = b"CLIENT_RANDOM 00 11\n"
    secrets = block(10, struct.pack("<II", 0x544C534B, len(log)) + log)
    other = block(10, struct.pack("<II", 0x57474B4C, 4) + b"wg--")
    _, facts = scan(section() + secrets + other + interface() + enhanced(FRAMES[0]))
    assert [(kept.frame, kept.content) for kept in facts.secrets] == [(0, log)]
    assert log.hex() not in repr(facts)
    assert repr(log)[2:-1] not in repr(facts)


@given(st.integers(28, len(WHOLE)), st.integers(1, 400))
@settings(deadline=None)
def test_a_capture_cut_anywhere_keeps_what_is_before(size: int, chunk_bytes: int) -> None:
    """Every whole packet before the cut is read, and the offset of the broken block is said."""
    rows, facts = scan(WHOLE[:size], chunk_bytes=chunk_bytes)
    blocks = sum(end <= size for end in STARTS[1:])
    assert rows == scan(WHOLE)[0][: max(blocks - 2, 0)]
    assert facts.stopped_at == (None if size in STARTS else STARTS[blocks])


@pytest.mark.parametrize(
    ("at", "value"),
    [(4, 0), (4, 8), (4, 0xFFFFFFFC), (4, 0x7FFFFFF1), (4, 33), (20, 999), (20, 0xFFFFFFFF)],
)
@pytest.mark.parametrize("chunk_bytes", [100, 1 << 20])
def test_impossible_lengths_stop_the_walk_there(at: int, value: int, chunk_bytes: int) -> None:
    """A packet block whose lengths make no sense ends the reading at its offset; what is before it stays."""
    damaged = bytearray(WHOLE)
    struct.pack_into("<I", damaged, STARTS[4] + at, value)
    rows, facts = scan(bytes(damaged), chunk_bytes=chunk_bytes)
    assert [row.frame for row in rows] == [1, 2]
    assert facts.stopped_at == STARTS[4]
    assert facts.stopped_why


def test_a_section_without_a_byte_order_stops_the_walk() -> None:
    """A damaged later section header ends the reading there."""
    rows, facts = scan(WHOLE + block(0x0A0D0D0A, bytes(16)) + WHOLE)
    assert (len(rows), facts.stopped_at) == (5, len(WHOLE))


@pytest.mark.parametrize("capture", [section()[:27], section()[:8] + bytes(20), section()[:4]])
def test_a_damaged_first_section_is_an_error(capture: bytes) -> None:
    """Without a first section header nothing can be read."""
    with pytest.raises(CaptureError, match="section header"):
        scan(capture)


def test_unknown_link_types_alone_are_an_error_and_one_among_others_is_not() -> None:
    """Only a capture without any readable interface fails; else packets of the odd one are counted."""
    odd = section() + interface(147) + interface(1) + enhanced(FRAMES[1], number=0)
    with pytest.raises(UnknownLinkType, match=r"link type 147\b"):
        scan(odd)
    rows, facts = scan(odd + enhanced(FRAMES[1], number=1))
    assert (len(rows), facts.unread) == (1, {"link type 147": 1})
