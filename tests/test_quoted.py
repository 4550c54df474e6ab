"""TCP headers that ICMP errors quote: Wireshark numbers their conversations, so they are counted too, and only that."""

import io
import random
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_builder import (
    CLIENT,
    SERVER,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    pcap,
    scan,
    scan_slowly,
    section,
    tcp,
)
from test_tunnels import ours, packets_of, theirs
from wrappings import LINKS, TUNNELS, ether

from tlspcap.spread import read_tables
from tlspcap.wire.columns import COUNTED

SAMPLE = Path(__file__).parent.parent / "sample_captures" / "intermittent-alert.pcap"


def error(packet: bytes, kind: int = 3) -> bytes:
    """Put a packet into an ICMP error, of the same IP version."""
    body = struct.pack(">BBHI", kind, 0, 0, 0) + packet
    return ipv6(body, following=58) if packet[:1] == b"\x60" else ipv4(body, protocol=1)


def segment(port: int, flags: int, seq: int, *, back: bool = False) -> bytes:
    """Build a packet of a client's port with a server's, or back."""
    packet = bytearray(ipv4(tcp(b"", seq=seq, ack=50, flags=flags, ports=(443, port) if back else (port, 443))))
    if back:
        packet[12:20] = SERVER + CLIENT
    return bytes(packet)


def conversations(packets: list[bytes], tmp_path: Path) -> list[list[int]]:
    """Write IP packets into a file and number their segments, those quoted included."""
    path = tmp_path / "quoted.pcap"
    path.write_bytes(pcap([ether(packet) for packet in packets]))
    return ours(path)


def test_an_error_gives_no_segment_and_costs_nothing() -> None:
    """Quoted segments are no rows, errors are counted as ICMP, and nothing is unread, however little is quoted."""
    whole = ipv4(tcp(b"x" * 100))
    frames = [ethernet(error(whole[:size])) for size in range(0, 141, 3)]
    frames += [ethernet(error(ipv6(tcp(b"x"))[:size], 1), ethertype=0x86DD) for size in range(1, 62, 3)]
    frames += [ethernet(error(wrap(whole)), ethertype=0x0800) for wrap in TUNNELS.values() if wrap(whole)[0] == 0x45]
    frames += [ethernet(error(ipv4(tcp(b""), fragment=fragment))) for fragment in (0x2000, 0x0010)]
    for read in (scan, scan_slowly):
        rows, facts = read(pcap(frames))
        assert (rows, facts.segments, facts.unread) == ([], facts.segments, {})
        assert facts.kinds.keys() == {"icmp", "icmpv6"}
        assert facts.kinds.total() == len(frames)


def test_other_icmp_is_not_looked_into(tmp_path: Path) -> None:
    """Echoes and redirects quote nothing that counts."""
    quotes = [error(segment(1000 + kind, 2, 5), kind) for kind in range(20)]
    assert [row[0] - 1 for row in conversations(quotes, tmp_path)] == [3, 4, 11, 12]


def test_quotes_number_conversations_and_change_no_table() -> None:
    """Errors about other connections move the stream numbers, and nothing else of any handshake."""
    times = packets_of(SAMPLE)
    quotes = [(times[0][0], error(segment(port, 2, 5))) for port in (7, 8, 7)]
    blocks = b"".join(enhanced(ether(packet), time) for time, packet in [*quotes, *times])
    moved = read_tables(io.BytesIO(section() + interface(1) + blocks)).frames["handshakes"]
    expected = read_tables(SAMPLE).frames["handshakes"]
    assert (moved["stream"] - expected["stream"]).tolist() == [2] * len(expected)
    assert (moved["frame"] - expected["frame"]).tolist() == [3] * len(expected)
    different = ["id", "capture", "stream", "frame"]
    assert moved.drop(columns=different).equals(expected.drop(columns=different))


def mixed(seed: int, count: int = 400) -> list[bytes]:
    """Draw packets of few ports and numbers, many of them quoted, some in tunnels.

    No SYN-ACK is quoted: to Wireshark, one of another number than its sender's last one would tell that number.
    """
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        port, flags, seq = rng.randrange(1000, 1020), rng.choice([2, 2, 16, 18, 17, 4]), rng.choice([5, 6, 9])
        packet = segment(port, flags, seq, back=rng.random() < 0.3)
        if flags != 18 and rng.random() < 0.5:
            packet = error(packet[: rng.choice([28, 35, 36, 40])], rng.choice([3, 3, 4, 5, 8, 11, 12]))
        found.append(TUNNELS["GRE"](packet) if rng.random() < 0.1 else packet)
    return found


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("seed", range(3))
def test_tshark_numbers_conversations_with_quotes_alike(seed: int, tmp_path: Path) -> None:
    """Streams among quoted and real packets, ports used again, are Wireshark's."""
    number, _ = LINKS["Ethernet"]
    path = tmp_path / "mixed.pcap"
    path.write_bytes(pcap([ether(packet) for packet in mixed(seed)], link=number))
    told = {frame: stream for frame, _, _, _, _, stream in theirs(path)}
    assert {frame: stream for frame, *_, stream in ours(path)} == told


@given(st.integers(0, 10_000), st.integers(60, 3000))
def test_chunks_do_not_change_what_quotes_number(seed: int, chunk_bytes: int) -> None:
    """However a capture is cut, the tables with quotes in it are equal, and no quote comes out as a segment."""
    capture = pcap([ether(packet) for packet in mixed(seed, 60)])
    together = scan(capture)
    assert scan(capture, chunk_bytes=chunk_bytes) == together
    sizes = (chunk_bytes, 1 << 20)
    readings = (read_tables(io.BytesIO(capture), chunk_bytes=size, tables=["notes"]) for size in sizes)
    cut, whole = (reading.frames["notes"] for reading in readings)
    assert cut.equals(whole)
    assert all(row.flags < COUNTED for row in together[0])
    assert np.all(whole["kind"].astype(str) == "no_tls")
