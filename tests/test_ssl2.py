"""SSL 2.0, and the hello in its form with which SSL 3.0 and TLS may begin: byte by byte, and by order and length."""

import contextlib
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise

import pytest
import scapy_tls
import ssl2_bytes as old
from conversation import CLIENT, SERVER, Talk, follow
from conversation import record as tls_record
from hypothesis import given
from hypothesis import strategies as st
from openssl_bytes import certificate, key
from ssl2_bytes import DES3, FINISHED, RC4, REQUEST_CERTIFICATE, SERVER_VERIFY, client_hello, sealed, server_hello
from test_outcome import alert, flight12, full12
from turns import Turn, capture

import tlspcap
from tlspcap.tls import ssl2
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.fingerprints import ja3_text, ja4_r
from tlspcap.tls.hellos import ClientHello
from tlspcap.tls.verdict import Mechanism, Outcome, Party, Phase
from tlspcap.transport import Data
from tlspcap.wire.hello import begins_hello, may_begin_hello

COMPATIBLE = client_hello(0x002F, DES3, 0x0004, version=0x0303)  # RFC 5246 E.2
OPENING: list[Turn] = [(CLIENT, client_hello())]


def turns_of(talk: Talk) -> list[Turn]:
    """The turns of a conversation, for a capture of it."""
    return [(event.side, event.payload) for event in talk.events if isinstance(event, Data)]


def read(talk: Talk, size: int = 1400) -> tlspcap.Capture:
    """Read a capture of a conversation."""
    return tlspcap.read(BytesIO(capture(turns_of(talk), size=size, port=443)))


# -- messages -----------------------------------------------------------------------------------------------------


def test_a_client_hello_reads_in_the_fields_of_later_ones() -> None:
    """Kinds of cipher keep their three bytes; the challenge ends a random of 32 bytes (RFC 5246 E.2)."""
    hello = ssl2.parse(client_hello(0x002F, DES3, version=0x0301, session=old.SESSION)[2:])
    assert isinstance(hello, ClientHello)
    assert (hello.legacy_version, hello.cipher_suites, hello.session_id) == (0x0301, (0x002F, DES3), old.SESSION)
    assert hello.random == bytes(16) + old.CHALLENGE
    assert hello.extensions.raw == ()


def test_versions_offered_by_a_hello_of_the_old_form() -> None:
    """One that lists a cipher of SSL 2.0 offers that protocol too; one that lists none does not."""
    hellos = [client_hello(0x002F, DES3, version=0x0301), client_hello(0x002F, version=0x0301), client_hello(DES3)]
    assert [ssl2.parse(hello[2:]).offered_versions for hello in hellos] == [(0x0301, 2), (0x0301,), (2,)]


@pytest.mark.parametrize("bytes_", [client_hello(), server_hello(), old.master_key(), old.error(1)])
def test_no_part_of_a_message_is_one(bytes_: bytes) -> None:
    """A message that is cut short anywhere, or has a byte more, is Malformed."""
    content = bytes_[2:]
    ssl2.parse(content)
    for odd in [*(content[:end] for end in range(len(content))), content + b"\0"]:
        with pytest.raises(Malformed):
            ssl2.parse(odd)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_or_malformed(content: bytes) -> None:
    """Nothing else is raised, whatever the bytes."""
    with contextlib.suppress(Malformed):
        ssl2.parse(content)


@given(
    st.lists(st.sampled_from([DES3, RC4, 0x002F, 0x00FF, 0x020080]), min_size=1, max_size=40),
    st.sampled_from([0x0002, 0x0300, 0x0303]),
    st.binary(min_size=16, max_size=32),
)
def test_a_client_hello_reads_as_scapy_builds_it(ciphers: list[int], version: int, challenge: bytes) -> None:
    """What scapy builds is what was put in; a session id it puts before the ciphers, SSL 2.0 2.5 behind them."""
    built = scapy_tls.ssl2_client_hello(ciphers, version, challenge)
    hello = ssl2.parse(built)
    assert isinstance(hello, ClientHello)
    assert (hello.legacy_version, list(hello.cipher_suites)) == (version, ciphers)
    assert hello.random[-len(challenge) :] == challenge
    assert ssl2.hello_type(old.record(built)) == 1


def test_a_server_hello_and_a_master_key_read_as_scapy_builds_them() -> None:
    """What scapy builds is what was put in."""
    der = certificate(key("RSA"))
    hello = ssl2.parse(scapy_tls.ssl2_server_hello(der, [DES3, RC4], old.CONNECTION))
    assert hello == ssl2.ServerHello(False, 1, 2, der, (DES3, RC4), old.CONNECTION)
    master = ssl2.parse(scapy_tls.ssl2_master_key(RC4, b"clear", bytes(128), b"argument"))
    assert master == ssl2.ClientMasterKey(RC4, b"clear", bytes(128), b"argument")


