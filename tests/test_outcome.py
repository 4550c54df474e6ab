"""Each rule of a verdict, on conversations put together record by record. Sizes are those of a 16-byte tag."""

from collections.abc import Callable

import pytest
import ssl2_bytes
from conversation import ALERT, CHANGE_CIPHER_SPEC, CLIENT, DATA, HANDSHAKE, SERVER, Talk, message, record
from tls_bytes import RANDOM, hello_body, server_body, u16s, vector

from tlspcap.tls import outcome
from tlspcap.tls.verdict import Certainty, Completeness, Mechanism, Outcome, Party, Phase

TLS13_OFFER = (43, vector(1, u16s(0x0304, 0x0303)))
TLS13_CHOICE = (43, u16s(0x0304))
FLIGHT13 = (23, 419, 96, 53)  # EncryptedExtensions, Certificate, CertificateVerify, Finished
FINISHED = 53


def hello12() -> bytes:
    """A ClientHello that offers TLS 1.2 at most."""
    return record(HANDSHAKE, message(1, hello_body(suites=u16s(0xC02F))), 0x0301)


def hello13() -> bytes:
    """A ClientHello that offers TLS 1.3."""
    return record(HANDSHAKE, message(1, hello_body(TLS13_OFFER)), 0x0301)


def server_hello12() -> bytes:
    """A ServerHello that chooses TLS 1.2 and AES-128-GCM."""
    body = u16s(0x0303) + RANDOM + vector(1) + u16s(0xC02F) + b"\0"
    return record(HANDSHAKE, message(2, body))


def server_hello13() -> bytes:
    """A ServerHello that chooses TLS 1.3."""
    return record(HANDSHAKE, message(2, server_body(TLS13_CHOICE)))


def sealed(*lengths: int) -> bytes:
    """TLS 1.3 records of given lengths."""
    return b"".join(record(DATA, bytes(length)) for length in lengths)


def alert(level: int, code: int) -> bytes:
    """An alert in clear."""
    return record(ALERT, bytes([level, code]))


def ccs() -> bytes:
    """A ChangeCipherSpec."""
    return record(CHANGE_CIPHER_SPEC, b"\1")


def finished12() -> bytes:
    """ChangeCipherSpec and a sealed Finished."""
    return ccs() + record(HANDSHAKE, bytes(40))


def flight12(*more: bytes) -> bytes:
    """The server's flight up to TLS 1.2: Certificate, then `more`, then ServerHelloDone."""
    certificate = message(11, vector(3, vector(3, b"\x30\x82")))
    return server_hello12() + record(HANDSHAKE, certificate + b"".join(more) + message(14))


REQUEST = message(13, vector(1, b"\1") + vector(2, u16s(0x0401)) + vector(2))


def full12() -> Talk:
    """A full handshake of TLS 1.2, up to the server's Finished."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, flight12())
    return talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12())


def up_to_flight13() -> Talk:
    """A TLS 1.3 handshake up to the server's Finished."""
    return Talk().says(CLIENT, hello13()).says(SERVER, server_hello13(), ccs(), sealed(*FLIGHT13))


def finished13(*before: int) -> Talk:
    """The same with the client's flight: `before`, and its Finished."""
    return up_to_flight13().says(CLIENT, ccs(), sealed(*before, FINISHED))


Expected = tuple[Outcome, Mechanism | None, Party | None, Phase | None]
OK: Expected = (Outcome.ESTABLISHED, None, None, None)
UNKNOWN: Expected = (Outcome.UNKNOWN, None, None, None)


def failed(mechanism: Mechanism, side: Party, phase: Phase) -> Expected:
    """A failure, as the cases below write it."""
    return (Outcome.FAILED, mechanism, side, phase)


