"""The nouns between the steps of the columnar scan: packets and TCP segments of a chunk, addresses, a file's facts.

Every array of one noun has one entry per row, in file order, and every offset counts from the start of `buffer`.
A buffer is used again for the next chunk: what must outlive it is copied by whoever needs it.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from tlspcap.wire.distinct import distinct
from tlspcap.wire.index import Column, Index

Bytes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Address = bytes  # 4 of IPv4, 16 of IPv6

MAX_PACKET = 262_144  # captured bytes: libpcap's MAXIMUM_SNAPLEN; more is a damaged record

# Why a packet could not be read: the keys of `FileFacts.unread`, beside `links.unknown_link`.
CUT_HEADERS = "headers cut short"
DAMAGED_IP = "damaged IP header"
DAMAGED_TCP = "damaged TCP header"
IP_FRAGMENT = "ip fragment without the others of its packet"
TOO_DEEP = "tunnels nested too deep"

MAX_RECENT = 4_096  # addresses whose numbers are at hand without a look into the index
_HALVES = Struct(">qq")

# Beside the flags of a segment of which there is no more than a TCP header, damaged or quoted by an ICMP error:
COUNTED = 0x1000  # it counts for numbering alone
MUTE = 0x2000  # and tells the initial number of no side, but for a SYN-ACK that changes a known one
NO_INTERFACE = "packet of an interface that is not described"


def gather(buffer: Bytes, offsets: Int64, record: np.dtype[Any]) -> npt.NDArray[Any]:
    """Copy the record that begins at each offset out of a buffer: one row per offset, fields as `record` names them."""
    anywhere: npt.NDArray[Any] = np.ndarray(len(buffer) - record.itemsize + 1, f"V{record.itemsize}", buffer, 0, (1,))
    return anywhere[offsets].view(record)


def pick(table: npt.NDArray[Any], rows: Any) -> npt.NDArray[Any]:
    """Copy some rows of a table of records as the bytes that they are; numpy would do it field by field."""
    if isinstance(rows, slice):
        return table[rows]
    record = table.dtype
    picked: npt.NDArray[Any] = table.view(f"V{record.itemsize}")[rows].view(record)
    return picked


@dataclass(slots=True, eq=False)
class Packets:
    """Where each packet of a chunk lies: made by the container readers, read by `headers` and `rare`."""

    buffer: Bytes  # valid until the next chunk is asked for
    first_frame: int  # packet number of row 0, from 1: every packet of the file counts (Wireshark's frame.number)
    start: Int64  # offset of the first captured byte
    captured: Int64  # captured bytes
    wire: Int64  # bytes on the wire, never fewer than captured
    time: Int64  # ns since 1970, UTC; 0 where the capture holds no time (pcapng simple packet blocks)
    link: Int32  # LINKTYPE_ number; -1 where the interface is not described

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def together(cls, parts: "list[Packets]") -> "Packets":
        """Join packets that follow one another and lie in one buffer."""
        first, names = parts[0], ("start", "captured", "wire", "time", "link")
        if len(parts) == 1:
            return first
        columns: list[Any] = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
        return cls(first.buffer, first.first_frame, *columns)


def links_of(packets: Packets) -> dict[int, int]:
    """Count packets by their LINKTYPE_ number; nearly always all have the same."""
    link = packets.link
    if len(link) and (link == link[0]).all():
        return {int(link[0]): len(link)}
    numbers, counts = np.unique(link, return_counts=True)
    return dict(zip(numbers.tolist(), counts.tolist(), strict=True))


@dataclass(slots=True, eq=False)
class Segments:
    """One row per TCP segment of a chunk: made by `headers` (columns) or `rare` (packet by packet)."""

    buffer: Bytes  # valid until the next chunk is asked for
    frame: Int64  # packet number in its file, from 1
    time: Int64  # ns since 1970, UTC
    source: Int32  # address number in the capture's AddressBook; of tunnelled packets, the innermost
    target: Int32
    source_port: Int32
    target_port: Int32
    seq: Int64  # 0 to 2**32 - 1
    ack: Int64  # the field as sent, whether or not ACK is set
    flags: Int32  # FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128, AE 256; COUNTED, MUTE
    start: Int64  # offset of the payload
    captured: Int64  # captured payload bytes, 0 to length
    length: Int64  # payload bytes on the wire, as the IP header counts them

    def __len__(self) -> int:
        return len(self.frame)

    def payload(self, row: int) -> bytes:
        """Return a copy of a row's captured payload."""
        start = int(self.start[row])
        return self.buffer[start : start + int(self.captured[row])].tobytes()

    @classmethod
    def from_rows(cls, buffer: Bytes, rows: Iterable[tuple[int, ...]]) -> Self:
        """Build the columns from tuples in the order of the fields behind `buffer`."""
        table = np.array(list(rows), dtype=np.int64).reshape(-1, len(COLUMNS))
        columns: list[Any] = [table[:, at].astype(dtype) for at, dtype in enumerate(COLUMNS.values())]
        return cls(buffer, *columns)

    def of(self, rows: npt.NDArray[Any]) -> "Segments":
        """Keep some rows, by mask or by number."""
        return Segments(self.buffer, *(getattr(self, name)[rows] for name in COLUMNS))

    def merged(self, other: "Segments") -> "Segments":
        """Both sets of rows of one chunk as one, in frame order; the other's buffer may go on behind this one's."""
        order = np.argsort(np.concatenate([self.frame, other.frame]), kind="stable")
        pairs = ((getattr(self, name), getattr(other, name)) for name in COLUMNS)
        return Segments(other.buffer, *(np.concatenate(pair)[order] for pair in pairs))


