"""What following a conversation needs of its segments: blocks of rows, one field a line; when rows come too late."""

import numpy as np

from tlspcap.wire.columns import Bytes, Int64, Segments
from tlspcap.wire.numbering import Numbered

FIN, SYN, RST, ACK = 1, 2, 4, 16  # RFC 9293 3.1

FIELDS = ("frame", "time", "clock", "side", "seq", "ack", "flags", "start", "captured", "length", "stream")
FRAME, TIME, CLOCK, SIDE, SEQ, ACKED, FLAGS, START, CAPTURED, LENGTH, STREAM = range(len(FIELDS))
Row = tuple[int, int, int, int, int, int, int, int, int, int]

Blocks = list[tuple[Int64, Bytes]]  # rows (FIELDS x rows), and the buffer that their payloads lie in

LINGER = 5_000_000_000  # ns that a conversation still gets packets after both FINs or a RST
IDLE = 3_600_000_000_000  # ns without a packet, after which it is over
NEVER = 1 << 62


def block_of(segments: Segments, clock: Int64, numbered: Numbered, rows: Int64) -> Int64:
    """Gather rows of a chunk as a block."""
    block = np.empty((len(FIELDS), len(rows)), dtype=np.int64)
    beside = {"clock": clock, "side": numbered.side, "stream": numbered.stream}
    for line, name in enumerate(FIELDS):
        column = beside[name] if name in beside else getattr(segments, name)
        block[line] = column[rows]
    return block


def ranges(lows: Int64, counts: Int64) -> Int64:
    """Return the numbers of all rows of several ranges, one range behind the other."""
    before = np.cumsum(counts) - counts
    return np.repeat(lows - before, counts) + np.arange(counts.sum())
