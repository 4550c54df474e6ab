"""Follows one connection: from what TCP delivered to the account of its TLS handshake.

The follower is a tap: it records odd things and goes on, and never rejects. Whether a message may stand where it
stands is asked of `figures`; what it all means is said by `outcome`.
"""

from collections.abc import Callable

from tlspcap.tls import figures, flights, names
from tlspcap.tls.account import CLIENT, SERVER, Account, Oddity, SeenAlert, SeenMessage, SeenRecord, SideAccount
from tlspcap.tls.ciphers import suite as suite_of
from tlspcap.tls.cursor import Malformed
from tlspcap.tls.messages import (
    Certificate,
    CertificateRequest,
    CertificateStatus,
    ClientHello,
    ClientKeyExchange,
    NewSessionTicket,
    ServerHello,
    ServerKeyExchange,
    parse,
)
from tlspcap.tls.records import (
    ALERT,
    APPLICATION_DATA,
    CHANGE_CIPHER_SPEC,
    CLIENT_HELLO,
    HANDSHAKE,
    HEARTBEAT,
    SERVER_HELLO,
    MessageJoiner,
    RawMessage,
    Record,
    RecordReader,
    Stray,
    hello_type,
    may_begin_record,
)
from tlspcap.transport import Closed, Conversation, Data, Event, Gap

MAX_RECORDS_AFTER = 64  # records of a side followed behind its Finished
MAX_RECORDS = 2_000  # records followed at all: a long chain takes some 25, early data more
MAX_ALERTS = 64
MAX_ODDITIES = 16
MAX_HELD = 6  # bytes of a begun hello held while its kind cannot be told: a record header and the message type

# Letters of Zeek's ssl_history (base/protocols/ssl); capitals are the client's.
HISTORY_LETTERS = {
    "hello_request": "h", "client_hello": "c", "server_hello": "s", "hello_verify_request": "v",
    "new_session_ticket": "t", "end_of_early_data": "e", "hello_retry_request": "j", "encrypted_extensions": "o",
    "certificate": "x", "server_key_exchange": "k", "certificate_request": "r", "server_hello_done": "n",
    "certificate_verify": "y", "client_key_exchange": "g", "finished": "f", "certificate_url": "w",
    "certificate_status": "u", "supplemental_data": "a", "key_update": "p", "change_cipher_spec": "i",
    "alert": "l", "application_data": "d", "heartbeat": "b",
}  # fmt: skip
OTHER_MESSAGE = "z"
FINISHED = names.HandshakeType.FINISHED


