"""The shapes a handshake may have, version by version: what each row says of it, from bytes put together by hand."""

from typing import Any

import pytest
from conversation import ALERT, CHANGE_CIPHER_SPEC, CLIENT, DATA, HANDSHAKE, SERVER, Talk, message, record
from openssl_bytes import certificate, key
from test_outcome import (
    FINISHED,
    FLIGHT13,
    TLS13_CHOICE,
    TLS13_OFFER,
    alert,
    ccs,
    finished12,
    flight12,
    full12,
    hello12,
    hello13,
    sealed,
    server_hello12,
    server_hello13,
)
from tls_bytes import RANDOM, u16s, vector

from tlspcap import rows
from tlspcap.rows import Row
from tlspcap.tls.hellos import RETRY_RANDOM
from tlspcap.tls.messages import CertificateStatus

HEARTBEAT = 24
END_OF_EARLY_DATA = 21
X25519, P256 = 29, 23
CLIENT_ID, SERVER_ID = bytes(range(32)), bytes(range(32, 64))
RSA_KEY_EXCHANGE, NULL_SHA256 = 0x009C, 0x003B
Extension = tuple[int, bytes]


def hello(
    *extensions: Extension, version: int = 0x0303, session: bytes = b"", suites: tuple[int, ...] = (0xC02F,)
) -> bytes:
    """A ClientHello."""
    block = b"".join(u16s(code) + vector(2, content) for code, content in extensions)
    body = u16s(version) + RANDOM + vector(1, session) + vector(2, u16s(*suites)) + vector(1, b"\0")
    return record(HANDSHAKE, message(1, body + vector(2, block)), 0x0301)


def choice(
    *extensions: Extension,
    version: int = 0x0303,
    session: bytes = b"",
    suite: int = 0xC02F,
    random: bytes = RANDOM,
    code: int = 2,
) -> bytes:
    """A ServerHello, or a HelloRetryRequest in its form."""
    block = b"".join(u16s(kind) + vector(2, content) for kind, content in extensions)
    middle = u16s(suite) if version >> 8 == 0x7F else vector(1, session) + u16s(suite) + b"\0"
    return record(HANDSHAKE, message(code, u16s(version) + random + middle + vector(2, block)), min(version, 0x0303))


def key_share(group: int = X25519, code: int = 51) -> Extension:
    """A server's key_share."""
    return code, u16s(group) + vector(2, bytes(32))


def psk(identity: int = 0) -> Extension:
    """A server's pre_shared_key."""
    return 41, u16s(identity)


OFFERED_PSK: Extension = (41, vector(2, vector(2, b"ticket"), bytes(4)) + vector(2, vector(1, bytes(32))))
EARLY_DATA: Extension = (42, b"")


def versions(*codes: int) -> Extension:
    """A client's supported_versions."""
    return 43, vector(1, u16s(*codes))


def done(talk: Talk) -> rows.Finished:
    """The handshake as it is judged at the end of the capture."""
    return rows.finish(talk.account(), talk.clock, 10 * 10**9, b"")


def row(talk: Talk) -> Row:
    """Its row."""
    return rows.handshake_row(done(talk))


def said(talk: Talk) -> list[tuple[str, str]]:
    """Its messages: who, what."""
    return [(each["sender"], each["message"]) for each in rows.message_rows(done(talk))]


def notes(talk: Talk) -> list[str]:
    """What was odd."""
    return [each["kind"] for each in rows.note_rows(done(talk))]


def only(found: Row, *columns: str) -> tuple[Any, ...]:
    """Some columns of a row."""
    return tuple(found[column] for column in columns)


def abbreviated(client: bytes, server: bytes, *ticket: bytes) -> Talk:
    """An abbreviated handshake up to TLS 1.2."""
    return Talk().says(CLIENT, client).says(SERVER, server, *ticket, finished12()).says(CLIENT, finished12())


def full(client: bytes, server: bytes, *more: bytes, answer: bytes = b"") -> Talk:
    """A full handshake up to TLS 1.2."""
    flight = message(11, vector(3, vector(3, b"leaf"))) + message(14)
    talk = Talk().says(CLIENT, client).says(SERVER, server, *more, record(HANDSHAKE, flight))
    talk.says(CLIENT, record(HANDSHAKE, answer + message(16, b"key")), finished12()).says(SERVER, finished12())
    return talk


