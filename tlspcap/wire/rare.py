"""Packets one at a time, with dpkt: those that `headers` leaves, and, over every packet, its slow and obvious twin.

dpkt reads each header's own fields only. Left to itself it would follow what a packet carries as deep as it goes,
which a crafted packet can make as deep as it likes.
"""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import dpkt

from tlspcap.wire import links
from tlspcap.wire.columns import (
    CUT_HEADERS,
    DAMAGED_IP,
    DAMAGED_TCP,
    IP_FRAGMENT,
    NO_INTERFACE,
    AddressBook,
    FileFacts,
    Packets,
    Segments,
)


class Segment(NamedTuple):
    """The fields of one TCP segment, as in `columns.Segments`; `start` counts from the packet's first byte."""

    source: bytes
    target: bytes
    source_port: int
    target_port: int
    seq: int
    ack: int
    flags: int
    start: int
    captured: int
    length: int


class Reading(NamedTuple):
    """What one packet is: its kind as far as its headers tell, and the segment in it or why there is none to read."""

    kind: str = ""
    unread: str = ""
    segment: Segment | None = None


class _Stopped(Exception):
    """A header cannot be read on; caught in `read`."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading


class _Internet(NamedTuple):
    """An IP packet's header, extension headers included: what follows it is TCP."""

    source: bytes
    target: bytes
    at: int  # offset of the TCP header
    size: int  # bytes of TCP header and payload on the wire


def segments(packets: Packets, rows: Iterable[int], book: AddressBook, facts: FileFacts) -> Segments:
    """Read some packets of a chunk; those that hold no segment are counted in `facts.kinds` and `facts.unread`."""
    return Segments.from_rows(packets.buffer, _rows(packets, rows, book, facts))


def _rows(packets: Packets, rows: Iterable[int], book: AddressBook, facts: FileFacts) -> Iterator[tuple[int, ...]]:
    for row in rows:
        start = int(packets.start[row])
        packet = packets.buffer[start : start + int(packets.captured[row])].tobytes()
        reading = read(packet, int(packets.wire[row]), int(packets.link[row]))
        facts.kinds.update([reading.kind] if reading.kind else [])
        facts.unread.update([reading.unread] if reading.unread else [])
        if (found := reading.segment) is not None:
            frame, time = packets.first_frame + row, int(packets.time[row])
            addresses = book.number(found.source), book.number(found.target)
            yield (frame, time, *addresses, *found[2:7], start + found.start, found.captured, found.length)


def read(packet: bytes, wire: int, link: int) -> Reading:
    r"""Read one packet: its captured bytes, its bytes on the wire, its link type.

    >>> read(bytes.fromhex("45000028000000004006000009090909080808080050005000000001000000025010000000000000"), 40, 101)
    Reading(kind='tcp', unread='', segment=Segment(source=b'\t\t\t\t', target=b'\x08\x08\x08\x08', ...))
    """
    try:
        ethertype, at = _link(packet, link)
        if ethertype == links.IPV4:
            return _tcp(packet, _ipv4(packet, at, wire))
        if ethertype == links.IPV6:
            return _tcp(packet, _ipv6(packet, at, wire))
        return Reading(kind=links.ethertype_kind(ethertype))
    except _Stopped as stopped:
        return stopped.reading


def _fields(header: Any, packet: bytes, at: int, kind: str = "") -> Any:
    """Read a dpkt header's own fields, without its options and what it carries."""
    size = header.__hdr_len__
    if at + size > len(packet):
        raise _Stopped(Reading(kind, CUT_HEADERS))
    fields = header.__new__(header)
    dpkt.dpkt.Packet.unpack(fields, packet[at : at + size])
    return fields


def _bytes(packet: bytes, at: int, size: int) -> bytes:
    if at + size > len(packet):
        raise _Stopped(Reading(unread=CUT_HEADERS))
    return packet[at : at + size]


