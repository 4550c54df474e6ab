"""The tables keep the contract: columns, dtypes, closed lists; through concatenation and Parquet too."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest

import tlspcap
from tlspcap import tables
from tlspcap.errors import ArgumentError
from tlspcap.schema import TABLES
from tlspcap.tls import verdict


@pytest.fixture(scope="module")
def capture(sample: Callable[[str], Path]) -> tlspcap.Capture:
    """A capture with certificates, alerts and notes in it."""
    return tlspcap.read(sample("nginx-certificate.pcap"))


@pytest.mark.parametrize("name", list(TABLES))
def test_columns_and_dtypes_are_the_schemas(name: str, capture: tlspcap.Capture) -> None:
    """Every table has the declared columns in order, with the declared dtypes, full or empty."""
    declared = {c.name: c.pandas_dtype for c in TABLES[name].columns}
    for frame in (capture.tables[name], tables.empty(name)):
        assert frame.columns.tolist() == list(declared)
        assert {c: frame[c].dtype for c in frame} == {c: pd.api.types.pandas_dtype(d) for c, d in declared.items()}
        assert frame.index.name == TABLES[name].index


@pytest.mark.parametrize("name", list(TABLES))
def test_a_parquet_round_trip_keeps_every_dtype(name: str, capture: tlspcap.Capture) -> None:
    """Written and read back, a table is equal in values and dtypes; an independent reader sees the same rows."""
    frame, buffer = capture.tables[name], io.BytesIO()
    frame.to_parquet(buffer)
    pd.testing.assert_frame_equal(pd.read_parquet(buffer, dtype_backend="numpy_nullable").astype(frame.dtypes), frame)
    assert pyarrow.parquet.read_table(buffer).num_rows == len(frame)


def test_concatenation_keeps_dtypes(capture: tlspcap.Capture) -> None:
    """Tables of two captures joined keep their categories."""
    joined = pd.concat([capture.handshakes, capture.handshakes])
    assert joined.dtypes.equals(capture.handshakes.dtypes)


def test_handshakes_are_numbered_in_order_of_time(capture: tlspcap.Capture) -> None:
    """The index counts from 0 in order of time, then frame, and the other tables refer to it."""
    frame = capture.handshakes
    assert frame.index.tolist() == list(range(len(frame)))
    assert frame[["time", "frame"]].apply(tuple, axis=1).is_monotonic_increasing
    assert frame["id"].is_unique
    for name in ("records", "messages", "alerts"):
        other = capture.tables[name]
        assert (frame["id"].to_numpy()[other["handshake"].to_numpy()] == other["id"].to_numpy()).all()


def test_the_parts_of_the_time_add_up(capture: tlspcap.Capture) -> None:
    """client_ms, server_ms and transfer_ms partition handshake_ms, and the round trip is the sum of its halves."""
    frame = capture.handshakes
    parts = frame["client_ms"] + frame["server_ms"] + frame["transfer_ms"]
    assert frame["handshake_ms"].notna().any()
    np.testing.assert_allclose(parts, frame["handshake_ms"], atol=1e-9)
    np.testing.assert_allclose(frame["client_rtt_ms"] + frame["server_rtt_ms"], frame["tcp_rtt_ms"])
    timed = frame["handshake_ms"].notna()
    assert (frame["connect_ms"] >= frame["handshake_ms"])[timed].all()


def test_tables_that_were_not_asked_for_are_not_built(sample: Callable[[str], Path]) -> None:
    """`tables=` builds just those; asking for another says how to get it; an unknown name is an error."""
    capture = tlspcap.read(sample("old-app.pcap"), tables=["alerts"])
    assert set(capture.tables) == {"handshakes", "alerts"}
    with pytest.raises(ArgumentError, match="tables="):
        _ = capture.records
    with pytest.raises(ArgumentError, match="handshakes, records"):
        tlspcap.read(sample("old-app.pcap"), tables=["flows"])


def test_a_capture_without_tls_says_what_was_there(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    """No handshake: an empty table, and a note with packets, conversations and top ports."""
    path = tmp_path / "nothing.pcap"
    path.write_bytes(sample("old-app.pcap").read_bytes()[: 24 + 3 * 96])  # a TCP handshake and no more
    capture = tlspcap.read(path)
    assert capture.handshakes.empty
    (detail,) = capture.notes.loc[capture.notes["kind"] == "no_tls", "detail"]
    assert "packets" in detail
    assert "1 TCP conversations, top server ports: 443 (1)" in detail


def test_tls_to_a_plain_port_and_http_to_a_tls_port_are_notes(capture: tlspcap.Capture) -> None:
    """Each conversation that spoke the wrong protocol has its note, with the frame to look at."""
    notes = capture.notes.groupby("kind", observed=True).size().to_dict()
    assert notes == {"tls_to_plain_port": 8, "http_on_tls_port": 4}
    assert capture.notes["frame"].notna().all()


def test_a_clock_that_steps_back_is_a_note(tmp_path: Path, sample: Callable[[str], Path]) -> None:
    """Packet times that run backwards are said once, with how far; verdicts stay."""
    content = bytearray(sample("old-app.pcap").read_bytes())
    second = int.from_bytes(content[24:28], "little")
    content[24:28] = (second + 5).to_bytes(4, "little")  # the first packet, five seconds late
    path = tmp_path / "stepped.pcap"
    path.write_bytes(content)
    stepped = tlspcap.read(path)
    assert stepped.notes["kind"].tolist() == ["clock_stepped_back"]
    assert stepped.handshakes["outcome"].tolist() == tlspcap.read(sample("old-app.pcap")).handshakes["outcome"].tolist()


def test_a_selection_narrows_the_rows(sample: Callable[[str], Path]) -> None:
    """Host, port, name and time keep the handshakes that fit, and nothing else changes."""
    path = sample("old-app.pcap")
    everything = tlspcap.read(path).handshakes
    middle = everything["time"].iloc[len(everything) // 2]
    client = everything["client_ip"].iloc[0]
    by_host = tlspcap.read(path, select=tlspcap.Selection(host=client)).handshakes
    assert by_host["id"].tolist() == everything.loc[everything["client_ip"] == client, "id"].tolist()
    late = tlspcap.read(path, select=tlspcap.Selection(since=middle)).handshakes
    early = tlspcap.read(path, select=tlspcap.Selection(until=middle)).handshakes
    assert len(early) + len(late) == len(everything)
    name = everything["sni"].dropna().iloc[0]
    named = tlspcap.read(path, select=tlspcap.Selection(sni=name.upper())).handshakes
    assert len(named) == (everything["sni"] == name).sum()
    assert tlspcap.read(path, select=tlspcap.Selection(port=1)).handshakes.empty


@pytest.mark.parametrize(
    ("column", "enum"),
    [
        ("outcome", verdict.Outcome), ("certainty", verdict.Certainty), ("failure_phase", verdict.Phase),
        ("failure_side", verdict.Party), ("failure_mechanism", verdict.Mechanism),
        ("completeness", verdict.Completeness),
    ],
)  # fmt: skip
def test_verdict_words_are_the_schemas_lists(column: str, enum: type) -> None:
    """The closed list of a verdict column is the enum that the rules use."""
    assert list(TABLES["handshakes"][column].values) == [member.value for member in enum]  # type: ignore[attr-defined]
