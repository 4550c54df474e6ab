"""Puts the events of both sides into one order: what a packet acknowledges was there before it.

Capture order is not enough. Where packets of the two directions come from two taps, or from two queues of one network
card, an answer may be recorded before its question; ACK numbers tell (RFC 9293 3.10.7.4). Within a side the order is
certain already.
"""

from tlspcap.transport import Data, Event, Gap

MAX_HELD = 16  # events that wait for what they acknowledge; more, and the capture does not hold it
FIN_TAKES = 1  # sequence number: an ACK of all bytes and the FIN is that much ahead of the bytes


class Causality:
    """Holds back events that acknowledge bytes of the other side which have not come yet, within a fixed bound.

    >>> question = Data(0, 2, 0, 0, b"hello", 0, 2, 0)
    >>> answer = Data(1, 1, 0, 0, b"hi", 5, 1, 0)
    >>> order = Causality()
    >>> [event.payload for event in (*order.take(answer), *order.take(question))]
    [b'hello', b'hi']
    """

    __slots__ = ("_held", "_seen")

    def __init__(self) -> None:
        self._seen = [0, 0]  # offset up to which each side's bytes have come
        self._held: tuple[list[Event], list[Event]] = ([], [])

    @property
    def waits(self) -> bool:
        """Whether any event is held back."""
        return bool(self._held[0] or self._held[1])

    def passes(self, event: Event) -> bool:
        """Whether an event is in order, as nearly all are: it is noted, and may be worked through at once."""
        held, seen = self._held, self._seen
        if held[0] or held[1]:
            return False
        if type(event) is Data:
            side, _, _, offset, payload, acked, _, _ = event
            if acked > seen[1 - side] + FIN_TAKES:
                return False
            seen[side] = offset + len(payload)
            return True
        if not self._in_time(event):
            return False
        self.note(event)
        return True

    def take(self, event: Event) -> list[Event]:
        """Take the next event of a side; return what may be worked through now, in order."""
        if self.passes(event):
            return [event]
        held = self._held
        held[event.side].append(event)
        return self.rest() if len(held[0]) + len(held[1]) > MAX_HELD else self._released()

    def rest(self) -> list[Event]:
        """Give up waiting: return all that is held, in capture order, as far as the sides allow."""
        released: list[Event] = []
        while any(self._held):
            side = min((queue[0].frame, side) for side, queue in enumerate(self._held) if queue)[1]
            event = self._held[side].pop(0)
            if not isinstance(event, Gap):  # the bytes that it acknowledges will not come
                self._seen[1 - side] = max(self._seen[1 - side], event.acked)
            self.note(event)
            released += [event, *self._released()]
        return released

    def _released(self) -> list[Event]:
        """Return the events that need wait no longer."""
        released: list[Event] = []
        while queues := [queue for queue in self._held if queue and self._in_time(queue[0])]:
            event = min(queues, key=lambda queue: queue[0].frame).pop(0)
            self.note(event)
            released.append(event)
        return released

    def _in_time(self, event: Event) -> bool:
        """Whether all that an event acknowledges has come."""
        return isinstance(event, Gap) or event.acked <= self._seen[1 - event.side] + FIN_TAKES

    def note(self, event: Event) -> None:
        """Note that an event has come: an answer to it need not wait."""
        if isinstance(event, Data):
            self._seen[event.side] = event.offset + len(event.payload)
        elif isinstance(event, Gap):
            self._seen[event.side] = event.offset + event.length
