"""Packets one at a time, with dpkt: those that `headers` leaves, and, over every packet, its slow and obvious twin.

dpkt reads each header's own fields only. Left to itself it would follow what a packet carries as deep as it goes,
which a crafted packet can make as deep as it likes.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import dpkt
import numpy as np

from tlspcap.wire import links, unwrap
from tlspcap.wire.columns import (
    COUNTED,
    CUT_HEADERS,
    DAMAGED_IP,
    DAMAGED_TCP,
    MUTE,
    TOO_DEEP,
    AddressBook,
    FileFacts,
    Packets,
    Segments,
)
from tlspcap.wire.fragments import Fragment, Fragments
from tlspcap.wire.single import Layer, Packet, Reading, Segment, Stopped


class _Internet(NamedTuple):
    """An IP packet's header, extension headers included."""

    source: bytes
    target: bytes
    protocol: int
    at: int  # offset of what it carries
    size: int  # bytes of that on the wire
    fragment: Fragment | None = None

    @property
    def is_ipv4(self) -> bool:
        """Whether this was an IPv4 header."""
        return len(self.source) == 4


def segments(
    packets: Packets, rows: Iterable[int], book: AddressBook, facts: FileFacts, fragments: Fragments
) -> Segments:
    """Read some packets of a chunk; those that hold no segment are counted in `facts.kinds` and `facts.unread`.

    The buffer of what is returned begins with that of the chunk; datagrams put together from fragments follow there.
    """
    reassembled: list[bytes] = []
    found = list(_rows(packets, rows, book, facts, fragments, reassembled))
    buffer = packets.buffer
    if reassembled:
        buffer = np.concatenate([buffer, np.frombuffer(b"".join(reassembled), dtype=np.uint8)])
    return Segments.from_rows(buffer, found)


def _rows(
    packets: Packets,
    rows: Iterable[int],
    book: AddressBook,
    facts: FileFacts,
    fragments: Fragments,
    reassembled: list[bytes],
) -> Iterator[tuple[int, ...]]:
    behind = len(packets.buffer)  # where the next reassembled datagram will lie
    for row in rows:
        start, time = int(packets.start[row]), int(packets.time[row])
        packet = packets.buffer[start : start + int(packets.captured[row])].tobytes()
        fragments.frame = packets.first_frame + row
        reading = read(packet, int(packets.wire[row]), int(packets.link[row]), fragments, time)
        facts.kinds.update([reading.kind] if reading.kind else [])
        facts.unread.update([reading.unread] if reading.unread else [])
        if (found := reading.segment) is None:
            continue
        if reading.reassembled:
            start, behind = behind, behind + len(reading.reassembled)
            reassembled.append(reading.reassembled)
        addresses = book.number(found.source), book.number(found.target)
        yield (packets.first_frame + row, time, *addresses, *found[2:7], start + found.start, *found[8:])


def read(captured: bytes, wire: int, link: int, fragments: Fragments | None = None, time: int = 0) -> Reading:
    r"""Read one packet: its captured bytes, its bytes on the wire, its link type.

    A fragment waits in `fragments`, by the packet's time, until its datagram is whole, which is then read.

    >>> read(bytes.fromhex("45000028000000004006000009090909080808080050005000000001000000025010000000000000"), 40, 101)
    Reading(kind='tcp', unread='', segment=Segment(source=b'\t\t\t\t', target=b'\x08\x08\x08\x08', ...), ...)
    """
    return _Reader(Packet(captured, wire), Fragments() if fragments is None else fragments, time).read(link)


class _Reader:
    """Reads one packet."""

    def __init__(self, packet: Packet, fragments: Fragments, time: int) -> None:
        self._packet, self._fragments, self._time = packet, fragments, time
        self._reassembled = b""
        self._quoting = ""  # kind of the ICMP message behind whose header reading is

    def read(self, link: int) -> Reading:
        """Read from the link header to TCP, once more for each tunnel. What is quoted cannot go wrong."""
        try:
            layer = unwrap.link(self._packet, link)
            for _ in range(links.MOST_TUNNELS + 1):
                layer = unwrap.to_ip(self._packet, layer)
                internet = self._internet(layer)
                if internet.protocol == links.TCP:
                    return self._tcp(internet)
                layer = self._carried(internet)
            raise Stopped(unread=TOO_DEEP)
        except Stopped as stopped:
            return Reading(self._quoting) if self._quoting else stopped.reading

    def _internet(self, layer: Layer) -> _Internet:
        """Read an IP header; of a fragment, those of the packet that it makes whole."""
        internet = (_ipv4 if layer.ethertype == links.IPV4 else _ipv6)(self._packet, layer.at)
        while internet.fragment is not None:
            if self._quoting and _begins_cut(internet):
                break
            whole = None if self._quoting else self._fragments.add(internet.fragment, self._time)
            if whole is None:
                raise Stopped(links.protocol_kind(internet.protocol))
            self._packet, self._reassembled = whole, whole.captured
            internet = _ipv6_payload(whole, internet.source, internet.target, internet.protocol, 0, whole.wire)
        return internet

    def _carried(self, internet: _Internet) -> Layer:
        if not unwrap.quotes(self._packet, internet.protocol, internet.at):
            return unwrap.carried(self._packet, internet.protocol, internet.at)
        self._quoting = self._quoting or links.protocol_kind(internet.protocol)
        return unwrap.quoted(self._packet, internet.protocol, internet.at)

    def _tcp(self, internet: _Internet) -> Reading:
        if self._quoting:
            return Reading(self._quoting, "", _counted(self._packet, internet, quoted=True))
        segment, unread = _tcp(self._packet, internet)
        return Reading("tcp", unread, segment, self._reassembled)


