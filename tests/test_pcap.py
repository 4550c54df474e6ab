"""Classic pcap: magics, times, and files that are cut or damaged."""

import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_builder import ethernet, ipv4, pcap, scan, tcp

from tlspcap.errors import CaptureError, UnknownLinkType
from tlspcap.wire.walk import Walker

FRAMES = [ethernet(ipv4(tcp(bytes([65 + at]) * at, seq=at))) for at in range(5)]
WHOLE = pcap(FRAMES)
STARTS = [24 + sum(16 + len(frame) for frame in FRAMES[:at]) for at in range(6)]  # offset of each packet's header


MANY = [bytes([at % 251]) * (at * 7919 % 1500) for at in range(400)]


@settings(deadline=None, max_examples=40)
@given(
    order=st.sampled_from("<>"),
    piece=st.integers(17, 5000),
    start=st.sampled_from([1_700_000_000, 65_535, 0, 0x01010101]),
    lure=st.booleans(),
    cut=st.integers(0, 40),
    long=st.booleans(),
)
def test_walking_in_pieces_finds_what_walking_singly_finds(
    order, piece: int, start: int, lure: bool, cut: int, long: bool
) -> None:
    """However a window is cut into pieces, and whatever in the payload looks like a header, the offsets are equal."""
    inner = pcap(MANY[:30], order=order, start=start)[24:]
    frames = [frame + inner * lure for frame in MANY[:60]] + MANY
    raw = bytearray(pcap(frames, order=order, start=start, kuznetzov=long))
    end, header = len(raw) - cut, 24 if long else 16
    singly, behind = Walker(order, header=header)._singly(raw, 24, end - header + 1)
    offsets, position = Walker(order, piece, header).walk(raw, 24, end)
    assert (offsets.tolist(), position) == (singly, behind)


@settings(deadline=None, max_examples=100)
@given(st.binary(min_size=600, max_size=4000), st.integers(17, 40))
def test_walking_random_bytes_in_pieces_ends_as_walking_them_singly(raw: bytes, piece: int) -> None:
    """Lengths that make no sense lead both ways of walking to the same places."""
    singly, behind = Walker("<")._singly(bytearray(raw), 0, len(raw) - 15)
    offsets, position = Walker("<", piece).walk(bytearray(raw), 0, len(raw))
    assert (offsets.tolist(), position) == (singly, behind)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_all_four_magics_give_the_same_segments_and_times(order: str, nanoseconds: bool) -> None:
    """Byte order and time unit change nothing in what is read; times are ns since 1970."""
    rows, facts = scan(pcap(FRAMES, order=order, nanoseconds=nanoseconds))
    assert rows == scan(WHOLE)[0]
    assert [row.time for row in rows] == [1_700_000_000_000_000_000 + at * 1_000_000 for at in range(5)]
    assert (facts.first_time, facts.last_time) == (rows[0].time, rows[-1].time)
    assert facts.stopped_at is None


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("chunk_bytes", [64, 1 << 20])
def test_kuznetzovs_longer_packet_headers_give_the_same_segments(order: str, chunk_bytes: int) -> None:
    """The patched libpcap's variant reads as the plain file, in both byte orders, and cut short as well."""
    capture = pcap(FRAMES, order=order, kuznetzov=True)
    rows, facts = scan(capture, chunk_bytes=chunk_bytes)
    assert rows == scan(WHOLE)[0]
    assert facts.stopped_at is None
    rows, facts = scan(capture[:-1], chunk_bytes=chunk_bytes)
    assert (len(rows), facts.stopped_at) == (4, STARTS[4] + 4 * 8)


def test_times_after_2038_are_read() -> None:
    """Seconds are unsigned, which lasts until 2106."""
    (row,), _ = scan(pcap(FRAMES[:1], start=4_294_967_295))
    assert row.time == 4_294_967_295_000_000_000


def test_facts_count_packets_and_bytes() -> None:
    """Packets, bytes captured and on the wire, link types and cut packets of the file are counted."""
    _, facts = scan(pcap(FRAMES, wires=[len(frame) + (at == 0) for at, frame in enumerate(FRAMES)]))
    captured = sum(map(len, FRAMES))
    assert (facts.packets, facts.segments, facts.captured_bytes, facts.wire_bytes) == (5, 5, captured, captured + 1)
    assert (facts.cut_packets, facts.links) == (1, {1: 5})


