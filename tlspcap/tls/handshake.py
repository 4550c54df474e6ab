"""Follows one connection: from what TCP delivered to the account of its TLS handshake.

The follower is a tap: it records odd things and goes on, and never rejects. Whether a message may stand where it
stands is asked of `figures`; what it all means is said by `outcome`.
"""

from collections.abc import Iterator

from tlspcap.tls import figures, flights, names, sealed_records, ssl2, ssl2_handshake
from tlspcap.tls.account import CLIENT, SERVER, Account, SeenAlert, SeenMessage, SeenRecord, SideAccount
from tlspcap.tls.causality import Causality
from tlspcap.tls.dialogue import Dialogue, Refusal
from tlspcap.tls.keylog import KeyLog
from tlspcap.tls.noting import history, odd, step
from tlspcap.tls.opening import Opening
from tlspcap.tls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    CLIENT_HELLO,
    HANDSHAKE,
    HEARTBEAT,
    SERVER_HELLO,
    UNTYPED,
    MessageJoiner,
    Record,
    RecordReader,
    Stray,
    hello_type,
    may_begin_record,
)
from tlspcap.tls.ssl2_records import Reader as Ssl2Reader
from tlspcap.tls.taking import MAX_ALERTS, alerts, message
from tlspcap.transport import Closed, Conversation, Data, Event, Gap, Run

MAX_RECORDS_AFTER = 64  # records of a side followed behind its Finished
# The same in bytes: a peer that has not read what it was sent has room for no more, as systems are set up.
MAX_BYTES_AFTER = 256 << 10
MAX_RECORDS = 2_000  # records followed at all: a long chain takes some 25, early data more
MAX_MESSAGES = 2_000  # handshake messages in clear, with records that are shown as one; a handshake has some 20
MAX_GAPS = 16  # of a side
MAX_TURNS = 4_096  # packets with data whose times are kept
MAX_HELD = 6  # bytes of a begun TLS hello held while its kind cannot be told: a record header and the message type

ALERT_RECORD = bytes((ALERT, 3))  # what an alert's record begins with in any version
BEHIND_ALL = 1 << 30  # position of an alert behind what was followed
FINISHED = int(names.HandshakeType.FINISHED)
_new = tuple.__new__  # makes a NamedTuple without the detour through its own __new__


