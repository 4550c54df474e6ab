"""Conversations of which it is not yet known whether they are TLS: their packets wait here until a hello is seen.

A conversation is followed from the first segment that begins with a hello (or completes one that was split within its
first bytes), or with a dialogue that may lead to one. Without either it is dismissed after MAX_YOUNG_BYTES of payload
or MAX_YOUNG_PACKETS packets, an hour after its first packet, or LINGER after its end. All of that is columnar: no
packet becomes a Python object here.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from tlspcap.wire.blocks import CAPTURED, FIN, IDLE, LINGER, NEVER, RST, SEQ, SIDE, START, Blocks, block_of
from tlspcap.wire.columns import Bytes, Int32, Int64, Segments
from tlspcap.wire.dialogues import begin_dialogue
from tlspcap.wire.direction import MASK
from tlspcap.wire.distinct import among, distinct
from tlspcap.wire.hello import (
    HANDSHAKE,
    SSL2_START,
    Mask,
    begin_hello,
    begin_http,
    begin_record,
    begins_hello,
    may_begin_hello,
)
from tlspcap.wire.index import Table
from tlspcap.wire.numbering import Numbered
from tlspcap.wire.waiting import WaitingRoom

MAX_YOUNG_BYTES = 16_384  # payload, both sides together, that passes without a hello before a conversation is dismissed
MAX_YOUNG_PACKETS = 512  # packets, the same
MAX_SAMPLES = 10_000  # conversations without a hello of which the first bytes are kept
SAMPLE_BYTES = 400  # of each side: enough for the words in an error page of HTTP

UNDECIDED, FOLLOWED, PLAIN, OVER = range(4)  # states of a conversation; the last two are never looked at again


@dataclass(slots=True)
class Sample:
    """A conversation without a hello that speaks HTTP, or records of TLS, at the start of a segment."""

    number: int  # conversation number
    stream: int  # Wireshark's number of the conversation in the segment's file
    frame: int  # of the segment
    time: int  # ns, of that segment
    side: int  # who sent it
    speaks: Literal["http", "records"]
    starts: list[bytes] = field(default_factory=lambda: [b"", b""])  # first payload of each side from then on


class _Rows(NamedTuple):
    """The rows of a chunk that belong to undecided conversations, and which conversation each belongs to."""

    at: Int64  # row in the chunk
    code: Int64  # index into `numbers`
    numbers: Int64  # distinct conversations, by first row
    young: Int64  # row of each of them in the table of young conversations
    late: Int64  # the conversation of each row that lies behind its end

    def only(self, chosen: Mask | Int64) -> "_Rows":
        """Leave out the rows that are not chosen."""
        return self._replace(at=self.at[chosen], code=self.code[chosen])


class Undecided:
    """Decides for each conversation whether it is TLS, and keeps the packets of those that are open."""

    def __init__(self, shares: int = 1) -> None:
        self.table = Table(state=np.uint8, dialogue=np.bool_)  # of every conversation
        self._young = Table(  # of those that are undecided, by number; of others until they are tidied away
            number=np.int64,
            frame=np.int64,
            time=np.int64,
            first_clock=np.int64,
            closing=np.int64,
            fin0=np.int64,
            fin1=np.int64,
            payload=np.int64,
            packets=np.int32,
            split=np.bool_,
            robbed=np.bool_,
        )
        self.samples: dict[int, Sample] = {}
        self.unsampled = False  # there were more than MAX_SAMPLES
        self.waiting = WaitingRoom(shares)
        self._unfilled: set[int] = set()  # samples that lack a side's first bytes

    def begin(self, segments: Segments, begun: Int64, clock: Int64, mine: Mask) -> None:
        """Take on the conversations that began in a chunk, at the rows given; those that are not mine are over."""
        numbers = np.arange(self.table.rows, self.table.rows + len(begun))[mine]
        self.table.append(len(begun), state=np.where(mine, UNDECIDED, OVER))
        begun = begun[mine]
        times = {"frame": segments.frame[begun], "time": segments.time[begun], "first_clock": clock[begun]}
        self._young.append(len(begun), number=numbers, closing=NEVER, fin0=NEVER, fin1=NEVER, **times)

    def robbed(self, numbers: Iterable[int]) -> int:
        """Count those of the conversations that the last look has found whose first packets were let go before."""
        young = self._of_young(np.array(list(numbers), dtype=np.int64))
        return int(np.count_nonzero(self._young["robbed"][young]))

    def first_packets(self, numbers: list[int]) -> tuple[Int64, Int64]:
        """Return frame and time of the first packet of conversations that the last look has found."""
        young = self._of_young(np.array(numbers, dtype=np.int64))
        return self._young["frame"][young], self._young["time"][young]

    def _of_young(self, numbers: Int64) -> Int64:
        """Return the rows of conversations in the table of young ones, which is in order of their numbers."""
        rows: Int64 = np.searchsorted(self._young["number"], numbers)
        return rows

    def look(self, segments: Segments, numbered: Numbered, clock: Int64) -> dict[int, Blocks]:
        """Decide what a chunk decides; return the conversations to be followed, each with its packets that waited."""
        rows = self._open_rows(segments, numbered, clock)
        passed = self._young["payload"][rows.young], self._young["packets"][rows.young]
        found = self._found(segments, numbered, rows)
        known = self.table.rows - len(numbered.begun)
        waited = {number: self.waiting.of(number) if number < known else [] for number in found.tolist()}
        for number in self.samples.keys() & waited.keys():
            del self.samples[number]
        state = self.table["state"]
        state[found] = FOLLOWED
        self._dismiss(rows)
        states = state[rows.numbers][rows.code]
        self._sample(segments, numbered, _early(segments, rows.only(states != FOLLOWED), *passed))
        rest = rows.at[states == UNDECIDED]
        block = block_of(segments, clock, numbered, rest)
        self.waiting.keep(numbered.number[rest], block, segments.buffer)
        state[[number for number in numbered.replaced if state[number] == UNDECIDED]] = PLAIN
        return waited

    def tidy(self, clock: int) -> int:
        """Forget what is not needed any more, behind each chunk; `clock` is the largest time so far.

        Where too many packets wait, the oldest are let go. Their conversations stay undecided, so that no flood of
        packets hides a handshake; it will seem to begin in mid-stream. Return how many conversations that happens to.
        """
        state, young = self.table["state"], self._young
        ended = (clock > young["closing"] + LINGER) | (clock > young["first_clock"] + IDLE)
        waits = state[young["number"]] == UNDECIDED
        state[young["number"][ended & waits]] = PLAIN
        waits &= ~ended
        if 2 * np.count_nonzero(waits) <= len(waits):
            young.keep(waits)
        robbed = self._of_young(self.waiting.tidy(state == UNDECIDED))
        first_time = int(np.count_nonzero(~young["robbed"][robbed]))
        young["robbed"][robbed] = True
        return first_time

    def _open_rows(self, segments: Segments, numbered: Numbered, clock: Int64) -> _Rows:
        """Return the rows of undecided conversations, as far as their conversation has not ended before."""
        table, number = self._young, numbered.number
        at = np.flatnonzero(self.table["state"][number] == UNDECIDED)
        code, first = distinct(number[at])
        young = self._of_young(number[at[first]])[code]
        self._note_ends(segments.flags[at], young, numbered.side[at], clock[at])
        late = (clock[at] > table["closing"][young] + LINGER) | (clock[at] > table["first_clock"][young] + IDLE)
        behind, at = number[at[late]], at[~late]
        code, first = distinct(number[at])
        numbers = number[at[first]]
        return _Rows(at, code, numbers, self._of_young(numbers), behind)

    def _note_ends(self, flags: Int32, young: Int64, side: Int64, clock: Int64) -> None:
        """Note when conversations end: at the first RST, or when both sides have sent a FIN."""
        closing = self._young["closing"]
        reset = np.flatnonzero(flags & RST)
        np.minimum.at(closing, young[reset], clock[reset])
        fins = np.flatnonzero(flags & FIN)
        for sender, name in enumerate(("fin0", "fin1")):
            mine = fins[side[fins] == sender]
            np.minimum.at(self._young[name], young[mine], clock[mine])
        ended = young[fins]
        both = np.maximum(self._young["fin0"][ended], self._young["fin1"][ended])
        np.minimum.at(closing, ended, both)

    def _found(self, segments: Segments, numbered: Numbered, rows: _Rows) -> Int64:
        """Return the conversations with a hello or a dialogue that came in time, and count what passed without one."""
        hello_at = self._begin_at(segments, numbered, rows)
        before = np.arange(len(rows.at)) < hello_at[rows.code]
        code, count = rows.code[before], len(rows.numbers)
        payload, packets = self._young["payload"], self._young["packets"]
        payload[rows.young] += np.bincount(code, segments.length[rows.at[before]], count).astype(np.int64)
        packets[rows.young] += np.bincount(code, minlength=count).astype(np.int32)
        return rows.numbers[(hello_at < len(rows.at)) & ~self._spent(rows)]

    def _begin_at(self, segments: Segments, numbered: Numbered, rows: _Rows) -> Int64:
        """Return for each undecided conversation the index of its first row with a hello or dialogue, else of none.

        Most conversations of TLS begin with a hello, and none of the rows behind that need be looked at.
        """
        first = _first_rows(rows, segments.captured[rows.at] > 0)
        some = np.flatnonzero((first < len(rows.at)) & ~self._young["split"][rows.young])
        at = rows.at[first[some]]
        plain = np.zeros(len(rows.numbers), dtype=np.bool_)
        plain[some] = begin_hello(segments.buffer, segments.start[at], segments.captured[at])
        looked = np.flatnonzero(~plain[rows.code])
        if not len(looked):
            return np.where(plain, first, len(rows.at))
        others = rows.only(looked)
        hello_at = self._hello_at(segments, numbered, others)
        payloads = segments.buffer, segments.start[others.at], segments.captured[others.at]
        dialogue_at = _first_rows(others, begin_dialogue(*payloads))
        found = np.append(looked, len(rows.at))[np.minimum(hello_at, dialogue_at)]
        return np.where(plain, first, found)

    def _hello_at(self, segments: Segments, numbered: Numbered, rows: _Rows) -> Int64:
        """Return for each undecided conversation the index of its first row with a hello, else the number of rows."""
        start, captured = segments.start[rows.at], segments.captured[rows.at]
        hello = begin_hello(segments.buffer, start, captured)
        hello_at = _first_rows(rows, hello)
        split = self._young["split"]
        short = np.flatnonzero((captured > 0) & (captured < SSL2_START) & ~hello)
        first = segments.buffer[start[short]]
        short = short[(first == HANDSHAKE) | (first >= 0x80)]
        split[rows.young[rows.code[short]]] = True
        rejoin = np.flatnonzero(split[rows.young][rows.code])
        rejoin = rejoin[np.argsort(rows.code[rejoin], kind="stable")]
        edges = np.flatnonzero(np.diff(rows.code[rejoin]))
        for mine in np.split(rejoin, edges + 1) if len(rejoin) else ():
            code = rows.code[mine[0]]
            joined = self._joined_at(segments, numbered, int(rows.numbers[code]), rows.at[mine])
            if joined < len(mine):
                hello_at[code] = min(int(hello_at[code]), int(mine[joined]))
        return hello_at

    def _joined_at(self, segments: Segments, numbered: Numbered, number: int, at: Int64) -> int:
        """Return the index of the row that completes a hello split within its first bytes, else the number of rows."""
        heads: tuple[_Heads, _Heads] = (_Heads(), _Heads())
        for block, buffer in self.waiting.of(number):
            fields = block[[SIDE, SEQ, START, CAPTURED]].tolist()
            for side, seq, start, captured in zip(*fields, strict=True):
                heads[side].add(seq, _head(buffer, start, captured, SSL2_START))
        for index, row in enumerate(at.tolist()):
            head = _head(segments.buffer, segments.start[row], segments.captured[row], SSL2_START)
            if heads[numbered.side[row]].add(int(segments.seq[row]), head):
                return index
        return len(at)

    def _spent(self, rows: _Rows) -> Mask:
        """Whether so much passed without a hello that none is expected, of each conversation."""
        over: Mask = self._young["payload"][rows.young] > MAX_YOUNG_BYTES
        return over | (self._young["packets"][rows.young] > MAX_YOUNG_PACKETS)

    def _dismiss(self, rows: _Rows) -> None:
        """Dismiss the conversations that ended, or in which too much passed without a hello."""
        state = self.table["state"]
        for numbers in (rows.late, rows.numbers[self._spent(rows)]):
            state[numbers[state[numbers] == UNDECIDED]] = PLAIN

    def _sample(self, segments: Segments, numbered: Numbered, rows: Int64) -> None:
        """Keep the first bytes of conversations without a hello that begin segments with HTTP or records of TLS."""
        rows = rows[segments.captured[rows] > 0]
        if not len(rows):
            return
        start, captured, of = segments.start[rows], segments.captured[rows], numbered.number[rows]
        http = begin_http(segments.buffer, start, captured)
        telling = np.flatnonzero(http | begin_record(segments.buffer, start, captured))
        _, first = distinct(of[telling])
        for at in telling[first].tolist():
            row, number = int(rows[at]), int(of[at])
            if number in self.samples:
                continue
            if len(self.samples) >= MAX_SAMPLES:
                self.unsampled = True
            else:
                frame, time, side = int(segments.frame[row]), int(segments.time[row]), int(numbered.side[row])
                where = number, int(numbered.stream[row]), frame
                self.samples[number] = Sample(*where, time, side, "http" if http[at] else "records")
                self._unfilled.add(number)
        for row in rows[among(of, np.array(sorted(self._unfilled), dtype=np.int64))].tolist():
            sample, side = self.samples[int(numbered.number[row])], int(numbered.side[row])
            if segments.frame[row] >= sample.frame and not sample.starts[side]:
                sample.starts[side] = _head(segments.buffer, segments.start[row], segments.captured[row], SAMPLE_BYTES)
        state = self.table["state"]
        self._unfilled = {at for at in self._unfilled if state[at] == UNDECIDED and not all(self.samples[at].starts)}


class _Heads:
    """The first bytes of the segments of one side, to find a hello that is split within them."""

    def __init__(self) -> None:
        self._heads: dict[int, bytes] = {}

    def add(self, seq: int, head: bytes) -> bool:
        """Add the first bytes of a segment; return whether some run of segments now begins with a hello."""
        if not head:
            return False
        self._heads.setdefault(seq, head)
        return any(self._begins_hello((seq - back) & MASK) for back in range(SSL2_START))

    def _begins_hello(self, seq: int) -> bool:
        if not may_begin_hello(self._heads.get(seq, b"")):
            return False
        start = b""
        while len(start) < SSL2_START and (more := self._heads.get((seq + len(start)) & MASK)):
            start += more
        return begins_hello(start[:SSL2_START])


def _first_rows(rows: _Rows, chosen: Mask) -> Int64:
    """Return for each conversation the index of its first row that is chosen, else the number of rows."""
    first = np.full(len(rows.numbers), len(rows.at), dtype=np.int64)
    hits = np.flatnonzero(chosen)[::-1]
    first[rows.code[hits]] = hits  # the last value assigned stays: the first row
    return first


def _head(buffer: Bytes, start: int, captured: int, most: int) -> bytes:
    return buffer[start : start + min(captured, most)].tobytes()


def _early(segments: Segments, rows: _Rows, payload: Int64, packets: Int64) -> Int64:
    """Return the rows before their conversation is dismissed for the lack of a hello, given what passed of each."""
    ones = np.ones(len(rows.at), dtype=np.int64)
    payload = payload[rows.code] + _passed_before(rows.code, segments.length[rows.at])
    packets = packets[rows.code] + _passed_before(rows.code, ones)
    return rows.at[(payload <= MAX_YOUNG_BYTES) & (packets <= MAX_YOUNG_PACKETS)]


def _passed_before(code: Int64, amounts: Int64) -> Int64:
    """Return for each row the sum of amounts of the rows before it with the same code."""
    order = np.argsort(code, kind="stable")
    sums = np.cumsum(amounts[order]) - amounts[order]
    starts = np.flatnonzero(np.diff(code[order], prepend=-1))
    passed = np.empty(len(code), dtype=np.int64)
    passed[order] = sums - np.repeat(sums[starts], np.diff(starts, append=len(code)))
    return passed
