"""Columns: the link, IP and TCP header fields of every packet of a chunk at once, for the common encapsulations.

Each step narrows the rows to those whose header is there and sound, and counts the others by kind or reason. What
takes a closer look (IPv6 extension headers, fragments, rare tunnels) is left to `rare`, which is also the slow,
obvious twin of this module: over any packet both find the same.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire import links, tunnels
from tlspcap.wire.chunk import MORE_OR_OFFSET, Chunk, Mask, Network, Rows, nothing, where
from tlspcap.wire.columns import (
    CUT_HEADERS,
    DAMAGED_IP,
    DAMAGED_TCP,
    NO_INTERFACE,
    TOO_DEEP,
    AddressBook,
    FileFacts,
    Int32,
    Int64,
    Packets,
    Segments,
    links_of,
    pick,
)
from tlspcap.wire.plain import plain_segments

_REASSEMBLED = np.array(sorted(links.REASSEMBLED))

_U16, _U32 = np.dtype(">u2"), np.dtype(">u4")
_IPV4 = np.dtype(  # RFC 791 3.1
    {
        "names": ["version_size", "total", "fragment", "protocol", "source", "target"],
        "formats": [">u1", ">u2", ">u2", ">u1", ">u4", ">u4"],
        "offsets": [0, 2, 6, 9, 12, 16],
        "itemsize": 20,
    }
)
_IPV6 = np.dtype(  # RFC 8200 3; addresses in two halves
    {
        "names": ["version", "size", "protocol", "source_high", "source_low", "target_high", "target_low"],
        "formats": [">u1", ">u2", ">u1", ">u8", ">u8", ">u8", ">u8"],
        "offsets": [0, 4, 6, 8, 16, 24, 32],
        "itemsize": 40,
    }
)
_TCP = np.dtype(  # RFC 9293 3.1
    {
        "names": ["source_port", "target_port", "seq", "ack", "offset_flags"],
        "formats": [">u2", ">u2", ">u4", ">u4", ">u2"],
        "offsets": [0, 2, 4, 8, 12],
        "itemsize": 20,
    }
)


class _Transport(NamedTuple):
    """Packets whose IP header is read, and says TCP."""

    row: Int64
    at: Int64  # offset of the TCP header in the buffer
    size: Int64  # bytes of TCP header and payload on the wire
    source: Int32  # address numbers
    target: Int32

    def of(self, rows: Rows | Mask) -> "_Transport":
        """Keep some of the rows."""
        columns: Any = (column[rows] for column in self)
        return _Transport(*columns)


def columns(packets: Packets, book: AddressBook, facts: FileFacts) -> tuple[Segments, Int64]:
    """Read a chunk's TCP segments, and return with them the rows of the packets that are left to `rare`.

    Packets that are neither are counted in `facts.kinds` and `facts.unread`.
    """
    chunk = Chunk(packets, facts)
    return _Scan(chunk, book).run(), chunk.left()


class _Scan:
    """One pass over one chunk."""

    def __init__(self, chunk: Chunk, book: AddressBook) -> None:
        self._chunk, self._book = chunk, book
        self._packets = chunk.packets

    def run(self) -> Segments:
        """Read the packets that are as most are, then the others step by step."""
        kinds = links_of(self._packets)
        if len(kinds) != 1:
            return self._read(np.arange(len(self._packets), dtype=np.int64), kinds)
        found, rest = plain_segments(self._chunk, next(iter(kinds)), self._book)
        if found is not None and not len(rest):
            return found
        others = self._read(rest, dict.fromkeys(kinds, len(rest)))
        if found is None:
            return others
        return found.merged(others) if len(others) else found

    def _read(self, rows: Int64, kinds: dict[int, int]) -> Segments:
        """Go from the link headers to TCP, once more for each tunnel; `kinds` counts the rows by link type."""
        network, found = self._links(rows, kinds), list[_Transport]()
        for _ in range(links.MOST_TUNNELS + 1):
            network = tunnels.to_ip(self._chunk, network)
            if not len(network.row):
                break
            network = self._internet(network, found)
        self._chunk.unread(TOO_DEEP, len(network.row))
        return self._tcp(_in_order(found))

    # Link layer

    def _links(self, rows: Int64, kinds: dict[int, int]) -> Network:
        for number, count in kinds.items():
            if number not in links.KNOWN_LINKS:
                self._chunk.unread(NO_INTERFACE if number < 0 else links.unknown_link(number), count)
        if len(kinds) == 1:  # as in nearly every capture
            return self._link(next(iter(kinds)), rows)
        link, known = self._packets.link, links.KNOWN_LINKS & kinds.keys()
        return Network.together([self._link(number, np.flatnonzero(link == number)) for number in sorted(known)])

    def _link(self, link: int, rows: Int64) -> Network:
        if link in links.ETHERTYPE_AT:
            return self._ethertype(rows, *links.ETHERTYPE_AT[link])
        if link in links.FRAMED:
            ethertype, at = links.FRAMED[link]
            return Network(rows, self._packets.start[rows] + at, np.full(len(rows), ethertype))
        if link in links.BARE_IP:
            return self._bare_ip(rows)
        if link in links.ADDRESS_FAMILY:
            return self._address_family(rows)
        if link in links.RARE:
            self._chunk.leave(rows)
        return nothing()

    def _captured(self, rows: Int64, size: int) -> tuple[Int64, Int64]:
        """Return the packets whose link header of some size was captured, and where they begin."""
        rows = rows[self._chunk.captured(rows, self._packets.start[rows] + size)]
        return rows, self._packets.start[rows]

    def _ethertype(self, rows: Int64, type_at: int, header: int) -> Network:
        rows, start = self._captured(rows, header)
        return Network(rows, start + header, self._chunk.gather(start + type_at, _U16).astype(np.int64))

    def _bare_ip(self, rows: Int64) -> Network:
        rows, start = self._captured(rows, 1)
        version = self._packets.buffer[start] >> 4
        known = (version == 4) | (version == 6)
        self._chunk.unread(DAMAGED_IP, np.count_nonzero(~known))
        return Network(rows, start, np.where(version == 4, links.IPV4, links.IPV6).astype(np.int64)).of(where(known))

    def _address_family(self, rows: Int64) -> Network:
        rows, start = self._captured(rows, 4)
        family = self._chunk.gather(start, _U32)
        family = np.where(family > 0xFFFF, family.byteswap(), family)  # a family is a small number in its own order
        ethertype = np.full(len(rows), -1, dtype=np.int64)
        for number, meant in links.FAMILIES.items():
            ethertype[family == number] = meant
        self._chunk.count(links.OTHER_FAMILY, np.count_nonzero(ethertype < 0))
        return Network(rows, start + 4, ethertype).of(where(ethertype >= 0))

    # Internet layer

    def _internet(self, network: Network, found: list[_Transport]) -> Network:
        """Read IP headers: add the TCP packets to what was found, and return what tunnels among the others carry."""
        is_v4 = network.ethertype == links.IPV4
        inner = []
        for read, mine in ((self._ipv4, is_v4), (self._ipv6, ~is_v4)):
            if mine.any():
                transport, carried = read(network.of(where(mine)))
                found.append(transport)
                inner.append(carried)
        return Network.together(inner)

    def _ipv4(self, network: Network) -> tuple[_Transport, Network]:
        network = network.of(self._chunk.captured(network.row, network.at + _IPV4.itemsize))
        header = self._chunk.gather(network.at, _IPV4)
        size = (header["version_size"] & 15).astype(np.int64) * 4
        total = header["total"].astype(np.int64)
        sound = (header["version_size"] >> 4 == 4) & (size >= _IPV4.itemsize) & ((total >= size) | (total == 0))
        self._chunk.unread(DAMAGED_IP, np.count_nonzero(~sound))
        whole = header["fragment"] & MORE_OR_OFFSET == 0
        tcp = sound & whole & (header["protocol"] == links.TCP)
        network = Network(network.row, network.at + size, network.ethertype)
        others = np.flatnonzero(sound & ~tcp)
        inner = self._carried(network.of(others), header["protocol"][others], whole[others])
        rows = where(tcp)
        header, row, at, size, total = pick(header, rows), network.row[rows], network.at[rows], size[rows], total[rows]
        numbers = self._book.numbers_v4(np.concatenate([header["source"], header["target"]]).astype(np.uint32))
        size = np.where(total == 0, self._to_end(row, at), total - size)
        return self._transport(row, at, size, numbers), inner

    def _ipv6(self, network: Network) -> tuple[_Transport, Network]:
        network = network.of(self._chunk.captured(network.row, network.at + _IPV6.itemsize))
        header = self._chunk.gather(network.at, _IPV6)
        sound = header["version"] >> 4 == 6
        self._chunk.unread(DAMAGED_IP, np.count_nonzero(~sound))
        extended = sound & np.isin(header["protocol"], links.EXTENSION_HEADERS)
        self._chunk.leave(network.row[extended])
        tcp = sound & (header["protocol"] == links.TCP)
        network = Network(network.row, network.at + _IPV6.itemsize, network.ethertype)
        others = np.flatnonzero(sound & ~extended & ~tcp)
        inner = self._carried(network.of(others), header["protocol"][others], np.ones(len(others), dtype=np.bool_))
        rows = where(tcp)
        header, row, at = pick(header, rows), network.row[rows], network.at[rows]
        high = np.concatenate([header["source_high"], header["target_high"]]).astype(np.uint64)
        low = np.concatenate([header["source_low"], header["target_low"]]).astype(np.uint64)
        size = header["size"].astype(np.int64)
        size = np.where(size == 0, self._to_end(row, at), size)
        return self._transport(row, at, size, self._book.numbers_v6(high, low)), inner

    def _carried(self, network: Network, protocol: npt.NDArray[np.uint8], whole: Mask) -> Network:
        """Leave fragments of what can be put together, count other packets, and return what tunnels carry."""
        if not len(network.row):
            return nothing()
        fragments = ~whole & np.isin(protocol, _REASSEMBLED)
        self._chunk.leave(network.row[fragments])
        rows = where(~fragments)
        return tunnels.carried(self._chunk, network.of(rows), protocol[rows])

    def _transport(self, row: Int64, at: Int64, size: Int64, addresses: Int32) -> _Transport:
        return _Transport(row, at, size, *np.split(addresses, 2))

    def _to_end(self, row: Int64, at: Int64) -> Int64:
        """Return the bytes from `at` to the end of each packet on the wire: what an IP length of 0 stands for.

        It is 0 where the packet was recorded before the network card cut it into segments, and in an IPv6 jumbogram
        (RFC 2675).
        """
        return self._packets.start[row] + self._packets.wire[row] - at

    # TCP

    def _tcp(self, transport: _Transport) -> Segments:
        whole = self._chunk.is_captured(transport.row, transport.at + _TCP.itemsize) & (transport.size >= _TCP.itemsize)
        self._damaged(transport.of(~whole))
        transport = transport.of(where(whole))
        header = self._chunk.gather(transport.at, _TCP)
        size = (header["offset_flags"] >> 12).astype(np.int64) * 4
        sound = (size >= _TCP.itemsize) & (size <= transport.size)
        self._damaged(transport.of(~sound))
        rows = where(sound)
        transport = transport.of(rows)
        self._chunk.count("tcp", len(transport.row))
        return self._segments(transport, pick(header, rows), size[rows])

    def _damaged(self, transport: _Transport) -> None:
        """Count packets without a TCP header to read; leave those that have enough of it to be numbered."""
        captured = self._chunk.is_captured(transport.row, transport.at + links.COUNTED_TCP)
        counted = captured & (transport.size >= links.COUNTED_TCP)
        self._chunk.leave(transport.row[counted])
        size = transport.size[~counted]
        self._chunk.count("tcp", len(size))
        short = np.count_nonzero(size < _TCP.itemsize)
        self._chunk.unread(DAMAGED_TCP, short)
        self._chunk.unread(CUT_HEADERS, len(size) - short)

    def _segments(self, transport: _Transport, header: npt.NDArray[Any], size: Int64) -> Segments:
        row, end = transport.row, self._chunk.end[transport.row]
        start = np.minimum(transport.at + size, end)
        length = transport.size - size
        return Segments(
            buffer=self._packets.buffer,
            frame=row + self._packets.first_frame,
            time=self._packets.time[row],
            source=transport.source,
            target=transport.target,
            source_port=header["source_port"].astype(np.int32),
            target_port=header["target_port"].astype(np.int32),
            seq=header["seq"].astype(np.int64),
            ack=header["ack"].astype(np.int64),
            flags=(header["offset_flags"] & 0x1FF).astype(np.int32),
            start=start,
            captured=np.minimum(end - start, length),
            length=length,
        )


def _in_order(found: list[_Transport]) -> _Transport:
    """Put the TCP packets found into file order."""
    if not found:
        none, no_address = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int32)
        return _Transport(none, none, none, no_address, no_address)
    columns: Any = zip(*found, strict=True)
    together = found[0] if len(found) == 1 else _Transport(*(np.concatenate(column) for column in columns))
    if (np.diff(together.row) >= 0).all():
        return together
    return together.of(np.argsort(together.row, kind="stable"))