CASES: dict[str, tuple[Callable[[], Talk], str, Expected]] = {
    "the server's answer is HTTP": (
        lambda: Talk().says(CLIENT, hello13()).says(SERVER, b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        "not_tls", failed(Mechanism.NOT_TLS, Party.SERVER, Phase.CLIENT_HELLO)),
    "SSH greets the client, which gives up": (
        lambda: Talk().says(SERVER, b"SSH-2.0-OpenSSH_9.2\r\n").says(CLIENT, hello13()).says(CLIENT, alert(2, 70)),
        "greeted_in_clear", failed(Mechanism.NOT_TLS, Party.SERVER, Phase.CLIENT_HELLO)),
    "SSH greets the client, and the capture ends": (
        lambda: Talk().says(SERVER, b"SSH-2.0-OpenSSH_9.2\r\n").says(CLIENT, hello13()), "cut_off", UNKNOWN),
    "the server closes, which the client answers with an alert": (
        lambda: Talk().says(CLIENT, hello13()).closes(SERVER).says(CLIENT, alert(2, 50)),
        "closed_before_alert", failed(Mechanism.CLOSE, Party.SERVER, Phase.CLIENT_HELLO)),
    "the client closes, which the server answers with an alert": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12()).closes(CLIENT).says(SERVER, alert(2, 10)),
        "closed_before_alert", failed(Mechanism.CLOSE, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "the server closes behind the client's certificate, which the client answers with a sealed alert": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12(REQUEST))
        .says(CLIENT, record(HANDSHAKE, message(11, vector(3)) + message(16, b"key")), finished12()).closes(SERVER)
        .says(CLIENT, record(ALERT, bytes(26))),
        "closed_before_alert", failed(Mechanism.CLOSE, Party.SERVER, Phase.CLIENT_AUTH)),
    "an alert, and then the close": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, alert(2, 40)).closes(SERVER).says(CLIENT, alert(1, 0)),
        "alert_in_clear", failed(Mechanism.ALERT, Party.SERVER, Phase.CLIENT_HELLO)),
    "a fatal alert answers the hello": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, alert(2, 80)),
        "alert_in_clear", failed(Mechanism.ALERT, Party.SERVER, Phase.CLIENT_HELLO)),
    "a warning answers a TLS 1.3 offer and nothing follows": (
        lambda: Talk().says(CLIENT, hello13()).says(SERVER, alert(1, 112)).closes(SERVER),
        "alert_in_clear", failed(Mechanism.ALERT, Party.SERVER, Phase.CLIENT_HELLO)),
    "unrecognized_name is only a warning": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, alert(1, 112), flight12())
        .says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).says(SERVER, finished12()),
        "both_finished", OK),
    "a warning, then the end": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12()).says(CLIENT, alert(1, 112)).closes(CLIENT),
        "gave_up_by_alert", failed(Mechanism.ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "close_notify before the end": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12()).says(CLIENT, alert(1, 0)).closes(CLIENT),
        "gave_up_by_alert", failed(Mechanism.CLOSE, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "the client refuses the server's certificate": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12()).says(CLIENT, alert(2, 48)),
        "alert_in_clear", failed(Mechanism.ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "the server wants a client certificate": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12(REQUEST))
        .says(CLIENT, record(HANDSHAKE, message(11, vector(3)) + message(16, b"key")), finished12())
        .says(SERVER, alert(2, 40)),
        "alert_in_clear", failed(Mechanism.ALERT, Party.SERVER, Phase.CLIENT_AUTH)),
    "both have finished": (full12, "both_finished", OK),
    "false start does not establish": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12())
        .says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12(), sealed(100)).closes(SERVER),
        "ended_early", failed(Mechanism.CLOSE, Party.SERVER, Phase.FINISHED)),
    "what a client said behind the last Finished is lost, and the server's alert may refuse or close": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, server_hello12(), finished12()).says(CLIENT, finished12())
        .loses(CLIENT, 58).says(SERVER, record(ALERT, bytes(26))).closes(SERVER), "bytes_missing", UNKNOWN),
    "the client leaves a session that the server then closes with an alert": (
        lambda: full12().closes(CLIENT).says(SERVER, record(ALERT, bytes(26))).closes(SERVER), "both_finished", OK),
    "the client closes at once behind the server's Finished": (
        lambda: full12().says(CLIENT, record(ALERT, bytes(26))).closes(CLIENT), "both_finished", OK),
    "the server answers the last Finished of an abbreviated handshake with an alert": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, server_hello12(), finished12()).says(CLIENT, finished12())
        .says(SERVER, record(ALERT, bytes(26))).closes(SERVER),
        "last_finished_refused", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.FINISHED)),
    "the client seals an alert behind its own Finished": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12())
        .says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12(), record(ALERT, bytes(26))).closes(CLIENT),
        "sealed_alert_before_finished", failed(Mechanism.HIDDEN_ALERT, Party.CLIENT, Phase.KEY_EXCHANGE)),
    "the client refuses TLS 1.3 in clear": (
        lambda: up_to_flight13().says(CLIENT, alert(2, 48)),
        "alert_in_clear", failed(Mechanism.ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "the client refuses TLS 1.3 under seal": (
        lambda: up_to_flight13().says(CLIENT, ccs(), sealed(19)).closes(CLIENT),
        "sealed_refusal_by_client", failed(Mechanism.HIDDEN_ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "a padding client refuses TLS 1.3 under seal": (
        lambda: up_to_flight13().says(CLIENT, sealed(35, 35)).closes(CLIENT),
        "sealed_refusal_by_client", failed(Mechanism.HIDDEN_ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "tickets behind the client's Finished": (
        lambda: finished13().says(SERVER, sealed(250, 250)), "server_spoke_after", OK),
    "tickets that the server sent before it saw the Finished": (
        lambda: finished13().says(SERVER, sealed(250, 250), acked=0).closes(SERVER),
        "ended_behind_finished", UNKNOWN),
    "data in answer to data": (
        lambda: finished13().says(CLIENT, sealed(100)).says(SERVER, sealed(300)), "server_spoke_after", OK),
    "no client certificate, refused": (
        lambda: finished13(25).says(SERVER, sealed(19)).closes(SERVER),
        "sealed_refusal_by_server", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_AUTH)),
    "a client certificate, refused": (
        lambda: finished13(420, 96).says(CLIENT, sealed(105, 19)).says(SERVER, sealed(19)).closes(SERVER),
        "sealed_refusal_by_server", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_AUTH)),
    "no client certificate, padded, refused before the Finished": (
        lambda: up_to_flight13().says(CLIENT, ccs(), sealed(41)).says(SERVER, sealed(19)).closes(SERVER)
        .says(CLIENT, sealed(69)),
        "sealed_refusal_within_flight", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_AUTH)),
    "a client certificate in one record, refused": (
        lambda: up_to_flight13().says(CLIENT, sealed(900)).says(SERVER, sealed(19)).closes(SERVER),
        "sealed_refusal_by_server", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_AUTH)),
    "a client certificate, refused with two alerts": (
        lambda: finished13(420, 96).says(SERVER, sealed(19, 19)).closes(SERVER),
        "sealed_refusal_by_server", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_AUTH)),
    "a client certificate, accepted": (
        lambda: finished13(420, 96).says(SERVER, sealed(1000)), "server_spoke_after", OK),
    "a client certificate, and the server just leaves": (
        lambda: finished13(420, 96).closes(SERVER, "reset"),
        "server_left_after_certificate", failed(Mechanism.RESET, Party.SERVER, Phase.CLIENT_AUTH)),
    "a refusal and a close look alike": (
        lambda: finished13().says(SERVER, sealed(19)).closes(SERVER), "refusal_or_close", UNKNOWN),
    "the client says goodbye behind its certificate, and the server's answer may be just that": (
        lambda: finished13(420, 96).says(CLIENT, sealed(19)).says(SERVER, sealed(19)).closes(SERVER),
        "refusal_or_close", UNKNOWN),
    "an alert may be padded where the Finished that would show padding is lost": (
        lambda: Talk().says(CLIENT, hello13()).says(SERVER, server_hello13(), ccs(), sealed(FLIGHT13[0]))
        .loses(SERVER, 90).says(CLIENT, ccs(), sealed(420, 96, FINISHED)).says(SERVER, sealed(35)).closes(SERVER),
        "ended_behind_finished", UNKNOWN),
    "a warning behind which the capture ends": (
        lambda: Talk().says(CLIENT, hello13()).says(SERVER, alert(1, 112)), "cut_off", UNKNOWN),
    "the client leaves first, in peace": (
        lambda: finished13().closes(CLIENT).says(SERVER, sealed(19)).closes(SERVER), "client_left_in_peace", OK),
    "the server refuses before any answer": (
        lambda: Talk().says(CLIENT, hello13()).says(SERVER, server_hello13(), sealed(19)).closes(SERVER),
        "sealed_refusal_before_flight", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_HELLO)),
    "the server refuses instead of its flight, and the client closes": (
        lambda: Talk().says(CLIENT, hello13()).says(SERVER, server_hello13(), ccs(), sealed(19))
        .says(CLIENT, sealed(19)).closes(CLIENT),
        "sealed_refusal_before_flight", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.CLIENT_HELLO)),
    "the client leaves the server's flight unanswered": (
        lambda: up_to_flight13().closes(CLIENT),
        "ended_early", failed(Mechanism.CLOSE, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "Chrome's application settings travel with its Finished": (
        lambda: up_to_flight13().says(CLIENT, ccs(), sealed(63)).says(SERVER, sealed(891)), "server_spoke_after", OK),
    "early data, accepted": (
        lambda: Talk().says(CLIENT, record(HANDSHAKE, message(1, hello_body(TLS13_OFFER, (42, b"")))), sealed(200))
        .says(SERVER, server_hello13(), sealed(23, 53)).says(CLIENT, sealed(21, 53)).says(SERVER, sealed(250)),
        "server_spoke_after", OK),
    "a reset answers the hello": (
        lambda: Talk().says(CLIENT, hello12()).closes(SERVER, "reset"),
        "ended_early", failed(Mechanism.RESET, Party.SERVER, Phase.CLIENT_HELLO)),
    "the server closes without a word": (
        lambda: Talk().says(CLIENT, hello12()).closes(SERVER),
        "ended_early", failed(Mechanism.CLOSE, Party.SERVER, Phase.CLIENT_HELLO)),
    "acknowledged, then silence": (
        lambda: Talk().says(CLIENT, hello12()).acks(SERVER).waits(11),
        "silence", failed(Mechanism.TIMEOUT, Party.SERVER, Phase.CLIENT_HELLO)),
    "the client waited long enough": (
        lambda: Talk().says(CLIENT, hello12()).acks(SERVER).waits(11).closes(CLIENT),
        "waited_in_vain", failed(Mechanism.TIMEOUT, Party.SERVER, Phase.CLIENT_HELLO)),
    "the client waited long enough, and says so": (
        lambda: Talk().says(CLIENT, hello12()).acks(SERVER).waits(11).says(CLIENT, alert(2, 80)).closes(CLIENT),
        "waited_in_vain", failed(Mechanism.TIMEOUT, Party.SERVER, Phase.CLIENT_HELLO)),
    "the client soon gives up": (
        lambda: Talk().says(CLIENT, hello12()).acks(SERVER).waits(2).closes(CLIENT),
        "ended_early", failed(Mechanism.CLOSE, Party.CLIENT, Phase.CLIENT_HELLO)),
    "the capture ends": (lambda: Talk().says(CLIENT, hello12()).acks(SERVER).waits(2), "cut_off", UNKNOWN),
    "the client falls silent": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12()).acks(CLIENT).waits(11),
        "silence", failed(Mechanism.TIMEOUT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "one direction only": (lambda: Talk().says(CLIENT, hello12()).waits(60), "bytes_missing", UNKNOWN),
    "bytes are missing, then a close": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, server_hello12()).loses(SERVER, 500).closes(CLIENT),
        "bytes_missing", UNKNOWN),
    "bytes are missing, then a fatal alert": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, server_hello12()).loses(SERVER, 500)
        .says(SERVER, alert(2, 40)),
        "alert_in_clear", (Outcome.FAILED, Mechanism.ALERT, Party.SERVER, None)),
    "bytes are missing, then an alert that names its step": (
        lambda: Talk().says(CLIENT, hello12()).loses(SERVER, 500).says(CLIENT, alert(2, 48)),
        "alert_in_clear", failed(Mechanism.ALERT, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "bytes that are no TLS in mid-handshake, then a close": (
        lambda: Talk().says(CLIENT, hello12()).says(SERVER, flight12()).says(CLIENT, bytes([255] * 20)).closes(SERVER),
        "no_tls_within", failed(Mechanism.VIOLATION, Party.CLIENT, Phase.SERVER_CERTIFICATE)),
    "never acknowledged, nor repeated": (
        lambda: Talk().says(CLIENT, hello12()).hears(SERVER).waits(60), "bytes_missing", UNKNOWN),
    "never acknowledged, though repeated": (
        lambda: Talk().says(CLIENT, hello12()).hears(SERVER).repeats(CLIENT).waits(60),
        "silence", failed(Mechanism.TIMEOUT, Party.NETWORK, Phase.CLIENT_HELLO)),
    "the client's answer is missing, then tickets": (
        lambda: up_to_flight13().loses(CLIENT, 74).says(SERVER, sealed(250)).closes(CLIENT), "bytes_missing", UNKNOWN),
    "SSL 2.0, whole": (ssl2_bytes.full, "ssl2_finished", OK),
    "SSL 2.0, an error in clear": (
        lambda: Talk().says(CLIENT, ssl2_bytes.client_hello()).says(SERVER, ssl2_bytes.error(1)),
        "ssl2_error", failed(Mechanism.ALERT, Party.SERVER, Phase.CLIENT_HELLO)),
    "SSL 2.0, a sealed error": (
        lambda: ssl2_bytes.hellos().says(SERVER, ssl2_bytes.sealed(ssl2_bytes.ERROR)).closes(SERVER),
        "ssl2_sealed_error", failed(Mechanism.HIDDEN_ALERT, Party.SERVER, Phase.KEY_EXCHANGE)),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_rule_that_fits_gives_its_verdict(case: str) -> None:
    """Each conversation is judged by the rule made for it; the reason says that it is inferred where it is probable."""
    talk, rule, expected = CASES[case]
    verdict = talk().verdict()
    assert (verdict.rule, verdict.outcome, verdict.mechanism, verdict.side, verdict.phase) == (rule, *expected)
    assert ("inferred" in verdict.reason) == (verdict.certainty is Certainty.PROBABLE), verdict.reason


def test_every_rule_is_shown_by_a_case() -> None:
    """No rule stands without a conversation that it decides."""
    shown = {rule for _, rule, _ in CASES.values()} | {"data_both_ways"}  # shown by the next test
    shown |= {"alert_opened", "accepted"}  # shown in test_keys.py
    assert {rule.__name__ for rule in outcome.RULES} <= shown


def test_data_both_ways_shows_that_a_lost_finished_was_there() -> None:
    """Both sides went on to send data behind a Finished that the capture lacks."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, flight12())
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).loses(SERVER, 51)
    verdict = talk.says(CLIENT, sealed(100)).says(SERVER, sealed(200)).verdict()
    assert (verdict.rule, verdict.outcome) == ("data_both_ways", Outcome.ESTABLISHED)
    assert "inferred" in verdict.reason


def test_the_timeout_is_a_parameter_of_capture_time() -> None:
    """The same silence is an end of the capture or a time-out, by the seconds that are asked for."""
    talk = Talk().says(CLIENT, hello12()).acks(SERVER).waits(3)
    assert talk.verdict(timeout=10).outcome is Outcome.UNKNOWN
    assert talk.verdict(timeout=2).mechanism is Mechanism.TIMEOUT


def test_completeness_says_what_is_lacking() -> None:
    """A gap before the end lacks; a gap behind it does not."""
    before = Talk().says(CLIENT, hello12()).says(SERVER, server_hello12()).loses(SERVER, 500).closes(CLIENT)
    behind = full12().loses(SERVER, 500).says(SERVER, sealed(100))
    assert outcome.completeness(before.account(), before.verdict()) is Completeness.GAP
    assert outcome.completeness(behind.account(), behind.verdict()) is Completeness.COMPLETE


def test_what_came_from_the_wire_is_quoted_escaped() -> None:
    """The first line of an answer that is no TLS stands in the reason without control characters."""
    talk = Talk().says(CLIENT, hello13()).says(SERVER, b"\x1b[31m<b>\"hi\"\xff\nmore")
    assert talk.verdict().reason.endswith(r'not TLS: "\x1b[31m<b>\"hi\"\xff"')
