"""The record layer: records from the bytes of one side, and handshake messages and alerts joined across records.

A record may span many packets and a packet may hold many records; a message may span many records and a record
many messages (RFC 8446 5.1). Each record and message remembers the packets that carry it, so that a message can
be pointed at by the frame that holds its first byte.
"""

from bisect import bisect_right
from operator import attrgetter
from struct import Struct
from typing import NamedTuple

from tlspcap.transport import Data, Gap

CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, APPLICATION_DATA, HEARTBEAT = 20, 21, 22, 23, 24
UNTYPED = -1  # records of SSL 2.0, which name no type
CLIENT_HELLO, SERVER_HELLO = 1, 2
HEADER_LENGTH = 5
MAX_LENGTH = 2**14 + 2048  # RFC 5246 6.2.3: the longest TLSCiphertext of any version
MAX_MESSAGE = 2**21  # a longer handshake message is not joined; RFC 8446 4 would allow 2**24
_HEADER = Struct(">BHH")
_unpack = _HEADER.unpack_from
_OFFSET = attrgetter("offset")
_new = tuple.__new__
_USUAL_TYPES = frozenset(range(CHANGE_CIPHER_SPEC, HEARTBEAT + 1))
_CLEAR_TYPES = frozenset((CHANGE_CIPHER_SPEC, ALERT, HANDSHAKE, HEARTBEAT, UNTYPED))


class Record(NamedTuple):
    """One TLS record, complete on the wire."""

    pieces: tuple[Data, ...]  # packets that carry it, in order; of a long one that is not kept, the first and the last
    content_type: int
    version: int
    length: int
    fragment: bytes | None  # its content; None where the capture lacks some of it, b"" where nobody will read it
    end: int  # stream offset behind it

    @property
    def first(self) -> Data:
        """The packet that carries its first byte."""
        return self.pieces[0]

    @property
    def last(self) -> Data:
        """The packet that completed it."""
        return self.pieces[-1]


class RawMessage(NamedTuple):
    """One handshake message, its body not yet read."""

    code: int
    body: bytes
    first: Data  # the packet that carries its first byte
    last: Data  # the packet that completed it
    version: int  # of the record that holds its first byte


class Stray(NamedTuple):
    """Bytes where a record header should have been."""

    data: Data
    content: bytes


def plausible(content_type: int, version: int, length: int) -> bool:
    """Whether three header fields can belong to a TLS record of any version (RFC 8446 5.1; SSL 3.0 RFC 6101 5.2.1)."""
    return CHANGE_CIPHER_SPEC <= content_type <= HEARTBEAT and version >> 8 == 3 and length <= MAX_LENGTH


def may_begin_record(content: bytes) -> bool:
    """Whether bytes, perhaps fewer than a header, may begin a record."""
    if len(content) >= HEADER_LENGTH:
        return plausible(*_HEADER.unpack_from(content))
    return not content or (CHANGE_CIPHER_SPEC <= content[0] <= HEARTBEAT and content[1:2] in (b"", b"\x03"))


def acceptable(content: bytes) -> bool:
    """Whether bytes, perhaps fewer than a header, may begin a record behind others: its type may be unknown."""
    if content[1:2] not in (b"", b"\x03") or content[2:3] > b"\x04":
        return False
    return len(content) < HEADER_LENGTH or 0 < int.from_bytes(content[3:5]) <= MAX_LENGTH


def hello_type(content: bytes) -> int:
    """1 or 2 where a payload begins with a ClientHello or a ServerHello record, else 0."""
    if len(content) < HEADER_LENGTH + 1 or content[0] != HANDSHAKE or not may_begin_record(content):
        return 0
    return content[HEADER_LENGTH] if content[HEADER_LENGTH] in (CLIENT_HELLO, SERVER_HELLO) else 0