class Follower:
    """Follows one conversation. `take` its events as they come, then `finish`.

    `account` is what was seen, None before a hello.
    """

    def __init__(self, conversation: Conversation, keys: KeyLog | None = None) -> None:
        """`keys`: a key log that opens what is sealed, as far as it goes."""
        self.account: Account | None = None
        self.done = False  # nothing more can change the verdict, and one application exchange was seen
        self._conversation = conversation
        self._halves = (_Half(), _Half())
        self._order = Causality()
        self._dialogue = Dialogue()
        self._keys = keys
        self._opening: Opening | None = None  # once there are keys

    @property
    def refusal(self) -> Refusal | None:
        """A request for TLS that was declined, and no hello came behind it."""
        return self._dialogue.refusal if self.account is None else None

    def take_run(self, run: Run) -> None:
        """Take the events of a run as they come, as `take` does one by one; when that is done, leave the rest."""
        done = self.done
        if run.orderly and not done and not self._order.waits:
            self._take_orderly(run.events)
            return
        for event in run.events:
            self.take(event)
            if self.done is not done:
                return

    def _take_orderly(self, events: Iterator[Event]) -> None:
        """Take events of which none can have to wait, until that is done."""
        halves, account = self._halves, self.account
        newest: list[Data | None] = [None, None]
        for event in events:
            if type(event) is not Data:
                self._work(event)
                continue
            side = event.side
            newest[side] = event
            if account is not None:
                self._read(account, halves[side], event)
            else:
                self._search(halves[side], event)
                account = self.account
            if self.done:
                return
        for data in newest:
            if data is not None:
                self._order.note(data)

    def take(self, event: Event) -> None:
        """Take one event; it may have to wait for others."""
        if (self.done and not self._order.waits) or self._order.passes(event):
            self._work(event)  # behind the end, what one side does is no matter of the other
        else:
            for ready in self._order.take(event):
                self._work(ready)

    def finish(self) -> None:
        """Work through what still waits: no further event will come."""
        for ready in self._order.rest():
            self._work(ready)

    def _work(self, event: Event) -> None:
        if type(event) is Data:
            account, half = self.account, self._halves[event.side]
            if account is None:
                self._search(half, event)
            elif self.done:
                self._late(half, event)
            else:
                self._read(account, half, event)
        elif type(event) is Gap:
            self._gap(event)
        elif type(event) is Closed:
            self._closed(event)

    # -- transport events ---------------------------------------------------------------------------------------

    def _read(self, account: Account, half: "_Half", data: Data) -> None:
        turns = account.turns
        if len(turns) < MAX_TURNS:
            turns.append((data.time, data.side))
        else:
            odd(account, "cap_reached", data, f"more than {MAX_TURNS} packets with data; the rest is not timed")
        if account.answer is None and half.role == SERVER and account.hello_last is not None:
            account.answer = data
        reader = half.reader
        if self._keys is not None and data.frame > self._keys.since:
            reader.keeps = True
            self._opening = self._opening or Opening(account, self._keys)
        for record in reader.feed(data):
            self._record(account, half, record)
        if reader.lost:
            self._astray(account, half.role, reader.stray)
        if half.seen.after and not self.done and _settled(account, half.seen):
            self.done = True

    def _astray(self, account: Account, role: str, stray: Stray | None) -> None:
        """Note that a side's next record is not found: there are bytes that are none, or some are missing."""
        if self._opening is not None:
            self._opening.lose(role)
        if stray is not None and account.stray is None:
            self._stray(account, role, stray)

    def _gap(self, gap: Gap) -> None:
        account, half = self.account, self._halves[gap.side]
        half.held = []
        if account is None or (account.hello is None and account.hello_first.side != gap.side):
            self._lose(half, gap)
        if account is None or self.done:
            return
        if len(half.seen.gaps) < MAX_GAPS:
            half.seen.gaps.append(gap)
        else:
            odd(account, "cap_reached", gap, f"more than {MAX_GAPS} gaps of the {half.role}; the rest is not noted")
        for record in half.reader.gap(gap):
            self._record(account, half, record)
        if half.reader.lost:
            half.joiner.lose()
            half.half_alert = b""
            if self._opening is not None:
                self._opening.lose(half.role)

    def _lose(self, half: "_Half", gap: Gap) -> None:
        """Note bytes that are missing before a side's hello: they may have been a request for TLS."""
        half.lost = half.lost or gap
        self._dialogue.lose(gap.side)
        if self.account is not None:  # the server's hello was seen first
            self.account.starttls = self._dialogue.spoken(gap.side, 1 - gap.side)

    def _closed(self, closed: Closed) -> None:
        if self.account is not None:
            seen = self._halves[closed.side].seen
            seen.closed = seen.closed or closed

    def _search(self, half: "_Half", data: Data) -> None:
        """Look for the hello that begins the handshake, and take what is said before it (STARTTLS, a proxy)."""
        rest = [] if self.done else [data]
        while rest:
            if self.account is None:
                rest[:1] = self._look(half, rest[0])
            else:
                self._work(rest.pop(0))
        if self.account is None and self._dialogue.spent:
            self.done = True

    def _look(self, half: "_Half", data: Data) -> list[Data]:
        """Look whether a payload begins a hello, else take it as dialogue; return what is left of it to look at."""
        pieces = [*half.held, data]
        content = b"".join([piece.payload for piece in pieces]) if half.held else data.payload
        kind = hello_type(content) or self._ssl2_hello_type(data.side, content)
        if kind:
            self._begin(pieces[0], kind)
            return pieces
        if self._may_begin_hello(data.side, content):
            half.held = pieces
            return []
        # the first piece is nothing; each of the others may still begin a hello of its own
        half.held, first = [], pieces[0]
        taken = self._dialogue.take(first)
        left = first.payload[taken:]
        return [first._replace(payload=left, offset=first.offset + taken), *pieces[1:]] if left else pieces[1:]

    def _ssl2_hello_type(self, side: int, content: bytes) -> int:
        """1 or 2 where a payload begins with a hello of SSL 2.0, else 0; never behind something that is not known."""
        kind = ssl2.hello_type(content) if content[0] >= ssl2.LONG else 0
        client = side if kind == CLIENT_HELLO else 1 - side
        return kind if kind and self._dialogue.spoken(client, side) is not None else 0

    def _may_begin_hello(self, side: int, content: bytes) -> bool:
        """Whether a payload is too short to tell, and may begin a hello."""
        if content[0] == HANDSHAKE:
            return len(content) < MAX_HELD and may_begin_record(content)
        return ssl2.may_begin_hello(content) and self._dialogue.spoken(side, side) is not None

    def _begin(self, data: Data, kind: int) -> None:
        client = data.side if kind == CLIENT_HELLO else 1 - data.side
        account = Account(self._conversation, SideAccount(client), SideAccount(1 - client), data)
        self.account = account
        account.starttls, refusal = self._dialogue.spoken(client, data.side), self._dialogue.refusal
        account.greeting = self._dialogue.greeting(1 - client)
        if refusal is not None:
            odd(account, "starttls_refused", refusal.data, f"{refusal.words}, and a hello came all the same")
        self._halves[client].begin(CLIENT, account.client)
        self._halves[1 - client].begin(SERVER, account.server)
        if data.payload[0] >= ssl2.LONG:
            other = Ssl2Reader(answer=kind == CLIENT_HELLO)
            self._halves[data.side].reader, self._halves[1 - data.side].reader = Ssl2Reader(hello=True), other
        if kind == SERVER_HELLO:  # the ClientHello was not captured
            account.client.state = figures.TABLE.moves[CLIENT, figures.TABLE.start, "client_hello"]
            lost = self._halves[client].lost
            account.client.gaps += [lost] if lost else []

    # -- records ------------------------------------------------------------------------------------------------

    def _record(self, account: Account, half: "_Half", record: Record) -> None:
        side, role, kind, records = half.seen, half.role, record.content_type, account.records
        if len(records) >= MAX_RECORDS:
            self.done = True
            odd(account, "cap_reached", record.first, f"more than {MAX_RECORDS} records; the rest was not followed")
            return
        if kind == UNTYPED:
            ssl2_handshake.take(account, role, record)
            return
        if side.finished is not None or (account.is_tls13 and account.server_hello is not None):
            side.after += 1
            side.bytes_after += record.length
        sealed = kind == APPLICATION_DATA or (
            (side.change_cipher_spec is not None or kind == ALERT) and sealed_records.is_sealed(account, side, record)
        )
        if sealed and self._opening is not None:
            whole, record = record, record._replace(fragment=b"")  # what it holds is read now or never
            records.append(SeenRecord(record, role, sealed))
            if self._opening.take(role, whole):
                return
        else:
            records.append(_new(SeenRecord, (record, role, sealed)))
        if kind == APPLICATION_DATA:
            sealed_records.take_data(account, role, side, record)
        elif sealed:
            sealed_records.take(account, role, side, record)
        elif kind == HANDSHAKE:
            self._handshake(account, half, record)
        elif kind == CHANGE_CIPHER_SPEC:
            _change_cipher_spec(account, role, side, record)
        elif kind == ALERT:
            _clear_alerts(account, half, record)
        elif kind == HEARTBEAT:
            history(account, role, "heartbeat", record.first)
        else:
            detail = f"a record of the {role} has a type that is not known: {names.content_type_name(kind)}"
            odd(account, "unexpected_message", record.first, detail)

    def _handshake(self, account: Account, half: "_Half", record: Record) -> None:
        """Handshake messages in clear; under a NULL cipher those behind the ChangeCipherSpec too."""
        null = half.seen.change_cipher_spec is not None and not account.is_tls13
        if null and record.fragment is not None:
            record = record._replace(fragment=_without_mac(account, record.fragment))
        for raw in half.joiner.feed(record):
            if len(account.messages) >= MAX_MESSAGES:
                self.done = True
                odd(account, "cap_reached", raw.first, f"more than {MAX_MESSAGES} messages; the rest was not followed")
                break
            message(account, half.role, raw)
            if null and raw.code == FINISHED:
                half.seen.finished = half.seen.finished or record
        if half.joiner.oversized:
            odd(account, "cap_reached", record.first, "a handshake message too long to be joined was passed over")

    def _stray(self, account: Account, role: str, stray: Stray) -> None:
        account.stray, account.stray_sender = stray, role
        if account.server_hello is None and role == SERVER:
            self.done = True  # an answer that is no TLS: nothing later can change that
        else:
            odd(account, "bad_message", stray.data, f"bytes of the {role} that are no TLS record, in mid-handshake")

    # -- behind the end -----------------------------------------------------------------------------------------

    def _late(self, half: "_Half", data: Data) -> None:
        """A packet behind what was followed: of it, only an alert that is a whole record counts."""
        if ALERT_RECORD not in data.payload or (self.account is not None and self.account.is_ssl2):
            return
        for record in RecordReader().feed(data):
            if record.content_type == ALERT and len(half.seen.sealed_alerts) < MAX_ALERTS:
                half.seen.sealed_alerts.append(SeenAlert(record.first, half.role, None, None, BEHIND_ALL))


