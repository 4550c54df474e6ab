"""Processes that scan a capture together see what one sees alone, whatever the file is like."""

import mmap
import os
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packet_builder import (
    Row,
    block,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    pcap,
    pcapng,
    reference_captures,
    rows_of,
    scan,
    section,
    tcp,
)

from tlspcap.errors import TlspcapError
from tlspcap.wire import packets, pieces
from tlspcap.wire.columns import AddressBook, FileFacts
from tlspcap.wire.files import PCAP_MAGICS, open_capture
from tlspcap.wire.openings import opening_of
from tlspcap.wire.team import Team, seats
from tlspcap.wire.walk import find_block, find_header

SAMPLES = Path(__file__).parent.parent / "sample_captures"
OPTIONS = b"\x06" + bytes(7)  # an IPv6 header that the columns leave to be read packet by packet
FRAMES = [
    frame
    for at in range(1, 41)
    for frame in (
        ethernet(ipv4(tcp(b"from a client" * at, seq=at))),
        ethernet(ipv6(OPTIONS + tcp(b"after options", seq=at), following=0), ethertype=0x86DD),
        ethernet(ipv4(bytes(100), protocol=17)),
        ethernet(ipv6(tcp(b"x" * 1400, seq=at)), ethertype=0x86DD),
    )
]
FRAME = attrgetter("frame")
INNER = pcap(FRAMES[:8])  # a capture that someone downloads while we record


def seen(path: Path, members: int, size: int) -> list[tuple[list[Row], FileFacts]]:
    """Let the members of a team read a file, each in a thread of its own; return what each saw."""

    def member(index: int, team: Team) -> tuple[list[Row], FileFacts]:
        with closing(team):
            return scan_part(path, (index, members), size, team)

    with ThreadPoolExecutor(members) as pool:
        return list(pool.map(member, range(members), [Team(seat) for seat in seats(members, size)]))


def scan_part(path: Path, share: tuple[int, int], size: int, team: Team) -> tuple[list[Row], FileFacts]:
    """Read one share of a capture, with a team."""
    facts, book, rows = FileFacts("test"), AddressBook(), []
    with open_capture(path) as opened:
        for part in packets.parts(opened, facts, book, share, chunk_bytes=size, team=team):
            rows += rows_of(part.own, book)
    return rows, facts


def assert_seen_alike(path: Path, members: int, size: int) -> None:
    """All members together see what one that is alone sees, each segment once, and each learns the same facts."""
    rows, facts = scan(path)
    together = seen(path, members, size)
    assert sorted((row for mine, _ in together for row in mine), key=FRAME) == sorted(rows, key=FRAME)
    for mine, learned in together:
        frames = [row.frame for row in mine]
        assert frames == sorted(frames)
        assert replace(learned, name="") == replace(facts, name="")


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("size", [400, 3_000, 50_000, 1 << 20])
@pytest.mark.parametrize("options", [{}, {"order": ">"}, {"nanoseconds": True}, {"kuznetzov": True}])
def test_a_team_sees_what_one_sees_alone(members: int, size: int, options: dict[str, object], tmp_path: Path) -> None:
    """Segments, payloads and facts are equal, whatever the size of pieces and the kind of pcap."""
    (path := tmp_path / "a.pcap").write_bytes(pcap(FRAMES, **options))
    assert_seen_alike(path, members, size)


@pytest.mark.parametrize("members", [2, 3])
@pytest.mark.parametrize("size", [401, 3_000, 50_000])
@pytest.mark.parametrize("order", "<>")
def test_a_team_reads_pcapng_as_one_does(members: int, size: int, order: str, tmp_path: Path) -> None:
    """Blocks are found from any place on, in both byte orders, with others that hold no packet among them."""
    statistics = block(5, bytes(12), order)
    half = len(FRAMES) // 2
    content = pcapng(FRAMES[:half], order=order) + statistics + pcapng(FRAMES[half:], order=order)[48:] + statistics
    (path := tmp_path / "a.pcapng").write_bytes(content)
    assert_seen_alike(path, members, size)


@pytest.mark.parametrize("size", [700, 5_000, 30_000])
@pytest.mark.parametrize(
    "between",
    [
        section() + interface(101),
        interface(101) + enhanced(FRAMES[0][14:], number=1),
        block(10, struct.pack("<II", 0x544C534B, 4) + b"keys"),
        section(">") + interface(1, ">", options=[(9, b"\x09")]) + enhanced(FRAMES[0], order=">"),
        block(3, struct.pack("<I", len(FRAMES[0])) + FRAMES[0]),
    ],
    ids=["section", "interface", "key log", "byte order", "simple packet"],
)
def test_what_changes_how_packets_are_read_is_read_in_order(between: bytes, size: int, tmp_path: Path) -> None:
    """From a new section, interface or key log on, everyone reads alone; so nothing is read by the wrong interface."""
    packets = pcapng(FRAMES[:40])[48:]
    content = pcapng(FRAMES) + between + packets
    (path := tmp_path / "a.pcapng").write_bytes(content)
    assert_seen_alike(path, 2, size)


def test_a_key_log_before_all_packets_is_read_once_by_everyone(tmp_path: Path) -> None:
    """A file that begins with a key log is read by everyone alone."""
    log = block(10, struct.pack("<II", 0x544C534B, 4) + b"keys")
    (path := tmp_path / "a.pcapng").write_bytes(section() + log + pcapng(FRAMES)[28:])
    assert_seen_alike(path, 2, 5_000)


