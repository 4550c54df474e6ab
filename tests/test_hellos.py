"""ClientHello and ServerHello: RFC layouts, what is offered and chosen, drafts, odd contents."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tls_bytes import RANDOM, hello_body, server_body, u16s, vector

from tlspcap.tls import messages as m
from tlspcap.tls.hellos import RETRY_RANDOM

TLS11, TLS12, TLS13 = 0x0302, 0x0303, 0x0304


def client(*extensions: tuple[int, bytes], **others: object) -> m.ClientHello:
    """Return a parsed ClientHello."""
    return m.ClientHello.parse(hello_body(*extensions, **others))  # type: ignore[arg-type]


def test_client_hello_fields_in_order():
    """Every field of a ClientHello is read as RFC 5246 7.4.1.2 orders them."""
    hello = client(suites=u16s(0x1A1A, 0x1301, 0x00FF))
    assert (hello.legacy_version, hello.random, hello.session_id) == (TLS12, RANDOM, b"id")
    assert hello.cipher_suites == (0x1A1A, 0x1301, 0x00FF)
    assert hello.compression_methods == b"\0"
    assert hello.secure_renegotiation


@given(
    extensions=st.lists(st.tuples(st.sampled_from([0, 10, 13, 16, 43, 51]), st.binary(max_size=9)), max_size=4),
    damage=st.lists(st.tuples(st.integers(0, 90), st.integers(0, 255)), max_size=2),
    cut=st.integers(0, 4),
    behind=st.binary(max_size=2),
    version=st.sampled_from([TLS12, 0x7F12]),
)
def test_a_hello_reads_at_once_as_field_by_field(extensions, damage, cut, behind, version):
    """Whatever is wrong with a hello, the reading of the usual form comes to the same as that of any form."""
    for kind, body in ((m.ClientHello, hello_body), (m.ServerHello, server_body)):
        content = bytearray(body(*extensions, version=version) + behind)
        for place, value in damage:
            content[place % len(content)] = value
        content = bytes(content[: len(content) - cut])
        told = []
        for read in (kind.parse, kind._parse_any, kind.parse):
            try:
                told.append(read(content))
            except m.Malformed as trouble:
                told.append(str(trouble))
        assert told[0] == told[1] == told[2]


def test_client_hello_without_extensions():
    """A hello may end after the compression methods, as in SSL 3.0; it offers its own version and nothing more."""
    hello = m.ClientHello.parse(hello_body(version=0x0300)[:-2])
    assert hello.extensions.raw == ()
    assert (hello.server_name, hello.alpn, hello.groups, hello.key_share_groups) == (None, (), (), ())
    assert (hello.offered_versions, hello.offered_version_max) == ((0x0300,), 0x0300)
    assert not any([hello.psk_offered, hello.early_data, hello.ech, hello.secure_renegotiation])


def test_offers_are_read_without_grease():
    """Versions come highest first, other lists in order, and GREASE only shows in the raw lists (RFC 8701)."""
    hello = client(
        (0x2A2A, b""),
        (0, vector(2, b"\0" + vector(2, b"a.example"))),
        (10, vector(2, u16s(0x3A3A, 4588, 29))),
        (13, vector(2, u16s(0x0403, 0x4A4A, 0x0804))),
        (16, vector(2, vector(1, b"\x5a\x5a"), vector(1, b"h2"), vector(1, b"http/1.1"))),
        (43, vector(1, u16s(0x6A6A, TLS12, TLS13, 0x7F1C))),
        (51, vector(2, u16s(0x3A3A), vector(2, b"\0"), u16s(4588), vector(2, bytes(1216)))),
    )
    assert hello.server_name == "a.example"
    assert hello.groups == (4588, 29)
    assert hello.signature_schemes == (0x0403, 0x0804)
    assert hello.alpn == ("h2", "http/1.1")
    assert hello.offered_versions == (TLS13, 0x7F1C, TLS12)
    assert hello.offered_version_max == TLS13
    assert hello.key_share_groups == (4588,)
    assert hello.extensions.codes[0] == 0x2A2A
    assert hello.malformed_extensions == ()


@pytest.mark.parametrize(
    ("code", "attribute"),
    [
        (5, "status_request"),
        (15, "heartbeat"),
        (22, "encrypt_then_mac"),
        (23, "extended_master_secret"),
        (41, "psk_offered"),
        (42, "early_data"),
        (65037, "ech"),
        (65281, "secure_renegotiation"),
    ],
)
def test_offers_that_are_flags(code, attribute):
    """The mere presence of these extensions is the offer."""
    assert getattr(client((code, b"")), attribute) is True
    assert getattr(client(), attribute) is False


def test_session_ticket_absent_empty_or_sent():
    """No extension, a request for a ticket, and a ticket to resume with are told apart (RFC 5077 3.2)."""
    assert [client(*each).session_ticket for each in ([], [(35, b"")], [(35, b"tick")])] == [None, b"", b"tick"]


def test_hostile_server_names_are_kept_as_text():
    """Control characters and NUL stay in the string, other bytes become escapes, and nothing raises."""
    hello = client((0, vector(2, b"\0" + vector(2, b"a\x00\x1b[31m\xff<b>"))))
    assert hello.server_name == "a\x00\x1b[31m\\xff<b>"


def test_only_grease_versions_fall_back_on_the_hello():
    """A list that holds nothing but GREASE offers nothing; the highest version is then the hello's own."""
    hello = client((43, vector(1, u16s(0x6A6A))))
    assert (hello.offered_versions, hello.offered_version_max) == ((), TLS12)


