"""From captures to rows: the only room that knows both `wire` and `tls`, and hands the events of one to the other.

A `Job` says what to read; `work` does it and gives pieces, each a `Partial`: rows gathered, and in the last what is
known of each file. A job may be one share of several, which differ only in the conversations that they follow; their
pieces, merged, are equal to those of the whole job (see `spread`).
"""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

from tlspcap import rows
from tlspcap.errors import CaptureError
from tlspcap.selection import Selection
from tlspcap.tables import Builder
from tlspcap.tls.dialogue import Refusal
from tlspcap.tls.handshake import Follower
from tlspcap.transport import Conversation, Data, Event
from tlspcap.wire import packets
from tlspcap.wire.columns import AddressBook, FileFacts, Segments
from tlspcap.wire.files import CHUNK_BYTES, CaptureInput, open_capture
from tlspcap.wire.flows import FlowFacts, Flows
from tlspcap.wire.undecided import Sample

DIGEST_SEGMENTS = 1  # the first segment of a file stands for it in ids; more would differ where a file is cut short
STEP_BACK = 1_000_000  # ns; queues of one network card may differ by less
MAX_REFUSED = 1_000  # requests for TLS that were declined, of which there is a note
TOP = 5  # ports and kinds of packets named where there is no TLS
Progress = Callable[[str, int], None]  # file name, bytes read since the last call


@dataclass(frozen=True, slots=True)
class Job:
    """What to read, and how."""

    captures: tuple[CaptureInput, ...]
    timeout: int  # ns
    select: Selection | None = None
    tables: tuple[str, ...] | None = None
    chunk_bytes: int = CHUNK_BYTES
    tolerant: bool = False  # leave out captures that cannot be read, and say which, instead of raising
    share: tuple[int, int] = (0, 1)  # of the conversations, those whose number is this one modulo that one


@dataclass(slots=True)
class FileReading:
    """What is known of one file when it is read."""

    facts: FileFacts
    flows: FlowFacts
    servers: dict[int, tuple[str, int]]  # address and port that each sample of `flows` was sent to
    refused: "Refused"  # requests for TLS that were declined
    handshakes: int = 0  # found in it, selected or not

    def merge(self, other: "FileReading") -> None:
        """Take over what another share saw of the same file."""
        self.handshakes += other.handshakes
        self.refused.merge(other.refused)
        self.flows.conflicts = sorted({*self.flows.conflicts, *other.flows.conflicts})


@dataclass(slots=True)
class Partial:
    """A piece of what a job gathers: rows, and with the last piece what is known of every file."""

    builder: Builder
    last: bool = False
    files: list[FileReading] = field(default_factory=list)
    unreadable: list[CaptureError] = field(default_factory=list)  # of a tolerant job

    def merge(self, other: "Partial") -> None:
        """Take over another piece, of the same share or of another."""
        self.builder.merge(other.builder)
        if self.last and other.last:
            for mine, theirs in zip(self.files, other.files, strict=True):
                mine.merge(theirs)
        elif other.last:
            self.last, self.files, self.unreadable = True, other.files, other.unreadable

    def write_notes(self) -> None:
        """Write the notes that belong to no handshake."""
        for file in self.files:
            _write_notes(self.builder, file)


def work(job: Job, size: int | None = None, progress: Progress | None = None) -> Iterator[Partial]:
    """Do a job; give a piece whenever some `size` handshakes are gathered (None: never), and a last one.

    Raises CaptureError where a file could not be read at all.
    """
    reader = _Reader(job, progress)
    with _paused_collector():
        for capture in job.captures:
            try:
                for _ in reader.chunks(capture):
                    if size is not None and len(reader.builder) >= size:
                        yield Partial(reader.renew())
            except CaptureError as error:
                if not job.tolerant:
                    raise
                reader.unreadable.append(error)
        yield Partial(reader.builder, True, reader.files, reader.unreadable)