def tls13(client: bytes, server: bytes, *answer: int) -> Talk:
    """A handshake of TLS 1.3: hellos, the server's flight, the client's answer, tickets."""
    talk = Talk().says(CLIENT, client).says(SERVER, server, ccs(), sealed(*FLIGHT13))
    return talk.says(CLIENT, ccs(), sealed(*(answer or (FINISHED,)))).says(SERVER, sealed(250))


# -- versions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0x0300, 0x0301, 0x0302, 0x0303])
def test_versions_before_tls13(version: int) -> None:
    """The ServerHello's version counts, whatever the hello offered and the records say."""
    found = row(full(hello(version=0x0303), choice(version=version, suite=0x002F)))
    name = "SSL 3.0" if version == 0x0300 else f"TLS 1.{version - 0x0301}"
    assert only(found, "offered_version_max", "negotiated_version", "outcome") == ("TLS 1.2", name, "established")


@pytest.mark.parametrize("draft", range(14, 29))
def test_drafts_of_tls13(draft: int) -> None:
    """Up to draft 21 the ServerHello has a form of its own, and up to 22 key_share another number."""
    code = 0x7F00 | draft
    share = key_share(code=40 if draft < 23 else 51)
    server = choice(share, version=code, suite=0x1301) if draft < 22 else choice((43, u16s(code)), share, suite=0x1301)
    found = row(tls13(hello(versions(0x0A0A, code, 0x0303)), server))
    name = f"TLS 1.3 draft {draft}"
    assert only(found, "offered_versions", "negotiated_version") == (f"{name},TLS 1.2", name)
    assert only(found, "cipher", "group", "outcome") == ("TLS_AES_128_GCM_SHA256", "x25519", "established")


@pytest.mark.parametrize(("code", "name"), [(0xFB17, "TLS 1.3 fb23"), (0x7E01, "0x7e01"), (0x7E02, "0x7e02")])
def test_experiments_with_tls13(code: int, name: str) -> None:
    """Facebook's and Chrome's experiments are followed as TLS 1.3, under their own names."""
    found = row(tls13(hello(versions(code, 0x0303)), choice((43, u16s(code)), key_share(), suite=0x1301)))
    assert only(found, "version", "outcome", "client_auth") == (name, "established", "hidden")


def test_a_retry_of_an_early_draft_has_a_type_of_its_own() -> None:
    """Up to draft 21 a HelloRetryRequest is message 6 (draft-ietf-tls-tls13-21 4.1.4)."""
    offer, retry = hello(versions(0x7F12)), record(HANDSHAKE, message(6, u16s(0x7F12) + vector(2, u16s(40, 2, P256))))
    talk = Talk().says(CLIENT, offer).says(SERVER, retry).says(CLIENT, offer)
    talk.says(SERVER, choice(key_share(P256, 40), version=0x7F12, suite=0x1301), sealed(*FLIGHT13))
    found = row(talk.says(CLIENT, sealed(FINISHED)).says(SERVER, sealed(250)))
    assert only(found, "hello_retry", "group", "history", "outcome") == (True, "secp256r1", "CjCs", "established")


def test_a_version_that_nobody_knows_stays_a_number() -> None:
    """Offered and chosen alike; the rules of TLS 1.2 apply, since nothing says otherwise."""
    found = row(full(hello(versions(0x0399, 0x0303)), choice((43, u16s(0x0399)))))
    assert only(found, "offered_versions", "negotiated_version") == ("0x0399,TLS 1.2", "0x0399")
    assert found["outcome"] == "established"


# -- resumption ---------------------------------------------------------------------------------------------------

TICKET: Extension = (35, b"ticket")
NO_TICKET: Extension = (35, b"")
NEW_TICKET = record(HANDSHAKE, message(4, bytes(4) + vector(2, b"new")))

