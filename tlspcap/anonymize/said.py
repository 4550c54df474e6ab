"""What one side of a conversation said, by stream offset, with what is missing of it."""

from collections.abc import Iterator

from tlspcap.tls.records import may_begin_record
from tlspcap.transport import Data, Gap


class Said:
    """The events of one side, in order."""

    def __init__(self, events: list[Data | Gap]) -> None:
        self._events = events
        self._runs: list[tuple[int, bytes]] = []
        held: list[Data] = []
        for event in events:
            if isinstance(event, Gap) or (held and event.offset != held[-1].offset + len(held[-1].payload)):
                self._keep(held)
                held = []
            if isinstance(event, Data):
                held.append(event)
        self._keep(held)

    def _keep(self, held: list[Data]) -> None:
        if held:
            self._runs.append((held[0].offset, b"".join(data.payload for data in held)))

    def runs(self, start: int, stop: int | None) -> Iterator[tuple[int, bytes]]:
        """Yield what was said between two offsets, in pieces without a gap; `stop` None is the end."""
        for offset, content in self._runs:
            low = max(start - offset, 0)
            part = content[low : None if stop is None else max(stop - offset, 0)]
            if part:
                yield offset + low, part

    def bytes(self, offset: int, count: int) -> bytes:
        """Return some bytes, fewer where some are missing."""
        return next((content for at, content in self.runs(offset, offset + count) if at == offset), b"")

    def events_from(self, start: int) -> Iterator[Data | Gap]:
        """Yield the events from an offset on; one that begins before it is cut."""
        for event in self._events:
            if event.offset >= start:
                yield event
            elif isinstance(event, Data) and event.offset + len(event.payload) > start:
                yield event._replace(offset=start, payload=event.payload[start - event.offset :])

    @property
    def first(self) -> int | None:
        """Offset of the first byte that is there."""
        return self._runs[0][0] if self._runs else None

    def first_record(self) -> int | None:
        """Return where the first packet that may begin a record begins."""
        for event in self._events:
            if isinstance(event, Data) and may_begin_record(event.payload):
                return event.offset
        return None
