"""Build the captures of the benchmarks out of the lab's: real handshakes, cloned to other addresses and times.

    python benchmarks/captures.py FOLDER [--only NAME…] [--size TIMES]

    dense       every connection of the lab 14 times, some 50,000 handshakes: what a busy server sees
    bulk        300 downloads of 4 MB each behind a handshake: what a file server sees
    mixed       6 times the lab, 80 downloads, 40,000 requests of plain HTTP; also as .pcapng, .gz and .zst
    one_flow    a single download of 400 MB
    half_open   a million connections that open and stay silent

Handshakes, certificates, alerts and endings are as 23 stacks sent them (see lab/README.md). Clones differ in addresses
and times alone, so that what is remembered of hellos and certificates is met more often than on a backbone; IP and TCP
checksums are those of the original. Downloads are records of random bytes, put in front of a connection's end.
"""

import argparse
import gzip
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dpkt
import flood
import numpy as np
import zstandard
from numpy.typing import NDArray

LAB = Path(__file__).resolve().parents[1] / "lab" / "captures"
NAMES = ("dense", "bulk", "mixed", "one_flow", "half_open")
DOWNLOADED = 4_000_000  # bytes of one download
BEGIN = 1_790_000_000  # s since 1970, of the first packet
WITHIN = 600  # s, in which all clones begin
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1)
PACKET = struct.Struct("<IIII")
ETHERNET = bytes(12) + b"\x08\x00"
IP, TCP = 16 + 14, 16 + 34  # offsets behind a packet's record header, Ethernet, and an IPv4 header without options
SOURCE, DESTINATION = IP + 12, IP + 16
SEGMENT = 1_448  # bytes of payload in a full segment at an MTU of 1500
RECORD = b"\x17\x03\x03\x40\x11" + bytes(0x4011)  # a full record of application data
MOST = 65_535  # clones that two bytes of an address can tell apart


@dataclass(frozen=True)
class Packets:
    """Packets as a capture holds them, each behind its record header, one after the other."""

    content: NDArray[np.uint8]
    starts: NDArray[np.int64]
    times: NDArray[np.int64]  # µs

    @classmethod
    def of(cls, packets: Iterable[tuple[int, bytes]]) -> "Packets":
        """Join packets, each a time in µs and a frame."""
        times, parts, starts, end = [], [], [], 0
        for time, frame in packets:
            times.append(time)
            starts.append(end)
            parts += [PACKET.pack(0, 0, len(frame), len(frame)), frame]
            end += 16 + len(frame)
        content = np.frombuffer(bytearray(b"".join(parts)), np.uint8)
        return cls(content, np.array(starts, np.int64), np.array(times, np.int64))

    def clone(self, number: int, begin: int) -> "Packets":
        """The same packets between other addresses, from another time (µs) on."""
        content, times = self.content.copy(), self.times - self.times.min() + begin
        for field in (SOURCE, DESTINATION):
            content[self.starts + field + 1] = number >> 8
            content[self.starts + field + 2] = number & 255
        seconds, rest = np.divmod(times, 1_000_000)
        for column, values in ((0, seconds + BEGIN), (4, rest)):
            parts = values.astype("<u4").view(np.uint8).reshape(-1, 4)
            content[self.starts[:, None] + np.arange(column, column + 4)] = parts
        return Packets(content, self.starts, times)


def recorded(path: Path) -> list[tuple[int, bytes]]:
    """The packets of a classic pcap, times in µs."""
    with path.open("rb") as file:
        return [(round(time * 1_000_000), frame) for time, frame in dpkt.pcap.Reader(file)]


def lab() -> list[Packets]:
    """The captures of the lab."""
    return [Packets.of(recorded(path)) for path in sorted(LAB.glob("*.pcap"))]


def download(size: int) -> Packets:
    """A connection of the lab whose server sends that many bytes more before either side ends it."""
    before, behind = peaceful(recorded(LAB / "openssl.pcap"))
    sent = [frame for _, frame in before if sender(frame) == "server"]
    last, acked = max(sent, key=next_number), max(struct.unpack_from(">I", frame, 42)[0] for frame in sent)
    packets = [*before, *segments(last, next_number(last), acked, before[-1][0], size)]
    late = packets[-1][0] - before[-1][0]
    return Packets.of([*packets, *((time + late, shifted(frame, size)) for time, frame in behind)])


def peaceful(packets: list[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]]:
    """The first connection that carries application data both ways and ends with FINs: before, and from its FIN on."""
    connections: dict[frozenset[bytes], list[tuple[int, bytes]]] = {}
    for packet in packets:
        connections.setdefault(frozenset((packet[1][34:36], packet[1][36:38])), []).append(packet)
    for found in connections.values():
        flags = [frame[47] for _, frame in found]
        speakers = {sender(frame) for _, frame in found if payload(frame)[:1] == b"\x17"}
        if len(speakers) == 2 and any(flag & 1 for flag in flags) and not any(flag & 4 for flag in flags):
            end = next(index for index, flag in enumerate(flags) if flag & 1)
            return found[:end], found[end:]
    raise ValueError("no connection of the lab carries application data both ways and ends in peace")


def sender(frame: bytes) -> str:
    """Who sent a packet: servers of the lab have the lower port."""
    return "server" if frame[34:36] < frame[36:38] else "client"


def payload(frame: bytes) -> bytes:
    """What a segment carries."""
    return frame[34 + (frame[46] >> 4) * 4 :]


