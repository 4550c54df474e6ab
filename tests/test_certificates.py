"""Certificates as facts: good ones, odd ones, hostile bytes, and other people's."""

import datetime
import ipaddress
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from handshake_bytes import REFERENCE, clear_messages, tcp_streams
from hypothesis import given, settings
from hypothesis import strategies as st
from openssl_bytes import START, key

from tlspcap.tls import der
from tlspcap.tls.certificates import Facts, describe
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.messages import parse

END = START + datetime.timedelta(days=90)
SANS = (
    x509.DNSName("a-b.example"),
    x509.DNSName("*.example.com"),
    x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
    x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
    x509.RFC822Name("a@example.com"),
    x509.UniformResourceIdentifier("https://example.com/"),
)


def build(
    common_name: str | None = "service.example",
    sans: tuple[x509.GeneralName, ...] = SANS,
    ca: bool | None = None,
    signer: object = None,
    issuer: str = "Example CA",
    serial: int = 0x1267,
) -> bytes:
    """Return a certificate, DER."""
    private = signer or key("EC")
    parts = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Example, Inc.")]
    parts += [x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else []
    issued_by = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    builder = x509.CertificateBuilder().subject_name(x509.Name(parts)).issuer_name(issued_by).serial_number(serial)
    builder = builder.public_key(private.public_key()).not_valid_before(START).not_valid_after(END)
    if sans:
        builder = builder.add_extension(x509.SubjectAlternativeName(sans), critical=False)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    digest = None if isinstance(private, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(private, digest).public_bytes(serialization.Encoding.DER)


def patched(old: bytes, new: bytes, certificate: bytes | None = None) -> bytes:
    """Return a certificate with bytes of equal length replaced."""
    certificate = certificate or build()
    assert len(old) == len(new)
    assert old in certificate
    return certificate.replace(old, new)


def test_a_good_certificate_gives_every_fact():
    """Names, serial, validity, key, signature and constraints come out as they went in, times in UTC."""
    facts = describe(build(ca=False))
    assert facts.subject == "CN=service.example,O=Example\\, Inc."
    assert facts.issuer == "CN=Example CA"
    assert facts.serial == "1267"
    assert facts.san == (
        "a-b.example", "*.example.com", "192.0.2.1", "2001:db8::1", "a@example.com", "https://example.com/",
    )  # fmt: skip
    assert (facts.not_before, facts.not_after) == (START, END)
    assert (facts.key_type, facts.key_bits, facts.signature_algorithm) == ("EC", 256, "ecdsa-with-SHA256")
    assert (facts.self_signed, facts.is_ca, facts.trouble) == (False, False, None)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: key("RSA"), ("RSA", 2048, "sha256WithRSAEncryption")),
        (lambda: rsa.generate_private_key(65537, 1024), ("RSA", 1024, "sha256WithRSAEncryption")),
        (lambda: ec.generate_private_key(ec.SECP384R1()), ("EC", 384, "ecdsa-with-SHA256")),
        (lambda: ed25519.Ed25519PrivateKey.generate(), ("Ed25519", None, "Ed25519")),
        (lambda: dsa.generate_private_key(1024), ("DSA", 1024, "dsa-with-sha256")),
    ],
)
def test_kinds_of_keys(make, expected):
    """Key type, size and signature algorithm follow from the key; types of one size have none."""
    facts = describe(build(signer=make()))
    assert (facts.key_type, facts.key_bits, facts.signature_algorithm) == expected


def test_self_signed_is_told_by_name():
    """Equal issuer and subject read self-signed, whoever signed."""
    parts = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    builder = x509.CertificateBuilder().subject_name(parts).issuer_name(parts).public_key(key("EC").public_key())
    builder = builder.serial_number(1).not_valid_before(START).not_valid_after(END)
    facts = describe(builder.sign(key("RSA"), hashes.SHA256()).public_bytes(serialization.Encoding.DER))
    assert (facts.self_signed, facts.serial) == (True, "01")


@pytest.mark.parametrize(("ca", "expected"), [(True, True), (False, False), (None, False)])
def test_basic_constraints(ca, expected):
    """A CA says so in its basic constraints; without them it is none."""
    assert describe(build(ca=ca)).is_ca is expected


