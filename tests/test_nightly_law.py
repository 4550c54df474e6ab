"""The law of the nightly store: however captures are cut, ordered and spread, its tables are those of one pass."""

import os
import shutil
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_rotation import HEADER, NAMES, packets_of
from test_store import SAMPLES, ordered, parts_of, rows_of

import tlspcap
from tlspcap.nightly import survey
from tlspcap.nightly.layout import READ
from tlspcap.nightly.runner import batch
from tlspcap.nightly.store import open_store
from tlspcap.schema import TABLES
from tlspcap.tables import together

EXAMPLES = int(os.environ.get("TLSPCAP_LAW_EXAMPLES", "6"))
CLASSIC = b"\xd4\xc3\xb2\xa1"
HOW = ("one process", "two processes", "dask")


def keep(how: str, dask: Any) -> dict[str, Any]:
    """The arguments of a batch by which it is spread so."""
    return {"scheduler": dask.scheduler_address} if how == "dask" else {"jobs": HOW.index(how) + 1}


def assert_like_one_pass(store: Path, captures: list[Path] | list[list[Path]]) -> None:
    """The tables of a store hold the rows of reading each of these inputs in one pass."""
    read = [tlspcap.read([*map(str, one)] if isinstance(one, list) else str(one), jobs=1) for one in captures]
    found = rows_of(store)
    for name in READ:
        frames = [getattr(one, name).drop(columns="handshake", errors="ignore") for one in read]
        expected = pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]
        expected = together(TABLES[name], [expected]) if name == "certificates" else expected
        pd.testing.assert_frame_equal(found[name], ordered(expected.astype(dict(found[name].dtypes))))


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    cuts=st.lists(st.integers(1, 400), max_size=5),
    order=st.randoms(use_true_random=False),
    nights=st.lists(st.sampled_from(HOW), min_size=1, max_size=3),
)
def test_any_rotation_order_and_spread_give_the_tables_of_one_pass(
    tmp_path_factory: pytest.TempPathFactory, dask: Any, name: str, cuts: list[int], order: Random, nights: list[str]
) -> None:
    """A sample, rotated anyhow, its files coming in any order and on any night, each night spread in its own way."""
    folder = tmp_path_factory.mktemp("law")
    captures = folder / "captures"
    captures.mkdir()
    parts = list(enumerate(parts_of(name, cuts)))
    order.shuffle(parts)
    for night, how in enumerate(nights):
        for number, part in parts[night :: len(nights)]:
            (captures / f"ring{number:03}.pcap").write_bytes(part)
        batch([captures], folder / "store", **keep(how, dask))
    assert_like_one_pass(folder / "store", [sorted(captures.iterdir())])
    assert_loose_ends_wait(folder / "store")


def assert_loose_ends_wait(store: Path) -> None:
    """What is cut off waits, and nothing else does, but for what was never answered."""
    found = open_store(store)
    waiting = found.handshakes[found.handshakes["id"].isin(set(found.loose_ends["id"]))]
    assert set(found.loose_ends["id"]) <= set(found.handshakes["id"])
    assert waiting["completeness"].isin(["cut_off", "one_sided", "mid_stream"]).all()
    cut_off = found.handshakes.loc[found.handshakes["completeness"] == "cut_off", "id"]
    assert set(cut_off) <= set(waiting["id"])


def test_until_the_neighbour_comes_a_handshake_waits(tmp_path: Path) -> None:
    """Cut inside a handshake: a row that is cut off, listed among the loose ends; then one row, whole, and none."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    first, second = parts_of("nginx-certificate.pcap", [40])
    for name, part, waiting in (("ring0.pcap", first, 1), ("ring1.pcap", second, 0)):
        (captures / name).write_bytes(part)
        done = batch([captures], store, jobs=1)
        found = open_store(store)
        assert done.waiting == len(found.loose_ends) == waiting
        assert (found.handshakes["completeness"] == "cut_off").sum() == waiting
        if waiting:
            end = found.loose_ends.iloc[0]
            assert (end["edge"], end["edge_time"]) == ("end", found.captures["last_time"].iloc[0])
            assert end["series"] == str(captures / "ring.pcap")
    assert_like_one_pass(store, [sorted(captures.iterdir())])


def test_the_later_file_first_waits_for_the_earlier_one(tmp_path: Path) -> None:
    """The half without a hello is a row joined in mid-stream, which waits at its beginning and is then replaced."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    capture = (SAMPLES / "nginx-certificate.pcap").read_bytes()
    hello = int(tlspcap.read(SAMPLES / "nginx-certificate.pcap").handshakes["frame"].iloc[2])
    first, second = parts_of("nginx-certificate.pcap", [hello])
    (captures / "ring1.pcap").write_bytes(second)
    batch([captures], store, jobs=1)
    assert open_store(store).loose_ends["edge"].tolist() == ["beginning"]
    (captures / "ring0.pcap").write_bytes(first)
    batch([captures], store, jobs=1)
    assert open_store(store).loose_ends.empty
    assert_like_one_pass(store, [sorted(captures.iterdir())])
    assert len(packets_of(capture)) > hello > HEADER