class RecordReader:
    """Cuts the bytes of one side into records. Feed it `Data` in order, and `Gap` where bytes are missing."""

    def __init__(self) -> None:
        self.stray: Stray | None = None  # the first bytes that were no record
        self.lost = False  # after a gap or stray bytes: looking for the next record boundary
        self._in_step = False  # a record was read
        self.keeps = False  # somebody will read the content of application data too: there are keys
        self._head = b""  # a begun header
        self._header: tuple[int, int, int] | None = None  # of the record that is being gathered
        self._pieces: list[Data] = []
        self._parts: list[bytes] = []
        self._missing = 0  # bytes of that record still to come
        self._damaged = False  # some of that record was lost

    @property
    def begun(self) -> bool:
        """Whether a record has begun and is not complete."""
        return bool(self._head) or self._header is not None

    def feed(self, data: Data) -> list[Record]:
        """Return the records that `data` completes."""
        records: list[Record] = []
        payload, position = data.payload, 0
        if self.lost:
            position = self._resync(payload)
        elif self._header is not None:
            position = self._continue(data, records)
        elif self._head:
            position = self._complete_head(data, records)
        end = len(payload)
        while position < end:
            if end - position < HEADER_LENGTH:
                self._begin_head(data, payload[position:], records)
                break
            kind, version, length = _unpack(payload, position)
            usual = version >> 8 == 3 and kind in _USUAL_TYPES and length <= MAX_LENGTH  # as `plausible`, in place
            if not usual and not self._goes_on(payload[position:], records):
                self._lose(data, payload[position:])
                break
            start = position + HEADER_LENGTH
            position = start + length
            if position > end:
                self._begin(data, (kind, version, length), payload[start:])
            else:
                fragment = b"" if kind == APPLICATION_DATA and not self.keeps else payload[start:position]
                # most records come this way: a tuple made without the detour through Record's own __new__
                records.append(_new(Record, ((data,), kind, version, length, fragment, data.offset + position)))
        if records:
            self._in_step = True
        return records

    def gap(self, gap: Gap) -> list[Record]:
        """Step over missing bytes: inside the body of one record its end is still known, else the boundary is lost.

        Return the record that ends with them: its header says what was sent, though nothing of the end was captured.
        """
        if self._header is None or gap.length > self._missing or self._head:
            self._reset()
            self.lost = True
            return []
        self._missing -= gap.length
        self._damaged = True
        if self._missing:
            return []
        record = Record(tuple(self._pieces), *self._header, fragment=None, end=gap.offset + gap.length)
        self._reset()
        return [record]

    def _begin(self, data: Data, header: tuple[int, int, int], content: bytes) -> None:
        self._header, self._pieces = header, [data]
        self._parts = [content] if self.keeps or header[0] in _CLEAR_TYPES else []
        self._missing = header[2] - len(content)

    def _goes_on(self, content: bytes, records: list[Record]) -> bool:
        """Whether a record of a type that is not known may begin: only where others were read before it."""
        return (self._in_step or bool(records)) and acceptable(content)

    def _begin_head(self, data: Data, content: bytes, records: list[Record]) -> None:
        if may_begin_record(content) or self._goes_on(content, records):
            self._head, self._pieces = content, [data]
        else:
            self._lose(data, content)

    def _complete_head(self, data: Data, records: list[Record]) -> int:
        """Join a header that is split between packets; return how far `data` is used up."""
        used = HEADER_LENGTH - len(self._head)
        head = self._head + data.payload[:used]
        pieces, self._head = [*self._pieces, data], b""
        if not may_begin_record(head) and not self._goes_on(head, records):
            self._lose(data, head)
            return len(data.payload)
        if len(head) < HEADER_LENGTH:
            self._head, self._pieces = head, pieces
            return len(data.payload)
        self._begin(data, _HEADER.unpack(head), b"")
        self._pieces = pieces
        return used + self._take(data, records, used)

    def _continue(self, data: Data, records: list[Record]) -> int:
        """Go on with a begun record; return how far `data` is used up."""
        if self._parts or len(self._pieces) == 1:
            self._pieces.append(data)
        else:
            self._pieces[-1] = data  # content that nobody reads: its first and last packet are enough
        return self._take(data, records, 0)

    def _take(self, data: Data, records: list[Record], start: int) -> int:
        content = data.payload[start : start + self._missing]
        self._missing -= len(content)
        if self._parts:
            self._parts.append(content)
        if not self._missing and self._header is not None:
            fragment = None if self._damaged else b"".join(self._parts)
            end = data.offset + start + len(content)
            records.append(Record(tuple(self._pieces), *self._header, fragment=fragment, end=end))
            self._reset()
        return len(content)

    def _reset(self) -> None:
        self._head, self._header, self._pieces, self._parts = b"", None, [], []
        self._missing, self._damaged = 0, False

    def _lose(self, data: Data, content: bytes) -> None:
        if self.stray is None:
            self.stray = Stray(data, content[:256])
        self._reset()
        self.lost = True

    def _resync(self, payload: bytes) -> int:
        """Find where records begin again: the first place from which headers run back to back to the payload's end."""
        position = 0 if _begins_with_record(payload) else _boundary(payload)
        self.lost = position == len(payload)
        return position


def _begins_with_record(payload: bytes) -> bool:
    """Whether headers run back to back from the very start, as segments often do; the last may run past the end."""
    position, end = 0, len(payload)
    while position + HEADER_LENGTH <= end:
        header = _HEADER.unpack_from(payload, position)
        if not header[2] or not plausible(*header):
            return False
        position += HEADER_LENGTH + header[2]
    return position > 0 and may_begin_record(payload[position:])


