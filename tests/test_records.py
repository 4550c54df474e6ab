"""Records and messages come out the same however the bytes are cut, and are found again behind a gap."""

import itertools
from collections.abc import Sequence

import pytest
from conversation import ALERT, CLIENT, DATA, HANDSHAKE, SERVER, START, Talk, message, record
from hypothesis import given
from hypothesis import strategies as st
from tls_bytes import hello_body, server_body

from tlspcap.tls import records
from tlspcap.tls.records import CHANGE_CIPHER_SPEC, MessageJoiner, RawMessage, Record, RecordReader
from tlspcap.transport import Data, Gap

CONTENTS = st.lists(
    st.tuples(st.sampled_from([20, 21, 22, 23, 24]), st.binary(max_size=300)), min_size=1, max_size=8
)  # fmt: skip


def packets(stream: bytes, cuts: Sequence[int]) -> list[Data]:
    """Cut a stream into packets of one byte or more."""
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    spans = list(itertools.pairwise(edges))
    return [Data(0, n, START + n, low, stream[low:high], 0, n, 0) for n, (low, high) in enumerate(spans, start=1)]


def read(data: Sequence[Data]) -> list[Record]:
    """Read all records."""
    reader = RecordReader()
    return [found for one in data for found in reader.feed(one)]


def said(found: Sequence[Record]) -> list[tuple[int, int, bytes | None, int]]:
    """What records say, apart from the packets that carry them."""
    return [(r.content_type, r.length, r.fragment, r.end) for r in found]


@given(contents=CONTENTS, cuts=st.lists(st.integers(0, 5_000), max_size=40))
def test_records_do_not_depend_on_packets(contents: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """Any cut of a stream into packets gives the records of the whole, each with its first and last packet."""
    stream = b"".join(record(kind, content) for kind, content in contents)
    data = packets(stream, cuts)
    found = read(data)
    assert said(found) == said(read(packets(stream, [])))
    assert [(r.content_type, r.length) for r in found] == [(kind, len(content)) for kind, content in contents]
    for r in found:
        start = r.end - r.length - records.HEADER_LENGTH
        assert r.first.offset <= start < r.first.offset + len(r.first.payload)
        assert r.last.offset < r.end <= r.last.offset + len(r.last.payload)


def joined(found: Sequence[Record]) -> list[RawMessage]:
    """Join all messages."""
    joiner = MessageJoiner()
    return [raw for one in found for raw in joiner.feed(one)]


@given(
    bodies=st.lists(st.tuples(st.integers(0, 25), st.binary(max_size=200)), min_size=1, max_size=6),
    sizes=st.lists(st.integers(1, 90), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 3_000), max_size=40),
)
def test_messages_do_not_depend_on_records_or_packets(
    bodies: list[tuple[int, bytes]], sizes: list[int], cuts: list[int]
) -> None:
    """Messages cut into records of any size and packets of any size come out whole, with the packet they begin in."""
    stream = b"".join(message(code, body) for code, body in bodies)
    pieces, position, starts = [], 0, []
    while position < len(stream):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(stream[position : position + size])
        position += size
    wire, at = b"", 0
    offsets = []  # of each byte of the messages, in the records' stream
    for piece in pieces:
        offsets += range(len(wire) + records.HEADER_LENGTH, len(wire) + records.HEADER_LENGTH + len(piece))
        wire += record(HANDSHAKE, piece)
    for _, body in bodies:
        starts.append(offsets[at])
        at += 4 + len(body)
    found = joined(read(packets(wire, cuts)))
    assert [(raw.code, raw.body) for raw in found] == bodies
    for raw, start in zip(found, starts, strict=True):
        assert raw.first.offset <= start < raw.first.offset + len(raw.first.payload)


def test_fed_byte_by_byte_a_handshake_is_the_same() -> None:
    """A whole handshake in packets of one byte gives the messages, alerts and records of whole packets."""
    talk = Talk().says(CLIENT, record(HANDSHAKE, message(1, hello_body()), 0x0301))
    talk.says(SERVER, record(HANDSHAKE, message(2, server_body()) + message(14))).says(CLIENT, record(ALERT, b"\2\50"))
    single = Talk()
    for event in talk.events:
        assert isinstance(event, Data)
        for byte in event.payload:
            single.says(event.side, bytes([byte]))
    whole, bytewise = talk.account(), single.account()
    assert [m[1:] for m in whole.messages] == [m[1:] for m in bytewise.messages]
    assert [a[1:] for a in whole.alerts] == [a[1:] for a in bytewise.alerts]
    assert said([seen.record for seen in whole.records]) == said([seen.record for seen in bytewise.records])


