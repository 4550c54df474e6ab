"""What scapy builds is read back; what scapy and dpkt read is what is read here, where they are right."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import dpkt.ssl
import pytest
import scapy_builds
from conversation import ALERT, CLIENT, HANDSHAKE, SERVER, START, Talk, message, record
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scapy_builds import TLS12, TLS13, Built
from scapy_tls import layers
from tls_bytes import RANDOM, hello_body, server_body, u16s, vector

from tlspcap.tls import messages as m
from tlspcap.tls.ciphers import suite
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.records import MessageJoiner, RecordReader
from tlspcap.transport import Data

pytest.importorskip("scapy", reason="scapy is not installed")
few = settings() if settings.default.max_examples > 100 else settings(max_examples=40)  # scapy takes its time


def read(built: Built) -> Any:
    """Read a message by the library."""
    return m.parse(built.code, built.body, built.version, suite(built.suite))


def said(found: Any, attributes: Sequence[str]) -> dict[str, Any]:
    """Return what a message says; `raw` are its extensions as they are on the wire."""
    return {name: found.extensions.raw if name == "raw" else getattr(found, name) for name in attributes}


STRATEGIES = {
    "client_hello": scapy_builds.client_hellos(),
    "server_hello": scapy_builds.server_hellos(),
    "hello_retry_request": scapy_builds.retries(),
    "certificate": scapy_builds.certificates(),
    "certificate_request": scapy_builds.certificate_requests(),
    "server_key_exchange": scapy_builds.server_key_exchanges(),
    "new_session_ticket": scapy_builds.tickets(),
    "the others": scapy_builds.small_messages(),
}


@pytest.mark.parametrize("kind", STRATEGIES)
def test_what_scapy_builds_is_read_back(kind: str) -> None:
    """Every field and extension that is read gives back what scapy was told to write, and nothing else is found."""

    @few
    @given(built=STRATEGIES[kind])
    def run(built: Built) -> None:
        assert said(read(built), list(built.expected)) == built.expected

    run()


# Fed in one piece and byte by byte


def packets(stream: bytes, size: int) -> list[Data]:
    """Cut a stream into packets of a size."""
    return [
        Data(0, number, START + number, at, stream[at : at + size], 0, number, 0)
        for number, at in enumerate(range(0, len(stream), size), start=1)
    ]


def joined(stream: bytes, size: int) -> list[tuple[int, bytes]]:
    """Return the messages of a stream that comes in packets of a size."""
    reader, joiner = RecordReader(), MessageJoiner()
    records = [found for one in packets(stream, size) for found in reader.feed(one)]
    return [(raw.code, raw.body) for one in records for raw in joiner.feed(one)]


@few
@given(
    built=st.lists(scapy_builds.messages(), min_size=1, max_size=5),
    sizes=st.lists(st.integers(1, 400), min_size=1, max_size=6),
)
def test_messages_are_the_same_in_one_piece_and_byte_by_byte(built: list[Built], sizes: list[int]) -> None:
    """Scapy's messages, in records of any size, come out whole and alike however many bytes arrive at a time."""
    content, stream, size = b"".join(bytes(one.packet) for one in built), b"", itertools.cycle(sizes)
    while content:
        cut = next(size)
        stream, content = stream + record(HANDSHAKE, content[:cut]), content[cut:]
    found = joined(stream, len(stream))
    assert found == joined(stream, 1) == [(one.code, one.body) for one in built]
    for one, (code, body) in zip(built, found, strict=True):
        assert m.parse(code, body, one.version, suite(one.suite)) == read(one)


RECORDS = st.lists(
    st.sampled_from(["alert", "change_cipher_spec", "application_data", "handshake"]), min_size=1, max_size=6
)  # fmt: skip


