"""Claims about conversations: their numbers, which are TLS, when they are over, and that chunks change nothing."""

import random
import struct
import subprocess
from dataclasses import replace
from itertools import pairwise
from os import environ
from pathlib import Path
from shutil import which
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_builder import (
    ACK,
    CLIENT,
    FIN,
    HELLO,
    MASK,
    RST,
    SECOND,
    SERVER,
    SYN,
    Packet,
    bytes_of,
    events_of,
    handshake,
    run,
    segments,
    timed,
)

from tlspcap.tls.causality import Causality
from tlspcap.transport import Closed, Data, Gap
from tlspcap.wire import beginnings, streams, undecided, waiting
from tlspcap.wire import packets as packet_reader
from tlspcap.wire.columns import AddressBook, FileFacts
from tlspcap.wire.files import open_capture
from tlspcap.wire.flows import TOGETHER, Flows
from tlspcap.wire.hello import alert_segments, is_alert_segment
from tlspcap.wire.numbering import Numbering

REFERENCE = Path(environ.get("TLSPCAP_REFERENCE", Path(__file__).parents[2] / "shared" / "reference")) / "captures"
REFERENCE_CAPTURES = sorted(REFERENCE.glob("*.pcap*"))
needs_tshark = pytest.mark.skipif(which("tshark") is None, reason="tshark is not installed")
needs_reference = pytest.mark.skipif(not REFERENCE_CAPTURES, reason="the reference captures are not there")

SSL2_HELLO = bytes([0x80, 28, 1, 3, 1, 0, 3, 0, 0, 0, 16, 0, 0, 53]) + bytes(16)
ALERT = bytes([21, 3, 3, 0, 2, 1, 0])
SEALED_ALERT = bytes([23, 3, 3, 0, 19]) + bytes(19)


def talk(*payloads, client=CLIENT, server=SERVER, isn=1000):
    """A conversation in which the sides send payloads in turn, the client first; None passes the turn."""
    packets = [replace(packet, client=client, server=server) for packet in handshake(isn, 5000)]
    offsets = [isn + 1, 5001]
    for turn, payload in enumerate(payloads):
        side = turn % 2
        if payload is not None:
            packets.append(Packet(side, offsets[side], payload, ack=offsets[1 - side], client=client, server=server))
            offsets[side] += len(payload)
    return packets


def numbers_of(packets, cuts=()):
    """The conversation number of each packet, computed chunk by chunk."""
    book, numbering = AddressBook(), Numbering()
    edges = [0, *sorted(cuts), len(packets)]
    pairs = pairwise(edges)
    parts = [numbering.number(segments(packets[low:high], book)).number for low, high in pairs]
    return np.concatenate(parts).tolist()


# Numbers


@st.composite
def port_reuse(draw):
    """Packets of two pairs of endpoints that open, answer and reset with few sequence numbers, over and over."""
    packet = st.builds(
        Packet,
        side=st.sampled_from([0, 1]),
        seq=st.sampled_from([100, 101, 200, 300]),
        flags=st.sampled_from([SYN, SYN, SYN | ACK, ACK, RST, RST | ACK, FIN | ACK, 0]),
        ack=st.sampled_from([0, 101, 201, 301]),
        server=st.sampled_from([SERVER, (SERVER[0], 444)]),
    )
    return timed(draw(st.lists(packet, min_size=1, max_size=40)))