def _link(packet: bytes, link: int) -> tuple[int, int]:
    """Return the ethertype of what a packet carries, and where that begins."""
    if link in links.BARE_IP:
        return _version(packet), 0
    if link in links.ADDRESS_FAMILY:
        return _family(packet), 4
    if link not in links.ETHERTYPE_AT:
        raise _Stopped(Reading(unread=NO_INTERFACE if link < 0 else links.unknown_link(link)))
    type_at, at = links.ETHERTYPE_AT[link]
    ethertype = int.from_bytes(_bytes(packet, 0, at)[type_at : type_at + 2])
    while ethertype in links.VLAN_TAGS:
        tag = _fields(dpkt.ethernet.VLANtag8021Q, packet, at)
        ethertype, at = tag.type, at + 4
    return ethertype, at


def _version(packet: bytes) -> int:
    version = _bytes(packet, 0, 1)[0] >> 4
    if version not in (4, 6):
        raise _Stopped(Reading(unread=DAMAGED_IP))
    return links.IPV4 if version == 4 else links.IPV6


def _family(packet: bytes) -> int:
    family = _bytes(packet, 0, 4)
    number = int.from_bytes(family, "big")
    if number > 0xFFFF:
        number = int.from_bytes(family, "little")
    if number not in links.FAMILIES:
        raise _Stopped(Reading(kind=links.OTHER_FAMILY))
    return links.FAMILIES[number]


def _ipv4(packet: bytes, at: int, wire: int) -> _Internet:
    header = _fields(dpkt.ip.IP, packet, at)
    size = header.hl * 4
    if header.v != 4 or size < 20 or 0 < header.len < size:
        raise _Stopped(Reading(unread=DAMAGED_IP))
    kind = links.protocol_kind(header.p)
    if header.p != links.TCP:
        raise _Stopped(Reading(kind))
    if header.mf or header.offset:
        raise _Stopped(Reading(kind, IP_FRAGMENT))
    # A total length of 0: recorded before the network card cut it into segments.
    return _Internet(header.src, header.dst, at + size, (header.len or wire - at) - size)


def _ipv6(packet: bytes, at: int, wire: int) -> _Internet:
    header = _fields(dpkt.ip6.IP6, packet, at)
    if header.v != 6:
        raise _Stopped(Reading(unread=DAMAGED_IP))
    at += 40
    end = at + header.plen if header.plen else wire  # 0: as in IPv4, or a jumbogram (RFC 2675)
    protocol = header.nxt
    while protocol in links.EXTENSION_HEADERS:
        protocol, at = _extension(packet, at, protocol)
    if protocol != links.TCP:
        raise _Stopped(Reading(links.protocol_kind(protocol)))
    return _Internet(header.src, header.dst, at, end - at)


def _extension(packet: bytes, at: int, protocol: int) -> tuple[int, int]:
    """Step over one extension header (RFC 8200 4): return what follows it, and where."""
    if protocol == links.FRAGMENT:
        fragment = _fields(dpkt.ip6.IP6FragmentHeader, packet, at)
        if fragment.frag_off or fragment.m_flag:
            hidden = fragment.nxt == links.TCP or fragment.nxt in links.EXTENSION_HEADERS
            raise _Stopped(Reading(links.protocol_kind(fragment.nxt), IP_FRAGMENT if hidden else ""))
        return fragment.nxt, at + 8
    header = _fields(dpkt.ip6.IP6OptsHeader, packet, at)
    # The length counts 8-byte units behind the first; AH counts 4-byte units, less two (RFC 4302 2.2).
    return header.nxt, at + ((header.len + 2) * 4 if protocol == links.AUTHENTICATION else (header.len + 1) * 8)


def _tcp(packet: bytes, internet: _Internet) -> Reading:
    kind, at = links.protocol_kind(links.TCP), internet.at
    if internet.size < 20:
        raise _Stopped(Reading(kind, DAMAGED_TCP))
    header = _fields(dpkt.tcp.TCP, packet, at, kind)
    size = header.off * 4
    if size < 20 or size > internet.size:
        raise _Stopped(Reading(kind, DAMAGED_TCP))
    start, length = min(at + size, len(packet)), internet.size - size
    ports = header.sport, header.dport
    counts = start, min(len(packet) - start, length), length
    found = Segment(internet.source, internet.target, *ports, header.seq, header.ack, header.flags, *counts)
    return Reading(kind, "", found)
