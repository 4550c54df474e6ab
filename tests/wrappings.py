"""Wraps IP packets into every link type and tunnel that is read, with scapy where it knows them.

A link wraps an IP packet into a frame; a tunnel wraps it into another IP packet, so that tunnels nest.
"""

import struct
from collections.abc import Callable

import pytest

pytest.importorskip("scapy.all", reason="scapy is not installed")

from scapy.contrib.erspan import ERSPAN_I, ERSPAN_II, ERSPAN_III, ERSPAN_PlatformSpecific
from scapy.contrib.etherip import EtherIP
from scapy.contrib.geneve import GENEVE, GeneveOptions
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.contrib.mpls import MPLS
from scapy.layers.dot11 import Dot11, Dot11FCS, Dot11QoS, RadioTap
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import GRE, LLC, SNAP, Dot1AD, Dot1Q, Dot3, Ether
from scapy.layers.ppp import HDLC, PPP, PPPoE
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, Raw

Link = tuple[int, Callable[[bytes], bytes]]
Tunnel = Callable[[bytes], bytes]

TEB = 0x6558  # transparent Ethernet bridging


def ethertype(ip: bytes) -> int:
    """Tell the ethertype of an IP packet."""
    return 0x0800 if ip[0] >> 4 == 4 else 0x86DD


