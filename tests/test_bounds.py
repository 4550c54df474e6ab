"""What a hostile connection can cost: work and memory have a bound in the algorithm, and a note says which was reached.

Each flood shares its capture with good handshakes, which must be found. Work is counted, never timed.
"""

import io
import ssl
from collections.abc import Callable, Iterable
from functools import cache, partial
from itertools import chain

import numpy as np
import pandas as pd
import pytest
import turns
from conversation import ALERT, CLIENT, DATA, HANDSHAKE, SERVER, Talk, message, record
from openssl_bytes import certificate, exchange, key
from packet_builder import pcap
from segment_builder import HELLO, SECOND, Packet, segments
from segment_builder import handshake as opening
from tls_bytes import hello_body, server_body, u16s, vector
from turns import Turn
from work import calls, lines, memory

from tlspcap import rows
from tlspcap.spread import read_tables
from tlspcap.tls.certificates import describe
from tlspcap.tls.handshake import MAX_ALERTS, MAX_MESSAGES, MAX_RECORDS
from tlspcap.tls.records import MAX_MESSAGE, MessageJoiner, RecordReader
from tlspcap.transport import Data, Gap
from tlspcap.wire.columns import AddressBook, Segments
from tlspcap.wire.direction import MAX_HELD_SEGMENTS
from tlspcap.wire.flows import Flows

MB = 1 << 20
PORTS = {"before": 40_001, "hostile": 40_002, "after": 40_003}
FULL = 16_000  # bytes of a record
NAME = "localhost"


@cache
def good() -> list[Turn]:
    """A handshake of TLS 1.2 that OpenSSL made."""
    return turns.handshake(exchange(ssl.TLSVersion.TLSv1_2))


def hello() -> bytes:
    """Its ClientHello, in its record."""
    return good()[0][1]


def in_records(content: bytes, size: int = FULL, kind: int = HANDSHAKE) -> bytes:
    """Cut content into records."""
    return b"".join(record(kind, content[at : at + size]) for at in range(0, len(content), size))


def flooded(hostile: Iterable[Turn], size: int = 1_400) -> bytes:
    """A capture of a hostile conversation between two good ones."""
    told = {"before": (good(), 1_400), "hostile": (hostile, size), "after": (good(), 1_400)}
    return pcap([
        frame
        for name, port in PORTS.items()
        for frame in turns.frames(told[name][0], size=told[name][1], client_port=port)
    ])  # fmt: skip


def read(capture: bytes) -> dict[str, pd.DataFrame]:
    """Read a capture in one process; the good handshakes must be found, whatever is between them."""
    frames = read_tables(io.BytesIO(capture), jobs=1).frames
    found = frames["handshakes"].set_index("client_port")
    for name in ("before", "after"):
        assert found.loc[PORTS[name], ["outcome", "sni"]].tolist() == ["established", NAME]
    return frames


def of_hostile(frames: dict[str, pd.DataFrame], table: str) -> pd.DataFrame:
    """The rows of a table that belong to the hostile handshake."""
    (mine,) = frames["handshakes"].loc[frames["handshakes"]["client_port"] == PORTS["hostile"], "id"]
    return frames[table][frames[table]["id"] == mine]


def caps(frames: dict[str, pd.DataFrame]) -> list[str]:
    """What the notes say of caps that the hostile handshake reached."""
    notes = of_hostile(frames, "notes")
    return notes.loc[notes["kind"] == "cap_reached", "detail"].tolist()


# -- records, messages, alerts ------------------------------------------------------------------------------------


def test_a_handshake_header_that_claims_16_mb_has_nothing_held() -> None:
    """The longest claim that the header allows is passed over at once, and a note says so."""
    claim = record(HANDSHAKE, b"\x0b\xff\xff\xff" + bytes(FULL)) + record(HANDSHAKE, bytes(FULL)) * 100
    frames = read(flooded([(CLIENT, hello()), (SERVER, claim)]))
    assert caps(frames) == ["a handshake message too long to be joined was passed over"]
    joiner = joined_after(b"\x0b\xff\xff\xff" + bytes(FULL), 1_000)
    assert not joiner.begun
    assert joiner.oversized