COLUMNS: dict[str, type[np.int32] | type[np.int64]] = {
    "frame": np.int64,
    "time": np.int64,
    "source": np.int32,
    "target": np.int32,
    "source_port": np.int32,
    "target_port": np.int32,
    "seq": np.int64,
    "ack": np.int64,
    "flags": np.int32,
    "start": np.int64,
    "captured": np.int64,
    "length": np.int64,
}


def _cut(packed: npt.NDArray[Any], size: int) -> list[bytes]:
    """Cut the bytes of an array into pieces of one size."""
    content = packed.tobytes()
    return [content[at : at + size] for at in range(0, len(content), size)]


class AddressBook:
    r"""Numbers for IP addresses, the same through a whole capture, so that columns hold int32 instead of bytes.

    Numbers of IPv4 are even, of IPv6 odd.

    >>> book = AddressBook()
    >>> book.number(bytes([192, 0, 2, 1])), book.number(bytes(16)), book.number(bytes([192, 0, 2, 1]))
    (0, 1, 0)
    >>> book.bytes(0)
    b'\xc0\x00\x02\x01'
    """

    COLUMNS = 3  # that its addresses are

    def __init__(self) -> None:
        self._v4, self._v6 = Index(), Index()  # IPv4 as a pair of the address and 0, IPv6 as a pair of halves
        self._recent: dict[Address, int] = {}  # what `number` was asked for lately

    def __len__(self) -> int:
        return len(self._v4) + len(self._v6)

    def bytes(self, number: int) -> Address:
        """Return the 4 or 16 bytes behind a number."""
        keys = (self._v6 if number & 1 else self._v4).keys
        first, second = (int(keys[name][number >> 1]) for name in ("first", "second"))
        return _HALVES.pack(first, second) if number & 1 else first.to_bytes(4)

    def all_bytes(self, numbers: Int64) -> list[Address]:
        """Return the 4 or 16 bytes behind each number, as `bytes` does behind one."""
        v4, v6 = self._v4.keys["first"], (self._v6.keys["first"], self._v6.keys["second"])
        six = numbers & 1 != 0
        found = np.empty(len(numbers), dtype=object)
        found[~six] = _cut(v4[numbers[~six] >> 1].astype(">u4"), 4)
        found[six] = _cut(np.stack([half[numbers[six] >> 1] for half in v6], axis=1).astype(">i8"), 16)
        addresses: list[Address] = found.tolist()
        return addresses

    def number(self, address: Address) -> int:
        """Return the number of an address of 4 or 16 bytes, a new one where it was not seen before."""
        number = self._recent.get(address)
        if number is None:
            if len(address) == 4:
                numbers = self.numbers_v4(np.frombuffer(address, dtype=">u4"))
            else:
                halves = np.frombuffer(address, dtype=">u8").astype(np.uint64)
                numbers = self.numbers_v6(halves[:1], halves[1:])
            if len(self._recent) >= MAX_RECENT:
                self._recent.clear()
            number = self._recent[address] = int(numbers[0])
        return number

    def columns(self) -> list[Int64]:
        """Return all addresses, by number: those of IPv4, and both halves of those of IPv6."""
        return [self._v4.keys["first"], self._v6.keys["first"], self._v6.keys["second"]]

    def numbers_of(self, v4: Int64, high: Int64, low: Int64) -> Int32:
        """Return the numbers here, by number there, of all addresses of another book, given as its columns."""
        numbers = np.zeros(2 * max(len(v4), len(high)), dtype=np.int32)
        numbers[0 : 2 * len(v4) : 2] = self.numbers_v4(v4)
        numbers[1 : 2 * len(high) : 2] = self.numbers_v6(high.astype(np.uint64), low.astype(np.uint64))
        return numbers

    def numbers_v4(self, addresses: Column) -> Int32:
        """Return the numbers of a column of IPv4 addresses, given as integers."""
        codes, first = distinct(addresses)
        numbers = self._v4.add(addresses[first].astype(np.int64), np.zeros(len(first), dtype=np.int64))
        return (numbers << 1).astype(np.int32)[codes]

    def ends_v4(self, source: Column, target: Column) -> tuple[Int32, Int32]:
        """Return the numbers of two columns of IPv4 addresses, of which many rows hold the same two."""
        codes, first = distinct(source, target)
        numbers = self.numbers_v4(np.concatenate([source[first], target[first]]))
        return numbers[: len(first)][codes], numbers[len(first) :][codes]

    def numbers_v6(self, high: npt.NDArray[np.uint64], low: npt.NDArray[np.uint64]) -> Int32:
        """Return the numbers of a column of IPv6 addresses, given as the two halves of each."""
        highs, lows = high.view(np.int64), low.view(np.int64)
        codes, first = distinct(highs, lows)
        numbers = self._v6.add(highs[first], lows[first])
        return (numbers << 1 | 1).astype(np.int32)[codes]


