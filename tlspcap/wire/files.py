"""Capture files: find them, open them, unpack them, and hand out their bytes through a window over one reused buffer.

Nothing seeks, so a pipe is read like a file, once. What the bytes mean is for `pcap` and `pcapng` to say.
"""

import glob
import io
import mmap as mapping
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, suppress
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, cast

import numpy as np

from tlspcap.errors import ArgumentError, CaptureError, NotACapture
from tlspcap.wire.columns import Bytes
from tlspcap.wire.packing import BrokenPacking, Unpacked, packing_of

CHUNK_BYTES = 32 << 20
LARGEST_CHUNK = 16 << 20  # one packet or block may make a smaller window grow to this size, never further
PADDING = 64  # readable bytes behind the window's end, so that reading a short header never runs out of the buffer


class PcapFormat(NamedTuple):
    """What the first four bytes of a classic pcap tell of the rest."""

    order: str  # byte order for struct
    fraction: int  # nanoseconds per unit of the time's fraction
    header: int = 16  # bytes before each packet


PCAP_MAGICS = {
    b"\xd4\xc3\xb2\xa1": PcapFormat("<", 1000),
    b"\xa1\xb2\xc3\xd4": PcapFormat(">", 1000),
    b"\x4d\x3c\xb2\xa1": PcapFormat("<", 1),
    b"\xa1\xb2\x3c\x4d": PcapFormat(">", 1),
    # Kuznetzov's patched libpcap: interface, protocol and packet type stand behind the lengths.
    b"\x34\xcd\xb2\xa1": PcapFormat("<", 1000, 24),
    b"\xa1\xb2\xcd\x34": PcapFormat(">", 1000, 24),
}
PCAPNG_MAGIC = b"\x0a\x0d\x0d\x0a"  # a Section Header Block's type reads the same in both byte orders
_HINTS = {  # how files begin that people mistake for captures, and what to try
    b"\x02\x21\x4c\x18": "it is in lz4's old format: unpack it first, or pipe it in: lz4 -dc FILE | tlspcap report -",
    b"\x37\x7a\xbc\xaf": "it is a 7-Zip archive: unpack it first",
    b"PK\x03\x04": "it is a zip archive: unpack it first",
    b"snoop\x00": "it is a Solaris snoop file: convert it with editcap -F pcapng FILE NEW",
    b"\x1c\x00\x01\xac": "it is in an Ixia format: convert it with editcap -F pcapng FILE NEW",
    b"\xac\x01\x00\x1c": "it is in an Ixia format: convert it with editcap -F pcapng FILE NEW",
}
HEAD_BYTES = 6  # the longest of the magics above

CaptureInput = str | Path | IO[bytes]
Memory = bytearray | mmap


class Opened(AbstractContextManager["Opened"]):
    """An open capture file: its name as given, and its bytes, unpacked, read once from front to end."""

    def __init__(self, name: str, stream: IO[bytes]) -> None:
        self.name = name
        self.trouble = ""  # why the bytes ended before the file did
        self._closing = ExitStack()
        head = _read_head(name, stream)
        whole = _Rejoined(head, stream)
        packing = packing_of(head)
        self.packed = packing is not None
        self._stream: Unpacked | _Rejoined = Unpacked(packing, whole) if packing else whole
        if not head:
            raise CaptureError(f"{name}: the file is empty; was the capture stopped before its first packet?")

    def readinto(self, view: memoryview) -> int:
        """Fill a buffer and return how many bytes were read: fewer than its size only at the end."""
        filled = 0
        while filled < len(view) and not self.trouble:
            try:
                count = self._stream.readinto(view[filled:])
            except BrokenPacking as error:
                self.trouble = f"the packed data is broken: {error}"
                break
            except OSError as error:
                self.trouble = f"reading failed: {error}"
                break
            if not count:
                break
            filled += count
        return filled

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def closing(self, stream: IO[bytes]) -> Self:
        """Close `stream` when this capture is closed."""
        self._closing.callback(stream.close)
        return self


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were read already, put together again."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest
        self._reads_in_place = hasattr(rest, "readinto")

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        if not self._head and self._reads_in_place:
            return cast(int, cast(Any, self._rest).readinto(view) or 0)
        data = self._head[: len(view)] if self._head else (self._rest.read(len(view)) or b"")
        self._head = self._head[len(data) :]
        view[: len(data)] = data
        return len(data)


