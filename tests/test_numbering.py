"""Stream numbers are Wireshark's, also where ports are used again and headers are damaged, cut short or quoted.

Each case is a few packets and the stream number that tshark 4.0.17 gives each of them, "." where it gives none.
"""

import random
import shutil
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packet_builder import CLIENT, CLIENT6, SERVER, ethernet, ipv4, ipv6, pcap, scan, scan_slowly, tcp
from test_tunnels import ours, theirs

from tlspcap.wire.columns import CUT_HEADERS, DAMAGED_TCP

FIN, SYN, RST, ACK = 1, 2, 4, 16
REDIRECT = 137

Frame = tuple[bytes, int]  # captured bytes, and how many more there were on the wire


def packet(flags: int, seq: int, ack: int = 0, *, back: bool = False, offset: int = 5, size: int | None = None,
           payload: bytes = b"", port: int = 1000, fragment: int = 0x4000) -> bytes:  # fmt: skip
    """Build a packet of a client's port with a server's, or back; `size` bytes of its TCP header and payload."""
    segment = bytearray(tcp(payload, seq=seq, ack=ack, flags=flags, ports=(443, port) if back else (port, 443)))
    segment[12] = offset << 4 | segment[12] & 15
    return ipv4(bytes(segment[:size]), fragment=fragment, ends=(SERVER, CLIENT) if back else (CLIENT, SERVER))


def packet6(flags: int, seq: int, extension: bytes = b"", following: int = 6) -> bytes:
    """Build one of IPv6, behind an extension header or none."""
    return ipv6(extension + tcp(flags=flags, seq=seq, ports=(1000, 443)), following=following)


def quoted(inner: bytes, kind: int = 3, size: int | None = None, outer: int | None = None) -> bytes:
    """Put a packet, or as much of it as `size`, into an ICMP message, of the same IP version unless `outer` says."""
    body = struct.pack(">BBHI", kind, 0, 0, 0) + inner[:size]
    return ipv6(body, following=58) if (outer or inner[0] >> 4) == 6 else ipv4(body, protocol=1)


def redirect(*options: bytes) -> bytes:
    """Build an ICMPv6 redirect with options."""
    return ipv6(struct.pack(">BBHI", REDIRECT, 0, 0, 0) + bytes(32) + b"".join(options), following=58)


