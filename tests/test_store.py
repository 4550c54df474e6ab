"""The nightly store: what a batch writes, what comes back, and what a crash leaves."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from random import Random

import duckdb
import pandas as pd
import polars
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from test_rotation import HEADER, moved, packets_of

import tlspcap
from tlspcap import cli
from tlspcap.errors import ArgumentError, CaptureError, StoreError
from tlspcap.nightly import layout, places, runs, writing
from tlspcap.nightly.layout import CAPTURES, READ, STORED
from tlspcap.nightly.runner import batch
from tlspcap.nightly.store import Store, open_store
from tlspcap.schema import TABLES

ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "sample_captures"
KILLS = int(os.environ.get("TLSPCAP_KILLS", "3"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of two sample captures."""
    folder = tmp_path_factory.mktemp("filled")
    captures = folder / "captures"
    captures.mkdir()
    for name in ("nginx-certificate.pcap", "old-app.pcap"):
        shutil.copy(SAMPLES / name, captures)
    batch([captures], folder / "store", jobs=1)
    return folder


def rows_of(store: Path) -> dict[str, pd.DataFrame]:
    """The tables of a store, in an order of their own."""
    found = open_store(store)
    return {name: ordered(getattr(found, name)) for name in STORED}


def ordered(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows in an order that only their content decides."""
    frame = frame.reset_index(drop=True)
    return frame.iloc[sorted(range(len(frame)), key=lambda row: repr(frame.iloc[row].tolist()))].reset_index(drop=True)


def assert_equal(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> None:
    """Tables of two stores are equal."""
    for name in STORED:
        pd.testing.assert_frame_equal(one[name], other[name])


def parts_of(name: str, cuts: list[int]) -> list[bytes]:
    """A sample as rotated files that end before the packets with these indexes."""
    capture = (SAMPLES / name).read_bytes()
    packets = packets_of(capture)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(packets)}), len(packets)]
    return [capture[:HEADER] + b"".join(packets[low:high]) for low, high in pairwise(edges)]


# -- what is written and read -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READ)
def test_what_is_read_comes_back(name: str, filled: Path) -> None:
    """The store gives the rows of `read`, with the dtypes of the schema, but for row numbers."""
    found = open_store(filled / "store").table(name)
    captures = [tlspcap.read(file) for file in sorted((filled / "captures").iterdir())]
    expected = pd.concat([getattr(capture, name) for capture in captures])
    expected = expected.drop(columns="handshake", errors="ignore")
    pd.testing.assert_frame_equal(ordered(found), ordered(expected.astype(dict(found.dtypes))))
    wanted = {c.name: c.pandas_dtype for c in TABLES[name].columns if c.name != "handshake"}
    assert {c: found[c].dtype for c in found} == {c: pd.api.types.pandas_dtype(d) for c, d in wanted.items()}


def test_handshakes_come_in_order_of_time(filled: Path) -> None:
    """Rows of all captures come in order of time, numbered as in a capture, so that the measures take them."""
    handshakes = open_store(filled / "store").handshakes
    assert handshakes["time"].is_monotonic_increasing
    assert handshakes.index.name == "handshake"
    assert tlspcap.failure_ratio(handshakes)["n"].sum() == len(handshakes)


def test_slices_are_those_of_the_whole(filled: Path) -> None:
    """Server, version and date narrow every table to the rows that a filter of the whole leaves."""
    store = open_store(filled / "store")
    whole = store.handshakes
    server, port = whole["server_ip"].iloc[0], whole["server_port"].iloc[0]
    address = f"[{server}]:{port}" if ":" in server else f"{server}:{port}"
    slice_ = store.select(server=address, version="TLS 1.2")
    kept = whole[(whole["server_ip"] == server) & (whole["server_port"] == port) & (whole["version"] == "TLS 1.2")]
    assert slice_.handshakes["id"].tolist() == kept["id"].tolist()
    assert set(slice_.alerts["id"]) == set(store.alerts["id"]) & set(kept["id"])
    shown = {sha for chain in kept["chain_sha256"].dropna() for sha in chain.split(",")}
    assert set(slice_.certificates["sha256"]) >= shown
    day = store.dates[0]
    assert len(store.select(since=day, until=day).handshakes) == (whole["time"].dt.strftime("%Y-%m-%d") == day).sum()
    assert store.select(since="2200-01-01").handshakes.empty
    assert store.select(since="2200-01-01").certificates.empty


@pytest.mark.parametrize(("counts", "groups"), [
    ([5, 1, 2, 3, 4, 2], [5, 3, 3, 6]),  # whole servers, until there are enough rows, also for what is left
    ([3, 9, 3], [3, 6, 3, 3]),  # nine are too many for one
    ([1, 1], [2]),
    ([4], [4]),
    ([], []),
])  # fmt: skip
def test_row_groups_end_where_servers_do(
    counts: list[int], groups: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of one server finds it in as few row groups as its rows need, beside rows of others if they are few."""
    monkeypatch.setattr(writing, "ENOUGH_ROWS", 3)
    monkeypatch.setattr(writing, "MOST_ROWS", 6)
    rows = pa.array([f"10.0.0.{server}" for server, count in enumerate(counts) for _ in range(count)], pa.string())
    writing.write_synced(tmp_path / "rows.parquet", pa.table({"server_ip": rows, "row": range(len(rows))}))
    found = parquet.ParquetFile(tmp_path / "rows.parquet")
    sizes = [found.metadata.row_group(group).num_rows for group in range(found.num_row_groups)]
    assert [size for size in sizes if size] == groups
    assert found.read()["row"].to_pylist() == list(range(sum(counts)))


def test_only_files_of_the_dates_wanted_are_opened(filled: Path) -> None:
    """A slice by date names no file of another date."""
    store = open_store(filled / "store")
    assert store._files("handshakes")
    assert not store.select(since="2200-01-01")._files("handshakes")


@pytest.mark.parametrize("wrong", [{"server": "nowhere"}, {"since": "some day"}, {"server": "10.0.0.1:https"}])
def test_slices_that_make_no_sense_are_argument_errors(wrong: dict[str, str], filled: Path) -> None:
    """An address or date that is none is said to be none; so is a table or column."""
    store = open_store(filled / "store")
    with pytest.raises(ArgumentError):
        store.select(**wrong)
    for name, columns in (("records", None), ("handshakes", ["nothing"])):
        with pytest.raises(ArgumentError):
            store.table(name, columns)


def test_duckdb_and_polars_read_the_store_as_it_is(filled: Path) -> None:
    """Two independent readers of Parquet count the outcomes of each date as the store itself does."""
    pattern = str(filled / "store" / "handshakes" / "**" / "*.parquet")
    expected = open_store(filled / "store").handshakes["outcome"].astype("string").value_counts().to_dict()
    counted = f"select outcome, count(*) from read_parquet('{pattern}', hive_partitioning = true) group by outcome"
    assert dict(duckdb.sql(counted).fetchall()) == expected
    frame = polars.scan_parquet(pattern, hive_partitioning=True).group_by("outcome").len().collect()
    assert dict(frame.iter_rows()) == expected
    days = duckdb.sql(f"select distinct date from read_parquet('{pattern}', hive_partitioning = true)").fetchall()
    assert sorted(str(day) for (day,) in days) == open_store(filled / "store").dates


def test_the_examples_of_the_docs_run(filled: Path) -> None:
    """The SQL for DuckDB and the code for Polars in docs/nightly.md give the store's own counts."""
    text = (ROOT / "docs" / "nightly.md").read_text().replace("/var/lib/tlspcap", str(filled / "store"))
    whole = open_store(filled / "store").handshakes
    sql = re.search(r"```sql\n(.*?)```", text, re.DOTALL)
    assert sql is not None
    found = {server: failed for _, server, failed in duckdb.sql(sql[1]).fetchall()}
    assert found == (whole["outcome"] == "failed").groupby(whole["server_ip"]).mean().to_dict()
    code = re.search(r"```python\n(import polars\n.*?)\n```", text, re.DOTALL)
    assert code is not None
    *first, last = code[1].splitlines()
    names: dict[str, object] = {}
    exec("\n".join(first), names)
    counted = eval(last, names)
    outcomes = whole["outcome"].astype("string").value_counts().to_dict()
    assert dict(counted.select("outcome", "len").iter_rows()) == outcomes


def test_a_store_of_other_columns_is_refused(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written with other columns is neither read nor added to; the message says what to do."""
    store = tmp_path / "store"
    shutil.copytree(filled / "store", store)
    monkeypatch.setattr(layout, "schema_version", lambda: "0123456789ab")
    with pytest.raises(StoreError, match=r"other columns .* into a new folder"):
        open_store(store)
    with pytest.raises(StoreError, match="other columns"):
        batch([filled / "captures"], store, jobs=1)


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    """A folder without a store, and a store whose commit point is broken, are said to be so."""
    with pytest.raises(StoreError, match="no store"):
        open_store(tmp_path)
    (tmp_path / CAPTURES).write_bytes(b"no Parquet")
    with pytest.raises(StoreError, match="cannot be read"):
        open_store(tmp_path)


# -- batches ----------------------------------------------------------------------------------------------------


def test_a_second_batch_has_nothing_to_do(filled: Path, tmp_path: Path) -> None:
    """Captures are known by content: under other names too they are not read again."""
    store, again = tmp_path / "store", tmp_path / "again"
    shutil.copytree(filled / "store", store)
    before = rows_of(store)
    shutil.copytree(filled / "captures", again)
    for file in list(again.iterdir()):
        file.rename(again / f"copy-of-{file.name}")
    done = batch([filled / "captures", again], store, jobs=1)
    assert (done.captures, done.known, done.bytes) == (0, 4, 0)
    assert_equal(rows_of(store), before)


def test_two_processes_write_what_one_writes(filled: Path, tmp_path: Path) -> None:
    """The tables do not depend on how many processes there are."""
    batch([filled / "captures"], tmp_path / "store", jobs=2)
    assert_equal(rows_of(tmp_path / "store"), rows_of(filled / "store"))


def test_a_bad_file_is_a_row_and_does_not_stop_the_night(tmp_path: Path) -> None:
    """What cannot be read is listed with its reason, once; the others are stored; hidden files are left alone."""
    captures = tmp_path / "captures"
    captures.mkdir()
    shutil.copy(SAMPLES / "old-app.pcap", captures)
    (captures / "broken.pcap").write_bytes(b"this is no capture")
    (captures / "empty.pcapng").touch()
    (captures / ".upload.pcap").write_bytes(b"half a file")
    (captures / "README").write_text("not even by name")
    done = batch([captures], tmp_path / "store", jobs=1)
    assert done.captures == 1
    assert sorted(Path(name).name for name in done.unreadable) == ["broken.pcap", "empty.pcapng"]
    listed = open_store(tmp_path / "store").captures.set_index("name")["trouble"]
    assert "not a packet capture" in listed[str(captures / "broken.pcap")]
    again = batch([captures], tmp_path / "store", jobs=1)
    assert (again.captures, again.known, again.unreadable) == (0, 3, {})
    assert len(open_store(tmp_path / "store").handshakes) == 39


@settings(max_examples=6)
@given(cuts=st.lists(st.integers(1, 400), min_size=1, max_size=4), order=st.randoms(), nights=st.integers(1, 3))
def test_rotated_files_in_any_order_of_nights_are_one_input(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], order: Random, nights: int
) -> None:
    """However a capture is rotated, and whichever of its files come in which batch, each handshake is one row, once."""
    folder = tmp_path_factory.mktemp("rotated")
    parts = parts_of("nginx-certificate.pcap", cuts)
    names = [f"ring{number:03}.pcap" for number in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        (folder / name).write_bytes(part)
    expected = tlspcap.read(folder).handshakes
    captures = folder / "captures"
    captures.mkdir()
    order.shuffle(names)
    for night in range(nights):
        for name in names[night::nights]:
            (folder / name).rename(captures / name)
        batch([captures], folder / "store", jobs=1)
    found = open_store(folder / "store").handshakes
    apart = ["capture", "id"]  # hash of the file's first packets is the same; the folder is another
    left, right = (frame.drop(columns=apart[:1]).reset_index(drop=True) for frame in (found, expected))
    pd.testing.assert_frame_equal(left, right)


def test_files_of_other_series_or_nights_are_not_joined(tmp_path: Path) -> None:
    """Two recorders' files, and those of two nights, are runs of their own."""
    captures = tmp_path / "captures"
    captures.mkdir()
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    later = capture[:HEADER] + moved(packets_of(capture), 86_400)
    for name, content in (("east1.pcap", capture), ("east2.pcap", later), ("west1.pcap", later + later[HEADER:])):
        (captures / name).write_bytes(content)
    batch([captures], tmp_path / "store", jobs=1)
    assert open_store(tmp_path / "store").captures["run"].nunique() == 3


def test_a_capture_that_was_still_written_is_replaced_when_it_has_grown(tmp_path: Path) -> None:
    """The rows of half a file give way to those of the whole."""
    captures = tmp_path / "captures"
    captures.mkdir()
    capture = (SAMPLES / "old-app.pcap").read_bytes()
    (captures / "now.pcap").write_bytes(capture[: len(capture) // 2])
    batch([captures], tmp_path / "store", jobs=1)
    assert 0 < len(open_store(tmp_path / "store").handshakes) < 39
    (captures / "now.pcap").write_bytes(capture)
    batch([captures], tmp_path / "store", jobs=1)
    store = open_store(tmp_path / "store")
    assert (len(store.handshakes), len(store.captures), store.handshakes["id"].is_unique) == (39, 1, True)


def test_done_captures_are_moved_and_still_join_their_neighbours(tmp_path: Path) -> None:
    """What is stored is moved away, and read again from there when a neighbour comes."""
    captures, done = tmp_path / "captures", tmp_path / "captures" / "done"
    captures.mkdir()
    parts = parts_of("nginx-certificate.pcap", [60, 120])
    for night, part in enumerate(parts):
        (captures / f"ring{night}.pcap").write_bytes(part)
        summary = batch([captures], tmp_path / "store", jobs=1, move_done=done)
        assert summary.moved == 1
    assert sorted(file.name for file in done.iterdir()) == ["ring0.pcap", "ring1.pcap", "ring2.pcap"]
    store = open_store(tmp_path / "store")
    whole = tlspcap.read(SAMPLES / "nginx-certificate.pcap").handshakes
    assert store.handshakes["reason"].tolist() == whole["reason"].tolist()
    assert store.captures["run"].nunique() == 1
    assert set(store.captures["moved_to"]) == {str(file) for file in done.iterdir()}


def test_since_leaves_older_captures_alone(tmp_path: Path) -> None:
    """A capture that begins before the date is neither read nor listed."""
    arguments = ["batch", str(SAMPLES / "old-app.pcap"), "--store", str(tmp_path / "store"), "--quiet"]
    assert cli.main([*arguments, "--since", "2200-01-01"]) == 0
    assert not (tmp_path / "store" / CAPTURES).exists()


@pytest.mark.parametrize("wrong", [["--timeout", "0"], ["--keylog", "nowhere"], ["--jobs", "0"], ["--since", "soon"]])
def test_settings_that_make_no_sense_are_usage_errors(wrong: list[str], tmp_path: Path) -> None:
    """They are refused before anything is read or written."""
    assert cli.main(["batch", str(SAMPLES), "--store", str(tmp_path / "store"), *wrong]) == 2
    assert not (tmp_path / "store").exists()


def test_one_batch_at_a_time(tmp_path: Path) -> None:
    """While one holds the store another is refused."""
    with writing.locked(tmp_path), pytest.raises(StoreError, match="another batch"):
        batch([SAMPLES], tmp_path, jobs=1)


def test_a_lock_goes_with_the_process_that_held_it(tmp_path: Path) -> None:
    """After kill -9 of a batch that held the lock the next one begins, and sweeps what was left."""
    program = "import sys, time, pathlib, tlspcap.nightly.writing as writing\n"
    program += "with writing.locked(pathlib.Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(600)"
    command = [sys.executable, "-c", program, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    with pytest.raises(StoreError, match="another batch"):
        batch([SAMPLES / "old-app.pcap"], tmp_path, jobs=1)
    process.kill()
    process.wait()
    process.stdout.close()
    leftovers = [tmp_path / ".staging" / "run" / "half.parquet", tmp_path / f"{CAPTURES}.new"]
    leftovers.append(tmp_path / "alerts" / "date=2026-01-01" / "0123456789abcdef0123-1.parquet")
    for file in leftovers:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"half a file")
    assert batch([SAMPLES / "old-app.pcap"], tmp_path, jobs=1).captures == 1
    assert not any(file.exists() for file in leftovers)
    assert_no_leftovers(tmp_path)


def test_a_process_that_outlives_its_batch_leaves_nothing_behind(tmp_path: Path) -> None:
    """Once the next batch has swept, what such a process goes on to write is refused, and nothing of it stays."""
    rows = tlspcap.read(SAMPLES / "old-app.pcap").handshakes
    with writing.locked(tmp_path):
        outlived = writing.Stage(writing.staging(tmp_path), "0123")
        outlived.write("handshakes", rows, lambda frame: frame["capture"])
        writing.sweep(tmp_path)
        with pytest.raises(FileNotFoundError):
            outlived.write("handshakes", rows, lambda frame: frame["capture"])
        with pytest.raises(FileNotFoundError):
            writing.Stage(outlived.root.parent, "4567")
        assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]


def test_captures_that_nobody_touched_are_not_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Size, time of change and inode as last time: not opened. Any of them another: the content decides."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    file = captures / "a.pcap"
    shutil.copy(SAMPLES / "old-app.pcap", file)
    os.utime(file, (1_000_000, 1_000_000))
    batch([captures], store, jobs=1)
    read: list[str] = []
    opening = places.open_bytes
    for module in ("places", "found"):
        monkeypatch.setattr(f"tlspcap.nightly.{module}.open_bytes", lambda path: read.append(path) or opening(path))
    assert batch([captures], store, jobs=1).known == 1
    assert read == []
    os.utime(file, (2_000_000, 2_000_000))  # touched: read once, and known from then on
    for times in (2, 2):
        assert batch([captures], store, jobs=1).known == 1
        assert len(read) == times
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(file, (3_000_000, 3_000_000))
    assert batch([captures], store, jobs=1).captures == 1
    assert len(open_store(store).captures) == 2


def test_a_capture_that_was_just_written_is_looked_at_again(tmp_path: Path) -> None:
    """What changed a moment ago may change again unnoticed within the clock's grain: it has no stamp yet."""
    captures = tmp_path / "captures"
    captures.mkdir()
    shutil.copyfile(SAMPLES / "old-app.pcap", captures / "a.pcap")
    batch([captures], tmp_path / "store", jobs=1)
    assert open_store(tmp_path / "store").captures["stamp"].isna().all()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A mistyped folder is no empty night."""
    with pytest.raises(CaptureError, match="no such folder"):
        batch([tmp_path / "nowhere"], tmp_path / "store", jobs=1)


def test_the_command_says_what_it_did(
    tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Exit code 0 and a sentence; with a bad file 3 and a line on standard error; `--json -` gives JSON alone."""
    captures = tmp_path / "captures"
    captures.mkdir()
    shutil.copy(SAMPLES / "old-app.pcap", captures)
    arguments = ["batch", str(captures), "--store", str(tmp_path / "store"), "--jobs", "1"]
    assert cli.main(arguments) == 0
    assert b"1 new captures" in capsysbinary.readouterr().out
    (captures / "broken.pcap").write_bytes(b"this is no capture")
    assert cli.main([*arguments, "--json", "-"]) == 3
    captured = capsysbinary.readouterr()
    assert list(json.load(io.BytesIO(captured.out))["unreadable"]) == [str(captures / "broken.pcap")]
    assert b"not a packet capture" in captured.err


# -- crashes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["write", "move", "commit", "remove"])
def test_a_crash_at_any_step_leaves_the_store_as_before_or_after(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step of a commit fails, readers see the tables of before or of after, and the next batch ends well."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    parts = parts_of("nginx-certificate.pcap", [60])
    (captures / "ring0.pcap").write_bytes(parts[0])
    batch([captures], store, jobs=1)
    before = rows_of(store)
    (captures / "ring1.pcap").write_bytes(parts[1])
    batch([captures], tmp_path / "other", jobs=1)
    after = rows_of(tmp_path / "other")
    broken = {"write": "write_synced", "move": "move_into_place", "commit": "_sync_folder", "remove": "_remove"}[step]

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing, broken, crash)
        with pytest.raises(KeyboardInterrupt):
            batch([captures], store, jobs=1)
    found = rows_of(store)
    assert_equal(found, after if step == "remove" else before)
    batch([captures], store, jobs=1)
    assert_equal(rows_of(store), after)
    assert_no_leftovers(store)


def assert_no_leftovers(store: Path) -> None:
    """A store holds the files of its commit, each whole, and nothing else."""
    found = Store(store)
    counted = {file for name in STORED for file in found._files(name)}
    assert {str(file) for name in STORED for file in (store / name).rglob("*.parquet")} == counted
    assert {entry.name for entry in store.iterdir()} <= {*STORED, CAPTURES, ".lock"}


@pytest.mark.parametrize("seed", range(KILLS))
def test_killed_at_any_moment_nothing_is_lost_or_doubled(
    seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 at a random moment, then again; a last batch gives the tables of one that was never killed.

    Some captures came a night before; in every second case each is a run of its own that is read again with the others.
    """
    captures, store, random = tmp_path / "captures", tmp_path / "store", Random(seed)
    captures.mkdir()
    limit = f"runs.LONGEST_RUN = {-1 if seed % 2 else runs.LONGEST_RUN}"
    monkeypatch.setattr(runs, "LONGEST_RUN", -1 if seed % 2 else runs.LONGEST_RUN)
    for night in (1, 0):
        for name in ("nginx-certificate.pcap", "old-app.pcap", "intermittent-alert.pcap"):
            for number, part in list(enumerate(parts_of(name, [50, 100])))[night::2]:
                (captures / f"{Path(name).stem}{number}.pcap").write_bytes(part)
        if night:
            batch([captures], store, jobs=1)
    batch([captures], tmp_path / "whole", jobs=1)
    call = f"batch([{str(captures)!r}], {str(store)!r}, jobs={1 + seed // 2 % 2})"
    started = f"import pandas, pyarrow.parquet, tlspcap.spread; from tlspcap.nightly import runs; {limit}; "
    program = f"{started} from tlspcap.nightly.runner import batch; print('started', flush=True); {call}"
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(random.random() * 1.5)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        process.stdout.close()
        assert open_store(store).handshakes["id"].is_unique
    batch([captures], store, jobs=1)
    assert_equal(rows_of(store), rows_of(tmp_path / "whole"))
    assert_no_leftovers(store)


def test_a_full_disk_leaves_the_store_whole(tmp_path: Path) -> None:
    """Where the disk is full the batch says so, and what was committed before stays; needs a small tmpfs."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a small tmpfs")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)], check=False)
    if mounted.returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        with pytest.raises(OSError, match="No space"):
            batch([SAMPLES], disk / "store", jobs=1)
        if (disk / "store" / CAPTURES).exists():
            assert open_store(disk / "store").handshakes["id"].is_unique
            assert_no_leftovers(disk / "store")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
