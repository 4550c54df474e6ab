"""Write a capture of many connections to standard output, to measure what they cost.

    python benchmarks/flood.py KIND COUNT

Kinds: `syn`, a SYN each, from addresses of their own; `half`, opened and silent; `plain`, an HTTP request with its
answer, closed. A hundred thousand begin each second.
"""

import struct
import sys
from collections.abc import Iterator
from typing import BinaryIO

RATE = 100_000  # connections a second
FIN, SYN, ACK = 1, 2, 16
REQUEST, ANSWER = b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + bytes(1000)
OPENING = [(0, SYN, b""), (1, SYN | ACK, b""), (0, ACK, b"")]
CLOSING = [(0, FIN | ACK, b""), (1, FIN | ACK, b""), (0, ACK, b"")]
KINDS = {
    "syn": OPENING[:1],
    "half": OPENING,
    "plain": [*OPENING, (0, ACK, REQUEST), (1, ACK, ANSWER), *CLOSING],
}  # sides, flags and payloads of a connection's packets


def connection(number: int, packets: list[tuple[int, int, bytes]]) -> Iterator[bytes]:
    """Give the packets of one connection: raw IPv4, each behind its packet header."""
    ends, ports = ((11 << 24) + number, 0xC6336407), (1024 + number % 60_000, 80)
    following = [number, number ^ 0x5A5A5A5A]
    seconds, rest = divmod(number, RATE)
    for side, flags, payload in packets:
        order = -1 if side else 1
        numbers = following[side], following[1 - side] if flags & ACK else 0
        tcp = struct.pack(">HHIIBBHHH", *ports[::order], *numbers, 0x50, flags, 8192, 0, 0)
        size = 20 + len(tcp) + len(payload)
        ip = struct.pack(">BBHHHBBHII", 0x45, 0, size, 0, 0, 64, 6, 0, *ends[::order])
        yield struct.pack("<IIII", 1_700_000_000 + seconds, rest * 1_000_000 // RATE, size, size) + ip + tcp + payload
        following[side] += len(payload) + bool(flags & (SYN | FIN))


def write(kind: str, count: int, out: BinaryIO) -> None:
    """Write a capture of that many connections."""
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101))
    for number in range(count):
        out.write(b"".join(connection(number, KINDS[kind])))


def main() -> None:
    """Write the capture."""
    write(sys.argv[1], int(sys.argv[2]), sys.stdout.buffer)


if __name__ == "__main__":
    main()
