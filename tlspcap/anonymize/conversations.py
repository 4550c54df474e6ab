"""One conversation read to its end, and what stands in place of its bytes.

It is followed as for the tables, by `tls.handshake`; when that has seen enough, what was said until then is gone
through once more, with everything known: where TLS begins on each side, what the server chose, what is sealed. Records
behind that keep their headers, as long as they are not too many.
"""

from tlspcap.anonymize import dialogue
from tlspcap.anonymize.messages import Choice, message, ssl2_message
from tlspcap.anonymize.plans import Plan, Sides
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.anonymize.said import Said
from tlspcap.tls.account import Account
from tlspcap.tls.handshake import Follower
from tlspcap.tls.records import (
    ALERT,
    CHANGE_CIPHER_SPEC,
    HANDSHAKE,
    HEADER_LENGTH,
    UNTYPED,
    Record,
    RecordReader,
    plausible,
)
from tlspcap.tls.ssl2_records import Reader as Ssl2Reader
from tlspcap.transport import Closed, Conversation, Data, Event, Gap

MOST_BYTES = 1 << 20  # of a conversation gone through with everything known; what comes behind is only headers
MOST_RECORDS = 20_000  # whose headers stay
_ALERT = 2  # bytes of one in clear
_MESSAGE_HEADER = 4


class Anonymizer:
    """Takes the events of one conversation, and makes a plan of each side."""

    def __init__(self, conversation: Conversation, names: Pseudonyms) -> None:
        self._conversation, self._names = conversation, names
        self._follower = Follower(conversation)
        self._events: list[Data | Gap] = []
        self._held = 0
        self._sides: tuple[_Side, _Side] | None = None  # once what was held is gone through
        self._records = 0
        self.sides = Sides.of(conversation.opener, conversation.other)

    def take(self, event: Event) -> None:
        """Take one event."""
        if not self._follower.done:
            self._follower.take(event)
        if isinstance(event, Closed):
            return
        if self._sides is not None:
            self._behind(event)
            return
        self._events.append(event)
        self._held += len(event.payload) if isinstance(event, Data) else 0
        if self._follower.done or self._held > MOST_BYTES:
            self._settle()

    def finish(self) -> Sides:
        """Return the plans: no further event will come."""
        self._follower.finish()
        sides = self._sides or self._settle()
        for side in sides:
            side.rest()
        for plan, end in zip(self.sides.plans, (self._conversation.opener, self._conversation.other), strict=True):
            plan.origin = end.origin
        return self.sides

    def _settle(self) -> "tuple[_Side, _Side]":
        """Go through what was said until now."""
        account = self._follower.account
        plans = self.sides.plans
        self._sides = _Side(0, plans[0], account, self._names), _Side(1, plans[1], account, self._names)
        for side in self._sides:
            side.begin(Said([event for event in self._events if event.side == side.number]))
        self._events.clear()
        return self._sides

    def _behind(self, event: Data | Gap) -> None:
        """Take what comes behind: headers of records stay."""
        assert self._sides is not None, "behind what was gone through"
        self._records += self._sides[event.side].behind(event)
        if self._records > MOST_RECORDS:
            self._conversation.done = True


