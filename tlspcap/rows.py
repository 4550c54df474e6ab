"""One finished handshake to the values of its rows: names for codes, text for addresses, ms for ns.

With `offer_rows`, which has the part of the hellos, the only place that knows how a fact of the wire is written in a
table. Which columns there are says `schema`.
"""

from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b, sha256
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, NamedTuple

from tlspcap.offer_rows import choice, offer, request_id
from tlspcap.schema import HANDSHAKES
from tlspcap.tls import flights, names, ssl2
from tlspcap.tls.account import CLIENT, SERVER, Account, Oddity, SeenAlert
from tlspcap.tls.evidence import evidence
from tlspcap.tls.flights import ClientFlight
from tlspcap.tls.outcome import completeness, judge
from tlspcap.tls.records import UNTYPED, Record
from tlspcap.tls.remembering import remembered_up_to
from tlspcap.tls.timing import timing
from tlspcap.tls.verdict import Mechanism, Outcome, Verdict
from tlspcap.transport import Conversation, Data

Row = dict[str, Any]
MS = 1_000_000
LEVELS = {1: "warning", 2: "fatal"}


class Finished(NamedTuple):
    """A handshake that was judged, and the identity that joins its rows."""

    id: str
    account: Account
    verdict: Verdict
    flight: ClientFlight  # TLS 1.3: the client's flight as its sizes were read


def finish(account: Account, clock: int, timeout: int, digest: bytes) -> Finished:
    """Judge a handshake and give it its identity.

    `clock` is the largest time in the capture, `timeout` the silence that counts, both in ns; `digest` stands for the
    file's first packets.
    """
    first, seen = account.hello_first, evidence(account, clock, timeout)
    key = f"tcp {_whereabouts(account.conversation, first.frame)[1]} {account.ordinal} {first.time}"
    return Finished(blake2b(digest + key.encode(), digest_size=8).hexdigest(), account, judge(seen), seen.flight)


@lru_cache(maxsize=65536)  # the same few servers and clients come again and again
def address(packed: bytes) -> str:
    """An address as text."""
    return inet_ntop(AF_INET if len(packed) == 4 else AF_INET6, packed)


@remembered_up_to(16_384, entries=1_024, size=len)  # the same few chains come again and again
def fingerprint(der: bytes) -> str:
    """SHA-256 of a certificate."""
    return sha256(der).hexdigest()


def handshake_row(done: Finished) -> Row:
    """The row of the `handshakes` table."""
    account, verdict = done.account, done.verdict
    conversation, first = account.conversation, account.hello_first
    client, server = conversation.side(account.client.number), conversation.side(account.server.number)
    capture, stream = _whereabouts(conversation, first.frame)
    row = _EMPTY.copy()  # it has room for all columns: a dict that grows is built anew again and again
    row |= {
        "id": done.id, "capture": capture, "transport": "tcp", "stream": stream,
        "frame": first.frame, "time": first.time,
        "client_ip": address(client.address), "server_ip": address(server.address),
        "client_port": client.port, "server_port": server.port, "starttls": account.starttls,
    }  # fmt: skip
    row |= offer(account)
    row |= choice(account)
    row |= _opened_choice(account)
    row |= _resumption(account, done.flight)
    row |= _server_flight(account)
    row["client_auth"] = _client_auth(account)
    row |= _chain(account)
    row["certificate_request_digest"] = request_id(account.certificate_request)
    row["history"] = _history(account, verdict)
    row |= _verdict(account, verdict)
    _put_timing(row, done)
    return row


def _whereabouts(conversation: Conversation, frame: int) -> tuple[str, int]:
    """As `conversation.place`, without the packet's number."""
    if not conversation.places:  # one file, as nearly always
        return conversation.capture, conversation.number
    return conversation.place(frame)[:2]


def _put_timing(row: Row, done: Finished) -> None:
    """The columns of `Timing`, put where there is room for them: `_asdict` takes six times as long."""
    (
        row["client_rtt_ms"], row["server_rtt_ms"], row["tcp_rtt_ms"], row["server_hello_ms"],
        row["handshake_ms"], row["connect_ms"],
        row["client_ms"], row["server_ms"], row["transfer_ms"], row["first_data_ms"],
        row["retransmissions"], row["syn_retransmissions"], row["tcp_packets"],
    ) = timing(done.account, done.verdict, done.flight)  # fmt: skip


_EMPTY: Row = dict.fromkeys(HANDSHAKES.names)


def _opened_choice(account: Account) -> Row:
    """What TLS 1.3 seals of the choice, where keys showed it."""
    row: Row = {}
    if account.encrypted_extensions is not None:
        row["alpn"] = account.encrypted_extensions.alpn
    if account.server_signature is not None:
        row["signature_scheme"] = names.signature_scheme_name(account.server_signature)
    return row


def _resumption(account: Account, flight: ClientFlight) -> Row:
    taken = _taken_up(account)
    return {
        "resumption": taken,
        "resumed": taken in ("session_id", "ticket", "psk"),
        "early_data": _early_data(account, flight),
    }


