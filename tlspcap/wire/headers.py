"""Columns: the link, IP and TCP header fields of every packet of a chunk at once, for the common encapsulations.

Each step narrows the rows to those whose header is there and sound, and counts the others by kind or reason. What
takes a closer look (IPv6 extension headers, deep VLAN stacks) is left to `rare`, which is also the slow, obvious twin
of this module: over any packet both find the same.
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tlspcap.wire import links
from tlspcap.wire.columns import (
    CUT_HEADERS,
    DAMAGED_IP,
    DAMAGED_TCP,
    IP_FRAGMENT,
    NO_INTERFACE,
    AddressBook,
    FileFacts,
    Int32,
    Int64,
    Packets,
    Segments,
    gather,
)

VLAN_DEPTH = 2  # tags read here; `rare` reads deeper stacks
_MORE_OR_OFFSET = 0x3FFF  # of IPv4's flags and fragment offset: all but the reserved and the don't-fragment bit

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

_Rows = slice | Int64  # all rows of a table of columns, without a copy, or the numbers of some
_Mask = npt.NDArray[np.bool_]


class _Network(NamedTuple):
    """Packets whose link header is read."""

    row: Int64  # of the chunk's packets
    at: Int64  # offset of the network header in the buffer
    ethertype: Int64

    def of(self, rows: "_Rows") -> "_Network":
        """Keep some of the rows."""
        return _Network(self.row[rows], self.at[rows], self.ethertype[rows])


class _Transport(NamedTuple):
    """Packets whose IP header is read, and says TCP."""

    row: Int64
    at: Int64  # offset of the TCP header in the buffer
    size: Int64  # bytes of TCP header and payload on the wire
    source: Int32  # address numbers
    target: Int32

    def of(self, rows: "_Rows") -> "_Transport":
        """Keep some of the rows."""
        columns: Any = (column[rows] for column in self)
        return _Transport(*columns)


def columns(packets: Packets, book: AddressBook, facts: FileFacts) -> tuple[Segments, Int64]:
    """Read a chunk's TCP segments, and return with them the rows of the packets that are left to `rare`.

    Packets that are neither are counted in `facts.kinds` and `facts.unread`.
    """
    return _Scan(packets, book, facts).run()


class _Scan:
    """One pass over one chunk."""

    def __init__(self, packets: Packets, book: AddressBook, facts: FileFacts) -> None:
        self._packets, self._book, self._facts = packets, book, facts
        self._end = packets.start + packets.captured  # where each packet's captured bytes end
        self._rest: list[Int64] = []

    def run(self) -> tuple[Segments, Int64]:
        network = self._network()
        is_v4, is_v6 = network.ethertype == links.IPV4, network.ethertype == links.IPV6
        self._count_ethertypes(network.ethertype[~(is_v4 | is_v6)])
        segments = self._tcp(_together(self._ipv4(network.of(_where(is_v4))), self._ipv6(network.of(_where(is_v6)))))
        return segments, np.sort(np.concatenate([*self._rest, np.empty(0, np.int64)]))

    # Link layer

    def _network(self) -> _Network:
        link = self._packets.link
        numbers, counts = np.unique(link, return_counts=True)
        for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
            if number not in links.KNOWN_LINKS:
                self._unread(NO_INTERFACE if number < 0 else links.unknown_link(number), count)
        if len(numbers) == 1:  # as in nearly every capture
            return self._link(int(numbers[0]), np.arange(len(link), dtype=np.int64))
        known = links.KNOWN_LINKS.intersection(numbers.tolist())
        parts = [_nothing(), *(self._link(number, np.flatnonzero(link == number)) for number in known)]
        columns: Any = zip(*parts, strict=True)
        network = _Network(*(np.concatenate(column) for column in columns))
        return network.of(np.argsort(network.row, kind="stable"))  # back into file order

    def _link(self, link: int, rows: Int64) -> _Network:
        if link in links.ETHERTYPE_AT:
            return self._ethertype(rows, *links.ETHERTYPE_AT[link])
        if link in links.BARE_IP:
            return self._bare_ip(rows)
        return self._address_family(rows) if link in links.ADDRESS_FAMILY else _nothing()

    def _ethertype(self, rows: Int64, type_at: int, header: int) -> _Network:
        rows = self._captured(rows, self._packets.start[rows] + header)
        start = self._packets.start[rows]
        ethertype = gather(self._packets.buffer, start + type_at, _U16).astype(np.int64)
        return self._untagged(_Network(rows, start + header, ethertype))

    def _untagged(self, network: _Network) -> _Network:
        """Step over VLAN tags: 2 bytes of tag, then the ethertype of what follows (IEEE 802.1Q 9.6)."""
        for _ in range(VLAN_DEPTH):
            tagged = np.flatnonzero(_is_vlan(network.ethertype))
            if not len(tagged):
                break
            network.ethertype[tagged] = -1  # those cut short stay so, and are dropped below
            whole = tagged[self._is_captured(network.row[tagged], network.at[tagged] + 4)]
            self._unread(CUT_HEADERS, len(tagged) - len(whole))
            network.ethertype[whole] = gather(self._packets.buffer, network.at[whole] + 2, _U16)
            network.at[whole] += 4
        deep = _is_vlan(network.ethertype)
        self._rest.append(network.row[deep])
        return network.of(_where(~deep & (network.ethertype >= 0)))

    def _bare_ip(self, rows: Int64) -> _Network:
        rows = self._captured(rows, self._packets.start[rows] + 1)
        start = self._packets.start[rows]
        version = self._packets.buffer[start] >> 4
        known = (version == 4) | (version == 6)
        self._unread(DAMAGED_IP, np.count_nonzero(~known))
        return _Network(rows, start, np.where(version == 4, links.IPV4, links.IPV6).astype(np.int64)).of(_where(known))

    def _address_family(self, rows: Int64) -> _Network:
        rows = self._captured(rows, self._packets.start[rows] + 4)
        start = self._packets.start[rows]
        family = gather(self._packets.buffer, start, _U32)
        family = np.where(family > 0xFFFF, family.byteswap(), family)  # a family is a small number in its own order
        ethertype = np.full(len(rows), -1, dtype=np.int64)
        for number, meant in links.FAMILIES.items():
            ethertype[family == number] = meant
        self._count(links.OTHER_FAMILY, np.count_nonzero(ethertype < 0))
        return _Network(rows, start + 4, ethertype).of(_where(ethertype >= 0))

    # Internet layer

    def _ipv4(self, network: _Network) -> _Transport:
        network = network.of(self._whole(network, _IPV4.itemsize))
        header = gather(self._packets.buffer, network.at, _IPV4)
        size = (header["version_size"] & 15).astype(np.int64) * 4
        total = header["total"].astype(np.int64)
        sound = (header["version_size"] >> 4 == 4) & (size >= _IPV4.itemsize) & ((total >= size) | (total == 0))
        self._unread(DAMAGED_IP, np.count_nonzero(~sound))
        self._count_protocols(header["protocol"][sound])
        tcp = sound & (header["protocol"] == links.TCP)
        whole = tcp & (header["fragment"] & _MORE_OR_OFFSET == 0)
        self._unread(IP_FRAGMENT, np.count_nonzero(tcp) - np.count_nonzero(whole))
        rows = _where(whole)
        header, row, size, total = header[rows], network.row[rows], size[rows], total[rows]
        numbers = self._book.numbers_v4(np.concatenate([header["source"], header["target"]]).astype(np.uint32))
        at = network.at[rows] + size
        return _Transport(row, at, np.where(total == 0, self._to_end(row, at), total - size), *np.split(numbers, 2))

    def _ipv6(self, network: _Network) -> _Transport:
        network = network.of(self._whole(network, _IPV6.itemsize))
        header = gather(self._packets.buffer, network.at, _IPV6)
        sound = header["version"] >> 4 == 6
        self._unread(DAMAGED_IP, np.count_nonzero(~sound))
        extended = sound & np.isin(header["protocol"], links.EXTENSION_HEADERS)
        self._rest.append(network.row[extended])
        self._count_protocols(header["protocol"][sound & ~extended])
        rows = _where(sound & (header["protocol"] == links.TCP))
        header, row, at = header[rows], network.row[rows], network.at[rows]
        high = np.concatenate([header["source_high"], header["target_high"]]).astype(np.uint64)
        low = np.concatenate([header["source_low"], header["target_low"]]).astype(np.uint64)
        numbers = self._book.numbers_v6(high, low)
        at, size = at + _IPV6.itemsize, header["size"].astype(np.int64)
        return _Transport(row, at, np.where(size == 0, self._to_end(row, at), size), *np.split(numbers, 2))

    def _to_end(self, row: Int64, at: Int64) -> Int64:
        """Return the bytes from `at` to the end of each packet on the wire: what an IP length of 0 stands for.

        It is 0 where the packet was recorded before the network card cut it into segments, and in an IPv6 jumbogram
        (RFC 2675).
        """
        return self._packets.start[row] + self._packets.wire[row] - at

    # TCP

    def _tcp(self, transport: _Transport) -> Segments:
        room = transport.size >= _TCP.itemsize
        self._unread(DAMAGED_TCP, np.count_nonzero(~room))
        whole = room & self._is_captured(transport.row, transport.at + _TCP.itemsize)
        self._unread(CUT_HEADERS, np.count_nonzero(room) - np.count_nonzero(whole))
        transport = transport.of(_where(whole))
        header = gather(self._packets.buffer, transport.at, _TCP)
        size = (header["offset_flags"] >> 12).astype(np.int64) * 4
        sound = (size >= _TCP.itemsize) & (size <= transport.size)
        self._unread(DAMAGED_TCP, np.count_nonzero(~sound))
        rows = _where(sound)
        return self._segments(transport.of(rows), header[rows], size[rows])

    def _segments(self, transport: _Transport, header: npt.NDArray[Any], size: Int64) -> Segments:
        row, end = transport.row, self._end[transport.row]
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

    # Counting

    def _is_captured(self, row: Int64, until: Int64) -> _Mask:
        captured: _Mask = until <= self._end[row]
        return captured

    def _captured(self, rows: Int64, until: Int64) -> Int64:
        """Keep the packets captured up to an offset, and count the others."""
        whole = self._is_captured(rows, until)
        self._unread(CUT_HEADERS, np.count_nonzero(~whole))
        return rows[_where(whole)]

    def _whole(self, network: _Network, size: int) -> _Rows:
        """Keep the network headers of a size that were captured, and count the others."""
        whole = self._is_captured(network.row, network.at + size)
        self._unread(CUT_HEADERS, np.count_nonzero(~whole))
        return _where(whole)

    def _unread(self, reason: str, count: int | np.intp) -> None:
        if count:
            self._facts.unread[reason] += int(count)

    def _count(self, kind: str, count: int | np.intp) -> None:
        if count:
            self._facts.kinds[kind] += int(count)

    def _count_protocols(self, protocols: npt.NDArray[Any]) -> None:
        counts = np.bincount(protocols, minlength=256)
        for protocol in np.flatnonzero(counts).tolist():
            self._count(links.protocol_kind(protocol), counts[protocol])

    def _count_ethertypes(self, ethertypes: Int64) -> None:
        for ethertype, count in zip(*np.unique(ethertypes, return_counts=True), strict=True):
            self._count(links.ethertype_kind(int(ethertype)), count)


def _where(mask: _Mask) -> _Rows:
    """Return the rows where a mask is true; nearly always all."""
    return slice(None) if mask.all() else np.flatnonzero(mask)


def _is_vlan(ethertype: Int64) -> _Mask:
    first, second, third = links.VLAN_TAGS
    tagged: _Mask = (ethertype == first) | (ethertype == second) | (ethertype == third)
    return tagged


def _nothing() -> _Network:
    return _Network(*(np.empty(0, dtype=np.int64) for _ in range(3)))


def _together(first: _Transport, second: _Transport) -> _Transport:
    """Put the packets of two IP versions into file order."""
    if not len(first.row) or not len(second.row):
        return first if len(first.row) else second
    pairs: Any = zip(first, second, strict=True)
    both = _Transport(*(np.concatenate(pair) for pair in pairs))
    return both.of(np.argsort(both.row, kind="stable"))
