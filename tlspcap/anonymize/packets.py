"""Packets built anew around what replaces their payload: an IP header, a TCP header, nothing else.

Whatever stood around them (link headers, tags, tunnels, fragments, IP options) is left behind: what is not written
cannot tell anything. Of IP the hop limit stays, of TCP all fields and the options that RFC 9293 and 7323 define.
"""

import struct
from typing import NamedTuple

from tlspcap.anonymize.plans import Sides
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.wire.columns import Segments

LINK = 101  # raw IP

_TCP_SIZE = 20
_LARGEST_HEADER = 60
_TCP_ENDS = struct.Struct(">HHII")  # ports, sequence and ACK number (RFC 9293 3.1)
_TCP = struct.Struct(">HHIIHHHH")
_IPV4 = struct.Struct(">BBHHHBBH4s4s")
_IPV6 = struct.Struct(">IHBB16s16s")
_PROTOCOL, _HOPS, _WINDOW, _DO_NOT_FRAGMENT, _LARGEST = 6, 64, 0, 0x4000, 0xFFFF
_END, _NO_OPERATION = 0, 1
_PLAIN_OPTIONS = frozenset({2, 3, 4, 5, 8})  # size, window scale, SACK permitted, SACK, timestamps
_SYN = 2


class _Heads(NamedTuple):
    """What stays of the headers in front of a payload."""

    hops: int
    window: int
    urgent: int
    options: bytes


def rebuilt(
    segments: Segments, row: int, ends: tuple[bytes, bytes], sides: Sides | None, names: Pseudonyms
) -> tuple[bytes, int]:
    """Build the packet of one segment anew; return what is captured of it, and its bytes on the wire.

    `ends` are the addresses that it was sent from and to; `sides` what replaces its payload, zeros without it.
    """
    ports = int(segments.source_port[row]), int(segments.target_port[row])
    seq, ack, flags = int(segments.seq[row]), int(segments.ack[row]), int(segments.flags[row]) & 0x1FF
    captured, length = int(segments.captured[row]), int(segments.length[row])
    heads = _heads(segments, row, ends)
    begin = seq + 1 if flags & _SYN else seq
    payload = sides.plan(ends[0], ports[0]).payload(begin, captured) if sides is not None else bytes(captured)
    size = _TCP_SIZE + len(heads.options)
    header = _TCP.pack(*ports, seq, ack, size // 4 << 12 | flags, heads.window, 0, heads.urgent) + heads.options
    source, target = names.address(ends[0]), names.address(ends[1])
    if captured == length:  # of a part there is no checksum
        pseudo = source + target + struct.pack(">IHH", size + length, 0, _PROTOCOL)
        header = header[:16] + _checksum(pseudo + header + payload) + header[18:]
    ip = _ip(source, target, heads.hops, size + length)
    return ip + header + payload, len(ip) + size + length


def _ip(source: bytes, target: bytes, hops: int, size: int) -> bytes:
    """An IP header; a length beyond 16 bits is written as 0, as by network cards that cut segments later."""
    if len(source) == 16:
        return _IPV6.pack(6 << 28, size if size <= _LARGEST else 0, _PROTOCOL, hops, source, target)
    total = _IPV4.size + size
    fields = (0x45, 0, total if total <= _LARGEST else 0, 0, _DO_NOT_FRAGMENT, hops, _PROTOCOL)
    header = _IPV4.pack(*fields, 0, source, target)
    return header[:10] + _checksum(header) + header[12:]


def _checksum(data: bytes) -> bytes:
    """The Internet checksum (RFC 1071): the ones' complement sum of 16-bit words, complemented."""
    total: int = sum(struct.unpack(f">{(len(data) + 1) // 2}H", data + bytes(len(data) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2)


def _heads(segments: Segments, row: int, ends: tuple[bytes, bytes]) -> _Heads:
    """Find the TCP header that the scan read in front of a payload, and the IP header in front of that.

    The fields that are known say where it is; behind reassembled fragments there is no IP header.
    """
    start = int(segments.start[row])
    known = _TCP_ENDS.pack(
        int(segments.source_port[row]), int(segments.target_port[row]), int(segments.seq[row]), int(segments.ack[row])
    )
    low = max(0, start - _LARGEST_HEADER)
    before = segments.buffer[max(0, low - _LARGEST_HEADER) : start].tobytes()
    at = before.rfind(known, max(0, len(before) - _LARGEST_HEADER), len(before) - 8)
    if at < 0 or at + _TCP_SIZE > len(before):
        return _Heads(_HOPS, _WINDOW, 0, b"")
    size = min(before[at + 12] >> 4 << 2, len(before) - at)
    window, _, urgent = struct.unpack_from(">HHH", before, at + 14)
    return _Heads(_hops(before[:at], ends), window, urgent, _options(before[at + _TCP_SIZE : at + size]))


def _hops(before: bytes, ends: tuple[bytes, bytes]) -> int:
    """The hop limit of the IP header that stands last, where its addresses are those that are known."""
    place = before.rfind(ends[0] + ends[1])
    if place < 0:
        return _HOPS
    return before[place - 4] if len(ends[0]) == 4 and place >= 4 else before[place - 1] if place else _HOPS


def _options(options: bytes) -> bytes:
    """Keep the usual options, blank what others hold, and fill up what was cut off."""
    out, at = bytearray(), 0
    while at < len(options) and options[at] != _END:
        kind = options[at]
        size = 1 if kind == _NO_OPERATION else options[at + 1] if at + 1 < len(options) else 0
        if kind != _NO_OPERATION and (size < 2 or at + size > len(options)):
            break
        content = options[at : at + size]
        out += content if kind in _PLAIN_OPTIONS else content[:2].ljust(size, b"\0")
        at += size
    return bytes(out) + bytes(len(options) - len(out)) + bytes(-len(options) % 4)