@contextmanager
def _paused_collector() -> Iterator[None]:
    """Pause Python's cyclic garbage collector: it would walk the growing heap again and again to find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class _Reader:
    """Works through capture files and gives every handshake that is over to the builder."""

    def __init__(self, job: Job, progress: Progress | None) -> None:
        self.builder = Builder(job.tables)
        self.files: list[FileReading] = []
        self.unreadable: list[CaptureError] = []
        self._job = job
        self._progress = progress
        self._refused = Refused()

    def renew(self) -> Builder:
        """Begin a new piece; return the builder of the old one."""
        full, self.builder = self.builder, self.builder.successor()
        return full

    def chunks(self, capture: CaptureInput) -> Iterator[None]:
        """Read one file; stop for the caller behind every chunk."""
        self._found, self._refused = 0, Refused()
        with open_capture(capture) as opened:
            facts, book = FileFacts(opened.name), AddressBook()
            flows, identity = Flows(opened.name, book, share=self._job.share), _Identity()
            told = 0
            for segments in packets.segments(opened, facts, book, chunk_bytes=self._job.chunk_bytes):
                identity.take(segments)
                for conversation, events in flows.take(segments):
                    self._follow(conversation, events, flows, identity)
                if self._progress is not None:
                    self._progress(facts.name, facts.captured_bytes - told)
                    told = facts.captured_bytes
                yield
            for conversation, events in flows.finish():
                self._follow(conversation, events, flows, identity)
        summary = flows.summary()
        servers = {sample.number: _receiver(flows, sample) for sample in summary.samples}
        self.files.append(FileReading(facts, summary, servers, self._refused, self._found))

    def _follow(self, conversation: Conversation, events: Iterable[Event], flows: Flows, identity: "_Identity") -> None:
        follower = conversation.follower
        if not isinstance(follower, Follower):
            follower = conversation.follower = Follower(conversation)
        for event in events:
            follower.take(event)
            if follower.done:
                conversation.done = True
        if conversation.over:
            follower.finish()
            conversation.follower = None
            if follower.account is not None:
                clock = conversation.until or flows.clock
                done = rows.finish(follower.account, clock, self._job.timeout, identity.digest())
                self.builder.add(done, self._job.select)
                self._found += 1
            elif follower.refusal is not None:
                self._refused.add(conversation, follower.refusal)


class Refused:
    """Conversations in which a request for TLS was declined and no hello came: those with the lowest numbers."""

    def __init__(self) -> None:
        self.count = 0  # of all
        self._notes: dict[int, tuple[str, Data]] = {}

    def add(self, conversation: Conversation, refusal: Refusal) -> None:
        """Take one conversation."""
        asking, asked = conversation.side(refusal.side), conversation.side(1 - refusal.side)
        who = f"{_place(asking.address, asking.port)} to {_place(asked.address, asked.port)}"
        self.count += 1
        self._notes[conversation.number] = (f"{who}: {refusal.words}", refusal.data)
        self._limit(2 * MAX_REFUSED)

    def merge(self, other: "Refused") -> None:
        """Take over what another share of the same file found."""
        self.count += other.count
        self._notes |= other._notes
        self._limit(2 * MAX_REFUSED)

    def notes(self) -> list[tuple[int, tuple[str, Data]]]:
        """What to note, by conversation number."""
        self._limit(MAX_REFUSED)
        return sorted(self._notes.items())

    def _limit(self, most: int) -> None:
        if len(self._notes) > most:
            self._notes = dict(sorted(self._notes.items())[:MAX_REFUSED])


def _place(address: bytes, port: int) -> str:
    """Address and port as one word."""
    text = rows.address(address)
    return f"[{text}]:{port}" if ":" in text else f"{text}:{port}"


class _Identity:
    """A digest of a file's first TCP segments: the same however the file is packed, cut into chunks or named."""

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=16)
        self._left = DIGEST_SEGMENTS

    def take(self, segments: Segments) -> None:
        """Take the first segments of a chunk while they are wanted."""
        for row in range(min(self._left, len(segments))):
            columns = (segments.frame, segments.time, segments.source_port, segments.seq, segments.length)
            self._hash.update(repr([int(column[row]) for column in columns]).encode())
            self._left -= 1

    def digest(self) -> bytes:
        """The digest of what was taken."""
        return self._hash.digest()