def _read_head(name: str, stream: IO[bytes]) -> bytes:
    """Read the bytes that tell a file's format; a pipe may give them one by one."""
    head = b""
    try:
        while len(head) < HEAD_BYTES and (more := stream.read(HEAD_BYTES - len(head))):
            if not isinstance(more, bytes):
                raise ArgumentError(f"{name}: opened as text; open it with mode 'rb'")
            head += more
    except OSError as error:
        raise CaptureError(f"{name}: reading failed: {error.strerror or error}") from error
    return head


def open_capture(source: CaptureInput) -> Opened:
    """Open one capture: a path, "-" for standard input, or a binary file (which stays open when the capture closes).

    Raises CaptureError where it cannot be opened or is empty.
    """
    if not isinstance(source, str | Path):
        return Opened(str(getattr(source, "name", "") or "the given file"), source)
    if str(source) == "-":
        if sys.stdin is None:
            raise CaptureError("standard input is closed; pipe a capture in, as in: tcpdump -w - | tlspcap report -")
        return Opened("standard input", sys.stdin.buffer)
    try:
        stream = open(source, "rb", buffering=0)  # noqa: SIM115 - closed by Opened
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte in it
        raise CaptureError(f"{source}: {getattr(error, 'strerror', None) or error}; check the path") from error
    try:
        return Opened(str(source), stream).closing(stream)
    except CaptureError:
        stream.close()
        raise


def not_a_capture(name: str, head: bytes, trouble: str = "") -> NotACapture:
    """Make the error for a file whose first (unpacked) bytes are of no capture format, with what to try."""
    if not head or (trouble and len(head) < HEAD_BYTES):  # behind that, trouble is not what makes it no capture
        return NotACapture(f"{name}: not a packet capture: {trouble or 'nothing is in it'}; try to copy the file again")
    hint = next((hint for magic, hint in _HINTS.items() if head.startswith(magic)), "")
    if not hint and head and all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head):
        hint = "it looks like text: record packets with tcpdump -w FILE, not what tcpdump prints"
    hint = hint or "expected pcap or pcapng, as tcpdump -w writes"
    return NotACapture(f"{name}: not a packet capture (it starts with {head[:4].hex(' ')}); {hint}")


def sources(capture: CaptureInput | Iterable[CaptureInput]) -> list[CaptureInput]:
    """List the captures behind what a caller gave: a path, a glob, a folder, "-", an open binary file, or a list.

    A folder gives the captures directly in it, by content, whatever their names. Globs and folders are ordered by
    name, numbers by value. Raises CaptureError where there is none.
    """
    if isinstance(capture, str | Path):
        return list(_sources_of_path(str(capture)))
    if hasattr(capture, "read"):
        return [cast(IO[bytes], capture)]
    if not isinstance(capture, Iterable):
        raise ArgumentError(f"not a capture: {capture!r}; give a path, an open binary file, or a list of them")
    found = [source for item in capture for source in sources(item)]
    if not found:
        raise CaptureError("no capture given: the list is empty")
    return found


def _sources_of_path(path: str) -> Iterator[CaptureInput]:
    if path == "-" or _exists(path, "is_file"):
        yield path
    elif _exists(path, "is_dir"):
        yield from _captures_in(path)
    elif _exists(path, "exists"):  # a named pipe or another device
        yield path
    elif matches := [match for match in glob.glob(path, recursive=True) if _exists(match, "is_file")]:
        yield from sorted(matches, key=natural)
    elif glob.has_magic(path):
        raise CaptureError(f"{path}: no file matches; check the pattern")
    else:
        raise CaptureError(f"{path}: no such file; check the path")