def redirected(inner: bytes) -> bytes:
    """Build the option of a redirect that quotes a packet."""
    return struct.pack(">BB6x", 4, (len(inner) + 15) // 8) + inner + bytes(-len(inner) % 8)


def whole(*packets: bytes) -> list[Frame]:
    """Put packets into Ethernet frames."""
    return [(ethernet(one, ethertype=0x0800 if one[0] >> 4 == 4 else 0x86DD), 0) for one in packets]


def cut(tcp_bytes: int, one: bytes) -> list[Frame]:
    """Capture only some bytes of a packet's TCP header."""
    frame = ethernet(one)
    captured = frame[: 34 + tcp_bytes]
    return [(captured, len(frame) - len(captured))]


ANSWER = SYN | ACK
OTHER = packet(SYN, 1, port=2)  # of other endpoints: shows how many numbers are taken
FRAGMENT = struct.pack(">BBHI", 6, 0, 1, 77)  # IPv6 header of a first fragment

CASES: dict[str, tuple[list[Frame], str]] = {
    "SYN repeated": (whole(packet(SYN, 5), packet(SYN, 5)), "00"),
    "port used again": (whole(packet(SYN, 5), packet(FIN | ACK, 6), packet(SYN, 9), packet(ACK, 10)), "0011"),
    "port used again, same number": (whole(packet(SYN, 5), packet(RST, 6), packet(SYN, 5)), "000"),
    "late segment of the one before": (whole(packet(SYN, 5), packet(SYN, 9), packet(ACK, 6), packet(SYN, 5)), "0112"),
    "SYN lost": (whole(packet(ANSWER, 50, 6, back=True), packet(SYN, 5), packet(SYN, 9)), "001"),
    "SYN and its answer lost": (whole(packet(ACK, 6, 51), packet(SYN, 5), packet(SYN, 50, back=True)), "000"),
    "SYN lost, told by an ACK": (whole(packet(ACK, 51, 6, back=True), packet(SYN, 5), packet(SYN, 6)), "001"),
    "simultaneous open": (whole(packet(SYN, 5), packet(SYN, 50, back=True), packet(SYN, 51, back=True)), "001"),
    "SYN-ACK never begins one": (whole(packet(SYN, 5), packet(ANSWER, 50, 6, back=True),
                                       packet(ANSWER, 60, 6, back=True)), "000"),
    "newest SYN-ACK tells": (whole(packet(SYN, 5), packet(ANSWER, 50, 6, back=True), packet(ANSWER, 60, 6, back=True),
                                   packet(SYN, 60, back=True), packet(SYN, 50, back=True)), "00001"),
    # A data offset below 5 damages nothing that numbers go by.
    "offset too small": (whole(packet(SYN, 5, offset=0), packet(SYN, 9, offset=4), packet(SYN, 9)), "011"),
    "offset too small, data": (whole(packet(ACK, 5, 70, offset=3), packet(SYN, 69, back=True), packet(SYN, 9)), "001"),
    "offset too small, SYN-ACK": (whole(packet(SYN, 5), packet(ANSWER, 50, 6, back=True),
                                        packet(ANSWER, 60, 6, back=True, offset=3),
                                        packet(SYN, 60, back=True), packet(SYN, 50, back=True)), "00001"),
    # Where the data would begin beyond the packet, the initial number is not told.
    "offset beyond": (whole(packet(SYN, 5, offset=15), packet(SYN, 9), packet(SYN, 11)), "001"),
    "offset beyond, SYN of a known end": (whole(packet(SYN, 5), packet(SYN, 9, offset=15), packet(SYN, 7),
                                                packet(SYN, 9)), "0112"),
    "offset beyond, SYN-ACK": (whole(packet(SYN, 5), packet(ANSWER, 50, 6, back=True),
                                     packet(ANSWER, 60, 6, back=True, offset=15),
                                     packet(SYN, 60, back=True), packet(SYN, 50, back=True)), "00001"),
    "offset beyond, first SYN-ACK": (whole(packet(SYN, 5), packet(ANSWER, 50, 6, back=True, offset=15),
                                           packet(SYN, 60, back=True), packet(SYN, 50, back=True)), "0001"),
    "16 bytes": (whole(packet(SYN, 5, size=16), packet(SYN, 9), packet(SYN, 11)), "001"),
    "15 bytes": (whole(packet(SYN, 5, size=15), OTHER), ".0"),
    "16 bytes, offset too small": (whole(packet(SYN, 5, size=16, offset=4), packet(SYN, 9)), "01"),
    "cut to 15 bytes": ([*cut(15, packet(SYN, 5)), *whole(OTHER)], ".0"),
    "cut to 16 bytes": ([*cut(16, packet(SYN, 5)), *whole(packet(SYN, 9))], "01"),
    "cut to 19 bytes of 60": ([*cut(19, packet(SYN, 5, offset=10, payload=bytes(40))), *whole(packet(SYN, 9))], "01"),
    "cut to 16 bytes, offset beyond": ([*cut(16, packet(SYN, 5, offset=12)), *whole(packet(SYN, 9))], "00"),
    # Quoted headers count, and tell no initial number but by a SYN-ACK of a side whose number is known.
    "quoted": (whole(quoted(packet(SYN, 5)), packet(SYN, 9), packet(SYN, 5)), "001"),
    "quoted, a new number": (whole(packet(SYN, 5), quoted(packet(SYN, 9)), packet(SYN, 7), packet(SYN, 9)), "0112"),
    "quoted SYN-ACK, a new number": (whole(packet(SYN, 5), packet(ANSWER, 50, 6, back=True),
                                           quoted(packet(ANSWER, 60, 6, back=True)),
                                           packet(SYN, 60, back=True), packet(SYN, 50, back=True)), "00001"),
    "quoted SYN-ACK, first": (whole(packet(SYN, 5), quoted(packet(ANSWER, 60, 6, back=True)),
                                    packet(ANSWER, 50, 6, back=True), packet(SYN, 50, back=True)), "0000"),
    "quoted, 8 bytes": (whole(quoted(packet(SYN, 5), size=28), OTHER), ".0"),
    "quoted, 15 bytes": (whole(quoted(packet(SYN, 5), size=35), OTHER), ".0"),
    "quoted, 16 bytes": (whole(quoted(packet(SYN, 5), size=36), OTHER), "01"),
    "quoted, damaged offset": (whole(quoted(packet(SYN, 5, offset=3)), packet(SYN, 9), OTHER), "001"),
    "quoted by an error that is quoted": (whole(quoted(quoted(packet(SYN, 5))), OTHER), "01"),
    "ICMP redirect": (whole(quoted(packet(SYN, 5), 5), OTHER), ".0"),
    "ICMPv6 errors": (whole(*(quoted(packet6(SYN, kind), kind) for kind in (1, 2, 3, 4)), OTHER), "00001"),
    "no ICMPv6 errors": (whole(*(quoted(packet6(SYN, 5), kind) for kind in (0, 5, 100, 127, 128, 200)), OTHER),
                         "......0"),
    "IPv6 quoted in ICMP": (whole(quoted(packet6(SYN, 5), outer=4), OTHER), "01"),
    "IPv4 quoted in ICMPv6": (whole(quoted(packet(SYN, 5), 1, outer=6), OTHER), ".0"),
    "ICMPv6 redirect": (whole(redirect(redirected(packet6(SYN, 5))), OTHER), "01"),
    "ICMPv6 redirect, a link-layer address first": (whole(redirect(b"\2\1" + bytes(6), redirected(packet6(SYN, 5))),
                                                          OTHER), "01"),
    "ICMPv6 redirect, little quoted": (whole(redirect(redirected(packet6(SYN, 5)[:48])), OTHER), ".0"),
    "ICMPv6 redirect without a quote": (whole(redirect(), redirect(b"\2\1" + bytes(6)), redirect(b"\2\0" + bytes(6)),
                                              OTHER), "...0"),
    "quoted fragment, cut": (whole(quoted(packet(SYN, 5, fragment=0x2000), size=36), OTHER), "01"),
    "quoted fragment, whole": (whole(quoted(packet(SYN, 5, fragment=0x2000)), OTHER), ".0"),
    "quoted fragment, not the first": (whole(quoted(packet(SYN, 5, fragment=0x2010), size=36), OTHER), ".0"),
    "quoted fragment of IPv6": (whole(quoted(packet6(SYN, 5, FRAGMENT, 44)[:64], 1), OTHER), ".0"),
}  # fmt: skip

each_case = pytest.mark.parametrize(("frames", "told"), CASES.values(), ids=CASES)
needs_tshark = pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")


def capture(frames: list[Frame]) -> bytes:
    """Write a capture file."""
    return pcap([frame for frame, _ in frames], wires=[len(frame) + missing for frame, missing in frames])


def streams(rows: list[tuple[int, int]], count: int) -> str:
    """The stream of each frame, where there are fewer than ten."""
    by_frame = dict(rows)
    return "".join(str(by_frame.get(frame, ".")) for frame in range(1, count + 1))


@each_case
def test_numbers_are_those_written_down(frames: list[Frame], told: str, tmp_path: Path) -> None:
    """Each packet has the number that tshark gave it when the case was written."""
    path = tmp_path / "case.pcap"
    path.write_bytes(capture(frames))
    assert streams([(row[0], row[-1]) for row in ours(path)], len(frames)) == told


@needs_tshark
def test_tshark_numbers_the_cases_so(tmp_path: Path) -> None:
    """The numbers written down are tshark's: all cases in one capture, each with a client of its own."""
    frames, told, taken = list[Frame](), list[int | None](), 0
    for at, (some, numbers) in enumerate(CASES.values()):
        for client in (CLIENT, CLIENT6):
            some = [(frame.replace(client, client[:-2] + bytes([100 + at, client[-1]])), more) for frame, more in some]
        frames += some
        told += [None if number == "." else taken + int(number) for number in numbers]
        taken = max(number for number in told if number is not None) + 1
    path = tmp_path / "cases.pcap"
    path.write_bytes(capture(frames))
    found = {row[0]: row[-1] for row in theirs(path)}
    assert [found.get(frame) for frame in range(1, len(frames) + 1)] == told


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (whole(packet(SYN, 5, offset=4)), DAMAGED_TCP),
        (whole(packet(SYN, 5, offset=6)), DAMAGED_TCP),
        (whole(packet(SYN, 5, size=16)), DAMAGED_TCP),
        (whole(packet(SYN, 5, size=15)), DAMAGED_TCP),
        (cut(16, packet(SYN, 5)), CUT_HEADERS),
        (cut(15, packet(SYN, 5)), CUT_HEADERS),
    ],
)
def test_what_is_only_numbered_is_no_segment_and_is_said(frame: list[Frame], reason: str) -> None:
    """A TCP header that cannot be read gives no segment, and is counted by its reason, in scan and twin alike."""
    for read in (scan, scan_slowly):
        rows, facts = read(capture(frame))
        assert (rows, facts.segments, facts.kinds, facts.unread) == ([], 0, {"tcp": 1}, {reason: 1})


