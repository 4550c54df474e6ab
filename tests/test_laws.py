"""Laws: however a capture is cut, and whatever its bytes are, the tables are equal or say what is missing."""

import io
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tlspcap
from tlspcap import reading
from tlspcap.errors import TlspcapError
from tlspcap.schema import TABLES
from tlspcap.spread import Reading, read_tables, scan_tables

SAMPLES = Path(__file__).parent.parent / "sample_captures"
SMALL = ["intermittent-alert.pcap", "old-app.pcap", "nginx-certificate.pcap"]
WHOLE = {name: read_tables(SAMPLES / name) for name in [*SMALL, "mutual-tls.pcapng"]}
BYTES = {name: (SAMPLES / name).read_bytes() for name in SMALL}


def assert_equal_tables(one: Reading, other: Reading) -> None:
    """Every table of both readings is equal, the name of the capture aside."""
    for name in TABLES:
        left, right = (reading.frames[name].drop(columns="capture", errors="ignore") for reading in (one, other))
        pd.testing.assert_frame_equal(left, right)


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("chunk_bytes", [257, 5_000, 65_536])
def test_chunks_do_not_change_the_tables(name: str, chunk_bytes: int) -> None:
    """A capture worked through in chunks of any size gives the tables of one pass."""
    assert_equal_tables(read_tables(SAMPLES / name, chunk_bytes=chunk_bytes), WHOLE[name])


@settings(max_examples=15)
@given(name=st.sampled_from(SMALL), chunk_bytes=st.integers(100, 200_000))
def test_any_chunk_size_gives_equal_tables(name: str, chunk_bytes: int) -> None:
    """The same, for chunk sizes that nobody chose."""
    assert_equal_tables(read_tables(SAMPLES / name, chunk_bytes=chunk_bytes), WHOLE[name])


@pytest.mark.parametrize("name", list(WHOLE))
@pytest.mark.parametrize("jobs", [2, 3])
def test_processes_do_not_change_the_tables(name: str, jobs: int) -> None:
    """A capture spread over processes gives the tables of one."""
    assert_equal_tables(read_tables(SAMPLES / name, jobs=jobs), WHOLE[name])


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("rows", [1, 7])
def test_pieces_joined_are_the_whole(rows: int, jobs: int) -> None:
    """What `scan` gives in pieces is what `read` gives at once, but for the numbering."""
    name = "mutual-tls.pcapng"
    pieces = list(scan_tables(SAMPLES / name, rows=rows, jobs=jobs, chunk_bytes=20_000))
    whole = WHOLE[name]
    assert len(pieces) > 10
    assert [len(piece.files) for piece in pieces] == [0] * (len(pieces) - 1) + [1]
    handshakes = pd.concat([piece.frames["handshakes"] for piece in pieces])
    assert handshakes.index.tolist() == list(range(len(handshakes)))
    for table in ("handshakes", "records", "messages", "alerts"):
        keys = ["id"] if table == "handshakes" else ["id", "frame"]
        joined = pd.concat([piece.frames[table] for piece in pieces]).drop(columns="handshake", errors="ignore")
        expected = whole.frames[table].drop(columns="handshake", errors="ignore")
        joined, expected = (frame.sort_values(keys, kind="stable", ignore_index=True) for frame in (joined, expected))
        pd.testing.assert_frame_equal(joined, expected)


def test_pieces_are_small_however_many_handshakes_may_be_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A piece of `scan` ends where its tables have so many rows, whatever number of handshakes was asked for."""
    monkeypatch.setattr(reading, "MAX_PIECE", 200)
    pieces = list(scan_tables(SAMPLES / "mutual-tls.pcapng", chunk_bytes=20_000))
    assert len(pieces) > 10
    whole = WHOLE["mutual-tls.pcapng"].frames["handshakes"]
    assert sorted(pd.concat([piece.frames["handshakes"]["id"] for piece in pieces])) == sorted(whole["id"])


def test_a_worker_hands_on_its_error(tmp_path: Path) -> None:
    """What a capture raises in one process it raises in several."""
    path = tmp_path / "text.pcap"
    path.write_text("no capture")
    with pytest.raises(TlspcapError, match="not a packet capture"):
        read_tables(path, jobs=2)


def test_ids_do_not_depend_on_the_file_name(sample: Callable[[str], Path], tmp_path: Path) -> None:
    """A handshake keeps its identity when its capture is copied elsewhere."""
    copy = tmp_path / "renamed.bin"
    copy.write_bytes(BYTES["old-app.pcap"])
    assert tlspcap.read(copy).handshakes["id"].tolist() == WHOLE["old-app.pcap"].frames["handshakes"]["id"].tolist()


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(SMALL), data=st.data())
def test_a_capture_cut_anywhere_keeps_what_came_before(name: str, data: st.DataObject) -> None:
    """Cut at any byte, a capture still gives every handshake that was over by then, with the same verdict."""
    content = BYTES[name]
    cut = data.draw(st.integers(24, len(content)))
    reading = read_tables(io.BytesIO(content[:cut]), chunk_bytes=65_536)
    whole = WHOLE[name].frames["handshakes"].set_index("id")
    for row in reading.frames["handshakes"].to_dict("records"):
        expected = whole.loc[row["id"]]
        if row["outcome"] != "unknown":
            assert (row["outcome"], row["reason"]) == (expected["outcome"], expected["reason"])
        else:
            assert row["completeness"] == "cut_off"
    facts = reading.files[0]
    if facts.stopped_at is not None:
        notes = reading.frames["notes"]
        assert notes.loc[notes["kind"] == "truncated_file", "detail"].str.contains(f"byte {facts.stopped_at}").all()


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(SMALL), data=st.data())
def test_damaged_bytes_raise_only_documented_errors(name: str, data: st.DataObject) -> None:
    """Bytes overwritten anywhere never raise anything but the documented errors, and rows keep their closed words."""
    content = bytearray(BYTES[name][:20_000])
    for _ in range(data.draw(st.integers(1, 30))):
        at = data.draw(st.integers(0, len(content) - 1))
        patch = data.draw(st.binary(min_size=1, max_size=8))
        content[at : at + len(patch)] = patch
    try:
        reading = read_tables(io.BytesIO(bytes(content)), chunk_bytes=65_536)
    except TlspcapError:
        return
    table = reading.frames["handshakes"]
    for column in TABLES["handshakes"].columns:
        if column.values:
            assert set(table[column.name].dropna()) <= set(column.values)
    assert table["outcome"].notna().all()


@settings(max_examples=60)
@given(st.binary(max_size=2_000))
def test_random_bytes_raise_only_documented_errors(content: bytes) -> None:
    """Bytes that are no capture raise a CaptureError and nothing else, alone and behind a valid header."""
    for head in (b"", BYTES["old-app.pcap"][:24]):
        try:
            read_tables(io.BytesIO(head + content), chunk_bytes=65_536)
        except TlspcapError:
            continue
