"""Opening captures: paths, folders, globs, pipes, packed files, and what is said of things that are none."""

import bz2
import gzip
import io
import lzma
import os
import struct
import sys
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import lz4.frame
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from packet_builder import ethernet, ipv4, pcap, pcapng, scan, tcp
from work import memory

from tlspcap.errors import ArgumentError, CaptureError, NotACapture
from tlspcap.wire.files import Opened, Window, open_capture, sources

FRAMES = [ethernet(ipv4(tcp(bytes([at]) * 1000, seq=at))) for at in range(50)]
WHOLE = pcap(FRAMES)
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": zstandard.compress,
    "lz4": lz4.frame.compress,
    "pzstd": lambda data: struct.pack("<II", 0x184D2A50, 4) + bytes(4) + zstandard.compress(data),
}


class Dribble(io.RawIOBase):
    """A stream that gives one byte at a time, as a slow pipe may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, view) -> int:
        """Give one byte."""
        return self._data.readinto(memoryview(view)[:1])


class Failing(io.RawIOBase):
    """A stream that fails after a while, as a disk may."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readinto(self, view) -> int:
        """Give what is left, then fail."""
        count = self._data.readinto(memoryview(view)[:700])
        if not count:
            raise OSError(5, "Input/output error")
        return count


def read_all(opened: Opened) -> bytes:
    """Read an opened capture to its end."""
    view = bytearray(1 << 20)
    return bytes(view[: opened.readinto(memoryview(view))])


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_packed_captures_are_told_by_content(pack, tmp_path: Path) -> None:
    """gzip, bzip2, xz, zstd and lz4 are unpacked whatever the file is called."""
    path = tmp_path / "capture"
    path.write_bytes(pack(WHOLE))
    assert scan(path)[0] == scan(WHOLE)[0]


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_cut_packed_capture_keeps_what_could_be_unpacked(pack) -> None:
    """A packed stream that ends too early gives the packets before, and says what happened at which byte."""
    noise = [ethernet(ipv4(tcp(os.urandom(1400), seq=at))) for at in range(1200)]
    packed = pack(pcap(noise))
    rows, facts = scan(packed[: len(packed) * 3 // 4])
    assert 200 < len(rows) < 1200
    assert "packed data is broken" in facts.stopped_why
    assert facts.stopped_at == 24 + len(rows) * (16 + len(noise[0]))


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("padding", [b"", bytes(700)])
def test_packed_members_one_after_the_other_are_one_capture(pack, padding: bytes) -> None:
    """Files that were packed in parts and put together unpack as one, also with zeros between and behind them."""
    rows, facts = scan(pack(WHOLE[:333]) + pack(b"") + padding + pack(WHOLE[333:]) + padding)
    assert rows == scan(WHOLE)[0]
    assert facts.stopped_at is None


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_cut_member_keeps_the_members_before_it(pack) -> None:
    """Where the last of several members is cut short, all that the others hold is there."""
    first = pcap(FRAMES[:20])
    rows, facts = scan(pack(first) + pack(WHOLE[len(first) :])[:9])
    assert rows == scan(WHOLE)[0][:20]
    assert facts.stopped_at == len(first)
    assert "it ends before its end mark" in facts.stopped_why


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_garbage_behind_a_packed_capture_costs_nothing_before_it(pack) -> None:
    """What follows the last member and is no member is said, and all before it is there."""
    rows, facts = scan(pack(WHOLE) + b"no member of anything" * 9)
    assert rows == scan(WHOLE)[0]
    assert facts.stopped_at == len(WHOLE)
    assert "packed data is broken" in facts.stopped_why


@settings(max_examples=120)
@given(
    pack=st.sampled_from(sorted(PACKERS)),
    changes=st.lists(st.tuples(st.integers(0, 9_999), st.integers(0, 255)), max_size=4),
    end=st.integers(0, 9_999),
)
def test_damaged_packed_captures_raise_nothing_but_the_documented_errors(pack: str, changes, end: int) -> None:
    """A packed capture with bytes changed anywhere, and cut anywhere, is read as far as it goes."""
    damaged = bytearray(PACKERS[pack](WHOLE))
    for at, value in changes:
        damaged[at % len(damaged)] = value
    try:
        scan(bytes(damaged[: end % len(damaged) + 1]))
    except CaptureError:
        return


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_a_bomb_is_unpacked_a_little_at_a_time(pack) -> None:
    """However much a few packed bytes unpack to, 20 MB at most are held, and all of it is read."""
    size, held = 60 << 20, bytearray(1 << 16)
    bomb = io.BytesIO(pack(pcap([]) + bytes(size)))
    with memory() as taken, Opened("bomb", bomb) as opened:
        read = sum(iter(lambda: opened.readinto(memoryview(held)), 0))
    assert read == 24 + size
    assert taken.peak < 20 << 20


def test_an_xz_header_cannot_ask_for_any_memory() -> None:
    """A dictionary of 4 GB, which a few bytes can ask for, is refused in words."""
    filters = [{"id": lzma.FILTER_LZMA2, "dict_size": 1 << 20}]
    packed = bytearray(lzma.compress(WHOLE, filters=filters))
    at = packed.index(b"\x21\x01", 12) + 2  # the block header's LZMA2 filter: id, size of properties, dictionary size
    packed[at] = 40
    packed[20:24] = struct.pack("<I", zlib.crc32(packed[12:20]))
    with pytest.raises(NotACapture, match=r"packed data is broken.*[Mm]emory"):
        scan(bytes(packed))


def test_a_stream_may_give_its_bytes_one_by_one() -> None:
    """A slow pipe changes nothing, packed or not."""
    for data in (WHOLE, gzip.compress(WHOLE), pcapng(FRAMES)):
        with open_capture(Dribble(data)) as opened:
            view = bytearray(1 << 20)
            count = opened.readinto(memoryview(view))
        assert bytes(view[:count]) == (data if opened.packed is False else WHOLE)


def test_a_failing_disk_keeps_what_was_read() -> None:
    """An error while reading ends the capture there, with the error's words."""
    with open_capture(Failing(WHOLE)) as opened:
        assert read_all(opened) == WHOLE
        assert opened.trouble == "reading failed: [Errno 5] Input/output error"


def test_a_named_pipe_is_read_once(tmp_path: Path) -> None:
    """A FIFO is read from front to end without seeking."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_bytes, args=(WHOLE,))
    writer.start()
    assert sources(path) == [str(path)]
    assert scan(path)[0] == scan(WHOLE)[0]
    writer.join()


def test_standard_input_is_a_dash(monkeypatch: pytest.MonkeyPatch) -> None:
    """The name - stands for standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(WHOLE)))
    assert sources("-") == ["-"]
    with open_capture("-") as opened:
        assert read_all(opened) == WHOLE