def test_an_odd_extension_does_not_hide_the_hello():
    """A hello with a broken ALPN extension still gives its name, and says which extension is broken."""
    hello = client((16, b"\xff\xff"), (0, vector(2, b"\0" + vector(2, b"a.example"))))
    assert (hello.alpn, hello.server_name, hello.malformed_extensions) == ((), "a.example", (16,))


def test_bytes_behind_a_hello_are_kept_apart():
    """Bytes after the extensions are kept as trailing and change nothing else."""
    assert m.ClientHello.parse(hello_body() + b"xy").trailing == b"xy"
    assert m.ServerHello.parse(server_body() + b"xy").trailing == b"xy"


def test_key_shares_of_drafts():
    """Up to draft 22 of TLS 1.3 key_share had the number 40."""
    share = u16s(29) + vector(2, bytes(32))
    assert client((40, vector(2, share))).key_share_groups == (29,)
    assert m.ServerHello.parse(server_body((40, share))).key_share_group == 29


def test_server_hello_version_is_the_selected_one():
    """supported_versions decides; without it, or where it is broken, legacy_version (RFC 8446 4.2.1)."""
    bodies = server_body((43, u16s(0x7F17))), server_body(), server_body((43, b"\x03"), version=TLS11)
    assert [m.ServerHello.parse(body).version for body in bodies] == [0x7F17, TLS12, TLS11]


def test_hello_retry_request_is_told_by_its_random():
    """A ServerHello with the random of RFC 8446 4.1.3 is a HelloRetryRequest and names the group it asks for."""
    assert hashlib.sha256(b"HelloRetryRequest").digest() == RETRY_RANDOM
    retry = m.ServerHello.parse(server_body((43, u16s(TLS13)), (51, u16s(24)), random=RETRY_RANDOM))
    assert (retry.is_retry, retry.key_share_group, retry.version) == (True, 24, TLS13)
    assert not m.ServerHello.parse(server_body()).is_retry


def test_server_hello_and_retry_of_early_drafts():
    """Up to draft 21 a ServerHello had no session id and no compression, and the retry a type of its own (6)."""
    extensions = vector(2, u16s(40), vector(2, u16s(29)))
    hello = m.parse(2, u16s(0x7F12) + RANDOM + u16s(0x1301) + extensions)
    assert (hello.version, hello.cipher_suite, hello.key_share_group) == (0x7F12, 0x1301, 29)
    for suites in (b"", u16s(0x1301)):  # with the cipher suite since draft 19
        retry = m.parse(6, u16s(0x7F12) + suites + extensions)
        assert (retry.is_retry, retry.key_share_group, retry.version) == (True, 29, 0x7F12)


@pytest.mark.parametrize(
    ("code", "content", "attribute", "value"),
    [
        (5, b"", "status_request", True),
        (16, vector(2, vector(1, b"h2")), "alpn", "h2"),
        (22, b"", "encrypt_then_mac", True),
        (23, b"", "extended_master_secret", True),
        (35, b"", "session_ticket", True),
        (41, b"\0\0", "psk_selected", True),
        (65281, b"\0", "secure_renegotiation", True),
    ],
)
def test_what_a_server_agrees_to(code, content, attribute, value):
    """The server's extensions are its choices; without them there are none."""
    assert getattr(m.ServerHello.parse(server_body((code, content))), attribute) == value
    assert not getattr(m.ServerHello.parse(server_body()), attribute)