SESSIONS = {
    "nothing offered": (full(hello(NO_TICKET), choice(session=SERVER_ID)), "none"),
    "session id accepted": (abbreviated(hello(session=CLIENT_ID), choice(session=CLIENT_ID)), "session_id"),
    "session id declined": (full(hello(session=CLIENT_ID), choice(session=SERVER_ID)), "declined"),
    "ticket accepted, no id": (abbreviated(hello(TICKET), choice()), "ticket"),
    "ticket accepted, the client's own id": (
        abbreviated(hello(TICKET, session=CLIENT_ID), choice(session=CLIENT_ID)), "ticket"),
    "ticket accepted and renewed": (abbreviated(hello(TICKET), choice(NO_TICKET), NEW_TICKET), "ticket"),
    "ticket declined": (full(hello(TICKET), choice(NO_TICKET)), "declined"),
    "ticket declined, its id repeated": (full(hello(TICKET, session=CLIENT_ID), choice(session=CLIENT_ID)), "declined"),
    "an id for middleboxes": (full(hello(TLS13_OFFER, session=CLIENT_ID), choice()), "none"),
    "psk accepted": (tls13(hello(TLS13_OFFER, OFFERED_PSK), choice(TLS13_CHOICE, key_share(), psk())), "psk"),
    "psk without a key exchange": (tls13(hello(TLS13_OFFER, OFFERED_PSK), choice(TLS13_CHOICE, psk())), "psk"),
    "psk declined": (tls13(hello(TLS13_OFFER, OFFERED_PSK), choice(TLS13_CHOICE, key_share())), "declined"),
    "psk answered with TLS 1.2": (full(hello(TLS13_OFFER, OFFERED_PSK), choice()), "none"),
    "an echo in TLS 1.3": (
        tls13(hello(TLS13_OFFER, session=CLIENT_ID), choice(TLS13_CHOICE, key_share(), session=CLIENT_ID)), "none"),
    "no answer": (Talk().says(CLIENT, hello(TICKET, session=CLIENT_ID)), "none"),
}  # fmt: skip


@pytest.mark.parametrize("case", SESSIONS)
def test_how_a_session_is_taken_up(case: str) -> None:
    """By id, ticket or PSK; offered in vain; or not offered at all (RFC 5246 7.3, RFC 5077 3.1, RFC 8446 2.2)."""
    talk, expected = SESSIONS[case]
    assert only(row(talk), "resumption", "resumed") == (expected, expected in ("session_id", "ticket", "psk"))
    assert not notes(talk)


def test_a_session_without_a_key_exchange_is_not_forward_secret() -> None:
    """A PSK alone (psk_ke, RFC 8446 4.2.9) protects nothing once it leaks; the group is NA."""
    found = row(SESSIONS["psk without a key exchange"][0])
    assert only(found, "forward_secrecy", "group") == (False, None)
    assert row(SESSIONS["psk accepted"][0])["forward_secrecy"]


# -- early data ---------------------------------------------------------------------------------------------------

ZERO_RTT = hello(TLS13_OFFER, EARLY_DATA, OFFERED_PSK)
ACCEPTING = choice(TLS13_CHOICE, key_share(), psk())
RETRY = choice(TLS13_CHOICE, (51, u16s(P256)), random=RETRY_RANDOM)


def zero_rtt(server: bytes, *answer: int) -> Talk:
    """Early data with the hello, then the rest."""
    talk = Talk().says(CLIENT, ZERO_RTT, ccs(), sealed(300)).says(SERVER, server, ccs(), sealed(*FLIGHT13))
    return talk.says(CLIENT, sealed(*answer)).says(SERVER, sealed(250))


