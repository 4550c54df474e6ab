"""Anonymized extracts of names and addresses in places where they are easily overlooked: none is in the output."""

import datetime
import io
import ipaddress
import struct
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import ssl2_bytes
import turns
from conversation import message, record
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import ocsp
from extracts import extracted, facts_of, rows_of
from packet_builder import CLIENT, SERVER, ethernet, ipv4, ipv6, pcap
from tls_bytes import hello_body, server_body, u16s, vector
from wrappings import TUNNELS

import tlspcap
from tlspcap.anonymize import messages
from tlspcap.anonymize.pseudonyms import Pseudonyms

SAMPLE = Path(__file__).parent.parent / "sample_captures" / "intermittent-alert.pcap"
FIRST = 26  # packets of it: two connections
REPLACED = ["client_ip", "server_ip", "sni", "client_random", "server_random", "certificate_sha256", "chain_sha256"]
ADDRESSES = ["198.51.100.201", "2001:db8:5e:c::e7"]  # in the certificate
PACKED = [ipaddress.ip_address(address).packed for address in ADDRESSES]
NAMES = [
    b"hidden-host",
    b"hidden-mail",
    b"hidden-person",
    b"hidden-crl",
    b"hidden-ocsp",
    b"hidden-org",
    b"hidden-outer",
]
OUTER, INNER = b"hidden-outer", b"hidden-inner"  # names in the hello, and in what ECH should have sealed
ONE_DAY, NOON = datetime.timedelta(days=1), datetime.datetime(2026, 11, 3, 12)


def anonymized(capture: bytes) -> bytes:
    """Extract all handshakes, anonymized; they must be as before but for who they were."""
    source = io.BytesIO(capture)
    rows = rows_of(source)
    assert len(rows)
    out = extracted(source, rows, anonymize=True)
    after = rows_of(out)
    for name in ("outcome", "version", "cipher", "ja3", "ja4", "alpn_offered", "chain_length", "history"):
        assert facts_of(rows)[name].equals(facts_of(after)[name]), name
    assert not set(rows["sni"].dropna()) & set(after["sni"].dropna())
    return out.getvalue()


def assert_gone(content: bytes, marks: Iterable[bytes]) -> None:
    """None of the marks is in it, in whatever case."""
    found = [mark for mark in marks if mark.lower() in content.lower()]
    assert not found


# -- around the handshake -----------------------------------------------------------------------------------------


def packets() -> list[bytes]:
    """The first IP packets of the sample."""
    content, at, found = SAMPLE.read_bytes(), 24, []
    while len(found) < FIRST:
        size = struct.unpack_from("<I", content, at + 8)[0]
        found.append(content[at + 30 : at + 16 + size])
        at += 16 + size
    return found


PACKETS = packets()
ENDS = {packet[at : at + 4] for packet in PACKETS for at in (12, 16)}
SNI = [name.encode() for name in tlspcap.read(SAMPLE, tables=["handshakes"]).handshakes["sni"].unique()]


def in_fragments(packet: bytes) -> list[bytes]:
    """Cut an IP packet in two."""
    body, ends = packet[20:], (packet[12:16], packet[16:20])
    parts = [ipv4(part, fragment=flags, ends=ends) for part, flags in ((body[:16], 0x2000), (body[16:], 2))]
    return [part[:4] + packet[4:6] + part[6:] for part in parts]


def quoted(packet: bytes) -> list[bytes]:
    """A packet, and an ICMP error of a router that quotes all of it."""
    error = struct.pack(">BBHI", 11, 0, 0, 0) + packet
    return [packet, ipv4(error, protocol=1, ends=(SERVER, packet[12:16]))]


def over_ipv6(packet: bytes) -> list[bytes]:
    """The same segment over IPv6."""
    new = ipv6(packet[20:])
    ends = [b"\x20\x01\x0d\xb8" + bytes(8) + packet[at : at + 4] for at in (12, 16)]
    return [new[:8] + ends[0] + ends[1] + packet[20:]]