@pytest.mark.parametrize("how", HOW)
def test_every_sample_in_one_night(how: str, dask: Any, tmp_path: Path) -> None:
    """All sample captures together, each an input of its own."""
    batch([SAMPLES], tmp_path / "store", **keep(how, dask))
    inputs = sorted(map(Path, open_store(tmp_path / "store").captures["name"]))
    assert len(inputs) == len([*SAMPLES.glob("*.pcap*")])
    assert_like_one_pass(tmp_path / "store", inputs)


@pytest.mark.parametrize("how", HOW)
def test_every_reference_capture_in_one_night(how: str, dask: Any, reference: Path, tmp_path: Path) -> None:
    """The same of captures that nobody here made; those that go on with one another are one input."""
    for number, file in enumerate(sorted((reference / "captures").glob("*.pcap*"))):
        if file.stat().st_size < 1 << 20 and number % 3 == HOW.index(how):  # a third each: they take their time
            shutil.copy(file, tmp_path)
    done = batch([tmp_path], tmp_path / "store", **keep(how, dask))
    assert done.failed == {}
    captures = open_store(tmp_path / "store").captures
    runs = captures[captures["run"].notna()].groupby("run")["name"]
    assert_like_one_pass(tmp_path / "store", [sorted(map(Path, names)) for _, names in runs])


@pytest.mark.parametrize("how", HOW)
def test_reference_captures_rotated(how: str, dask: Any, reference: Path, tmp_path: Path) -> None:
    """Some of them in four files each, two of which come a night earlier."""
    random = Random(how)
    whole = [f for f in sorted((reference / "captures").glob("*.pcap")) if f.read_bytes()[:4] == CLASSIC]
    chosen = random.sample([file for file in whole if 2_000 < file.stat().st_size < 100_000], 4)
    parts: list[tuple[Path, bytes]] = []
    for number, file in enumerate(chosen):
        capture = file.read_bytes()
        packets = packets_of(capture)
        edges = [0, *sorted(random.sample(range(1, len(packets)), 3)), len(packets)]
        for index in range(4):
            content = capture[:HEADER] + b"".join(packets[edges[index] : edges[index + 1]])
            parts.append((tmp_path / f"{'abcd'[number]}{index}.pcap", content))
    random.shuffle(parts)
    for night in range(2):
        for path, content in parts[night::2]:
            path.write_bytes(content)
        batch([tmp_path], tmp_path / "store", **keep(how, dask))
    assert_like_one_pass(tmp_path / "store", [sorted(tmp_path.glob(f"{letter}?.pcap")) for letter in "abcd"])


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    first=st.integers(20, 120),
    steps=st.lists(st.integers(60, 120), max_size=3),
    order=st.randoms(use_true_random=False),
    nights=st.integers(1, 3),
)
def test_runs_that_are_full_are_stitched_at_their_edges(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    first: int,
    steps: list[int],
    order: Random,
    nights: int,
) -> None:
    """Where every file is a run of its own, each handshake across two is one row, once, in whatever order they come.

    What the file at the other side of the edge would add to a handshake that does not wait is in no run
    (docs/nightly.md), so outcomes are compared of those that one pass and the store both know the outcome of.
    """
    folder = tmp_path_factory.mktemp("seams")
    captures = folder / "captures"
    captures.mkdir()
    parts = list(enumerate(parts_of(name, list(accumulate([first, *steps])))))
    order.shuffle(parts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(survey, "LONGEST_RUN", -1)
        for night in range(nights):
            for number, part in parts[night::nights]:
                (captures / f"ring{number:03}.pcap").write_bytes(part)
            batch([captures], folder / "store", jobs=1)
    store = open_store(folder / "store")
    assert store.captures["run"].nunique() == len(parts)
    found = store.handshakes.set_index("id").sort_index()
    expected = tlspcap.read(list(map(str, sorted(captures.iterdir()))), jobs=1).handshakes.set_index("id").sort_index()
    assert found.index.tolist() == expected.index.tolist()
    for column in ("sni", "negotiated_version", "cipher", "ja4", "capture", "frame", "stream"):
        assert found[column].astype(object).tolist() == expected[column].astype(object).tolist(), column
    known = ((found["outcome"] != "unknown") & (expected["outcome"] != "unknown")).to_numpy()
    assert known.sum() > len(known) // 2
    told = ["outcome", "failure_side", "failure_mechanism", "alert"]
    assert found.loc[known, told].astype(str).equals(expected.loc[known, told].astype(str))
    assert_loose_ends_wait(folder / "store")


def test_captures_are_moved_when_no_other_run_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --move-done too each run finds its neighbours, within a batch and in the next."""
    captures, done, store = tmp_path / "captures", tmp_path / "done", tmp_path / "store"
    captures.mkdir()
    monkeypatch.setattr(survey, "LONGEST_RUN", -1)
    parts = list(enumerate(parts_of("nginx-certificate.pcap", [40, 120, 200])))
    for night in (parts[:2], parts[2:]):
        for number, part in night:
            (captures / f"ring{number}.pcap").write_bytes(part)
        summary = batch([captures], store, jobs=1, move_done=done)
        assert (summary.captures, summary.moved, summary.failed) == (2, 2, {})
    for file in done.iterdir():
        file.rename(captures / file.name)
    assert_like_one_pass(store, [sorted(captures.iterdir())])
