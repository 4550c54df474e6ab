"""One packet's way to the IP packet in it: link headers, tags and labels, tunnels. The slow twin of `tunnels`.

Every step is from one layer to the next, at least a byte further on, so that no packet can make it go round.
"""

import struct
from collections.abc import Callable

import dpkt

from tlspcap.wire import links
from tlspcap.wire.columns import CUT_HEADERS, DAMAGED_IP, NO_INTERFACE
from tlspcap.wire.single import Layer, Packet, Stopped
from tlspcap.wire.wireless import without_radio


def link(packet: Packet, number: int, at: int = 0) -> Layer:
    """Return what a packet carries behind the header of its link type."""
    if number in links.ETHERTYPE_AT:
        type_at, size = links.ETHERTYPE_AT[number]
        return Layer(int.from_bytes(packet.bytes(at, size)[type_at : type_at + 2]), at + size)
    if number in links.FRAMED:
        ethertype, size = links.FRAMED[number]
        return Layer(ethertype, at + size)
    if number in links.BARE_IP:
        return bare_ip(packet, at)
    if number in links.ADDRESS_FAMILY:
        return _family(packet, at, 4)
    if number in links.RARE and not at:  # none of them in another
        return without_radio(packet, number) if number in links.WIRELESS else _RARE_LINKS[number](packet, at)
    raise Stopped(unread=NO_INTERFACE if number < 0 else links.unknown_link(number))


def to_ip(packet: Packet, layer: Layer) -> Layer:
    """Step over everything that may stand before an IP packet. Raises Stopped where there is none."""
    while layer.ethertype not in (links.IPV4, links.IPV6):
        step = _snap if layer.ethertype < links.LENGTHS else _STEPS.get(layer.ethertype)
        if step is None:
            raise Stopped(links.ethertype_kind(layer.ethertype))
        layer = step(packet, layer.at)
    return layer


def quotes(packet: Packet, protocol: int, at: int) -> bool:
    """Whether what an IP packet of some protocol carries is an ICMP message that quotes a packet."""
    return protocol in links.ICMP_QUOTING and any(
        kind in links.ICMP_QUOTING[protocol] for kind in packet.captured[at : at + 1]
    )


def quoted(packet: Packet, protocol: int, at: int) -> Layer:
    """Return the packet that an ICMP message quotes. Raises Stopped where there is none."""
    if protocol == links.ICMP:
        return bare_ip(packet, at + links.ICMP_HEADER)
    if packet.bytes(at, 1)[0] != links.ICMP_REDIRECT:
        return Layer(links.IPV6, at + links.ICMP_HEADER)
    at += links.ICMP_REDIRECT_HEADER
    while (option := packet.bytes(at, 2))[0] != links.REDIRECTED and option[1]:  # a length of 0 is invalid
        at += 8 * option[1]
    if option[0] != links.REDIRECTED:
        raise Stopped
    return Layer(links.IPV6, at + links.REDIRECTED_HEADER)


def carried(packet: Packet, protocol: int, at: int) -> Layer:
    """Return what the IP packet of a protocol carries. Raises Stopped where that is no tunnel."""
    if protocol in links.IP_IN_IP:
        return Layer(links.IP_IN_IP[protocol], at)
    if protocol == links.GRE:
        return _gre(packet, at)
    if protocol == links.ETHERIP and packet.bytes(at, links.ETHERIP_HEADER, "etherip")[0] >> 4 == 3:
        return Layer(links.FRAME, at + links.ETHERIP_HEADER)
    if protocol == links.UDP:
        return _udp(packet, at)
    raise Stopped(links.protocol_kind(protocol))


def bare_ip(packet: Packet, at: int) -> Layer:
    """Tell the IP version of a packet that begins without anything that says it."""
    version = packet.bytes(at, 1)[0] >> 4
    if version not in (4, 6):
        raise Stopped(unread=DAMAGED_IP)
    return Layer(links.IPV4 if version == 4 else links.IPV6, at)