class Follower:
    """Follows one conversation. `take` its events in order; `account` is what was seen, None before a hello."""

    def __init__(self, conversation: Conversation) -> None:
        self.account: Account | None = None
        self.done = False  # nothing more can change the verdict, and one application exchange was seen
        self._conversation = conversation
        self._readers = (RecordReader(), RecordReader())
        self._joiners = (MessageJoiner(), MessageJoiner())
        self._held: list[Data | None] = [None, None]  # a payload too short to tell whether it begins a hello
        self._half_alerts = [b"", b""]

    def take(self, event: Event) -> None:
        """Work through one event."""
        if isinstance(event, Data):
            self._data(event)
        elif isinstance(event, Gap):
            self._gap(event)
        else:
            self._closed(event)

    # -- transport events ---------------------------------------------------------------------------------------

    def _data(self, data: Data) -> None:
        account = self.account
        if account is None:
            self._search(data)
            return
        if self.done:
            self._late(account, data)
            return
        account.turns.append((data.time, data.side))
        role = account.role(data.side)
        if role == SERVER and account.answer is None and account.hello_last is not None:
            account.answer = data
        self._read(account, role, data)

    def _read(self, account: Account, role: str, data: Data) -> None:
        reader = self._readers[data.side]
        for record in reader.feed(data):
            self._record(account, role, record)
        if reader.stray is not None and account.stray is None:
            self._stray(account, role, reader.stray)
        if not self.done and _settled(account):
            self.done = True

    def _gap(self, gap: Gap) -> None:
        self._held[gap.side] = None
        account = self.account
        if account is None or self.done:
            return
        self._readers[gap.side].gap(gap)
        if self._readers[gap.side].lost:
            self._joiners[gap.side].lose()
            self._half_alerts[gap.side] = b""
        side = account.side(account.role(gap.side))
        if len(side.gaps) < MAX_ODDITIES:
            side.gaps.append(gap)

    def _closed(self, closed: Closed) -> None:
        if self.account is not None:
            side = self.account.side(self.account.role(closed.side))
            side.closed = side.closed or closed

    def _search(self, data: Data) -> None:
        """Look for the hello that begins the handshake; what was said before it (STARTTLS) is passed over."""
        held = self._held[data.side]
        content = held.payload + data.payload if held else data.payload
        kind = hello_type(content)
        if not kind and len(content) < MAX_HELD and content[0] == HANDSHAKE and may_begin_record(content):
            self._held[data.side] = data._replace(payload=content) if held else data
            return
        self._held[data.side] = None
        if not kind and held:  # the held bytes were nothing; this packet may still begin a hello of its own
            held, kind = None, hello_type(data.payload)
        if kind:
            self._begin(held, data, kind)

    def _begin(self, held: Data | None, data: Data, kind: int) -> None:
        client = data.side if kind == CLIENT_HELLO else 1 - data.side
        self.account = Account(self._conversation, SideAccount(client), SideAccount(1 - client), held or data)
        if kind == SERVER_HELLO:  # the ClientHello was not captured
            self.account.client.state = figures.TABLE.moves[CLIENT, figures.TABLE.start, "client_hello"]
        if held:
            self._data(held)
        self._data(data)

    # -- records ------------------------------------------------------------------------------------------------

    def _record(self, account: Account, role: str, record: Record) -> None:
        side = account.side(role)
        sealed = _is_sealed(account, side, record)
        if len(account.records) >= MAX_RECORDS:
            self.done = True
            _odd(account, "cap_reached", record.first, f"more than {MAX_RECORDS} records; the rest was not followed")
            return
        account.records.append(SeenRecord(record, role, sealed))
        side.last_position = len(account.records) - 1
        if side.finished is not None or (account.server_hello is not None and account.is_tls13):
            side.after += 1
        if sealed:
            _sealed(account, role, side, record)
        elif record.content_type == HANDSHAKE:
            if side.change_cipher_spec is not None:
                record = record._replace(fragment=_clear_content(account, record))
            for message in self._joiners[side.number].feed(record):
                self._message(account, role, message)
                if message.code == FINISHED:  # in clear under a NULL cipher
                    side.finished = side.finished or record
            if self._joiners[side.number].oversized:
                _odd(account, "cap_reached", record.first, "a handshake message too long to be joined was passed over")
        elif record.content_type == CHANGE_CIPHER_SPEC:
            _change_cipher_spec(account, role, side, record)
        elif record.content_type == ALERT:
            self._alert(account, role, record)
        elif record.content_type == HEARTBEAT:
            _history(account, role, "heartbeat", record.first)

    def _alert(self, account: Account, role: str, record: Record) -> None:
        """Alerts in clear, two bytes each. A record may hold several, or half of one (RFC 8446 5.1 forbids it)."""
        side = account.side(role)
        content = self._half_alerts[side.number] + _clear_content(account, record)
        usable = len(content) & ~1
        self._half_alerts[side.number] = content[usable:]
        for index in range(0, usable, 2):
            if len(account.alerts) >= MAX_ALERTS:
                _odd(account, "cap_reached", record.first, f"more than {MAX_ALERTS} alerts; the rest was not kept")
                return
            level, code = content[index], content[index + 1]
            if level not in (1, 2):  # RFC 8446 6: warning and fatal are all there is
                _odd(account, "bad_message", record.first, f"an alert record from the {role} that holds no alert")
                return
            account.alerts.append(SeenAlert(record.first, role, level, code, len(account.records) - 1))
            account.messages.append(SeenMessage(record.first, role, "alert", 2, record.version))
            _history(account, role, "alert", record.first)

    def _stray(self, account: Account, role: str, stray: Stray) -> None:
        account.stray, account.stray_sender = stray, role
        if account.server_hello is None and role == SERVER:
            self.done = True  # an answer that is no TLS: nothing later can change that

    # -- messages -----------------------------------------------------------------------------------------------

    def _message(self, account: Account, role: str, raw: RawMessage) -> None:
        try:
            message = parse(raw.code, raw.body, account.version, account.suite)
        except Malformed as trouble:
            name = names.handshake_type_name(raw.code)
            _odd(account, "bad_message", raw.first, f"{name} from the {role} does not parse: {trouble}")
            message = None
        name = names.handshake_type_name(raw.code)
        if isinstance(message, ServerHello) and message.is_retry:
            name = "hello_retry_request"
        account.messages.append(SeenMessage(raw.first, role, name, len(raw.body), raw.version))
        _history(account, role, name, raw.first)
        _step(account, role, name, raw.first)
        if message is not None:
            keep = _KEEPERS.get(type(message))
            if keep is not None:
                keep(account, role, message, raw)

    # -- behind the end -----------------------------------------------------------------------------------------

    def _late(self, account: Account, data: Data) -> None:
        """A packet behind what was followed: of it, only an alert that is a whole record counts."""
        reader = RecordReader()
        for record in reader.feed(data):
            side = account.side(account.role(data.side))
            if record.content_type == ALERT and len(side.sealed_alerts) < MAX_ALERTS:
                side.sealed_alerts.append(SeenAlert(record.first, account.role(data.side), None, None, 1 << 30))