def test_fingerprints_take_the_kinds_of_cipher_as_they_are() -> None:
    """Three bytes make one number of JA3, and six digits of JA4; there are no extensions."""
    hello = ssl2.parse(client_hello(DES3, 0x002F, RC4)[2:])
    assert isinstance(hello, ClientHello)
    assert ja3_text(hello) == "2,458944-47-65664,,,"
    assert ja4_r(hello) == "ts2i030000_002f,010080,0700c0_"


# -- what begins one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bytes_", "kind"),
    [
        (client_hello(), 1),
        (COMPATIBLE, 1),
        (client_hello(session=old.SESSION, challenge=bytes(32)), 1),
        (server_hello(), 2),
        (server_hello(hit=True), 2),
        (client_hello(version=0x0304), 0),  # TLS 1.3 may not begin so (RFC 8446 D.5)
        (client_hello(session=b"short"), 0),
        (client_hello(challenge=bytes(15)), 0),
        (client_hello(challenge=bytes(33)), 0),
        (server_hello(certificate=b""), 0),
        (old.master_key(), 0),
        (old.error(1), 0),
        (b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x11" + bytes(40), 0),  # lengths that do not add up
        (sealed(40), 0),
    ],
)
def test_a_hello_is_told_by_its_lengths(bytes_: bytes, kind: int) -> None:
    """Type, version and lengths must all fit; both rooms that look for hellos agree."""
    assert ssl2.hello_type(bytes_) == kind
    assert begins_hello(bytes_[:13]) == bool(kind)
    needed = 13 if kind == 2 else 11
    for length in range(1, needed if kind else 0):
        assert ssl2.may_begin_hello(bytes_[:length])
        assert may_begin_hello(bytes_[:length])
        assert not ssl2.hello_type(bytes_[:length])


def test_no_hello_of_the_old_form_is_taken_behind_something_unknown() -> None:
    """In mid-stream the same bytes are data: no handshake begins there."""
    assert len(tlspcap.read(BytesIO(capture(OPENING))).handshakes) == 1
    for before in (b"GARBAGE\r\n", bytes(range(200))):
        assert tlspcap.read(BytesIO(capture([(CLIENT, before), *OPENING]))).handshakes.empty


def test_a_hello_of_the_old_form_may_follow_a_request_for_tls() -> None:
    """Old clients sent it behind STARTTLS, too."""
    dialogue = [(SERVER, b"220 mx ESMTP\r\n"), (CLIENT, b"EHLO a\r\n"), (SERVER, b"250 STARTTLS\r\n")]
    turns = [*dialogue, (CLIENT, b"STARTTLS\r\n"), (SERVER, b"220 go\r\n"), *OPENING]
    for size in (1400, 1):
        row = tlspcap.read(BytesIO(capture(turns, size=size))).handshakes.iloc[0]
        assert (row["starttls"], row["offered_version_max"]) == ("smtp", "SSL 2.0")


# -- a whole handshake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1400, 7, 1])
def test_a_full_handshake(size: int) -> None:
    """Hellos, certificate and cipher are seen in clear; order and length of what is sealed establish it: probable."""
    talk = old.full().says(CLIENT, sealed(100)).says(SERVER, sealed(200))
    found = read(talk, size)
    row = found.handshakes.iloc[0]
    assert (row["outcome"], row["certainty"], row["completeness"]) == ("established", "probable", "complete")
    assert (row["offered_versions"], row["negotiated_version"]) == ("SSL 2.0", "SSL 2.0")
    assert (row["cipher"], row["cipher_code"]) == ("SSL_CK_DES_192_EDE3_CBC_WITH_MD5", DES3)
    assert (row["resumption"], row["client_auth"], row["history"]) == ("none", "hidden", "CsG")
    assert row["chain_bytes"] == len(old.CERTIFICATE)
    assert not row["forward_secrecy"]
    assert row[["group", "ja3s", "sni", "alpn"]].isna().all()
    said = found.messages[["sender", "message", "record_version"]].values.tolist()
    assert [(sender, message) for sender, message, _ in said] == [
        ("client", "client_hello"), ("server", "server_hello"), ("client", "client_master_key"), ("server", "sealed"),
        ("client", "sealed"), ("server", "sealed"), ("client", "application_data"), ("server", "application_data"),
    ]  # fmt: skip
    assert {version for *_, version in said} == {"SSL 2.0"}
    assert found.records["content_type"].isna().all()
    assert found.records["sealed"].tolist() == [False] * 3 + [True] * 5
    assert found.notes.query("kind != 'odd_certificate'").empty


