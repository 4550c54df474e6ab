"""`extract`: the packets of chosen handshakes as a capture that Wireshark opens."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Literal

import pandas as pd

from tlspcap.capture import read
from tlspcap.errors import ArgumentError
from tlspcap.extraction import anonymous
from tlspcap.extraction.survey import Survey, survey
from tlspcap.extraction.walking import Chunk, Source, walk
from tlspcap.extraction.writing import Container, Packet, write
from tlspcap.spread import ordered_captures
from tlspcap.wire.files import CaptureInput
from tlspcap.wire.rotation import can_be_read_again

NEEDED = ("capture", "frame", "outcome", "failure_mechanism")  # columns that say where a handshake's packets are


@dataclass(frozen=True)
class Extract:
    """What was written."""

    handshakes: int
    conversations: int  # TCP connections
    packets: int
    format: Literal["pcap", "pcapng"]

    def __str__(self) -> str:
        """Say it in a line."""
        counts = ((self.packets, "packet"), (self.conversations, "connection"), (self.handshakes, "handshake"))
        packets, connections, handshakes = (f"{count:,} {what}{'s' * (count != 1)}" for count, what in counts)
        return f"{packets} of {connections} ({handshakes}), as {self.format}"


def extract(
    source: CaptureInput | Iterable[CaptureInput],
    *,
    handshakes: pd.DataFrame | Iterable[str],
    output: str | Path | IO[bytes],
    anonymize: bool = False,
    skip_unreadable: bool = False,
) -> Extract:
    """Write the packets of chosen handshakes as a capture of their own; read again, it gives the same rows for them.

    Each handshake brings its whole TCP connection, as it was captured: from SYN to FIN, retransmissions, fragments and
    tunnels included, and ICMP errors about it. Key logs inside of a pcapng are secrets and stay out of it.
    docs/extract.md tells what is written, and what `anonymize` takes out.

    Args:
        source: the captures that the handshakes were read from, as `read` takes them. They are read more than once, so
            standard input and pipes will not do.
        handshakes: rows of the handshakes table, or what its column `id` holds of them.
        output: the file to write, a path or an open binary file. A classic pcap where all packets have one link type,
            else pcapng, whatever it is called.
        anonymize: replace addresses, host names and names in certificates by others, the same ones throughout, and
            blank whatever is not needed to follow the handshake. Ports, times, sizes and offers stay.
        skip_unreadable: leave out captures that cannot be read at all, as in `read`.

    Returns:
        How much was written, and as what.

    Raises:
        ArgumentError: no handshake, or one that the source does not hold; or an output that is one of the inputs.
        CaptureError: an input could not be read at all.

    >>> import io, tlspcap
    >>> source = "sample_captures/intermittent-alert.pcap"
    >>> rows = tlspcap.read(source).handshakes
    >>> file = io.BytesIO()
    >>> print(tlspcap.extract(source, handshakes=rows[rows["outcome"] == "failed"], output=file))
    30 packets of 3 connections (3 handshakes), as pcap
    """
    sources = _sources(source, skip_unreadable)
    _guard(output, sources)
    rows = _rows(handshakes, sources, skip_unreadable)
    again = partial(walk, sources, tolerant=skip_unreadable)
    found = survey(again(), rows)
    if anonymize:
        packets, container = anonymous.anonymized(again, found), anonymous.container(found)
    else:
        packets, container = _as_they_are(again(), found), _container(found)
    with _opened(output) as file:
        count = write(file, packets, container)
    for place in sources:
        place.rewind()
    return Extract(len(rows), found.conversations, count, container.format)


def _sources(source: CaptureInput | Iterable[CaptureInput], tolerant: bool) -> list[Source]:
    ordered, _ = ordered_captures(source, tolerant)
    for capture, _ in ordered:
        if not can_be_read_again(capture):
            name = "standard input" if capture == "-" else getattr(capture, "name", capture)
            raise ArgumentError(f"{name}: can be read only once, and extract reads twice; save it to a file first")
    return [Source.of(capture, start) for capture, start in ordered]


def _guard(output: str | Path | IO[bytes], sources: list[Source]) -> None:
    """Raise ArgumentError where the output would overwrite an input."""
    if not isinstance(output, str | Path) or not Path(output).exists():
        return
    for source in sources:
        if isinstance(source.capture, str | Path) and Path(output).samefile(source.capture):
            raise ArgumentError(f"{output}: is one of the captures that are read; write to another file")


def _rows(handshakes: pd.DataFrame | Iterable[str], sources: list[Source], tolerant: bool) -> pd.DataFrame:
    """Return the chosen rows of the handshakes table; ids are looked up in the captures."""
    if isinstance(handshakes, pd.DataFrame):
        missing = [name for name in NEEDED if name not in handshakes]
        if missing:
            raise ArgumentError(f"handshakes: the rows lack the column {missing[0]!r} of the handshakes table")
        rows = handshakes
    else:
        ids = {handshakes} if isinstance(handshakes, str) else set(handshakes)
        for place in sources:
            place.rewind()
        captures = [place.capture for place in sources]
        table = read(captures, tables=["handshakes"], skip_unreadable=tolerant, progress=False).handshakes
        rows = table[table["id"].isin(ids)]
        if unknown := sorted(map(str, ids - set(rows["id"]))):
            raise ArgumentError(f"handshakes: no handshake of the source has the id {unknown[0]!r}")
    if rows.empty:
        raise ArgumentError("handshakes: none was chosen, so there is nothing to write")
    return rows


def _container(found: Survey) -> Container:
    return Container(tuple(sorted(found.links)), found.fine, found.beyond)


def _as_they_are(chunks: Iterable[Chunk], found: Survey) -> Iterator[Packet]:
    """Yield the chosen packets as they were captured; of one that only tells a time, the headers."""
    for chunk in chunks:
        packets, raw = chunk.packets, chunk.packets.buffer
        headers = found.ends(chunk)
        for row in found.rows(chunk).tolist():
            start = int(packets.start[row])
            size = headers.get(row, int(packets.captured[row]))
            captured = raw[start : start + size].tobytes()
            yield Packet(int(packets.time[row]), int(packets.link[row]), captured, int(packets.wire[row]))


def _opened(output: str | Path | IO[bytes]) -> AbstractContextManager[IO[bytes]]:
    if isinstance(output, str | Path):
        return open(output, "wb")
    return nullcontext(output)