def _taken_up(account: Account) -> str:
    """How an earlier session was taken up: PSK (RFC 8446 2.2), ticket (RFC 5077 3.1), session id (RFC 5246 7.3)."""
    hello, server = account.hello, account.server_hello
    if hello is None or server is None:
        return "none"
    if account.is_tls13:
        return "psk" if server.psk_selected else "declined" if hello.psk_offered else "none"
    if account.is_ssl2:  # SSL 2.0 2.6
        return "session_id" if server.session_id else "declined" if hello.session_id else "none"
    echoed = bool(hello.session_id) and server.session_id == hello.session_id
    steps = account.server.steps
    full = "server_hello_done" in steps or "certificate" in steps
    abbreviated = not full and ("change_cipher_spec" in steps or echoed)
    if abbreviated:
        return "ticket" if hello.session_ticket else "session_id" if echoed else "none"
    # a hello that offers TLS 1.3 carries a session id for middleboxes, which asks for nothing (RFC 8446 4.1.2)
    asked = hello.session_ticket or (hello.session_id and not names.is_tls13(account.offered_max))
    return "declined" if full and asked else "none"


def _early_data(account: Account, flight: ClientFlight) -> str:
    """What became of 0-RTT data, as far as it shows (RFC 8446 4.2.10).

    A retry rejects it, and so does a server that does not take the first PSK. A client whose data was accepted ends it
    with an EndOfEarlyData, in a record of its own, since that has other keys than its Finished (RFC 8446 4.5).
    """
    if account.hello is None or not account.hello.early_data:
        return "none"
    server = account.server_hello
    if account.retry is not None or (server is not None and server.selected_psk != 0):
        return "rejected"
    if account.encrypted_extensions is not None:
        return "accepted" if account.encrypted_extensions.early_data else "rejected"
    if flight.early_accepted:
        return "accepted"
    if flight.kind == "finished" and flight.exact and flight.index == 0:
        return "rejected"
    return "offered" if server is None else "unknown"


def _server_flight(account: Account) -> Row:
    """What a server's clear flight tells; TLS 1.3 seals it."""
    hello, server = account.hello, account.server_hello
    visible = server is not None and not account.is_tls13
    done = "server_hello_done" in account.server.steps
    opened = account.is_tls13 and account.chain is not None  # keys showed the Certificate, which holds the response
    return {
        "ocsp_stapled": True if account.stapled else False if opened or (visible and done) else None,
        "secure_renegotiation": bool(hello and hello.secure_renegotiation and server and server.secure_renegotiation)
        if visible
        else None,
    }


def _client_auth(account: Account) -> str:
    if account.server_hello is None:
        return "unknown"
    if account.is_ssl2:
        return "hidden"
    if account.is_tls13 and account.certificate_request is None:
        return "not_requested" if account.server.finished is not None else "hidden"
    if account.certificate_request is None:
        return "not_requested" if _was_not_requested(account) else "unknown"
    if account.client_chain is not None:
        return "certificate" if account.client_chain else "no_certificate"
    if "compressed_certificate" in account.client.steps:
        return "certificate"  # left packed, so that it has no row of its own
    if any(alert.sender == CLIENT and alert.code == 41 for alert in account.alerts):
        return "no_certificate"  # SSL 3.0 says it by an alert (RFC 6101 5.6.6)
    return "requested"


def _was_not_requested(account: Account) -> bool:
    """Whether no CertificateRequest came: the server's flight shows it, or the client's answer.

    A client that is asked sends a Certificate, if an empty one, before its ClientKeyExchange (RFC 5246 7.4.6).
    """
    steps, client = account.server.steps, account.client
    if "server_hello_done" in steps or "change_cipher_spec" in steps:
        return True
    return "client_key_exchange" in client.steps and account.client_chain is None and not client.gaps


def _chain(account: Account) -> Row:
    client = fingerprint(account.client_chain[0]) if account.client_chain else None
    return {**_chain_row(account.chain), "client_certificate_sha256": client}


def _chain_size(chain: tuple[bytes, ...] | None) -> int:
    return sum(map(len, chain or ()))


@remembered_up_to(16_384, entries=256, size=_chain_size)
def _chain_row(chain: tuple[bytes, ...] | None) -> Row:
    """What the row says of a server's chain."""
    prints = [fingerprint(der) for der in chain or ()]
    return {
        "certificate_sha256": prints[0] if prints else None,
        "chain_sha256": ",".join(prints) or None,
        "chain_length": None if chain is None else len(chain),
        "chain_bytes": None if chain is None else _chain_size(chain),
    }


def _history(account: Account, verdict: Verdict) -> str:
    """The letters until the handshake ended; all of them where it did not."""
    stop = verdict.end.time if verdict.end else account.conversation.last_time
    return "".join([letter for letter, time in account.history if time <= stop])


