"""IP fragments: put together in any order, within bounds, and what is missing is told."""

import io
import shutil
import struct
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packet_builder import enhanced, interface, ipv4, ipv6, pcap, scan, scan_slowly, section, tcp
from test_tunnels import ours, packets_of, theirs
from wrappings import TUNNELS, ether

from tlspcap.spread import read_tables
from tlspcap.wire import fragments
from tlspcap.wire.columns import CUT_HEADERS, IP_FRAGMENT

SAMPLE = Path(__file__).parent.parent / "sample_captures" / "intermittent-alert.pcap"
PAYLOAD = bytes(range(256)) * 4
WHOLE = {"IPv4": ipv4(tcp(PAYLOAD, seq=5), fragment=0), "IPv6": ipv6(tcp(PAYLOAD, seq=5))}


def pieces(packet: bytes, cuts: list[int], number: int = 7) -> list[bytes]:
    """Cut an IP packet into fragments, at multiples of 8 bytes of what it carries."""
    size = 20 if packet[0] >> 4 == 4 else 40
    body = packet[size:]
    edges = [0, *sorted({cut * 8 for cut in cuts if 0 < cut * 8 < len(body)}), len(body)]
    build = _piece4 if size == 20 else _piece6
    return [build(packet[:size], body[low:high], low, high < len(body), number) for low, high in pairwise(edges)]


def _piece4(head: bytes, body: bytes, offset: int, more: bool, number: int) -> bytes:
    middle = struct.pack(">HHH", 20 + len(body), number, more << 13 | offset // 8)
    return head[:2] + middle + head[8:] + body


def _piece6(head: bytes, body: bytes, offset: int, more: bool, number: int) -> bytes:
    extension = struct.pack(">BBHI", head[6], 0, offset | more, number)
    return head[:4] + struct.pack(">HB", 8 + len(body), 44) + head[7:] + extension + body


def read_both(packets: list[bytes], chunk_bytes: int = 1 << 20, wires: list[int] | None = None):
    """Read IP packets by columns and by the slow twin; they must agree."""
    capture = pcap(packets, link=101, wires=wires)
    rows, facts = scan(capture, chunk_bytes=chunk_bytes)
    slow_rows, slow_facts = scan_slowly(capture)
    assert rows == slow_rows
    assert (facts.kinds, facts.unread) == (slow_facts.kinds, slow_facts.unread)
    assert facts.conflicting_fragments == slow_facts.conflicting_fragments
    return rows, facts


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), version=st.sampled_from(sorted(WHOLE)), chunk_bytes=st.integers(1, 3000))
def test_fragments_are_put_together_in_any_order(data: st.DataObject, version: str, chunk_bytes: int) -> None:
    """However a packet is cut, and in whatever order the parts come, it is read where its last part came."""
    parts = pieces(WHOLE[version], data.draw(st.lists(st.integers(1, 130), max_size=12)))
    parts = data.draw(st.permutations(parts))
    again = data.draw(st.lists(st.sampled_from(parts[:-1]), max_size=3)) if len(parts) > 1 else []
    plain = ipv4(tcp(b"plain", seq=9))
    (first, row, last), facts = read_both([plain, *parts[:-1], *again, parts[-1], plain], chunk_bytes)
    assert (first.payload, last.payload) == (b"plain", b"plain")
    assert (row.payload, row.length, row.seq) == (PAYLOAD, len(PAYLOAD), 5)
    assert row.frame == len(parts) + len(again) + 1
    assert facts.kinds == {"tcp": len(parts) + len(again) + 2}
    assert (facts.unread, facts.conflicting_fragments) == ({}, 0)


@pytest.mark.parametrize("name", TUNNELS)
def test_a_tunnel_in_fragments_and_fragments_in_a_tunnel_are_read(name: str) -> None:
    """A tunnel whose packets were too long is put together first; a fragment inside one waits for the others."""
    wrap = TUNNELS[name]
    (row,), facts = read_both(pieces(wrap(WHOLE["IPv4"]), [3, 50]))
    assert (row.frame, row.payload, facts.unread) == (3, PAYLOAD, {})
    (row,), facts = read_both([wrap(part) for part in pieces(WHOLE["IPv6"], [3, 50])])
    assert (row.frame, row.payload, facts.unread) == (3, PAYLOAD, {})
    nested = [outer for part in pieces(WHOLE["IPv4"], [9]) for outer in pieces(wrap(part), [5], number=len(part))]
    (row,), facts = read_both(nested)
    assert (row.frame, row.payload, facts.unread) == (4, PAYLOAD, {})


