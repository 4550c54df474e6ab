"""The two directions of one TCP conversation: its rows, in capture order, become Data, Gap and Closed events.

Every decision rests on the rows so far, never on where a chunk of the capture ends.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from tlspcap.transport import UNKNOWN, Closed, Conversation, Data, Event, Run
from tlspcap.wire.beginnings import Beginning, End
from tlspcap.wire.blocks import (
    ACK,
    ACKED,
    CLOCK,
    FIN,
    FLAGS,
    FRAME,
    IDLE,
    LENGTH,
    LINGER,
    NEVER,
    RST,
    SEQ,
    STREAM,
    SYN,
    TIME,
    Blocks,
    Row,
)
from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.direction import FAR, MASK, RECENT, RESET_AHEAD, RESET_BEHIND, Direction, Piece
from tlspcap.wire.hello import is_alert_segment
from tlspcap.wire.settled import UNUSUAL, Sides, Tally, tallies, telling_rows

SLICE = 64  # rows that become Python numbers at once, so that a conversation that is done stops soon
BULK = 8_192  # rows of a done conversation that are counted at once


class Streams:
    """Follows one conversation: its beginning, where that is orderly, then row by row.

    Once the consumer sets `conversation.done`, bytes are put in order no more: from the next packet on, only FIN, RST
    and segments that are one whole alert record make events, and repeats are counted no more.
    """

    __slots__ = (
        "begun",
        "closing",
        "conversation",
        "deadline",
        "heard",
        "last",
        "opening",
        "over",
        "settled",
        "sides",
    )

    def __init__(self, conversation: Conversation) -> None:
        self.conversation = conversation
        self.sides: Sides = ()  # once there are rows to take one by one
        self.begun: tuple[End, ...] = ()  # what they go on from, where there was a beginning
        self.heard: list[Event] = []  # its events, while the consumer is not done
        self.deadline = NEVER  # largest capture time at which a packet still belongs to the conversation
        self.closing = False  # both FINs or a RST were seen
        self.opening = False  # a SYN-ACK waits for its ACK
        self.settled = False  # what was held when the consumer was done has been let go
        self.over = False  # a packet came behind the deadline
        self.last: Sequence[int] = (conversation.first_frame, conversation.first_time)  # the newest row

    def _begin(self, beginning: Beginning) -> Iterator[Run]:
        """Hand out the first rows of the conversation, which are in order, as one run."""
        self._note(beginning)
        self.heard = beginning.events
        run = iter(beginning.events)
        yield Run(run, orderly=True)
        if self.conversation.done:
            self.settled, self.heard = True, []
            yield Run(event for event in run if type(event) is not Data or is_alert_segment(event.payload))

    def _note(self, beginning: Beginning) -> None:
        """Take over the facts of a beginning."""
        conversation = self.conversation
        rows, _, opener, other, syn_time, syn_ack_time, ack_time, last_time, *last, closing, deadline = beginning
        conversation.syn_time, conversation.syn_ack_time, conversation.ack_time = syn_time, syn_ack_time, ack_time
        conversation.packets = rows
        if last_time > conversation.last_time:
            conversation.last_time = last_time
        self.closing, self.deadline, self.last, self.begun = closing, deadline, last, (opener, other)
        for end, facts in ((conversation.opener, opener), (conversation.other, other)):
            _, end.packets, end.sent, end.acknowledged, end.last_time, fin = facts
            end.opened, end.closed = True, "fin" if fin >= 0 else ""

    def both_sides(self) -> Sides:
        """Return the sides of the conversation, at first as its beginning left them."""
        if self.sides:
            return self.sides
        sides = Direction(0, self.conversation.opener), Direction(1, self.conversation.other)
        for me, begun in zip(sides, self.begun, strict=False):
            me.recent = [event for event in self.heard if type(event) is Data and event.side == me.side]
            me.origin, me.fin, me.anchored = begun.origin, begun.fin, True
            me.next = begun.fin if begun.fin >= 0 else begun.sent
        self.begun, self.heard, self.sides = (), [], sides
        return sides

    def runs(self, blocks: Blocks, ends: bool, beginning: Beginning | None = None) -> Iterator[Run]:
        """Yield what blocks of rows make, then, if the conversation ends with them, what is left of it."""
        if beginning is not None:
            yield from self._begin(beginning)
        if blocks:
            self.both_sides()
        for block, buffer in blocks:
            at, rows = 0, block.shape[1]
            if self.deadline == NEVER:
                self.deadline = int(block[CLOCK, 0]) + IDLE
            while at < rows and not self.over:
                part = self._in_time(block[:, at : at + (BULK if self.settled else SLICE)])
                at += part.shape[1]
                if self.settled and part.shape[1] > SLICE:
                    yield Run(self._glance(part, buffer))
                else:
                    rest = self._follow(part, buffer.data)
                    yield Run(rest)
                    yield Run(rest)  # what a consumer that was done in the middle has left
        if ends or self.over:
            yield Run(self._rest())
            self._end()

    def _rest(self) -> Iterator[Event]:
        """Yield what is left of a conversation that ends."""
        if self.over or self.conversation.until:
            self.expire()
        if not self.conversation.done:
            for me in self.sides:
                yield from me.finish(self.last[FRAME], self.last[TIME])
        yield from self._settle()

    def _end(self) -> None:
        """Say that the conversation is over, and since when, where time ended it before anything else did."""
        conversation = self.conversation
        if self.over or conversation.until > self.deadline:
            conversation.until = self.deadline
        conversation.over = True
        origins = [me.origin for me in self.sides or self.begun]
        for end, origin in zip((conversation.opener, conversation.other), origins, strict=False):
            end.origin = origin

    def _in_time(self, block: Int64) -> Int64:
        """Cut a block before the first row that comes too late; a FIN or RST inside it may end it sooner still."""
        clock = block[CLOCK]
        if clock[-1] <= self.deadline:
            return block
        late = clock > self.deadline if self.closing else np.diff(clock, prepend=self.deadline - IDLE) > IDLE
        if late.any():
            self.over = True
            block = block[:, : int(np.argmax(late))]
        if not self.closing:  # each row has moved the deadline on for the next
            self.deadline = max([self.deadline, *block[CLOCK, -1:].tolist()])
        return block

    def expire(self) -> None:
        """Note that the conversation ended at its deadline, unless it was replaced before that."""
        self.conversation.until = min(self.conversation.until or self.deadline, self.deadline)

    def conflicts(self) -> Iterator[tuple[int, int]]:
        """Name the sides that sent other bytes for the same offsets, each with the first frame that did."""
        return ((me.side, me.conflict) for me in self.sides if me.conflict)

    @property
    def crowded(self) -> bool:
        """Whether more came behind a hole in a side than may wait there."""
        return any(me.crowded for me in self.sides)

    def _follow(self, block: Int64, buffer: memoryview) -> Iterator[Event]:
        """Take rows one by one."""
        conversation, (opener, other), new = self.conversation, self.sides, tuple.__new__
        for row in zip(*block[:STREAM].tolist(), strict=True):
            frame, time, clock, side, seq, ack, flags, start, captured, length = row
            if clock > self.deadline:
                self.over = True
                return
            me, peer = (other, opener) if side else (opener, other)
            end = me.end
            end.packets += 1
            end.last_time = time
            self.last = row
            conversation.packets = packets = conversation.packets + 1
            if time > conversation.last_time:
                conversation.last_time = time
            if flags & UNUSUAL or self.opening or end.packets == 1:
                events = self._segment(me, peer, row, buffer)
                if events:
                    yield from events
                    yield from self._settle()
                continue
            acked = UNKNOWN
            if flags & ACK:
                acked = peer.ack_offset if ack == peer.ack_number else peer.acknowledge(ack)
            if not length:
                continue
            if captured != length or me.held or me.fin >= 0 or self.settled or (seq - me.origin - me.next) & MASK:
                yield from self._payload(me, peer, row, seq, acked, buffer)
                yield from self._settle()
                continue
            # What follows is what `receive` does for the next bytes in line, without its detours.
            payload, repeats = buffer[start : start + captured].tobytes(), end.repeated + peer.end.repeated
            data = new(Data, (side, frame, time, me.next, payload, acked, packets, repeats))
            me.next = end.sent = me.next + length
            me.recent.append(data)
            yield data
            if conversation.done:
                yield from self._settle()
        if not self.closing and block.shape[1]:
            self.deadline = int(block[CLOCK, -1]) + IDLE
        for me in self.sides:
            del me.recent[:-RECENT]

    def _segment(self, me: Direction, peer: Direction, row: Row, buffer: memoryview) -> list[Event]:
        """Take any segment, whatever its flags."""
        _, time, _, side, seq, ack, flags, _, _, length = row
        if flags & RST:
            return self._reset(me, peer, row)
        if flags & SYN or me.end.packets == 1:
            seq = self._open(me, row)
        acked = UNKNOWN
        if flags & ACK:
            acked = peer.acknowledge(ack)
            if self.opening and not side and not flags & SYN:
                self.conversation.ack_time, self.opening = time, False
        events = self._payload(me, peer, row, seq, acked, buffer) if length else []
        return events + self._fin(me, peer, row, seq, acked) if flags & FIN else events

    def _open(self, me: Direction, row: Row) -> int:
        """Take the first packet of a side, or a SYN; return the sequence number of its payload."""
        conversation, flags, seq = self.conversation, row[FLAGS], row[SEQ]
        if not flags & SYN:
            me.begin(seq, row[LENGTH])
            return seq
        seq = (seq + 1) & MASK  # the SYN itself takes one number (RFC 9293 3.4)
        if me.end.opened:
            conversation.syn_repeats += 1
        elif flags & ACK:
            conversation.syn_ack_time = row[TIME]
            self.opening = not conversation.ack_time
        elif not conversation.syn_time:
            conversation.syn_time = row[TIME]
        me.anchor(seq)
        return seq

    def _payload(
        self, me: Direction, peer: Direction, row: Row, seq: int, acked: int, buffer: memoryview
    ) -> list[Event]:
        """Take the payload of a segment: put it in order or, once the consumer is done, look for an alert."""
        frame, time, _, side, _, _, _, start, captured, length = row
        repeats, packets = me.end.repeated + peer.end.repeated, self.conversation.packets
        if not self.settled:
            payload = buffer[start : start + captured].tobytes()
            offset = me.offset_of(seq, me.next)
            return me.receive(Piece(offset, length, payload, frame, time, acked, packets, repeats))
        offset = me.offset_of(seq, me.end.sent)
        if not 0 < offset + length - me.end.sent <= FAR:
            return []
        me.end.sent = offset + length
        if captured < length or not is_alert_segment(buffer[start : start + length]):
            return []
        payload = buffer[start : start + captured].tobytes()
        return [Data(side, frame, time, offset, payload, acked, packets, repeats)]

    def _fin(self, me: Direction, peer: Direction, row: Row, seq: int, acked: int) -> list[Event]:
        """Take a FIN, which lies behind the payload of its segment."""
        offset = me.offset_of(seq, me.end.sent if self.settled else me.next) + row[LENGTH]
        if self.settled:
            me.next = max(me.next, offset)
        repeats = me.end.repeated + peer.end.repeated
        event = Closed(me.side, row[FRAME], row[TIME], "fin", acked, self.conversation.packets, repeats)
        events = me.close(offset, event)
        if not self.closing and me.fin >= 0 and peer.fin >= 0:
            self._close(row)
        return events

    def _reset(self, me: Direction, peer: Direction, row: Row) -> list[Event]:
        """Take a RST if it can belong to the stream; it ends its side at once."""
        flags, ack = row[FLAGS], row[ACKED]
        exact = bool(flags & ACK) and peer.origin >= 0 and not (ack - peer.origin - peer.end.sent) & MASK
        if not (exact or me.origin < 0 or self._within_window(me, row[SEQ])):
            return []
        if not self.closing:
            self._close(row)
        if me.end.closed:
            return []
        acked = peer.acknowledge(ack) if flags & ACK and peer.origin >= 0 else UNKNOWN
        me.end.closed, me.reset = "reset", self._offset_of_reset(me, row[SEQ])
        repeats = me.end.repeated + peer.end.repeated
        return [Closed(me.side, row[FRAME], row[TIME], "reset", acked, self.conversation.packets, repeats)]

    def _offset_of_reset(self, me: Direction, seq: int) -> int:
        """Return how far a side had sent when it reset, 0 where its number tells nothing (a RST may carry any)."""
        if me.origin < 0 or self.settled or not self._within_window(me, seq):
            return 0
        return me.offset_of(seq, me.end.sent)

    def _within_window(self, me: Direction, seq: int) -> bool:
        """Whether a RST lies near the highest byte seen of its side, as RFC 9293 3.10.7.4 asks of the window."""
        return -RESET_BEHIND <= me.offset_of(seq, me.end.sent) - me.end.sent <= RESET_AHEAD

    def _close(self, row: Row) -> None:
        """Both FINs or a RST were seen: give stragglers a while."""
        self.closing = True
        self.deadline = row[CLOCK] + LINGER

    def _settle(self) -> Sequence[Event]:
        """Once the consumer is done, let go of what is held."""
        if self.settled or not self.conversation.done:
            return ()
        self.settled = True
        return [event for me in self.sides for event in me.settle()]

    def _glance(self, block: Int64, buffer: Bytes) -> Iterator[Event]:
        """Take rows of a settled conversation: count those that make no event at once, follow the others one by one."""
        telling = telling_rows(block, buffer)
        rows = np.flatnonzero(telling).tolist()
        if len(rows) * 8 > len(telling):
            yield from self._follow(block, buffer.data)
            return
        at = 0
        for row in [*rows, len(telling)]:
            between = block[:, at:row]
            if at < row and not self.absorb(self._tally(between)):
                yield from self._follow(between, buffer.data)
            closing, at = self.closing, row + 1
            yield from self._follow(block[:, row:at], buffer.data)
            if self.closing and not closing:  # the deadline is near now: look at every row's time
                yield from self._follow(block[:, at:], buffer.data)
                return

    def _tally(self, block: Int64) -> Tally | None:
        """Sum up rows none of which is telling."""
        count = block.shape[1]
        return tallies(block, np.array([count]), np.zeros(count, dtype=np.bool_), [self.sides])[0]

    def absorb(self, tally: Tally | None) -> bool:
        """Count the rows of a tally at once, exactly as one by one; False, and nothing is done, where it cannot be."""
        if tally is None or self.opening or tally.clock > self.deadline:
            return False
        packets, beyond, last_time, acked, latest, frame, time, clock = tally
        for me, count, more, newest, ack in zip(self.sides, packets, beyond, last_time, acked, strict=True):
            if count:
                me.end.packets += count
                me.end.last_time = newest
                me.end.sent += more
            if ack >= 0:
                me.acknowledge(ack)
        conversation = self.conversation
        conversation.packets += packets[0] + packets[1]
        conversation.last_time = max(conversation.last_time, latest)
        self.last = frame, time
        if not self.closing:
            self.deadline = clock + IDLE
        return True