def _verdict(account: Account, verdict: Verdict) -> Row:
    alert = verdict.alert
    return {
        # `_value_` is what the property `value` gives, which takes a step of Python each time
        "outcome": verdict.outcome._value_,
        "certainty": verdict.certainty and verdict.certainty._value_,
        "failure_phase": verdict.phase and verdict.phase._value_,
        "failure_side": verdict.side and verdict.side._value_,
        "failure_mechanism": verdict.mechanism and verdict.mechanism._value_,
        "alert": None if alert is None else _alert_name(account, alert),
        "alert_code": alert,
        "completeness": completeness(account, verdict)._value_,
        "reason": verdict.reason,
    }


def _alert_name(account: Account, code: int) -> str:
    return ssl2.error_name(code) if account.is_ssl2 else names.alert_name(code)


# -- what belongs to a handshake ----------------------------------------------------------------------------------


def _place(done: Finished, data: Data) -> Row:
    """The columns that say which handshake, which packet, when."""
    offset = (data.time - done.account.hello_first.time) / MS
    return {"id": done.id, "frame": data.frame, "time": data.time, "offset_ms": offset}


def record_rows(done: Finished) -> Iterator[Row]:
    """The rows of the `records` table."""
    for record, sender, sealed in done.account.records:
        yield _place(done, record.first) | {
            "sender": sender,
            "content_type": None if record.content_type == UNTYPED else names.content_type_name(record.content_type),
            "record_version": names.version_name(record.version),
            "length": record.length,
            "sealed": sealed,
        }


def message_rows(done: Finished) -> Iterator[Row]:
    """The rows of the `messages` table; of TLS 1.3's sealed records those until the end, and each side's next one."""
    end = done.verdict.end if done.account.is_tls13 else None
    behind: set[str] = set()
    for data, sender, name, length, version in done.account.messages:
        if name == "sealed" and end is not None and data.frame > end.frame:
            if sender in behind:
                continue
            behind.add(sender)
        yield _place(done, data) | {
            "sender": sender,
            "message": name,
            "length": length,
            "record_version": names.version_name(version),
        }


def alert_rows(done: Finished) -> Iterator[Row]:
    """The rows of the `alerts` table: in clear, sealed (up to TLS 1.2 the record's type shows), and inferred."""
    account = done.account
    shown = [*account.alerts, *account.client.sealed_alerts, *account.server.sealed_alerts]
    for alert in sorted(shown, key=lambda alert: alert.position):
        yield _alert_row(done, alert, encrypted=alert.code is None or alert.decrypted)
    for sender, record in _inferred_alerts(account, done.verdict):
        yield _alert_row(done, SeenAlert(record.first, sender, None, None, 0), encrypted=True) | {"inferred": True}


def _alert_row(done: Finished, alert: SeenAlert, *, encrypted: bool) -> Row:
    (capture, stream, _), end = done.account.conversation.place(alert.data.frame), done.verdict.end
    established = done.verdict.outcome is Outcome.ESTABLISHED
    after = established and (end is None or alert.data.frame > end.frame)
    return {
        "id": done.id, "capture": capture, "transport": "tcp", "stream": stream,
        "frame": alert.data.frame, "time": alert.data.time, "sender": alert.sender,
        "level": None if alert.level is None else LEVELS.get(alert.level),
        "description": None if alert.code is None else _alert_name(done.account, alert.code),
        "code": alert.code, "encrypted": encrypted, "decrypted": alert.decrypted,
        "inferred": encrypted and done.account.is_ssl2,
        "phase": "after" if after else "during",
    }  # fmt: skip


def _inferred_alerts(account: Account, verdict: Verdict) -> Iterator[tuple[str, Record]]:
    """TLS 1.3: the record that a hidden refusal rests on, and alert-sized records that a side closed with."""
    if not account.is_tls13 or account.server_hello is None:
        return
    expect = flights.sizes(account)
    for sender in (CLIENT, SERVER):
        side = account.side(sender)
        last = side.sealed[-1] if side.sealed else None
        refused = verdict.mechanism is Mechanism.HIDDEN_ALERT and verdict.side is not None and verdict.side == sender
        padded = flights.server_pads(account)
        if last is not None and last.end in side.opened:
            continue
        if last is not None and expect.is_alert(last, padded or refused) and (side.closed is not None or refused):
            yield sender, last


def note_rows(done: Finished) -> Iterator[Row]:
    """The rows of the `notes` table that belong to one handshake."""
    conversation = done.account.conversation
    for kind, at, detail in _odd(done.account, done.verdict):
        capture, stream, _ = conversation.place(at.frame)
        yield {
            "id": done.id, "capture": capture, "transport": "tcp", "stream": stream,
            "frame": at.frame, "time": at.time, "kind": kind, "detail": detail,
        }  # fmt: skip


def _odd(account: Account, verdict: Verdict) -> Iterator[Oddity]:
    yield from account.oddities
    if verdict.mechanism is Mechanism.NOT_TLS and verdict.end is not None:
        yield Oddity("tls_to_plain_port", verdict.end, verdict.reason)
    for gap in [*account.client.gaps, *account.server.gaps]:
        why = "cut off by the snapshot length" if gap.cause == "snaplen" else "not in the capture"
        detail = f"{gap.length} bytes of the {account.role(gap.side)}, from stream offset {gap.offset}, are {why}"
        yield Oddity("gap", gap, detail)
