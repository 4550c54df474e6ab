"""A chunk's segments, shared out among processes, are numbered and counted as if one had them all."""

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tlspcap.wire.columns import COLUMNS, COUNTED, MUTE, Segments
from tlspcap.wire.numbering import Numbering
from tlspcap.wire.shares import part_of

SYN, ACK, FIN = 2, 16, 1
BUFFER = np.zeros(1, dtype=np.uint8)
FLAGS = [SYN, SYN | ACK, ACK, 0, FIN | ACK, SYN | COUNTED, SYN | ACK | COUNTED | MUTE, ACK | COUNTED | MUTE]
SMALL = st.integers(0, 2)
PACKETS = st.lists(
    st.tuples(SMALL, SMALL, SMALL, SMALL, st.sampled_from(FLAGS), SMALL, SMALL, st.integers(0, 9)),
    min_size=1,
    max_size=60,
)


def chunk(packets: list[tuple[int, ...]], first: int) -> Segments:
    """Make the segments of some packets: two addresses, two ports, flags, numbers, time."""
    rows = [
        (first + at, time, source, target, 1_000 + 7 * one, 1_000 + 7 * other, seq, ack, flags, 0, 0, seq)
        for at, (source, target, one, other, flags, seq, ack, time) in enumerate(packets)
    ]
    return Segments.from_rows(BUFFER, rows)


@given(PACKETS, st.lists(st.integers(1, 60), max_size=3), st.integers(1, 3))
def test_shares_are_numbered_as_the_whole_is(packets: list[tuple[int, ...]], cuts: list[int], count: int) -> None:
    """Number and side of each segment are equal, each is in one share, and what begins or ends does so alike."""
    whole, shared = Numbering(), Numbering()
    edges = sorted({0, *(cut for cut in cuts if cut < len(packets)), len(packets)})
    for low, high in pairwise(edges):
        segments = chunk(packets[low:high], low)
        parts = [part_of(segments, index, count) for index in range(count)]
        expected = whole.number(segments)
        told = shared.number(parts[0].tellers)
        assert parts[0].tellers.frame[told.begun].tolist() == segments.frame[expected.begun].tolist()
        ended = {number: int(parts[0].tellers.frame[row]) for number, row in told.replaced.items()}
        assert ended == {number: int(segments.frame[row]) for number, row in expected.replaced.items()}
        real = segments.flags < COUNTED
        rows = list(zip(segments.frame[real], expected.number[real], expected.side[real], strict=True))
        found = [told.led(part.leader, part.same_way) for part in parts]
        mine = [zip(part.own.frame, led.number, led.side, strict=True) for part, led in zip(parts, found, strict=True)]
        assert sorted(row for each in mine for row in each) == rows
        for part in parts:
            assert part.tellers.frame.tolist() == parts[0].tellers.frame.tolist()


@given(PACKETS, st.integers(1, 3))
def test_shares_know_the_whole(packets: list[tuple[int, ...]], count: int) -> None:
    """Every share has the same totals, and each of its rows the clock that it has among all."""
    segments = chunk(packets, 0)
    clock = dict(zip(segments.frame.tolist(), np.maximum.accumulate(segments.time).tolist(), strict=True))
    real = segments.flags < COUNTED
    for index in range(count):
        part = part_of(segments, index, count)
        assert len(part) == np.count_nonzero(real)
        assert part.totals.payload == segments.length[real].sum()
        assert (part.totals.earliest, part.totals.latest) == (segments.time.min(), segments.time.max())
        assert part.totals.stepped_back == max(
            clock[at] - time for at, time in zip(segments.frame, segments.time, strict=True)
        )
        assert part.clock.tolist() == [clock[at] for at in part.own.frame.tolist()]
        assert part.teller_clock.tolist() == [clock[at] for at in part.tellers.frame.tolist()]


def test_a_connection_belongs_to_one_share() -> None:
    """Both directions of all conversations between two endpoints fall to the same share; many fall to all of them."""
    there = chunk([(0, 1, port, 200, ACK, 0, 0, 0) for port in range(300)], 0)
    back = chunk([(1, 0, 200, port, ACK, 0, 0, 0) for port in range(300)], 0)
    sizes = []
    for index in range(3):
        one, other = part_of(there, index, 3).own, part_of(back, index, 3).own
        assert one.frame.tolist() == other.frame.tolist()
        sizes.append(len(one))
    assert sum(sizes) == 300
    assert min(sizes) > 60


def test_no_segments_make_an_empty_part() -> None:
    """A chunk without TCP has no rows, no tellers and nothing to sum up."""
    part = part_of(Segments.from_rows(BUFFER, []), 0, 2)
    assert len(part) == len(part.own) == len(part.tellers) == 0
    assert all(len(getattr(part.own, name)) == 0 for name in COLUMNS)
