"""Target: a whole capture file, packed or not, read to its TCP segments."""

import bz2
import gzip
import lzma

from packet_builder import Row, pcap, scan

from fuzz import seeds as samples
from tlspcap.errors import CaptureError
from tlspcap.wire.columns import FileFacts

LONGEST = 8_192


def check(data: bytes) -> None:
    """Through the smallest window and through a large one, the same segments and facts, or the same error."""
    assert _read(data, 1) == _read(data, 1 << 16)


def _read(data: bytes, chunk_bytes: int) -> tuple[list[Row], FileFacts] | str:
    try:
        rows, facts = scan(data, chunk_bytes=chunk_bytes)
    except CaptureError as error:
        return f"{type(error)} {error}"
    assert len(rows) == facts.segments <= facts.packets
    assert facts.packets <= sum(facts.kinds.values()) + facts.unread.total()
    return rows, facts


def seeds() -> list[bytes]:
    """Short captures in every variant of the header, and packed in every way."""
    import lz4.frame
    import zstandard

    plain = [pcap([frame for _, frame in run], link=run[0][0]) for run in samples.frames()]
    frames = [frame for _, frame in samples.frames()[0]]
    orders = [pcap(frames, order=order, nanoseconds=unit) for order in "<>" for unit in (False, True)]
    longer = [pcap(frames, order=order, kuznetzov=True) for order in "<>"]
    ways = (gzip.compress, bz2.compress, lzma.compress, zstandard.compress, lz4.frame.compress)
    packed = [pack(plain[0]) for pack in ways] + [pack(plain[1]) * 2 for pack in ways]
    return samples.distinct([*plain, *orders, *longer, *packed], LONGEST)
