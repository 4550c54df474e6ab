"""Which packets of some captures are those of chosen handshakes, and what a file that holds them must be able to say.

A handshake's packets are those of its TCP conversation, as Wireshark shows them for its number: from the SYN to the
last one behind both FINs, damaged ones and those that ICMP errors quote included. What can be told only at the end of
a capture (which earlier fragments belong to a conversation, which packet is the last) is found out here, so that the
packets can be handed out in one go afterwards.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.extraction.walking import Chunk
from tlspcap.transport import FRAME_BITS, FRAME_MASK
from tlspcap.wire.columns import COUNTED, Int64

Mask = npt.NDArray[np.bool_]

_NONE = np.empty(0, dtype=np.int64)
_MICROSECOND, _SECOND = 1_000, 1_000_000_000
_PCAP_SECONDS = 1 << 32  # of a classic pcap's times; 0 is 1970


@dataclass(slots=True)
class Survey:
    """What is known of the packets to hand out before the first of them is."""

    chosen: dict[int, Int64]  # run -> conversation numbers, in order
    parts: Int64 = field(default_factory=lambda: _NONE)  # marked frames of their fragments, but for the last of each
    last: Int64 = field(default_factory=lambda: _NONE)  # marked frames that tell how long a capture went on
    links: set[int] = field(default_factory=set)  # link types of all packets
    fine: bool = False  # some time is no whole number of microseconds
    beyond: bool = False  # some time does not fit into a classic pcap

    @property
    def conversations(self) -> int:
        """How many conversations were chosen."""
        return sum(map(len, self.chosen.values()))

    def rows(self, chunk: Chunk) -> Int64:
        """Return the rows of a chunk's packets that are to be handed out, in order."""
        segments = chunk.segments.frame[self.is_chosen(chunk)]
        low = chunk.marked(chunk.packets.first_frame)
        others = [some[(some >= low) & (some < low + len(chunk.packets))] - low for some in (self.parts, self.last)]
        found: Int64 = np.unique(np.concatenate([segments - chunk.packets.first_frame, *others]))
        return found

    def is_chosen(self, chunk: Chunk) -> Mask:
        """Tell of each segment of a chunk whether its conversation was chosen."""
        return np.isin(chunk.number, self.chosen.get(chunk.run, _NONE))

    def ends(self, chunk: Chunk) -> dict[int, int]:
        """Return the rows of a chunk that are handed out for their time alone, each with the bytes of its headers.

        The reader of the output must see that the capture went on; what others said in it is none of its business.
        """
        packets, segments = chunk.packets, chunk.segments
        frames = self.last[self.last & ~FRAME_MASK == chunk.marked(0)] & FRAME_MASK
        rows = np.flatnonzero(np.isin(segments.frame, frames) & ~self.is_chosen(chunk))
        at = segments.frame[rows] - packets.first_frame
        headers = np.clip(segments.start[rows] - packets.start[at], 0, packets.captured[at])
        return dict(zip(at.tolist(), headers.tolist(), strict=True))


def survey(chunks: Iterable[Chunk], rows: pd.DataFrame) -> Survey:
    """Find the conversations of some rows of the handshakes table in the captures they are from.

    Raises ArgumentError where a row's packet is not there.
    """
    look = _Look(rows)
    for chunk in chunks:
        look.take(chunk)
    return look.finish()


class _Look:
    """Gathers what a survey tells."""

    def __init__(self, rows: pd.DataFrame) -> None:
        # A verdict of silence, or none at all, rests on how long the capture went on behind the last packet.
        waited = (rows["outcome"] == "unknown") | (rows["failure_mechanism"] == "timeout")
        self._open = set(zip(rows["capture"][waited], rows["frame"][waited], strict=True))
        self._wanted = {str(name): np.unique(frames.to_numpy()) for name, frames in rows.groupby("capture")["frame"]}
        self._found: defaultdict[int, set[int]] = defaultdict(set)  # run -> conversation numbers
        self._seen: dict[str, int] = {}  # file names met, and which file bears each
        self._told: defaultdict[str, int] = defaultdict(int)  # rows found in each file
        self._joined: list[tuple[int, int, list[int]]] = []  # run, conversation, marked frames
        self._ends: dict[int, tuple[int, int]] = {}  # run -> the largest time of a segment, and its marked frame
        self._waits: set[int] = set()  # runs whose end matters
        self._survey = Survey({})

    def take(self, chunk: Chunk) -> None:
        """Look at one chunk."""
        times, segments = chunk.packets.time, chunk.segments
        self._survey.links.update(link for link in np.unique(chunk.packets.link).tolist() if link >= 0)
        self._survey.fine |= bool(np.any(times % _MICROSECOND))
        self._survey.beyond |= bool(np.any((times < 0) | (times // _SECOND >= _PCAP_SECONDS)))
        self._choose(chunk)
        if chunk.joined:
            self._joined += _joined(chunk)
        if len(segments):
            latest = int(np.argmax(segments.time))
            end = int(segments.time[latest]), chunk.marked(int(segments.frame[latest]))
            if chunk.run not in self._ends or end[0] > self._ends[chunk.run][0]:
                self._ends[chunk.run] = end

    def _choose(self, chunk: Chunk) -> None:
        if chunk.name not in self._wanted:
            return
        if self._seen.setdefault(chunk.name, chunk.file) != chunk.file:
            raise ArgumentError(f"{chunk.name}: several captures have this name; give them names that differ")
        segments = chunk.segments
        hits = np.flatnonzero(np.isin(segments.frame, self._wanted[chunk.name]) & (segments.flags < COUNTED))
        self._told[chunk.name] += len(hits)
        for frame, number in zip(segments.frame[hits].tolist(), chunk.number[hits].tolist(), strict=True):
            self._found[chunk.run].add(number)
            if (chunk.name, frame) in self._open:
                self._waits.add(chunk.run)

    def finish(self) -> Survey:
        """Tell what was found."""
        for name, frames in self._wanted.items():
            if self._told[name] != len(frames):
                raise ArgumentError(
                    f"{name}: not all of these handshakes are in the source; give what they were read from"
                )
        found = self._survey
        found.chosen = {run: np.array(sorted(numbers), dtype=np.int64) for run, numbers in self._found.items()}
        parts = [frame for run, number, frames in self._joined if number in self._found[run] for frame in frames]
        found.parts = np.array(sorted(parts), dtype=np.int64)
        found.last = np.array(sorted(self._ends[run][1] for run in self._waits), dtype=np.int64)
        return found


def _joined(chunk: Chunk) -> Iterator[tuple[int, int, list[int]]]:
    """Yield the fragments of a chunk's segments, each with run and conversation."""
    base = chunk.file << FRAME_BITS
    ends = np.array([frame & FRAME_MASK for frame in chunk.joined if frame & ~FRAME_MASK == base], dtype=np.int64)
    rows = np.flatnonzero(np.isin(chunk.segments.frame, ends))
    for frame, number in zip(chunk.segments.frame[rows].tolist(), chunk.number[rows].tolist(), strict=True):
        yield chunk.run, number, chunk.joined[base | frame]
