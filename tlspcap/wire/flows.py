"""TCP segments of captures, chunk after chunk -> one Conversation, with its events, for each that speaks TLS.

Every packet gets its conversation number (`numbering`); conversations wait until a hello shows that they are TLS
(`undecided`); those are followed (`streams`), the others only counted. Results do not depend on where chunks end, nor
where one file ends and the next goes on, but for the numbers that packets and conversations have in each file.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from tlspcap.transport import FRAME_BITS, FRAME_MASK, Conversation, Endpoint, Events
from tlspcap.wire.beginnings import Beginning, beginnings
from tlspcap.wire.blocks import FRAME, LINGER, STREAM, Blocks, block_of, ranges
from tlspcap.wire.columns import AddressBook, Bytes, Int64, Segments
from tlspcap.wire.distinct import distinct
from tlspcap.wire.numbering import PORT_BITS, PORT_MASK, Numbered, Numbering
from tlspcap.wire.settled import tallies, telling_rows
from tlspcap.wire.shares import Part, part_of, share_of
from tlspcap.wire.streams import Streams
from tlspcap.wire.undecided import FOLLOWED, MAX_SAMPLES, OVER, Sample, Undecided

__all__ = ["LINGER", "Conflict", "FlowFacts", "Flows"]

MAX_FOLLOWED = 10_000  # conversations followed at once, some 10 to 25 KB each; beyond, the longest idle ones are ended
MAX_CONFLICTS = 1_000  # conflicts kept of each file: those of the lowest conversation numbers
CROWDED_OUT = "open conversations were followed no further: too many were open at once"
HELD_TOO_MUCH = "conversations had more data behind a hole than is held back: what was missing counts as lost"
TOP_PORTS = 5  # servers' ports kept of each file
TOGETHER = 64  # conversations whose beginnings are found, and that are handed out, before those that are over end


class Conflict(NamedTuple):
    """A side sent other bytes for a place in its stream than were seen there first."""

    number: int  # conversation number
    side: int
    stream: int  # number of the conversation in its file
    frame: int  # the first packet that did, counted in its file


@dataclass(slots=True)
class FlowFacts:
    """What is known of the conversations of one capture file as a whole."""

    capture: str  # name of the file
    segments: int = 0  # TCP segments
    payload: int = 0  # their payload bytes on the wire
    stepped_back: int = 0  # ns, the most that a segment's time lies before the largest one so far
    conversations: int = 0
    ports: Counter[int] = field(default_factory=Counter)  # of them, by the server's port: the most common ones
    samples: list[Sample] = field(default_factory=list)  # conversations that speak HTTP or records of TLS
    unsampled: bool = False  # there are more of them than are kept
    conflicts: list[Conflict] = field(default_factory=list)  # of the lowest conversation numbers
    conflicting: int = 0  # how many there are
    robbed: int = 0  # conversations whose first packets were let go undecided because too many waited
    robbed_tls: int = 0  # conversations found by a hello after that
    caps: Counter[str] = field(default_factory=Counter)  # what was let go because a bound was reached: how many of what

    def conflict(self, conflict: Conflict) -> None:
        """Take a conflict."""
        self.conflicting += 1
        self.conflicts.append(conflict)
        if len(self.conflicts) > 2 * MAX_CONFLICTS:
            self.limit()

    def limit(self) -> None:
        """Put the conflicts in order, and drop those beyond the most that are kept."""
        self.conflicts = sorted(self.conflicts)[:MAX_CONFLICTS]

    def merge(self, other: "FlowFacts") -> None:
        """Take over what another share, which follows other conversations of the same file, saw of its own."""
        self.conflicts += other.conflicts
        self.limit()
        self.conflicting += other.conflicting
        self.robbed += other.robbed
        self.robbed_tls += other.robbed_tls
        samples = sorted(self.samples + other.samples, key=lambda sample: sample.number)
        self.samples = samples[:MAX_SAMPLES]
        self.unsampled |= other.unsampled or len(samples) > MAX_SAMPLES
        self.caps.update(other.caps)


class _Group(NamedTuple):
    """The rows of one followed conversation in a chunk."""

    number: int
    low: int
    high: int


class Flows:
    """Finds the TLS conversations of a capture, one file or several that go on, and puts each one's bytes in order.

    >>> from tlspcap.wire.columns import AddressBook
    >>> flows = Flows("example.pcap", AddressBook())
    >>> [conversation.number for conversation, events in flows.finish()]
    []
    """

    def __init__(self, capture: str, book: AddressBook, share: tuple[int, int] = (0, 1)) -> None:
        """Number all conversations; look at and follow those of share[0] of share[1] alone."""
        self._share = share
        self.clock = 0  # ns, the largest time of a segment so far
        self._book = book
        self._numbering = Numbering()
        self._in_file = self._numbering  # as Wireshark would number the conversations of the present file alone
        self._undecided = Undecided(share[1])
        self._followed: dict[int, Streams] = {}
        self._files = [FlowFacts(capture)]

    def next_file(self, capture: str) -> None:
        """Go on with a file that continues the one before: what is followed is followed on."""
        self._count_file()
        self._files.append(FlowFacts(capture))
        self._in_file = Numbering()

    def take(self, segments: Segments) -> Iterator[tuple[Conversation, Events]]:
        """Take the next chunk, as `take_part` does."""
        return self.take_part(part_of(segments, *self._share))

    def take_part(self, part: Part) -> Iterator[tuple[Conversation, Events]]:
        """Take this share's part of the next chunk; yield each TLS conversation in it, by first row, with its events.

        Events are made as they are consumed, so that `conversation.done`, set in the middle, takes effect with the
        next packet. `conversation.over` is true after the last event of a conversation; one that is over by time is
        yielded once more for that.
        """
        if not len(part.tellers):
            return
        facts, segments = self._files[-1], part.own
        told = self._number(part)
        clocks = np.maximum(part.teller_clock, self.clock)
        replacing = {number: int(clocks[row]) for number, row in told.replaced.items()}
        mine = share_of(part.tellers, self._share[1])[told.begun] == self._share[0]
        self._undecided.begin(part.tellers, told.begun, clocks, mine)
        clock, numbered = np.maximum(part.clock, self.clock), told.led(part.leader, part.same_way)
        self._count(part)
        found = self._undecided.look(segments, numbered, clock)
        facts.robbed_tls += self._undecided.robbed(found)
        self._begin(found)
        facts.robbed += self._undecided.tidy(self.clock)
        replaced = self._replaced(replacing)
        yield from self._work(segments, numbered, clock, replaced, found)
        late = self._late(self._followed)
        yield from self._end({*late, *(replaced & self._followed.keys())})

    def _number(self, part: Part) -> Numbered:
        """Number the tellers of a chunk, and mark all frames with the file that they are in."""
        told = self._numbering.number(part.tellers)
        if self._in_file is not self._numbering:
            told = told._replace(stream=self._in_file.number(part.tellers).number)
            for segments in (part.tellers, part.own):
                segments.frame = segments.frame + (len(self._files) - 1 << FRAME_BITS)
        return told

    def _count(self, part: Part) -> None:
        """Count all segments of a chunk, and set the clock on."""
        facts, totals = self._files[-1], part.totals
        facts.segments += totals.segments
        facts.payload += totals.payload
        facts.stepped_back = max(facts.stepped_back, totals.stepped_back, self.clock - totals.earliest)
        self.clock = max(self.clock, totals.latest)

    def _replaced(self, replacing: dict[int, int]) -> set[int]:
        """Note on followed conversations that a newer one of the same endpoints ended when that was; return them."""
        ended = replacing.keys() & self._followed.keys()
        for number in ended:
            self._followed[number].conversation.until = replacing[number]
        return ended

    def finish(self) -> Iterator[tuple[Conversation, Events]]:
        """End what is still open, after the last chunk: yield each conversation with its last events."""
        yield from self._end(list(self._followed))

    def summaries(self) -> list[FlowFacts]:
        """Return what is known so far of the conversations of each file, for notes."""
        self._count_file()
        for facts in self._files:
            facts.samples = []
            facts.limit()
        self._files[-1].unsampled = self._undecided.unsampled
        for sample in sorted(self._undecided.samples.values(), key=lambda sample: sample.number):
            self._files[sample.frame >> FRAME_BITS].samples.append(sample)
        return self._files

    def _count_file(self) -> None:
        """Fill in what is known of the conversations of the present file."""
        facts = self._files[-1]
        facts.conversations = self._in_file.table.rows
        _, servers = self._in_file.endpoints(np.arange(facts.conversations))
        counts = np.bincount(servers & PORT_MASK)
        ports = np.flatnonzero(counts)
        most = ports[np.argsort(-counts[ports], kind="stable")[:TOP_PORTS]]
        facts.ports = Counter(dict(zip(most.tolist(), counts[most].tolist(), strict=True)))

    def endpoints(self, number: int) -> tuple[tuple[bytes, int], tuple[bytes, int]]:
        """Return address and port of a conversation's opener and of the other side, whether or not it is TLS."""
        opener, other = self._numbering.endpoints(np.array([number], dtype=np.int64))
        return self._address(int(opener[0])), self._address(int(other[0]))

    def _address(self, endpoint: int) -> tuple[bytes, int]:
        """Return address and port of an endpoint."""
        return self._book.bytes(endpoint >> PORT_BITS), endpoint & PORT_MASK

    def _begin(self, found: Iterable[int]) -> None:
        """Begin to follow conversations that turned out to be TLS, or may become it."""
        numbers = list(found)
        ends = self._numbering.endpoints(np.array(numbers, dtype=np.int64))
        columns = (*ends, *self._undecided.first_packets(numbers))
        addresses = iter(self._book.all_bytes(np.stack(ends, axis=1).ravel() >> PORT_BITS))
        for number, opener, other, frame, time in zip(numbers, *(column.tolist() for column in columns), strict=True):
            sides = Endpoint(next(addresses), opener & PORT_MASK), Endpoint(next(addresses), other & PORT_MASK)
            conversation = Conversation(number, self._files[0].capture, *sides, frame, time, time)
            self._followed[number] = Streams(conversation)

    def _work(
        self, segments: Segments, numbered: Numbered, clock: Int64, replaced: set[int], waited: dict[int, Blocks]
    ) -> Iterator[tuple[Conversation, Events]]:
        """Yield the followed conversations that have rows in a chunk."""
        rows = np.flatnonzero(self._undecided.table["state"][numbered.number] == FOLLOWED)
        rows, groups = _grouped(rows, numbered.number[rows])
        block = block_of(segments, clock, numbered, rows)
        groups = self._count_settled(groups, block, segments.buffer, replaced)
        ahead = {group.number for group in groups}
        for some in (groups[at : at + TOGETHER] for at in range(0, len(groups), TOGETHER)):
            begun = _begun(some, block, segments.buffer, waited)
            for number, low, high in some:
                beginning = begun.get(number)
                self._place(number, waited.get(number, []), block[:, low:high])
                low += beginning.rows if beginning else 0
                parts = [(block[:, low:high], segments.buffer)] if low < high else []
                yield from self._hand_out(number, waited.get(number, []) + parts, number in replaced, beginning)
            ahead.difference_update(group.number for group in some)
            yield from self._end(self._late(group.number for group in some))
            yield from self._end(self._crowding(ahead))

    def _count_settled(self, groups: list[_Group], block: Int64, buffer: Bytes, replaced: set[int]) -> list[_Group]:
        """Count the rows of conversations whose consumer is done, where they make no event; return the other groups."""
        settled = [group for group in groups if self._followed[group.number].settled and group.number not in replaced]
        if not settled:
            return groups
        followed = [self._followed[group.number] for group in settled]
        _, lows, highs = np.array(settled, dtype=np.int64).T
        rows = block[:, ranges(lows, highs - lows)]
        sides = [streams.both_sides() for streams in followed]
        found = tallies(rows, highs - lows, telling_rows(rows, buffer), sides)
        counted = set()
        for (number, low, high), streams, tally in zip(settled, followed, found, strict=True):
            if streams.absorb(tally):
                self._place(number, [], block[:, low:high])
                counted.add(number)
        return [group for group in groups if group.number not in counted]

    def _late(self, numbers: Iterable[int]) -> list[int]:
        """Choose those conversations whose time is over, and note that it is."""
        followed = self._followed
        late = [number for number in numbers if number in followed and self.clock > followed[number].deadline]
        for number in late:
            followed[number].expire()
        return late

    def _crowding(self, ahead: set[int]) -> list[int]:
        """Choose conversations to end where too many are followed, none of those that have rows ahead in the chunk.

        Those whose consumer is done go first, since of them next to nothing is lost; then those that are idle longest.
        """
        if len(self._followed) - len(ahead) <= MAX_FOLLOWED:
            return []
        idle = [number for number in self._followed if number not in ahead]
        idle.sort(key=lambda at: (not self._followed[at].conversation.done, self._followed[at].deadline, at))
        chosen = idle[: len(idle) - MAX_FOLLOWED * 7 // 8]
        self._files[-1].caps[CROWDED_OUT] += len(chosen)
        return chosen

    def _place(self, number: int, waited: Blocks, block: Int64) -> None:
        """Note in which files a conversation's rows lie, and its number in each; what is in one file needs no note."""
        if self._in_file is self._numbering:
            return
        places = self._followed[number].conversation.places
        for rows in (*(rows for rows, _ in waited), block):
            files = rows[FRAME] >> FRAME_BITS
            _, first = distinct(files)
            for file, stream in zip(files[first].tolist(), rows[STREAM, first].tolist(), strict=True):
                places.setdefault(file, (self._files[file].capture, stream))

    def _end(self, numbers: Iterable[int]) -> Iterator[tuple[Conversation, Events]]:
        """Yield conversations that are over, by number, with what they still held."""
        for number in sorted(numbers):
            yield from self._hand_out(number, [], ends=True)

    def _hand_out(
        self, number: int, parts: Blocks, ends: bool, beginning: Beginning | None = None
    ) -> Iterator[tuple[Conversation, Events]]:
        """Yield one conversation with its events; forget it when it is over."""
        streams = self._followed[number]
        events = Events(streams.conversation, streams.runs(parts, ends, beginning))
        yield streams.conversation, events
        for run in events.runs:  # what the consumer left
            for _ in run.events:
                pass
        if streams.conversation.over:
            self._forget(number, streams)

    def _forget(self, number: int, streams: Streams) -> None:
        """Leave only the number of a conversation that is over."""
        del self._followed[number]
        self._undecided.table["state"][number] = OVER
        if streams.crowded:
            self._files[-1].caps[HELD_TOO_MUCH] += 1
        for side, frame in streams.conflicts():
            stream = streams.conversation.place(frame).stream
            self._files[frame >> FRAME_BITS].conflict(Conflict(number, side, stream, frame & FRAME_MASK))


def _begun(groups: list[_Group], block: Int64, buffer: Bytes, waited: dict[int, Blocks]) -> dict[int, Beginning]:
    """Return the orderly beginnings of conversations of which no packet came in a chunk before."""
    fresh = [group for group in groups if waited.get(group.number) == []]
    if not fresh:
        return {}
    lows = np.array([group.low for group in fresh], dtype=np.int64)
    counts = np.array([group.high for group in fresh], dtype=np.int64) - lows
    found = zip(fresh, beginnings(block, buffer, lows, counts), strict=True)
    return {group.number: beginning for group, beginning in found if beginning.rows}


def _grouped(rows: Int64, number: Int64) -> tuple[Int64, list[_Group]]:
    """Sort rows by conversation, in order of its first row; return them with each conversation's range."""
    code, first = distinct(number)
    numbers = number[first]
    # A stable sort of 16-bit numbers takes linear time in numpy.
    code = code.astype(np.uint16 if len(numbers) <= 1 << 16 else np.int64)
    counts = np.bincount(code, minlength=len(numbers))
    highs = np.cumsum(counts)
    ranges = zip(numbers.tolist(), (highs - counts).tolist(), highs.tolist(), strict=True)
    return rows[np.argsort(code, kind="stable")], [_Group(*group) for group in ranges]