def test_a_given_file_stays_open() -> None:
    """Who opened a binary file closes it; a path that was opened here is closed here."""
    given = io.BytesIO(WHOLE)
    with open_capture(given) as opened:
        read_all(opened)
    assert not given.closed


def test_sources_orders_rotated_files_by_number(tmp_path: Path) -> None:
    """Globs and folders come in the order in which tcpdump rotated: cap.pcap9 before cap.pcap10."""
    names = ["cap.pcap", "cap.pcap1", "cap.pcap2", "cap.pcap10"]
    for name in reversed(names):
        (tmp_path / name).write_bytes(WHOLE)
    paths = [str(tmp_path / name) for name in names]
    assert sources(str(tmp_path / "cap.pcap*")) == paths
    assert sources(tmp_path) == paths
    assert sources([tmp_path / "cap.pcap2", str(tmp_path / "cap.pcap1")]) == [paths[2], paths[1]]
    assert sources([tmp_path]) == paths


def test_a_folder_gives_the_captures_in_it_by_content(tmp_path: Path) -> None:
    """Names do not matter, folders inside do not count, and other files are left out."""
    (tmp_path / "a.bin").write_bytes(WHOLE)
    (tmp_path / "b").write_bytes(gzip.compress(pcapng(FRAMES)))
    (tmp_path / "c.pcap").write_text("notes")
    (tmp_path / "d.pcap").write_bytes(b"")
    (tmp_path / "e.gz").write_bytes(gzip.compress(b"notes"))
    (tmp_path / "folder").mkdir()
    assert sources(tmp_path) == [str(tmp_path / "a.bin"), str(tmp_path / "b")]