def _settled(account: Account) -> bool:
    """Whether one application exchange behind the handshake was seen, or its cap of records was reached."""
    client, server = account.client, account.server
    if client.after > MAX_RECORDS_AFTER or server.after > MAX_RECORDS_AFTER:
        return True
    if client.finished and server.finished:
        return client.application is not None and server.application is not None
    return len(client.sealed) > 1 and len(server.sealed) > 1 and flights.exchanged(account)


def _is_sealed(account: Account, side: SideAccount, record: Record) -> bool:
    """By record type in TLS 1.3, by ChangeCipherSpec before it (RFC 8446 5.2, RFC 5246 7.1); never by length."""
    if record.content_type == APPLICATION_DATA:
        return True
    if record.content_type == CHANGE_CIPHER_SPEC or side.change_cipher_spec is None or account.is_tls13:
        return False
    return not (account.suite is not None and account.suite.encryption == "NULL")


def _clear_content(account: Account, record: Record) -> bytes:
    """The content of a clear record, without the MAC that a NULL cipher adds (RFC 5246 6.2.3.1)."""
    content = record.fragment or b""
    side = account.client if account.client.number == record.first.side else account.server
    if side.change_cipher_spec is not None and not account.is_tls13 and account.suite is not None:
        return content[: max(0, len(content) - account.suite.mac_length)]
    return content


def _sealed(account: Account, role: str, side: SideAccount, record: Record) -> None:
    if record.content_type == APPLICATION_DATA:
        _sealed_data(account, role, side, record)
    elif record.content_type == HANDSHAKE:
        if side.finished is None:
            side.finished = record
            _step(account, role, "finished", record.first)
        account.messages.append(SeenMessage(record.first, role, "sealed", record.length, record.version))
    elif record.content_type == ALERT and len(side.sealed_alerts) < MAX_ALERTS:
        side.sealed_alerts.append(SeenAlert(record.first, role, None, None, len(account.records) - 1))


def _sealed_data(account: Account, role: str, side: SideAccount, record: Record) -> None:
    if account.server_hello is None and account.is_tls13:
        side.early.append(record)
        name = "application_data" if len(side.early) == 1 else ""
    elif account.is_tls13:
        side.sealed.append(record)
        name = "sealed"
    else:
        name = "application_data" if side.application is None else ""
        side.application = side.application or record
    if name:
        account.messages.append(SeenMessage(record.first, role, name, record.length, record.version))


