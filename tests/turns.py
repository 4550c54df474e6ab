"""A TCP conversation in which two sides take turns, as the bytes of a capture file: handshake, segments, closing."""

from collections.abc import Iterable, Iterator

from openssl_bytes import Exchange
from packet_builder import CLIENT, SERVER, ethernet, ipv4, pcap, tcp

FIN, SYN, ACK = 1, 2, 16
Turn = tuple[int, bytes]  # side (0: who opened the connection), bytes


def frames(turns: Iterable[Turn], *, size: int = 1400, port: int = 25, client_port: int = 50_000) -> Iterator[bytes]:
    """Give the Ethernet frames of a conversation, its bytes in segments of up to `size`, each acknowledged at once."""
    next_byte = [1_000, 5_000]

    def frame(side: int, payload: bytes, flags: int) -> bytes:
        ports, ends = (client_port, port), (CLIENT, SERVER)
        order = -1 if side else 1
        segment = tcp(payload, seq=next_byte[side], ack=next_byte[1 - side], flags=flags, ports=ports[::order])
        next_byte[side] += len(payload) + bool(flags & (SYN | FIN))
        return ethernet(ipv4(segment, ends=ends[::order]))

    yield frame(0, b"", SYN)
    yield frame(1, b"", SYN | ACK)
    yield frame(0, b"", ACK)
    for side, said in turns:
        for at in range(0, len(said), size):
            yield frame(side, said[at : at + size], ACK)
            yield frame(1 - side, b"", ACK)
    yield frame(0, b"", FIN | ACK)
    yield frame(1, b"", FIN | ACK)
    yield frame(0, b"", ACK)


def capture(*conversations: Iterable[Turn], size: int = 1400, port: int = 25) -> bytes:
    """Build a capture of conversations, one after the other."""
    packets = (
        packet
        for number, turns in enumerate(conversations)
        for packet in frames(turns, size=size, port=port, client_port=50_000 + number)
    )
    return pcap(packets)


def handshake(exchange: Exchange) -> list[Turn]:
    """Let a real handshake take turns: the ClientHello, the server's flight, the rest."""
    client, server = bytes(exchange.client), bytes(exchange.server)
    hello = 5 + int.from_bytes(client[3:5])
    return [(0, client[:hello]), (1, server), (0, client[hello:] + exchange.data)]