def test_a_gap_inside_a_record_keeps_the_boundary() -> None:
    """Bytes missing inside one record cost that record alone: its header told where the next begins."""
    reader = RecordReader()
    first = record(HANDSHAKE, bytes(100))
    assert reader.feed(Data(0, 1, START, 0, first[:50], 0, 1, 0)) == []
    reader.gap(Gap(0, 2, START, 50, 30, "lost"))
    rest = first[80:] + record(ALERT, b"\2\50")
    found = reader.feed(Data(0, 2, START, 80, rest, 0, 2, 0))
    assert said(found) == [(HANDSHAKE, 100, None, 105), (ALERT, 2, b"\2\50", 112)]


def test_a_record_whose_end_is_missing_is_told_by_its_header() -> None:
    """A snapshot length that cuts the end of a packet leaves the header of its last record, which is counted."""
    reader = RecordReader()
    finished = record(HANDSHAKE, bytes(40))
    assert reader.feed(Data(0, 1, START, 0, finished[:30], 0, 1, 0)) == []
    found = reader.gap(Gap(0, 1, START, 30, 15, "snaplen"))
    assert said(found) == [(HANDSHAKE, 40, None, 45)]
    assert said(reader.feed(Data(0, 2, START, 45, record(ALERT, b"\2\50"), 0, 2, 0))) == [(ALERT, 2, b"\2\50", 52)]


def test_behind_a_gap_a_packet_may_begin_with_records_of_which_the_last_is_cut() -> None:
    """Headers that run back to back from the start of a packet are records, though the last runs past its end."""
    reader = RecordReader()
    reader.gap(Gap(0, 1, START, 0, 400, "snaplen"))
    cut = (record(CHANGE_CIPHER_SPEC, b"\1") + record(HANDSHAKE, bytes(40)))[:30]
    assert said(reader.feed(Data(0, 2, START, 400, cut, 0, 2, 0))) == [(CHANGE_CIPHER_SPEC, 1, b"\1", 406)]
    assert said(reader.gap(Gap(0, 2, START, 430, 21, "snaplen"))) == [(HANDSHAKE, 40, None, 451)]


@pytest.mark.parametrize("before", [b"", b"\x99" * 7, b"\x16\x03\x01\xff\xff", bytes(range(64))])
def test_behind_a_gap_records_are_found_again(before: bytes) -> None:
    """Where the boundary is lost, it is found where headers run back to back to the end of a packet."""
    reader = RecordReader()
    reader.feed(Data(0, 1, START, 0, b"\x16", 0, 1, 0))
    reader.gap(Gap(0, 2, START, 1, 400, "lost"))
    behind = record(DATA, bytes(20)) + record(ALERT, b"\2\50")
    found = reader.feed(Data(0, 2, START, 401, before + behind, 0, 2, 0))
    assert [(r.content_type, r.length) for r in found] == [(DATA, 20), (ALERT, 2)]


def test_a_message_too_long_is_passed_over() -> None:
    """A handshake message that claims more than the cap is not gathered, and the reading of records goes on."""
    joiner = MessageJoiner()
    huge = bytes([11]) + (1 << 22).to_bytes(3)
    data = packets(record(HANDSHAKE, huge + bytes(1_000)) + record(HANDSHAKE, message(14)), [])
    assert [raw for one in read(data) for raw in joiner.feed(one)] == []
    assert joiner.oversized


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=20))
def test_any_bytes_are_read_without_a_complaint(content: bytes, cuts: list[int]) -> None:
    """No bytes raise anything or make a record that is longer than the stream."""
    for start in (b"", record(HANDSHAKE, message(1, hello_body()))):
        found = read(packets(start + content, cuts))
        joined(found)
        assert all(r.end <= len(start + content) for r in found)
