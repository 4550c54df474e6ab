"""What the steps of the columnar scan share: one chunk's packets, and which of them are done with, and why."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire import links
from tlspcap.wire.columns import CUT_HEADERS, Bytes, FileFacts, Int64, Packets, gather
from tlspcap.wire.distinct import distinct

MORE_OR_OFFSET = 0x3FFF  # of IPv4's flags and fragment offset: all but the reserved and the don't-fragment bit

Mask = npt.NDArray[np.bool_]
Rows = slice | Int64  # all rows of a table of columns, without a copy, or the numbers of some


class Network(NamedTuple):
    """Packets read up to a place; their ethertype says what begins there."""

    row: Int64  # of the chunk's packets
    at: Int64  # offset in the buffer
    ethertype: Int64

    def of(self, rows: Rows) -> "Network":
        """Keep some of the rows."""
        return Network(self.row[rows], self.at[rows], self.ethertype[rows])

    @classmethod
    def together(cls, parts: "list[Network]") -> "Network":
        """Put the rows of several together, those of the first part first."""
        if len(parts) == 1:
            return parts[0]
        columns: Any = zip(*parts, strict=True)
        return cls(*(np.concatenate([np.empty(0, np.int64), *column]) for column in columns)) if parts else nothing()


class Chunk:
    """The packets of a chunk, and the books about them: each is read, counted, or left to `rare`."""

    def __init__(self, packets: Packets, facts: FileFacts) -> None:
        self.packets = packets
        self.buffer: Bytes = packets.buffer
        self.end = packets.start + packets.captured  # where each packet's captured bytes end
        self._facts = facts
        self._left: list[Int64] = []

    def leave(self, rows: Int64) -> None:
        """Leave packets to `rare`, which reads them from their beginning: nothing of them may have been counted."""
        if len(rows):
            self._left.append(rows)

    def left(self) -> Int64:
        """Return the packets left to `rare`, in file order."""
        return np.sort(np.concatenate([*self._left, np.empty(0, np.int64)]))

    def gather(self, offsets: Int64, record: np.dtype[Any]) -> npt.NDArray[Any]:
        """Copy the record that begins at each offset."""
        return gather(self.buffer, offsets, record)

    def is_captured(self, row: Int64, until: Int64) -> Mask:
        """Whether packets were captured up to an offset."""
        captured: Mask = until <= self.end[row]
        return captured

    def captured(self, row: Int64, until: Int64) -> Rows:
        """Keep the packets captured up to an offset, and count the others."""
        whole = self.is_captured(row, until)
        self.unread(CUT_HEADERS, np.count_nonzero(~whole))
        return where(whole)

    def unread(self, reason: str, count: int | np.intp) -> None:
        """Count packets that cannot be read."""
        if count:
            self._facts.unread[reason] += int(count)

    def count(self, kind: str, count: int | np.intp) -> None:
        """Count packets whose kind is found."""
        if count:
            self._facts.kinds[kind] += int(count)

    def count_protocols(self, protocols: npt.NDArray[Any]) -> None:
        """Count packets by their IP protocols."""
        counts = np.bincount(protocols, minlength=256)
        for protocol in np.flatnonzero(counts).tolist():
            self.count(links.protocol_kind(protocol), counts[protocol])

    def count_ethertypes(self, ethertypes: Int64) -> None:
        """Count packets by their ethertypes."""
        code, first = distinct(ethertypes)
        for ethertype, count in zip(ethertypes[first].tolist(), np.bincount(code).tolist(), strict=True):
            self.count(links.ethertype_kind(ethertype), count)


def where(mask: Mask) -> Rows:
    """Return the rows where a mask is true; nearly always all."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def nothing() -> Network:
    """Return no packets."""
    return Network(*(np.empty(0, dtype=np.int64) for _ in range(3)))