def _exists(path: str, question: str) -> bool:
    """Ask `is_file`, `is_dir` or `exists` of a path that may be no possible name at all."""
    try:
        return bool(getattr(Path(path), question)())
    except (OSError, ValueError):
        return False


def _captures_in(folder: str) -> list[str]:
    try:
        files = sorted((str(entry) for entry in Path(folder).iterdir() if entry.is_file()), key=natural)
    except OSError as error:
        raise CaptureError(f"{folder}: {error.strerror}; check its permissions") from error
    captures = [path for path in files if is_capture(path)]
    if not captures:
        raise CaptureError(f"{folder}: no captures in this folder ({len(files)} other files); name a file or a pattern")
    return captures


def is_capture(path: str) -> bool:
    """Whether a file begins as a capture does, packed or not."""
    try:
        with open_capture(path) as opened:
            head = bytearray(4)
            opened.readinto(memoryview(head))
    except CaptureError:
        return False
    return bytes(head) in PCAP_MAGICS or bytes(head) == PCAPNG_MAGIC


def natural(path: str) -> list[tuple[int, str]]:
    """Order a name's digits by value: cap.pcap9 before cap.pcap10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"([0-9]+)", path)]


def _memory(size: int) -> mmap:
    """Get memory that begins with a page, in huge pages where there are some.

    To touch 32 MB for the first time takes longer than to read as much: a page fault for each 4 KB, else for 2 MB.
    """
    memory = mmap(-1, size, flags=MAP_PRIVATE | MAP_ANONYMOUS)  # private: a fork would share it otherwise
    if advice := getattr(mapping, "MADV_HUGEPAGE", None):  # Linux alone has it
        with suppress(OSError):  # where its kernel was built without
            memory.madvise(advice)
    return memory


class Window:
    """A part of a capture in memory: `raw[position:end]` is there and not yet used.

    `need` moves what is left to the front and reads on, into the same memory, so offsets hold only until then.
    """

    def __init__(self, opened: Opened, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._opened = opened
        self.position = self.end = 0
        self._before = 0  # bytes of the capture before raw[0]
        self._finished = False
        self._allocate(max(chunk_bytes, 1))

    def _allocate(self, size: int) -> None:
        self._size = size
        self.raw: Memory = _memory(size + PADDING)
        self.buffer: Bytes = np.frombuffer(self.raw, dtype=np.uint8)

    @property
    def left(self) -> int:
        """Bytes that are in memory and not used."""
        return self.end - self.position

    @property
    def offset(self) -> int:
        """Byte offset in the (unpacked) capture of `position`."""
        return self._before + self.position

    @property
    def trouble(self) -> str:
        """Why the bytes ended before the file did; empty where they did not."""
        return self._opened.trouble

    def need(self, count: int) -> bool:
        """Have `count` bytes from `position` on in memory; False where it ends before, or they are too many."""
        if self.left < count and not self._finished and count <= max(LARGEST_CHUNK, self._size):
            self._refill(count)
        return self.left >= count

    def _refill(self, count: int) -> None:
        unused = bytes(memoryview(self.raw)[self.position : self.end]) if self.left else b""
        self._before += self.position
        if count > self._size:
            self._allocate(min(max(count, 2 * self._size), max(LARGEST_CHUNK, count)))
        self.raw[: len(unused)] = unused
        self.position, self.end = 0, len(unused)
        self._read_on()

    def _read_on(self) -> None:
        got = self._opened.readinto(memoryview(self.raw)[self.end : self._size])
        self._finished = self.end + got < self._size
        self.end += got

    def skip(self, count: int) -> bool:
        """Pass over `count` bytes without keeping them; False where the capture ends before."""
        while count > self.left:
            count -= self.left
            self.position = self.end
            if not self.need(1):
                return False
        self.position += count
        return True