def jumble(seed: int, count: int) -> list[Frame]:
    """Draw packets of few ports and numbers; many are damaged, cut or quoted."""
    rng = random.Random(seed)
    found: list[Frame] = []
    for _ in range(count):
        flags, back = rng.choice([SYN, SYN, ACK, ANSWER, ANSWER, FIN | ACK, RST, RST | ACK]), rng.random() < 0.4
        seq, ack, port = rng.choice([5, 6, 9]), rng.choice([6, 7, 10]), rng.randrange(1000, 1008)
        offset, size = rng.choice([5] * 8 + list(range(16))), rng.choice([None] * 5 + list(range(15, 21)))
        one = packet(flags, seq, ack, back=back, offset=offset, size=size, payload=bytes(rng.choice([0, 4])), port=port)
        if rng.random() < 0.3:
            one = quoted(one, rng.choice([3, 3, 4, 5, 11, 12]), rng.choice([28, 35, 36, 37, 40, 60]))
        found += cut(rng.randrange(10, 30), one) if rng.random() < 0.15 else whole(one)
    return found


@needs_tshark
@pytest.mark.parametrize("seed", range(3))
def test_tshark_numbers_a_jumble_alike(seed: int, tmp_path: Path) -> None:
    """Whatever is among the packets of few endpoints, each stream is Wireshark's."""
    path = tmp_path / "jumble.pcap"
    path.write_bytes(capture(jumble(seed, 400)))
    assert {row[0]: row[-1] for row in ours(path)} == {row[0]: row[-1] for row in theirs(path)}


@given(st.integers(0, 10_000), st.integers(60, 3000))
def test_scan_and_twin_and_any_chunks_agree_on_a_jumble(seed: int, chunk_bytes: int) -> None:
    """Columns, packets one by one, and chunks of any size find the same segments, and count the same."""
    written = capture(jumble(seed, 30))
    (rows, facts), (slow_rows, slow_facts) = scan(written), scan_slowly(written)
    assert rows == slow_rows == scan(written, chunk_bytes=chunk_bytes)[0]
    assert (facts.kinds, facts.unread) == (slow_facts.kinds, slow_facts.unread)
