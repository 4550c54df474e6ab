"""From captures to tables: the only room that knows both `wire` and `tls`, and hands the events of one to the other."""

import gc
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b

import pandas as pd

from tlspcap import rows
from tlspcap.errors import ArgumentError
from tlspcap.selection import Selection
from tlspcap.tables import Builder
from tlspcap.tls.handshake import Follower
from tlspcap.transport import Conversation, Event
from tlspcap.wire import packets
from tlspcap.wire.columns import AddressBook, FileFacts, Segments
from tlspcap.wire.files import CHUNK_BYTES, CaptureInput, open_capture, sources
from tlspcap.wire.flows import FlowFacts, Flows
from tlspcap.wire.undecided import Sample

SECOND = 1_000_000_000
DIGEST_SEGMENTS = 1  # the first segment of a file stands for it in ids; more would differ where a file is cut short
TOP_PORTS = 5
Progress = Callable[[str, int], None]  # file name, bytes read since the last call


@dataclass(slots=True)
class Reading:
    """What reading some captures gave: the tables, and what is known of each file."""

    frames: dict[str, pd.DataFrame]
    files: list[FileFacts] = field(default_factory=list)


def read_tables(
    source: CaptureInput | Iterable[CaptureInput],
    *,
    timeout: float = 10.0,
    select: Selection | None = None,
    tables: Iterable[str] | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    progress: Progress | None = None,
) -> Reading:
    """Read captures, one after the other, into tables (see `tlspcap.read`)."""
    if not timeout > 0:
        raise ArgumentError(f"timeout: {timeout!r} seconds make no sense; give a number above 0")
    reader = _Reader(Builder(tables), round(timeout * SECOND), select, chunk_bytes, progress)
    with _paused_collector():
        files = [reader.file(capture) for capture in sources(source)]
        return Reading(reader.builder.frames(), files)


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

    def __init__(
        self, builder: Builder, timeout: int, select: Selection | None, chunk_bytes: int, progress: Progress | None
    ) -> None:
        self.builder = builder
        self._timeout = timeout
        self._select = select
        self._chunk_bytes = chunk_bytes
        self._progress = progress

    def file(self, capture: CaptureInput) -> FileFacts:
        """Read one file."""
        with open_capture(capture) as opened:
            facts, book = FileFacts(opened.name), AddressBook()
            flows, identity = Flows(opened.name, book), _Identity()
            before, seen = len(self.builder), 0
            for segments in packets.segments(opened, facts, book, chunk_bytes=self._chunk_bytes):
                identity.take(segments)
                for conversation, events in flows.take(segments):
                    self._follow(conversation, events, flows, identity)
                if self._progress is not None:
                    self._progress(opened.name, facts.captured_bytes - seen)
                    seen = facts.captured_bytes
            for conversation, events in flows.finish():
                self._follow(conversation, events, flows, identity)
        _Notes(self.builder, facts, flows).write(found=len(self.builder) > before)
        return facts

    def _follow(self, conversation: Conversation, events: Iterable[Event], flows: Flows, identity: "_Identity") -> None:
        follower = conversation.follower
        if not isinstance(follower, Follower):
            follower = conversation.follower = Follower(conversation)
        for event in events:
            follower.take(event)
            if follower.done:
                conversation.done = True
        if conversation.over:
            self._finish(follower, conversation.until or flows.clock, identity)
            conversation.follower = None

    def _finish(self, follower: Follower, clock: int, identity: "_Identity") -> None:
        account = follower.account
        if account is None:
            return
        self.builder.add(rows.finish(account, clock, self._timeout, identity.digest()), self._select)


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


class _Notes:
    """Writes the notes of one file that belong to no handshake."""

    def __init__(self, builder: Builder, facts: FileFacts, flows: Flows) -> None:
        self._builder = builder
        self._facts = facts
        self._flows = flows

    def write(self, found: bool) -> None:
        """Write them all; `found`: the file holds a handshake."""
        facts, summary = self._facts, self._flows.summary()
        if facts.stopped_at is not None:
            self._note("truncated_file", f"reading stopped at byte {facts.stopped_at}: {facts.stopped_why}")
        for reason, count in sorted(facts.unread.items()):
            self._note("unreadable_packets", f"{count} of {facts.packets} packets: {reason}")
        for conflict in summary.conflicts:
            detail = "a segment was sent again with other bytes; the first seen were used"
            self._note("conflicting_retransmission", detail, stream=conflict.number, frame=conflict.frame)
        for sample in summary.samples:
            self._sample(sample)
        if summary.dismissed_early:
            detail = f"{summary.dismissed_early} conversations were dismissed undecided: too many waited at once"
            self._note("cap_reached", detail)
        if not found:
            self._note("no_tls", _what_instead(facts, summary))

    def _note(self, kind: str, detail: str, **where: int) -> None:
        self._builder.note(kind, detail, capture=self._facts.name, **where)

    def _sample(self, sample: Sample) -> None:
        """Note a conversation without a hello that speaks records of TLS, or HTTP to a server that answers in TLS."""
        where = {"stream": sample.number, "frame": sample.frame, "time": sample.time}
        if sample.speaks == "records":
            self._note("tls_without_hello", "TLS records, but no hello was captured: joined in mid-stream", **where)
        elif self._builder.serves_tls(*self._server(sample)):
            self._note("http_on_tls_port", "plain HTTP to a server that speaks TLS on this port", **where)

    def _server(self, sample: Sample) -> tuple[str, int]:
        opener, other = self._flows.endpoints(sample.number)
        address, port = opener if sample.side else other
        return rows.address(address), port


def _what_instead(facts: FileFacts, summary: FlowFacts) -> str:
    """What a file without a handshake holds."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in facts.kinds.most_common(TOP_PORTS)) or "none readable"
    ports = ", ".join(f"{port} ({count})" for port, count in summary.ports.most_common(TOP_PORTS)) or "none"
    return (
        f"no TLS handshake found; {facts.packets} packets ({kinds}), {summary.conversations} TCP conversations, "
        f"top server ports: {ports}"
    )
