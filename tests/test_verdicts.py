"""Every verdict on every sample capture equals what both endpoints said; frames and streams equal tshark's."""

import csv
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tlspcap

SAMPLES = Path(__file__).parent.parent / "sample_captures"
CAPTURES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".pcap", ".pcapng"))
KEY = ("client_ip", "client_port", "server_ip", "server_port")
CLAIMS = {  # what the truth file calls it -> the column
    "outcome": "outcome", "version": "negotiated_version", "cipher": "cipher", "side": "failure_side",
    "mechanism": "failure_mechanism", "phase": "failure_phase",
}  # fmt: skip


@cache
def capture_of(path: Path) -> tlspcap.Capture:
    """Read a sample once for all tests."""
    return tlspcap.read(path)


def truth_of(path: Path) -> list[dict[str, Any]]:
    """What both endpoints said of each connection."""
    connections: list[dict[str, Any]] = json.loads(path.with_suffix(".truth.json").read_text())
    return connections


def plain(value: Any) -> Any:
    """A cell as the truth file would write it."""
    return None if pd.isna(value) else value


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_every_verdict_equals_the_endpoints_truth(path: Path) -> None:
    """Outcome, version, cipher, side, mechanism, phase and visible alerts are what the endpoints reported."""
    rows = {tuple(row[k] for k in KEY): row for row in capture_of(path).handshakes.to_dict("records")}
    wrong = []
    for connection in truth_of(path):
        expected = connection["expected"]
        row = rows.pop(tuple(connection[k] for k in KEY), None)
        if expected["outcome"] is None:
            wrong += [f"{connection['case']}: a row for what is no TLS"] if row else []
            continue
        assert row is not None, f"{connection['case']}: no row"
        got = {claim: plain(row[column]) for claim, column in CLAIMS.items()}
        got["alert"] = plain(row["alert"])
        want = {claim: expected[claim] for claim in CLAIMS}
        want["alert"] = None if expected["alert_sealed"] else expected["alert"]
        if got != want:
            wrong.append(f"stream {row['stream']}, {connection['case']}: got {got}, the endpoints said {want}")
    assert not wrong, "\n".join(wrong)
    assert not rows, "rows without a connection"


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_sealed_refusals_are_probable_and_what_was_seen_is_certain(path: Path) -> None:
    """A refusal that TLS 1.3 sealed is probable and unnamed; an alert in clear is certain."""
    failed = capture_of(path).handshakes.query("outcome == 'failed'")
    hidden = failed[(failed["failure_mechanism"] == "hidden_alert") & (failed["negotiated_version"] == "TLS 1.3")]
    shown = failed[failed["failure_mechanism"] == "alert"]
    assert set(hidden["certainty"]) <= {"probable"}
    assert hidden["alert"].isna().all()
    assert hidden["reason"].str.contains("inferred").all()
    assert set(shown["certainty"]) <= {"certain"}
    assert shown["alert"].notna().all()


def test_the_samples_hold_what_they_are_for() -> None:
    """The comparison above has something to compare: failures of each kind, sealed ones too."""
    table = pd.concat([capture_of(path).handshakes for path in CAPTURES])
    mechanisms = table["failure_mechanism"].value_counts()
    assert mechanisms["alert"] > 100
    assert mechanisms["hidden_alert"] > 40
    assert mechanisms["not_tls"] >= 8
    assert (table["outcome"] == "established").sum() > 150
    assert (table["outcome"] == "unknown").sum() == 0


# Samples speak TLS on port 80 too, which tshark takes for HTTP unless told, and behind STARTTLS of IRC, which it does
# not know.
SAMPLE_PORTS = ["-d", "tcp.port==80,tls", "-d", "tcp.port==6667,tls"]


