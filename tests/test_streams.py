"""Claims about how the two directions of a conversation are put in order."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_builder import ACK, FIN, HELLO, MASK, RST, SYN, Packet, bytes_of, events_of, handshake, run, timed

from tlspcap.transport import UNKNOWN, Closed, Data, Gap
from tlspcap.wire.direction import MAX_HELD_BYTES, MAX_HELD_SEGMENTS, signed32

ISNS = st.one_of(st.integers(0, MASK), st.integers(MASK - 300, MASK))


def hello_and(*packets, client_isn=1000, server_isn=5000):
    """A TLS conversation whose client sends HELLO first, then what is given."""
    opening = [*handshake(client_isn, server_isn), Packet(0, client_isn + 1, HELLO, ack=server_isn + 1)]
    return timed([*opening, *packets])


def client(offset, payload=b"", **more):
    """A packet of the client with payload at a stream offset, behind the usual opening."""
    return Packet(0, 1001 + offset, payload, **{"ack": 5001, **more})


def server(offset, payload=b"", **more):
    """The same of the server."""
    return Packet(1, 5001 + offset, payload, **{"ack": 1001 + len(HELLO), **more})


def gaps(events):
    """The gaps among events."""
    return [event for event in events if isinstance(event, Gap)]


def closes(events):
    """Who closed, and how."""
    return [(event.side, event.how) for event in events if isinstance(event, Closed)]


@given(st.integers(0, MASK), st.integers(-(2**31), 2**31 - 1))
def test_signed32_inverts_addition_modulo_two_to_the_32(base, step):
    """The difference of two sequence numbers is the step between them, across the wrap-around."""
    assert signed32(((base + step) & MASK) - base) == step


@st.composite
def cut_streams(draw):
    """A byte stream, and segments that cover it: cut anywhere, overlapping, repeated, in any order."""
    stream = HELLO + draw(st.binary(min_size=1, max_size=200))
    edges = sorted(draw(st.sets(st.integers(1, len(stream) - 1), max_size=10)) | {0, len(stream)})
    pieces = list(pairwise(edges))
    extra = draw(st.lists(st.tuples(st.sampled_from(edges), st.sampled_from(edges)), max_size=6))
    pieces += [(low, high) for low, high in extra if low < high]
    return stream, draw(st.permutations(pieces))


@given(cut_streams(), ISNS, ISNS)
@settings(max_examples=150, deadline=None)
def test_any_cut_order_overlap_and_duplication_gives_the_same_bytes(cut, client_isn, server_isn):
    """Whatever way a stream is cut, ordered and repeated, at any initial number, its bytes come out once, in order."""
    stream, pieces = cut
    # The hello must begin one segment; it also begins the server's stream here, so that any cut is followed.
    opening = [*handshake(client_isn, server_isn), Packet(1, server_isn + 1, HELLO, ack=client_isn + 1)]
    data = [Packet(0, client_isn + 1 + low, stream[low:high], ack=server_isn + 1) for low, high in pieces]
    fin = Packet(0, client_isn + 1 + len(stream), flags=FIN | ACK, ack=server_isn + 1)
    events = events_of(timed([*opening, *data, fin]))
    assert bytes_of(events, 0) == stream
    assert not gaps(events)
    assert closes(events) == [(0, "fin")]


def test_data_carries_the_facts_of_its_packet():
    """A Data names frame, offset, the bytes of the other side it acknowledges, and the packets and repeats so far."""
    events = events_of(hello_and(server(0, b"answer"), server(0, b"answer"), server(6, b"more")))
    assert [(e.side, e.frame, e.offset, e.acked, e.packets, e.repeats) for e in events if isinstance(e, Data)] == [
        (0, 4, 0, 0, 4, 0),
        (1, 5, 0, len(HELLO), 5, 0),
        (1, 7, 6, len(HELLO), 7, 1),
    ]


def test_a_keep_alive_is_neither_data_nor_a_retransmission():
    """A segment of one old byte just before the next one is a keep-alive: no data, no repeat."""
    events = events_of(hello_and(client(len(HELLO) - 1, b"x"), client(len(HELLO), b"next")))
    assert bytes_of(events, 0) == HELLO + b"next"
    assert events[-1].repeats == 0


def test_bytes_first_seen_win_and_a_conflict_is_noted():
    """A retransmission with other bytes changes nothing, and its frame is told as a conflict."""
    packets = hello_and(client(0, HELLO[:-1] + b"?"))
    assert bytes_of(events_of(packets), 0) == HELLO
    assert "Conflict(number=0, side=0, stream=0, frame=5)" in run(packets)[-1][0]


def test_bytes_first_seen_win_behind_a_hole_too():
    """Of two overlapping segments behind a hole, the one captured first keeps its bytes."""
    n = len(HELLO)
    events = events_of(hello_and(client(n + 4, b"BBBB"), client(n, b"aaaaXX")))
    assert bytes_of(events, 0) == HELLO + b"aaaaBBBB"


def test_equal_overlap_is_no_conflict():
    """A retransmission of the same bytes, cut elsewhere, is no conflict."""
    assert "conflicts=[]" in run(hello_and(client(5, HELLO[5:] + b"new")))[-1][0]


def test_a_hole_is_given_up_after_three_segments_behind_an_ack_that_covers_it():
    """Three more data segments after the ACK of the missing bytes prove that they were not captured."""
    n = len(HELLO)
    held = [client(n + 10, b"1"), server(0, ack=1001 + n + 11)]
    late = [client(n + 11 + at, b"%d" % at) for at in range(2, 5)]
    packets = hello_and(*held, *late)
    events = events_of(packets)
    assert gaps(events)[0] == Gap(0, 5, packets[4].time, n, 10, "lost")
    frames = [event.frame for event in events if isinstance(event, Data)]
    waiting = events_of(hello_and(*held, *late[:2], server(0, b"after", ack=1001 + n + 13)))
    assert frames[:2] == [4, 5]
    assert [event.side for event in waiting if isinstance(event, Data)][:2] == [0, 1]  # not given up so soon


def test_reordering_in_the_capture_makes_no_gap():
    """Bytes that come after the ACK that covers them, but soon, still fill their hole."""
    n = len(HELLO)
    packets = hello_and(client(n + 4, b"5678"), server(0, ack=1001 + n + 8), client(n + 8, b"9"), client(n, b"1234"))
    assert bytes_of(events_of(packets), 0) == HELLO + b"123456789"
    assert not gaps(events_of(packets))


def test_held_segments_are_bounded():
    """No more than MAX_HELD_SEGMENTS segments, nor MAX_HELD_BYTES bytes, wait behind a hole."""
    n = len(HELLO)
    many = [client(n + 1 + at * 2, b"xx") for at in range(MAX_HELD_SEGMENTS + 1)]
    events = events_of(hello_and(*many, server(0, b"!")))
    assert [type(event) for event in events[:3]] == [Data, Gap, Data]
    assert events[-1].side == 1
    large = [client(n + 1 + at * 40_000, bytes(40_000)) for at in range(MAX_HELD_BYTES // 40_000 + 1)]
    assert events_of(hello_and(*large, server(0, b"!")))[-1].side == 1


def test_a_packet_cut_by_the_snapshot_length_gives_its_bytes_then_a_gap():
    """The captured bytes of a cut packet are delivered; the rest is a gap of cause snaplen, and the stream goes on."""
    n = len(HELLO)
    events = events_of(hello_and(client(n, b"abc", length=100), client(n + 100, b"on")))
    assert [event.offset for event in events] == [0, n, n + 3, n + 100]
    assert (events[2].cause, events[2].length) == ("snaplen", 97)


def test_a_fin_is_delivered_behind_all_bytes_before_it():
    """A FIN that overtakes data waits for it."""
    n = len(HELLO)
    events = events_of(hello_and(client(n + 4, flags=FIN | ACK), client(n, b"last")))
    assert [type(event) for event in events] == [Data, Data, Closed]


def test_a_fin_may_carry_data():
    """The payload of a FIN packet comes before its close, which is told once although the FIN is sent again."""
    n = len(HELLO)
    events = events_of(hello_and(*[client(n, b"bye", flags=FIN | ACK)] * 2))
    assert bytes_of(events, 0) == HELLO + b"bye"
    assert closes(events) == [(0, "fin")]


def test_bytes_that_only_a_fin_or_an_ack_proves_are_a_gap_at_the_end():
    """What the other side acknowledged, or what lies before a FIN, and never came is a gap when the capture ends."""
    n = len(HELLO)
    assert [(g.offset, g.length) for g in gaps(events_of(hello_and(client(n + 9, flags=FIN | ACK))))] == [(n, 9)]
    assert [(g.offset, g.length) for g in gaps(events_of(hello_and(server(0, ack=1001 + n + 7))))] == [(n, 7)]
    assert not gaps(events_of(hello_and(server(0, ack=1001 + n + 1))))  # a FIN that was not captured


def test_a_reset_counts_at_once_if_it_lies_near_the_stream():
    """A RST near the bytes seen ends its side; one from somewhere else is ignored."""
    n = len(HELLO)
    assert closes(events_of(hello_and(client(n, b"", flags=RST)))) == [(0, "reset")]
    assert closes(events_of(hello_and(client(n + 2**30, b"", flags=RST)))) == []
    refused = [Packet(0, 1000, HELLO, flags=SYN), Packet(1, 0, flags=RST | ACK, ack=1001 + n)]
    assert closes(events_of(timed(refused))) == [(1, "reset")]


def test_data_in_a_syn_starts_the_stream():
    """The payload of a SYN (TCP Fast Open) lies at offset 0."""
    events = events_of(timed([Packet(0, 1000, HELLO, flags=SYN), Packet(0, 1001 + len(HELLO), b"more", flags=0)]))
    assert [(event.offset, event.acked) for event in events] == [(0, UNKNOWN), (len(HELLO), UNKNOWN)]


@pytest.mark.parametrize("origin", [0, 5, MASK - 3])
def test_without_a_syn_the_first_ack_number_or_sequence_number_is_the_origin(origin):
    """A stream joined late starts at the first number known; bytes just before it still count while none came out."""
    late = [Packet(1, 77, ack=origin), Packet(0, origin + len(HELLO), b"2nd", ack=77), Packet(0, origin, HELLO, ack=77)]
    events = events_of(timed(late))
    assert bytes_of(events, 1) == HELLO + b"2nd"  # side 0, the opener, is who was seen first
    early = [Packet(0, origin + len(HELLO), ack=77), Packet(0, origin, HELLO, ack=77)]
    assert events_of(timed(early))[0].offset == 0


def test_old_bytes_before_a_guessed_origin_are_dropped_once_bytes_were_delivered():
    """After the first delivery, segments before the origin are old."""
    packets = [Packet(0, 1000, HELLO, ack=1), Packet(0, 900, bytes(100), ack=1)]
    assert bytes_of(events_of(timed(packets)), 0) == HELLO


def test_the_opening_is_timed():
    """SYN, SYN-ACK and the ACK of it have their times; repeated SYNs are counted apart."""
    opening = handshake()
    packets = timed([opening[0], opening[0], *opening[1:], Packet(0, 1001, HELLO, ack=5001)])
    conversation = run(packets)[0][-1][0]
    times = (conversation.syn_time, conversation.syn_ack_time, conversation.ack_time)
    assert times == tuple(packets[at].time for at in (0, 2, 3))
    assert conversation.syn_repeats == 1
    assert conversation.opener.repeated == 0


def test_what_a_one_sided_capture_proves():
    """ACK numbers tell how much the unseen side sent, from its SYN-ACK on."""
    packets = [Packet(0, 1000, flags=SYN), Packet(0, 1001, HELLO, ack=9001), Packet(0, 1001 + len(HELLO), ack=9501)]
    conversation, _, other = run(timed(packets))[0][-1]
    assert conversation.other.packets == 0
    assert conversation.other.acknowledged == 500
    assert other[3:5] == (0, 0)