MACS = {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"}


def ether(ip: bytes) -> bytes:
    """Put an IP packet into an Ethernet frame."""
    return bytes(Ether(**MACS, type=ethertype(ip)) / Raw(ip))


def _ppp(ip: bytes) -> bytes:
    return struct.pack(">H", 0x0021 if ip[0] >> 4 == 4 else 0x0057) + ip


def _above(kind: int, *layers: Packet) -> Callable[[bytes], bytes]:
    """Put layers between an Ethernet header of a type and an IP packet."""
    head = b"".join(bytes(layer) for layer in layers)
    return lambda ip: bytes(Ether(**MACS, type=kind)) + head + ip


def _pppoe(ip: bytes) -> bytes:
    return bytes(PPPoE(sessionid=3) / PPP(_ppp(ip)))


def _labels(*numbers: int) -> bytes:
    return b"".join(bytes(MPLS(label=number, s=number == numbers[-1], ttl=9)) for number in numbers)


def _radio(ip: bytes, *, fcs: bool = False, qos: bool = False, radiotap: bool = True) -> bytes:
    kind = {"type": 2, "subtype": 8 if qos else 0, "FCfield": 1}  # to the distribution system
    frame = (Dot11FCS if fcs else Dot11)(addr1="02:00:00:00:00:02", addr2="02:00:00:00:00:01", **kind)
    frame = frame / Dot11QoS() if qos else frame
    frame = frame / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(OUI=0, code=ethertype(ip)) / Raw(ip)
    head = RadioTap(present="Flags", Flags="FCS" if fcs else "") if radiotap else b""
    return bytes(head) + bytes(frame)


def _pflog(ip: bytes, size: int, family6: int) -> bytes:
    family = 2 if ip[0] >> 4 == 4 else family6
    return struct.pack(">BBBB16s", size, family, 1, 0, b"em0") + bytes(size)[20:] + bytes(-size % 4) + ip


def _nflog(ip: bytes, order: str) -> bytes:
    attributes = [(1, struct.pack(">HBB", ethertype(ip), 1, 0)), (10, b"prefix\0"), (4, bytes(4)), (9, ip)]
    head = struct.pack(">BBH", 2 if ip[0] >> 4 == 4 else 10, 0, 5)
    return head + b"".join(
        struct.pack(order + "HH", len(value) + 4, kind) + value + bytes(-len(value) % 4) for kind, value in attributes
    )


def _pktap(link: int, body: bytes) -> bytes:
    return struct.pack("<III24s", 108, 1, link, b"en0") + bytes(72) + body


LINKS: dict[str, Link] = {
    "Ethernet": (1, ether),
    "Ethernet, VLAN": (1, lambda ip: bytes(Ether(**MACS, type=0x8100) / Dot1Q(vlan=5, type=ethertype(ip)) / Raw(ip))),
    "Ethernet, QinQ": (
        1,
        lambda ip: bytes(Ether(**MACS, type=0x88A8) / Dot1AD(vlan=6) / Dot1Q(vlan=5, type=ethertype(ip)) / Raw(ip)),
    ),
    "802.3, SNAP": (
        1,
        lambda ip: bytes(Dot3(**MACS) / LLC(dsap=0xAA, ssap=0xAA, ctrl=3) / SNAP(code=ethertype(ip)) / Raw(ip)),
    ),
    "cooked": (113, lambda ip: struct.pack(">HHH8sH", 0, 1, 6, b"\x02" + bytes(7), ethertype(ip)) + ip),
    "cooked v2": (276, lambda ip: struct.pack(">HHIHBB8s", ethertype(ip), 0, 1, 1, 0, 6, bytes(8)) + ip),
    "raw": (101, lambda ip: ip),
    "BSD loopback": (0, lambda ip: struct.pack("<I", 2 if ip[0] >> 4 == 4 else 30) + ip),
    "OpenBSD loopback": (108, lambda ip: struct.pack(">I", 2 if ip[0] >> 4 == 4 else 24) + ip),
    "PPP": (9, _ppp),
    "PPP, framed": (9, lambda ip: bytes(HDLC()) + _ppp(ip)),
    "PPP, short protocol": (9, lambda ip: _ppp(ip)[1:]),
    "PPP in HDLC": (50, lambda ip: bytes(HDLC()) + _ppp(ip)),
    "Cisco HDLC, as PPP": (50, lambda ip: b"\x0f\x00" + struct.pack(">H", ethertype(ip)) + ip),
    "Cisco HDLC": (104, lambda ip: b"\x8f\x00" + struct.pack(">H", ethertype(ip)) + ip),
    "PPP of pppd": (166, lambda ip: b"\x01\x03" + _ppp(ip)),
    "PPP with direction": (204, lambda ip: b"\x00\xff\x03" + _ppp(ip)),
    "PPPoE, bare": (51, _pppoe),
    "PPPoE": (1, lambda ip: _above(0x8864)(_pppoe(ip))),
    "PPPoE in QinQ": (1, lambda ip: _above(0x88A8, Dot1AD(vlan=6, type=0x8100), Dot1Q(type=0x8864))(_pppoe(ip))),
    "MPLS": (1, lambda ip: _above(0x8847)(_labels(16) + ip)),
    "MPLS, six labels": (1, lambda ip: _above(0x8847)(_labels(16, 17, 18, 19, 20, 21) + ip)),
    "MPLS in a VLAN": (1, lambda ip: _above(0x8100, Dot1Q(type=0x8848))(_labels(16, 17) + ip)),
    "MPLS over PPP": (9, lambda ip: b"\x02\x81" + _labels(16) + ip),
    "pseudo-wire": (1, lambda ip: _above(0x8847)(_labels(16) + ether(ip))),
    "pseudo-wire, control word": (1, lambda ip: _above(0x8847)(_labels(16) + bytes(4) + ether(ip))),
    "IP over InfiniBand": (242, lambda ip: bytes(40) + struct.pack(">HH", ethertype(ip), 0) + ip),
    "switch tag, Broadcom": (281, lambda ip: ether(ip)[:12] + bytes(4) + ether(ip)[12:]),
    "switch tag, Broadcom, in front": (282, lambda ip: bytes(4) + ether(ip)),
    "switch tag, Marvell": (284, lambda ip: ether(ip)[:12] + b"\xc0\0\0\0" + ether(ip)[12:]),
    "switch tag, Marvell, long": (285, lambda ip: ether(ip)[:12] + b"\xda\xda\0\0\xc0\0\0\0" + ether(ip)[12:]),
    "IPsec of BSD": (109, lambda ip: struct.pack("<III", 2 if ip[0] >> 4 == 4 else 24, 7, 0) + ip),
    "packet filter of OpenBSD": (117, lambda ip: _pflog(ip, 100, 24)),
    "packet filter of FreeBSD": (117, lambda ip: _pflog(ip, 61, 28)),
    "packet filter of Linux": (239, lambda ip: _nflog(ip, "<")),
    "packet filter of Linux, big-endian": (239, lambda ip: _nflog(ip, ">")),
    "packets of macOS": (258, lambda ip: _pktap(1, ether(ip))),
    "packets of macOS, bare IP": (258, lambda ip: _pktap(12, ip)),
    "packets of macOS, loopback": (258, lambda ip: _pktap(0, LINKS["BSD loopback"][1](ip))),
    "802.11": (105, lambda ip: _radio(ip, radiotap=False)),
    "radiotap": (127, _radio),
    "radiotap, QoS, FCS": (127, lambda ip: _radio(ip, fcs=True, qos=True)),
}


def _in_ip(layers: Packet, body: bytes, **fields: object) -> bytes:
    return bytes(IP(src="10.0.0.1", dst="10.0.0.2", **fields) / layers / Raw(body))


def _in_udp(port: int, head: bytes, body: bytes, *, source: int = 49_999) -> bytes:
    return _in_ip(UDP(sport=source, dport=port), head + body)


def _gre(proto: int, body: bytes, **fields: object) -> bytes:
    return _in_ip(GRE(proto=proto, **fields), body)


def _pptp(ip: bytes) -> bytes:
    """PPTP's GRE: call number, sequence and acknowledgment numbers, then PPP (RFC 2637 4.1)."""
    ppp = b"\xff\x03" + _ppp(ip)
    return _in_ip(Raw(struct.pack(">HHHHII", 0x3081, 0x880B, len(ppp), 7, 1, 2)), ppp, proto=47)


def _gtp(ip: bytes, **fields: object) -> bytes:
    return bytes(GTP_U_Header(teid=7, gtp_type=255, **fields) / Raw(ip))


def _gtp_extended(ip: bytes) -> bytes:
    return bytes(GTP_U_Header(teid=7, gtp_type=255, E=1, next_ex=0x85) / GTPPDUSessionContainer(QFI=5) / Raw(ip))


def _gtp_twice_extended(ip: bytes) -> bytes:
    return struct.pack(">BBHIHBB", 0x34, 255, len(ip) + 16, 7, 0, 0, 0x85) + b"\x01\x10\x05\x85\x02\0\0\0\0\0\0\0" + ip


def _l2tp(ip: bytes) -> bytes:
    """Length, sequence numbers and an offset, with priority (RFC 2661 3.1)."""
    return struct.pack(">HHHHHHH4x", 0x4B02, 18 + 2 + len(ip), 5, 6, 1, 0, 4)


def _to_ip6(body: bytes, protocol: int) -> bytes:
    return bytes(IPv6(src="2001:db8::a", dst="2001:db8::b", nh=protocol) / Raw(body))


_ERSPAN_SUBHEADER = ERSPAN_III() / ERSPAN_PlatformSpecific()

TUNNELS: dict[str, Tunnel] = {
    "IP in IP": lambda ip: _in_ip(Raw(), ip, proto=4 if ip[0] >> 4 == 4 else 41),
    "IP in IPv6": lambda ip: _to_ip6(ip, 4 if ip[0] >> 4 == 4 else 41),
    "IP in IPv6 with options": lambda ip: bytes(
        IPv6(src="2001:db8::a", dst="2001:db8::b") / IPv6ExtHdrDestOpt(nh=4 if ip[0] >> 4 == 4 else 41) / Raw(ip)
    ),
    "MPLS in IP": lambda ip: _in_ip(Raw(_labels(16, 17)), ip, proto=137),
    "EtherIP": lambda ip: _in_ip(EtherIP(version=3), ether(ip), proto=97),
    "GRE": lambda ip: _gre(ethertype(ip), ip),
    "GRE, all fields": lambda ip: _gre(ethertype(ip), ip, chksum_present=1, key_present=1, seqnum_present=1),
    "GRE over IPv6": lambda ip: _to_ip6(bytes(GRE(proto=ethertype(ip), key_present=1)) + ip, 47),
    "GRE, Ethernet": lambda ip: _gre(TEB, ether(ip)),
    "GRE, VLAN in Ethernet": lambda ip: _gre(TEB, LINKS["Ethernet, VLAN"][1](ip), key_present=1),
    "GRE, MPLS": lambda ip: _gre(0x8847, _labels(16) + ip),
    "GRE, PPP": lambda ip: _gre(0x880B, b"\xff\x03" + _ppp(ip)),
    "PPTP": _pptp,
    "ERSPAN I": lambda ip: _gre(0x88BE, bytes(ERSPAN_I()) + ether(ip)),
    "ERSPAN II": lambda ip: _gre(0x88BE, bytes(ERSPAN_II()) + ether(ip), seqnum_present=1),
    "ERSPAN III": lambda ip: _gre(0x22EB, bytes(ERSPAN_III()) + ether(ip), seqnum_present=1),
    "ERSPAN III, subheader": lambda ip: _gre(0x22EB, bytes(_ERSPAN_SUBHEADER) + ether(ip), seqnum_present=1),
    "VXLAN": lambda ip: _in_udp(4789, bytes(VXLAN(vni=5)), ether(ip)),
    "VXLAN, group policy": lambda ip: _in_udp(4789, bytes(VXLAN(flags=0x88, vni=5, gpid=9)), ether(ip)),
    "VXLAN over IPv6": lambda ip: _to_ip6(bytes(UDP(sport=5, dport=4789) / VXLAN(vni=5) / Raw(ether(ip))), 17),
    "VXLAN, Linux's port": lambda ip: _in_udp(8472, bytes(VXLAN(vni=5)), ether(ip)),
    "VXLAN, answer": lambda ip: _in_udp(49_999, bytes(VXLAN(vni=5)), ether(ip), source=4789),
    "VXLAN-GPE, IP": lambda ip: _in_udp(4790, bytes([12, 0, 0, 1 if ip[0] >> 4 == 4 else 2, 0, 0, 5, 0]), ip),
    "VXLAN-GPE, Ethernet": lambda ip: _in_udp(4790, bytes([12, 0, 0, 3, 0, 0, 5, 0]), ether(ip)),
    "L2TP": lambda ip: _in_udp(1701, struct.pack(">HHH", 0x0002, 5, 6), b"\xff\x03" + _ppp(ip), source=1701),
    "L2TP, all fields": lambda ip: _in_udp(1701, _l2tp(ip), _ppp(ip)),
    "Geneve": lambda ip: _in_udp(6081, bytes(GENEVE(vni=5, proto=TEB)), ether(ip)),
    "Geneve, options": lambda ip: _in_udp(
        6081, bytes(GENEVE(vni=5, proto=TEB, options=[GeneveOptions(length=3, data=b"x" * 12)])), ether(ip)
    ),
    "Geneve, IP": lambda ip: _in_udp(6081, bytes(GENEVE(vni=5, proto=ethertype(ip))), ip),
    "GTP-U": lambda ip: _in_udp(2152, b"", _gtp(ip), source=2152),
    "GTP-U, sequence numbers": lambda ip: _in_udp(2152, b"", _gtp(ip, S=1, seq=9), source=2152),
    "GTP-U of 5G": lambda ip: _in_udp(2152, b"", _gtp_extended(ip), source=2152),
    "GTP-U, two extensions": lambda ip: _in_udp(2152, b"", _gtp_twice_extended(ip), source=2152),
    "GTP-U, Ethernet": lambda ip: _in_udp(2152, b"", _gtp(ether(ip)), source=2152),
}

# Teredo carries IPv6 only.
TEREDO: dict[str, Tunnel] = {
    "Teredo": lambda ip: _in_udp(3544, b"", ip),
    "Teredo, origin": lambda ip: _in_udp(49_999, b"\0\0" + bytes(6), ip, source=3544),
    "Teredo, authentication": lambda ip: _in_udp(3544, b"\0\1\2\3abxyz" + bytes(9) + b"\0\0" + bytes(6), ip),
}

# What tshark 4.0 does not look into. Pseudo-wires it guesses by known makers of network cards.
UNKNOWN_TO_TSHARK = {
    "pseudo-wire", "pseudo-wire, control word", "PPP, short protocol", "PPP of pppd",
    "switch tag, Broadcom", "switch tag, Broadcom, in front", "switch tag, Marvell", "switch tag, Marvell, long",
    "packet filter of Linux, big-endian",
}  # fmt: skip
