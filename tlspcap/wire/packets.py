"""The front door of the scan: an opened capture file in, its TCP segments and the file's facts out."""

from collections.abc import Iterable, Iterator

import numpy as np

from tlspcap.errors import UnknownLinkType
from tlspcap.wire import headers
from tlspcap.wire.columns import COUNTED, AddressBook, FileFacts, Packets, Segments
from tlspcap.wire.files import CHUNK_BYTES, HEAD_BYTES, PCAP_MAGICS, PCAPNG_MAGIC, Opened, Window, not_a_capture
from tlspcap.wire.fragments import Fragments
from tlspcap.wire.links import KNOWN_LINKS
from tlspcap.wire.pcap import PcapReader, Place
from tlspcap.wire.pcapng import PcapngReader
from tlspcap.wire.shares import Part, part_of
from tlspcap.wire.team import Team

PEEK_BYTES = 1 << 16  # read of a file to find its first packet


def segments(
    opened: Opened,
    facts: FileFacts,
    book: AddressBook,
    *,
    fragments: Fragments | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[Segments]:
    """Read an opened capture's TCP segments, in file order, one `Segments` a chunk, and fill in the facts on the way.

    A chunk's arrays are its own, but their `buffer` is used again for the next chunk. A capture that is cut short or
    damaged gives what can be read before that place, and `facts.stopped_at` says where and why.
    `fragments` are IP fragments that wait, where files go on with one another; else none wait behind the file's end.
    The window holds `chunk_bytes`, or more where one packet needs it (up to `files.LARGEST_CHUNK`).

    Raises NotACapture where the bytes are of no capture format, CaptureError where the file header is cut short, and,
    at the end, UnknownLinkType where not one packet is of a link type that can be read.
    """
    for _, found in with_packets(opened, facts, book, fragments=fragments, chunk_bytes=chunk_bytes):
        yield found


def parts(
    opened: Opened,
    facts: FileFacts,
    book: AddressBook,
    share: tuple[int, int],
    *,
    fragments: Fragments | None = None,
    chunk_bytes: int = CHUNK_BYTES,
    team: Team | None = None,
) -> Iterator[Part]:
    """Read as `segments`, and give of each chunk the part of share[0] of share[1].

    A `team` of so many shares the work on the columns of a file that can be read in pieces, as far as that goes well.
    """
    waiting = Fragments() if fragments is None else fragments
    place = Place()
    if team is not None and not opened.packed:
        for part in team.parts(opened.name, facts, book, waiting, place):
            facts.segments += len(part)
            yield part
    if not place.at_end:
        for _, found in _alone(reader(opened, facts, chunk_bytes, place), facts, book, waiting):
            yield part_of(found, *share)
    _close(facts, waiting if fragments is None else None)


def with_packets(
    opened: Opened,
    facts: FileFacts,
    book: AddressBook,
    *,
    fragments: Fragments | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[tuple[Packets, Segments]]:
    """Read as `segments`, alone, and give with each chunk's segments its packets: all of them, whatever they carry."""
    waiting = Fragments() if fragments is None else fragments
    yield from _alone(reader(opened, facts, chunk_bytes), facts, book, waiting)
    _close(facts, waiting if fragments is None else None)


def _close(facts: FileFacts, waiting: Fragments | None) -> None:
    """End a file: fragments that wait for others of it wait in vain."""
    if waiting is not None:
        waiting.finish(facts)
    if facts.packets and not facts.links.keys() & KNOWN_LINKS:
        raise _unknown_links(facts)


def _alone(
    chunks: Iterable[Packets], facts: FileFacts, book: AddressBook, waiting: Fragments
) -> Iterator[tuple[Packets, Segments]]:
    """Read the segments of all packets in this process."""
    for packets in chunks:
        facts.count(packets)
        found, rest = headers.columns(packets, book, facts)
        if len(rest):
            from tlspcap.wire import rare  # with dpkt, which takes long to import: most captures do without

            found = found.merged(rare.segments(packets, rest.tolist(), book, facts, waiting))
        facts.segments += int(np.count_nonzero(found.flags < COUNTED))
        yield packets, found


def reader(opened: Opened, facts: FileFacts, chunk_bytes: int, place: Place | None = None) -> PcapReader | PcapngReader:
    """Tell the container by its first bytes, and begin to read it: iterating gives `Packets`, chunk by chunk.

    The packets up to a place may be known already.
    """
    window = Window(opened, chunk_bytes)
    window.need(HEAD_BYTES)
    magic = bytes(window.raw[: min(window.left, HEAD_BYTES)])
    if magic[:4] in PCAP_MAGICS:
        return PcapReader(window, facts, place)
    if magic[:4] == PCAPNG_MAGIC:
        return PcapngReader(window, facts, place)
    raise not_a_capture(opened.name, magic, opened.trouble)


def first_time(opened: Opened) -> int | None:
    """Return the time of a capture's first packet that has one, in ns; None where there is none near its beginning.

    Raises as `segments`, but for UnknownLinkType.
    """
    for packets in reader(opened, FileFacts(opened.name), PEEK_BYTES):
        return int(timed[0]) if len(timed := packets.time[packets.time != 0]) else None
    return None


def last_time(opened: Opened) -> int | None:
    """Return the largest time of a capture's packets, in ns; None where none has one. Reads it to its end.

    Raises as `first_time`.
    """
    facts = FileFacts(opened.name)
    for packets in reader(opened, facts, CHUNK_BYTES):
        facts.count(packets)
    return facts.last_time


def _unknown_links(facts: FileFacts) -> UnknownLinkType:
    numbers = ", ".join(str(link) for link in sorted(facts.links)[:5] if link >= 0) or "of no described interface"
    return UnknownLinkType(
        f"{facts.name}: none of its {facts.packets} packets is of a link type that can be read (link type {numbers}); "
        "see https://www.tcpdump.org/linktypes.html, and capture on another interface if you can"
    )