def tshark_fields(
    tshark: str, path: Path, display_filter: str, *fields: str, told: Iterable[str] = SAMPLE_PORTS
) -> list[list[str]]:
    """What tshark says of the packets that a filter keeps."""
    command = [tshark, "-n", "-r", str(path), *told, "-Y", display_filter, "-T", "fields"]
    for field in fields:
        command += ["-e", field]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return [line.split("\t") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("path", CAPTURES, ids=lambda path: path.name)
def test_streams_and_frames_are_wiresharks(path: Path, tshark: str) -> None:
    """`stream` is tcp.stream; `frame` is the packet with the ClientHello's first byte, by tshark's segment list."""
    hellos: dict[int, int] = {}
    fields = ("tcp.stream", "frame.number", "tcp.segment")
    for stream, frame, segments in tshark_fields(tshark, path, "tls.handshake.type == 1", *fields):
        first = int(segments.split(",")[0]) if segments else int(frame)
        hellos.setdefault(int(stream), first)
    table = capture_of(path).handshakes
    ours = dict(zip(table["stream"].tolist(), table["frame"].tolist(), strict=True))
    missed = set(ours) - set(hellos)
    assert {stream: ours[stream] for stream in hellos} == hellos
    # tshark leaves a hello that is answered in plain HTTP to its HTTP dissector
    assert set(table.set_index("stream").loc[sorted(missed), "failure_mechanism"]) <= {"not_tls"}


def first_hellos(tshark: str, path: Path, told: list[str]) -> dict[int, int | None]:
    """The packet with the first byte of each conversation's ClientHello, else ServerHello; None for SSL 2.0 records."""
    told = [*told, "-o", "tcp.reassemble_out_of_order:TRUE"]
    fields = ("tcp.stream", "frame.number", "tcp.segment", "tls.handshake.type", "_ws.col.Protocol")
    found: dict[int, dict[str, int | None]] = {}
    for stream, frame, segments, types, protocol in tshark_fields(
        tshark, path, "tcp and tls.handshake.type in {1, 2}", *fields, told=told
    ):
        first = None if protocol == "SSLv2" else int((segments or frame).split(",")[0])
        for kind in types.split(","):
            found.setdefault(int(stream.split(",")[-1]), {}).setdefault(kind, first)
    return {stream: hellos.get("1", hellos.get("2")) for stream, hellos in found.items()}


def test_streams_and_frames_of_captures_from_elsewhere_are_wiresharks(tshark: str, reference: Path) -> None:
    """The same in reference captures: each hello that tshark finds is a row with its stream and first packet.

    TLSPCAP_TSHARK=all takes every capture, else it is one in four: tshark takes half a second to start.
    """
    with (reference / "captures.csv").open() as file:
        captures = [(row["file"], shlex.split(row["tshark_args"])) for row in csv.DictReader(file)]
    wrong = {}
    for name, told in captures if os.environ.get("TLSPCAP_TSHARK") == "all" else captures[::4]:
        path = reference / "captures" / name
        theirs = first_hellos(tshark, path, told)
        table = tlspcap.read(path).handshakes
        ours = dict(zip(table["stream"].tolist(), table["frame"].tolist(), strict=True))
        expected = {stream: frame for stream, frame in theirs.items() if frame is not None}
        if expected != {stream: frame for stream, frame in ours.items() if theirs.get(stream, 0) is not None}:
            wrong[name] = (expected, ours)
    assert not wrong


def test_clear_alerts_are_those_that_tshark_reads(tshark: str, sample: Callable[[str], Path]) -> None:
    """Every alert in clear has the frame, level and description that tshark reads."""
    path = sample("version-cipher-matrix.pcap")
    fields = ("frame.number", "tls.alert_message.level", "tls.alert_message.desc")
    theirs = {(int(f), int(d)) for f, _, d in tshark_fields(tshark, path, "tls.alert_message.desc", *fields)}
    alerts = capture_of(path).alerts.query("not encrypted")
    assert set(zip(alerts["frame"].tolist(), alerts["code"].tolist(), strict=True)) == theirs
