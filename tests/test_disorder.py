"""What lost, cut and reordered packets must not do to a verdict: each a case that once gave a false one."""

from conversation import ALERT, CHANGE_CIPHER_SPEC, CLIENT, HANDSHAKE, SERVER, Talk, message, record
from segment_builder import ACK, RST, Packet, events_of, handshake, timed
from test_outcome import ccs, finished12, finished13, flight12, full12, hello12, hello13, sealed, server_hello13

from tlspcap.tls import outcome
from tlspcap.tls.causality import MAX_HELD, Causality
from tlspcap.tls.verdict import Completeness, Outcome, Party
from tlspcap.transport import UNKNOWN, Closed, Data, Gap


def swapped(talk: Talk) -> Talk:
    """The last two packets stand in the capture in the other order."""
    one, other = talk.events[-2:]
    talk.events[-2:] = [other._replace(frame=one.frame), one._replace(frame=other.frame)]
    return talk


def test_an_answer_captured_before_its_question_is_an_answer() -> None:
    """A ClientHello that stands in the capture behind the alert that refuses it is refused by that alert."""
    talk = swapped(Talk().says(CLIENT, hello12()).says(SERVER, record(ALERT, b"\2\x28")))
    assert (talk.verdict().rule, talk.verdict().alert) == ("alert_in_clear", 40)


def test_a_flight_captured_before_the_server_hello_is_no_early_data() -> None:
    """TLS 1.3: the client's flight acknowledges the ServerHello that stands behind it, so it is its answer."""
    talk = Talk().says(CLIENT, hello13()).says(SERVER, server_hello13(), ccs(), sealed(23, 419, 96, 53))
    swapped(talk.says(CLIENT, ccs(), sealed(53))).says(SERVER, sealed(250))
    assert talk.verdict().rule == "server_spoke_after"
    assert not talk.account().client.early


def test_a_refusal_captured_behind_the_clients_fin_is_a_refusal() -> None:
    """The client's FIN acknowledges the server's alert, so the client did not close first."""
    verdict = swapped(finished13(420, 96).says(SERVER, sealed(19)).closes(CLIENT)).verdict()
    assert (verdict.rule, verdict.side) == ("sealed_refusal_by_server", Party.SERVER)


def test_a_closing_alert_captured_before_the_fin_that_it_answers_is_no_refusal() -> None:
    """The server's alert acknowledges one byte more than the client sent: it had the FIN."""
    talk = finished13(420, 96).closes(CLIENT).says(SERVER, sealed(19))
    alert = talk.events[-1]
    assert isinstance(alert, Data)
    talk.events[-1] = alert._replace(acked=alert.acked + 1)
    assert swapped(talk).verdict().outcome is Outcome.UNKNOWN


def test_the_fin_that_acknowledges_the_other_was_second() -> None:
    """Of two FINs in the wrong order the one that acknowledges the other did not end the connection."""
    talk = Talk().says(CLIENT, hello12()).closes(SERVER).closes(CLIENT)
    second = talk.events[-1]
    assert isinstance(second, Closed)
    talk.events[-1] = second._replace(acked=second.acked + 1)
    assert swapped(talk).verdict().side is Party.SERVER


def test_a_lost_client_hello_is_a_gap_where_the_syn_was_captured() -> None:
    """The capture had begun in time, so it lacks a packet, not its start."""
    talk = Talk().acks(CLIENT).loses(CLIENT, 300).says(SERVER, flight12())
    talk.conversation.opener.opened = True
    account, verdict = talk.account(), talk.verdict()
    assert outcome.completeness(account, verdict) is Completeness.GAP
    assert "bytes of the client are missing" in verdict.reason
    talk.conversation.opener.opened = False
    assert outcome.completeness(account, verdict) is Completeness.MID_STREAM


def test_hellos_cut_off_by_the_snapshot_length_are_not_a_late_start() -> None:
    """Where no hello could be read because packets were cut, the capture lacks what was cut."""
    hello = hello12()
    talk = Talk().acks(SERVER).says(CLIENT, hello[:30])
    talk.events.append(Gap(CLIENT, 1, talk.clock, 30, len(hello) - 30, "snaplen"))
    assert outcome.completeness(talk.account(), talk.verdict()) is Completeness.SNAPLEN


def test_a_sealed_alert_behind_a_lost_change_cipher_spec_is_not_read_as_clear() -> None:
    """A closing alert of 26 bytes, whose ChangeCipherSpec was lost, names no alert and refuses nothing."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, flight12())
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).loses(SERVER, 51)
    talk.says(SERVER, record(ALERT, b"\2\x28" * 13)).closes(SERVER)
    assert talk.verdict().outcome is Outcome.UNKNOWN
    assert not talk.account().alerts


def test_an_alert_in_clear_behind_a_gap_is_still_one() -> None:
    """Two bytes are no sealed alert: behind a lost segment the refusal is named."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, flight12()).loses(CLIENT, 200)
    assert talk.says(CLIENT, record(ALERT, b"\2\x30")).verdict().alert == 48


def partly(content: bytes) -> tuple[bytes, int]:
    """The first bytes of a record, as a short snapshot length leaves them, and how many are missing."""
    return content[:20], len(content) - 20


