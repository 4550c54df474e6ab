"""Links and tunnels: whatever carries a TCP segment, it is found, with the innermost addresses."""

import io
import re
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
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
    scan,
    scan_slowly,
    section,
    tcp,
)
from wrappings import LINKS, TEREDO, TUNNELS, UNKNOWN_TO_TSHARK, Link, Tunnel, ether

from tlspcap.spread import read_tables
from tlspcap.wire import fragments, links, packets, wireless
from tlspcap.wire.columns import TOO_DEEP, AddressBook, FileFacts
from tlspcap.wire.files import open_capture
from tlspcap.wire.numbering import Numbering

SEGMENT = tcp(b"hello", seq=4_294_967_295, ack=7, flags=24)
INNER = {"IPv4": ipv4(SEGMENT), "IPv6": ipv6(SEGMENT)}
EVERY_TUNNEL = TUNNELS | TEREDO
SAMPLE = Path(__file__).parent.parent / "sample_captures" / "intermittent-alert.pcap"
EVERY_PAIR = [(name, version) for name in EVERY_TUNNEL for version in INNER if name in TUNNELS or version == "IPv6"]
NO_TUNNELS = [
    b"",
    b"\0",
    bytes(8),
    bytes(40),
    b"GET / HTTP/1.1\r\n\r\n",
    b"\x30\xff" + bytes(6),
    b"\x34\xff" + bytes(11),
]


def read_both(frame: bytes, link: int = 1, wire: int | None = None):
    """Read one packet by columns and by the slow twin; they must agree. Return the rows and the facts."""
    capture = pcap([frame], link=link, wires=[len(frame) if wire is None else wire])
    rows, facts = scan(capture)
    slow_rows, slow_facts = scan_slowly(capture)
    assert rows == slow_rows
    assert (facts.kinds, facts.unread) == (slow_facts.kinds, slow_facts.unread)
    return rows, facts


def assert_found(frame: bytes, link: int, version: str) -> None:
    """The one segment is found, in the addresses of the innermost packet."""
    (row,), facts = read_both(frame, link)
    ends = (CLIENT, SERVER) if version == "IPv4" else (CLIENT6, SERVER6)
    assert (row.source, row.target, row.source_port, row.target_port) == (*ends, 49152, 443)
    assert (row.seq, row.ack, row.flags, row.payload, row.length) == (4_294_967_295, 7, 24, b"hello", 5)
    assert (facts.kinds, facts.unread) == ({"tcp": 1}, {})


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("version", INNER)
def test_a_segment_is_found_behind_every_link_header(link: Link, version: str) -> None:
    """Whatever the link type, tags and labels, the segment is the same, in scan and twin."""
    number, wrap = link
    assert_found(wrap(INNER[version]), number, version)


@pytest.mark.parametrize(("name", "version"), EVERY_PAIR)
def test_a_segment_is_found_in_every_tunnel(name: str, version: str) -> None:
    """Whatever the tunnel, the segment is the same, and its addresses are the innermost."""
    assert_found(ether(EVERY_TUNNEL[name](INNER[version])), 1, version)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    tunnels=st.lists(st.sampled_from(sorted(TUNNELS)), max_size=links.MOST_TUNNELS),
    link=st.sampled_from(sorted(LINKS)),
    version=st.sampled_from(sorted(INNER)),
)
def test_tunnels_in_tunnels_are_followed(tunnels: list[str], link: str, version: str) -> None:
    """Any tunnels in one another, up to the depth that is documented, over any link, change nothing."""
    packet = INNER[version]
    for name in tunnels:
        packet = TUNNELS[name](packet)
    number, wrap = LINKS[link]
    assert_found(wrap(packet), number, version)


@pytest.mark.parametrize("name", ["IP in IP", "GRE, Ethernet", "VXLAN", "EtherIP"])
def test_deeper_nests_are_counted(name: str) -> None:
    """One tunnel more than the documented depth gives no segment, and the reason is counted."""
    packet = INNER["IPv4"]
    for _ in range(links.MOST_TUNNELS + 1):
        packet = TUNNELS[name](packet)
    rows, facts = read_both(ether(packet))
    assert (rows, facts.unread) == ([], {TOO_DEEP: 1})