EARLY = {
    "none": (tls13(hello13(), server_hello13()), "none"),
    "offered": (Talk().says(CLIENT, ZERO_RTT, sealed(300)), "offered"),
    "accepted": (zero_rtt(ACCEPTING, END_OF_EARLY_DATA, FINISHED), "accepted"),
    "accepted, more of it on the way": (zero_rtt(ACCEPTING, 400, END_OF_EARLY_DATA, FINISHED), "accepted"),
    "rejected by a retry": (Talk().says(CLIENT, ZERO_RTT, sealed(300)).says(SERVER, RETRY), "rejected"),
    "rejected with its PSK": (zero_rtt(choice(TLS13_CHOICE, key_share()), FINISHED), "rejected"),
    "rejected, another PSK taken": (zero_rtt(choice(TLS13_CHOICE, key_share(), psk(1)), FINISHED), "rejected"),
    "rejected by TLS 1.2": (full(ZERO_RTT, choice()), "rejected"),
    "rejected in EncryptedExtensions": (zero_rtt(ACCEPTING, FINISHED), "rejected"),
    "unknown": (zero_rtt(ACCEPTING, 2000), "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("case", EARLY)
def test_what_becomes_of_early_data(case: str) -> None:
    """Told by the hellos where these decide it, else by whether an EndOfEarlyData stands before the Finished."""
    talk, expected = EARLY[case]
    assert row(talk)["early_data"] == expected


@pytest.mark.parametrize("case", ["accepted", "rejected with its PSK", "rejected in EncryptedExtensions"])
def test_early_data_settles_nothing(case: str) -> None:
    """The outcome rests on what comes behind the server's flight."""
    talk = EARLY[case][0]
    assert row(talk)["outcome"] == "established"
    assert said(talk)[:4] == [
        ("client", "client_hello"), ("client", "change_cipher_spec"), ("client", "application_data"),
        ("server", "server_hello"),
    ]  # fmt: skip


def test_early_data_captured_behind_the_server_hello_is_no_answer_to_it() -> None:
    """A packet that acknowledges nothing of the ServerHello was sent before it was seen."""
    talk = Talk().says(CLIENT, ZERO_RTT).says(SERVER, choice(TLS13_CHOICE, key_share()), sealed(*FLIGHT13))
    talk.says(CLIENT, sealed(900, 400), acked=0).says(CLIENT, sealed(FINISHED)).says(SERVER, sealed(250))
    assert only(row(talk), "early_data", "outcome", "certainty") == ("rejected", "established", "certain")


# -- HelloRetryRequest --------------------------------------------------------------------------------------------


def test_a_retry_is_no_answer_yet() -> None:
    """The group is that of the ServerHello, the fingerprint that of the first hello (RFC 8446 4.1.4)."""
    first, second = hello(TLS13_OFFER), hello(TLS13_OFFER, (44, vector(2, b"cookie")))
    talk = Talk().says(CLIENT, first).says(SERVER, RETRY, ccs())
    assert only(row(talk), "hello_retry", "negotiated_version", "version") == (True, None, "TLS 1.3")
    answer = choice(TLS13_CHOICE, key_share(P256), suite=0x1301)
    talk.says(CLIENT, ccs(), second).says(SERVER, answer, sealed(*FLIGHT13))
    talk.says(CLIENT, sealed(FINISHED)).says(SERVER, sealed(250))
    found = row(talk)
    assert only(found, "hello_retry", "negotiated_version", "group") == (True, "TLS 1.3", "secp256r1")
    assert only(found, "history", "outcome", "ja4") == ("CjiICs", "established", row(tls13(first, RETRY))["ja4"])
    assert not notes(talk)


# -- false start, renegotiation, messages at odd times ------------------------------------------------------------


def test_data_before_the_servers_finished_is_a_false_start() -> None:
    """It establishes nothing by itself (RFC 7918 3); the server's Finished does, and its data is the first."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, flight12())
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12(), sealed(100))
    assert row(talk)["outcome"] == "unknown"
    found = row(talk.says(SERVER, finished12()).says(SERVER, sealed(500)))
    assert only(found, "outcome", "certainty", "first_data_ms") == ("established", "certain", 10.0)


def test_a_hello_request_may_come_at_any_time() -> None:
    """It moves nothing (RFC 5246 7.4.1.1): not before the ClientHello's answer, nor amid the server's flight."""
    request = record(HANDSHAKE, message(0))
    talk = Talk().says(CLIENT, hello12()).says(SERVER, request, flight12(), request)
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())
    assert only(row(talk), "outcome", "history") == ("established", "ChsxnhGIi")
    assert not notes(talk)


def test_a_sealed_renegotiation_is_part_of_the_same_connection() -> None:
    """Handshake records behind the Finished are sealed messages; they make no row and change nothing."""
    talk = full12().says(SERVER, record(HANDSHAKE, bytes(28)))  # HelloRequest
    talk.says(CLIENT, record(HANDSHAKE, bytes(220))).says(SERVER, record(HANDSHAKE, bytes(900)))
    talk.says(CLIENT, record(HANDSHAKE, bytes(90)), record(CHANGE_CIPHER_SPEC, bytes(25)), record(HANDSHAKE, bytes(40)))
    talk.says(SERVER, record(CHANGE_CIPHER_SPEC, bytes(25)), record(HANDSHAKE, bytes(40))).says(CLIENT, sealed(100))
    before, found = row(full12()), row(talk)
    same = ("outcome", "certainty", "reason", "history", "handshake_ms", "negotiated_version")
    assert only(found, *same) == only(before, *same)
    assert [name for _, name in said(talk)].count("sealed") == 2 + 5 + 1
    assert not notes(talk)


def test_a_renegotiation_that_is_declined_fails_nothing() -> None:
    """no_renegotiation is a warning, sealed as all is behind the Finished (RFC 5246 7.2.2)."""
    talk = full12().says(SERVER, record(HANDSHAKE, bytes(28))).says(CLIENT, record(ALERT, bytes(26)))
    talk.says(SERVER, sealed(100)).says(CLIENT, sealed(50))
    assert row(talk)["outcome"] == "established"


def null_cipher() -> Talk:
    """A full handshake under a NULL cipher, whose Finished can be read."""
    ended = record(HANDSHAKE, message(20, bytes(12)) + bytes(32))
    flight = message(11, vector(3, vector(3, b"leaf"))) + message(14)
    talk = Talk().says(CLIENT, hello(suites=(NULL_SHA256,))).says(SERVER, choice(suite=NULL_SHA256))
    talk.says(SERVER, record(HANDSHAKE, flight)).says(CLIENT, record(HANDSHAKE, message(16, b"key")), ccs(), ended)
    return talk.says(SERVER, ccs(), ended)


def test_a_renegotiation_in_clear_is_listed() -> None:
    """Under a NULL cipher its messages are rows of `messages`; the row stays that of the first handshake."""
    mac = bytes(32)
    again = hello(suites=(NULL_SHA256, 0xC02F))[5:]
    talk = null_cipher().says(SERVER, record(HANDSHAKE, message(0) + mac)).says(CLIENT, record(HANDSHAKE, again + mac))
    talk.says(SERVER, record(HANDSHAKE, choice(suite=0xC02F)[5:] + mac))
    assert said(talk)[-3:] == [("server", "hello_request"), ("client", "client_hello"), ("server", "server_hello")]
    before, found = row(null_cipher()), row(talk)
    same = ("outcome", "cipher", "history", "ja3", "ja4", "handshake_ms")
    assert only(found, *same) == only(before, *same)
    assert before["history"] == "CsxnGIFif"
    assert not notes(talk)


def test_key_updates_and_tickets_are_no_failures() -> None:
    """Post-handshake messages of TLS 1.3 are sealed records like any other (RFC 8446 4.6)."""
    talk = tls13(hello13(), server_hello13()).says(CLIENT, sealed(22, 300)).says(SERVER, sealed(22, 250, 700))
    assert only(row(talk), "outcome", "certainty") == ("established", "certain")
    assert not notes(talk)


# -- extensions and certificates of other kinds -------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"\0" + bytes(200), b"\1", b""])
def test_ech_is_offered(content: bytes) -> None:
    """Real or GREASE, outer or inner: nothing but the offer shows, and the name asked for is the outer one."""
    name = (0, vector(2, b"\0" + vector(2, b"outer.example")))
    found = row(tls13(hello(TLS13_OFFER, name, (65037, content)), server_hello13()))
    assert only(found, "ech_offered", "sni", "outcome") == (True, "outer.example", "established")
    assert not row(tls13(hello13(), server_hello13()))["ech_offered"]


def test_a_raw_public_key_makes_no_chain() -> None:
    """SubjectPublicKeyInfo stands where a chain would (RFC 7250 3): no certificate, and no fault."""
    info = b"\x30\x03\x30\x01\x00"
    raw = record(HANDSHAKE, message(11, vector(3, info)) + message(14))
    talk = Talk().says(CLIENT, hello((20, b"\1\2"))).says(SERVER, choice((20, b"\2")), raw)
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())
    assert only(row(talk), "chain_length", "certificate_sha256", "outcome") == (0, None, "established")
    assert not notes(talk)


def test_a_compressed_certificate_in_clear_is_named_and_left_packed() -> None:
    """RFC 8879 allows it in TLS 1.3 alone, where it is sealed; in clear it is a note, and nothing is unpacked."""
    packed = record(HANDSHAKE, message(25, u16s(2) + (1 << 23).to_bytes(3) + vector(3, bytes(50))) + message(14))
    talk = Talk().says(CLIENT, hello((27, b"\2\0\2"))).says(SERVER, choice(), packed)
    assert ("server", "compressed_certificate") in said(talk)
    assert notes(talk) == ["unexpected_message"]
    assert row(talk)["chain_length"] is None


def test_an_empty_certificate_that_is_compressed_is_none() -> None:
    """What unpacks to 4 bytes holds no certificate (RFC 8446 4.4.2), however it is packed."""
    request = message(13, vector(1, b"\x40") + vector(2, u16s(0x0403)) + vector(2))
    packed = record(HANDSHAKE, message(25, u16s(2) + (4).to_bytes(3) + vector(3, bytes(9))))
    talk = Talk().says(CLIENT, hello((27, b"\2\0\2"))).says(SERVER, choice(), record(HANDSHAKE, request + message(14)))
    assert row(talk.says(CLIENT, packed))["client_auth"] == "no_certificate"


STAPLE = message(22, b"\1" + vector(3, b"response"))


@pytest.mark.parametrize(
    ("status", "stapled", "odd"),
    [
        (STAPLE, True, []),
        (message(22, b"\1" + vector(3)), False, ["bad_message"]),  # zero-length
        (message(22, b"\2" + vector(3, vector(3, b"response"), vector(3))), True, []),  # RFC 6961
        (message(22, b"\2" + vector(3, vector(3), vector(3, b"response"))), False, ["bad_message"]),
        (b"", False, []),
    ],
)
def test_a_stapled_response(status: bytes, stapled: bool, odd: list[str]) -> None:
    """An empty CertificateStatus is none; it is noted and stops nothing (RFC 6066 8)."""
    flight = message(11, vector(3, vector(3, b"leaf"))) + status + message(14)
    talk = Talk().says(CLIENT, hello((5, b"\1" + bytes(4)))).says(SERVER, choice((5, b"")), record(HANDSHAKE, flight))
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())
    assert only(row(talk), "ocsp_stapled", "outcome") == (stapled, "established")
    assert notes(talk) == odd


def test_a_status_without_content_reads() -> None:
    """One byte of type and nothing more: no response."""
    assert not CertificateStatus(1, b"").has_response


@pytest.mark.parametrize(
    "extension", [(15, b"\1"), (23, b""), (22, b""), (34, vector(2, u16s(0x0403))), (27, b"\2\0\2")]
)
def test_extensions_that_change_no_message(extension: Extension) -> None:
    """heartbeat, extended_master_secret, encrypt_then_mac, delegated_credential, compress_certificate."""
    code, content = extension
    plain, extended = full(hello(), choice()), full(hello(extension), choice((code, content)))
    assert said(extended) == said(plain)
    assert only(row(extended), "outcome", "history") == ("established", "CsxnGIi")
    account = extended.account()
    assert account.hello is not None
    assert account.server_hello is not None
    assert account.hello.extensions.get(code) == account.server_hello.extensions.get(code) == content


def test_heartbeats() -> None:
    """In clear amid the handshake they have a letter; behind the ChangeCipherSpec they are sealed records."""
    beat = record(HEARTBEAT, b"\1\0\2hi" + bytes(16))
    talk = Talk().says(CLIENT, hello((15, b"\1"))).says(SERVER, flight12()).says(CLIENT, beat).says(SERVER, beat)
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12(), beat).says(SERVER, finished12())
    assert only(row(talk), "outcome", "history") == ("established", "CsxnBbGIi")
    told = [(each["content_type"], each["sealed"]) for each in rows.record_rows(done(talk))]
    assert [sealed_ for name, sealed_ in told if name == "heartbeat"] == [False, False, True]


def test_client_certificates_of_ssl3() -> None:
    """SSL 3.0 has a warning where later versions have an empty Certificate (RFC 6101 5.6.6)."""
    request = record(HANDSHAKE, message(13, vector(1, b"\1") + vector(2)), 0x0300)
    flight = record(HANDSHAKE, message(11, vector(3, vector(3, b"leaf"))), 0x0300) + request
    talk = Talk().says(CLIENT, hello(version=0x0300, suites=(5,))).says(SERVER, choice(version=0x0300, suite=5), flight)
    talk.says(SERVER, record(HANDSHAKE, message(14), 0x0300)).says(CLIENT, alert(1, 41))
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key"), 0x0300), finished12()).says(SERVER, finished12())
    assert only(row(talk), "version", "client_auth", "outcome") == ("SSL 3.0", "no_certificate", "established")


def test_a_client_that_was_asked_would_have_answered() -> None:
    """Where the end of the server's flight is lost, a ClientKeyExchange with no Certificate tells (RFC 5246 7.4.6)."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, server_hello12()).loses(SERVER, 3000)
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())
    assert row(talk)["client_auth"] == "not_requested"
    gap = Talk().says(CLIENT, hello12()).says(SERVER, server_hello12()).loses(SERVER, 3000).loses(CLIENT, 700)
    gap.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12())
    assert row(gap)["client_auth"] == "unknown"


