"""Mutants: captures changed as networks, taps and tools change them. Pure functions over lists of packets.

`mutation_suite` lists them, and compares what is said of them.
"""

import bz2
import gzip
import lzma
import random
import struct
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import dpkt
import lz4.frame
import zstandard

FIN, SYN, RST, ACK = 1, 2, 4, 16
MASK = 0xFFFF_FFFF
SECOND = 1_000_000_000
ETHERNET, ETHERNET_HEADER = 1, 14
SEED = 20260101

Key = tuple[bytes, int, bytes, int]  # address and port of the client, then of the server


class Packet(NamedTuple):
    """One packet of a capture: its time in ns, what was captured of it, and its length on the wire."""

    time: int
    data: bytes
    wire: int


class Segment(NamedTuple):
    """Where TCP lies in an Ethernet packet, and what its header says."""

    source: tuple[bytes, int]
    target: tuple[bytes, int]
    at: int  # offset of the TCP header
    payload: int  # offset of the payload
    end: int  # offset behind it
    seq: int
    ack: int
    flags: int

    @property
    def length(self) -> int:
        """Bytes of payload."""
        return self.end - self.payload

    @property
    def following(self) -> int:
        """The sequence number behind it."""
        return (self.seq + self.length + bool(self.flags & (SYN | FIN))) & MASK


def segment(packet: Packet) -> Segment:
    """Read the headers of a whole TCP packet over Ethernet and IPv4 or IPv6 without options."""
    data = packet.data
    four = data[12:14] == b"\x08\x00"
    at = 34 if four else 54
    end = 14 + int.from_bytes(data[16:18]) if four else 54 + int.from_bytes(data[18:20])
    addresses = (data[26:30], data[30:34]) if four else (data[22:38], data[38:54])
    source, target, seq, ack, offset, flags = struct.unpack_from(">HHIIBB", data, at)
    payload = at + 4 * (offset >> 4)
    return Segment((addresses[0], source), (addresses[1], target), at, payload, end, seq, ack, flags)


def rewritten(packet: Packet, seq: int, ack: int, flags: int) -> Packet:
    """Return a packet with other TCP fields; checksums stay what they were, as after checksum offload."""
    data, at = bytearray(packet.data), segment(packet).at
    struct.pack_into(">II", data, at + 4, seq & MASK, ack & MASK)
    data[at + 13] = flags
    return packet._replace(data=bytes(data))


def read_packets(path: Path) -> list[Packet]:
    """Read a capture file with dpkt, another reader than the one under test; times in ns."""
    with path.open("rb") as file:
        reader = dpkt.pcapng.Reader(file) if path.suffix == ".pcapng" else dpkt.pcap.Reader(file)
        return [Packet(round(time * 1_000_000) * 1000, data, len(data)) for time, data in reader]


def conversations(packets: Iterable[Packet]) -> dict[Key, list[Packet]]:
    """Sort packets by conversation, named by who sent the first packet of it and to whom."""
    found: dict[Key, list[Packet]] = {}
    for packet in packets:
        tcp = segment(packet)
        there, back = (*tcp.source, *tcp.target), (*tcp.target, *tcp.source)
        found.setdefault(back if back in found else there, []).append(packet)
    return found


def merged(parts: Iterable[list[Packet]]) -> list[Packet]:
    """Put conversations into one capture again, in order of time."""
    return sorted(chain.from_iterable(parts), key=lambda packet: packet.time)


# -- one conversation -----------------------------------------------------------------------------------------------
# Each takes the packets of a conversation and a number that says which mutant; too high a number changes nothing.

Change = Callable[[list[Packet], int], list[Packet]]


def _at_times_of(order: list[Packet], packets: list[Packet]) -> list[Packet]:
    """Give packets that were put into another order the times at which packets came."""
    return [packet._replace(time=before.time) for packet, before in zip(order, packets, strict=True)]


def swap(packets: list[Packet], at: int) -> list[Packet]:
    """Two neighbours arrive in the other order."""
    order = packets[:at] + packets[at : at + 2][::-1] + packets[at + 2 :]
    return _at_times_of(order, packets)


def swap_all(packets: list[Packet], at: int) -> list[Packet]:
    """Every second pair of neighbours arrives in the other order."""
    order = list(packets[:at])
    for low in range(at, len(packets), 2):
        order += packets[low : low + 2][::-1]
    return _at_times_of(order, packets)