def _receiver(flows: Flows, sample: Sample) -> tuple[str, int]:
    """Address and port that a conversation's first speaker spoke to."""
    opener, other = flows.endpoints(sample.number)
    address, port = opener if sample.side else other
    return rows.address(address), port


# -- notes that belong to no handshake ----------------------------------------------------------------------------


def _write_notes(builder: Builder, file: FileReading) -> None:
    facts, flows = file.facts, file.flows
    if facts.stopped_at is not None:
        builder.note("truncated_file", f"reading stopped at byte {facts.stopped_at}: {facts.stopped_why}", facts.name)
    if facts.cut_packets:
        detail = f"{facts.cut_packets} of {facts.packets} packets were cut by the snapshot length; record with -s 0"
        builder.note("cut_packets", detail, facts.name)
    for reason, count in sorted(facts.unread.items()):
        builder.note("unreadable_packets", f"{count} of {facts.packets} packets: {reason}", facts.name)
    if flows.stepped_back > STEP_BACK:
        detail = f"packet times run backwards, by up to {flows.stepped_back / 1e9:.3f} s; durations may be wrong"
        builder.note("clock_stepped_back", detail, facts.name)
    if facts.conflicting_fragments:
        detail = f"fragments of {facts.conflicting_fragments} IP packets overlap in different bytes"
        builder.note("conflicting_fragments", f"{detail}; the first seen were used", facts.name)
    for number, _, frame in flows.conflicts:
        detail = "a segment was sent again with other bytes; the first seen were used"
        builder.note("conflicting_retransmission", detail, facts.name, stream=number, frame=frame)
    for sample in flows.samples:
        _note_sample(builder, file, sample)
    for number, (detail, data) in file.refused.notes():
        builder.note("starttls_refused", detail, facts.name, stream=number, frame=data.frame, time=data.time)
    if file.refused.count > MAX_REFUSED:
        detail = f"{file.refused.count} requests for TLS were declined; there is a note of the first {MAX_REFUSED}"
        builder.note("cap_reached", detail, facts.name)
    if flows.dismissed_early:
        detail = f"{flows.dismissed_early} conversations were dismissed undecided: too many waited at once"
        builder.note("cap_reached", detail, facts.name)
    if not file.handshakes:
        builder.note("no_tls", _what_instead(facts, flows), facts.name)


def _note_sample(builder: Builder, file: FileReading, sample: Sample) -> None:
    """Note a conversation without a hello that speaks records of TLS, or HTTP to a server that speaks TLS."""
    where = {"stream": sample.number, "frame": sample.frame, "time": sample.time}
    if sample.speaks == "records":
        detail = "TLS records, but no hello was captured: joined in mid-stream"
        builder.note("tls_without_hello", detail, file.facts.name, **where)
    elif file.servers[sample.number] in builder.servers:
        detail = "plain HTTP to a server that speaks TLS on this port"
        builder.note("http_on_tls_port", detail, file.facts.name, **where)


def _what_instead(facts: FileFacts, flows: FlowFacts) -> str:
    """What a file without a handshake holds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts.kinds.most_common(TOP)) or "none readable"
    ports = ", ".join(f"{port} ({count})" for port, count in flows.ports.most_common(TOP)) or "none"
    cut = f"; {facts.cut_packets} packets were cut by the snapshot length" if facts.cut_packets else ""
    return (
        f"no TLS handshake found; {facts.packets} packets ({kinds}), {flows.conversations} TCP conversations, "
        f"top server ports: {ports}{cut}"
    )