# -- link headers, tags and labels --------------------------------------------------------------------------------


def _family(packet: Packet, at: int, size: int) -> Layer:
    family = packet.bytes(at, size)[:4]
    number = int.from_bytes(family, "big")
    if number > 0xFFFF:
        number = int.from_bytes(family, "little")
    return _of_family(number, at + size)


def _of_family(number: int, at: int) -> Layer:
    if number not in links.FAMILIES:
        raise Stopped(links.OTHER_FAMILY)
    return Layer(links.FAMILIES[number], at)


def _enc(packet: Packet, at: int) -> Layer:
    """Step over the header of the BSDs' IPsec interface: address family, SPI, flags."""
    return _family(packet, at, 12)


def _pflog(packet: Packet, at: int) -> Layer:
    """Step over what the BSDs' packet filter logs of a packet: length, padded to a multiple of 4, address family."""
    size, family = packet.bytes(at, 2)
    return _of_family(family, at + -(-size // 4) * 4)


def _nflog(packet: Packet, at: int) -> Layer:
    """Step over the attributes that Linux's packet filter logs, in the byte order of its machine, to the packet."""
    family, _, *_ = packet.bytes(at, 4)
    at += 4
    order = "little" if not packet.bytes(at, 4)[3] else "big"  # types are small numbers
    while True:
        size, kind = struct.unpack("<HH" if order == "little" else ">HH", packet.bytes(at, 4))
        if kind == _NFLOG_PAYLOAD:
            return _of_family(family, at + 4)
        if size < 4:
            raise Stopped("nflog")
        at += -(-size // 4) * 4


def _pktap(packet: Packet, at: int) -> Layer:
    """Step over what macOS tells of a packet's interface and process: length, kind, link type of what follows."""
    size, kind, number = struct.unpack("<III", packet.bytes(at, 12))
    if size < 12 or kind != 1:  # 1: a packet follows
        raise Stopped("pktap")
    return link(packet, number, at + size)


_NFLOG_PAYLOAD = 9


def _frame(packet: Packet, at: int) -> Layer:
    return Layer(packet.fields(dpkt.ethernet.Ethernet, at).type, at + 14)


def _vlan(packet: Packet, at: int) -> Layer:
    return Layer(packet.fields(dpkt.ethernet.VLANtag8021Q, at).type, at + 4)


def _snap(packet: Packet, at: int) -> Layer:
    head = packet.captured[at : at + 8]
    if len(head) < 8 or not head.startswith(links.SNAP):
        raise Stopped(links.ethertype_kind(0))
    return Layer(int.from_bytes(head[6:]), at + 8)


def _pppoe(packet: Packet, at: int) -> Layer:
    packet.fields(dpkt.pppoe.PPPoE, at)  # RFC 2516 4
    return Layer(links.PPP, at + 6)


def _ppp(packet: Packet, at: int) -> Layer:
    """Read PPP's protocol, one byte where it is odd (RFC 1661 2), behind address and control bytes if they are there.

    Cisco's HDLC has an ethertype instead; both are met under the same link type.
    """
    head = packet.bytes(at, 2)
    if head in (b"\x0f\x00", b"\x8f\x00"):
        return Layer(int.from_bytes(packet.bytes(at + 2, 2)), at + 4)
    if head == b"\xff\x03":
        at += 2
        head = packet.bytes(at, 2)
    size = 1 if head[0] & 1 else 2
    protocol = int.from_bytes(head[:size])
    if protocol not in links.PPP_PROTOCOLS:
        raise Stopped(links.OTHER_PPP)
    return Layer(links.PPP_PROTOCOLS[protocol], at + size)


def _mpls(packet: Packet, at: int) -> Layer:
    """Step over the label stack (RFC 3032 2.1). Nothing says what follows it: it must look like it."""
    while not packet.fields(dpkt.ethernet.MPLSlabel, at).s:
        at += 4
    at += 4
    version = packet.bytes(at, 1, "mpls")[0] >> 4
    if version in (4, 6):
        return Layer(links.IPV4 if version == 4 else links.IPV6, at)
    if version == 0 and _looks_like_frame(packet, at + 4):  # behind a control word (RFC 4448 4.6)
        return Layer(links.FRAME, at + 4)
    if _looks_like_frame(packet, at):
        return Layer(links.FRAME, at)
    raise Stopped("mpls")


def _looks_like_frame(packet: Packet, at: int) -> bool:
    """Whether an Ethernet frame with IP in it, tagged or not, may begin at a place."""
    try:
        layer = _frame(packet, at)
        while layer.ethertype in links.VLAN_TAGS:
            layer = _vlan(packet, layer.at)
        return layer.ethertype == bare_ip(packet, layer.at).ethertype
    except Stopped:
        return False


_Step = Callable[[Packet, int], Layer]

_RARE_LINKS: dict[int, _Step] = {links.ENC: _enc, links.PFLOG: _pflog, links.NFLOG: _nflog, links.PKTAP: _pktap}
_STEPS: dict[int, _Step] = {links.FRAME: _frame, links.PPPOE: _pppoe, links.PPP: _ppp}
_STEPS |= dict.fromkeys(links.VLAN_TAGS, _vlan) | dict.fromkeys((links.MPLS, links.MPLS_MULTICAST), _mpls)


# -- tunnels ------------------------------------------------------------------------------------------------------

_CHECKSUM, _SOURCE_ROUTE, _KEY, _SEQUENCE, _ACKNOWLEDGED, _VERSION = 0x8000, 0x4000, 0x2000, 0x1000, 0x0080, 0x0007


def _gre(packet: Packet, at: int) -> Layer:
    """Step over a GRE header (RFC 2784, 2890), PPTP's own version 1 included (RFC 2637 4.1)."""
    header = packet.fields(dpkt.gre.GRE, at, "gre")
    flags, version = header.flags, header.flags & _VERSION
    empty = version == 1 and not flags & _SEQUENCE
    if flags & _SOURCE_ROUTE or version > 1 or empty or header.p < links.LENGTHS:  # a protocol of 0 is a keep-alive
        raise Stopped("gre")
    optional = _ACKNOWLEDGED | _SEQUENCE | _KEY if version else _CHECKSUM | _KEY | _SEQUENCE
    at += 4 + 4 * (flags & optional).bit_count()
    if header.p in (links.ERSPAN, links.ERSPAN_III):
        return _erspan(packet, at) if flags & _SEQUENCE else Layer(links.FRAME, at)  # type I has no header
    return Layer(header.p, at)


def _erspan(packet: Packet, at: int) -> Layer:
    """Step over the header of ERSPAN type II or III (draft-foschiano-erspan 4.2, 4.3)."""
    version = packet.bytes(at, 8, "gre")[0] >> 4
    if version == 1:
        return Layer(links.FRAME, at + 8)
    if version == 2:
        more = packet.bytes(at, 12, "gre")[11] & 1  # a subheader that depends on the platform
        return Layer(links.FRAME, at + 12 + 8 * more)
    raise Stopped("gre")


def _udp(packet: Packet, at: int) -> Layer:
    """Return what a UDP packet to or from a tunnel's port carries. Raises Stopped where it is just UDP."""
    if at + 8 > len(packet.captured):
        raise Stopped("udp")
    header = packet.fields(dpkt.udp.UDP, at)
    tunnel = links.UDP_TUNNELS.get(header.dport) or links.UDP_TUNNELS.get(header.sport)
    if tunnel is None:
        raise Stopped("udp")
    return _UDP_TUNNELS[tunnel](packet, at + 8)


def _head(packet: Packet, at: int, size: int) -> bytes:
    """Return bytes of the header of a tunnel over UDP; where they are not there, it is cut short or just UDP."""
    head = packet.captured[at : at + size]
    if len(head) < size:
        raise Stopped("udp", CUT_HEADERS if len(packet.captured) < packet.wire else "")
    return head


def _vxlan(packet: Packet, at: int) -> Layer:
    if not _head(packet, at, 8)[0] & 0x08:  # the network identifier is valid, as it must be (RFC 7348 5)
        raise Stopped("udp")
    return Layer(links.FRAME, at + 8)


def _geneve(packet: Packet, at: int) -> Layer:
    head = _head(packet, at, 8)
    protocol = int.from_bytes(head[2:4])
    version, options, control = head[0] >> 6, head[0] & 0x3F, head[1] & 0x80  # RFC 8926 3.4
    if version or control or protocol < links.LENGTHS:
        raise Stopped("udp")
    return Layer(protocol, at + 8 + 4 * options)


def _gtp_u(packet: Packet, at: int) -> Layer:
    """Step over a GTP-U header and its extension headers (3GPP TS 29.281 5.1, 5.2)."""
    head = _head(packet, at, 8)
    if head[0] & 0xF0 != 0x30 or head[1] != 255:  # version 1, no GTP'; a G-PDU: it carries a packet
        raise Stopped("udp")
    at += 8
    if head[0] & 7:  # sequence number, N-PDU number, type of the next extension header, all or none
        following = _head(packet, at, 4)[3] if head[0] & 4 else 0
        at += 4
        while following:
            size = 4 * _head(packet, at, 1)[0]
            if not size:
                raise Stopped("udp")
            following = _head(packet, at, size)[-1]
            at += size
    version = _head(packet, at, 1)[0] >> 4
    if version in (4, 6):
        return Layer(links.IPV4 if version == 4 else links.IPV6, at)
    if _looks_like_frame(packet, at):  # 5G carries Ethernet, too; nothing in the header says so
        return Layer(links.FRAME, at)
    raise Stopped("udp")


def _teredo(packet: Packet, at: int) -> Layer:
    """Step over Teredo's authentication and origin indications (RFC 4380 5.1.1)."""
    if _head(packet, at, 2) == b"\0\1":
        client, value = _head(packet, at, 4)[2:]
        at += 4 + client + value + 9
    if _head(packet, at, 2) == b"\0\0":
        at += 8
    if _head(packet, at, 1)[0] >> 4 != 6:
        raise Stopped("udp")
    return Layer(links.IPV6, at)


def _vxlan_gpe(packet: Packet, at: int) -> Layer:
    """Step over the header of VXLAN that names its payload (draft-ietf-nvo3-vxlan-gpe 3): version 0, no OAM."""
    flags, _, _, protocol = _head(packet, at, 8)[:4]
    ethertype = links.VXLAN_GPE_PROTOCOLS.get(protocol) if flags & 0x04 else links.FRAME
    if flags & 0x39 != 0x08 or ethertype is None:
        raise Stopped("udp")
    return Layer(ethertype, at + 8)


def _l2tp(packet: Packet, at: int) -> Layer:
    """Step over the header of a data message of version 2, in front of a PPP frame (RFC 2661 3.1)."""
    flags = int.from_bytes(_head(packet, at, 2))
    if flags & 0xB4FF != 2:  # a control message, another version, or a reserved bit
        raise Stopped("udp")
    length, sequence, offset = flags >> 14 & 1, flags >> 11 & 1, flags >> 9 & 1
    at += 6 + 2 * length + 4 * sequence
    if offset:
        at += 2 + int.from_bytes(_head(packet, at, 2))
    return Layer(links.PPP, at)


_UDP_TUNNELS: dict[int, _Step] = {
    links.VXLAN: _vxlan,
    links.GENEVE: _geneve,
    links.GTP_U: _gtp_u,
    links.TEREDO: _teredo,
    links.VXLAN_GPE: _vxlan_gpe,
    links.L2TP: _l2tp,
}
