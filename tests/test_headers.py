"""The columnar scan: what it reads of each encapsulation, and that its slow twin finds the same."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from packet_builder import (
    CLIENT,
    CLIENT6,
    SERVER,
    SERVER6,
    enhanced,
    ethernet,
    interface,
    ipv4,
    ipv6,
    pcap,
    reference_captures,
    scan,
    scan_slowly,
    section,
    tcp,
)

from tlspcap.wire.columns import IP_FRAGMENT

SEGMENT = tcp(b"hello", seq=4_294_967_295, ack=7, flags=24)
IN_IPV4, IN_IPV6 = ipv4(SEGMENT), ipv6(SEGMENT)
HOP_BY_HOP = bytes([6, 0, 1, 4, 0, 0, 0, 0])
FRAGMENT_WHOLE, FRAGMENT_FIRST = bytes([6, 0, 0, 0, 0, 0, 0, 9]), bytes([6, 0, 0, 1, 0, 0, 0, 9])
CAPTURES = reference_captures()

ENCAPSULATIONS = {
    "ethernet": (1, ethernet(IN_IPV4)),
    "ethernet, IPv6": (1, ethernet(IN_IPV6, ethertype=0x86DD)),
    "one VLAN tag": (1, ethernet(IN_IPV4, 0x8100)),
    "QinQ": (1, ethernet(IN_IPV4, 0x88A8, 0x8100)),
    "old QinQ, IPv6": (1, ethernet(IN_IPV6, 0x9100, 0x8100, ethertype=0x86DD)),
    "four VLAN tags": (1, ethernet(IN_IPV4, 0x8100, 0x8100, 0x8100, 0x8100)),
    "cooked v1": (113, bytes(14) + b"\x08\x00" + IN_IPV4),
    "cooked v1 with a VLAN tag": (113, bytes(14) + b"\x81\x00\x00\x07\x86\xdd" + IN_IPV6),
    "cooked v2": (276, b"\x86\xdd" + bytes(18) + IN_IPV6),
    "raw": (101, IN_IPV4),
    "raw, IPv6": (101, IN_IPV6),
    "raw, as 12": (12, IN_IPV4),
    "raw, as 14": (14, IN_IPV6),
    "raw IPv4": (228, IN_IPV4),
    "raw IPv6": (229, IN_IPV6),
    "loopback of a little machine": (0, b"\x02\x00\x00\x00" + IN_IPV4),
    "loopback of a big machine": (0, b"\x00\x00\x00\x02" + IN_IPV4),
    "loopback, IPv6 on macOS": (0, b"\x1e\x00\x00\x00" + IN_IPV6),
    "OpenBSD loopback, IPv6": (108, b"\x00\x00\x00\x18" + IN_IPV6),
    "IPv4 options": (101, ipv4(SEGMENT, options=b"\x94\x04\x00\x00" * 10)),
    "TCP options": (101, ipv4(tcp(b"hello", seq=4_294_967_295, ack=7, flags=24, options=b"\x01" * 40))),
    "ethernet padding": (1, ethernet(IN_IPV4) + b"\xff" * 9),
    "IPv4 length 0": (101, ipv4(SEGMENT, total=0)),
    "IPv6 length 0": (101, ipv6(SEGMENT, size=0)),
    "hop-by-hop options": (101, ipv6(HOP_BY_HOP + SEGMENT, following=0)),
    "two extension headers": (101, ipv6(bytes([60, 0]) + bytes(6) + HOP_BY_HOP + SEGMENT, following=0)),
    "authentication header": (101, ipv6(bytes([6, 4]) + bytes(22) + SEGMENT, following=51)),
    "an IPv6 fragment that is whole": (101, ipv6(FRAGMENT_WHOLE + SEGMENT, following=44)),
}
REFUSED = {
    "udp": (1, ethernet(ipv4(bytes(8), protocol=17)), {"udp": 1}, {}),
    "arp": (1, ethernet(bytes(28), ethertype=0x0806), {"arp": 1}, {}),
    "802.3 length": (1, ethernet(bytes(28), ethertype=0x0026), {"802.3": 1}, {}),
    "unknown ethertype": (1, ethernet(bytes(28), ethertype=0x1234), {"ethertype 0x1234": 1}, {}),
    "unknown IP protocol": (101, ipv6(bytes(8), following=200), {"ip protocol 200": 1}, {}),
    "no IP family": (0, b"\x07\x00\x00\x00" + IN_IPV4, {"other address family": 1}, {}),
    "IPv4 fragment, first": (101, ipv4(SEGMENT, fragment=0x2000), {"tcp": 1}, {IP_FRAGMENT: 1}),
    "IPv4 fragment, later": (101, ipv4(SEGMENT, fragment=0x0010), {"tcp": 1}, {IP_FRAGMENT: 1}),
    "UDP fragment": (101, ipv4(SEGMENT, fragment=0x0010, protocol=17), {"udp": 1}, {}),
    "IPv6 fragment": (101, ipv6(FRAGMENT_FIRST + SEGMENT, following=44), {"tcp": 1}, {IP_FRAGMENT: 1}),
    "UDP over extension headers": (101, ipv6(b"\x11" + bytes(7) + bytes(8), following=0), {"udp": 1}, {}),
    "IP version 5": (101, b"\x55" + IN_IPV4[1:], {}, {"damaged IP header": 1}),
    "IPv6 named as IPv4": (1, ethernet(IN_IPV6), {}, {"damaged IP header": 1}),
    "IPv4 named as IPv6": (1, ethernet(IN_IPV4, ethertype=0x86DD), {}, {"damaged IP header": 1}),
    "IPv4 header of 16 bytes": (101, b"\x44" + IN_IPV4[1:], {}, {"damaged IP header": 1}),
    "IPv4 total below its header": (101, ipv4(SEGMENT, total=19), {}, {"damaged IP header": 1}),
    "TCP header of 16 bytes": (101, IN_IPV4[:32] + b"\x40" + IN_IPV4[33:], {"tcp": 1}, {"damaged TCP header": 1}),
    "TCP header over its packet": (101, ipv4(b"\x00" * 12 + b"\xf0" + bytes(7)), {"tcp": 1}, {"damaged TCP header": 1}),
    "IP too short for TCP": (101, ipv4(SEGMENT, total=39), {"tcp": 1}, {"damaged TCP header": 1}),
    "nothing": (101, b"", {}, {"headers cut short": 1}),
    "half a link header": (1, MACS_ONLY := bytes(12), {}, {"headers cut short": 1}),
    "half a VLAN tag": (1, MACS_ONLY + b"\x81\x00\x00", {}, {"headers cut short": 1}),
    "half an IPv4 header": (101, IN_IPV4[:19], {}, {"headers cut short": 1}),
    "half an IPv6 header": (101, IN_IPV6[:39], {}, {"headers cut short": 1}),
    "half a TCP header": (101, IN_IPV4[:39], {"tcp": 1}, {"headers cut short": 1}),
    "half an extension header": (101, ipv6(b"\x06", following=0), {}, {"headers cut short": 1}),
}


@pytest.mark.parametrize(("link", "frame"), ENCAPSULATIONS.values(), ids=ENCAPSULATIONS)
def test_the_same_segment_is_found_in_every_encapsulation(link: int, frame: bytes) -> None:
    """Whatever carries it, a segment has the same addresses, ports, numbers, flags and payload, in scan and twin."""
    rows, facts = scan(pcap([frame], link=link))
    (row,) = rows
    v4 = len(row.source) == 4
    assert (row.source, row.target) == ((CLIENT, SERVER) if v4 else (CLIENT6, SERVER6))
    assert (row.source_port, row.target_port) == (49152, 443)
    assert (row.seq, row.ack, row.flags) == (4_294_967_295, 7, 24)
    assert (row.payload, row.length) == (b"hello", 5)
    assert (facts.kinds, facts.unread) == ({"tcp": 1}, {})
    assert scan_slowly(pcap([frame], link=link))[0] == rows


@pytest.mark.parametrize(("link", "frame", "kinds", "unread"), REFUSED.values(), ids=REFUSED)
def test_what_is_no_readable_segment_is_counted_by_kind_and_reason(link: int, frame: bytes, kinds, unread) -> None:
    """A packet without a readable segment gives no row, is counted, and costs no other packet."""
    good = enhanced(ipv4(SEGMENT), number=1)
    capture = section() + interface(link) + interface(101) + enhanced(frame) + good
    for read in (scan, scan_slowly):
        rows, facts = read(capture)
        assert [row.frame for row in rows] == [2]
        assert facts.kinds == Counter(kinds) + Counter({"tcp": 1})
        assert facts.unread == unread


@pytest.mark.parametrize("captured", range(54, 59))
def test_a_cut_packet_keeps_its_length_on_the_wire(captured: int) -> None:
    """With a snapshot length, the captured payload is what is there, and the length is what the IP header says."""
    frame = ethernet(IN_IPV4)
    (row,), facts = scan(pcap([frame[:captured]], wires=[len(frame)]))
    assert (row.payload, row.length) == (b"hello"[: captured - 54], 5)
    assert facts.cut_packets == 1


def test_a_packet_cut_inside_its_tcp_options_still_counts_its_payload() -> None:
    """Options are not needed: a segment cut in the middle of them has no captured payload and its full length."""
    frame = ipv4(tcp(b"hello", options=b"\x01" * 12))
    (row,), _ = scan(pcap([frame[:45]], link=101, wires=[len(frame)]))
    assert (row.payload, row.length) == (b"", 5)


def test_an_ip_length_of_zero_reaches_to_the_end_on_the_wire() -> None:
    """A packet recorded before segmentation offload counts its bytes on the wire, even where a few were captured."""
    frame = ethernet(ipv4(tcp(b"x" * 30), total=0))
    (row,), _ = scan(pcap([frame], wires=[70_000]))
    assert (row.payload, row.length) == (b"x" * 30, 70_000 - 54)


def test_ip_versions_and_odd_packets_stay_in_file_order() -> None:
    """Rows come in frame order, whichever group or twin read them, and numbers count every packet of the file."""
    frames = [IN_IPV6, IN_IPV4, b"?", ipv6(HOP_BY_HOP + SEGMENT, following=0), IN_IPV6, ipv4(b"", protocol=17), IN_IPV4]
    rows, _ = scan(pcap(frames, link=101))
    assert [row.frame for row in rows] == [1, 2, 4, 5, 7]
    assert [len(row.source) for row in rows] == [16, 4, 16, 16, 4]


def test_every_tcp_flag_is_kept_and_reserved_bits_are_not() -> None:
    """The nine flag bits are read; the three reserved bits above them are not flags."""
    rows, _ = scan(pcap([ipv4(tcp(flags=0x1FF)), ipv4(tcp(flags=0xE00))], link=101))
    assert [row.flags for row in rows] == [0x1FF, 0]


@pytest.mark.skipif(not CAPTURES, reason="no sample or reference captures here")
@pytest.mark.parametrize(
    "path",
    [path for path in CAPTURES if "zerortt" not in path.name and path.stat().st_size < 200_000],
    ids=lambda path: path.name,
)
def test_twin_agrees_on_real_captures(path) -> None:
    """Over every packet of every real capture, the columns hold what dpkt reads packet by packet."""
    assert_twins_agree(path.read_bytes())


pieces = st.one_of(
    st.sampled_from([frame for _, frame in ENCAPSULATIONS.values()] + [frame for _, frame, *_ in REFUSED.values()]),
    st.binary(max_size=90),
)


@st.composite
def damaged_packets(draw: st.DrawFn) -> bytes:
    """Draw a packet of some kind with bytes changed, and cut or lengthened."""
    packet = bytearray(draw(pieces))
    for _ in range(draw(st.integers(0, 4))):
        if packet:
            packet[draw(st.integers(0, min(len(packet), 64) - 1))] = draw(st.integers(0, 255))
    return bytes(packet[: draw(st.integers(0, 120))]) + draw(st.binary(max_size=4))


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(damaged_packets(), st.sampled_from([0, 1, 1, 12, 101, 108, 113, 228, 229, 276, 9])), max_size=12)
)
def test_twin_agrees_on_damaged_packets_of_every_link_type(packets: list[tuple[bytes, int]]) -> None:
    """Whatever bytes stand in for headers, scan and twin give the same segments and the same counts."""
    links = sorted({link for _, link in packets} | {1})
    interfaces = b"".join(interface(link) for link in links)
    blocks = b"".join(enhanced(packet, at, links.index(link)) for at, (packet, link) in enumerate(packets))
    assert_twins_agree(section() + interfaces + blocks + enhanced(ethernet(IN_IPV4), 9))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_twin_agrees_on_packets_that_scapy_builds(data: st.DataObject) -> None:
    """Packets that an independent implementation builds read the same in scan and twin, and hold what it put in."""
    ether, tags, l3, l4 = (pytest.importorskip("scapy.all", reason="scapy is not installed") for _ in range(4))
    port, seq, body = (
        data.draw(st.integers(0, 65535)),
        data.draw(st.integers(0, 2**32 - 1)),
        data.draw(st.binary(max_size=40)),
    )
    options = data.draw(st.sampled_from([[], [("Timestamp", (1, 2))], [("MSS", 1460), ("SAckOK", b"")]]))
    segment = l4.TCP(sport=port, dport=443, seq=seq, options=options) / body
    extension = data.draw(
        st.sampled_from([None, l3.IPv6ExtHdrHopByHop(), l3.IPv6ExtHdrDestOpt(), l3.IPv6ExtHdrRouting()])
    )
    ip = l3.IPv6() / extension if extension is not None else data.draw(st.sampled_from([l3.IP(), l3.IPv6()]))
    vlan = data.draw(st.sampled_from([None, tags.Dot1Q(vlan=5), tags.Dot1AD(vlan=6) / tags.Dot1Q(vlan=5)]))
    frame = bytes((ether.Ether() / vlan if vlan is not None else ether.Ether()) / ip / segment)
    (row,), _ = scan(pcap([frame]))
    assert (row.source_port, row.target_port, row.seq, row.payload) == (port, 443, seq, body)
    assert scan_slowly(pcap([frame]))[0] == [row]


def assert_twins_agree(capture: bytes) -> None:
    """Compare the columnar scan with the slow twin: rows and counts."""
    fast, fast_facts = scan(capture)
    slow, slow_facts = scan_slowly(capture)
    assert fast == slow
    assert fast_facts.kinds == slow_facts.kinds
    assert fast_facts.unread == slow_facts.unread