@few
@given(kinds=RECORDS, level=st.integers(0, 255), code=st.integers(0, 255), version=st.sampled_from([0x0301, 0x0303]))
def test_records_that_scapy_builds(kinds: list[str], level: int, code: int, version: int) -> None:
    """Type, version, length and content of scapy's records are read back, in one piece and byte by byte."""
    tls = layers()
    contents = {
        "alert": (21, tls.TLSAlert(level=level, descr=code), bytes([level, code])),
        "change_cipher_spec": (20, tls.TLSChangeCipherSpec(), b"\1"),
        "application_data": (23, tls.TLSApplicationData(data=b"data"), b""),  # not kept: nobody reads it
        "handshake": (22, tls.TLSServerHelloDone(), b"\x0e\0\0\0"),
    }
    stream = b"".join(bytes(tls.TLS(version=version, type=contents[k][0], msg=[contents[k][1]])) for k in kinds)
    for size in (len(stream), 1):
        reader = RecordReader()
        found = [one for data in packets(stream, size) for one in reader.feed(data)]
        assert [(one.content_type, one.version) for one in found] == [(contents[k][0], version) for k in kinds]
        assert [one.fragment for one in found] == [contents[k][2] for k in kinds]
        assert [one.length for one in found] == [len(bytes(contents[k][1])) for k in kinds]


@few
@given(level=st.integers(1, 2), code=st.integers(0, 255))
def test_alerts_that_scapy_builds(level: int, code: int) -> None:
    """An alert behind both hellos is noted with the level and description that scapy was told to write."""
    tls = layers()
    alert = bytes(tls.TLS(version=TLS12, type=ALERT, msg=[tls.TLSAlert(level=level, descr=code)]))
    talk = Talk().says(CLIENT, record(HANDSHAKE, message(1, hello_body())))
    talk.says(SERVER, record(HANDSHAKE, message(2, server_body())), alert)
    (noted,) = talk.account().alerts
    assert (noted.level, noted.code) == (level, code)


# Scapy's own reading


def extension_values(extensions: list[Any] | None) -> dict[int, Any]:
    """Return what scapy read from extensions, in the words of the library's attributes."""
    readers = {
        0: lambda ext: ("server_name", scapy_builds.text(ext.servernames[0].servername)),
        10: lambda ext: ("groups", (*ext.groups,)),
        11: lambda ext: ("point_formats", (*ext.ecpl,)),
        13: lambda ext: ("signature_schemes", (*ext.sig_algs,)),
        16: lambda ext: ("alpn", tuple(scapy_builds.text(name.protocol) for name in ext.protocols)),
        35: lambda ext: ("session_ticket", ext.ticket),
        51: lambda ext: ("key_share_groups", tuple(share.group for share in ext.client_shares)),
    }
    return dict(readers[ext.type](ext) for ext in extensions or () if ext.type in readers)


def scapys(layer: Any, built: Built) -> Any:
    """Read a message by scapy, which fails on a key share of a curve that it knows and cannot make keys of."""
    try:
        return layer(bytes(built.packet))
    except AttributeError:
        reject()


@few
@given(built=scapy_builds.client_hellos())
def test_client_hellos_as_scapy_reads_them(built: Built) -> None:
    """Scapy's own reading of a ClientHello's bytes is ours, field by field and extension by extension."""
    theirs, ours = scapys(layers().TLSClientHello, built), read(built)
    assert (theirs.version, theirs.sid) == (ours.legacy_version, ours.session_id)
    assert theirs.gmt_unix_time.to_bytes(4) + theirs.random_bytes == ours.random
    assert ((*theirs.ciphers,), bytes(theirs.comp)) == (ours.cipher_suites, ours.compression_methods)
    assert [(ext.type, ext.len) for ext in theirs.ext or ()] == [(c, len(data)) for c, data in ours.extensions.raw]
    values = extension_values(theirs.ext)
    assert said(ours, list(values)) == values


