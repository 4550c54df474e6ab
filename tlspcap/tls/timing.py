"""How long each part of a handshake took, from the times of its packets. All in ms; NaN where it cannot be known."""

from typing import NamedTuple

from tlspcap.tls.account import Account
from tlspcap.tls.flights import ClientFlight
from tlspcap.tls.records import Record
from tlspcap.tls.verdict import Outcome, Verdict

MS = 1_000_000
NAN = float("nan")


class Timing(NamedTuple):
    """The measures of one handshake, in ms, and the counts that go with them."""

    client_rtt_ms: float
    server_rtt_ms: float
    tcp_rtt_ms: float
    server_hello_ms: float
    handshake_ms: float
    connect_ms: float
    client_ms: float
    server_ms: float
    transfer_ms: float
    first_data_ms: float
    retransmissions: int
    syn_retransmissions: int
    tcp_packets: int


def timing(account: Account, verdict: Verdict, flight: ClientFlight) -> Timing:
    """Measure one handshake; `flight` is the client's in TLS 1.3, as its sizes were read.

    Durations that would be negative, where the capture's clock stepped back, are NaN.
    """
    conversation, end = account.conversation, verdict.end
    client_rtt = _between(conversation.syn_ack_time, conversation.ack_time)
    server_rtt = _between(conversation.syn_time, conversation.syn_ack_time)
    answered = account.answer.time if account.answer else 0
    asked = account.hello_last.time if account.hello_last else 0
    stop = end.time if end else 0
    began = account.hello_first.time if account.hello is not None else 0
    handshake = _between(began, stop)
    client, server, transfer = _turns(account, stop) if handshake == handshake else (NAN, NAN, NAN)
    return Timing(
        client_rtt, server_rtt, client_rtt + server_rtt,
        _between(asked, answered), handshake, _between(conversation.syn_time, stop),
        client, server, transfer, _first_data(account, verdict, flight),
        end.repeats if end else conversation.opener.repeated + conversation.other.repeated,
        conversation.syn_repeats,
        end.packets if end else conversation.packets,
    )  # fmt: skip


def _between(start: int, stop: int) -> float:
    """From one time to another; NaN where one is unknown (0) or the clock stepped back."""
    return (stop - start) / MS if start and stop and stop >= start else NAN


def _turns(account: Account, stop: int) -> tuple[float, float, float]:
    """Split the time from the hello's first packet to the end: client's turn, server's turn, within one flight.

    An interval between two packets with data (the last one ends with the packet that ended the handshake) belongs to
    the side that sent the later one, whose turn it was; where the same side sent both, it is transfer.
    """
    start = account.hello_first.time
    spent = [0, 0, 0]  # side 0, side 1, transfer
    before, sender = start, account.hello_first.side
    for time, side in sorted(account.turns):
        if time > stop:
            break
        if time >= start:
            spent[2 if side == sender else side] += time - before
            before, sender = time, side
    if before < stop:  # the end was a packet without data: a FIN or an RST
        closer = _closer(account, stop)
        spent[2 if closer == sender else closer] += stop - before
    client = account.client.number
    return spent[client] / MS, spent[1 - client] / MS, spent[2] / MS


def _closer(account: Account, time: int) -> int:
    """The side whose FIN or RST came at a time."""
    closed = account.client.closed
    return account.client.number if closed is not None and closed.time == time else account.server.number


def _first_data(account: Account, verdict: Verdict, flight: ClientFlight) -> float:
    """End of an established handshake to the first application data from the server."""
    if verdict.outcome is not Outcome.ESTABLISHED or verdict.end is None:
        return NAN
    record = _first_sealed_answer(account, flight) if account.is_tls13 else account.server.application
    return _between(verdict.end.time, record.first.time) if record else NAN


def _first_sealed_answer(account: Account, flight: ClientFlight) -> Record | None:
    """TLS 1.3: the server's first record in a packet that acknowledges data the client sent behind its flight.

    Records before that may be tickets, which nothing but keys tells from data.
    """
    if flight.kind != "finished" or flight.index + 1 >= len(account.client.sealed):
        return None
    requested = account.client.sealed[flight.index + 1].end
    for record in account.server.sealed:  # a generator would take three times as long
        if record.first.acked >= requested:
            return record
    return None