def test_fragments_of_different_packets_do_not_mix() -> None:
    """Addresses, identification and protocol keep packets apart; an identification may be used again."""
    one, other = WHOLE["IPv4"], ipv4(tcp(PAYLOAD[::-1], seq=6), fragment=0)
    interleaved = [part for pair in zip(pieces(one, [40]), pieces(other, [40], 8), strict=True) for part in pair]
    rows, facts = read_both(interleaved + pieces(other, [7]))
    assert [(row.frame, row.seq) for row in rows] == [(3, 5), (4, 6), (6, 6)]
    assert facts.unread == {}


def test_missing_fragments_are_told() -> None:
    """Packets that lack a part give no segment, and all their fragments count as unread."""
    first, _, last = pieces(WHOLE["IPv4"], [10, 20])
    rows, facts = read_both([first, ipv4(tcp(b"x")), last])
    assert [row.frame for row in rows] == [2]
    assert (facts.kinds, facts.unread) == ({"tcp": 3}, {IP_FRAGMENT: 2})


def test_fragments_of_plain_udp_are_no_trouble() -> None:
    """UDP may hide a tunnel, so its fragments are put together; where they are not whole, nothing is unread."""
    datagram = ipv4(struct.pack(">HHHH", 5000, 53, 808, 0) + bytes(800), protocol=17, fragment=0)
    rows, facts = read_both([*pieces(datagram, [10, 20]), pieces(datagram, [10, 20])[0]])
    assert (rows, facts.kinds, facts.unread) == ([], {"udp": 4}, {})


def test_where_fragments_overlap_the_first_seen_win() -> None:
    """Other bytes for a place that is known are not used, and the conflict is counted; equal bytes are none."""
    first, last = pieces(WHOLE["IPv4"], [64])
    lie = bytearray(pieces(ipv4(tcp(bytes(1024), seq=5), fragment=0), [32, 96])[1])
    (row,), facts = read_both([first, bytes(lie), last])
    assert row.payload == PAYLOAD[:492] + bytes(256) + PAYLOAD[748:]
    assert facts.conflicting_fragments == 1
    capture = pcap([first, bytes(lie), last], link=101)
    notes = read_tables(io.BytesIO(capture)).frames["notes"]
    assert notes["kind"].tolist().count("conflicting_fragments") == 1


def test_fragments_cut_by_the_snapshot_length_keep_what_is_captured() -> None:
    """What was captured up to the first missing byte is used; the length on the wire is the whole packet's."""
    parts = pieces(WHOLE["IPv4"], [64])
    cut = [parts[0], parts[1][:120]]
    (row,), facts = read_both(cut, wires=[len(part) for part in parts])
    assert (row.payload, row.length, facts.unread) == (PAYLOAD[: 492 + 100], 1024, {})
    (row,), _ = read_both([parts[0][:90], parts[1]], wires=[len(part) for part in parts])
    assert (row.payload, row.length) == (PAYLOAD[:50], 1024)
    rows, facts = read_both([parts[0][:30], parts[1]], wires=[len(part) for part in parts])
    assert (rows, facts.unread) == ([], {CUT_HEADERS: 1})


def test_what_waits_is_bounded_in_number_time_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many packets, too many parts of one, too old and too large ones are given up on, oldest first, and told."""
    monkeypatch.setattr(fragments, "MOST_DATAGRAMS", 10)
    monkeypatch.setattr(fragments, "MOST_FRAGMENTS", 20)
    many = [pieces(WHOLE["IPv4"], [64], number) for number in range(15)]
    rows, facts = read_both([first for first, _ in many] + [last for _, last in many])
    assert [row.frame for row in rows] == []
    assert facts.unread == {IP_FRAGMENT: 30}
    rows, facts = read_both([first for first, _ in many[:8]] + [last for _, last in many[:8]])
    assert (len(rows), facts.unread) == (8, {})
    tiny = pieces(WHOLE["IPv4"], list(range(1, 40)))
    rows, facts = read_both(tiny)
    assert (rows, facts.unread) == ([], {IP_FRAGMENT: len(tiny)})
    beyond = _piece4(WHOLE["IPv4"][:20], bytes(100), 65_528, False, 3)
    rows, facts = read_both([beyond, beyond])
    assert (rows, facts.unread) == ([], {IP_FRAGMENT: 2})


def test_what_waits_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest are given up on where the bytes that wait are too many."""
    monkeypatch.setattr(fragments, "MOST_BYTES", 3000)
    many = [pieces(WHOLE["IPv4"], [127], number) for number in range(5)]
    rows, facts = read_both([first for first, _ in many] + [last for _, last in many][::-1])
    assert len(rows) == 2
    assert facts.unread == {IP_FRAGMENT: 6}


