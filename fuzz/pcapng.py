"""Target: a pcapng file: sections, interfaces, packet blocks of every kind, secrets, options."""

import struct

from packet_builder import block, enhanced, interface, pcapng, section

from fuzz import seeds as samples
from fuzz.files import check

__all__ = ["LONGEST", "check", "seeds"]

LONGEST = 8_192
_KEY_LOG = 0x544C534B


def seeds() -> list[bytes]:
    """Short captures of one section, and one with every kind of block, in both byte orders."""
    plain = [pcapng([frame for _, frame in run], link=run[0][0]) for run in samples.frames()]
    frame = samples.frames()[0][0][1]
    return samples.distinct([*plain, *(_every_block(order, frame) + plain[0] for order in "<>")], LONGEST)


def _every_block(order: str, frame: bytes) -> bytes:
    """One section with a block of each kind, of two interfaces with different clocks."""
    clocks = ((9, b"\x09"), (9, b"\x8a"), (14, struct.pack(order + "q", -10)))
    interfaces = interface(1, order, 262_144, clocks[:1]) + interface(101, order, 0, clocks[1:])
    secrets = block(10, struct.pack(order + "II", _KEY_LOG, 8) + b"CLIENT_R", order)
    simple = block(3, struct.pack(order + "I", len(frame)) + frame, order)
    obsolete = block(2, struct.pack(order + "HHIIII", 0, 0, 5, 7, len(frame), len(frame)) + frame, order)
    packets = enhanced(frame, 7, order=order) + enhanced(frame[14:], 9, 1, order, 9_000)
    return section(order) + interfaces + secrets + packets + simple + obsolete + block(5, bytes(8), order)
