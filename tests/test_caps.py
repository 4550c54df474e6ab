"""Claims about bounds: each is listed, reaching one is a note, and memory grows by tombstones alone."""

import io
import re
import ssl
import struct
import tracemalloc
from collections.abc import Callable, Iterator
from importlib import import_module
from ipaddress import IPv4Address

import bounds
import house
import numpy as np
import openssl_bytes
import pandas as pd
import pytest
import turns
from hypothesis import given
from hypothesis import strategies as st
from packet_builder import CLIENT, SERVER, block, enhanced, ethernet, interface, ipv4, pcap, section, tcp
from test_fragments import pieces
from test_keys import log_of, pcapng

import tlspcap
from tlspcap import spread
from tlspcap.wire.columns import AddressBook
from tlspcap.wire.index import Index
from tlspcap.wire.numbering import Numbering
from tlspcap.wire.undecided import Undecided

SYN, RST, ACK = 2, 4, 16
# Bounds by name that lose nothing: they describe formats, or how something is looked for.
NO_BOUNDS = {
    "wire.columns.MAX_RECENT", "wire.hello.MAX_RECORD", "wire.hello.MAX_ALERT_SEGMENT", "wire.hello.MAX_SEALED_ALERT",
    "wire.waiting.MAX_SMALL", "wire.tunnels.MOST_STEPS", "wire.tunnels.MOST_LABELS", "tls.records.MAX_LENGTH",
    "tls.handshake.MAX_HELD", "tls.dialogue.MAX_ANSWER", "tls.dialogue.MAX_PLACES", "tls.starttls.MAX_OPENING",
    "tls.quoting.MAX_QUOTE", "tls.unseal.LARGEST_AFTER", "offer_rows.MAX_LISTED",
}  # fmt: skip
REQUEST = b"GET / HTTP/1.1\r\n\r\n"


def hellos() -> list[turns.Turn]:
    """A real handshake of TLS 1.2, with alerts and certificates in clear."""
    return turns.handshake(openssl_bytes.exchange(ssl.TLSVersion.TLSv1_2))


def record(kind: int, content: bytes) -> bytes:
    """Build a record of TLS 1.2."""
    return struct.pack(">BHH", kind, 0x0303, len(content)) + content


def with_loss(*, conflict: bool = False) -> bytes:
    """Build a handshake in small segments: one is lost, or is sent again with other bytes."""
    frames = list(turns.frames(hellos(), size=100))
    if conflict:
        return pcap([*frames[:4], frames[3][:-1] + b"?", *frames[4:]])
    return pcap([*frames[:5], *frames[7:]])


def with_secrets() -> bytes:
    """Build a pcapng with a key log in it."""
    log = block(10, struct.pack("<II", 0x544C534B, 4) + b"# k\n")
    return section() + log + interface() + enhanced(ethernet(ipv4(tcp(b"x"))))


def without_the_rest() -> bytes:
    """Build a capture of IP packets of which some fragments are missing."""
    packet = ipv4(tcp(bytes(range(256)) * 4), fragment=0)
    return pcap([part for number in range(3) for part in pieces(packet, [8, 16], number)[:2]], link=101)


def after_the_hello(*answers: bytes) -> bytes:
    """Build a handshake that the server answers with some records."""
    return turns.capture([hellos()[0], *((1, answer) for answer in answers)])


TLS = turns.capture(hellos(), hellos(), hellos())
PLAIN = turns.capture([(0, REQUEST), (1, b"HTTP/1.1 200 OK\r\n\r\n")], port=80)
ODD = after_the_hello(record(22, b"\x14\0\0\0"), record(22, b"\x14\0\0\0"))