AROUND: dict[str, Callable[[bytes], list[bytes]]] = {
    "fragments": in_fragments,
    "quotes": quoted,
    "IPv6": over_ipv6,
    **{name: lambda packet, wrap=wrap: [wrap(packet)] for name, wrap in TUNNELS.items()},  # type: ignore[misc]
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_nothing_around_a_handshake_tells_who_it_was(around: Callable[[bytes], list[bytes]]) -> None:
    """Out of fragments, tunnels, quotes and IPv6 come neither addresses nor names, outer ones included."""
    new = [part for packet in PACKETS for part in around(packet)]
    capture = pcap([ethernet(ip, ethertype=0x0800 if ip[0] >> 4 == 4 else 0x86DD) for ip in new])
    content = anonymized(capture)
    outer = {ip[12:16] + ip[16:20] if ip[0] >> 4 == 4 else ip[8:24] for ip in new}
    assert_gone(content, [*ENDS, *SNI, *outer, b"\x20\x01\x0d\xb8"])


# -- inside of it -------------------------------------------------------------------------------------------------


def certificate() -> tuple[bytes, bytes]:
    """A certificate that names hosts, addresses, a mailbox, a person and two services, and a stapled OCSP response."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name.from_rfc4514_string("CN=hidden-person,O=hidden-org")
    names = [
        x509.DNSName("www.hidden-host.example"), x509.RFC822Name("a@hidden-mail.example"), x509.DirectoryName(name),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in ADDRESSES),
        x509.UniformResourceIdentifier("https://hidden-host.example/x"),
    ]  # fmt: skip
    services = x509.AccessDescription(
        x509.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://hidden-ocsp.example")
    )
    point = x509.DistributionPoint([x509.UniformResourceIdentifier("http://hidden-crl.example/c")], None, None, None)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7, NOON - ONE_DAY, NOON + ONE_DAY)
    for extension in (
        x509.SubjectAlternativeName(names), x509.AuthorityInformationAccess([services]),
        x509.CRLDistributionPoints([point]),
    ):  # fmt: skip
        builder = builder.add_extension(extension, critical=False)
    one = builder.sign(key, hashes.SHA256())
    answer = ocsp.OCSPResponseBuilder().add_response(
        one, one, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOON, NOON + ONE_DAY, None, None
    )  # fmt: skip
    staple = answer.responder_id(ocsp.OCSPResponderEncoding.NAME, one).certificates([one]).sign(key, hashes.SHA256())
    der = serialization.Encoding.DER
    return one.public_bytes(der), staple.public_bytes(der)


DER, STAPLE = certificate()


def test_nothing_inside_of_a_handshake_tells_who_it_was() -> None:
    """Names and addresses of certificates, staples, the outer hello of ECH are gone; the protocols offered are left."""
    name = vector(2, b"\0", vector(2, b"www." + OUTER))
    protocols = vector(2, vector(1, b"h2"), vector(1, b"http/1.1"))
    outer = b"\0" + u16s(1, 1) + b"\x07" + vector(2, bytes(32)) + vector(2, INNER * 4)
    client = record(22, message(1, hello_body((0, name), (16, protocols), (5, b"\1\0\0\0\0"), (0xFE0D, outer))))
    flight = (
        message(2, server_body((5, b""))), message(11, vector(3, vector(3, DER))),
        message(22, b"\1" + vector(3, STAPLE)), message(14),
    )  # fmt: skip
    server = record(22, b"".join(flight))
    capture = turns.capture([(0, client), (1, server), (0, record(21, b"\x02\x2a"))], port=443)
    marks = [*NAMES, OUTER, INNER, *PACKED, CLIENT, SERVER]
    assert all(mark in capture for mark in marks)
    content = anonymized(capture)
    assert_gone(content, marks)
    assert vector(1, b"h2") + vector(1, b"http/1.1") in content


def test_ssl2_tells_no_name_either() -> None:
    """In SSL 2.0 the certificate stands inside of the SERVER-HELLO, and session and challenge are noise."""
    marks = {"challenge": b"a challenge mark", "session": b"the session mark"}
    client, server = ssl2_bytes.client_hello(**marks), ssl2_bytes.server_hello(certificate=DER)
    said = [(0, client), (1, server), (0, ssl2_bytes.master_key()), (1, ssl2_bytes.error(2))]
    content = anonymized(turns.capture(said, port=443))
    assert_gone(content, [*NAMES, *PACKED, *marks.values(), ssl2_bytes.CONNECTION, CLIENT, SERVER])


DIRECTORY = x509.Name.from_rfc4514_string("O=hidden-org").public_bytes()
AUTHORITIES = b"\1" + b"the hash of some key" + b"\2" + vector(2, DIRECTORY)
STRUCTURED: dict[str, tuple[int, bytes, bytes]] = {  # its code, what it holds, and the bytes that stay
    "status_request_v2": (17, vector(2, b"\2" + vector(2, vector(2), vector(2))), b"\0\7\2\0\4\0\0\0\0"),
    "trusted_ca_keys": (3, vector(2, AUTHORITIES), vector(2, AUTHORITIES)[:3]),
    "use_srtp": (14, vector(2, u16s(1, 7)) + vector(1, b"MKI"), vector(2, u16s(1, 7)) + b"\3"),
    "connection_id": (54, vector(1, b"some id"), b"\7"),
    "cert_type": (9, vector(1, b"\0\1"), b"\2\0\1"),
}


@pytest.mark.parametrize(("code", "content", "stays"), STRUCTURED.values(), ids=STRUCTURED)
def test_extensions_keep_their_structure(code: int, content: bytes, stays: bytes) -> None:
    """Lengths and kinds inside of an extension stay, so that every reader takes it for well-formed."""
    body = hello_body((code, content))
    new = messages.message(1, body, messages.Choice(), Pseudonyms(bytes(32)))
    start = body.index(content)
    assert new[start : start + len(stays)] == stays
    assert_gone(new, [b"the hash of some key", b"hidden-org", b"MKI", b"some id"])