def _boundary(payload: bytes) -> int:
    """The first place whose chain of record headers ends with the payload; the payload's length where there is none.

    Worked from the end, so that the time is linear whatever the bytes.
    """
    end = len(payload)
    holds = bytearray(end + 1)
    holds[end] = 1
    best = end
    for position in range(end - HEADER_LENGTH, -1, -1):
        if not CHANGE_CIPHER_SPEC <= payload[position] <= HEARTBEAT or payload[position + 1] != 3:
            continue
        header = _HEADER.unpack_from(payload, position)
        behind = position + HEADER_LENGTH + header[2]
        if header[2] and plausible(*header) and behind <= end and holds[behind]:
            holds[position] = 1
            best = position
    return best


class MessageJoiner:
    """Joins handshake messages across the clear handshake records of one side (RFC 8446 5.1)."""

    def __init__(self) -> None:
        self.oversized = False  # a message longer than MAX_MESSAGE was passed over
        self._parts: list[bytes] = []
        self._held = 0  # bytes in _parts
        self._wanted = 0  # bytes of the message at hand, header included; 0 while the header is not whole
        self._first: Data | None = None
        self._version = 0
        self._lost = False  # a record was damaged: waiting for one that begins with a whole message

    @property
    def begun(self) -> bool:
        """Whether a message has begun and is not complete."""
        return self._held > 0

    def feed(self, record: Record) -> list[RawMessage]:
        """Return the messages that a record completes; a damaged record drops what was begun."""
        pieces, _, version, _, content, _ = record
        if content is None or self.oversized:
            self.lose()
            return []
        if self._lost and not _begins_with_message(content):
            return []
        self._lost = False
        if not self._held and int.from_bytes(content[1:4]) == len(content) - 4:  # one message, and all of it: the rule
            first, last = _piece_at(record, 0), pieces[-1]
            return [_new(RawMessage, (content[0], content[4:], first, last, version))]
        return self._join(record, content)

    def _join(self, record: Record, content: bytes) -> list[RawMessage]:
        """Return the messages that a record completes, where it is not just one."""
        messages: list[RawMessage] = []
        position, end = 0, len(content)
        while position < end and not self.oversized:
            if not self._held:
                length = int.from_bytes(content[position + 1 : position + 4]) if end - position >= 4 else -1
                stop = position + 4 + length
                if length >= 0 and stop <= end:  # whole inside this record: the usual case
                    first = _piece_at(record, position)
                    body = content[position + 4 : stop]
                    last = _piece_at(record, stop - 1)
                    messages.append(RawMessage(content[position], body, first, last, record.version))
                    position = stop
                    continue
            position = self._gather(record, position, messages)
        return messages

    def lose(self) -> None:
        """Drop what was begun: bytes are missing behind it."""
        self._drop()
        self._lost = True

    def _gather(self, record: Record, position: int, messages: list[RawMessage]) -> int:
        """Take what the message at hand still needs; return how far the record is used up."""
        content = record.fragment or b""
        if not self._held:
            self._first, self._version = _piece_at(record, position), record.version
        wanted = self._wanted or 4
        part = content[position : position + wanted - self._held]
        self._parts.append(part)
        self._held += len(part)
        position += len(part)
        if self._held == wanted and not self._wanted:
            self._begin_body(messages, record, position)
        elif self._held == wanted:
            self._emit(messages, record, position)
        return position

    def _begin_body(self, messages: list[RawMessage], record: Record, position: int) -> None:
        head = b"".join(self._parts)
        self._wanted = 4 + int.from_bytes(head[1:4])
        self._parts = [head]
        if self._wanted > MAX_MESSAGE:
            self.oversized = True
            self.lose()
        elif self._wanted == 4:
            self._emit(messages, record, position)

    def _emit(self, messages: list[RawMessage], record: Record, position: int) -> None:
        content = b"".join(self._parts)
        first = self._first or record.first
        messages.append(RawMessage(content[0], content[4:], first, _piece_at(record, position - 1), self._version))
        self._drop()

    def _drop(self) -> None:
        self._parts, self._held, self._wanted, self._first = [], 0, 0, None


def _begins_with_message(content: bytes) -> bool:
    """Whether a known handshake message stands whole at the start (types up to compressed_certificate, RFC 8879)."""
    return len(content) >= 4 and content[0] <= 25 and 4 + int.from_bytes(content[1:4]) <= len(content)


def _piece_at(record: Record, position: int) -> Data:
    """The packet that carries the byte at `position` of a record's content."""
    if len(record.pieces) == 1:
        return record.pieces[0]
    offset = record.end - record.length + position
    return record.pieces[max(0, bisect_right(record.pieces, offset, key=_OFFSET) - 1)]