def test_fragments_do_not_wait_for_ever() -> None:
    """After 30 s on the capture's clock a packet is given up on; a clock that steps back changes nothing."""
    first, last = pieces(WHOLE["IPv4"], [64])
    other = pieces(WHOLE["IPv4"], [64], 8)

    def read(*packets: tuple[bytes, int]):
        blocks = b"".join(enhanced(packet, seconds * 1_000_000) for packet, seconds in packets)
        return scan(section() + interface(101) + blocks)

    assert len(read((first, 100), (last, 130))[0]) == 1
    rows, facts = read((first, 100), (last, 131))
    assert (rows, facts.unread) == ([], {IP_FRAGMENT: 2})
    assert len(read((first, 100), (last, 50))[0]) == 1
    rows, facts = read((first, 100), (other[0], 131), (other[1], 90), (last, 90))
    assert (len(rows), facts.unread) == (1, {IP_FRAGMENT: 2})


@pytest.mark.parametrize("rotated", [False, True])
def test_a_capture_in_fragments_gives_the_same_handshakes(rotated: bool) -> None:
    """A sample of which longer packets were cut in three gives the same handshakes, also with each part in a file."""
    parts = [
        enhanced(ether(part), time)
        for at, (time, packet) in enumerate(packets_of(SAMPLE))
        for part in (pieces(packet, [20, 40], at) if len(packet) > 200 else [packet])
    ]
    files = [[part] for part in parts] if rotated else [parts]
    captures = [io.BytesIO(section() + interface(1) + b"".join(file)) for file in files]
    tables = read_tables(captures, chunk_bytes=65_536).frames
    columns = ["client_ip", "sni", "cipher", "outcome", "reason", "ja4", "handshake_ms", "chain_sha256"]
    columns += [] if rotated else ["stream"]
    expected = read_tables(SAMPLE).frames
    assert tables["handshakes"][columns].equals(expected["handshakes"][columns])
    notes = tables["notes"]["kind"]  # a file that holds only the first parts of packets holds no TLS that can be read
    assert notes[notes != "no_tls"].tolist() == expected["notes"]["kind"].tolist()


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            st.sampled_from([0, 8, 16, 24, 64, 65_528]),
            st.integers(0, 40),
            st.booleans(),
            st.sampled_from([6, 17, 41, 47, 44]),
            st.booleans(),
        ),
        max_size=30,
    ),
    st.integers(1, 2000),
)
def test_any_fragments_read_alike_in_scan_and_twin(parts, chunk_bytes: int) -> None:
    """Fragments that overlap, contradict one another and never end raise nothing, and chunks change nothing."""
    packets = []
    for offset, size, more, protocol, old in parts:
        head = (ipv4(b"", protocol=protocol) if old else ipv6(b"", following=protocol))[: 20 if old else 40]
        packets.append((_piece4 if old else _piece6)(head, bytes([size]) * size, offset, more, 7))
    read_both([*packets, ipv4(tcp(b"good"))], chunk_bytes)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_same_segments_in_fragments(tmp_path: Path) -> None:
    """Where fragments are whole, Wireshark counts the segment at the same frame and in the same stream."""
    packets = [*pieces(WHOLE["IPv4"], [9, 60])[::-1], ipv4(tcp(b"x", ports=(5, 6))), *pieces(WHOLE["IPv6"], [60])]
    packets += pieces(TUNNELS["VXLAN"](ipv4(tcp(PAYLOAD, ports=(7, 8)))), [70], 9)
    packets += [TUNNELS["GRE"](part) for part in pieces(ipv4(tcp(PAYLOAD, ports=(9, 8)), fragment=0), [70], 11)]
    path = tmp_path / "fragments.pcap"
    path.write_bytes(pcap([ether(packet) for packet in packets]))
    assert ours(path) == theirs(path)
    assert len(ours(path)) == 5