def test_frame_check_sequence_bits_are_no_part_of_the_link_type() -> None:
    """The file header's link field may say in its upper bits that packets end in a check sequence."""
    assert scan(pcap(FRAMES, link=1 | 0x14000000))[0] == scan(WHOLE)[0]


def test_a_file_header_alone_is_an_empty_capture() -> None:
    """A capture in which no packet was seen gives no segments and no trouble."""
    rows, facts = scan(pcap([]))
    assert (rows, facts.packets, facts.stopped_at) == ([], 0, None)


@pytest.mark.parametrize("size", [4, 23])
def test_a_cut_file_header_is_an_error_that_says_so(size: int) -> None:
    """Less than a file header is an error with the file's name."""
    with pytest.raises(CaptureError, match="test: cut inside the pcap file header"):
        scan(WHOLE[:size])


@given(st.integers(24, len(WHOLE)), st.integers(1, 400))
@settings(deadline=None)
def test_a_capture_cut_anywhere_keeps_what_is_before(size: int, chunk_bytes: int) -> None:
    """Every whole packet before the cut is read, and the offset of the broken one is said."""
    rows, facts = scan(WHOLE[:size], chunk_bytes=chunk_bytes)
    whole = sum(end <= size for end in STARTS[1:])
    assert rows == scan(WHOLE)[0][:whole]
    assert facts.stopped_at == (None if size in STARTS else STARTS[whole])


@pytest.mark.parametrize("claimed", [262_145, 0x7FFFFFFF, 0xFFFFFFFF])
@pytest.mark.parametrize("chunk_bytes", [100, 1 << 20])
def test_an_impossible_captured_length_stops_the_walk_there(claimed: int, chunk_bytes: int) -> None:
    """A damaged packet header ends the reading at its offset, and says the length it claims."""
    damaged = bytearray(WHOLE) + bytes(600_000)
    struct.pack_into("<I", damaged, STARTS[2] + 8, claimed)
    rows, facts = scan(bytes(damaged), chunk_bytes=chunk_bytes)
    assert [row.frame for row in rows] == [1, 2]
    assert facts.stopped_at == STARTS[2]
    assert str(claimed) in facts.stopped_why


def test_the_largest_packet_libpcap_writes_is_read_through_any_window() -> None:
    """A packet of 256 KiB makes a small window grow."""
    rows, _ = scan(pcap([FRAMES[0], FRAMES[1] + bytes(262_144 - len(FRAMES[1])), FRAMES[2]]), chunk_bytes=100)
    assert [row.frame for row in rows] == [1, 2, 3]


def test_garbage_inside_a_packet_costs_that_packet_only() -> None:
    """A packet of which only the content is damaged is counted, and those around it are read."""
    rows, facts = scan(pcap([FRAMES[0], b"\xff" * 60, FRAMES[2]]))
    assert [row.frame for row in rows] == [1, 3]
    assert facts.kinds == {"tcp": 2, "ethertype 0xffff": 1}


def test_more_captured_than_on_the_wire_counts_as_captured() -> None:
    """Some writers leave the length on the wire at zero."""
    _, facts = scan(pcap(FRAMES, wires=[0] * 5))
    assert facts.wire_bytes == facts.captured_bytes
    assert facts.cut_packets == 0


def test_an_unknown_link_type_is_an_error_that_names_it() -> None:
    """A capture of which no packet can be read is an error with the link type's number."""
    with pytest.raises(UnknownLinkType, match=r"link type 147\b"):
        scan(pcap(FRAMES, link=147))


def test_tiny_packets_are_walked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A window with many times the packets that are taken at once has each of its headers walked once."""
    walked, walk = [], Walker.walk

    def counted(self: Walker, *where: Any) -> Any:
        found = walk(self, *where)
        walked.append(len(found[0]))
        return found

    monkeypatch.setattr(Walker, "walk", counted)
    whole = scan(WHOLE)
    assert walked == [len(FRAMES)]
    monkeypatch.setattr("tlspcap.wire.pcap.ROWS", 2)
    walked.clear()
    assert scan(WHOLE) == whole
    assert walked == [len(FRAMES)]
