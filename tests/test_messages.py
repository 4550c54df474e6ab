"""Handshake messages: RFC layouts, real stacks, other people's captures."""

import csv
import hashlib
import ssl
from collections.abc import Iterator

import pytest
from handshake_bytes import REFERENCE, clear_messages, tcp_streams
from openssl_bytes import client_context, client_hello, exchange
from tls_bytes import u16s, vector

from tlspcap.tls import messages as m
from tlspcap.tls import names
from tlspcap.tls.ciphers import suite

TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304


def test_certificates_of_both_forms():
    """The chain comes in the order sent, in TLS 1.3 with the context and each certificate's extensions."""
    staple = vector(2, u16s(5) + vector(2, b"ocsp"))
    old = m.parse(11, vector(3, vector(3, b"leaf"), vector(3, b"issuer")), TLS12)
    new = m.parse(11, vector(1, b"ctx") + vector(3, vector(3, b"leaf"), staple, vector(3, b"issuer"), vector(2)), TLS13)
    assert old.certificates == new.certificates == (b"leaf", b"issuer")
    assert (old.context, new.context) == (b"", b"ctx")
    assert (old.ocsp_stapled, new.ocsp_stapled) == (False, True)


def test_an_empty_certificate_is_a_client_without_one():
    """No certificates at all is what a client without a certificate sends (RFC 5246 7.4.6, RFC 8446 4.4.2)."""
    assert m.parse(11, vector(3), TLS12).certificates == ()
    assert m.parse(11, vector(1) + vector(3), TLS13).certificates == ()


def test_a_raw_public_key_is_no_chain():
    """A SubjectPublicKeyInfo in place of the list (RFC 7250 3) is kept and not taken for certificates."""
    info = b"\x30\x59" + bytes(89)
    assert m.parse(11, vector(3, info), TLS12) == m.Certificate(b"", (), raw_public_key=info)


def test_compressed_certificates_stay_compressed():
    """A compressed certificate (RFC 8879) is kept with the sizes it claims."""
    body = u16s(2) + (9000).to_bytes(3) + vector(3, b"brotli")
    assert m.parse(25, body) == m.CompressedCertificate(2, 9000, b"brotli")


def test_server_key_exchange_by_suite():
    """The suite decides how the parameters are read: named curve, DH prime, PSK hint before them, or nothing."""
    curve = b"\3" + u16s(29) + vector(1, b"point")
    prime = vector(2, b"\0\x80" + bytes(127)) + vector(2, b"\2") + vector(2, b"public")
    signed, hint = u16s(0x0804) + vector(2, b"signature"), vector(2, b"hint")
    parsed = {
        "ECDHE": m.parse(12, curve + signed, TLS12, suite(0xC02F)),
        "ECDHE, no scheme before TLS 1.2": m.parse(12, curve + vector(2, b"signature"), TLS11, suite(0xC013)),
        "anonymous": m.parse(12, curve, TLS12, suite(0xC018)),
        "DHE": m.parse(12, prime + signed, TLS12, suite(0x0033)),
        "ECDHE_PSK": m.parse(12, hint + curve, TLS12, suite(0xCCAC)),
        "DHE_PSK": m.parse(12, hint + prime, TLS12, suite(0x00AA)),
        "explicit curve": m.parse(12, b"\1" + b"parameters", TLS12, suite(0xC02F)),
        "SRP": m.parse(12, b"anything", TLS12, suite(0xC01D)),
        "suite unknown": m.parse(12, b"anything", TLS12, None),
    }
    assert parsed == {
        "ECDHE": m.ServerKeyExchange(29, None, b"point", 0x0804),
        "ECDHE, no scheme before TLS 1.2": m.ServerKeyExchange(29, None, b"point"),
        "anonymous": m.ServerKeyExchange(29, None, b"point"),
        "DHE": m.ServerKeyExchange(None, 1024, b"public", 0x0804),
        "ECDHE_PSK": m.ServerKeyExchange(29, None, b"point"),
        "DHE_PSK": m.ServerKeyExchange(None, 1024, b"public"),
        "explicit curve": m.ServerKeyExchange(0xFF01),
        "SRP": m.ServerKeyExchange(),
        "suite unknown": m.ServerKeyExchange(),
    }