@few
@given(built=scapy_builds.server_hellos())
def test_server_hellos_as_scapy_reads_them(built: Built) -> None:
    """Scapy's own reading of a ServerHello's bytes is ours."""
    theirs, ours = scapys(layers().TLSServerHello, built), read(built)
    assert (theirs.version, theirs.sid, theirs.cipher) == (ours.legacy_version, ours.session_id, ours.cipher_suite)
    assert [(ext.type, ext.len) for ext in theirs.ext or ()] == [(c, len(data)) for c, data in ours.extensions.raw]


# dpkt's own reading


def dpkts(built: Built) -> Any:
    """Read a message by dpkt."""
    return dpkt.ssl.TLSHandshake(bytes(built.packet)).data


@few
@given(built=scapy_builds.client_hellos())
def test_client_hellos_as_dpkt_reads_them(built: Built) -> None:
    """Dpkt's own reading of a ClientHello is ours."""
    theirs, ours = dpkts(built), read(built)
    assert (theirs.version, theirs.random, theirs.session_id) == (ours.legacy_version, ours.random, ours.session_id)
    assert tuple(each.code for each in theirs.ciphersuites) == ours.cipher_suites
    assert bytes(theirs.compression_methods) == ours.compression_methods
    assert tuple(getattr(theirs, "extensions", ())) == ours.extensions.raw


@few
@given(built=scapy_builds.server_hellos())
def test_server_hellos_as_dpkt_reads_them(built: Built) -> None:
    """Dpkt's own reading of a ServerHello is ours."""
    theirs, ours = dpkts(built), read(built)
    assert (theirs.version, theirs.random, theirs.session_id) == (ours.legacy_version, ours.random, ours.session_id)
    assert (theirs.ciphersuite.code, theirs.compression_method) == (ours.cipher_suite, ours.compression_method)
    assert tuple(getattr(theirs, "extensions", ())) == ours.extensions.raw


@few
@given(built=scapy_builds.certificates().filter(lambda built: built.version == TLS12))
def test_certificates_as_dpkt_reads_them(built: Built) -> None:
    """Dpkt's own reading of a chain, up to TLS 1.2, is ours."""
    assert tuple(dpkts(built).certificates) == read(built).certificates


# Where they are wrong


class Wrong(NamedTuple):
    """Bytes that scapy or dpkt misreads: what it makes of them, and what they say by the RFC."""

    rfc: str
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    right: Any


def dpkt_message(code: int, body: bytes) -> Any:
    """Read a message by dpkt."""
    return dpkt.ssl.TLSHandshake(message(code, body)).data


