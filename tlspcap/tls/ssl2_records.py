"""The record layer of SSL 2.0, and the way from it to that of SSL 3.0 and TLS."""

from tlspcap.tls import ssl2
from tlspcap.tls.names import SSL20
from tlspcap.tls.records import CHANGE_CIPHER_SPEC, HEARTBEAT, UNTYPED, Record, RecordReader
from tlspcap.transport import Data, Gap

CONTENT_KEPT = 8  # first records of a side whose content is kept: more messages than a handshake has


class Reader(RecordReader):
    """Cuts the bytes of one side of a conversation that begins with a hello of SSL 2.0 into records.

    What goes on behind the hello shows in each side's next byte. SSL 3.0 and TLS name a record type there; a record
    of SSL 2.0 that began with the same byte would be longer than any message that may come in that place. From then
    on records are read as those of the protocol found.
    """

    def __init__(self, *, hello: bool = False, answer: bool = False) -> None:
        super().__init__()
        self._hello = hello  # its first record is the hello, which was recognised already
        self._answer = answer  # its first record is the answer to one: SERVER-HELLO, ERROR, or no SSL 2.0
        self._tls: bool | None = None  # None while it is not known
        self._count = 0  # records of SSL 2.0
        self._padding = 0

    def feed(self, data: Data) -> list[Record]:
        """Return the records that `data` completes."""
        if self._tls:
            return super().feed(data)
        records: list[Record] = []
        position = self._continue(data, records) if self._header is not None else 0
        while position < len(data.payload) and not self.lost:
            if self._is_tls(data.payload[position]):
                rest = data._replace(payload=data.payload[position:], offset=data.offset + position)
                return records + super().feed(rest)
            position = self._read(data, position, records)
        return records

    def gap(self, gap: Gap) -> list[Record]:
        """Step over missing bytes, as `RecordReader.gap` does; SSL 2.0 is not found again behind a lost boundary."""
        records = super().gap(gap)
        if not self._tls:
            records = [self._finish(record) for record in records]
        if self.lost and self._tls is None:
            self._tls = True
        return records

    def _is_tls(self, byte: int) -> bool:
        """Whether records of SSL 3.0 or TLS follow, by the first byte of a record."""
        if self._tls is None and not self._head:
            if self._count == 0 and self._hello:
                return False
            self._tls = CHANGE_CIPHER_SPEC <= byte <= HEARTBEAT or (self._first_answer and byte < ssl2.LONG)
        return bool(self._tls)

    def _read(self, data: Data, position: int, records: list[Record]) -> int:
        """Read a header, or what `data` has of it, and what follows of its record; return how far `data` is used up."""
        held = len(self._head)
        head = self._head + data.payload[position : position + 3 - held]
        size = 2 if head[0] >= ssl2.LONG else 3
        self._pieces = [*self._pieces, data] if held else [data]
        if len(head) < 3 and (len(head) < size or self._first_answer):
            self._head = head
            return len(data.payload)
        length = int.from_bytes(head[:2]) & (0x7FFF if size == 2 else 0x3FFF)
        if not length or (self._first_answer and head[2] not in (ssl2.ERROR, ssl2.SERVER_HELLO)):
            self._lose(data, head + data.payload[position + 3 - held :])
            return len(data.payload)
        self._head, self._padding = b"", head[2] if size == 3 else 0
        self._header, self._parts, self._missing = (UNTYPED, SSL20, length), [b""], length
        position += size - held  # of a header held before, nothing is left to step over
        return position + self._take(data, records, position)

    @property
    def _first_answer(self) -> bool:
        """Whether the record at hand is the answer to a ClientHello."""
        return self._count == 0 and self._answer

    def _take(self, data: Data, records: list[Record], start: int) -> int:
        before = len(records)
        used = super()._take(data, records, start)
        if len(records) > before and not self._tls:
            records[-1] = self._finish(records[-1])
        return used

    def _finish(self, record: Record) -> Record:
        """Leave the padding off the content of a record (SSL 2.0 1.1), and all content that nobody will read."""
        self._count += 1
        if self._count > CONTENT_KEPT:
            return record._replace(fragment=b"", pieces=(record.first, record.last))
        if record.fragment is None or not self._padding:
            return record
        return record._replace(fragment=record.fragment[: max(0, record.length - self._padding)])
