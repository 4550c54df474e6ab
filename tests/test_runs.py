"""Events taken in runs, as the reading takes them, against the same taken one by one."""

from pathlib import Path

import pytest

from tlspcap.tls.handshake import Follower
from tlspcap.transport import Conversation, Event, Run
from tlspcap.wire import packets
from tlspcap.wire.columns import AddressBook, FileFacts
from tlspcap.wire.files import open_capture
from tlspcap.wire.flows import Flows

SAMPLES = sorted((Path(__file__).parent.parent / "sample_captures").glob("*.pcap*"))


def heard(path: Path) -> dict[Conversation, list[tuple[list[Event], bool]]]:
    """Give all runs of each conversation of a capture, and whether they are orderly."""
    book, told = AddressBook(), {}
    flows = Flows(path.name, book)
    with open_capture(path) as opened:
        for chunk in packets.segments(opened, FileFacts(path.name), book):
            for conversation, events in flows.take(chunk):
                told[conversation] = [([*run.events], run.orderly) for run in events.runs]
    for conversation, events in flows.finish():
        told[conversation] += [([*run.events], run.orderly) for run in events.runs]
    return told


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_a_run_tells_what_its_events_tell_one_by_one(path):
    """An orderly run is worked through without looking whether events must wait, up to where that is done."""
    for conversation, runs in heard(path).items():
        at_once, one_by_one = Follower(conversation), Follower(conversation)
        for events, orderly in runs:
            left, done = iter(events), at_once.done
            at_once.take_run(Run(left, orderly))
            taken = len(events) - len([*left])
            for event in events[:taken]:
                assert one_by_one.done is done
                one_by_one.take(event)
            assert one_by_one.done is at_once.done
        at_once.finish()
        one_by_one.finish()
        assert at_once.account == one_by_one.account


def test_orderly_runs_are_the_rule():
    """In captures in which nothing is lost, most events come in runs of which it is known that none must wait."""
    runs = [run for path in SAMPLES for found in heard(path).values() for run in found]
    orderly = sum(len(events) for events, known in runs if known)
    assert orderly > sum(len(events) for events, known in runs if not known)