@dataclass(frozen=True, slots=True)
class Secrets:
    """A TLS key log inside a capture. It is no one's to show: whoever has used it forgets it."""

    frame: int  # of the packet before it; 0 at the begin of the file
    content: bytes = field(repr=False)


@dataclass(slots=True)
class FileFacts:
    """What the scan learned of one capture file as a whole, filled in while it is read.

    Every packet is counted once in `packets`, and in `kinds` unless its headers end before they tell its kind.
    """

    name: str
    packets: int = 0
    segments: int = 0  # TCP segments given on
    captured_bytes: int = 0
    wire_bytes: int = 0
    cut_packets: int = 0  # captured < wire: the snapshot length
    untimed_packets: int = 0  # pcapng simple packet blocks hold no time
    first_time: int | None = None  # ns, the smallest
    last_time: int | None = None  # ns, the largest
    links: Counter[int] = field(default_factory=Counter)  # packets by LINKTYPE_ number
    kinds: Counter[str] = field(default_factory=Counter)  # packets by IP protocol or ethertype: "tcp", "udp", "arp"
    unread: Counter[str] = field(default_factory=Counter)  # packets that could not be read, by reason
    conflicting_fragments: int = 0  # IP packets whose fragments overlap in different bytes; the first seen were used
    caps: Counter[str] = field(default_factory=Counter)  # what was let go because a bound was reached: how many of what
    secrets: list[Secrets] = field(default_factory=list)  # of pcapng secrets blocks, as they come
    stopped_at: int | None = None  # byte offset in the (unpacked) file where reading ended before the file did
    stopped_why: str = ""

    def count(self, packets: Packets) -> None:
        """Count the packets of a chunk."""
        self.packets += len(packets)
        self.captured_bytes += int(packets.captured.sum())
        self.wire_bytes += int(packets.wire.sum())
        self.cut_packets += int(np.count_nonzero(packets.captured < packets.wire))
        if len(timed := packets.time[packets.time != 0]):  # 0 stands for no time
            self._span(int(timed.min()), int(timed.max()))
        self.links.update(links_of(packets))

    def _span(self, smallest: int, largest: int) -> None:
        self.first_time = smallest if self.first_time is None else min(self.first_time, smallest)
        self.last_time = largest if self.last_time is None else max(self.last_time, largest)

    def add(self, part: "FileFacts") -> None:
        """Take over what was learned of the next part of the file."""
        for name in ("packets", "segments", "captured_bytes", "wire_bytes", "cut_packets", "untimed_packets"):
            setattr(self, name, getattr(self, name) + getattr(part, name))
        for name in ("links", "kinds", "unread", "caps"):
            getattr(self, name).update(getattr(part, name))
        if part.first_time is not None and part.last_time is not None:
            self._span(part.first_time, part.last_time)
        if part.stopped_at is not None:
            self.stop(part.stopped_at, part.stopped_why)

    def stop(self, offset: int, why: str) -> None:
        """Record that nothing behind a byte offset could be read."""
        self.stopped_at, self.stopped_why = offset, why