def test_tunnelled_and_plain_packets_stay_in_file_order() -> None:
    """Rows come in frame order, however deep their packets lie and whichever twin reads them."""
    plain = INNER["IPv4"]
    odd = [TUNNELS[name](plain) for name in ("GRE", "EtherIP", "VXLAN", "IP in IP", "PPTP", "MPLS in IP")]
    frames = [ether(packet) for one in odd for packet in (one, plain, ipv4(bytes(8), protocol=17))]
    rows, _ = scan(pcap(frames))
    assert [row.frame for row in rows] == [at for at in range(1, 19) if at % 3]
    assert rows == scan_slowly(pcap(frames))[0]


@pytest.mark.parametrize("port", links.UDP_TUNNELS)
@pytest.mark.parametrize("body", NO_TUNNELS)
def test_what_is_no_tunnel_on_a_tunnels_port_is_just_udp(port: int, body: bytes) -> None:
    """A UDP packet whose payload does not begin as the tunnel of its port must is UDP, and nothing is unread."""
    udp = struct.pack(">HHHH", 5000, port, 8 + len(body), 0) + body
    rows, facts = read_both(ethernet(ipv4(udp, protocol=17)))
    assert (rows, facts.kinds, facts.unread) == ([], {"udp": 1}, {})


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"\x40\x00\x08\x00" + bytes(4) + INNER["IPv4"], "gre"),
        (b"\x00\x02\x08\x00" + INNER["IPv4"], "gre"),
        (b"\x00\x00\x00\x00", "gre"),
        (b"\x30\x01\x88\x0b\x00\x00\x00\x01\x00\x00\x00\x02", "ppp"),
        (b"\x20\x81\x88\x0b\x00\x00\x00\x01\x00\x00\x00\x02", "gre"),
        (b"\x10\x00\x88\xbe" + bytes(4) + b"\x30" + bytes(30), "gre"),
        (b"\x00\x00\x88\x0b\xff\x03\xc0\x21\x01\x01\x00\x04", "ppp"),
        (b"\x00\x00\x65\x58" + ethernet(bytes(28), ethertype=0x0806), "arp"),
        (b"\x00\x00\x12\x34" + bytes(28), "ethertype 0x1234"),
        (b"\x00\x00\x88\x47\x00\x01\x01\x09" + b"\xff" * 40, "mpls"),
    ],
)
def test_tunnels_without_ip_in_them_are_counted_by_kind(body: bytes, kind: str) -> None:
    """Source routes, keep-alives, control packets and other protocols give no segment, and are counted."""
    rows, facts = read_both(ethernet(ipv4(body, protocol=47)))
    assert rows == []
    assert facts.kinds == {kind: 1} or facts.unread == {"headers cut short": 1}


def test_other_ppp_and_802_3_packets_are_counted_by_kind() -> None:
    """PPP's own protocols, PPPoE's discovery, and LLC that is no SNAP hold no segment."""
    assert read_both(b"\xff\x03\xc0\x21\x01\x01\x00\x04", 9)[1].kinds == {"ppp": 1}
    assert read_both(ethernet(b"\x11\x09" + bytes(40), ethertype=0x8863))[1].kinds == {"pppoe": 1}
    assert read_both(ethernet(b"\x42\x42\x03" + bytes(35), ethertype=0x0026))[1].kinds == {"802.3": 1}
    assert read_both(ethernet(b"\x42\x42", ethertype=0x0003))[1].kinds == {"802.3": 1}


@pytest.mark.parametrize(
    ("link", "head", "kind"),
    [
        (links.ENC, bytes(12), {"other address family": 1}),
        (links.PFLOG, bytes([61, 7]) + bytes(62), {"other address family": 1}),
        (links.NFLOG, b"\x07\0\0\0" + b"\x18\0\x09\0", {"other address family": 1}),
        (links.NFLOG, b"\x02\0\0\0" + bytes(4), {"nflog": 1}),
        (links.PKTAP, struct.pack("<III", 12, 0, 1), {"pktap": 1}),
        (links.PKTAP, struct.pack("<III", 8, 1, 1), {"pktap": 1}),
        (links.PKTAP, struct.pack("<III", 12, 1, links.PKTAP), {}),
        (links.PKTAP, struct.pack("<III", 12, 1, links.RADIOTAP), {}),
    ],
)
def test_headers_of_rare_links_without_ip_behind_are_counted(link: int, head: bytes, kind: dict[str, int]) -> None:
    """Another address family, no packet, or a rare link in another give no segment, and are counted."""
    rows, facts = read_both(head + INNER["IPv4"], link)
    assert (rows, facts.kinds) == ([], kind)
    assert facts.kinds or facts.unread == {links.unknown_link(int.from_bytes(head[8:12], "little")): 1}