def cut_hellos(retry: bool) -> Talk:
    """A TLS 1.3 handshake of whose hellos only the beginning was captured; perhaps with a HelloRetryRequest."""
    hello, answer = partly(record(HANDSHAKE, message(1, bytes(300)))), partly(record(HANDSHAKE, message(2, bytes(118))))
    change = record(CHANGE_CIPHER_SPEC, b"\1")
    talk = Talk().says(CLIENT, hello[0]).loses(CLIENT, hello[1]).says(SERVER, answer[0]).loses(SERVER, answer[1])
    talk.says(SERVER, change)
    if retry:
        talk.says(CLIENT, change, hello[0]).loses(CLIENT, hello[1])
        talk.says(SERVER, answer[0]).loses(SERVER, answer[1])
    talk.says(SERVER, sealed(23, 62, 419, 96, 53))
    return talk.says(CLIENT, *[b""] if retry else [change], sealed(25, 53)).says(SERVER, sealed(19)).closes(SERVER)


def test_sealed_records_of_both_sides_establish_nothing_where_the_version_is_not_known() -> None:
    """In TLS 1.3 both sides send records of type 23 before anybody has accepted anything."""
    assert cut_hellos(retry=False).verdict().outcome is Outcome.UNKNOWN


def test_hellos_behind_a_retry_are_no_finished() -> None:
    """Behind a HelloRetryRequest each side's hello follows its ChangeCipherSpec, as a Finished does in TLS 1.2."""
    assert cut_hellos(retry=True).verdict().outcome is Outcome.UNKNOWN


def test_data_of_both_sides_tells_where_the_version_shows_without_its_hello() -> None:
    """A ClientKeyExchange belongs to TLS 1.2 or less: there, data of both sides is behind both Finished."""
    talk = Talk().says(CLIENT, hello12()).loses(SERVER, 2_000)
    talk.says(CLIENT, record(HANDSHAKE, message(16, b"key")), finished12()).loses(SERVER, 51)
    assert talk.says(CLIENT, sealed(100)).says(SERVER, sealed(200)).verdict().rule == "data_both_ways"


def refused13(lost: str) -> Talk:
    """A client certificate that the server refuses in TLS 1.3, of which the capture lacks one packet."""
    talk = Talk().acks(CLIENT)
    talk = talk.loses(CLIENT, 300) if lost == "ClientHello" else talk.says(CLIENT, hello13())
    talk = talk.says(SERVER, server_hello13(), ccs(), sealed(23, 62))
    talk = talk.loses(SERVER, 419 + 96) if lost == "server's certificate" else talk.says(SERVER, sealed(414, 91))
    talk = talk.says(SERVER, sealed(53)).says(CLIENT, ccs(), sealed(420))
    talk = talk.loses(CLIENT, 101) if lost == "client's signature" else talk.says(CLIENT, sealed(96))
    talk = talk.says(CLIENT, sealed(53))
    talk = talk.loses(SERVER, 300) if lost == "answer" else talk
    return talk.says(SERVER, sealed(19)).closes(SERVER)


def test_a_refusal_is_told_whatever_is_missing_before_the_clients_flight() -> None:
    """What was acknowledged before the client's flight cannot be part of it, nor of the answer to it."""
    for lost in ("nothing", "ClientHello", "server's certificate"):
        verdict = refused13(lost).verdict()
        assert (lost, verdict.rule) == (lost, "sealed_refusal_by_server")


def test_no_refusal_is_told_where_flight_or_answer_are_not_whole() -> None:
    """A certificate's signature or tickets may be among what is missing: unknown."""
    for lost in ("client's signature", "answer"):
        assert (lost, refused13(lost).verdict().outcome) == (lost, Outcome.UNKNOWN)


def test_a_reset_shows_what_was_sent_before_it() -> None:
    """The number of a RST lies behind all bytes that its sender sent: what was not captured of them is a gap."""
    opening = handshake(client_isn=1000, server_isn=5000)
    packets = [*opening, Packet(0, 1001, b"\x16\x03\x01\x00\x2d\x01" + bytes(44), ack=5001)]
    reset = Packet(0, 1001 + 50 + 7, flags=RST | ACK, ack=5001)
    lost = [event for event in events_of(timed([*packets, reset])) if isinstance(event, Gap)]
    assert [(gap.offset, gap.length) for gap in lost] == [(50, 7)]
    behind_fin = timed([*packets, Packet(0, 1001 + 50 + 1, flags=RST | ACK, ack=5001)])
    assert not [event for event in events_of(behind_fin) if isinstance(event, Gap)]


def test_a_refusal_lost_before_a_reset_is_not_called_a_reset() -> None:
    """Bytes that only a RST shows may have been an alert: unknown, for a gap."""
    talk = Talk().says(CLIENT, hello12()).says(SERVER, flight12()).closes(CLIENT, "reset").loses(CLIENT, 7)
    assert talk.verdict().outcome is Outcome.UNKNOWN
    assert full12().closes(CLIENT, "reset").verdict().outcome is Outcome.ESTABLISHED


def data(side: int, frame: int, offset: int, acked: int) -> Data:
    """Ten bytes of a side."""
    return Data(side, frame, frame, offset, bytes(10), acked, frame, 0)


def test_events_wait_for_what_they_acknowledge_in_the_order_of_their_side() -> None:
    """What waits holds back what comes behind it on its side, a FIN too, and all is let go at once."""
    order = Causality()
    early = [data(1, 1, 0, 10), Closed(1, 2, 2, "fin", UNKNOWN, 2, 0)]
    assert [order.take(event) for event in early] == [[], []]
    question = data(0, 3, 0, 0)
    assert order.take(question) == [question, *early]


def test_waiting_is_bounded() -> None:
    """Where the capture lacks what is acknowledged, events go on after so many, and what waits at the end is given."""
    order, events = Causality(), [data(1, frame, 10 * frame, 1_000) for frame in range(MAX_HELD + 3)]
    given = [event for event in events for event in order.take(event)]
    assert given == events
    late = data(1, 99, 5_000, 2_000)
    assert [order.take(late), order.rest(), order.rest()] == [[], [late], []]