_NOBODY = SideAccount(0)  # stands for a side's account before there is one; nothing is written to it


class _Half:
    """What is at hand of one side while it is followed."""

    __slots__ = ("half_alert", "held", "joiner", "lost", "reader", "role", "seen")

    def __init__(self) -> None:
        self.role = ""
        self.seen = _NOBODY  # its place in the account, once there is one
        self.reader = RecordReader()
        self.joiner = MessageJoiner()
        self.held: list[Data] = []  # payloads too short to tell whether they begin a hello
        self.half_alert = b""
        self.lost: Gap | None = None  # the first before a hello was seen

    def begin(self, role: str, seen: SideAccount) -> None:
        """Take a role: the hello has told who is the client."""
        self.role, self.seen = role, seen


def _settled(account: Account, newest: SideAccount) -> bool:
    """Whether one application exchange behind the handshake was seen, or as much of one side as is followed."""
    if newest.after > MAX_RECORDS_AFTER or newest.bytes_after > MAX_BYTES_AFTER:
        return True
    client, server = account.client, account.server
    if client.finished and server.finished and not account.is_tls13:
        return client.application is not None and server.application is not None
    return len(client.sealed) > 1 and len(server.sealed) > 1 and flights.exchanged(account)


def _without_mac(account: Account, content: bytes) -> bytes:
    """The content of a record under a NULL cipher, without the MAC behind it (RFC 5246 6.2.3.1)."""
    return content[: max(0, len(content) - account.suite.mac_length)] if account.suite else content


def _clear_alerts(account: Account, half: _Half, record: Record) -> None:
    content = record.fragment or b""
    if half.seen.change_cipher_spec is not None and not account.is_tls13:
        content = _without_mac(account, content)
    half.half_alert = alerts(account, half.role, record, half.half_alert + content)


def _change_cipher_spec(account: Account, role: str, side: SideAccount, record: Record) -> None:
    side.rekeyed = side.change_cipher_spec is not None
    side.change_cipher_spec = side.change_cipher_spec or record
    seen = (record.pieces[0], role, "change_cipher_spec", record.length, record.version)
    account.messages.append(_new(SeenMessage, seen))
    history(account, role, "change_cipher_spec", record.first)
    # In TLS 1.3 it only pleases middleboxes and may come anywhere (RFC 8446 D.4). Behind a Finished it is of a
    # renegotiation.
    if not account.is_tls13 and side.finished is None:
        step(account, role, "change_cipher_spec", record.first)
