"""Classic pcap files: a 24-byte header, then for each packet 16 bytes of header and what was captured of it.

draft-ietf-opsawg-pcap. Microseconds or nanoseconds, in either byte order; also Kuznetzov's variant, whose packet
headers are longer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from struct import Struct
from typing import Any

import numpy as np
import numpy.typing as npt

from tlspcap.errors import CaptureError
from tlspcap.wire.columns import MAX_PACKET, FileFacts, Int64, Packets, gather
from tlspcap.wire.files import PCAP_MAGICS, Window
from tlspcap.wire.walk import Walker

FILE_HEADER = 24
LINK_TYPE = 0xFFFF  # of the file header's last field: the upper bits describe frame check sequences
ROWS = 1 << 17  # packets walked at a time: bounds memory where packets are tiny


@dataclass(slots=True)
class Place:
    """How far a file was read in pieces: the offset of the next packet, how many came before, whether all is read."""

    offset: int = FILE_HEADER
    packets: int = 0
    at_end: bool = False


class PcapReader:
    """The packets of a classic pcap file, chunk by chunk, from its beginning or from a place on.

    Raises CaptureError where the file header is cut short.
    """

    def __init__(self, window: Window, facts: FileFacts, place: Place | None = None) -> None:
        if not window.need(FILE_HEADER):
            raise CaptureError(f"{facts.name}: cut inside the pcap file header ({window.left} of {FILE_HEADER} bytes)")
        self._window, self._facts = window, facts
        head = bytes(window.raw[window.position : window.position + FILE_HEADER])
        self._order, self._fraction, self._packet_header = PCAP_MAGICS[head[:4]]
        self._link = Struct(self._order + "I").unpack_from(head, 20)[0] & LINK_TYPE
        self._header = np.dtype([(name, self._order + "u4") for name in ("seconds", "fraction", "captured", "wire")])
        self._walker = Walker(self._order, header=self._packet_header)
        self._captured = Struct(self._order + "I").unpack_from
        self._place = place or Place()
        self._ahead, self._behind = np.empty(0, dtype=np.int64), 0  # headers walked and not used, and where the next is
        self._begin = 0  # offset in the capture of the window in which they lie

    def __iter__(self) -> Iterator[Packets]:
        self._window.skip(self._place.offset)
        frame = self._place.packets + 1
        while self._packet_follows():
            packets = self._next_packets(frame)
            frame += len(packets)
            yield packets

    def _packet_follows(self) -> bool:
        """Have the next packet wholly in memory, or say in the facts why there is none."""
        window = self._window
        if not window.need(self._packet_header):
            if window.left or window.trouble:
                self._facts.stop(window.offset, window.trouble or "the file ends inside a packet header")
            return False
        captured = self._captured(window.raw, window.position + 8)[0]
        if captured > MAX_PACKET:
            self._facts.stop(window.offset, f"a packet header claims {captured} captured bytes: the file is damaged")
        elif not window.need(self._packet_header + captured):
            self._facts.stop(window.offset, window.trouble or "the file ends inside a packet")
        else:
            return True
        return False

    def _next_packets(self, frame: int) -> Packets:
        """Read the packet headers in the window, and leave the window's position behind their packets.

        Ends before the first packet that is damaged or not wholly in the window.
        """
        window = self._window
        offsets, position = self._headers()
        header = gather(window.buffer, offsets, self._header)
        captured = header["captured"].astype(np.int64)
        bad = np.flatnonzero((captured > MAX_PACKET) | (offsets + self._packet_header + captured > window.end))
        good = slice(bad[0] if len(bad) else None)
        window.position = int(offsets[bad[0]]) if len(bad) else position
        return self._packets(offsets[good], captured[good], header[good], frame)

    def _headers(self) -> tuple[Int64, int]:
        """Return the offsets of the next headers, ROWS at most, and where the one behind them is.

        A window of tiny packets, with several times ROWS, is walked once.
        """
        window, begin = self._window, self._window.offset - self._window.position
        if not len(self._ahead) or self._ahead[0] != window.position or self._begin != begin:
            self._ahead, self._behind = self._walker.walk(window.raw, window.position, window.end)
            self._begin = begin
        offsets, self._ahead = self._ahead[:ROWS], self._ahead[ROWS:]
        return offsets, int(self._ahead[0]) if len(self._ahead) else self._behind

    def _packets(self, offsets: Int64, captured: Int64, header: npt.NDArray[Any], frame: int) -> Packets:
        seconds, fraction = header["seconds"].astype(np.int64), header["fraction"].astype(np.int64)
        return Packets(
            buffer=self._window.buffer,
            first_frame=frame,
            start=offsets + self._packet_header,
            captured=captured,
            wire=np.maximum(header["wire"].astype(np.int64), captured),
            time=seconds * 1_000_000_000 + fraction * self._fraction,
            link=np.full(len(offsets), self._link, dtype=np.int32),
        )