@pytest.mark.parametrize("size", [1400, 1])
def test_a_session_that_is_taken_up(size: int) -> None:
    """The server says so in its hello; no cipher is named, since the client need not choose one."""
    row = read(old.resumed(), size).handshakes.iloc[0]
    assert (row["outcome"], row["resumption"], row["resumed"]) == ("established", "session_id", True)
    assert row[["cipher", "cipher_code", "chain_sha256"]].isna().all()


def test_a_session_that_is_declined() -> None:
    """The client offered one, and the server's hello brings a certificate all the same."""
    talk = Talk().says(CLIENT, client_hello(session=old.SESSION)).says(SERVER, server_hello())
    assert read(talk).handshakes["resumption"].tolist() == ["declined"]


def test_client_authentication_is_followed() -> None:
    """REQUEST-CERTIFICATE is told from SERVER-FINISHED by one byte of length, which padding cannot hide."""
    talk = old.hellos().says(SERVER, sealed(SERVER_VERIFY), sealed(REQUEST_CERTIFICATE)).says(CLIENT, sealed(FINISHED))
    assert talk.verdict().outcome is Outcome.UNKNOWN
    account = talk.says(CLIENT, sealed(600)).says(SERVER, sealed(FINISHED)).account()
    assert account.server.steps == ["server_hello", "server_verify", "request_certificate", "server_finished"]
    assert account.client.steps == ["client_hello", "client_master_key", "client_finished", "client_certificate"]
    assert talk.verdict().outcome is Outcome.ESTABLISHED
    assert not account.oddities


def test_stream_ciphers_need_no_padding() -> None:
    """With RC4 every record has the short header, and the lengths tell the same."""
    talk = Talk().says(CLIENT, client_hello()).says(SERVER, server_hello()).says(CLIENT, old.master_key(RC4))
    talk.says(CLIENT, sealed(FINISHED, 1)).says(SERVER, sealed(SERVER_VERIFY, 1), sealed(FINISHED, 1))
    row = read(talk).handshakes.iloc[0]
    assert (row["outcome"], row["cipher"]) == ("established", "SSL_CK_RC4_128_WITH_MD5")


