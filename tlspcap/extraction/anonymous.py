"""The packets of chosen handshakes, anonymized: one walk that makes plans of what replaces payloads, one that writes.

Only what the first reading follows is rewritten; all other payload is zeros.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from tlspcap.anonymize import packets
from tlspcap.anonymize.conversations import Anonymizer
from tlspcap.anonymize.plans import Spool
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.extraction.survey import Survey
from tlspcap.extraction.walking import Chunk
from tlspcap.extraction.writing import Container, Packet
from tlspcap.transport import Conversation, Events
from tlspcap.wire.columns import COUNTED
from tlspcap.wire.flows import Flows

KEY_BYTES = 32


def container(found: Survey) -> Container:
    """The kind of file that anonymized packets need: they are all raw IP."""
    return Container((packets.LINK,), found.fine, found.beyond)


def anonymized(walk: Callable[[], Iterable[Chunk]], found: Survey) -> Iterator[Packet]:
    """Yield the chosen packets, anonymized by a key that nobody knows."""
    names = Pseudonyms(secrets.token_bytes(KEY_BYTES))
    with Spool() as spool:
        _plan(walk(), found, names, spool)
        for chunk in walk():
            yield from _packets(chunk, found, names, spool)


def _packets(chunk: Chunk, found: Survey, names: Pseudonyms, spool: Spool) -> Iterator[Packet]:
    segments = chunk.segments
    ends = found.ends(chunk)
    alone = np.isin(segments.frame - chunk.packets.first_frame, list(ends))
    rows = np.flatnonzero((found.is_chosen(chunk) | alone) & (segments.flags < COUNTED))
    for row in rows.tolist():
        addresses = chunk.book.bytes(int(segments.source[row])), chunk.book.bytes(int(segments.target[row]))
        sides = None if alone[row] else spool.get((chunk.run, int(chunk.number[row])))
        captured, wire = packets.rebuilt(segments, row, addresses, sides, names)
        if alone[row]:
            captured = captured[: len(captured) - int(segments.captured[row])]
        yield Packet(int(segments.time[row]), packets.LINK, captured, wire)


def _plan(chunks: Iterable[Chunk], found: Survey, names: Pseudonyms, spool: Spool) -> None:
    """Follow the chosen conversations, and lay down what replaces their payloads."""
    flows, run, file = None, -1, -1
    for chunk in chunks:
        if chunk.run != run:
            _finish(flows, run, found, names, spool)
            flows, run, file = Flows(chunk.name, chunk.book), chunk.run, chunk.file
        assert flows is not None, "a run begins with its first chunk"
        if chunk.file != file:
            flows.next_file(chunk.name)
            file = chunk.file
        for conversation, events in flows.take(chunk.segments):
            _follow(conversation, events, run, found, names, spool)
    _finish(flows, run, found, names, spool)


def _finish(flows: Flows | None, run: int, found: Survey, names: Pseudonyms, spool: Spool) -> None:
    for conversation, events in flows.finish() if flows is not None else ():
        _follow(conversation, events, run, found, names, spool)


def _follow(
    conversation: Conversation, events: Events, run: int, found: Survey, names: Pseudonyms, spool: Spool
) -> None:
    """Take the events of one conversation; of those that were not chosen, none is wanted."""
    chosen = found.chosen.get(run, np.empty(0, dtype=np.int64))
    at = int(np.searchsorted(chosen, conversation.number))
    if at == len(chosen) or chosen[at] != conversation.number:
        conversation.done = True
        return
    follower = conversation.follower
    if not isinstance(follower, Anonymizer):
        follower = conversation.follower = Anonymizer(conversation, names)
    for event in events:
        follower.take(event)
    if conversation.over:
        conversation.follower = None
        spool.put((run, conversation.number), follower.finish())