def test_certificate_requests_of_three_forms():
    """Types and names since SSL 3.0, schemes since TLS 1.2, extensions instead of them since TLS 1.3."""
    types, schemes, authorities = vector(1, b"\1\x40"), vector(2, u16s(0x0403)), vector(2, vector(2, b"name"))
    extensions = vector(2, u16s(13), vector(2, schemes), u16s(47), vector(2, authorities))
    old = m.parse(13, types + authorities, TLS10)
    middle = m.parse(13, types + schemes + authorities, TLS12)
    new = m.parse(13, vector(1, b"ctx") + extensions, TLS13)
    assert (old.certificate_types, old.signature_schemes, old.authorities) == ((1, 64), (), (b"name",))
    assert (middle.certificate_types, middle.signature_schemes, middle.authorities) == ((1, 64), (0x0403,), (b"name",))
    assert (new.context, new.signature_schemes, new.authorities) == (b"ctx", (0x0403,), (b"name",))


def test_the_other_messages():
    """Tickets, signatures, staples, key updates and the empty messages are read; unknown types are kept."""
    ticket13 = bytes.fromhex("00000e10 00000007") + vector(1, b"n") + vector(2, b"tick") + vector(2)
    encrypted = vector(2, u16s(16), vector(2, vector(2, vector(1, b"h2"))), u16s(42, 0))
    assert m.parse(4, bytes.fromhex("00000e10") + vector(2, b"tick"), TLS12) == m.NewSessionTicket(
        3600, None, b"", b"tick"
    )
    assert m.parse(4, ticket13, TLS13) == m.NewSessionTicket(3600, 7, b"n", b"tick")
    assert (m.parse(8, encrypted).alpn, m.parse(8, encrypted).early_data) == ("h2", True)
    assert m.parse(15, u16s(0x0804) + vector(2, b"sig"), TLS12) == m.CertificateVerify(0x0804, b"sig")
    assert m.parse(15, vector(2, b"sig"), TLS11) == m.CertificateVerify(None, b"sig")
    assert m.parse(22, b"\1" + vector(3, b"ocsp")) == m.CertificateStatus(1, b"ocsp")
    assert m.parse(22, b"\1") == m.CertificateStatus(1, b"")
    assert m.parse(24, b"\1") == m.KeyUpdate(1)
    assert [m.parse(code, b"") for code in (0, 5, 14)] == [m.HelloRequest(), m.EndOfEarlyData(), m.ServerHelloDone()]
    assert m.parse(16, b"abc") == m.ClientKeyExchange(b"abc")
    assert m.parse(20, b"abc") == m.Finished(b"abc")
    assert m.parse(99, b"abc") == m.Unknown(99, b"abc")


# Real stacks


def test_openssl_client_hello_offers_what_its_context_was_told():
    """The hello of a real OpenSSL client shows the name, protocols, versions and suites it was configured with."""
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    hello = m.ClientHello.parse(client_hello(context))
    offered = {int(each["id"]) & 0xFFFF for each in context.get_ciphers()}
    assert hello.server_name == "www.example.com"
    assert hello.alpn == ("h2", "http/1.1")
    assert hello.offered_versions == (TLS13, TLS12)
    assert set(hello.cipher_suites) - {0x00FF} == offered
    assert set(hello.key_share_groups) <= set(hello.groups)
    assert hello.session_ticket == b""
    assert hello.malformed_extensions == ()