FAILURES: dict[str, tuple[Callable[[], Talk], str, Mechanism, Party, Phase]] = {
    "no cipher in common": (
        lambda: Talk().says(CLIENT, client_hello()).says(SERVER, server_hello()).says(CLIENT, old.error(1)),
        "ssl2_error", Mechanism.ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE),
    "refused by the server": (
        lambda: Talk().says(CLIENT, client_hello()).says(SERVER, old.error(1)),
        "ssl2_error", Mechanism.ALERT, Party.SERVER, Phase.CLIENT_HELLO),
    "a sealed error, and the end": (
        lambda: old.hellos().says(CLIENT, sealed(FINISHED)).says(SERVER, sealed(old.ERROR)).closes(SERVER),
        "ssl2_sealed_error", Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.FINISHED),
    "a close behind the key": (
        lambda: old.hellos().closes(SERVER), "ended_early", Mechanism.CLOSE, Party.SERVER, Phase.KEY_EXCHANGE),
    "a server that speaks TLS only": (
        lambda: Talk().says(CLIENT, client_hello()).says(SERVER, alert(2, 70)),
        "alert_in_clear", Mechanism.ALERT, Party.SERVER, Phase.CLIENT_HELLO),
    "a server that speaks something else": (
        lambda: Talk().says(CLIENT, client_hello()).says(SERVER, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "not_tls", Mechanism.NOT_TLS, Party.SERVER, Phase.CLIENT_HELLO),
    "a server that speaks something else in binary": (
        lambda: Talk().says(CLIENT, client_hello()).says(SERVER, bytes([0x80, 200, 9, 1])),
        "not_tls", Mechanism.NOT_TLS, Party.SERVER, Phase.CLIENT_HELLO),
}  # fmt: skip


@pytest.mark.parametrize("case", FAILURES)
def test_a_handshake_that_fails(case: str) -> None:
    """Each way to fail is told by its own rule, with who did it, how, and when."""
    talk, *expected = FAILURES[case]
    verdict = talk().verdict()
    assert verdict.outcome is Outcome.FAILED
    assert [verdict.rule, verdict.mechanism, verdict.side, verdict.phase] == expected


def test_an_error_is_named() -> None:
    """Its own name stands where alerts have theirs; its numbers are no alert's."""
    found = read(FAILURES["refused by the server"][0]())
    row, told = found.handshakes.iloc[0], found.alerts.iloc[0]
    assert (row["alert"], row["alert_code"]) == ("SSL_PE_NO_CIPHER", 1)
    assert (told["description"], told["code"], told["encrypted"]) == ("SSL_PE_NO_CIPHER", 1, False)
    sealed_error = read(FAILURES["a sealed error, and the end"][0]()).alerts.iloc[0]
    assert (sealed_error["encrypted"], sealed_error["inferred"]) == (True, True)


def test_without_the_client_hello_the_server_hello_makes_the_row() -> None:
    """The capture began behind it: who is who, version and cipher are known all the same."""
    turns = turns_of(old.full())[1:]
    for size in (1400, 1):
        row = tlspcap.read(BytesIO(capture(turns, size=size))).handshakes.iloc[0]
        assert (row["negotiated_version"], row["cipher_code"], row["server_port"]) == ("SSL 2.0", DES3, 25)
        assert row["outcome"] == "established"
        assert row[["offered_versions", "ja3", "ja4"]].isna().all()


def test_missing_bytes_are_unknown() -> None:
    """SSL 2.0 is not found again behind a gap: nothing is guessed."""
    talk = old.hellos().loses(SERVER, 43).says(CLIENT, sealed(FINISHED)).says(SERVER, sealed(FINISHED)).closes(CLIENT)
    assert talk.verdict().outcome is Outcome.UNKNOWN
    assert talk.verdict().rule == "bytes_missing"


# -- SSL 3.0 and TLS behind a hello of the old form ---------------------------------------------------------------


@pytest.mark.parametrize("size", [1400, 1])
def test_tls_goes_on_behind_a_hello_of_the_old_form(size: int) -> None:
    """The rest is read as TLS, and the offer is that of the hello."""
    talk = Talk().says(CLIENT, COMPATIBLE)
    for side, said in turns_of(full12())[1:]:
        talk.says(side, said)
    row = read(talk, size).handshakes.iloc[0]
    assert (row["offered_versions"], row["negotiated_version"]) == ("TLS 1.2,SSL 2.0", "TLS 1.2")
    assert (row["outcome"], row["certainty"]) == ("established", "certain")
    assert row["history"].startswith("Csxn")
    assert row["ja4"] == "t12i030000_" + row["ja4"].split("_")[1] + "_000000000000"


def test_a_refusal_behind_a_hello_of_the_old_form() -> None:
    """An alert of TLS is one."""
    verdict = Talk().says(CLIENT, COMPATIBLE).says(SERVER, flight12()).says(CLIENT, alert(2, 48)).verdict()
    assert (verdict.rule, verdict.alert, verdict.phase) == ("alert_in_clear", 48, Phase.SERVER_CERTIFICATE)


# -- whatever comes -----------------------------------------------------------------------------------------------

CHUNK = st.one_of(
    st.binary(min_size=1, max_size=60),
    st.sampled_from([server_hello(), old.master_key(), old.error(2), sealed(17), sealed(3), alert(2, 40), flight12()]),
    st.integers(1, 400).map(sealed),
)


@given(st.lists(st.tuples(st.integers(0, 1), CHUNK), max_size=12), st.lists(st.integers(1, 400), max_size=10))
def test_pieces_make_no_difference(turns: list[Turn], cuts: list[int]) -> None:
    """Whatever follows the hello, cut anywhere or byte by byte, leads to the same records, and to no exception."""
    whole, cut, bytewise = (Talk().says(CLIENT, client_hello()) for _ in range(3))
    for side, said in turns:
        whole.says(side, said)
        edges = sorted({0, len(said), *(edge for edge in cuts if edge < len(said))})
        for start, stop in pairwise(edges):
            cut.says(side, said[start:stop])
        for byte in said:
            bytewise.says(side, bytes([byte]))
    accounts = [follow(talk.conversation, talk.events) for talk in (whole, cut, bytewise)]
    seen = [[(r.record.content_type, r.record.length, r.sender, r.sealed) for r in a.records] for a in accounts]
    assert seen[0] == seen[1] == seen[2]
    assert len({"".join(letter for letter, _ in account.history) for account in accounts}) == 1


def test_long_transfers_keep_no_content() -> None:
    """Of records behind the handshake nothing is held but where they begin and end."""
    talk = old.full()
    for _ in range(40):
        talk.says(SERVER, sealed(16_000, 1))
    records = [seen.record for seen in talk.account().records]
    assert all(not record.fragment for record in records[-30:])
    assert len(records) > 40


def test_a_tls_record_behind_ssl2_is_no_tls() -> None:
    """Once both sides speak SSL 2.0, a byte that begins a record of TLS is a length."""
    account = old.hellos().says(SERVER, tls_record(21, b"\2\50") + bytes(6000)).account()
    assert account.is_ssl2
    assert not account.alerts