WRAPPED = {
    **{name: (number, wrap(INNER["IPv4"])) for name, (number, wrap) in LINKS.items()},
    **{name: (1, ether(wrap(INNER["IPv6"]))) for name, wrap in EVERY_TUNNEL.items()},
}


@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_packet_cut_anywhere_reads_alike_in_scan_and_twin(name: str) -> None:
    """A snapshot length that ends inside any header or the payload keeps what is there, and counts the rest."""
    link, frame = WRAPPED[name]
    for end in range(len(frame)):
        rows, facts = read_both(frame[:end], link, wire=len(frame))
        assert rows or facts.unread or facts.kinds
        for row in rows:
            assert b"hello".startswith(row.payload)
            assert row.length == 5


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(WRAPPED)),
    changes=st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), min_size=1, max_size=5),
    end=st.integers(0, 250),
)
def test_a_damaged_wrapped_packet_reads_alike_in_scan_and_twin(name: str, changes, end: int) -> None:
    """Whatever bytes stand in for the headers of tunnels, scan and twin find the same, and nothing raises."""
    link, frame = WRAPPED[name]
    damaged = bytearray(frame)
    for at, value in changes:
        damaged[at % len(damaged)] = value
    read_both(bytes(damaged[:end]), link, wire=len(frame))


# -- whole captures -----------------------------------------------------------------------------------------------


def packets_of(path: Path) -> list[tuple[int, bytes]]:
    """List time in µs and IP packet of a capture in Ethernet."""
    data = path.read_bytes()
    at, found = 24, []
    while at < len(data):
        seconds, fraction, captured, _ = struct.unpack_from("<IIII", data, at)
        found.append((seconds * 1_000_000 + fraction, data[at + 16 + 14 : at + 16 + captured]))
        at += 16 + captured
    return found


@pytest.fixture(scope="module")
def sample_packets() -> list[tuple[int, bytes]]:
    """Give the packets of a sample capture."""
    return packets_of(SAMPLE)


@pytest.fixture(scope="module")
def sample_tables() -> dict[str, pd.DataFrame]:
    """Give the tables of the same sample as it was recorded."""
    return read_tables(SAMPLE).frames


REWRAPPED: dict[str, tuple[Link, Tunnel]] = {
    **{name: (link, lambda ip: ip) for name, link in LINKS.items()},
    **{name: (LINKS["Ethernet"], tunnel) for name, tunnel in TUNNELS.items()},
}