def delay(packets: list[Packet], at: int) -> list[Packet]:
    """One packet arrives behind the three that follow it."""
    order = packets[:at] + packets[at + 1 : at + 4] + packets[at : at + 1] + packets[at + 4 :]
    return _at_times_of(order, packets)


def duplicate(packets: list[Packet], at: int) -> list[Packet]:
    """One packet is there twice."""
    return packets[: at + 1] + packets[at:]


def duplicate_late(packets: list[Packet], at: int) -> list[Packet]:
    """One packet is there again behind the three that follow it."""
    if at >= len(packets):
        return packets
    behind = packets[at + 1 : at + 4]
    again = packets[at]._replace(time=(behind or packets[at:])[-1].time)
    return [*packets[: at + 1], *behind, again, *packets[at + 4 :]]


def span(packets: list[Packet], _: int) -> list[Packet]:
    """A mirror of both ports of a switch: every packet is there twice."""
    return [packet for packet in packets for _ in range(2)]


def drop_data(packets: list[Packet], at: int) -> list[Packet]:
    """One packet with data is not in the capture; it was received, as the rest shows."""
    with_data = [place for place, packet in enumerate(packets) if segment(packet).length]
    return [packet for place, packet in enumerate(packets) if place not in with_data[at : at + 1]]


def drop_pure_acks(packets: list[Packet], _: int) -> list[Packet]:
    """Packets that only acknowledge are not in the capture."""
    return [packet for packet in packets if segment(packet).length or segment(packet).flags & (SYN | FIN | RST)]


def pause(packets: list[Packet], at: int) -> list[Packet]:
    """What follows comes 12 s later."""
    return packets[:at] + [packet._replace(time=packet.time + 12 * SECOND) for packet in packets[at:]]


def cut_front(packets: list[Packet], count: int) -> list[Packet]:
    """The capture began too late: the first packets are not in it."""
    return packets[count:]


def cut_end(packets: list[Packet], at: int) -> list[Packet]:
    """The capture ended too soon, behind one packet, for all conversations at one time."""
    kept = packets[: at + 1]
    shift = END - kept[-1].time
    return [packet._replace(time=packet.time + shift) for packet in kept]


END = 2_000_000_000 * SECOND  # the time at which captures that `cut_end` made end


def one_direction(packets: list[Packet], removed: int) -> list[Packet]:
    """A tap of one direction: what the client (0) or the server (1) sent is not in the capture."""
    client = segment(packets[0]).source
    return [packet for packet in packets if (segment(packet).source == client) == bool(removed)]


def append_reset(packets: list[Packet], side: int) -> list[Packet]:
    """Behind the end of everything the client (0) or the server (1) resets."""
    client = segment(packets[0]).source
    mine = [packet for packet in packets if (segment(packet).source == client) != bool(side)]
    theirs = [packet for packet in packets if packet not in mine]
    if not mine or not theirs:
        return packets
    last, other = max(map(segment, mine), key=_reach(mine)), max(map(segment, theirs), key=_reach(theirs))
    bare = next(packet for packet in reversed(mine) if segment(packet).source == last.source)
    reset = rewritten(_without_payload(bare), last.following, other.following, RST | ACK)
    return [*packets, reset._replace(time=packets[-1].time + 1000)]


def _reach(packets: list[Packet]) -> Callable[[Segment], int]:
    """Order segments of one side by how far they reach in its stream."""
    start = segment(packets[0]).seq
    return lambda tcp: (tcp.following - start) & MASK


def _without_payload(packet: Packet) -> Packet:
    tcp = segment(packet)
    data = bytearray(packet.data[: tcp.payload])
    at = 16 if data[12:14] == b"\x08\x00" else 18  # total length of IPv4, payload length of IPv6
    struct.pack_into(">H", data, at, int.from_bytes(data[at : at + 2]) - tcp.length)
    return packet._replace(data=bytes(data), wire=len(data))


def remove_fins(packets: list[Packet], _: int) -> list[Packet]:
    """No FIN is in the capture; the data that came with one is."""
    kept = []
    for packet in packets:
        tcp = segment(packet)
        if tcp.flags & FIN and tcp.length:
            kept.append(rewritten(packet, tcp.seq, tcp.ack, tcp.flags & ~FIN))
        elif not tcp.flags & FIN:
            kept.append(packet)
    return kept


def shift_numbers(packets: list[Packet], client: int, server: int) -> list[Packet]:
    """Both sides chose other initial sequence numbers, by so much."""
    opener, moved = segment(packets[0]).source, []
    for packet in packets:
        tcp = segment(packet)
        mine, other = (client, server) if tcp.source == opener else (server, client)
        ack = tcp.ack + other if tcp.flags & ACK else tcp.ack
        moved.append(rewritten(packet, tcp.seq + mine, ack, tcp.flags))
    return moved