def test_a_psk_needs_no_certificate() -> None:
    """TLS-PSK (RFC 4279): no chain, the key exchange names no group, and nobody is asked for a certificate."""
    done_ = record(HANDSHAKE, message(14))
    talk = Talk().says(CLIENT, hello(suites=(0x00A8,))).says(SERVER, choice(suite=0x00A8), done_)
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())
    found = row(talk)
    assert only(found, "cipher", "chain_length", "group") == ("TLS_PSK_WITH_AES_128_GCM_SHA256", None, None)
    assert only(found, "client_auth", "resumption", "outcome") == ("not_requested", "none", "established")


# -- codes that nobody knows --------------------------------------------------------------------------------------


def test_unknown_codes_stay_numbers() -> None:
    """Cipher, group, scheme, extension, handshake type and alert: each is shown, and the reading goes on."""
    der = certificate(key("EC"))
    exchange = message(12, b"\3" + u16s(0xEEEE) + vector(1, b"point") + u16s(0xDDDD) + vector(2, b"signature"))
    offer = hello((0xABCD, b"?"), (10, vector(2, u16s(0xEEEE))), (13, vector(2, u16s(0xDDDD))), suites=(0xEEEE, 0xC02F))
    flight = message(11, vector(3, vector(3, der))) + message(0x63, b"what?") + exchange + message(14)
    talk = Talk().says(CLIENT, offer).says(SERVER, choice((0xABCD, b"!")), record(HANDSHAKE, flight))
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())
    found = row(talk)
    assert only(found, "group", "signature_scheme", "chain_length") == ("0xeeee", "0xdddd", 1)
    assert only(found, "outcome", "history") == ("established", "CsxzknGIi")
    assert ("server", "0x0063") in said(talk)
    assert notes(talk) == ["unexpected_message"]
    unknown_cipher = row(full(offer, choice(suite=0xEEEE)))
    assert only(unknown_cipher, "cipher", "cipher_code", "outcome") == ("0xeeee", 0xEEEE, "established")
    refused = row(Talk().says(CLIENT, offer).says(SERVER, alert(2, 200)))
    assert only(refused, "alert", "alert_code", "outcome") == ("0x00c8", 200, "failed")


