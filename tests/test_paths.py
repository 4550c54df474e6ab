"""Two sides of one path: handshakes found again by client random, and what became of them in between."""

import io
import json
import socket
from collections import Counter
from pathlib import Path

import dpkt
import pandas as pd
import pytest
from frames import Row, established, failed, handshakes

import tlspcap
from tlspcap import cli
from tlspcap.both_ends import clocks_apart
from tlspcap.report.paths import Paths

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
        "Round trip between the points: 8.00 ms in the median (n = 17), with the first nearer to the clients; it needs "
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


# -- a path recorded at both ends, of which client, balancer and server say what became of each connection --------

CAPTURES = ROOT / "tests" / "captures"
AT_CLIENT, AT_SERVER = CAPTURES / "two-sides-client.pcap", CAPTURES / "two-sides-server.pcap"
TRUTH = {one["port"]: one for one in json.loads((CAPTURES / "two-sides.truth.json").read_text())}
# What each kind of treatment must look like: seen, ended_by, whether the answer was lost, and packets were
TREATED: dict[str, tuple[str, str | None, bool, bool]] = {
    "passed by the balancer": ("both", None, False, False),
    "closed by the balancer": ("both", "between", False, False),
    "refused by the balancer": ("first", None, False, False),
    "reset by the router": ("both", "between", True, False),
    "NAT": ("both", None, False, False),
    "first hello lost": ("both", None, False, True),
    "first answer lost": ("both", None, False, True),
    "all hellos lost": ("first", None, False, False),
    "all answers lost": ("both", "client", True, True),
}


@pytest.fixture(scope="module")
def recorded() -> Paths:
    """Join the two captures."""
    return tlspcap.paths(AT_CLIENT, AT_SERVER)


@pytest.mark.parametrize("port", TRUTH)
def test_what_the_middle_did_is_told(recorded: Paths, port: int) -> None:
    """Of each connection it is told what the middle did to it, and how it ended for either end."""
    truth = TRUTH[port]
    (row,) = (row for _, row in recorded.table.iterrows() if row["first_client_port"] == port)
    ended = None if pd.isna(row["ended_by"]) else row["ended_by"]
    lost = not pd.isna(row["lost_between"]) and row["lost_between"] > 0
    assert (row["seen"], ended, bool(row["answer_lost"]), lost) == TREATED[truth["means"]]
    assert pd.isna(row["altered"])
    assert (row["first_outcome"] == "established") == truth["client_says"].startswith("answered")
    if row["seen"] == "both":
        assert row["second_client_port"] == truth["port_behind"]
        assert (row["second_outcome"] == "established") == (truth["server_says"] == "served")
        assert ("Reset" in truth["client_says"]) == (row["first_failure_mechanism"] == "reset")


def test_the_recorded_path_in_words(recorded: Paths) -> None:
    """It is said what was lost, and by whom it was ended; nothing was altered."""
    count = Counter(TRUTH[port]["means"] for port in TRUTH)
    assert recorded.sentences[0] == f"{len(TRUTH) - 2} handshakes seen at both points, 2 only at the first."
    said = " ".join(recorded.sentences)
    between = count["reset by the router"] + count["closed by the balancer"]
    assert f"{between} handshakes ended by something between the two points" in said
    assert "3 handshakes lost packets between the points" in said
    assert "altered" not in said
    assert "at the first: close (2), reset (2)" in [line for one in recorded.said for line in one.details]


@pytest.mark.parametrize("ahead", [0.0, 2.5, -3600.0])
def test_clocks_are_told_apart_as_far_as_packets_tell(recorded: Paths, ahead: float) -> None:
    """The captures have one clock. Set one ahead, and the bounds move by as much, and hold the truth."""
    second = tlspcap.read(AT_SERVER, tables=["handshakes"]).handshakes
    second["time"] += pd.Timedelta(seconds=ahead)
    found = tlspcap.paths(AT_CLIENT, second)
    calm = found.table[found.table["lost_between"] == 0]
    bounds = clocks_apart(calm)
    assert bounds is not None
    assert bounds[0] <= 1_000 * ahead <= bounds[1]
    assert bounds[1] - bounds[0] <= calm["between_ms"].min() + 0.001
    said = found.said[-1].details[1]
    assert ("if one clock stamped both" in said) == (not ahead)
    assert ("these are two clocks" in said) == bool(ahead)


def test_the_way_takes_what_the_router_takes(recorded: Paths) -> None:
    """On one clock, behind NAT, the hello needs the 4 ms that the router keeps it, and so does the answer."""
    nat = [port for port in TRUTH if TRUTH[port]["means"] == "NAT"]
    rows = recorded.table[recorded.table["first_client_port"].isin(nat)]
    assert (rows["hello_apart_ms"] >= 4).all()
    assert (rows["between_ms"] - rows["hello_apart_ms"] >= 4).all()


def test_the_other_way_round_times_have_the_other_sign(recorded: Paths) -> None:
    """Points given in the other order tell the same, with first and second exchanged."""
    table = tlspcap.paths(AT_SERVER, AT_CLIENT).table.set_index("client_random")
    before = recorded.table.set_index("client_random").loc[table.index]
    for name in ("hello_apart_ms", "between_ms"):
        assert (-table[name]).dropna().to_numpy() == pytest.approx(before[name].dropna().to_numpy())
    assert table["ended_by"].equals(before["ended_by"])
    assert table["lost_between"].equals(before["lost_between"])
    assert table["second_client_port"].tolist() == before["first_client_port"].tolist()


def test_without_times_in_both_directions_nothing_is_said_of_clocks(recorded: Paths) -> None:
    """Where no answer passed, or no difference fits all handshakes, there are no bounds."""
    failed_only = recorded.table[recorded.table["between_ms"].isna()]
    assert clocks_apart(failed_only) is None
    torn = recorded.table.assign(hello_apart_ms=range(0, 1_000 * len(recorded.table), 1_000))
    assert clocks_apart(torn) is None
