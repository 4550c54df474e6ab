"""pcapng files: blocks in sections, each section with its own byte order and its own interfaces.

draft-ietf-opsawg-pcapng. Enhanced, simple and obsolete packet blocks are packets; TLS key logs in secrets blocks are
kept; every other block is passed over unread.
"""

from collections.abc import Iterator
from copy import copy
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from tlspcap.errors import CaptureError
from tlspcap.wire.columns import MAX_PACKET, FileFacts, Int64, Packets, Secrets, gather
from tlspcap.wire.files import LARGEST_CHUNK, Window
from tlspcap.wire.pcap import Place

SECTION, INTERFACE, OBSOLETE, SIMPLE, ENHANCED, SECRETS = 0x0A0D0D0A, 1, 2, 3, 6, 0x0A
PACKET_BLOCKS = frozenset({OBSOLETE, SIMPLE, ENHANCED})
KEPT_BLOCKS = PACKET_BLOCKS | {SECTION, INTERFACE, SECRETS}
SMALLEST_BLOCK = 12  # type, length, length again
LEAST = {SECTION: 28, INTERFACE: 20, OBSOLETE: 32, SIMPLE: 16, ENHANCED: 32, SECRETS: 20}  # bytes of a whole block
BYTE_ORDERS = {b"\x4d\x3c\x2b\x1a": "<", b"\x1a\x2b\x3c\x4d": ">"}
TLS_KEY_LOG = 0x544C534B
MOST_INTERFACES = 1 << 16  # of a section; packets of further ones count as unread
MOST_SECRETS = 64 << 20  # bytes of key logs kept of one file
SECRETS_LEFT_OUT = "key logs inside the capture were left out: they are too large together"
ROWS = 1 << 17  # packets walked at a time: bounds memory where packets are tiny
_END_OF_OPTIONS, _IF_TSRESOL, _IF_TSOFFSET = 0, 9, 14
_WRAP = 0xFFFF_FFFF_FFFF_FFFF
_PACKET_FIELDS = ("kind", "length", "interface", "high", "low", "captured", "wire")  # 32 bits each


class OtherBlocks(Exception):
    """A part of a file that should hold packets alone holds a block that matters; never leaves `wire`."""


class Interfaces:
    """What the Interface Description Blocks of a section say of their packets, one row per interface."""

    _ROW = np.dtype(
        [("link", "i4"), ("snapshot", "i8"), ("multiply", "u8"), ("divide", "u8"), ("bits", "i2"), ("shift", "i8")]
    )

    def __init__(self) -> None:
        self.count = 0
        self._rows = np.zeros(8, dtype=self._ROW)

    def add(self, link: int, snapshot: int, resolution: int = 6, offset: int = 0) -> None:
        """Describe the next interface; resolution is if_tsresol's byte, offset is if_tsoffset in seconds."""
        if self.count >= MOST_INTERFACES:
            return
        if self.count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        digits = resolution & 0x7F
        bits = digits if resolution & 0x80 else -1  # the top bit: a unit of 2**-bits seconds instead of 10**-digits
        multiply = 10 ** max(9 - digits, 0)
        divide = min(10 ** max(digits - 9, 0), _WRAP)
        shift = (offset * 1_000_000_000 + (1 << 63) & _WRAP) - (1 << 63)  # damage may leave 64 bits: wrap around
        self._rows[self.count] = (link, snapshot or MAX_PACKET, multiply, divide, bits, shift)
        self.count += 1

    def describe(self, numbers: Int64) -> npt.NDArray[Any]:
        """Return the row of each interface number; link -1 where there is none."""
        first = int(numbers[0]) if len(numbers) else 0
        if first < self.count and (numbers == first).all():  # one interface, as in nearly every capture
            return np.broadcast_to(self._rows[first], len(numbers))
        known = numbers < self.count
        rows = self._rows[np.where(known, numbers, 0)]
        rows["link"][~known] = -1
        return rows

    @staticmethod
    def nanoseconds(rows: npt.NDArray[Any], ticks: npt.NDArray[np.uint64]) -> Int64:
        """Return ns since 1970 of timestamps in the units of their interfaces; finer units are rounded down."""
        time = ticks * rows["multiply"] // np.maximum(rows["divide"], np.uint64(1))
        for row in np.flatnonzero(rows["bits"] >= 0).tolist():  # exact, in Python's integers: 64 bits are too few
            time[row] = (int(ticks[row]) * 1_000_000_000 >> int(rows["bits"][row])) & _WRAP
        shifted: Int64 = time.view(np.int64) + rows["shift"]
        return shifted