@pytest.mark.parametrize("path", [path for path in reference_captures() if path.stat().st_size < 1_000_000][::3])
def test_a_team_reads_any_capture(path: Path) -> None:
    """The same holds for captures of real traffic, also for those that cannot be read in pieces."""
    assert_seen_alike(path, 2, 40_000)


@pytest.mark.parametrize(("form", "head"), [(pcap, 24), (pcapng, 48)], ids=["pcap", "pcapng"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), size=st.integers(500, 30_000))
def test_damage_is_read_alike(
    form: Callable[[list[bytes]], bytes], head: int, data: st.DataObject, size: int, tmp_path: Path
) -> None:
    """Bytes overwritten anywhere, or a file cut anywhere, end the reading of a team where they end that of one."""
    content = bytearray(form(FRAMES))
    for at in data.draw(st.lists(st.integers(head, len(content) - 8), max_size=4)):
        content[at : at + 4] = data.draw(st.binary(min_size=4, max_size=4))
    (path := tmp_path / "damaged").write_bytes(content[: data.draw(st.integers(head, len(content)))])
    assert_seen_alike(path, 2, size)


@pytest.mark.parametrize("size", [700, 1_500, 5_000])
def test_a_capture_inside_a_capture_misleads_nobody(size: int, tmp_path: Path) -> None:
    """Packet headers in a payload are guessed to be some, which is noticed, and the file is read right all the same."""
    frames = [ethernet(ipv4(tcp(INNER, seq=at))) for at in range(60)]
    (path := tmp_path / "nested.pcap").write_bytes(pcap(frames))
    assert_seen_alike(path, 2, size)


def test_more_packets_than_fit_are_read_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where a piece has more packets than a room has columns for, every process reads on by itself."""
    monkeypatch.setattr(pieces, "MOST_ROWS", 50)
    (path := tmp_path / "tiny.pcap").write_bytes(pcap([b""] * 300 + FRAMES))
    assert_seen_alike(path, 2, 4_000)


def test_one_team_reads_several_files(tmp_path: Path) -> None:
    """A team goes from file to file, whether or not each can be read in pieces to its end."""
    contents = [pcap(FRAMES), pcapng(FRAMES[:20]), pcap(FRAMES)[:20_000] + b"\xff" * 5_000 + pcap(FRAMES), pcap(FRAMES)]
    paths = [tmp_path / f"{at}.pcap" for at in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    first, second = (Team(seat) for seat in seats(2, 3_000))
    with closing(first), closing(second), ThreadPoolExecutor(2) as pool:
        answers = pool.map(
            lambda index, team: [scan_part(path, (index, 2), 3_000, team) for path in paths], (0, 1), (first, second)
        )
        for one, other, path in zip(*answers, paths, strict=True):
            rows, facts = scan(path)
            assert sorted(one[0] + other[0], key=FRAME) == sorted(rows, key=FRAME)
            assert one[1] == other[1] == facts


@pytest.mark.parametrize("said", [b"", b"\x09", struct.pack("<I", 9), struct.pack("<I", 9) + b"\x80\x04"])
def test_a_process_that_ends_early_is_an_error_for_those_who_wait(said: bytes, tmp_path: Path) -> None:
    """Whoever needs a piece of a process that has gone, even in the middle of a message, says so and waits no more."""
    (path := tmp_path / "a.pcap").write_bytes(pcap(FRAMES))
    own, other = seats(2, 3_000)
    team = Team(own)
    for peer in other.peers.values():
        os.write(peer, said)
    for file in other.files():
        os.close(file)
    with closing(team), pytest.raises(TlspcapError, match="ended early"):
        scan_part(path, (0, 2), 3_000, team)


@pytest.mark.parametrize("kind", [pcap, pcapng])
def test_pieces_of_a_file_are_used(kind: Callable[[list[bytes]], bytes], tmp_path: Path) -> None:
    """A sound capture is read in pieces to its end: nobody reads on alone."""
    (path := tmp_path / "a.pcap").write_bytes(kind(FRAMES))
    size = path.stat().st_size // 5
    with path.open("rb") as file:
        room, opening = pieces.Room(mmap.mmap(-1, pieces.Room.needed(size)), size), opening_of(file.fileno())
        found = [pieces.read_piece(file.fileno(), opening, "", index, room, 2) for index in range(5)]
    assert all(piece.whole for piece in found)
    assert [piece.last for piece in found[:5]] == [False] * 4 + [True]
    assert [piece.start for piece in found[1:]] == [piece.stop for piece in found[:-1]]


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from(sorted(PCAP_MAGICS)))
def test_guessing_headers_is_safe_on_any_bytes(head: bytes, tail: bytes, magic: bytes) -> None:
    """A guess lies inside of the bytes, or there is none."""
    data = np.frombuffer(head + struct.pack("<IIII", 1_700_000_000, 0, 4, 4) + tail, dtype=np.uint8)
    found = find_header(data, PCAP_MAGICS[magic])
    assert found is None or 0 <= found <= len(data) - PCAP_MAGICS[magic].header


@given(st.binary(max_size=200), st.binary(max_size=200), st.sampled_from("<>"), st.integers(0, 100))
def test_guessing_blocks_is_safe_on_any_bytes(head: bytes, tail: bytes, order: str, length: int) -> None:
    """A guess lies inside of the bytes, or there is none."""
    data = np.frombuffer(head + struct.pack(order + "II", 6, length) + bytes(12) + tail, dtype=np.uint8)
    found = find_block(data, order)
    assert found is None or 0 <= found <= len(data) - 24
