"""The packets that most captures are made of, read at one go: a link header with an ethertype, IPv4, TCP.

One copy brings the headers of all packets into a table, a row each; then each field is a column of it. It is for
packets whose headers lie where they mostly do: no VLAN tag, no IP options, no fragment, sound and captured as a whole.
All others are for `headers`, which reads these too, step by step: over any packet both find the same.
"""

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from tlspcap.wire import links
from tlspcap.wire.chunk import MORE_OR_OFFSET, Chunk, Mask
from tlspcap.wire.columns import AddressBook, Int64, Segments, pick

IP_HEADER = TCP_HEADER = 20
_VERSION_SIZE = 0x45  # IPv4, a header of five words
_FLAGS = 0x1FF
_LONGEST = 64  # bytes of all headers: what may be read behind the last packet of a buffer

_FIELDS = {  # of IPv4 (RFC 791 3.1) and TCP (RFC 9293 3.1), by their places behind the link header
    "version_size": ("u1", 0),
    "total": (">u2", 2),
    "fragment": (">u2", 6),
    "protocol": ("u1", 9),
    "source": (">u4", 12),
    "target": (">u4", 16),
    "source_port": (">u2", 20),
    "target_port": (">u2", 22),
    "seq": (">u4", 24),
    "ack": (">u4", 28),
    "offset_flags": (">u2", 32),
}


@cache
def _record(link: int) -> np.dtype[Any] | None:
    """Return the headers of a plain packet of a link type; None where it has none."""
    if link not in links.ETHERTYPE_AT:
        return None
    type_at, begin = links.ETHERTYPE_AT[link]
    fields = {"ethertype": (">u2", type_at)} | {name: (kind, begin + at) for name, (kind, at) in _FIELDS.items()}
    formats, offsets = zip(*fields.values(), strict=True)
    size = begin + IP_HEADER + TCP_HEADER
    if size > _LONGEST:
        return None
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": size})


def plain_segments(chunk: Chunk, link: int, book: AddressBook) -> tuple[Segments | None, Int64]:
    """Read the segments of the plain packets among a chunk's, all of a link type; return the rows of the others too."""
    start, record = chunk.packets.start, _record(link)
    every = np.arange(len(start), dtype=np.int64)
    if record is None or not len(start) or int(start.max()) + record.itemsize > len(chunk.buffer):
        return None, every
    header = chunk.gather(start, record)
    total = header["total"].astype(np.int64)
    size = (header["offset_flags"] >> 10 & 0x3C).astype(np.int64)  # the upper 4 bits count words
    plain = _are_plain(header, total, size) & (chunk.packets.captured >= record.itemsize)
    if plain.all():
        return _segments(chunk, every, header, total, size, book), every[:0]
    rows = np.flatnonzero(plain)
    if not len(rows):
        return None, every
    return _segments(chunk, rows, pick(header, rows), total[rows], size[rows], book), np.flatnonzero(~plain)


def _are_plain(header: npt.NDArray[Any], total: Int64, size: Int64) -> Mask:
    """Whether packets hold plain and sound headers, given their IP length and the size of their TCP header."""
    tcp = (header["ethertype"] == links.IPV4) & (header["protocol"] == links.TCP)
    whole = (header["version_size"] == _VERSION_SIZE) & (header["fragment"] & MORE_OR_OFFSET == 0)
    plain: Mask = tcp & whole & (size >= TCP_HEADER) & (total >= size + IP_HEADER)
    return plain


def _segments(
    chunk: Chunk, rows: Int64, header: npt.NDArray[Any], total: Int64, size: Int64, book: AddressBook
) -> Segments:
    chunk.count("tcp", len(rows))
    record, packets, end = header.dtype, chunk.packets, chunk.end[rows]
    assert record.fields is not None
    at = packets.start[rows] + record.fields["version_size"][1]
    start = np.minimum(at + IP_HEADER + size, end)
    length = total - IP_HEADER - size
    source, target = book.ends_v4(header["source"], header["target"])
    return Segments(
        buffer=packets.buffer,
        frame=rows + packets.first_frame,
        time=packets.time[rows],
        source=source,
        target=target,
        source_port=header["source_port"].astype(np.int32),
        target_port=header["target_port"].astype(np.int32),
        seq=header["seq"].astype(np.int64),
        ack=header["ack"].astype(np.int64),
        flags=(header["offset_flags"] & _FLAGS).astype(np.int32),
        start=start,
        captured=np.minimum(end - start, length),
        length=length,
    )