def write_pcap(path, packets):
    """Write packets as a raw IPv4 capture."""
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for packet in packets:
            ends = (packet.client, packet.server) if packet.side == 0 else (packet.server, packet.client)
            (source, source_port), (target, target_port) = ends
            tcp = struct.pack("!HHIIHHHH", source_port, target_port, packet.seq & MASK, packet.ack & MASK,
                              0x5000 | packet.flags, 8192, 0, 0)  # fmt: skip
            length = 20 + len(tcp) + len(packet.payload)
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, length, 0, 0, 64, 6, 0, source, target)
            file.write(struct.pack("<IIII", packet.time // SECOND, packet.time % SECOND // 1000, length, length))
            file.write(ip + tcp + packet.payload)


def tshark_streams(path):
    """What tshark says: frame -> tcp.stream, of packets with TCP directly in them."""
    command = ["tshark", "-n", "-r", str(path), "-Y", "tcp && !icmp", "-T", "fields"]
    command += ["-e", "frame.number", "-e", "tcp.stream"]
    lines = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.split("\n")
    pairs = [line.split("\t") for line in lines if "\t" in line]
    return {int(frame): int(stream.split(",")[-1]) for frame, stream in pairs if stream}


@needs_tshark
@pytest.mark.parametrize("seed", range(3))
def test_numbers_of_reused_ports_equal_those_of_tshark(tmp_path, seed):
    """On every kind of SYN, SYN-ACK, RST and data after each other, numbers are Wireshark's tcp.stream."""
    rng, packets = random.Random(seed), []
    for _ in range(1500):
        client = (CLIENT[0], 40_000 + rng.randrange(40))
        flags, side = rng.choice([SYN, SYN, SYN | ACK, ACK, RST, RST | ACK, FIN | ACK, 0]), rng.randrange(2)
        seq, ack = rng.choice([0, 100, 101, 200, 300]), rng.choice([0, 1, 101, 201, 301])
        packets.append(Packet(side, seq, rng.choice([b"", b"abc"]), flags, ack, client=client))
    write_pcap(tmp_path / "reuse.pcap", timed(packets))
    ours = dict(enumerate(numbers_of(packets, cuts=rng.sample(range(1500), 5)), start=1))
    assert ours == tshark_streams(tmp_path / "reuse.pcap")


@needs_tshark
@needs_reference
def test_numbers_equal_those_of_tshark_on_the_reference_captures():
    """On captures from elsewhere, every packet that is read has tshark's tcp.stream."""
    checked = 0
    captures = REFERENCE_CAPTURES[::5]  # tshark takes half a second to start
    for path in captures:
        book, numbering, ours = AddressBook(), Numbering(), {}
        with open_capture(path) as opened:
            for chunk in packet_reader.segments(opened, FileFacts(str(path)), book, chunk_bytes=4096):
                ours.update(zip(chunk.frame.tolist(), numbering.number(chunk).number.tolist(), strict=True))
        theirs = tshark_streams(path)
        if ours.keys() == theirs.keys():  # else not all of its packets can be read, so that numbers may differ
            assert ours == theirs, path.name
            checked += 1
    assert checked > len(captures) // 2


@given(port_reuse(), st.sets(st.integers(1, 39), max_size=5))
@settings(max_examples=100, deadline=None)
def test_numbers_do_not_depend_on_chunks(packets, cuts):
    """A capture cut anywhere has the same conversation numbers."""
    cuts = [cut for cut in cuts if cut < len(packets)]
    assert numbers_of(packets, cuts) == numbers_of(packets)


def test_a_syn_with_a_new_number_ends_the_conversation_before():
    """Port reuse: the old conversation is over at once, the new one has its own number and bytes."""
    told = run(timed([*talk(HELLO, b"a"), *talk(HELLO, b"b", isn=9000)]))
    assert set(told) == {0, 1, -1}
    assert bytes_of([entry[0] for entry in told[1] if len(entry) == 1], 1) == b"b"
    assert told[0][-1][0].over


# Which conversations are TLS


@pytest.mark.parametrize("hello", [HELLO, SSL2_HELLO, HELLO[:5] + b"\x02" + HELLO[6:]])
@pytest.mark.parametrize("port", [443, 12345])
def test_a_hello_makes_tls_on_any_port(hello, port):
    """ClientHello, SSLv2-compatible ClientHello and ServerHello are found, whatever the port."""
    assert bytes_of(events_of(timed(talk(hello, server=(SERVER[0], port)))), 0) == hello


def test_a_dialogue_before_the_hello_is_delivered_too():
    """STARTTLS: the packets before the hello wait for it and come first."""
    packets = timed(talk(None, b"220 ready\r\n", b"STARTTLS\r\n", b"220 go\r\n", HELLO))
    events = events_of(packets)
    assert bytes_of(events, 0) == b"STARTTLS\r\n" + HELLO
    assert bytes_of(events, 1) == b"220 ready\r\n220 go\r\n"
    assert [event.frame for event in events] == [4, 5, 6, 7]


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize("hello", [HELLO, SSL2_HELLO])
@pytest.mark.parametrize("cut", range(1, 11))
def test_a_hello_split_within_its_first_bytes_is_found(cut, hello, swap):
    """However few bytes of the hello the first segment holds, in whatever order the two come, chunk by chunk too."""
    parts = [Packet(0, 1001, hello[:cut], ack=5001), Packet(0, 1001 + cut, hello[cut:], ack=5001)]
    packets = timed([*handshake(), *(parts[::-1] if swap else parts)])
    assert bytes_of(events_of(packets), 0) == hello
    assert run(packets, cuts=range(1, 5)) == run(packets)


def test_a_hello_in_segments_of_one_byte_is_found():
    """A stream that comes byte by byte is followed like any other."""
    packets = timed([*handshake(), *(Packet(0, 1001 + at, bytes([byte]), ack=5001) for at, byte in enumerate(HELLO))])
    assert bytes_of(events_of(packets), 0) == HELLO


def test_a_hello_after_too_many_bytes_is_not_looked_for():
    """A conversation in which MAX_YOUNG_BYTES passed without a hello is dismissed, wherever chunks end."""
    few = b"x" * (undecided.MAX_YOUNG_BYTES // 2)
    assert 0 in run(timed(talk(few, few, HELLO)))
    late = timed(talk(few, few + b"x", HELLO))
    for cuts in [(), (3,), (4,), (5,), (4, 5)]:
        assert 0 not in run(late, cuts=cuts)


def test_what_speaks_http_or_records_without_a_hello_is_kept_as_a_sample():
    """Conversations without a hello are counted by port, and those of HTTP or of records keep their first bytes."""
    http = talk(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n")
    joined = talk(None, b"\x17\x03\x03\x00\x05hello", b"\x17\x03\x03\x00\x05world", client=(CLIENT[0], 50_001))
    other = talk(b"SSH-2.0-x\r\n", client=(CLIENT[0], 50_002), server=(SERVER[0], 22))
    book = AddressBook()
    flows = Flows("test.pcap", book)
    assert list(flows.take(segments(timed([*http, *joined, *other]), book))) == []
    [facts] = flows.summaries()
    samples = [(sample.number, sample.speaks, sample.frame) for sample in facts.samples]
    assert samples == [(0, "http", 4), (1, "records", 9)]
    assert facts.samples[0].starts[1].startswith(b"HTTP/1.1 400")
    assert facts.ports == {443: 2, 22: 1}
    assert (facts.conversations, facts.segments) == (3, 14)
    assert flows.endpoints(2) == ((CLIENT[0], 50_002), (SERVER[0], 22))


def test_packets_that_wait_are_bounded(monkeypatch):
    """When too many packets wait, the oldest are let go, which is counted; a hello is found all the same."""
    monkeypatch.setattr(waiting, "MAX_WAITING_PACKETS", 13)
    book = AddressBook()
    flows = Flows("test.pcap", book)
    opening = [packet for port in range(8) for packet in talk(b"x", client=(CLIENT[0], 50_000 + port))]
    assert list(flows.take(segments(timed(opening), book))) == []
    assert (flows.summaries()[0].robbed, flows.summaries()[0].robbed_tls) == (5, 0)
    hellos = [Packet(0, 1002, HELLO, ack=5001, client=(CLIENT[0], 50_000 + port)) for port in range(1, 8)]
    told = [(conversation, list(events)) for conversation, events in flows.take(segments(hellos, book))]
    assert [conversation.number for conversation, _ in told] == list(range(1, 8))
    assert [conversation.opener.opened for conversation, _ in told] == [False] * 4 + [True] * 3
    assert all(bytes_of(events, 0)[-len(HELLO) :] == HELLO for _, events in told)
    assert (flows.summaries()[0].robbed, flows.summaries()[0].robbed_tls) == (5, 4)


def test_waiting_packets_survive_tidying(monkeypatch):
    """Packets that wait through many chunks, packed anew on the way, come out as they were."""
    monkeypatch.setattr(waiting, "MAX_SMALL", 2)
    letters = [bytes([letter]) for letter in b"abcdefgh"]
    pairs = zip(talk(*letters, HELLO), talk(*letters[::-1], HELLO, client=(CLIENT[0], 50_001)), strict=True)
    packets = timed(packet for pair in pairs for packet in pair)
    assert run(packets, cuts=range(1, len(packets))) == run(packets)


# Conversations whose consumer is done


def test_once_done_only_closes_and_alerts_come():
    """After done, plain data makes no event; whole alert records, FIN and RST do; counts go on."""
    packets = talk(HELLO, b"answer", b"q" * 900, ALERT, b"q" * 900, SEALED_ALERT)
    packets += [Packet(1, 6000, flags=FIN | ACK), replace(packets[-2], seq=packets[-2].seq + 900, flags=RST)]
    events = events_of(timed(packets), done_after=2)
    assert [event.payload for event in events if isinstance(event, Data)] == [HELLO, b"answer", ALERT, SEALED_ALERT]
    assert [event.how for event in events if isinstance(event, Closed)] == ["fin", "reset"]
    final = run(timed(packets), done_after=2)[0][-1]
    assert final[0].packets == len(packets)
    assert final[1][4] == len(HELLO) + 1800


def test_a_fin_that_waits_when_the_consumer_is_done_is_told():
    """Being done lets go of held bytes, and a FIN behind them comes at once."""
    packets = [*handshake(), Packet(0, 1001 + len(HELLO) + 5, flags=FIN | ACK), Packet(0, 1001, HELLO)]
    assert [type(event) for event in events_of(timed(packets), done_after=1)] == [Data, Closed]


RECORD = st.tuples(st.sampled_from([20, 21, 22, 23]), st.integers(2, 4), st.integers(0, 5), st.integers(0, 300))


@given(st.lists(RECORD))
def test_alert_segments_are_found_in_columns_as_one_by_one(records):
    """The columnar look for segments that are one alert record agrees with the plain one."""
    payloads = [bytes([*start, size >> 8, size & 0xFF]) + bytes(size) for *start, size in records]
    payloads += [payload[:-1] for payload in payloads]
    buffer = np.frombuffer(b"".join(payloads), dtype=np.uint8)
    length = np.array([len(payload) for payload in payloads], dtype=np.int64)
    start = np.cumsum(length) - length
    plain = [is_alert_segment(payload) for payload in payloads]
    assert alert_segments(buffer, start, length).tolist() == plain


def long_transfer(rng, count):
    """A TLS conversation with many packets: data both ways, repeats, reordering, alerts, closes near the end."""
    packets, offsets = talk(HELLO, b"answer"), [1001 + len(HELLO), 5007]
    for at in range(count):
        side = int(rng.random() < 0.2)
        payload = rng.choice([b"", b"d" * 1448, b"d" * 1448, b"s" * 30, SEALED_ALERT, ALERT])
        flags = rng.choice([ACK] * 200 + [FIN | ACK, SYN, RST]) if at > count // 3 else ACK
        seq = offsets[side] - rng.choice([0] * 20 + [1448, 2896, 1 << 29])
        packets.append(Packet(side, seq, payload, flags, offsets[1 - side] - rng.choice([0, 0, 500])))
        offsets[side] += len(payload)
    return timed(packets, step=rng.choice([1000, 20_000_000, 4_000_000_000_000]))


@pytest.mark.parametrize("seed", range(12))
def test_counting_at_once_equals_row_by_row(seed, monkeypatch):
    """What is told of a conversation that is done does not depend on whether its rows are counted in bulk."""
    packets = long_transfer(random.Random(seed), 1200)
    bulk = run(packets, done_after=2)
    monkeypatch.setattr(streams, "BULK", streams.SLICE)
    assert run(packets, done_after=2) == bulk
    assert run(packets, cuts=random.Random(seed).sample(range(1200), 9), done_after=2) == bulk


# The end of conversations


def closed_talk(pause, *late):
    """A conversation closed from both sides, and what comes a while after."""
    packets = timed(
        [*talk(HELLO, b"answer"), Packet(0, 1001 + len(HELLO), flags=FIN | ACK, ack=5007),
         Packet(1, 5007, flags=FIN | ACK, ack=1002 + len(HELLO))]
    )  # fmt: skip
    return packets + [replace(packet, time=packets[-1].time + pause) for packet in late]


STRAGGLER = Packet(1, 5001, b"answer", ack=1002 + len(HELLO))


@pytest.mark.parametrize(("pause", "count"), [(streams.LINGER, 8), (streams.LINGER + 1, 7)])
def test_a_closed_conversation_lingers(pause, count):
    """Packets up to LINGER after both FINs belong to the conversation, later ones to nothing."""
    packets = closed_talk(pause, STRAGGLER)
    final = run(packets)[0][-1][0]
    assert final.packets == count
    assert run(packets, cuts=range(1, 8)) == run(packets)


def test_an_idle_conversation_is_over():
    """An hour without a packet ends a conversation; what comes later makes no event."""
    packets = timed(talk(HELLO, b"answer"))
    late = replace(packets[-1], seq=5007, payload=b"late")
    later = [replace(late, time=packets[-1].time + pause) for pause in (0, streams.IDLE + 1)]
    assert bytes_of(events_of([*packets, later[0]]), 1) == b"answerlate"
    assert bytes_of(events_of([*packets, later[1]]), 1) == b"answer"


def test_each_packet_gives_an_open_conversation_another_hour():
    """A conversation whose packets come within the hour of each other stays open, wherever chunks end."""
    packets = timed(talk(HELLO, b"answer", b"more", b"last"))
    for at in range(4, 7):
        packets[at] = replace(packets[at], time=(at - 3) * streams.IDLE)
    assert bytes_of(events_of(packets), 1) == b"answerlast"
    assert run(packets, cuts=[5]) == run(packets)


@pytest.mark.parametrize("cuts", [[], [6], [6, 7], [7]])
def test_an_idle_conversation_ended_at_its_deadline(cuts):
    """Whether a late packet of its own, another's, or its successor tells that its hour is over, and in which chunk."""
    packets = timed(talk(HELLO, b"answer"))
    end, new = packets[-1].time + streams.IDLE, handshake(9000)[0]
    late = [replace(packets[-1], seq=5007, payload=b"late"), replace(new, client=(CLIENT[0], 1)), new]
    for first in late:
        told = [replace(packet, time=end + 1000 * at) for at, packet in enumerate([first, *late], start=1)]
        assert run([*packets, *told], cuts=cuts)[0][-1][0].until == end


def test_a_conversation_that_is_over_by_time_is_yielded_once_more():
    """At the end of a chunk, a closed conversation whose time has passed is handed out as over, then forgotten."""
    book = AddressBook()
    flows = Flows("test.pcap", book)
    elsewhere = replace(handshake()[0], client=(CLIENT[0], 1), time=SECOND + 6 * SECOND)
    told = []
    for chunk in (closed_talk(0), [elsewhere]):
        for conversation, events in flows.take(segments(chunk, book)):
            told.append((conversation.number, len(list(events)), conversation.over))
    assert told == [(0, 4, False), (0, 0, True)]
    assert list(flows.finish()) == []


# Laws


@st.composite
def traffic(draw):
    """Packets of a few conversations, TLS or not, with losses, repeats, damage, closes and pauses."""
    packets = []
    for port in range(draw(st.integers(1, 3))):
        ends = {"client": (CLIENT[0], 50_000 + port)}
        payloads = st.one_of(
            st.sampled_from([None, HELLO, HELLO, SSL2_HELLO, HELLO[:3], HELLO[3:], ALERT, SEALED_ALERT, b"GET / HTTP"]),
            st.binary(max_size=40),
        )
        talked = talk(*draw(st.lists(payloads, max_size=8)), **ends)
        kept = draw(st.lists(st.sampled_from(talked), max_size=6))
        odd = st.builds(
            Packet,
            side=st.integers(0, 1),
            seq=st.one_of(st.sampled_from([packet.seq for packet in talked]), st.integers(0, MASK)),
            ack=st.one_of(st.sampled_from([packet.seq for packet in talked]), st.integers(0, MASK)),
            flags=st.integers(0, 63),
            payload=st.one_of(st.just(b""), st.just(HELLO), st.binary(max_size=30)),
            length=st.one_of(st.none(), st.integers(30 + len(HELLO), 5000)),
            client=st.just(ends["client"]),
        )
        packets += [*talked, *kept, *draw(st.lists(odd, max_size=5))]
    order = draw(st.lists(st.integers(-4, 4), min_size=len(packets), max_size=len(packets)))
    mixed = [packet for _, packet in sorted(enumerate(packets), key=lambda pair: pair[0] + order[pair[0]])]
    steps = st.sampled_from([1000, 1000, 1000, -5 * SECOND, streams.LINGER, streams.LINGER + 2000, streams.IDLE + 1])
    time, result = SECOND, []
    for packet, step in zip(mixed, draw(st.lists(steps, min_size=len(mixed), max_size=len(mixed))), strict=True):
        time = max(1, time + step)
        result.append(replace(packet, time=time))
    return result


@given(traffic(), st.sets(st.integers(1, 60), max_size=8), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_chunks_change_nothing(packets, cuts, done_after):
    """Wherever a capture is cut into chunks, each conversation has the same events, facts and summary."""
    cuts = [cut for cut in cuts if cut < len(packets)]
    assert run(packets, cuts=cuts, done_after=done_after) == run(packets, done_after=done_after)


@given(traffic(), st.integers(3, 12), st.integers(0, 3))
@settings(max_examples=200, deadline=None)
def test_beginnings_by_column_equal_those_row_by_row(packets, longest, done_after):
    """However many rows of a conversation's orderly beginning are taken by column, none at all too, all is the same."""
    row_by_row = patch.object(beginnings, "LONGEST", 1)
    by_column = patch.object(beginnings, "LONGEST", longest)
    with row_by_row:
        slow = run(packets, done_after=done_after)
    with by_column:
        assert run(packets, done_after=done_after) == slow


@given(traffic(), st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_runs_hold_the_events_that_come_one_by_one(packets, done_after):
    """A consumer that takes runs, and leaves the rest of one when it is done, gets what one gets that takes events."""
    assert run(packets, done_after=done_after, by_runs=True) == run(packets, done_after=done_after)


@given(traffic())
@settings(max_examples=100, deadline=None)
def test_what_an_event_of_an_orderly_run_acknowledges_came_before_it(packets):
    """No event of such a run would have to wait for another, and none is a gap."""
    book = AddressBook()
    for _, events in Flows("test.pcap", book).take(segments(packets, book)):
        order = Causality()
        for each in events.runs:
            for event in each.events:
                assert not each.orderly or (order.passes(event) and not isinstance(event, Gap))


def test_a_conversation_that_time_ended_within_its_chunk_is_over_before_the_next_ones():
    """It does not wait for the end of the chunk, though the packet that shows it belongs to another conversation."""
    book = AddressBook()
    others = [talk(HELLO, client=(CLIENT[0], port)) for port in range(1, 2 * TOGETHER)]
    packets = [*closed_talk(0), *(replace(one, time=7 * SECOND) for other in others for one in other)]
    told = [
        (conversation.number, len(list(events)), conversation.over)
        for conversation, events in Flows("test.pcap", book).take(segments(packets, book))
    ]
    assert told[TOGETHER] == (0, 0, True)
    assert [over for _, _, over in told].count(True) == 1


def test_an_orderly_conversation_is_taken_by_column():
    """A conversation that opens, speaks and closes in order has nothing left to take row by row."""
    packets = closed_talk(1000, Packet(0, 1002 + len(HELLO), ack=5008))
    with patch.object(streams.Streams, "_follow", side_effect=AssertionError("taken row by row")):
        events = events_of(packets)
    assert bytes_of(events, 1) == b"answer"
    assert [(event.side, event.acked, event.packets) for event in events if isinstance(event, Closed)] == [
        (0, 6, 6),
        (1, len(HELLO), 7),
    ]


@given(traffic())
@settings(max_examples=150, deadline=None)
def test_bytes_of_each_side_come_in_order(packets):
    """Whatever the packets, each data or gap of a side starts where the one before ended."""
    for number, story in run(packets).items():
        reached = {0: 0, 1: 0}
        for event in (entry[0] for entry in story if number >= 0 and len(entry) == 1):
            if not isinstance(event, Closed):
                assert event.offset == reached[event.side]
                reached[event.side] += event.length if hasattr(event, "length") else len(event.payload)