def _begins_cut(internet: _Internet) -> bool:
    """Whether Wireshark reads a quoted fragment as it is: the first of an IPv4 packet, of which not all is quoted."""
    fragment = internet.fragment
    return fragment is not None and not fragment.offset and len(fragment.captured) < fragment.size and internet.is_ipv4


def _ipv4(packet: Packet, at: int) -> _Internet:
    header = packet.fields(dpkt.ip.IP, at)
    size = header.hl * 4
    if header.v != 4 or size < 20 or 0 < header.len < size:
        raise Stopped(unread=DAMAGED_IP)
    # A total length of 0: recorded before the network card cut it into segments.
    carried = (header.len or packet.wire - at) - size
    at += size
    fragment = None
    if header.mf or header.offset:
        if header.p not in links.REASSEMBLED:
            raise Stopped(links.protocol_kind(header.p))
        key = header.src, header.dst, header.id, header.p
        body = packet.captured[at : at + max(carried, 0)]
        fragment = Fragment(key, header.offset * 8, max(carried, 0), body, not header.mf, header.p in links.HIDING)
    return _Internet(header.src, header.dst, header.p, at, carried, fragment)


def _ipv6(packet: Packet, at: int) -> _Internet:
    header = packet.fields(dpkt.ip6.IP6, at)
    if header.v != 6:
        raise Stopped(unread=DAMAGED_IP)
    at += 40
    end = at + header.plen if header.plen else packet.wire  # 0: as in IPv4, or a jumbogram (RFC 2675)
    return _ipv6_payload(packet, header.src, header.dst, header.nxt, at, end)


def _ipv6_payload(packet: Packet, source: bytes, target: bytes, protocol: int, at: int, end: int) -> _Internet:
    """Step over extension headers (RFC 8200 4), up to a fragment."""
    fragment = None
    while protocol in links.EXTENSION_HEADERS and fragment is None:
        if protocol == links.FRAGMENT:
            header = packet.fields(dpkt.ip6.IP6FragmentHeader, at)
            protocol, at = header.nxt, at + 8
            if header.frag_off or header.m_flag:
                fragment = _ipv6_fragment(packet, header, (source, target), at, max(end - at, 0))
        else:
            header = packet.fields(dpkt.ip6.IP6OptsHeader, at)
            # The length counts 8-byte units behind the first; AH counts 4-byte units, less two (RFC 4302 2.2).
            size = (header.len + 2) * 4 if protocol == links.AUTHENTICATION else (header.len + 1) * 8
            protocol, at = header.nxt, at + size
    return _Internet(source, target, protocol, at, end - at, fragment)


def _ipv6_fragment(packet: Packet, header: Any, addresses: tuple[bytes, bytes], at: int, size: int) -> Fragment:
    if header.nxt not in links.REASSEMBLED and header.nxt not in links.EXTENSION_HEADERS:
        raise Stopped(links.protocol_kind(header.nxt))
    key = (*addresses, header.id, -1)  # whatever the protocol: only the first fragment's counts (RFC 8200 4.5)
    hides = header.nxt in links.HIDING or header.nxt in links.EXTENSION_HEADERS
    return Fragment(key, header.frag_off * 8, size, packet.captured[at : at + size], not header.m_flag, hides)


def _tcp(packet: Packet, internet: _Internet) -> tuple[Segment | None, str]:
    """Read a TCP header; of one that is damaged or cut short, what Wireshark numbers it by, and the reason."""
    at, captured = internet.at, len(packet.captured)
    if internet.size < 20:
        return _counted(packet, internet), DAMAGED_TCP
    if captured < at + 20:
        return _counted(packet, internet), CUT_HEADERS
    header = packet.fields(dpkt.tcp.TCP, at)
    size = header.off * 4
    if size < 20 or size > internet.size:
        return _counted(packet, internet), DAMAGED_TCP
    start, length = min(at + size, captured), internet.size - size
    ports = header.sport, header.dport
    counts = start, min(captured - start, length), length
    return Segment(internet.source, internet.target, *ports, header.seq, header.ack, header.flags, *counts), ""


def _counted(packet: Packet, internet: _Internet, quoted: bool = False) -> Segment | None:
    """Read as much of a TCP header as Wireshark needs to number its conversation; nothing else of it counts.

    It tells initial numbers unless it is quoted, or its data would begin beyond the packet.
    """
    head = packet.captured[internet.at : internet.at + links.COUNTED_TCP]
    if internet.size < links.COUNTED_TCP or len(head) < links.COUNTED_TCP:
        return None
    header = Packet(head + bytes(4), 20).fields(dpkt.tcp.TCP, 0)
    flags = header.flags | COUNTED | (MUTE if quoted or header.off * 4 > internet.size else 0)
    ports = header.sport, header.dport
    return Segment(internet.source, internet.target, *ports, header.seq, header.ack, flags, internet.at, 0, 0)