class PcapngReader:
    """The packets of a pcapng file, chunk by chunk, from its beginning or from a place on.

    Before that place, only blocks of packets may lie behind the first packet. Raises CaptureError where the first
    section header is damaged.
    """

    def __init__(self, window: Window, facts: FileFacts, place: Place | None = None) -> None:
        self._window, self._facts, self._place = window, facts, place
        self._interfaces = Interfaces()
        self._secret_bytes = 0
        self._only_packets = False
        if not (window.need(LEAST[SECTION]) and self._set_byte_order()):
            raise CaptureError(f"{facts.name}: its pcapng section header is cut short or damaged; try to capture again")

    def _set_byte_order(self) -> bool:
        """Read the byte order of the section that begins here; False where there is no such order."""
        at = self._window.position + 8
        order = BYTE_ORDERS.get(bytes(self._window.raw[at : at + 4]))
        if order is None:
            return False
        self.order = order
        self._head, self._two_shorts, self._long = Struct(order + "II"), Struct(order + "HH"), Struct(order + "q")
        self._block = np.dtype([(name, order + "u4") for name in _PACKET_FIELDS])
        return True

    def to_first_packet(self) -> bool:
        """Use the blocks before the first packet; False where there is none."""
        while (block := self._next_block()) is not None:
            if block[0] in PACKET_BLOCKS:
                return True
            self._take(*block, 1)
        return False

    def part(self, window: Window, facts: FileFacts) -> Iterator[Packets]:
        """Read other packets of the section that this reader is in, from the front of another window on.

        Raises OtherBlocks where something lies among them that they cannot be read without.
        """
        part = copy(self)
        part._window, part._facts, part._only_packets = window, facts, True
        return iter(part)

    def __iter__(self) -> Iterator[Packets]:
        frame, held = 1, list[Packets]()
        if self._place is not None and self._place.packets and self.to_first_packet():
            self._window.skip(self._place.offset - self._window.offset)
            frame = self._place.packets + 1
        while True:
            if held and (frame - held[0].first_frame >= ROWS or not self._in_memory()):
                yield Packets.together(held)
                held = []
            if (found := self._next_packets(frame)) is None:
                break
            held += found
            frame += sum(map(len, found))
        if held:
            yield Packets.together(held)

    def _next_packets(self, frame: int) -> list[Packets] | None:
        """Read the packets up to a block of another use, or that block; None where reading ends."""
        block = self._next_block()
        if block is None:
            return None
        if block[0] not in PACKET_BLOCKS:
            self._take(*block, frame)
            return []
        packets = self._packets(*self._walk(), frame)
        if not len(packets):  # the block is whole, and yet not usable
            self._stop("the lengths in a packet block contradict each other: the file is damaged")
            return None
        return [packets]

    def _in_memory(self) -> bool:
        """Tell whether the next block can be read without moving the window over packets that are held."""
        window = self._window
        if window.left < SMALLEST_BLOCK:
            return False
        if self._block_head()[0] == SECTION:
            self._set_byte_order()
        return self._block_head()[1] <= window.left

    def _next_block(self) -> tuple[int, int] | None:
        """Return type and length of the block at the window's position, in memory if it is of use; None at the end."""
        window = self._window
        if not window.need(SMALLEST_BLOCK):
            if window.left or window.trouble:
                self._stop("the file ends inside a block header")
            return None
        if why := self._trouble_ahead():
            self._stop(why)
            return None
        return self._block_head()

    def _block_head(self) -> tuple[int, int]:
        """Return type and length of the block at the window's position."""
        kind, length = self._head.unpack_from(self._window.raw, self._window.position)
        return kind, length

    def _trouble_ahead(self) -> str:
        """Say why the block at the window's position cannot be read; have it in memory if it is of use."""
        if self._block_head()[0] == SECTION and not self._set_byte_order():
            return "a section header has no byte order: the file is damaged"
        kind, length = self._block_head()  # again, in the byte order that a section header just set
        damaged = length % 4 or length < LEAST.get(kind, SMALLEST_BLOCK)
        if damaged or (kind in PACKET_BLOCKS and length > LARGEST_CHUNK):
            return f"a block of type {kind} claims {length} bytes: the file is damaged"
        if kind in KEPT_BLOCKS and length <= LARGEST_CHUNK and not self._window.need(length):
            return "the file ends inside a block"
        return ""

    def _stop(self, why: str) -> None:
        self._facts.stop(self._window.offset, self._window.trouble or why)

    def _take(self, kind: int, length: int, frame: int) -> None:
        """Use or pass over a block that holds no packet and stands before packet `frame`."""
        if self._only_packets and kind in KEPT_BLOCKS:
            raise OtherBlocks
        start = self._window.position
        if length <= LARGEST_CHUNK:
            if kind == SECTION:
                self._interfaces = Interfaces()
            elif kind == INTERFACE:
                self._add_interface(start, length)
            elif kind == SECRETS:
                self._keep_secrets(start, length, frame - 1)
        if not self._window.skip(length):
            self._stop("the file ends inside a block")

    def _add_interface(self, start: int, length: int) -> None:
        raw = self._window.raw
        link, _ = self._two_shorts.unpack_from(raw, start + 8)
        _, snapshot = self._head.unpack_from(raw, start + 8)
        options = self._options(start + 16, start + length - 4)
        resolution = options.get(_IF_TSRESOL, b"")
        offset = options.get(_IF_TSOFFSET, b"")
        self._interfaces.add(
            link,
            snapshot,
            resolution[0] if resolution else 6,
            self._long.unpack(offset)[0] if len(offset) == 8 else 0,
        )

    def _options(self, at: int, end: int) -> dict[int, bytes]:
        """Read a block's options: code and length, 16 bits each, then the value, padded to 4 bytes."""
        options: dict[int, bytes] = {}
        while at + 4 <= end:
            code, length = self._two_shorts.unpack_from(self._window.raw, at)
            if code == _END_OF_OPTIONS or at + 4 + length > end:
                break
            options[code] = bytes(self._window.raw[at + 4 : at + 4 + length])
            at += 4 + (length + 3 & ~3)
        return options

    def _keep_secrets(self, start: int, length: int, frame: int) -> None:
        kind, size = self._head.unpack_from(self._window.raw, start + 8)
        size = min(size, length - LEAST[SECRETS])
        if kind != TLS_KEY_LOG or size <= 0:
            return
        if self._secret_bytes + size > MOST_SECRETS:
            self._facts.caps[SECRETS_LEFT_OUT] += 1
        else:
            self._facts.secrets.append(Secrets(frame, bytes(self._window.raw[start + 16 : start + 16 + size])))
            self._secret_bytes += size

    def _walk(self) -> tuple[Int64, npt.NDArray[Any]]:
        """Collect the packet blocks, as offsets and heads, from the window's position on, up to another of use.

        The loop trusts lengths: one that is impossible, or that reaches over the window's end, is found afterwards.
        """
        raw, head, position = self._window.raw, self._head.unpack_from, self._window.position
        end = self._window.end
        last = end - SMALLEST_BLOCK
        found: list[int] = []
        append = found.append
        for _ in range(ROWS):
            if position > last:
                break
            kind, length = head(raw, position)
            if kind in PACKET_BLOCKS:
                append(position)
            elif kind in KEPT_BLOCKS or length % 4 or length < SMALLEST_BLOCK or position + length > end:
                break
            position += length
        return self._whole(np.array(found, dtype=np.int64), position)

    def _whole(self, offsets: Int64, position: int) -> tuple[Int64, npt.NDArray[Any]]:
        """Keep the blocks before the first that is damaged or not wholly in the window."""
        block = gather(self._window.buffer, offsets, self._block)
        length, simple = block["length"].astype(np.int64), block["kind"] == SIMPLE
        least = np.where(simple, LEAST[SIMPLE], LEAST[ENHANCED] + block["captured"].astype(np.int64))
        sound = (length % 4 == 0) & (length >= least) & (simple | (block["captured"] <= MAX_PACKET))
        bad = np.flatnonzero(~sound | (offsets + length > self._window.end))
        self._window.position = int(offsets[bad[0]]) if len(bad) else position
        good = slice(bad[0] if len(bad) else None)
        return offsets[good], block[good]

    def _packets(self, offsets: Int64, block: npt.NDArray[Any], frame: int) -> Packets:
        simple = block["kind"] == SIMPLE
        # The obsolete block has 16 bits of interface number, then 16 bits of drop count, in its section's byte order.
        number = block["interface"].astype(np.int64)
        number = np.where(block["kind"] == OBSOLETE, number & 0xFFFF if self.order == "<" else number >> 16, number)
        rows = self._interfaces.describe(np.where(simple, 0, number))
        # A simple block gives the length on the wire only; what was captured follows from the interface's limit.
        limit = np.minimum(np.minimum(rows["snapshot"], MAX_PACKET), block["length"].astype(np.int64) - LEAST[SIMPLE])
        wire = np.where(simple, block["interface"], block["wire"]).astype(np.int64)
        captured = np.where(simple, np.minimum(wire, limit), block["captured"].astype(np.int64))
        ticks = block["high"].astype(np.uint64) << np.uint64(32) | block["low"].astype(np.uint64)
        timed = ~simple & (rows["link"] >= 0)
        self._facts.untimed_packets += int(np.count_nonzero(~timed))
        return Packets(
            buffer=self._window.buffer,
            first_frame=frame,
            start=offsets + np.where(simple, 12, 28),
            captured=captured,
            wire=np.maximum(wire, captured),
            time=np.where(timed, self._interfaces.nanoseconds(rows, ticks), 0),
            link=rows["link"].astype(np.int32),
        )