@pytest.mark.parametrize(
    ("version", "ciphers", "kind"),
    [
        (ssl.TLSVersion.TLSv1_3, None, "EC"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", "EC"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", "RSA"),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA", "RSA"),
        (ssl.TLSVersion.TLSv1_1, "ECDHE:@SECLEVEL=0", "RSA"),
        (ssl.TLSVersion.TLSv1, "ECDHE:@SECLEVEL=0", "EC"),
    ],
)
def test_a_real_handshake_is_read_message_by_message(version, ciphers, kind):
    """What OpenSSL's server sends in clear gives version, certificate, group and scheme of the handshake it made."""
    sent = clear_messages(bytes(exchange(version, ciphers, kind).server))
    hello = m.parse(*sent[0])
    chosen = suite(hello.cipher_suite)
    rest = [m.parse(code, body, hello.version, chosen) for code, body in sent[1:]]
    assert hello.version == version
    if version == ssl.TLSVersion.TLSv1_3:
        assert hello.key_share_group in (23, 29)
        return
    assert rest[0].certificates == (sent[1][1][6:],)  # one certificate, behind two lengths
    exchanges = [each for each in rest if isinstance(each, m.ServerKeyExchange)]
    assert [each.group in (23, 29) for each in exchanges] == ([True] if chosen.key_exchange == "ECDHE" else [])
    assert all((each.signature_scheme is not None) == (hello.version == TLS12) for each in exchanges)
    assert m.ServerHelloDone() in rest


# Captures that nobody here made


def expected_rows() -> Iterator[dict[str, str]]:
    """Yield the rows of the reference captures, or skip."""
    if not (REFERENCE / "expected.csv").exists():
        pytest.skip("no reference captures beside the project")
    with (REFERENCE / "expected.csv").open() as file:
        yield from csv.DictReader(file)


def short(version: int) -> str:
    """Return a version as the reference table writes it."""
    name = names.version_name(version)
    return name.replace("1.3 draft ", "1.3-draft").replace("1.3 fb", "1.3-fb").replace(" ", "v")


def first_hello(messages: list[tuple[int, bytes]]) -> m.ClientHello | None:
    """Return the first ClientHello."""
    return next((m.ClientHello.parse(body) for code, body in messages if code == 1), None)


def answer(messages: list[tuple[int, bytes]]) -> m.ServerHello | None:
    """Return the first ServerHello that is no HelloRetryRequest."""
    hellos = (m.ServerHello.parse(body) for code, body in messages if code == 2)
    return next((hello for hello in hellos if not hello.is_retry), None)


def read_chain(messages: list[tuple[int, bytes]], version: int) -> str:
    """Return the SHA-256 of each certificate of one side."""
    chains = (m.parse(code, body, version) for code, body in messages if code == 11)
    return ";".join(hashlib.sha256(der).hexdigest() for chain in chains for der in chain.certificates)


def read_group(hello: m.ServerHello, messages: list[tuple[int, bytes]]) -> str:
    """Return the name of the group of the key exchange."""
    group = hello.key_share_group
    for code, body in messages:
        if code == 12:
            group = m.parse(12, body, hello.version, suite(hello.cipher_suite)).group
    return "" if group is None else names.group_name(group)


# its Certificate was overwritten on purpose
BROKEN_CHAIN = {"zeek-tls1.2-protocol-violation.pcap"}


def test_reference_captures_read_as_other_tools_read_them():
    """On captures with plain links every field of both hellos, chain and group equals what tshark and Zeek say."""
    wrong, compared = [], 0
    for row in expected_rows():
        streams = tcp_streams(REFERENCE / "captures" / row["capture"])
        ends = (row["client_ip"], int(row["client_port"]), row["server_ip"], int(row["server_port"]))
        from_client = clear_messages(streams.get(ends, b""))
        from_server = clear_messages(streams.get(ends[2:] + ends[:2], b""))
        found = {}
        if offer := first_hello(from_client):
            found |= {"sni": offer.server_name or "", "client_max_version": short(offer.offered_version_max)}
        if choice := answer(from_server):
            found |= {
                "negotiated_version": short(choice.version),
                "cipher": names.cipher_name(choice.cipher_suite),
                "alpn_selected": choice.alpn or "",
                "group": read_group(choice, from_server),
            }
            if row["capture"] not in BROKEN_CHAIN:
                found["server_cert_sha256"] = read_chain(from_server, choice.version) or row["server_cert_sha256"]
        wrong += [(row["capture"], field, value, row[field]) for field, value in found.items() if value != row[field]]
        compared += len(found)
    assert wrong == []
    assert compared > 400