def wrap(packets: list[Packet], side: int) -> list[Packet]:
    """The sequence numbers of the client (0) or the server (1) wrap around within its first data."""
    opener = segment(packets[0]).source
    first = next(tcp for tcp in map(segment, packets) if (tcp.source == opener) != bool(side))
    shift = (MASK - 40 - first.seq) & MASK
    return shift_numbers(packets, 0, shift) if side else shift_numbers(packets, shift, 0)


def reuse(packets: list[Packet], _: int) -> list[Packet]:
    """The same ports are used again at once: the conversation is there twice, with new initial numbers."""
    again = shift_numbers(packets, 0x1234_5678, 0x2345_6789)
    later = packets[-1].time - packets[0].time + SECOND
    return packets + [packet._replace(time=packet.time + later) for packet in again]


def snap(length: int) -> Change:
    """Record only the first bytes of each packet."""
    return lambda packets, _: [packet._replace(data=packet.data[:length]) for packet in packets]


# -- a whole capture ------------------------------------------------------------------------------------------------


def step_clock_back(packets: list[Packet], at: int) -> list[Packet]:
    """The clock steps back an hour, after one, two or three quarters of the capture."""
    place = len(packets) * (at + 1) // 4
    return packets[:place] + [packet._replace(time=packet.time - 3600 * SECOND) for packet in packets[place:]]


def jitter(packets: list[Packet], at: int) -> list[Packet]:
    """Times are off by up to 50 ms, packet by packet, as where captures of several clocks were merged."""
    noise = random.Random(SEED + at)
    return [packet._replace(time=packet.time + noise.randrange(-50, 50) * 1_000_000) for packet in packets]


# -- files ----------------------------------------------------------------------------------------------------------


def pcap(packets: Iterable[Packet], link: int = ETHERNET, order: str = "<", unit: int = 1000) -> bytes:
    """Write a classic pcap file; `unit`: nanoseconds that the fraction of a time counts."""
    magic = 0xA1B2C3D4 if unit == 1000 else 0xA1B23C4D
    out = [struct.pack(order + "IHHiIII", magic, 2, 4, 0, 0, 262_144, link)]
    for packet in packets:
        seconds, rest = divmod(packet.time, SECOND)
        out += (struct.pack(order + "IIII", seconds, rest // unit, len(packet.data), packet.wire), packet.data)
    return b"".join(out)


def pcapng(packets: Iterable[Packet], order: str = "<", digits: int = 6) -> bytes:
    """Write a pcapng file of one section and one interface; `digits`: its times' decimals of a second."""
    resolution = struct.pack(order + "HHB3xHH", 9, 1, digits, 0, 0)
    out = [_block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1))]
    out.append(_block(order, 1, struct.pack(order + "HHI", ETHERNET, 0, 262_144) + resolution))
    for packet in packets:
        ticks = packet.time // 10 ** (9 - digits)
        head = struct.pack(order + "IIIII", 0, ticks >> 32, ticks & MASK, len(packet.data), packet.wire)
        out.append(_block(order, 6, head + packet.data + bytes(-len(packet.data) % 4)))
    return b"".join(out)


def _block(order: str, kind: int, body: bytes) -> bytes:
    size = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + size + body + size


Writer = Callable[[list[Packet]], bytes]

ENCODINGS: dict[str, Writer] = {
    "big endian": lambda packets: pcap(packets, order=">"),
    "nanoseconds": lambda packets: pcap(packets, unit=1),
    "big endian, nanoseconds": lambda packets: pcap(packets, order=">", unit=1),
    "pcapng": pcapng,
    "pcapng, big endian": lambda packets: pcapng(packets, order=">"),
    "pcapng, nanoseconds": lambda packets: pcapng(packets, digits=9),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "zstd": lambda content: zstandard.ZstdCompressor().compress(content),
    "lz4": lz4.frame.compress,
}


def wrapped(link: int, wrap: Callable[[bytes], bytes]) -> Writer:
    """Write each packet as a link or a tunnel carries it: `wrap` makes a frame of link type `link` of an IP packet."""

    def write(packets: list[Packet]) -> bytes:
        moved = []
        for packet in packets:
            data = wrap(packet.data[ETHERNET_HEADER : segment(packet).end])
            moved.append(packet._replace(data=data, wire=len(data)))
        return pcap(moved, link)

    return write
