"""Numbers and names of what lies under TCP: link types, ethertypes, address families, IP protocols, tunnels' ports.

Data only, shared by the columnar scan (`headers`, `tunnels`) and its twin (`rare`, `unwrap`), which each have their
own way of reading the headers.
"""

# LINKTYPE_ numbers, https://www.tcpdump.org/linktypes.html. Raw IP has three: 12 and 14 are DLT_RAW of some systems.
NULL, ETHERNET, RAW_12, RAW_14, RAW, LOOP = 0, 1, 12, 14, 101, 108
LINUX_SLL, RAW_IPV4, RAW_IPV6, LINUX_SLL2 = 113, 228, 229, 276
PPP_LINK, PPP_HDLC, PPP_ETHER, CISCO_HDLC, PPP_PPPD, PPP_WITH_DIRECTION = 9, 50, 51, 104, 166, 204
IEEE802_11, RADIOTAP = 105, 127
ENC, PFLOG, NFLOG, IPOIB, PKTAP = 109, 117, 239, 242, 258
DSA_BRCM, DSA_BRCM_PREPENDED, DSA, EDSA = 281, 282, 284, 285  # tags between a switch and its processor

# Ethertypes (IEEE 802). Some double as names of what follows, wherever it was met: an Ethernet frame, a PPP frame.
IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TAGS = (0x8100, 0x88A8, 0x9100)  # 802.1Q, 802.1ad, and what QinQ used before 802.1ad
FRAME, PPP, PPPOE, MPLS, MPLS_MULTICAST = 0x6558, 0x880B, 0x8864, 0x8847, 0x8848
LENGTHS = 0x0600  # below, the field is a length (IEEE 802.3), and LLC follows
SNAP = bytes.fromhex("aaaa03000000")  # LLC and SNAP headers before an ethertype (RFC 1042)

ETHERTYPE_AT = {  # link type -> offset of its ethertype (or "protocol type"), and of what follows the link header
    ETHERNET: (12, 14),
    LINUX_SLL: (14, 16),
    LINUX_SLL2: (0, 20),
    CISCO_HDLC: (2, 4),
    IPOIB: (40, 44),  # a global routing header, then RFC 4391 6
    DSA_BRCM: (16, 18),
    DSA_BRCM_PREPENDED: (16, 18),
    DSA: (16, 18),
    EDSA: (20, 22),
}
FRAMED = {  # link type -> what its packets are, and from where on
    PPP_LINK: (PPP, 0),
    PPP_HDLC: (PPP, 0),
    PPP_ETHER: (PPPOE, 0),
    PPP_PPPD: (PPP, 2),  # a byte for the direction where PPP has its address, and PPP's control byte
    PPP_WITH_DIRECTION: (PPP, 1),
}
BARE_IP = frozenset({RAW, RAW_12, RAW_14, RAW_IPV4, RAW_IPV6})  # no link header: the IP version tells
ADDRESS_FAMILY = frozenset({NULL, LOOP})  # 4 bytes: NULL in the capturing machine's byte order, LOOP in the network's
WIRELESS = frozenset({IEEE802_11, RADIOTAP})
RARE = WIRELESS | {ENC, PFLOG, NFLOG, PKTAP}  # read packet by packet only
KNOWN_LINKS = ADDRESS_FAMILY | BARE_IP | ETHERTYPE_AT.keys() | FRAMED.keys() | RARE

FAMILIES = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}  # AF_INET, and AF_INET6 of Linux and the BSDs
OTHER_FAMILY = "other address family"
PPP_PROTOCOLS = {0x0021: IPV4, 0x0057: IPV6, 0x0281: MPLS, 0x0283: MPLS_MULTICAST}  # RFC 1332, 5072, 3032
OTHER_PPP = "ppp"

ICMP, TCP, UDP, GRE, ICMPV6, ETHERIP = 1, 6, 17, 47, 58, 97
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6 = 0, 43, 44, 51, 60, 135, 139, 140
EXTENSION_HEADERS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6)  # RFC 7045 4

# Types of ICMP messages in which Wireshark reads the packet that they quote (RFC 792; RFC 4443 2.1, RFC 4861 4.5).
ICMP_REDIRECT = 137  # of ICMPv6; it quotes the packet in an option
ICMP_QUOTING = {ICMP: frozenset({3, 4, 11, 12}), ICMPV6: frozenset({1, 2, 3, 4, ICMP_REDIRECT})}
ICMP_HEADER, ICMP_REDIRECT_HEADER = 8, 40
REDIRECTED, REDIRECTED_HEADER = 4, 8  # the option, and where in it the packet begins (RFC 4861 4.6.3)
COUNTED_TCP = 16  # bytes of a TCP header from which on Wireshark counts its conversation

# Tunnels. Each carries another IP packet or a frame; the addresses told are those of the innermost.
MOST_TUNNELS = 8  # in one another; packets of deeper nests are counted as unread
IP_IN_IP = {4: IPV4, 41: IPV6, 137: MPLS}  # IP protocol -> what follows at once (RFC 2003, 4213, 4023)
ETHERIP_HEADER = 2  # then a frame (RFC 3378)
HIDING = frozenset({TCP, GRE, ETHERIP, *IP_IN_IP})  # protocols that carry TCP, sooner or later
REASSEMBLED = HIDING | {UDP}  # protocols whose IP fragments are put together
ERSPAN, ERSPAN_III = 0x88BE, 0x22EB  # protocols of GRE (draft-foschiano-erspan)
VXLAN, GENEVE, GTP_U, TEREDO, VXLAN_GPE, L2TP = range(1, 7)
UDP_TUNNELS = {  # port, of either side
    4789: VXLAN,  # RFC 7348
    8472: VXLAN,  # Linux's port before there was a registered one; still that of many container networks
    6081: GENEVE,  # RFC 8926
    2152: GTP_U,  # 3GPP TS 29.281
    3544: TEREDO,  # RFC 4380
    4790: VXLAN_GPE,  # draft-ietf-nvo3-vxlan-gpe
    1701: L2TP,  # RFC 2661
}
VXLAN_GPE_PROTOCOLS = {1: IPV4, 2: IPV6, 3: FRAME, 5: MPLS}

# The numbers whose names a reader of a note knows.
_PROTOCOL_NAMES = {1: "icmp", 2: "igmp", 4: "ip in ip", 6: "tcp", 17: "udp", 41: "ipv6 in ip", 47: "gre", 50: "esp"}
_PROTOCOL_NAMES |= {51: "ah", 58: "icmpv6", 89: "ospf", 97: "etherip", 112: "vrrp", 132: "sctp"}
_ETHERTYPE_NAMES = {0x0806: "arp", 0x8847: "mpls", 0x8848: "mpls", 0x8863: "pppoe", 0x8864: "pppoe", 0x88CC: "lldp"}
_ETHERTYPE_NAMES |= {0x888E: "eapol", 0x88E5: "macsec"}


def unknown_link(link: int) -> str:
    """Name the reason under which packets of a link type that cannot be read are counted."""
    return f"link type {link}"


def protocol_kind(protocol: int) -> str:
    """Name an IP protocol number, as its packets are counted."""
    return _PROTOCOL_NAMES.get(protocol, f"ip protocol {protocol}")


def ethertype_kind(ethertype: int) -> str:
    """Name an ethertype other than IP, as its packets are counted; lengths (IEEE 802.3) are one kind."""
    if ethertype < LENGTHS:
        return "802.3"
    return _ETHERTYPE_NAMES.get(ethertype, f"ethertype 0x{ethertype:04x}")