@pytest.mark.parametrize("pieces", [1, 4, 10_000])
def test_a_record_of_an_unknown_type_is_stepped_over(pieces: int) -> None:
    """Amid records that are read it is a record like them, and a note; as the first answer it is no TLS."""
    odd = record(99, b"something new")
    flight = flight12() + odd
    talk = Talk().says(CLIENT, hello12())
    for at in range(0, len(flight), pieces):
        talk.says(SERVER, flight[at : at + pieces])
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), odd, finished12()).says(SERVER, odd, finished12())
    assert only(row(talk), "outcome", "history") == ("established", "CsxnGIi")
    types = [each["content_type"] for each in rows.record_rows(done(talk))]
    assert types.count("0x0063") == 3
    assert notes(talk) == ["unexpected_message"] * 3
    answer = row(Talk().says(CLIENT, hello12()).says(SERVER, odd))
    assert only(answer, "outcome", "failure_mechanism") == ("failed", "not_tls")


def test_the_sizes_used_here_are_those_of_the_suite() -> None:
    """EndOfEarlyData is 4 bytes, a type and a tag."""
    assert END_OF_EARLY_DATA == 4 + 1 + 16
    assert len(sealed(END_OF_EARLY_DATA)) == 5 + END_OF_EARLY_DATA
    assert record(DATA, b"")[0] == 23
