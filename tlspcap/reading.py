"""From captures to rows: the only room that knows both `wire` and `tls`, and hands the events of one to the other.

A `Job` says what to read; `work` does it and gives pieces, each a `Partial`: rows gathered, and in the last what is
known of each file. A job may be one share of several, which differ only in the conversations that they follow; their
pieces, merged, are equal to those of the whole job (see `spread`).
"""

import gc
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import cast

from tlspcap import rows
from tlspcap.errors import ArgumentError, CaptureError
from tlspcap.file_notes import FileReading, KeyUse, Refused, write_notes
from tlspcap.selection import Selection
from tlspcap.tables import Builder
from tlspcap.tls.account import Account
from tlspcap.tls.handshake import Follower
from tlspcap.tls.keylog import MOST_BYTES, KeyLog
from tlspcap.transport import FRAME_BITS, Conversation, Events
from tlspcap.wire import packets
from tlspcap.wire.blocks import IDLE
from tlspcap.wire.columns import AddressBook, FileFacts, Segments
from tlspcap.wire.files import CHUNK_BYTES, CaptureInput, Opened, open_capture
from tlspcap.wire.flows import Flows
from tlspcap.wire.fragments import Fragments
from tlspcap.wire.index import keep_freed_memory
from tlspcap.wire.team import Team
from tlspcap.wire.undecided import Sample

DIGEST_SEGMENTS = (
    1  # the first segment of a file, always a teller, stands for it in ids; more would differ where it is cut
)
OVERLAP = 1_000_000_000  # ns that a file may begin before the end of the one before, and still go on with it
LONGEST_PAUSE = IDLE  # ns; behind it no conversation is still open
MAX_PIECE = 200_000  # rows of all tables together, after which a piece is handed out; some 100 MB
Progress = Callable[[str, int], None]  # file name, bytes read since the last call


@dataclass(frozen=True, slots=True)
class Job:
    """What to read, and how."""

    captures: tuple[CaptureInput, ...]  # in order of `starts`
    starts: tuple[int | None, ...]  # ns, the time of each one's first packet, where it was looked at
    timeout: int  # ns
    select: Selection | None = None
    tables: tuple[str, ...] | None = None
    chunk_bytes: int = CHUNK_BYTES
    tolerant: bool = False  # leave out captures that cannot be read, and say which, instead of raising
    keys: KeyLog | None = None
    embedded_secrets: bool = True  # use the key logs inside of captures too
    gather: type[Builder] = Builder  # what takes the handshakes
    share: tuple[int, int] = (0, 1)  # of the conversations: this one of so many shares (see `wire.shares`)


def read_keys(path: str | Path) -> KeyLog:
    """Read a key log file. Raises ArgumentError where it cannot be read at all."""
    keys = KeyLog()
    try:
        with open(path, "rb") as file:
            keys.add(file.read(MOST_BYTES + 1))
    except OSError as error:
        raise ArgumentError(f"keylog: cannot read {path}: {error.strerror or error}") from None
    return keys


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
            write_notes(self.builder, file)


def work(
    job: Job, size: int | None = None, progress: Progress | None = None, team: Team | None = None
) -> Iterator[Partial | None]:
    """Do a job; give a piece whenever some `size` handshakes or MAX_PIECE rows are gathered, and a last one.

    With `size` None all is one piece. Behind a chunk that completes none, give None, so that the caller can look after
    other things. With a `team`, what is the same for all shares of the job is done by all together.

    Raises CaptureError where a file could not be read at all.
    """
    keep_freed_memory()
    reader = _Reader(job, progress, team)
    with _paused_collector():
        for capture, start in zip(job.captures, job.starts, strict=True):
            try:
                for _ in reader.chunks(capture, start):
                    full = size is not None and (len(reader.builder) >= size or reader.builder.rows >= MAX_PIECE)
                    yield Partial(reader.renew()) if full else None
            except CaptureError as error:
                if not job.tolerant:
                    raise
                reader.unreadable.append(error)
        reader.finish()
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


def goes_on(clock: int, start: int | None) -> bool:
    """Whether a file whose first packet is of time `start` goes on with those before, which end at `clock`."""
    return start is not None and clock - OVERLAP <= start <= clock + LONGEST_PAUSE


class _Reader:
    """Works through capture files and gives every handshake that is over to the builder."""

    def __init__(self, job: Job, progress: Progress | None, team: Team | None) -> None:
        self.builder = job.gather(job.tables)
        self.files: list[FileReading] = []
        self.unreadable: list[CaptureError] = []
        self._job = job
        self._progress = progress
        self._team = team
        self._run: _Run | None = None

    def renew(self) -> Builder:
        """Begin a new piece; return the builder of the old one."""
        full, self.builder = self.builder, self.builder.successor()
        return full

    def chunks(self, capture: CaptureInput, start: int | None) -> Iterator[None]:
        """Read one file, whose first packet is of that time if it is known; stop for the caller behind every chunk."""
        with open_capture(capture) as opened:
            run, facts = self._run_for(opened.name, start), FileFacts(opened.name)
            for _ in run.read(opened, facts, self._progress, self._team):
                yield
            run.facts[-1] = facts

    def finish(self) -> None:
        """End what is still open, and what is known of the files."""
        if self._run is not None:
            self.files += self._run.finish()
            self._run = None

    def _run_for(self, name: str, start: int | None) -> "_Run":
        """The run that a file belongs to: that of the files before where it goes on with them, else a new one."""
        before = self._run
        if before is not None and before.goes_on(start):
            before.next_file(name, cast(int, start))
            return before
        self.finish()
        clock = before.flows.clock if before is not None and start is not None else 0
        self._run = _Run(self._job, lambda: self.builder, name, max(0, clock - (start or 0)))
        return self._run