def test_no_common_name_and_no_alternative_names():
    """A certificate without CN and SAN is described by what it has, and said to name nobody unless it is a CA's."""
    facts = describe(build(common_name=None, sans=()))
    assert (facts.subject, facts.san) == ("O=Example\\, Inc.", ())
    assert "names nobody" in (facts.trouble or "")
    assert describe(build(common_name=None, sans=(), ca=True)).trouble is None


def test_nul_in_an_alternative_name_is_kept():
    """A NUL within a name, an old way to deceive clients, stays where it is."""
    assert describe(patched(b"a-b.example", b"a\0b.example")).san[0] == "a\0b.example"


def test_nul_in_a_common_name_is_kept():
    """A NUL in the subject is shown as RFC 4514 escapes it."""
    assert "CN=service\\00example" in (describe(patched(b"service.example", b"service\0example")).subject or "")


def test_dates_before_1970():
    """UTCTime of 1950 to 1969 is read as such (RFC 5280 4.1.2.5.1)."""
    assert describe(patched(b"260101000000Z", b"550101000000Z")).not_before == datetime.datetime(
        1955, 1, 1, tzinfo=datetime.UTC
    )


def test_a_date_that_does_not_exist_costs_itself_only():
    """A 30th of February is unknown, says so, and leaves the other facts alone."""
    facts = describe(patched(b"260101000000Z", b"260230000000Z"))
    assert (facts.not_before, facts.not_after, facts.serial) == (None, END, "1267")
    assert facts.san[0] == "a-b.example"
    assert facts.trouble


def test_a_negative_serial():
    """A negative serial, forbidden and met, is shown with its sign and warns nobody."""
    assert describe(patched(b"\x02\x02\x12\x67", b"\x02\x02\xf2\x67")).serial == "-0d99"


def test_unknown_algorithms_read_as_numbers():
    """Key and signature algorithms without a name here read as dotted numbers; the rest is unharmed."""
    unknown_key = patched(bytes.fromhex("2a8648ce3d0201"), bytes.fromhex("2a8648ce3d0263"))
    unknown_signature = patched(bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a8648ce3d040363"))
    assert describe(unknown_key).key_type == "1.2.840.10045.2.99"
    assert describe(unknown_key).key_bits is None
    assert describe(unknown_signature).signature_algorithm == "1.2.840.10045.4.3.99"
    assert describe(unknown_signature).subject == describe(build()).subject


def test_a_default_written_out_hides_no_names():
    """A false cA flag written out, which DER forbids and real CAs have sent, costs neither SAN nor the flag."""
    sound = build(ca=True)
    facts = describe(patched(bytes.fromhex("30030101ff"), bytes.fromhex("3003010100"), sound))
    assert facts.san[:2] == ("a-b.example", "*.example.com")
    assert facts.is_ca is False
    assert "san" in (facts.trouble or "")


@pytest.mark.parametrize("data", [b"", b"\x30", b"\x30\x03\x02\x01\x05", b"\x30\x80\0\0", bytes(1000), b"GET /"])
def test_bytes_that_are_no_certificate(data):
    """What is no certificate has a hash and a trouble and nothing else."""
    facts = describe(data)
    assert facts.trouble
    assert facts == Facts(facts.sha256, trouble=facts.trouble)


@settings(deadline=None)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=8),
    cut=st.integers(0, 30),
)
def test_mutated_certificates_never_raise(changes, cut):
    """Whatever bytes are changed or cut off, facts come back, and both readers keep to their errors."""
    data = bytearray(build())
    for at, byte in changes:
        data[at % len(data)] = byte
    data = data[: len(data) - cut]
    assert isinstance(describe(bytes(data)), Facts)
    assert lenient(bytes(data)) is None or describe(bytes(data)).sha256