# For each bound of which a note tells: a value that is reached, a capture that does, and what the note says
CASES: dict[str, tuple[int, Callable[[], bytes], str]] = {
    "wire.pcapng.MOST_SECRETS": (3, with_secrets, "1 key logs inside the capture"),
    "wire.fragments.MOST_DATAGRAMS": (1, without_the_rest, "IP packets in fragments were given up: too many waited"),
    "wire.fragments.MOST_BYTES": (1, without_the_rest, "IP packets in fragments were given up: too many waited"),
    "wire.fragments.MOST_FRAGMENTS": (2, without_the_rest, "3 IP packets in fragments were given up: they came in too"),
    "wire.waiting.MAX_WAITING_PACKETS": (1, lambda: PLAIN, "the first packets of 1 conversations were let go"),
    "wire.waiting.MAX_WAITING_BYTES": (1, lambda: PLAIN, "the first packets of 1 conversations were let go"),
    "wire.undecided.MAX_SAMPLES": (0, lambda: PLAIN, "more conversations without a hello speak HTTP"),
    "wire.flows.MAX_FOLLOWED": (1, lambda: TLS, "3 open conversations were followed no further"),
    "wire.flows.MAX_CONFLICTS": (0, lambda: with_loss(conflict=True), "1 sides sent other bytes again"),
    "wire.direction.MAX_HELD_SEGMENTS": (1, with_loss, "1 conversations had more data behind a hole"),
    "wire.direction.MAX_HELD_BYTES": (99, with_loss, "1 conversations had more data behind a hole"),
    "tls.records.MAX_MESSAGE": (1 << 10, lambda: after_the_hello(record(22, b"\x0b\0\xff\0a")), "too long"),
    "tls.handshake.MAX_RECORDS": (3, lambda: TLS, "more than 3 records"),
    "tls.handshake.MAX_MESSAGES": (3, lambda: TLS, "more than 3 messages"),
    "tls.opening.MAX_MESSAGES": (3, lambda: pcapng("situations", {0: log_of("situations")}), "more than 3 messages"),
    "tls.taking.MAX_ALERTS": (0, lambda: after_the_hello(record(21, b"\x02\x28")), "more than 0 alerts"),
    "tls.handshake.MAX_TURNS": (1, lambda: TLS, "more than 1 packets with data"),
    "tls.handshake.MAX_GAPS": (0, with_loss, "more than 0 gaps of the client"),
    "tls.noting.MAX_ODDITIES": (1, lambda: ODD, "more than 1 oddities"),
    "file_notes.MAX_REFUSED": (
        0,
        lambda: turns.capture([(1, b"220 x\r\n"), (0, b"STARTTLS\r\n"), (1, b"454 no\r\n")]),
        "1 requests for TLS were declined",
    ),
    "distinct.MAX_SNIS": (0, lambda: TLS, "for more than 0 names"),
    "tables.MAX_SERVERS": (1, lambda: TLS + PLAIN[24:], "more than 1 servers speak TLS"),
}


def test_every_bound_is_listed() -> None:
    """Each constant whose name says that it bounds something is in the table, or is known to lose nothing."""
    assignment = re.compile(r"^((?:MAX|MOST|LARGEST)_[A-Z_]+) =", re.MULTILINE)
    rooms = {"wire", "tls", "tables", "reading", "anonymize", "extraction"}
    named = {
        f"{module}.{name}"
        for module, path in house.modules()
        if house.room(module) in rooms and "iana" not in module
        for name in assignment.findall(path.read_text())
    }
    listed = {bound.where for bound in bounds.BOUNDS}
    assert named - listed == NO_BOUNDS
    assert all(bound.value > 0 for bound in bounds.BOUNDS)


def test_every_bound_that_a_note_tells_is_tried() -> None:
    """There is a case for each bound of which the table says that reaching it is a note."""
    assert {bound.where for bound in bounds.BOUNDS if bound.told == bounds.NOTE} == CASES.keys()


@pytest.mark.parametrize("where", CASES)
def test_reaching_a_bound_is_a_note(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a bound is reached, a note `cap_reached` says so, and it does not where none is."""
    value, capture, told = CASES[where]
    content = capture()
    before = tlspcap.read(io.BytesIO(content)).notes
    assert "cap_reached" not in before["kind"].tolist()
    module, name = where.rsplit(".", 1)
    monkeypatch.setattr(import_module(f"tlspcap.{module}"), name, value)
    if where == "tables.MAX_SERVERS":
        monkeypatch.setattr("tlspcap.file_notes.MAX_SERVERS", value)
    notes = tlspcap.read(io.BytesIO(content)).notes
    details = notes.loc[notes["kind"] == "cap_reached", "detail"].tolist()
    assert any(told in detail for detail in details), details


def test_each_bound_of_a_handshake_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a handshake that reaches two bounds, again and again, each is told, and once."""
    monkeypatch.setattr("tlspcap.tls.taking.MAX_ALERTS", 0)
    monkeypatch.setattr("tlspcap.tls.handshake.MAX_TURNS", 1)
    content = after_the_hello(*[record(21, b"\x01\x5a")] * 5)
    notes = tlspcap.read(io.BytesIO(content)).notes
    details = notes.loc[notes["kind"] == "cap_reached", "detail"].tolist()
    told = ["more than 1 packets with data; the rest is not timed", "more than 0 alerts; the rest was not kept"]
    assert sorted(details) == sorted(told)


def test_an_upload_is_followed_as_far_as_it_may_tell_of_the_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the handshake, 256 KB of one side are followed while the other is silent; the row is that of all of it."""
    upload = turns.capture([*hellos(), *[(0, record(23, bytes(1 << 14)))] * 40])

    def read() -> tuple[pd.DataFrame, int]:
        found = tlspcap.read(io.BytesIO(upload), tables=["handshakes", "records"])
        return found.handshakes, int((found.records["length"] == 1 << 14).sum())

    cut, followed = read()
    monkeypatch.setattr("tlspcap.tls.handshake.MAX_BYTES_AFTER", 1 << 30)
    whole, every = read()
    assert (followed, every) == (16, 40)  # and a little data, which came before them
    pd.testing.assert_frame_equal(cut, whole)


def test_a_handshake_is_found_however_few_are_followed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations that are ended because too many are open keep their rows, and their verdicts where all was seen."""
    content = turns.capture(*[hellos()] * 9)
    whole = tlspcap.read(io.BytesIO(content)).handshakes
    monkeypatch.setattr("tlspcap.wire.flows.MAX_FOLLOWED", 2)
    monkeypatch.setattr("tlspcap.wire.flows.TOGETHER", 1)
    few = tlspcap.read(io.BytesIO(content)).handshakes
    assert few["stream"].tolist() == whole["stream"].tolist() == list(range(9))
    assert few["outcome"].tolist() == whole["outcome"].tolist() == ["established"] * 9


# What is remembered


@given(st.lists(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 3)), unique=True, max_size=50)))
def test_an_index_numbers_as_a_dict_does(batches: list[list[tuple[int, int]]]) -> None:
    """Pairs have the numbers that a dict would give them, in whatever batches they come, and others have none."""
    index, expected = Index(), dict[tuple[int, int], int]()
    for batch in batches:
        columns = [np.array([pair[at] for pair in batch], dtype=np.int64) for at in (0, 1)]
        assert index.find(*columns).tolist() == [expected.get(pair, -1) for pair in batch]
        assert index.add(*columns).tolist() == [expected.setdefault(pair, len(expected)) for pair in batch]
    assert len(index) == len(expected)