@pytest.mark.parametrize("name", REWRAPPED)
def test_a_capture_gives_the_same_tables_in_every_link_and_tunnel(name: str, sample_packets, sample_tables) -> None:
    """The packets of a sample, each wrapped anew, give equal tables, ids, frames and streams included."""
    (link, frame), tunnel = REWRAPPED[name]
    blocks = b"".join(enhanced(frame(tunnel(packet)), time) for time, packet in sample_packets)
    tables = read_tables(io.BytesIO(section() + interface(link) + blocks)).frames
    for table, expected in sample_tables.items():
        left, right = (frame.drop(columns="capture", errors="ignore") for frame in (tables[table], expected))
        pd.testing.assert_frame_equal(left, right)


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
def test_tshark_finds_the_same_segments_and_streams(tmp_path: Path) -> None:
    """Frames, ports, sequence numbers, lengths and stream numbers in tunnels are Wireshark's."""
    wrapped = [(number, wrap, None) for name, (number, wrap) in LINKS.items() if name not in UNKNOWN_TO_TSHARK]
    wrapped += [(1, ether, tunnel) for tunnel in TUNNELS.values()]
    blocks = b"".join(interface(number) for number, *_ in wrapped)
    for _ in range(2):
        for at, (_, wrap, tunnel) in enumerate(wrapped):
            packet = ipv4(tcp(bytes(at), ports=(1000 + at // 2, 443)))
            blocks += enhanced(wrap(tunnel(packet) if tunnel else packet), at, at)
    path = tmp_path / "wrapped.pcapng"
    path.write_bytes(section() + blocks)
    assert ours(path) == theirs(path)


def ours(path: Path) -> list[list[int]]:
    """List frame, ports, sequence number, payload length and conversation number of every segment."""
    found, numbering, book = [], Numbering(), AddressBook()
    with open_capture(path) as opened:
        for chunk in packets.segments(opened, FileFacts("test"), book):
            columns = (chunk.frame, chunk.source_port, chunk.target_port, chunk.seq, chunk.length)
            found += np.stack([*columns, numbering.number(chunk).number], axis=1).tolist()
    return found


def theirs(path: Path) -> list[list[int]]:
    """Ask tshark for the same."""
    fields = ["frame.number", "tcp.srcport", "tcp.dstport", "tcp.seq_raw", "tcp.len", "tcp.stream"]
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp.stream", "-d", "udp.port==8472,vxlan", "-T", "fields"]
    command += [part for field in fields for part in ("-e", field)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return [[int(value or -1) for value in line.split("\t")] for line in printed.splitlines()]


# -- 802.11 -------------------------------------------------------------------------------------------------------


def test_802_11_frames_without_ip_are_counted_by_kind_and_reason() -> None:
    """Beacons are of no use, encrypted frames and several frames in one cannot be read, and each is told."""
    number, wrap = LINKS["802.11"]
    frame = bytearray(wrap(INNER["IPv4"]))
    good = bytes(frame)
    beacon = b"\x80\x00" + good[2:]
    sealed = good[:1] + b"\x41" + good[2:]
    null = b"\x48\x01" + good[2:24]
    other = good[:24] + b"\x42\x42\x03" + good[27:]
    qos = LINKS["radiotap, QoS, FCS"][1](INNER["IPv4"])
    at = int.from_bytes(qos[2:4], "little")
    several = qos[at : at + 24] + b"\x80" + qos[at + 25 :]
    rows, facts = scan(pcap([good, beacon, sealed, null, other, several, good], link=number))
    assert [row.frame for row in rows] == [1, 7]
    assert facts.kinds == {"tcp": 2, wireless.KIND: 5}
    assert facts.unread == {wireless.SEALED: 1, wireless.AGGREGATED: 1}


def test_without_scapy_802_11_is_unread_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where scapy is missing, its packets are counted under a reason that names it, and all others are read."""
    monkeypatch.setattr(wireless, "_dot11", lambda: None)
    number, wrap = LINKS["radiotap"]
    capture = section() + interface(number) + interface(1)
    capture += enhanced(wrap(INNER["IPv4"]), number=0) + enhanced(ether(INNER["IPv4"]), number=1)
    rows, facts = scan(capture)
    assert [row.frame for row in rows] == [2]
    assert facts.unread == {wireless.NO_SCAPY: 1}
    assert "pip install" in wireless.NO_SCAPY


@settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=80), st.sampled_from([105, 127]))
def test_no_bytes_in_place_of_802_11_raise(frame: bytes, link: int) -> None:
    """Scapy may raise whatever it likes over damaged frames: they are counted."""
    rows, facts = scan(pcap([frame], link=link))
    assert len(rows) <= 1
    assert rows or facts.kinds or facts.unread


def test_the_documentation_names_what_is_read() -> None:
    """Every link type, tunnel port, and bound of the code stands in the documentation."""
    page = (Path(__file__).parent.parent / "docs" / "captures.md").read_text()
    words = set(re.findall(r"[0-9][0-9,]*", page.replace(", ", " ")))
    assert {str(number) for number in [*links.KNOWN_LINKS, *links.UDP_TUNNELS, *links.IP_IN_IP]} <= words
    bounds = (fragments.MOST_DATAGRAMS, fragments.MOST_BYTES >> 20, fragments.MOST_FRAGMENTS)
    assert {f"{number:,}" for number in (*bounds, fragments.PATIENCE // 1_000_000_000)} <= words
