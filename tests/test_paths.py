"""Two sides of one path: handshakes found again by client random, and what became of them in between."""

import io
import socket
from pathlib import Path

import dpkt
import pandas as pd
import pytest
from frames import Row, established, failed, handshakes

import tlspcap
from tlspcap import cli

ROOT = Path(__file__).parents[1]
NEAR = ROOT / "sample_captures" / "intermittent-alert.pcap"
WAY, CLOCK = 0.004, 2.5  # seconds: one way between the points, and how far the second clock is ahead
OUTSIDE = socket.inet_aton("192.0.2.77")


def far_side(lost: frozenset[int] = frozenset()) -> bytes:
    """Make the capture of a point nearer to the server, behind NAT: the client's packets later, the server's sooner.

    `lost` are client ports whose connections it does not hold.
    """
    packets = []
    with NEAR.open("rb") as file:
        for when, data in dpkt.pcap.Reader(file):
            frame = dpkt.ethernet.Ethernet(data)
            to_server = frame.data.data.dport == 443
            port = frame.data.data.sport if to_server else frame.data.data.dport
            if port in lost:
                continue
            if to_server:
                frame.data.src, frame.data.data.sport = OUTSIDE, port + 1_000
            else:
                frame.data.dst, frame.data.data.dport = OUTSIDE, port + 1_000
            packets.append((float(when) + CLOCK + (WAY if to_server else -WAY), bytes(frame)))
    out = io.BytesIO()
    writer = dpkt.pcap.Writer(out)
    for when, data in sorted(packets, key=lambda packet: packet[0]):
        writer.writepkt(data, when)
    return out.getvalue()


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the far side's capture as a file; two connections are missing in it."""
    ports = tlspcap.read(NEAR).handshakes["client_port"]
    path = tmp_path_factory.mktemp("paths") / "far.pcap"
    path.write_bytes(far_side(frozenset(int(port) for port in ports.iloc[[0, 5]])))
    return path


def pair(near: Row, far: Row) -> "pd.Series[object]":
    """Join two rows of one handshake, the first nearer to the client, and give the row of it."""
    other = established(client_random="ff", server_random="fe")
    first = handshakes(near | {"client_random": "aa", "server_hello_ms": 20.0}, other | {"server_hello_ms": 20.0})
    second = handshakes(far | {"client_random": "aa", "server_hello_ms": 12.0}, other | {"server_hello_ms": 12.0})
    table = tlspcap.paths(first, second).table
    return table[table["client_random"] == "aa"].iloc[0]


# -- captures ---------------------------------------------------------------------------------------------------


def test_handshakes_are_found_behind_nat(far: Path) -> None:
    """With other addresses, ports, times and another clock, every handshake is found again, and what is lost."""
    found = tlspcap.paths(NEAR, far)
    counts = found.table["seen"].value_counts().to_dict()
    assert counts == {"both": 18, "first": 2}
    both = found.table[found.table["seen"] == "both"]
    assert (both["readdressed"] == "client_ip,client_port").all()
    assert both["altered"].isna().all()
    assert (both["second_client_port"] - both["first_client_port"] == 1_000).all()
    assert set(both.loc[both["first_outcome"] == "failed", "ended_by"]) == {"server"}
    assert found.sentences[0] == "18 handshakes seen at both points, 2 only at the first."
    assert (
        "18 handshakes with other addresses behind (NAT or a load balancer): client_ip, client_port." in found.sentences
    )


def test_times_need_no_common_clock(far: Path) -> None:
    """The round trip between the points is found whatever the clocks; what holds their difference is said to."""
    found = tlspcap.paths(NEAR, far)
    both = found.table[found.table["seen"] == "both"]
    assert both["between_ms"].to_numpy() == pytest.approx(2_000 * WAY, abs=0.01)
    assert both["hello_apart_ms"].to_numpy() == pytest.approx(1_000 * (CLOCK + WAY), abs=0.01)
    said = found.said[-1]
    assert said.text == (
        "Round trip between the points: 8.00 ms in the median (n = 18), with the first nearer to the clients; it needs "
        "no common clock."
    )
    assert "the one-way time and the difference of the two clocks together" in said.details[0]
    assert "with the second nearer to the clients" in tlspcap.paths(far, NEAR).said[-1].text


def test_captures_of_other_connections_are_not_joined() -> None:
    """Where no random is in both, it is said what that means."""
    found = tlspcap.paths(NEAR, ROOT / "sample_captures" / "old-app.pcap")
    assert len(found.said) == 1
    assert found.sentences[0].startswith("No handshake of one is in the other (20 and 39)")


def test_the_command_joins_two_sides(far: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`compare --path` prints it, and writes JSON with its own schema."""
    assert cli.main(["compare", "--path", str(NEAR), str(far), "--json", str(tmp_path / "p.json")]) == 0
    assert "18 handshakes seen at both points" in " ".join(capsys.readouterr().out.split())
    assert '"schema": "tlspcap.paths"' in (tmp_path / "p.json").read_text()


# -- single handshakes ------------------------------------------------------------------------------------------

RESET: Row = {"failure_mechanism": "reset", "alert": None, "alert_code": None}


@pytest.mark.parametrize(
    ("near", "far", "by"),
    [
        (failed(), failed(), "server"),
        (failed(failure_side="client"), failed(failure_side="client"), "client"),
        (failed(**RESET, failure_side="server"), failed(**RESET, failure_side="client"), "between"),
        (failed(**RESET, failure_side="server"), established(), "between"),
        (established(), failed(**RESET, failure_side="client"), "between"),
        (failed(**RESET, failure_side="client"), established(), None),
        (established(), established(), None),
    ],
)
def test_who_ended_it_is_told_from_both_points(near: Row, far: Row, by: str | None) -> None:
    """What each point sees come from beyond the other comes from in between; what both see alike, from that side."""
    ended = pair(near, far)["ended_by"]
    assert (None if pd.isna(ended) else ended) == by


def test_what_was_altered_is_named() -> None:
    """A changed offer and a changed answer are named; an answer seen at one point only is lost, not altered."""
    altered = pair(
        established(server_random="11", ja4="a", sni="x"), established("TLS 1.3", server_random="22", ja4="b", sni="x")
    )
    assert altered["altered"] == "ja4,server_random,negotiated_version,cipher"
    lost = pair(established(server_random="11", ja4="a"), failed(ja4="a"))
    assert pd.isna(lost["altered"])
    assert lost["answer_lost"]
    same = pair(established(server_random="11", ja4="a"), established(server_random="11", ja4="a"))
    assert pd.isna(same["altered"])
    assert not same["answer_lost"]


def test_a_hello_that_is_sent_twice_is_joined_in_order() -> None:
    """Of equal randoms in one capture, the first in time goes with the first of the other."""
    twice = handshakes(*[established(client_random="aa") for _ in range(2)])
    table = tlspcap.paths(twice, twice.iloc[:1]).table
    assert table["seen"].tolist() == ["both", "first"]
    assert table["first_handshake"].tolist() == [0, 1]


def test_handshakes_without_a_hello_are_left_out_and_counted() -> None:
    """What has no client random cannot be found, and is said to be left out."""
    first = handshakes(established(client_random="aa"), established())
    found = tlspcap.paths(first, handshakes(established(client_random="aa")))
    assert len(found.table) == 1
    assert "without ClientHello, left out: 1 and 0" in found.said[0].details