def test_an_index_grows() -> None:
    """Numbers stay when a table of places gets too small, many times over."""
    index, every = Index(), np.arange(40_000, dtype=np.int64)
    for at in range(0, len(every), 700):
        index.add(every[at : at + 700], every[at : at + 700] % 7)
    assert (index.find(every, every % 7) == every).all()
    assert (index.find(every, every % 7 + 1) == -1).all()


@given(st.lists(st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))))
def test_an_address_book_gives_back_what_it_numbered(addresses: list[bytes]) -> None:
    """An address has one number, two have two, and the number leads back to the address."""
    book = AddressBook()
    numbers = [book.number(address) for address in addresses]
    assert [book.bytes(number) for number in numbers] == addresses
    assert len(set(numbers)) == len(set(addresses)) == len(book)
    v4 = sorted({address for address in addresses if len(address) == 4})
    column = np.array([int.from_bytes(address) for address in v4], dtype=np.uint32)
    assert [book.bytes(number) for number in book.numbers_v4(column).tolist()] == v4


class Endless(io.RawIOBase):
    """A capture that is made while it is read: so many packets, each made from its number."""

    def __init__(self, packets: int, make: Callable[[int], bytes]) -> None:
        self._bytes = self._pieces(packets, make)
        self._left = b""

    def _pieces(self, packets: int, make: Callable[[int], bytes]) -> Iterator[bytes]:
        yield struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 101)
        for number in range(packets):
            packet = make(number)
            yield struct.pack("<IIII", 1_700_000_000 + number // 50, 0, len(packet), len(packet)) + packet

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Give the next bytes."""
        parts, count = [self._left], len(self._left)
        while count < size and (piece := next(self._bytes, b"")):
            parts.append(piece)
            count += len(piece)
        whole = b"".join(parts)
        self._left = whole[size:]
        return whole[:size]

    def readinto(self, view: object) -> int:
        """Fill a buffer."""
        room = memoryview(view)  # type: ignore[arg-type]
        taken = self.read(len(room))
        room[: len(taken)] = taken
        return len(taken)


def opening(number: int) -> bytes:
    """A SYN from an address that no other has: a flood of half-open connections."""
    client = int(IPv4Address("11.0.0.0")) + number
    return ipv4(tcp(b"", flags=SYN, seq=number, ports=(1024 + number % 60_000, 443)), ends=(client.to_bytes(4), SERVER))


def short_talk(number: int) -> bytes:
    """One packet of a conversation of four that is no TLS: SYN, data, ACK, RST; the next has another port."""
    step, port = number % 4, 1024 + number // 4 % 60_000
    flags, payload = ((SYN, b""), (ACK, b"SSH-2.0-x\r\n"), (ACK, b""), (RST, b""))[step]
    return ipv4(tcp(payload, flags=flags, seq=number // 4 + bool(step), ports=(port, 80)), ends=(CLIENT, SERVER))


def peak(packets: int, make: Callable[[int], bytes]) -> int:
    """Return the peak of what Python and numpy hold while a capture is scanned."""
    tracemalloc.start()
    try:
        for _ in spread.scan_tables(Endless(packets, make), chunk_bytes=1 << 16):
            pass
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("make", "tombstone"), [(opening, 300), (short_talk, 25)])
def test_memory_grows_by_tombstones_alone(make: Callable[[int], bytes], tombstone: int) -> None:
    """A capture of 4 and of 16 times as many packets takes no more memory than so many bytes for each further packet.

    What is left of a conversation is some 60 bytes; one that is open keeps its packets and what is known of it besides.
    """
    small = peak(4_000, make)
    for times in (4, 16):
        assert peak(4_000 * times, make) - small < 4_000 * (times - 1) * tombstone


def test_a_conversation_that_is_over_leaves_some_tens_of_bytes() -> None:
    """The tables of all conversations have few and narrow columns."""
    tables = [Numbering().table, Numbering()._newest, Numbering()._pairs.keys, Undecided().table]
    widths = [sum(column.itemsize for column in table._columns.values()) for table in tables]
    assert sum(widths) <= 44