class _Run:
    """Files that go on with one another, as one stream of packets: mostly one, or those that tcpdump -C or -G wrote.

    A file goes on with those before if its first packet is of a time that is neither before their end nor long after
    it. What lasts longer than the time-out between two files is not taken for silence: nobody may have recorded.
    """

    def __init__(self, job: Job, builder: Callable[[], Builder], name: str, overlap: int) -> None:
        self._book = AddressBook()
        self.flows = Flows(name, self._book, share=job.share)
        self.facts: list[FileFacts | None] = [None]  # of each file, once it was read
        self._job, self._builder, self._overlap = job, builder, overlap
        self._fragments = Fragments()
        self._identities = [_Identity()]
        self._pauses: list[int] = []  # ns, the clock before each time in which nobody may have recorded
        self._touched: Counter[int] = Counter()  # handshakes by each file that holds some of their packets
        self._refused: defaultdict[int, Refused] = defaultdict(Refused)
        self._keys = KeyLog(job.keys) if job.embedded_secrets else job.keys
        self._judged = self._known = 0  # handshakes, and those of which there are secrets

    def goes_on(self, start: int | None) -> bool:
        """Whether a file whose first packet is of that time goes on with this run."""
        return goes_on(self.flows.clock, start)

    def next_file(self, name: str, start: int) -> None:
        """Go on with a file."""
        if start - self.flows.clock > self._job.timeout:
            self._pauses.append(self.flows.clock)
        self.flows.next_file(name)
        self.facts.append(None)
        self._identities.append(_Identity())

    def read(self, opened: Opened, facts: FileFacts, progress: Progress | None, team: Team | None) -> Iterator[None]:
        """Read the present file; stop for the caller behind every chunk."""
        told, chunk_bytes, waiting = 0, self._job.chunk_bytes, self._fragments
        reads = partial(packets.parts, fragments=waiting, chunk_bytes=chunk_bytes, team=team)
        for part in reads(opened, facts, self._book, self._job.share):
            self._identities[-1].take(part.tellers)
            self._learn(facts)
            for conversation, events in self.flows.take_part(part):
                self._follow(conversation, events)
            if progress is not None:
                progress(facts.name, facts.captured_bytes - told)
                told = facts.captured_bytes
            yield
        self._learn(facts)

    def _learn(self, facts: FileFacts) -> None:
        """Take the key logs that were found in the present file, and leave no trace of them."""
        if self._job.embedded_secrets and self._keys is not None:
            for found in facts.secrets:
                self._keys.add(found.content, len(self.facts) - 1 << FRAME_BITS | found.frame)
        facts.secrets.clear()

    def _key_use(self) -> KeyUse | None:
        """What the key logs were good for; None where there was none."""
        keys = self._keys
        if keys is None or keys.is_empty:
            return None
        return KeyUse(len(keys), keys.unread, keys.cut, self._judged, self._known)

    def finish(self) -> Iterator[FileReading]:
        """End what is still open; yield what is known of each file that could be read."""
        for conversation, events in self.flows.finish():
            self._follow(conversation, events)
        read = [facts for facts in self.facts if facts is not None]
        if read:
            self._fragments.finish(read[-1])
        use = self._key_use()
        for index, (facts, flows) in enumerate(zip(self.facts, self.flows.summaries(), strict=True)):
            if facts is not None:
                servers = {sample.number: self._receiver(sample) for sample in flows.samples}
                overlap = 0 if index else self._overlap
                yield FileReading(facts, flows, servers, self._refused[index], self._touched[index], overlap, use)
                use = None  # it is of all files together

    def _follow(self, conversation: Conversation, events: Events) -> None:
        follower = conversation.follower
        if not isinstance(follower, Follower):
            follower = conversation.follower = Follower(conversation, self._keys)
        for run in events.runs:
            follower.take_run(run)
            conversation.done = follower.done
        if conversation.over:
            follower.finish()
            conversation.follower = None
            if follower.account is not None:
                self._add(follower.account)
            elif follower.refusal is not None:
                self._refused[follower.refusal.data.frame >> FRAME_BITS].add(conversation, follower.refusal)

    def _add(self, account: Account) -> None:
        """Judge a handshake that is over, and hand it on."""
        conversation, file = account.conversation, account.hello_first.frame >> FRAME_BITS
        clock = self._watched(conversation)
        done = rows.finish(account, clock, self._job.timeout, self._identities[file].digest())
        self._builder().add(done, self._job.select)
        self._judged += 1
        self._known += account.keys_known
        self._touched.update({conversation.first_frame >> FRAME_BITS, *conversation.places})

    def _watched(self, conversation: Conversation) -> int:
        """Until when a conversation was watched: its end, the run's, or a pause behind its last packet."""
        pause = bisect_left(self._pauses, conversation.last_time)
        clock = conversation.until or self.flows.clock
        return min([clock, *self._pauses[pause : pause + 1]])

    def _receiver(self, sample: Sample) -> tuple[str, int]:
        """Address and port that a conversation's first speaker spoke to."""
        opener, other = self.flows.endpoints(sample.number)
        address, port = opener if sample.side else other
        return rows.address(address), port


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