CUT_HELLO = hello_body((16, b"abcdef"))[:-2]  # an extension that says it has six bytes, and four behind it
CHAIN13 = vector(1) + vector(3, vector(3, b"leaf"), vector(2))
BARE_KEY = b"\x30\x59" + bytes(89)
DRAFT = u16s(0x7F12) + RANDOM + u16s(0x1301) + vector(2, u16s(40), vector(2, u16s(29)))
REQUEST10 = vector(1, b"\1\x40") + vector(2, vector(2, b"name"))
CUT_CHAIN = message(11, vector(3, vector(3, bytes(20))))
WRONG = {
    "dpkt knows no EncryptedExtensions": Wrong(
        "RFC 8446 4.3.1", lambda: dpkt_message(8, vector(2)), lambda: m.parse(8, vector(2)).extensions.raw, ()
    ),
    "dpkt knows no CertificateStatus": Wrong(
        "RFC 6066 8", lambda: dpkt_message(22, b"\1\0\0\0"), lambda: m.parse(22, b"\1\0\0\0").response, b""
    ),
    "dpkt reads a chain of TLS 1.3 as one of TLS 1.2": Wrong(
        "RFC 8446 4.4.2",
        lambda: tuple(dpkt_message(11, CHAIN13).certificates),
        lambda: m.parse(11, CHAIN13, TLS13).certificates,
        (b"leaf",),
    ),
    "dpkt takes an extension that is cut short": Wrong(
        "RFC 8446 4.2", lambda: dpkt_message(1, CUT_HELLO).extensions, lambda: m.parse(1, CUT_HELLO), Malformed
    ),
    "dpkt reads no record of version 0x0304": Wrong(
        "RFC 8446 5.1",
        lambda: [(one.type, one.length) for one in dpkt.ssl.tls_multi_factory(record(22, b"\x0e\0\0\0", 0x0304))[0]],
        lambda: record_sizes(record(22, b"\x0e\0\0\0", 0x0304)),
        [(22, 4)],
    ),
    "dpkt joins no message of two records": Wrong(
        "RFC 8446 5.1",
        lambda: [dpkt.ssl.TLSHandshake(one.data).type for one in dpkt.ssl.tls_multi_factory(in_two_records())[0]],
        lambda: [code for code, _ in joined(in_two_records(), 1000)],
        [11],
    ),
    "scapy joins no message of two records": Wrong(
        "RFC 8446 5.1",
        lambda: [len(bytes(one)) for one in layers().TLS(in_two_records()).msg],
        lambda: [4 + len(body) for _, body in joined(in_two_records(), 1000)],
        [len(CUT_CHAIN)],
    ),
    "scapy fails at a certificate that is no X.509": Wrong(
        "RFC 5246 7.4.2",
        lambda: layers().TLSCertificate(message(11, vector(3, vector(3, b"nonsense")))).certs,
        lambda: m.parse(11, vector(3, vector(3, b"nonsense")), TLS12).certificates,
        (b"nonsense",),
    ),
    "scapy fails at a raw public key": Wrong(
        "RFC 7250 3",
        lambda: layers().TLSCertificate(message(11, vector(3, BARE_KEY))).certs,
        lambda: m.parse(11, vector(3, BARE_KEY), TLS12).raw_public_key,
        BARE_KEY,
    ),
    "scapy fails at a ServerHello of an early draft": Wrong(
        "draft-ietf-tls-tls13-18 4.1.3",
        lambda: layers().TLSServerHello(message(2, DRAFT)).cipher,
        lambda: m.parse(2, DRAFT).cipher_suite,
        0x1301,
    ),
    "scapy fails at a CertificateRequest before TLS 1.2 when nothing tells it the version": Wrong(
        "RFC 4346 7.4.4",
        lambda: tuple(name for _, name in layers().TLSCertificateRequest(message(13, REQUEST10)).certauth),
        lambda: m.parse(13, REQUEST10, 0x0302).authorities,
        (b"name",),
    ),
    "scapy takes an extension that is cut short": Wrong(
        "RFC 8446 4.2",
        lambda: [ext.type for ext in layers().TLSClientHello(message(1, CUT_HELLO)).ext],
        lambda: m.parse(1, CUT_HELLO),
        Malformed,
    ),
}


def in_two_records() -> bytes:
    """Return a Certificate in two records."""
    return record(HANDSHAKE, CUT_CHAIN[:10]) + record(HANDSHAKE, CUT_CHAIN[10:])


def record_sizes(stream: bytes) -> list[tuple[int, int]]:
    """Return type and length of each record."""
    (data,) = packets(stream, len(stream))
    return [(one.content_type, one.length) for one in RecordReader().feed(data)]


def outcome(reading: Callable[[], Any]) -> Any:
    """Return what a reading gives, or the class of what it raises."""
    try:
        return reading()
    except Exception as error:
        return type(error)


@pytest.mark.parametrize("case", WRONG)
def test_where_they_are_wrong_the_rfc_decides(case: str) -> None:
    """Bytes that scapy or dpkt misreads are read as the RFC has them; a case that they mend may go from the list."""
    wrong = WRONG[case]
    assert outcome(wrong.ours) == wrong.right, wrong.rfc
    assert outcome(wrong.theirs) != wrong.right, "it is right by now: take the case out"