class _Side:
    """One side, while its plan is made."""

    def __init__(self, number: int, plan: Plan, account: Account | None, names: Pseudonyms) -> None:
        self.number, self._plan, self._account, self._names = number, plan, account, names
        self._choice = Choice(account.version, account.suite) if account else Choice()
        self._is_tls13 = account is not None and account.is_tls13
        null = account is not None and account.suite is not None and account.suite.encryption == "NULL"
        self._null = null and not self._is_tls13
        self._reader: RecordReader = RecordReader()
        self._tls = False  # it speaks TLS
        self._changed = False  # a ChangeCipherSpec was sent
        self._said = Said([])
        self._next = 0  # offset behind the last record
        self._joined: list[tuple[int, bytes]] = []  # clear handshake records that hold a begun message

    def begin(self, said: Said) -> None:
        """Go through what the side said, dialogue first."""
        self._said = said
        start = self._start()
        for offset, content in said.runs(0, start):
            way = self._account.starttls if self._account else "none"
            self._plan.say(offset, dialogue.replaced(content, way, self._names))
        if start is None:
            return
        self._tls, self._next = True, start
        for event in said.events_from(start):
            for record in self._feed(event):
                self._record(record)

    def _start(self) -> int | None:
        """Where TLS begins: None where it never does."""
        account = self._account
        if account is None:
            return None
        is_hello = account.hello_first.side == self.number
        if account.ssl2 is not None:
            self._reader = Ssl2Reader(hello=is_hello, answer=not is_hello)
        if is_hello or account.ssl2 is not None:
            return account.hello_first.offset if is_hello else self._said.first
        role = account.role(self.number)
        starts = [record.end - record.length - HEADER_LENGTH for record, sender, _ in account.records if sender == role]
        if starts or account.stray_sender == role:
            return starts[0] if starts else None
        return self._said.first_record()

    def _feed(self, event: Data | Gap) -> list[Record]:
        records = self._reader.feed(event) if isinstance(event, Data) else self._reader.gap(event)
        if isinstance(event, Gap) and self._reader.lost:
            self._drop()
        return records

    def behind(self, event: Data | Gap) -> int:
        """Take what comes behind what was gone through; return how many records that was."""
        self._drop()
        self._said = Said([])
        records = self._feed(event) if self._tls else []
        for record in records:
            self._head(record)
            if record.content_type == ALERT and record.length == _ALERT and record.fragment:
                self._plan.say(record.end - _ALERT, record.fragment)
        return len(records)

    def rest(self) -> None:
        """Keep the headers of what was begun and never ended."""
        self._drop()
        if not self._tls or self._reader.lost or not self._reader.begun:
            return
        head = self._said.bytes(self._next, HEADER_LENGTH)
        if len(head) < HEADER_LENGTH or not plausible(head[0], *_u16s(head[1:])):
            return
        self._plan.say(self._next, head)
        if head[0] == HANDSHAKE and not self._sealed:
            self._plan.say(self._next + HEADER_LENGTH, self._said.bytes(self._next + HEADER_LENGTH, _MESSAGE_HEADER))

    @property
    def _sealed(self) -> bool:
        """Whether handshake records and alerts are sealed (RFC 5246 7.1)."""
        return self._changed and not self._is_tls13

    def _head(self, record: Record) -> int:
        """Keep the header of a record; return where its content begins."""
        start = record.end - record.length
        if record.content_type == UNTYPED:
            self._plan.say(self._next, self._said.bytes(self._next, start - self._next))
        else:
            head = bytes([record.content_type]) + record.version.to_bytes(2) + record.length.to_bytes(2)
            self._plan.say(start - HEADER_LENGTH, head)
        self._next = record.end
        return start

    def _record(self, record: Record) -> None:
        kind, content = record.content_type, record.fragment
        if kind == HANDSHAKE and not self._sealed and content is not None:
            self._handshake(record, content)
            return
        self._drop()
        start = self._head(record)
        if content is None:
            if kind == HANDSHAKE and not self._sealed:
                self._plan.say(start, self._said.bytes(start, _MESSAGE_HEADER))
            return
        if kind == CHANGE_CIPHER_SPEC:
            self._changed = True
            self._plan.say(start, content)
        elif kind == UNTYPED:
            self._plan.say(start, ssl2_message(content, self._names))
        elif kind in (ALERT, HANDSHAKE):
            self._plan.say(start, self._closed(kind, content))

    def _closed(self, kind: int, content: bytes) -> bytes:
        """Replace an alert, or what is sealed; a NULL cipher leaves the alert, or type and length, in clear."""
        if kind == ALERT and (len(content) == _ALERT or not self._sealed):
            return content
        clear = 0 if not self._null else _ALERT if kind == ALERT else _MESSAGE_HEADER
        return content[:clear] + self._names.noise(content[clear:])

    def _handshake(self, record: Record, content: bytes) -> None:
        """Take clear handshake records until their messages are whole (RFC 8446 5.1)."""
        self._joined.append((record.end - record.length, content))
        together = b"".join(part for _, part in self._joined)
        at = 0
        while at + _MESSAGE_HEADER <= len(together):
            at += _MESSAGE_HEADER + int.from_bytes(together[at + 1 : at + 4])
        if at == len(together):
            self._say_messages(together)
        self._next = record.end

    def _drop(self) -> None:
        """Say what is there of a message that will not be whole."""
        if self._joined:
            self._say_messages(b"".join(part for _, part in self._joined))

    def _say_messages(self, together: bytes) -> None:
        """Replace whole messages; of one that is not whole, the header stays."""
        out, at = [], 0
        while at < len(together):
            size = int.from_bytes(together[at + 1 : at + 4])
            start = at + _MESSAGE_HEADER
            head, body = together[at:start], together[start : start + size]
            whole = len(head) == _MESSAGE_HEADER and len(body) == size
            out += [head, message(head[0], body, self._choice, self._names) if whole else self._names.noise(body)]
            at += len(head) + len(body)
        self._spread(b"".join(out))

    def _spread(self, content: bytes) -> None:
        """Lay the content of handshake records back into them."""
        before, at = self._next, 0
        for start, part in self._joined:
            head = self._said.bytes(start - HEADER_LENGTH, HEADER_LENGTH)
            self._plan.say(start - HEADER_LENGTH, head)
            self._plan.say(start, content[at : at + len(part)])
            at += len(part)
        self._joined.clear()
        self._next = before


def _u16s(data: bytes) -> tuple[int, int]:
    return int.from_bytes(data[:2]), int.from_bytes(data[2:4])