def lenient(data: bytes) -> dict[str, object] | None:
    """Return what the lenient reader says of a certificate, None where it is malformed."""
    try:
        bones = der.skeleton(data)
        return {
            "subject": der.name(bones.subject),
            "issuer": der.name(bones.issuer),
            "san": der.alternative_names(bones.extensions.get("2.5.29.17", b"")),
            "not_before": der.time(bones.not_before),
            "not_after": der.time(bones.not_after),
            "is_ca": der.is_ca(bones.extensions.get("2.5.29.19", b"")),
        }
    except Malformed:
        return None


@given(data=st.binary(max_size=200))
def test_the_lenient_reader_raises_malformed_and_nothing_else(data):
    """Random bytes are read or raise Malformed, in every part of the lenient reader."""
    for read in (lenient, der.time):
        read(data)
    for read in (der.elements, der.name, der.alternative_names, der.is_ca, der.skeleton):
        try:
            read(data)
        except Malformed:
            continue


# a common name has at most 64 bytes
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=16)


@settings(max_examples=40, deadline=None)
@given(common_name=NAMES, issuer=NAMES, serial=st.integers(1, 2**159 - 1))
def test_both_readers_agree_on_good_certificates(common_name, issuer, serial):
    """On a certificate without fault the lenient reader says what the strict one says, escapes included."""
    data = build(common_name=common_name, issuer=issuer, serial=serial)
    strict, loose = describe(data), lenient(data)
    assert strict.trouble is None
    assert loose is not None
    assert loose == {name: getattr(strict, name) for name in loose}


def test_times_of_both_kinds():
    """UTCTime without seconds and with an offset, GeneralizedTime, and what is no time."""
    assert der.time(b"2601010000Z") == START
    assert der.time(b"260101020000+0200") == START
    assert der.time(b"20260101000000Z") == START
    assert [der.time(each) for each in (b"", b"26", b"261301000000Z", b"00010101000000+2300")] == [None] * 4


def test_ten_thousand_alternative_names():
    """A certificate with 10,000 names is read in full by both readers."""
    names = tuple(f"host{number}.example" for number in range(10_000))
    data = build(sans=tuple(x509.DNSName(each) for each in names))
    assert describe(data).san == names
    assert (lenient(data) or {})["san"] == names


def test_certificates_of_the_reference_captures():
    """Each certificate in the reference captures is described, those without fault alike by both readers."""
    if not (REFERENCE / "captures").exists():
        pytest.skip("no reference captures beside the project")
    found = {each for path in sorted((REFERENCE / "captures").glob("*.pcap*")) for each in certificates_in(path)}
    assert len(found) > 80
    for certificate in found:
        facts, loose = describe(certificate), lenient(certificate)
        assert None not in (facts.subject, facts.issuer, facts.not_before, facts.not_after, facts.key_type, facts.is_ca)
        assert loose == {name: getattr(facts, name) for name in loose or ()}


def certificates_in(path) -> list[bytes]:
    """Return the certificates of a capture whose messages are sound."""
    found: list[bytes] = []
    for stream in tcp_streams(path).values():
        for code, body in clear_messages(stream):
            if code == 11 and int.from_bytes(body[:3]) == len(body) - 3:
                found += parse(code, body).certificates
    return found


def test_cryptography_is_imported_when_first_needed():
    """Importing the module does not import the heavy library behind it."""
    program = "import sys, tlspcap.tls.certificates; assert 'cryptography' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_rarer_alternative_names():
    """Directory names, registered identifiers and other names are shown by what identifies them; IP ranges are not."""
    inner = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "inner")])
    kinds = (
        x509.DirectoryName(inner),
        x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        x509.OtherName(x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3"), b"\x0c\x01u"),
    )
    data = build(sans=kinds)
    assert describe(data).san == ("CN=inner", "1.2.3.4", "otherName 1.3.6.1.4.1.311.20.2.3")
    assert (lenient(data) or {})["san"] == ("CN=inner",)


def test_incomplete_structures_are_malformed():
    """A name without its value, an algorithm without its identifier and an extension without content are refused."""
    lonely = bytes.fromhex("3105 3003 06 01 2a")
    with pytest.raises(Malformed):
        der.name(lonely)
    good = build(sans=())
    with pytest.raises(Malformed):
        der.skeleton(good.replace(bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("04082a8648ce3d040302")))
