"""What the targets begin with: packets, conversations and handshake messages of the sample captures, cut small."""

from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import TypeVar

from tlspcap.tls.handshake import Follower
from tlspcap.tls.records import HANDSHAKE, MessageJoiner, RawMessage
from tlspcap.transport import Conversation, Event
from tlspcap.wire import packets
from tlspcap.wire.columns import AddressBook, FileFacts
from tlspcap.wire.files import open_capture
from tlspcap.wire.flows import Flows

SAMPLES = Path(__file__).parent.parent / "sample_captures"
PER_CAPTURE = 12  # conversations

T = TypeVar("T")
Frame = tuple[int, bytes]  # link type, captured bytes


@cache
def conversations() -> tuple[tuple[Conversation, tuple[Event, ...]], ...]:
    """Give conversations of every sample, spread over it, each with its events."""
    return tuple(found for path in _captures() for found in _spread(list(_followed(path)), PER_CAPTURE))


@cache
def messages() -> tuple[tuple[Follower, RawMessage], ...]:
    """Give the handshake messages in clear of those conversations, each with what followed the conversation."""
    return tuple(found for conversation, events in conversations() for found in _messages(conversation, events))


@cache
def frames() -> tuple[tuple[Frame, ...], ...]:
    """Give short runs of packets, spread over every sample."""
    return tuple(run for path in _captures() for run in _spread(list(_runs(path, 8)), PER_CAPTURE))


def distinct(seeds: Iterable[bytes], longest: int) -> list[bytes]:
    """Cut seeds to the longest that a target takes, and leave out doubles."""
    return list(dict.fromkeys(seed[:longest] for seed in seeds))


def _captures() -> list[Path]:
    return sorted(SAMPLES.glob("*.pcap*"))


def _spread(found: list[T], count: int) -> list[T]:
    return found[:: max(1, len(found) // count)]


def _followed(path: Path) -> Iterator[tuple[Conversation, tuple[Event, ...]]]:
    with open_capture(path) as opened:
        book, facts = AddressBook(), FileFacts(path.name)
        flows = Flows(path.name, book)
        (segments,) = packets.segments(opened, facts, book)
        found = {conversation: [*events] for conversation, events in flows.take(segments)}
        for conversation, events in flows.finish():
            found[conversation] += events
    return iter([(conversation, tuple(events)) for conversation, events in found.items()])


def _messages(conversation: Conversation, events: Iterable[Event]) -> Iterator[tuple[Follower, RawMessage]]:
    follower, joiners = Follower(conversation), (MessageJoiner(), MessageJoiner())
    for event in events:
        follower.take(event)
    follower.finish()
    if follower.account is not None:
        for seen in follower.account.records:
            if seen.record.content_type == HANDSHAKE and not seen.sealed:
                for raw in joiners[seen.record.first.side].feed(seen.record):
                    yield follower, raw


def _runs(path: Path, length: int) -> Iterator[tuple[Frame, ...]]:
    with open_capture(path) as opened:
        (chunk,) = packets.reader(opened, FileFacts(path.name), 1 << 22)
    ends = (chunk.start + chunk.captured).tolist()
    found = zip(chunk.link.tolist(), chunk.start.tolist(), ends, strict=True)
    all_frames = [(link, chunk.buffer[start:end].tobytes()) for link, start, end in found]
    for at in range(0, len(all_frames), length):
        yield tuple(all_frames[at : at + length])
