"""What is noted of a capture file as a whole, beside its handshakes: what was odd, what could not be read."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from tlspcap import rows
from tlspcap.tables import MAX_SERVERS, Builder
from tlspcap.tls.dialogue import Refusal
from tlspcap.tls.keylog import MOST_BYTES
from tlspcap.transport import FRAME_MASK, Conversation, Place
from tlspcap.wire.columns import FileFacts
from tlspcap.wire.flows import FlowFacts
from tlspcap.wire.undecided import Sample

STEP_BACK = 1_000_000  # ns; queues of one network card may differ by less
MAX_REFUSED = 1_000  # requests for TLS that were declined, of which there is a note
Key = TypeVar("Key", str, int)
_ALERT = b"\x15\x03"  # how a record that holds an alert begins (RFC 8446 5.1)
_HTTP_TO_TLS = (  # nginx, Apache's httpd, Go's net/http, in answer to plain HTTP
    b"plain HTTP request was sent to HTTPS port", b"speaking plain HTTP to an SSL-enabled server port",
    b"Client sent an HTTP request to an HTTPS server",
)  # fmt: skip
TOP = 5  # kinds of packets named where there is no TLS


@dataclass(slots=True)
class KeyUse:
    """What key logs were good for; nothing secret."""

    secrets: int  # handshakes that they hold secrets of
    unread: int  # lines in no known form
    cut: bool  # they are longer than what is read of them
    handshakes: int  # judged
    known: int  # of those, handshakes that they hold secrets of


@dataclass(slots=True)
class FileReading:
    """What is known of one file when it is read."""

    facts: FileFacts
    flows: FlowFacts
    servers: dict[int, tuple[str, int]]  # address and port that each sample of `flows` was sent to
    refused: "Refused" = field(default_factory=lambda: Refused())  # requests for TLS that were declined
    handshakes: int = 0  # of which some packet is in it, selected or not
    overlap: int = 0  # ns that its first packet lies before the end of the file before: they were read apart
    keys: KeyUse | None = None  # with the first file that they serve; None without a key log

    def merge(self, other: "FileReading") -> None:
        """Take over what another share saw of the same file."""
        self.handshakes += other.handshakes
        self.servers |= other.servers
        self.refused.merge(other.refused)
        self.flows.merge(other.flows)
        if self.keys is not None and other.keys is not None:
            self.keys.handshakes += other.keys.handshakes
            self.keys.known += other.keys.known


class Refused:
    """Conversations in which a request for TLS was declined and no hello came: those with the lowest numbers."""

    def __init__(self) -> None:
        self.count = 0  # of all
        self._notes: dict[int, tuple[str, Place, int]] = {}

    def add(self, conversation: Conversation, refusal: Refusal) -> None:
        """Take one conversation."""
        asking, asked = conversation.side(refusal.side), conversation.side(1 - refusal.side)
        who = f"{_place(asking.address, asking.port)} to {_place(asked.address, asked.port)}"
        self.count += 1
        place = conversation.place(refusal.data.frame)
        self._notes[conversation.number] = (f"{who}: {refusal.words}", place, refusal.data.time)
        self._limit(2 * MAX_REFUSED)

    def merge(self, other: "Refused") -> None:
        """Take over what another share of the same file found."""
        self.count += other.count
        self._notes |= other._notes
        self._limit(2 * MAX_REFUSED)

    def notes(self) -> list[tuple[str, Place, int]]:
        """What to note, where and when, by conversation number."""
        self._limit(MAX_REFUSED)
        return [note for _, note in sorted(self._notes.items())]

    def _limit(self, most: int) -> None:
        if len(self._notes) > most:
            self._notes = dict(sorted(self._notes.items())[:MAX_REFUSED])


def _place(address: bytes, port: int) -> str:
    """Address and port as one word."""
    return _written(rows.address(address), port)


def _written(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


# -- notes that belong to no handshake ----------------------------------------------------------------------------


def write_notes(builder: Builder, file: FileReading) -> None:
    """Write the notes of one file that belong to no handshake."""
    name, flows, refused = file.facts.name, file.flows, file.refused
    for kind, detail in (*_of_packets(file.facts), *_of_times(file)):
        builder.note(kind, detail, name)
    for _, _, stream, frame in flows.conflicts:
        detail = "a segment was sent again with other bytes; the first seen were used"
        builder.note("conflicting_retransmission", detail, name, stream=stream, frame=frame)
    tls = {file.servers[sample.number] for sample in flows.samples if _wants_tls(sample)}
    for sample in flows.samples:
        _note_sample(builder, file, sample, tls)
    for detail, (capture, stream, frame), time in refused.notes():
        builder.note("starttls_refused", detail, capture, stream=stream, frame=frame, time=time)
    for detail in _of_keys(file.keys) if file.keys else ():
        builder.note("key_log", detail, name)
    for detail in _of_caps(builder, file):
        builder.note("cap_reached", detail, name)
    if not file.handshakes:
        builder.note("no_tls", _what_instead(file.facts, flows), name)


def _of_packets(facts: FileFacts) -> Iterator[tuple[str, str]]:
    """What was not there, or could not be read."""
    if facts.stopped_at is not None:
        yield "truncated_file", f"reading stopped at byte {facts.stopped_at}: {facts.stopped_why}"
    if facts.cut_packets:
        detail = f"{facts.cut_packets} of {facts.packets} packets were cut by the snapshot length; record with -s 0"
        yield "cut_packets", detail
    for reason, count in sorted(facts.unread.items()):
        yield "unreadable_packets", f"{count} of {facts.packets} packets: {reason}"
    if facts.conflicting_fragments:
        detail = f"fragments of {facts.conflicting_fragments} IP packets overlap in different bytes"
        yield "conflicting_fragments", f"{detail}; the first seen were used"


def _of_times(file: FileReading) -> Iterator[tuple[str, str]]:
    """What is odd about the times of packets."""
    if file.flows.stepped_back > STEP_BACK:
        back = file.flows.stepped_back / 1e9
        yield "clock_stepped_back", f"packet times run backwards, by up to {back:.3f} s; durations may be wrong"
    if file.overlap:
        seconds = file.overlap / 1e9
        yield "files_overlap", f"it begins {seconds:.3f} s before the end of the file before; the two were read apart"


def _of_keys(keys: KeyUse) -> Iterator[str]:
    """A key log that is damaged, or of another capture."""
    if keys.unread:
        yield f"{keys.unread} lines of the key log are in no known form and were passed over"
    if keys.cut:
        yield f"the key log is longer than {MOST_BYTES} bytes; the rest was not read"
    if keys.handshakes and not keys.known:
        yield f"the key log holds secrets of {keys.secrets} handshakes, and of none in this capture"


def _of_caps(builder: Builder, file: FileReading) -> Iterator[str]:
    """Where more was there than is kept, and what that cost."""
    flows = file.flows
    for what, count in sorted((file.facts.caps + flows.caps).items()):
        yield f"{count} {what}"
    if (count := file.refused.count) > MAX_REFUSED:
        yield f"{count} requests for TLS were declined; there is a note of the first {MAX_REFUSED}"
    if (count := flows.conflicting) > (kept := len(flows.conflicts)):
        yield f"{count} sides sent other bytes again; there is a note of the first {kept}"
    if flows.robbed:
        yield f"the first packets of {flows.robbed} conversations were let go undecided: too many waited at once"
    if flows.robbed_tls:
        yield f"{flows.robbed_tls} TLS conversations seem to begin in mid-stream: their first packets were let go"
    if flows.unsampled:
        yield "more conversations without a hello speak HTTP or records of TLS than are looked at for notes"
    if flows.samples and len(builder.servers) >= MAX_SERVERS:
        yield f"more than {MAX_SERVERS} servers speak TLS: plain HTTP to the others is not noted"


def _wants_tls(sample: Sample) -> bool:
    """Whether a server answered HTTP with an alert of TLS, or with words that say that it speaks TLS there."""
    answer = sample.starts[1 - sample.side]
    return sample.speaks == "http" and (answer.startswith(_ALERT) or any(words in answer for words in _HTTP_TO_TLS))


def _note_sample(builder: Builder, file: FileReading, sample: Sample, tls: set[tuple[str, int]]) -> None:
    """Note a conversation without a hello that speaks records of TLS, or HTTP to a server that speaks TLS.

    `tls`: servers that said so themselves, beside those of which there are handshakes.
    """
    where = {"stream": sample.stream, "frame": sample.frame & FRAME_MASK, "time": sample.time}
    if sample.speaks == "records":
        detail = "TLS records, but no hello was captured: joined in mid-stream"
        builder.note("tls_without_hello", detail, file.facts.name, **where)
    elif file.servers[sample.number] in builder.servers or file.servers[sample.number] in tls:
        detail = f"plain HTTP to {_written(*file.servers[sample.number])}, which speaks TLS on that port"
        builder.note("http_on_tls_port", detail, file.facts.name, **where)


def _what_instead(facts: FileFacts, flows: FlowFacts) -> str:
    """What a file without a handshake holds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in _most_common(facts.kinds)) or "none readable"
    ports = ", ".join(f"{port} ({count})" for port, count in _most_common(flows.ports)) or "none"
    cut = f"; {facts.cut_packets} packets were cut by the snapshot length" if facts.cut_packets else ""
    return (
        f"no TLS handshake found; {facts.packets} packets ({kinds}), {flows.conversations} TCP conversations, "
        f"top server ports: {ports}{cut}"
    )


def _most_common(counts: Counter[Key]) -> list[tuple[Key, int]]:
    """Return the first few of what was counted; equal counts by name, since they are met in any order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:TOP]
