"""The front door: laws that hold for any capture, any chunk size and any bytes, and what Wireshark says."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from packet_builder import (
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    pcap,
    pcapng,
    reference_captures,
    scan,
    scan_slowly,
    section,
    tcp,
)

from tlspcap.errors import CaptureError

CAPTURES = reference_captures()
FRAMES = [
    ethernet(ipv4(tcp(b"client hello", seq=1))),
    ethernet(ipv6(tcp(b"x" * 1400, seq=2, options=b"\x01" * 12)), 0x8100, ethertype=0x86DD),
    ethernet(ipv4(bytes(100), protocol=17)),
    ethernet(ipv6(b"\x06" + bytes(7) + tcp(b"after options"), following=0), ethertype=0x86DD),
    b"",
    ethernet(ipv4(tcp(b"", flags=17))) + bytes(6),
]
SECTIONS = [
    section(order) + b"".join(interface(1, order) + enhanced(frame, at, at, order) for at, frame in enumerate(FRAMES))
    for order in "<><"
]
BUILT = {
    "pcap": pcap(FRAMES),
    "pcap, big": pcap(FRAMES, order=">"),
    "pcapng": pcapng(FRAMES * 2),
    "pcapng, many sections": b"".join(SECTIONS),
}


@settings(max_examples=80, deadline=None)
@given(capture=st.sampled_from(sorted(BUILT)), chunk_bytes=st.integers(1, 3000))
def test_any_chunk_size_gives_the_same_segments(capture: str, chunk_bytes: int) -> None:
    """However a capture is cut into chunks, its segments, payloads and counts are equal."""
    assert scan(BUILT[capture], chunk_bytes=chunk_bytes) == scan(BUILT[capture])


@pytest.mark.skipif(not CAPTURES, reason="no sample or reference captures here")
@pytest.mark.parametrize("chunk_bytes", [100, 4096, 30_011])
def test_any_chunk_size_gives_the_same_segments_of_real_captures(chunk_bytes: int) -> None:
    """The same holds for captures of real traffic."""
    for path in [path for path in CAPTURES if "zerortt" not in path.name][:: 4 if chunk_bytes == 100 else 2]:
        if path.stat().st_size < 100_000:
            assert scan(path, chunk_bytes=chunk_bytes) == scan(path)


def read_whatever(capture: bytes, chunk_bytes: int = 1 << 20) -> None:
    """Read bytes that may be anything: only the documented errors may come out of it, and counts must add up."""
    try:
        rows, facts = scan(capture, chunk_bytes=chunk_bytes)
    except CaptureError:
        return
    assert len(rows) == facts.segments <= facts.packets
    assert facts.packets <= sum(facts.kinds.values()) + facts.unread.total()
    assert scan_slowly(capture)[0] == rows


@settings(max_examples=150, deadline=None)
@given(head=st.sampled_from([b"", *(capture[:28] for capture in BUILT.values())]), rest=st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_the_documented_errors(head: bytes, rest: bytes) -> None:
    """Any bytes, with or without the beginning of a capture, are read or refused, and nothing else."""
    read_whatever(head + rest, chunk_bytes=64)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    capture=st.sampled_from(sorted(BUILT)),
    changes=st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), min_size=1, max_size=6),
    end=st.integers(0, 6000),
)
@example(capture="pcapng", changes=[(12, 0)], end=6000)
def test_mutated_captures_raise_nothing_but_the_documented_errors(capture: str, changes, end: int) -> None:
    """A capture with bytes changed anywhere, and cut anywhere, is read as far as it goes, by scan and twin alike."""
    damaged = bytearray(BUILT[capture])
    for at, value in changes:
        damaged[at % len(damaged)] = value
    read_whatever(bytes(damaged[:end]), chunk_bytes=500)


def tshark_rows(path: Path) -> list[list[str]]:
    """Ask tshark for the TCP segments of a capture: frame, time, ports, raw sequence number, payload length."""
    fields = ["frame.number", "frame.time_epoch", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.len", "tcp.flags"]
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp && !icmp", "-T", "fields"]
    command += [part for field in fields for part in ("-e", field)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [line.split("\t") for line in printed.splitlines()]


def spread(paths: list[Path], count: int) -> list[Path]:
    """Pick a few captures over the whole range of sizes, without those whose TCP lies in tunnels."""
    plain = [path for path in paths if scan_is_plain(path)]
    return plain[:: max(len(plain) // count, 1)]


def scan_is_plain(path: Path) -> bool:
    """Tell whether a capture holds TCP, and no tunnel that tshark would look into."""
    try:
        rows, facts = scan(path)
    except CaptureError:
        return False
    return bool(rows) and not facts.kinds.keys() & {"pppoe", "ipv6 in ip", "ip in ip", "gre", "udp", "icmp"}


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.skipif(not CAPTURES, reason="no sample or reference captures here")
def test_tshark_finds_the_same_segments() -> None:
    """Frame numbers, times, ports, sequence numbers, lengths and flags are Wireshark's."""
    for path in spread(CAPTURES, 10):
        rows, _ = scan(path)
        ours = [
            [row.frame, row.time, row.source_port, row.target_port, row.seq, row.length, row.flags] for row in rows
        ]
        theirs = [
            [int(frame), int(time.replace(".", "")), int(source), int(target), int(seq), int(length), int(flags, 16)]
            for frame, time, source, target, seq, length, flags in tshark_rows(path)
        ]
        assert ours == theirs, path.name
