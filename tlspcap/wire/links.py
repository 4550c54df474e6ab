"""Numbers and names of what lies under TCP: link types, ethertypes, address families, IP protocols.

Data only, shared by `headers` and `rare`, which each have their own way of reading the headers.
"""

# LINKTYPE_ numbers, https://www.tcpdump.org/linktypes.html. Raw IP has three: 12 and 14 are DLT_RAW of some systems.
NULL, ETHERNET, RAW_12, RAW_14, RAW, LOOP = 0, 1, 12, 14, 101, 108
LINUX_SLL, RAW_IPV4, RAW_IPV6, LINUX_SLL2 = 113, 228, 229, 276

ETHERTYPE_AT = {  # link type -> offset of its ethertype (or "protocol type"), and of what follows the link header
    ETHERNET: (12, 14),
    LINUX_SLL: (14, 16),
    LINUX_SLL2: (0, 20),
}
BARE_IP = frozenset({RAW, RAW_12, RAW_14, RAW_IPV4, RAW_IPV6})  # no link header: the IP version tells
ADDRESS_FAMILY = frozenset({NULL, LOOP})  # 4 bytes: NULL in the capturing machine's byte order, LOOP in the network's
KNOWN_LINKS = ADDRESS_FAMILY | BARE_IP | ETHERTYPE_AT.keys()

IPV4, IPV6 = 0x0800, 0x86DD
VLAN_TAGS = (0x8100, 0x88A8, 0x9100)  # 802.1Q, 802.1ad, and what QinQ used before 802.1ad
FAMILIES = {2: IPV4, 10: IPV6, 24: IPV6, 28: IPV6, 30: IPV6}  # AF_INET, and AF_INET6 of Linux and the BSDs
OTHER_FAMILY = "other address family"

TCP = 6
HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6 = 0, 43, 44, 51, 60, 135, 139, 140
EXTENSION_HEADERS = (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION, MOBILITY, HIP, SHIM6)  # RFC 7045 4

# The numbers whose names a reader of a note knows.
_PROTOCOL_NAMES = {1: "icmp", 2: "igmp", 4: "ip in ip", 6: "tcp", 17: "udp", 41: "ipv6 in ip", 47: "gre", 50: "esp"}
_PROTOCOL_NAMES |= {51: "ah", 58: "icmpv6", 89: "ospf", 112: "vrrp", 132: "sctp"}
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
    if ethertype < 0x0600:
        return "802.3"
    return _ETHERTYPE_NAMES.get(ethertype, f"ethertype 0x{ethertype:04x}")