def test_a_name_with_pattern_characters_is_a_file_first(tmp_path: Path) -> None:
    """A file that is really called a[1].pcap is opened, not searched for."""
    path = tmp_path / "a[1].pcap"
    path.write_bytes(WHOLE)
    assert sources(str(path)) == [str(path)]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("missing.pcap", "no such file"),
        ("*.nothing", "no file matches"),
        ("zero\0byte", "no such file"),
        ("x" * 5000, "no such file"),
        ("empty", "no captures in this folder"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(name: str, said: str, tmp_path: Path) -> None:
    """A missing file, a pattern without a match and a folder without captures are errors of one line with the name."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(CaptureError, match=said) as raised:
        sources(str(tmp_path / name))
    assert name in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (gzip.compress(b"", mtime=0), "nothing is in it"),
        (b"12:01:02.000 IP 192.0.2.1.49152 > 198.51.100.2.443: Flags [S]", "looks like text"),
        (b"\x28\xb5\x2f\xfd" + b"\xff" * 50, "packed data is broken"),
        (b"\x04\x22\x4d\x18" + bytes(50), "packed data is broken"),
        (b"\x02\x21\x4c\x18" + bytes(50), "lz4 -dc"),
        (b"7z\xbc\xaf" + bytes(50), "7-Zip"),
        (b"\x1c\x00\x01\xac" + bytes(50), "editcap"),
        (b"PK\x03\x04" + bytes(50), "zip archive"),
        (b"snoop\0\0\0" + bytes(50), "editcap"),
        (b"\x7fELF" + bytes(50), "7f 45 4c 46"),
        (b"\x1f\x8b" + bytes(50), "packed data is broken"),
        (gzip.compress(b"notes", mtime=0), "looks like text"),
        (b"\xd4", "not a packet capture"),
    ],
)
def test_what_is_no_capture_is_said_with_what_to_try(content: bytes, said: str, tmp_path: Path) -> None:
    """Content of no capture format is an error of one line: which file, what it looks like, what to try."""
    path = tmp_path / "thing"
    path.write_bytes(content)
    with pytest.raises(CaptureError, match=said) as raised:
        scan(path)
    assert "\n" not in str(raised.value)
    assert str(path) in str(raised.value)
    assert isinstance(raised.value, NotACapture) == bool(content)


@pytest.mark.parametrize(
    "content", [b"]]]]]\0 no capture", gzip.compress(b"\xdf" * 200, 1, mtime=0)[:-2], b"text\0", b"text"]
)
def test_what_is_no_capture_is_told_alike_through_any_window(content: bytes) -> None:
    """How much of a file the window holds makes no difference to the words, packed data that breaks off included."""
    words = set()
    for chunk_bytes in (1, 4, 5, 6, 1 << 20):
        with pytest.raises(NotACapture) as raised:
            scan(content, chunk_bytes=chunk_bytes)
        words.add(str(raised.value))
    assert len(words) == 1


def test_callers_mistakes_are_argument_errors() -> None:
    """Something that is no capture at all, a file opened as text, and an empty list say so."""
    with pytest.raises(ArgumentError, match="not a capture: 5"):
        sources(5)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="mode 'rb'"):
        open_capture(io.StringIO("text"))  # type: ignore[arg-type]
    with pytest.raises(CaptureError, match="list is empty"):
        sources([])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_says_so(tmp_path: Path) -> None:
    """A file that may not be read is an error with the system's words."""
    path = tmp_path / "secret.pcap"
    path.write_bytes(WHOLE)
    path.chmod(0)
    with pytest.raises(CaptureError, match="Permission denied"):
        open_capture(path)


def test_a_folder_given_to_open_is_an_error(tmp_path: Path) -> None:
    """Opening a folder as a file says what it is."""
    with pytest.raises(CaptureError, match=r"[Dd]irectory"):
        open_capture(tmp_path)


def test_the_window_gives_every_byte_once_at_its_offset() -> None:
    """However small the window, need and skip walk through the capture without loss, and offsets count on."""
    data = bytes(range(256)) * 20
    for size in (1, 7, 100, 10_000):
        with open_capture(io.BytesIO(data)) as opened:
            window, seen = Window(opened, size), b""
            while window.need(3):
                assert window.offset == len(seen)
                seen += bytes(window.raw[window.position : window.position + 3])
                window.position += 3
            seen += bytes(window.raw[window.position : window.end])
            assert seen == data
            assert not window.skip(window.left + 1)


def test_the_window_skips_more_than_it_holds() -> None:
    """Skipping leaves nothing in memory, and says where the capture ends too early."""
    with open_capture(io.BytesIO(bytes(5000))) as opened:
        window = Window(opened, 10)
        assert window.skip(4999)
        assert window.offset == 4999
        assert not window.skip(2)
        assert len(window.raw) < 200
