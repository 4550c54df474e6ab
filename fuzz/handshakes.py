"""Target: both sides of a connection, followed to the rows of every table."""

import ssl2_bytes
from conversation import MS, START

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap import rows
from tlspcap.schema import TABLES
from tlspcap.tables import Builder
from tlspcap.tls.handshake import MAX_ALERTS, MAX_MESSAGES, MAX_RECORDS, MAX_TURNS, Follower
from tlspcap.tls.keylog import KeyLog
from tlspcap.tls.noting import MAX_ODDITIES
from tlspcap.transport import Closed, Conversation, Data, Endpoint, Event, Gap

LONGEST = 16_384
_SECOND = 1_000 * MS
_DATA, _GAP, _FIN, _RESET = range(4)


def check(data: bytes) -> None:
    """Whatever both sides say, it is followed within the caps and makes rows of the closed words of the schema."""
    follow(Input(data), None)


def follow(read: Input, keys: KeyLog | None) -> None:
    """Follow a conversation, with keys or without."""
    conversation, events, clock = _conversation(read)
    follower = Follower(conversation, keys)
    for event in events:
        follower.take(event)
    follower.finish()
    account = follower.account
    if account is None:
        return
    assert len(account.records) <= MAX_RECORDS
    assert len(account.alerts) <= MAX_ALERTS
    assert len(account.messages) <= MAX_MESSAGES + MAX_RECORDS + MAX_ALERTS
    assert len(account.oddities) <= MAX_ODDITIES
    assert len(account.turns) <= MAX_TURNS
    done = rows.finish(account, clock, 10 * _SECOND, b"")
    row = rows.handshake_row(done)
    for column in TABLES["handshakes"].columns:
        if column.values:
            assert row[column.name] is None or row[column.name] in column.values, column.name
    Builder().add(done)


def _conversation(read: Input) -> tuple[Conversation, list[Event], int]:
    """Read packets: side, kind and how much of the other side's bytes is not acknowledged; pause; length; bytes."""
    ends = Endpoint(b"\x0a\0\0\1", 50_000), Endpoint(b"\x0a\0\0\2", 443)
    conversation = Conversation(0, "fuzz.pcap", *ends, 1, START, START)
    events, sent, clock = list[Event](), [0, 0], START
    while read.left > 0:
        head, pause, length = read.u8(), read.u8(), read.u16()
        side, kind, behind = head & 1, head >> 1 & 3, head >> 3
        clock += pause * pause * MS
        acked, frame = max(0, sent[1 - side] - behind), len(events) + 1
        conversation.packets, end = frame, conversation.side(side)
        if kind == _DATA:
            if not (payload := read.take(length)):
                continue
            events.append(Data(side, frame, clock, sent[side], payload, acked, frame, 0))
            sent[side] += len(payload)
        elif kind == _GAP:
            events.append(Gap(side, frame, clock, sent[side], length + 1, "lost"))
            sent[side] += length + 1
        else:
            events.append(Closed(side, frame, clock, "fin" if kind == _FIN else "reset", acked, frame, 0))
            end.closed = "fin" if kind == _FIN else "reset"
        end.packets, end.sent, end.last_time = end.packets + 1, sent[side], clock
        conversation.last_time = clock
    for number in (0, 1):
        conversation.side(number).acknowledged = sent[number]
    return conversation, events, clock + 20 * _SECOND


def seeds() -> list[bytes]:
    """Conversations of the samples and of SSL 2.0, whole, with a packet missing, and ended early."""
    found = []
    old = [talk.events for talk in (ssl2_bytes.full(), ssl2_bytes.resumed())]
    for events in [*old, *(events for _, events in samples.conversations())]:
        parts = [one(event) for event in events]
        found += [b"".join(parts), b"".join(parts[:1] + parts[2:]), b"".join(parts[: len(parts) // 2])]
    return samples.distinct(found, LONGEST)


def one(event: Event) -> bytes:
    """Write an event in the format of the target."""
    if isinstance(event, Data):
        return bytes([event.side | _DATA << 1, 3]) + len(event.payload).to_bytes(2) + event.payload
    if isinstance(event, Gap):
        return bytes([event.side | _GAP << 1, 3]) + min(event.length - 1, 65_535).to_bytes(2)
    return bytes([event.side | (_FIN if event.how == "fin" else _RESET) << 1, 3, 0, 0])
