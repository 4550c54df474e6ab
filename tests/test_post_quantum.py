"""Hellos with a post-quantum key share do not fit into one segment: however they are cut, they are read exactly."""

import io
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from conversation import CLIENT, SERVER, Talk
from handshake_bytes import clear_messages, tcp_streams
from packet_builder import CLIENT as CLIENT_ADDRESS
from packet_builder import SERVER as SERVER_ADDRESS
from packet_builder import ethernet, ipv4, pcap, tcp
from test_verdicts import tshark_fields

import tlspcap
from tlspcap.tls.hellos import ClientHello

CAPTURE = Path(__file__).parent / "captures" / "post-quantum-hellos.pcap"
X25519MLKEM768 = 4588
SYN, ACK = 2, 16
EXACT = ["sni", "alpn_offered", "offered_versions", "ja3", "ja4", "group"]  # ja3 holds every offered group

Arrangement = Callable[[bytes, int], list[tuple[int, bytes]]]  # of a hello and where to cut it: (offset, bytes) as sent
ARRANGEMENTS: dict[str, Arrangement] = {
    "in order": lambda hello, cut: [(0, hello[:cut]), (cut, hello[cut:])],
    "swapped": lambda hello, cut: [(cut, hello[cut:]), (0, hello[:cut])],
    "both repeated": lambda hello, cut: [(0, hello[:cut]), (0, hello[:cut]), (cut, hello[cut:]), (cut, hello[cut:])],
    "sent again as a whole": lambda hello, cut: [(0, hello[:cut]), (0, hello)],
    "second lost, then all at once": lambda hello, cut: [(cut, hello[cut:]), (0, hello)],
}


@cache
def sides() -> dict[str, tuple[bytes, bytes]]:
    """Return what each client of the capture said first, and the answer up to its ServerHello, by server name."""
    streams, found = tcp_streams(CAPTURE), {}
    for ends, stream in streams.items():
        said = clear_messages(stream)
        if said and said[0][0] == 1:
            answer = streams[ends[2:] + ends[:2]]
            name = ClientHello.parse(said[0][1]).server_name or ""
            found[name] = (stream[: _record(stream)], answer[: _record(answer)])
    return found


def _record(stream: bytes) -> int:
    return 5 + int.from_bytes(stream[3:5])


NAMES = sorted(sides())


def conversation(port: int, pieces: Iterable[tuple[int, bytes]], answer: bytes) -> Iterator[bytes]:
    """Yield the frames of a connection from its SYN to the ServerHello."""
    there, back = (port, 443), (443, port)
    yield _frame(tcp(seq=0, flags=SYN, ports=there))
    yield _frame(tcp(seq=0, ack=1, flags=SYN | ACK, ports=back), back=True)
    end = 1
    for offset, piece in pieces:
        end = max(end, 1 + offset + len(piece))
        yield _frame(tcp(piece, seq=1 + offset, ack=1, flags=ACK, ports=there))
    yield _frame(tcp(answer, seq=1, ack=end, flags=ACK, ports=back), back=True)


def _frame(segment: bytes, back: bool = False) -> bytes:
    ends = (SERVER_ADDRESS, CLIENT_ADDRESS) if back else (CLIENT_ADDRESS, SERVER_ADDRESS)
    return ethernet(ipv4(segment, ends=ends))


def read(conversations: Iterable[tuple[list[tuple[int, bytes]], bytes]]) -> pd.DataFrame:
    """Read connections, each from a port of its own, out of one capture."""
    frames = [
        frame
        for port, (pieces, answer) in enumerate(conversations, start=2_000)
        for frame in conversation(port, pieces, answer)
    ]
    return tlspcap.read(io.BytesIO(pcap(frames)), jobs=1, tables=["handshakes"]).handshakes


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("arrangement", ARRANGEMENTS)
def test_a_hello_cut_anywhere_is_read_exactly(name: str, arrangement: str) -> None:
    """Two segments, cut at each byte, in order or not, once or repeated, give what the whole gives."""
    hello, answer = sides()[name]
    step = 1 if name.startswith("chrome") else 29
    cuts = range(1, len(hello), step)
    whole = read([([(0, hello)], answer)])[EXACT].iloc[0]
    assert (whole["sni"], whole["group"]) == (name, "X25519MLKEM768")
    table = read((ARRANGEMENTS[arrangement](hello, cut), answer) for cut in cuts)
    assert len(table) == len(cuts)
    assert table[EXACT].drop_duplicates().to_dict("records") == [whole.to_dict()]


@pytest.mark.parametrize("name", NAMES)
def test_a_hello_in_tiny_segments_is_read_exactly(name: str) -> None:
    """A byte in each segment, and thirty bytes in each from the last to the first, give what the whole gives."""
    hello, answer = sides()[name]
    single = [(at, hello[at : at + 1]) for at in range(len(hello))]
    backwards = [(at, hello[at : at + 30]) for at in range(0, len(hello), 30)][::-1]
    table = read([([(0, hello)], answer), (single, answer), (backwards, answer)])
    assert len(table) == 3
    assert len(table[EXACT].drop_duplicates()) == 1


@pytest.mark.parametrize("name", NAMES)
def test_groups_and_key_shares_are_those_that_wireshark_reads(name: str, tshark: str) -> None:
    """The lists of groups and key shares are tshark's without GREASE; X25519MLKEM768 comes first among the shares."""
    fields = ("tls.handshake.extensions_supported_group", "tls.handshake.extensions_key_share_group")
    chosen = f'tls.handshake.type == 1 and tls.handshake.extensions_server_name == "{name}"'
    ((groups, shares),) = tshark_fields(tshark, CAPTURE, chosen, *fields)
    hello = ClientHello.parse(sides()[name][0][9:])
    assert hello.groups == without_grease(groups)
    assert hello.key_share_groups == without_grease(shares)
    assert hello.key_share_groups[0] == X25519MLKEM768


def without_grease(listed: str) -> tuple[int, ...]:
    """Return the codes of a comma-joined list that are no GREASE."""
    codes = [int(code, 0) for code in listed.split(",")]
    return tuple(code for code in codes if not (code & 0x0F0F == 0x0A0A and code >> 8 == code & 0xFF))


@pytest.mark.parametrize("name", NAMES)
def test_the_follower_reads_a_hello_cut_anywhere(name: str) -> None:
    """Below the packets too every cut gives the same hello, and points at the packet of its first byte."""
    hello, answer = sides()[name]
    for cut in range(1, len(hello), 97):
        account = Talk().says(CLIENT, hello[:cut]).says(CLIENT, hello[cut:]).says(SERVER, answer).account()
        assert (account.hello_first.offset, account.hello_first.frame) == (0, 1)
        assert account.hello == ClientHello.parse(hello[9:])
