"""Handshake messages out of captures by the shortest way, apart from the library: dpkt, TCP by sequence number.

Enough for well-behaved captures on plain links; what it cannot read it leaves out.
"""

import gzip
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import dpkt

REFERENCE = Path(os.environ.get("TLSPCAP_REFERENCE", Path(__file__).parents[2] / "shared" / "reference"))

Ends = tuple[str, int, str, int]  # source, port, destination, port
Message = tuple[int, bytes]

_HANDSHAKE, _CHANGE_CIPHER_SPEC, _ALERT = 22, 20, 21


def tcp_streams(path: Path) -> dict[Ends, bytes]:
    """Return the bytes of each direction of each first connection in a capture."""
    segments: dict[Ends, dict[int, bytes]] = {}
    starts: dict[Ends, int] = {}
    for ends, tcp in _tcp_packets(path):
        if tcp.flags & dpkt.tcp.TH_SYN:
            starts.setdefault(ends, tcp.seq + 1)
        elif tcp.data:
            segments.setdefault(ends, {}).setdefault(tcp.seq, tcp.data)
    return {ends: _joined(found, starts.get(ends)) for ends, found in segments.items()}


def _tcp_packets(path: Path) -> Iterator[tuple[Ends, dpkt.tcp.TCP]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
        reader = dpkt.pcap.UniversalReader(file)
        links = {1: dpkt.ethernet.Ethernet, 113: dpkt.sll.SLL, 101: _raw_ip, 0: dpkt.loopback.Loopback}
        decode = links.get(reader.datalink())
        for _, frame in reader if decode else ():
            try:
                packet = decode(frame)
            except (dpkt.UnpackError, ValueError):
                continue
            ip = packet if isinstance(packet, dpkt.ip.IP | dpkt.ip6.IP6) else packet.data
            if isinstance(ip, dpkt.ip.IP | dpkt.ip6.IP6) and isinstance(ip.data, dpkt.tcp.TCP):
                yield (_address(ip.src), ip.data.sport, _address(ip.dst), ip.data.dport), ip.data


def _raw_ip(frame: bytes) -> dpkt.Packet:
    return dpkt.ip.IP(frame) if frame[0] >> 4 == 4 else dpkt.ip6.IP6(frame)


def _address(packed: bytes) -> str:
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def _joined(segments: dict[int, bytes], start: int | None) -> bytes:
    origin = min(segments) if start is None else start
    out = bytearray()
    for sequence in sorted(segments, key=lambda sequence: (sequence - origin) % 2**32):
        offset = (sequence - origin) % 2**32
        if offset > len(out):  # a hole, or bytes before the start
            break
        out += segments[sequence][len(out) - offset :]
    return bytes(out)


def clear_messages(stream: bytes) -> list[Message]:
    """Return the handshake messages in clear of one direction: (type, body) up to its ChangeCipherSpec."""
    position = max(0, next((at for at in range(len(stream)) if _record_at(stream, at)), len(stream)))
    joined = bytearray()
    while _record_at(stream, position) and stream[position] != _CHANGE_CIPHER_SPEC:
        length = int.from_bytes(stream[position + 3 : position + 5])
        if stream[position] == _HANDSHAKE:
            joined += stream[position + 5 : position + 5 + length]
        position += 5 + length
    return list(_messages(bytes(joined)))


def _record_at(stream: bytes, at: int) -> bool:
    header = stream[at : at + 5]
    return len(header) == 5 and header[0] in (_HANDSHAKE, _CHANGE_CIPHER_SPEC, _ALERT) and header[1] in (3, 0x7F)


def _messages(joined: bytes) -> Iterator[Message]:
    position = 0
    while position + 4 <= len(joined):
        end = position + 4 + int.from_bytes(joined[position + 1 : position + 4])
        if end > len(joined):
            return
        yield joined[position], joined[position + 4 : end]
        position = end
