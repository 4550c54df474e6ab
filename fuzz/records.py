"""Target: one side's bytes to records and handshake messages, in packets of any size, with gaps."""

from collections.abc import Sequence

from fuzz import seeds as samples
from fuzz.target import Input
from tlspcap.tls.records import MAX_LENGTH, MAX_MESSAGE, MessageJoiner, RawMessage, Record, RecordReader
from tlspcap.transport import Data, Gap

LONGEST = 16_384
_GAP = 1 << 15  # of a length: so many bytes are missing, up to 32 KB

Said = tuple[object, ...]


def check(data: bytes) -> None:
    """Caps hold; up to where a record boundary is lost, packets of any size give equal records and messages."""
    read = Input(data)
    size = 1 + read.u8()
    parts = _parts(read)
    _read(parts)
    (records, messages), lost = _read(_up_to_gap(parts))
    (few, fewer), _ = _read(_cut(_up_to_gap(parts), size))
    assert few[: len(records)] == records
    assert fewer[: len(messages)] == messages
    assert lost or (few, fewer) == (records, messages)


def _parts(read: Input) -> list[Data | Gap]:
    """Read packets and gaps: a length each, of which the highest bit means a gap, then the bytes."""
    parts, offset = list[Data | Gap](), 0
    while read.left > 0:
        length = read.u16()
        if length >= _GAP:
            parts.append(Gap(0, len(parts) + 1, 1, offset, 1 + length - _GAP, "lost"))
            offset += 1 + length - _GAP
        elif payload := read.take(length):
            parts.append(Data(0, len(parts) + 1, 1, offset, payload, 0, 1, 0))
            offset += len(payload)
    return parts


def _up_to_gap(parts: Sequence[Data | Gap]) -> list[Data]:
    """One packet with all bytes before the first gap."""
    before = list[bytes]()
    for part in parts:
        if isinstance(part, Gap):
            break
        before.append(part.payload)
    return [Data(0, 1, 1, 0, b"".join(before), 0, 1, 0)] if before else []


def _cut(whole: Sequence[Data], size: int) -> list[Data]:
    return [
        data._replace(payload=data.payload[at : at + size], offset=at)
        for data in whole
        for at in range(0, len(data.payload), size)
    ]


def _read(parts: Sequence[Data | Gap]) -> tuple[tuple[list[Said], list[Said]], bool]:
    """Read records and the messages in them; tell whether a boundary was lost."""
    reader, joiner, records, messages = RecordReader(), MessageJoiner(), list[Record](), list[RawMessage]()
    for part in parts:
        found = reader.gap(part) if isinstance(part, Gap) else reader.feed(part)
        messages += [raw for record in found for raw in joiner.feed(record)]
        records += found
        assert sum(map(len, reader._parts)) <= MAX_LENGTH
        assert joiner._held <= MAX_MESSAGE
    said = [(r.content_type, r.version, r.length, r.fragment, r.end) for r in records]
    return (said, [(m.code, m.body, m.version) for m in messages]), reader.lost or reader.stray is not None


def seeds() -> list[bytes]:
    """Both sides of the samples' conversations, packet by packet, whole and with a packet missing."""
    found = []
    for _, events in samples.conversations():
        for side in (0, 1):
            packets = [event.payload for event in events if isinstance(event, Data) and event.side == side]
            parts = [len(payload).to_bytes(2) + payload for payload in packets]
            lost = [(len(payload) - 1 | _GAP).to_bytes(2) for payload in packets]
            found += [b"".join(parts), b"".join([*parts[:1], *lost[1:2], *parts[2:]])]
    return samples.distinct([b"\x06" + seed for seed in found], LONGEST)