def next_number(frame: bytes) -> int:
    """The sequence number behind a segment."""
    return int(struct.unpack_from(">I", frame, 38)[0]) + len(payload(frame))


def segments(frame: bytes, number: int, acked: int, time: int, size: int) -> Iterator[tuple[int, bytes]]:
    """A download behind a server's segment: full segments, every second one acknowledged."""
    stream = (RECORD * (size // len(RECORD) + 1))[:size]
    ports = frame[34:36], frame[36:38]
    for sent in range(0, size, SEGMENT):
        content = stream[sent : sent + SEGMENT]
        time += 12
        yield time, segment(frame[26:34], ports, number + sent, acked, content)
        if sent // SEGMENT % 2:
            back = frame[30:34] + frame[26:30]
            yield time + 4, segment(back, ports[::-1], acked, number + sent + len(content), b"")


def segment(addresses: bytes, ports: tuple[bytes, bytes], number: int, acked: int, content: bytes) -> bytes:
    """One TCP segment over IPv4 and Ethernet."""
    tcp = b"".join(ports) + struct.pack(">IIBBHHH", number % 2**32, acked % 2**32, 0x50, 0x10, 4096, 0, 0)
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 40 + len(content), 0, 0, 64, 6, 0) + addresses
    return ETHERNET + ip + tcp + content


def shifted(frame: bytes, size: int) -> bytes:
    """A packet behind a download: the server's numbers are that much higher."""
    place = 38 if sender(frame) == "server" else 42
    (number,) = struct.unpack_from(">I", frame, place)
    return frame[:place] + struct.pack(">I", (number + size) % 2**32) + frame[place + 4 :]


def requests(count: int) -> Packets:
    """Requests of plain HTTP, spread over the time in which clones begin."""
    packets = (
        (number * WITHIN * 1_000_000 // count + order * 200, ETHERNET + packet[16:])
        for number in range(count)
        for order, packet in enumerate(flood.connection(number, flood.KINDS["plain"]))
    )
    return Packets.of(packets)


def clones(originals: list[Packets], times: int, first: int, rng: np.random.Generator) -> Iterator[Packets]:
    """Each of some packets that many times, beginning at random."""
    for number in range(times * len(originals)):
        begin = int(rng.integers(WITHIN * 1_000_000))
        yield originals[number % len(originals)].clone((first + number) % MOST, begin)


def write(path: Path, parts: Iterable[Packets]) -> None:
    """Write packets in order of time as a classic pcap."""
    kept = list(parts)
    order = np.argsort(np.concatenate([part.times for part in kept]), kind="stable")
    owner = np.repeat(np.arange(len(kept)), [len(part.times) for part in kept])
    start = np.concatenate([part.starts for part in kept])
    stop = np.concatenate([np.append(part.starts[1:], len(part.content)) for part in kept])
    buffers = [part.content.data for part in kept]
    columns = (owner[order].tolist(), start[order].tolist(), stop[order].tolist())
    with path.open("wb") as file:
        file.write(HEADER)
        file.writelines(buffers[index][begin:end] for index, begin, end in zip(*columns, strict=True))


def as_pcapng(path: Path) -> Iterator[bytes]:
    """The blocks of a pcapng file with the packets of a classic pcap."""
    yield struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    yield struct.pack("<IIHHII", 1, 20, 1, 0, 262_144, 20)
    for time, frame in recorded(path):
        size = 32 + len(frame) + -len(frame) % 4
        yield struct.pack("<IIIIIII", 6, size, 0, time >> 32, time & 0xFFFFFFFF, len(frame), len(frame))
        yield frame + bytes(-len(frame) % 4) + struct.pack("<I", size)


def pack(path: Path) -> None:
    """Write a capture in its other forms beside it."""
    content = path.read_bytes()
    path.with_suffix(".pcap.gz").write_bytes(gzip.compress(content, 6))
    path.with_suffix(".pcap.zst").write_bytes(zstandard.compress(content, 3))
    with path.with_suffix(".pcapng").open("wb") as file:
        file.writelines(as_pcapng(path))


def build(name: str, path: Path, size: float = 1.0) -> None:
    """Write one of the captures, `size` times as large as usual."""
    rng, many = np.random.default_rng(1), lambda count: max(1, round(count * size))
    if name == "dense":
        write(path, clones(lab(), many(14), 0, rng))
    elif name == "bulk":
        write(path, clones([download(DOWNLOADED)], many(300), 0, rng))
    elif name == "mixed":
        downloads = clones([download(DOWNLOADED)], many(80), 40_000, rng)
        write(path, [*clones(lab(), many(6), 0, rng), *downloads, requests(many(40_000)).clone(60_000, 0)])
        pack(path)
    elif name == "one_flow":
        write(path, [download(many(100 * DOWNLOADED)).clone(0, 0)])
    else:
        with path.open("wb") as file:
            flood.write("half", many(1_000_000), file)


def find(name: str, folder: Path, size: float = 1.0) -> Path:
    """The path of a capture in a folder; it is built where it is not there yet."""
    path = folder / (f"{name}.pcap" if size == 1 else f"{name}-{size:g}.pcap")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        begun = path.with_suffix(".begun")
        build(name, begun, size)
        begun.rename(path)
    return path


def main() -> None:
    """Build the captures that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, metavar="NAME")
    parser.add_argument("--size", type=float, default=1.0, metavar="TIMES", help="of the usual size (%(default)s)")
    arguments = parser.parse_args()
    for name in arguments.only:
        print(find(name, arguments.folder, arguments.size))


if __name__ == "__main__":
    main()
