"""Another walk over captures that were read: all packets again, each segment with the number of its conversation.

Files go on with one another as in `reading`, so that a conversation that spans rotated files has one number.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tlspcap.errors import CaptureError
from tlspcap.reading import goes_on
from tlspcap.transport import FRAME_BITS
from tlspcap.wire import packets
from tlspcap.wire.columns import AddressBook, FileFacts, Int64, Packets, Segments
from tlspcap.wire.files import CHUNK_BYTES, CaptureInput, open_capture
from tlspcap.wire.fragments import Fragments
from tlspcap.wire.numbering import Numbering


@dataclass(frozen=True, slots=True)
class Source:
    """One capture, as it can be read once more."""

    capture: CaptureInput
    start: int | None  # ns, the time of its first packet, where it was looked at
    position: int = 0  # of an open file, where it began

    @classmethod
    def of(cls, capture: CaptureInput, start: int | None) -> "Source":
        """Remember where an open file stands."""
        return cls(capture, start, 0 if isinstance(capture, str | Path) else capture.tell())

    def rewind(self) -> None:
        """Go back to where an open file began."""
        if not isinstance(self.capture, str | Path):
            self.capture.seek(self.position)


class Chunk(NamedTuple):
    """Some packets of one file, and the TCP segments in them."""

    file: int  # which one, counted over all that are walked through
    name: str
    run: int  # which series of files that go on with one another
    packets: Packets
    segments: Segments  # `frame` counts in the file
    number: Int64  # of each segment, its conversation's, counted in the run
    book: AddressBook
    joined: dict[int, list[int]]  # marked frames of each datagram put together from fragments, by the one that ends it

    def marked(self, frame: int) -> int:
        """Mark a frame of this file with the file's number."""
        return self.file << FRAME_BITS | frame


@dataclass(slots=True)
class _Run:
    """What lives on from file to file."""

    index: int
    clock: int = 0
    book: AddressBook = field(default_factory=AddressBook)
    numbering: Numbering = field(default_factory=Numbering)
    fragments: Fragments = field(default_factory=lambda: Fragments(joined={}))


def walk(sources: Iterable[Source], *, tolerant: bool, chunk_bytes: int = CHUNK_BYTES) -> Iterator[Chunk]:
    """Walk through captures in order; those that cannot be read are left out, where that is tolerated.

    What a chunk holds is valid until the next is asked for. Raises CaptureError where a capture cannot be read.
    """
    run = None
    for file, source in enumerate(sources):
        source.rewind()
        try:
            with open_capture(source.capture) as opened:
                if run is None or not goes_on(run.clock, source.start):
                    run = _Run(0 if run is None else run.index + 1)
                facts = FileFacts(opened.name)
                found = packets.with_packets(opened, facts, run.book, fragments=run.fragments, chunk_bytes=chunk_bytes)
                run.fragments.base = file << FRAME_BITS
                for all_packets, segments in found:
                    yield _chunk(file, facts.name, run, all_packets, segments)
        except CaptureError:
            if not tolerant:
                raise


def _chunk(file: int, name: str, run: _Run, all_packets: Packets, segments: Segments) -> Chunk:
    joined, run.fragments.joined = run.fragments.joined or {}, {}
    number = run.numbering.number(segments).number if len(segments) else segments.frame
    run.clock = max(run.clock, int(segments.time.max(initial=0)))
    return Chunk(file, name, run.index, all_packets, segments, number, run.book, joined)