def test_a_message_of_the_longest_length_that_is_joined_takes_its_own_memory_and_no_more() -> None:
    """While a message grows to MAX_MESSAGE it takes its own length, and behind its end nothing is held."""
    length = MAX_MESSAGE - 4
    with memory() as taken:
        joined_after(b"\x0b" + length.to_bytes(3) + bytes(FULL - 4), length // FULL - 1)
    assert taken.peak < 1.5 * MAX_MESSAGE
    assert not joined_after(b"\x0b" + length.to_bytes(3) + bytes(FULL - 4), length // FULL + 1).begun


def joined_after(first: bytes, more: int) -> MessageJoiner:
    """Feed a joiner a record and so many full ones behind it."""
    reader, joiner, offset = RecordReader(), MessageJoiner(), 0
    for content in (first, *[bytes(FULL)] * more):
        payload = record(HANDSHAKE, content)
        for found in reader.feed(Data(0, 1, 1, offset, payload, 0, 1, 0)):
            joiner.feed(found)
        offset += len(payload)
    return joiner


FLOODS = {
    "660,000 alerts, a record each": (record(ALERT, b"\1\0"), 660_000, "more than 64 alerts"),
    "660,000 alerts in full records": (record(ALERT, b"\1\0" * 8_250), 80, "more than 64 alerts"),
    "660,000 empty messages": (record(HANDSHAKE, message(0) * 4_125), 160, "more than 2000 messages"),
    "a million records of a byte": (record(HANDSHAKE, b"\2"), 1_000_000, "more than 2000 records"),
    "a million sealed records of a byte": (record(DATA, b"\2"), 1_000_000, "more than 2000 records"),
    "a million heartbeats": (record(24, b"\2"), 1_000_000, "more than 2000 records"),
}


@pytest.mark.parametrize(("part", "count", "cap"), FLOODS.values(), ids=FLOODS)
def test_a_flood_stops_at_its_cap(part: bytes, count: int, cap: str) -> None:
    """However much a server floods, the rows are bounded, the cap is told, and what is behind it costs next to nothing.

    The last nine tenths take less than a function call for every ten bytes.
    """
    capture = {times: flooded([(CLIENT, hello()), (SERVER, part * times)]) for times in (count // 10, count)}
    frames = read(capture[count])
    assert len(of_hostile(frames, "records")) <= MAX_RECORDS
    assert len(of_hostile(frames, "messages")) <= MAX_MESSAGES + MAX_ALERTS
    assert len(of_hostile(frames, "alerts")) <= MAX_ALERTS
    assert caps(frames)[0].partition(";")[0] == cap  # others may follow
    few, many = (calls(partial(read, capture[times])) for times in (count // 10, count))
    assert many - few < len(part) * count * 9 // 100


def test_a_hello_in_records_of_one_byte_is_read() -> None:
    """A fragmented hello is no flood: its row is as exact as ever (RFC 8446 5.1)."""
    split = in_records(hello()[5:], 1)
    frames = read(flooded([(CLIENT, split), *good()[1:]], size=1))
    told = frames["handshakes"].set_index("client_port")
    columns = ["sni", "ja4", "outcome", "version", "cipher"]
    assert told.loc[PORTS["hostile"], columns].tolist() == told.loc[PORTS["before"], columns].tolist()
    assert not caps(frames)


def test_a_record_in_packets_of_one_byte_takes_linear_work() -> None:
    """The packet that carries a message is found without looking at all of them: twice the bytes, twice the lines."""
    assert lines(partial(byte_by_byte, 2_000)) < 2.2 * lines(partial(byte_by_byte, 1_000))


def byte_by_byte(messages: int) -> None:
    """Read a record of empty messages from packets of one byte."""
    reader, joiner, found = RecordReader(), MessageJoiner(), 0
    for at, byte in enumerate(record(HANDSHAKE, message(0) * messages)):
        for one in reader.feed(Data(0, at, 1, at, bytes([byte]), 0, 1, 0)):
            found += len(joiner.feed(one))
    assert found == messages


# -- hellos and certificates --------------------------------------------------------------------------------------


def many_extensions(size: int) -> bytes:
    """A hello of empty extensions."""
    return hello_body(*[(0xFE00 + number % 256, b"") for number in range(size // 4)])


def many_times_one_extension(size: int) -> bytes:
    """A hello of key shares that do not parse."""
    return hello_body(*[(51, b"\1")] * (size // 5))


def many_key_shares(size: int) -> bytes:
    """A hello of empty key shares."""
    return hello_body((51, vector(2, *[u16s(29) + vector(2)] * (size // 4))))


def many_codes(extension: int, size: int) -> bytes:
    """A hello of one list of codes."""
    return hello_body((extension, vector(2, u16s(*range(size // 2)))))


def many_protocols(size: int) -> bytes:
    """A hello of ALPN names of one letter."""
    return hello_body((16, vector(2, vector(1, b"h") * (size // 2))))


def many_suites(size: int) -> bytes:
    """A hello of cipher suites."""
    return hello_body(suites=u16s(*range(size // 2)))


def long_name(size: int) -> bytes:
    """A hello that asks for a name without end."""
    return hello_body((0, vector(2, b"\0", vector(2, b"\xff" * size))))


HELLOS: dict[str, Callable[[int], bytes]] = {
    "extensions": many_extensions,
    "one extension again and again": many_times_one_extension,
    "key shares": many_key_shares,
    "groups": partial(many_codes, 10),
    "signature schemes": partial(many_codes, 13),
    "protocols": many_protocols,
    "suites": many_suites,
    "server name": long_name,
}
LARGE = 60_000


@pytest.mark.parametrize("build", HELLOS.values(), ids=HELLOS)
def test_a_hello_of_64_kb_takes_linear_work_and_memory(build: Callable[[int], bytes]) -> None:
    """A hello of 64 KB makes a whole row; half of it takes no less than half the lines and bytes, give or take."""
    half, whole = build(LARGE // 2), build(LARGE)
    assert lines(partial(row_of, whole)) < 2.2 * lines(partial(row_of, half)) + 1_000
    with memory() as taken:
        row = row_of(whole)
    assert taken.peak < 150 * len(whole)
    assert len(row["ja4"]) == 36
    (found,) = read(flooded([(CLIENT, in_records(message(1, whole))), *good()[1:]]))["handshakes"].query(
        f"client_port == {PORTS['hostile']}"
    )["ja4"]
    assert found == row["ja4"]


def row_of(client: bytes, server: bytes = b"", leaf: bytes = b"") -> rows.Row:
    """The row of a handshake of these messages and this certificate."""
    talk = Talk().says(CLIENT, in_records(message(1, client)))
    if server:
        talk.says(SERVER, in_records(message(2, server) + message(11, vector(3, vector(3, leaf)))))
    return rows.handshake_row(rows.finish(talk.account(), talk.clock, SECOND, b""))


def test_what_hostile_hellos_and_certificates_hold_is_let_go() -> None:
    """Nothing remembers hellos of 64 KB or certificates of a megabyte: behind some of them no memory is taken."""
    odd = [(0xFE00 + at % 256, b"") for at in range(14_000)]
    made = [
        (hello_body((0xFD00 + number, b""), *odd), server_body((0xFD00 + number, b""), *odd), bytes([number]) * MB)
        for number in range(5)
    ]
    row_of(*made[0])  # so that what is made at first use is there
    with memory() as taken:
        for client, server, leaf in made[1:]:
            row_of(client, server, leaf)
    assert taken.left < MB // 4


def test_ten_thousand_names_in_a_certificate_take_linear_work() -> None:
    """A certificate with 10,000 names, over a dozen records, is read in full; half as many take half the work."""
    few, many = (
        certificate(key("EC"), *(f"host{at}.example" for at in range(count)), subject=NAME) for count in (5_000, 10_000)
    )
    assert lines(partial(describe, many)) < 2.2 * lines(partial(describe, few))
    with memory() as taken:
        describe(many)
    assert taken.peak < 30 * len(many)
    server = in_records(message(2, server_body()) + message(11, vector(3, vector(3, many))))
    frames = read(flooded([(CLIENT, hello()), (SERVER, server)]))
    leaf = of_hostile(frames, "handshakes")["certificate_sha256"]
    (names,) = frames["certificates"].set_index("sha256").loc[leaf, "san"]
    assert names.count(",") == 9_999


# -- segments -----------------------------------------------------------------------------------------------------

ORDERS: dict[str, Callable[[int], np.ndarray]] = {
    "any order": lambda count: np.random.default_rng(7).permutation(count),
    "backwards": lambda count: np.arange(count)[::-1],
    "neighbours swapped": lambda count: np.arange(count) ^ 1,
    "late by up to forty": lambda count: np.argsort(np.arange(count) + np.random.default_rng(7).uniform(0, 40, count)),
    "every second lost": lambda count: np.arange(count) * 2,
    "one again and again": lambda count: np.zeros(count, dtype=np.int64) + 5,
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
def test_tiny_segments_out_of_order_take_linear_work_and_bounded_memory(order: Callable[[int], np.ndarray]) -> None:
    """Of segments of a byte in a bad order, MAX_HELD_SEGMENTS wait at most; twice as many take twice the work."""
    few, many = (lines(partial(deliver, order(count))) for count in (1_000, 2_000))
    assert many < 2.3 * few
    with memory() as short:
        deliver(order(1_000))
    with memory() as long:
        deliver(order(8_000))
    assert long.peak < short.peak + MB // 4


def deliver(order: np.ndarray, chunk: int = 500) -> None:
    """Run segments of a byte, at these offsets behind a hello, through `Flows`, and check what comes out."""
    book, reached = AddressBook(), len(HELLO)
    flows = Flows("test.pcap", book)
    talk = segments([*opening(), Packet(0, 1_001, HELLO, ack=5_001)], book)
    chunks = (tiny(talk, order[at : at + chunk], at) for at in range(0, len(order), chunk))
    for part in chain([talk], chunks, [None]):
        for _, events in flows.finish() if part is None else flows.take(part):
            for event in events:
                if isinstance(event, Data | Gap) and event.offset:
                    assert event.offset == reached
                    reached += event.length if isinstance(event, Gap) else len(event.payload)
        for streams in flows._followed.values():
            assert all(len(me.held) <= MAX_HELD_SEGMENTS for me in streams.sides)
    assert reached == len(HELLO) + int(order.max()) + 1


def tiny(like: Segments, offsets: np.ndarray, number: int) -> Segments:
    """Segments of one byte of the client, at offsets behind the hello."""
    one = np.ones(len(offsets), dtype=np.int64)
    at = number + np.arange(len(offsets))
    ends = like.source, like.target, like.source_port, like.target_port
    ends = [(one * int(column[0])).astype(np.int32) for column in ends]
    numbers = 1_001 + len(HELLO) + offsets, one * 5_001, (one * 16).astype(np.int32)
    return Segments(np.zeros(64, dtype=np.uint8), at + 5, 2 * SECOND + at, *ends, *numbers, one * 0, one, one)