def _change_cipher_spec(account: Account, role: str, side: SideAccount, record: Record) -> None:
    side.change_cipher_spec = side.change_cipher_spec or record
    account.messages.append(SeenMessage(record.first, role, "change_cipher_spec", record.length, record.version))
    _history(account, role, "change_cipher_spec", record.first)
    if not account.is_tls13:  # in TLS 1.3 it only pleases middleboxes and may come anywhere (RFC 8446 D.4)
        _step(account, role, "change_cipher_spec", record.first)


def _step(account: Account, role: str, name: str, data: Data) -> None:
    """Move a side along the figures; what they do not allow is noted and moves nothing."""
    side, other = account.side(role), account.server if role == CLIENT else account.client
    after = figures.TABLE.moves.get((role, side.state, name))
    if after is None:
        expected = ", ".join(figures.TABLE.expected[role, side.state]) or "nothing more"
        _odd(account, "unexpected_message", data, f"{name} from the {role}; expected: {expected}")
        return
    side.steps.append(name)
    side.state = after
    if role == SERVER:
        other.state = figures.narrow(other.state, figures.figures_of(after))


def _odd(account: Account, kind: str, data: Data, detail: str) -> None:
    if len(account.oddities) < MAX_ODDITIES and not any(o.kind == kind == "cap_reached" for o in account.oddities):
        account.oddities.append(Oddity(kind, data, detail))


def _history(account: Account, role: str, name: str, data: Data) -> None:
    letter = HISTORY_LETTERS.get(name, OTHER_MESSAGE)
    account.history.append((letter.upper() if role == CLIENT else letter, data.time))


# -- what is kept of each message -------------------------------------------------------------------------------


def _keep_client_hello(account: Account, role: str, message: ClientHello, raw: RawMessage) -> None:
    if role != CLIENT:
        return
    if account.hello is None:
        account.hello, account.hello_last, account.offered_max = message, raw.last, message.offered_version_max
        account.decide_rules()
    elif account.second_hello is None and account.server_hello is None:
        account.second_hello = message


def _keep_server_hello(account: Account, role: str, message: ServerHello, raw: RawMessage) -> None:
    if role != SERVER:
        return
    if message.is_retry:
        account.retry = account.retry or message
    elif account.server_hello is None:
        account.server_hello, account.version = message, message.version
        account.decide_rules()
        account.suite = suite_of(message.cipher_suite)
    else:
        return
    family = "1.3" if account.is_tls13 else "1.2"
    account.server.state = figures.cue(account.server.state, family)
    account.client.state = figures.cue(account.client.state, family)


def _keep_certificate(account: Account, role: str, message: Certificate, raw: RawMessage) -> None:
    if role == SERVER and account.chain is None:
        account.chain = message.certificates
    elif role == CLIENT and account.client_chain is None:
        account.client_chain = message.certificates


def _keep_certificate_request(account: Account, role: str, message: CertificateRequest, raw: RawMessage) -> None:
    account.certificate_request = account.certificate_request or message


def _keep_key_exchange(account: Account, role: str, message: ServerKeyExchange, raw: RawMessage) -> None:
    account.key_exchange = account.key_exchange or message


def _keep_status(account: Account, role: str, message: CertificateStatus, raw: RawMessage) -> None:
    account.stapled = True


def _keep_ticket(account: Account, role: str, message: NewSessionTicket, raw: RawMessage) -> None:
    account.ticket_issued = True


def _keep_client_key_exchange(account: Account, role: str, message: ClientKeyExchange, raw: RawMessage) -> None:
    if account.server_hello is None:
        account.is_tls13 = False  # no TLS 1.3 client sends one: the ServerHello that the capture lacks chose less


_KEEPERS: dict[type, Callable[..., None]] = {
    ClientHello: _keep_client_hello,
    ServerHello: _keep_server_hello,
    Certificate: _keep_certificate,
    CertificateRequest: _keep_certificate_request,
    ServerKeyExchange: _keep_key_exchange,
    CertificateStatus: _keep_status,
    NewSessionTicket: _keep_ticket,
    ClientKeyExchange: _keep_client_key_exchange,
}
