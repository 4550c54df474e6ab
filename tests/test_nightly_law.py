"""The law of the nightly store: however captures are cut, ordered and spread, its tables are those of one pass."""

import os
import shutil
import struct
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_rotation import HEADER, NAMES, packets_of
from test_store import SAMPLES, assert_equal, ordered, parts_of, rows_of

import tlspcap
from tlspcap.nightly import processes, runner, runs, work
from tlspcap.nightly.layout import READ
from tlspcap.nightly.runner import batch
from tlspcap.nightly.store import open_store
from tlspcap.schema import TABLES
from tlspcap.spread import read_tables
from tlspcap.tables import together

EXAMPLES = int(os.environ.get("TLSPCAP_LAW_EXAMPLES", "6"))
IPV6 = b"\x86\xdd"
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


def fill_by_nights(folder: Path, parts: list[tuple[int, bytes]], nights: int, how: dict[str, Any]) -> None:
    """Have the parts of a capture come in this order, in so many nights, where a file alone makes a run full."""
    captures = folder / "captures"
    captures.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LONGEST_RUN", -1)
        for night in range(nights):
            for number, part in parts[night::nights]:
                (captures / f"ring{number:03}.pcap").write_bytes(part)
            assert batch([captures], folder / "store", **how).failed == {}


@settings(max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    cuts=st.lists(st.integers(1, 400), max_size=5),
    order=st.randoms(use_true_random=False),
    nights=st.integers(1, 4),
    how=st.sampled_from(HOW),
)
def test_runs_that_are_full_give_the_tables_of_one_pass(
    tmp_path_factory: pytest.TempPathFactory,
    dask: Any,
    name: str,
    cuts: list[int],
    order: Random,
    nights: int,
    how: str,
) -> None:
    """Runs that are full adjoin: each is read with what comes before and behind it, in whatever order that came.

    All tables are those of one pass, where no conversation lasts longer than what is read beside a run.
    """
    folder = tmp_path_factory.mktemp("seams")
    parts = list(enumerate(parts_of(name, cuts)))
    order.shuffle(parts)
    fill_by_nights(folder, parts, nights, keep(how, dask))
    assert_like_one_pass(folder / "store", [sorted((folder / "captures").iterdir())])
    assert_loose_ends_wait(folder / "store")
    assert_facts_of_files(folder / "store")


def assert_facts_of_files(store: Path) -> None:
    """The table of captures tells of each file what reading it alone tells."""
    for row in open_store(store).captures.to_dict("records"):
        alone = read_tables(row["name"], jobs=1).files[0]
        assert (row["packets"], row["unread_packets"]) == (alone.packets, sum(alone.unread.values()))
        assert (row["first_time"].value, row["last_time"].value) == (alone.first_time, alone.last_time)


@settings(max_examples=EXAMPLES // 2, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    first=st.integers(20, 120),
    steps=st.lists(st.integers(20, 120), max_size=5),
    order=st.randoms(use_true_random=False),
    nights=st.integers(1, 4),
)
def test_a_handshake_that_no_more_than_two_edges_cut_is_that_of_one_pass(
    tmp_path_factory: pytest.TempPathFactory, name: str, first: int, steps: list[int], order: Random, nights: int
) -> None:
    """With one file beside each: a handshake that lies in its file and the adjoining ones is as in one pass.

    So are its alerts and notes, and none of it is there besides; of the other handshakes none is lost.
    """
    folder = tmp_path_factory.mktemp("seams")
    cuts = list(accumulate([first, *steps]))
    parts = list(enumerate(parts_of(name, cuts)))
    order.shuffle(parts)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runner, "REACH", 0)
        fill_by_nights(folder, parts, nights, {"jobs": 1})
    found, captures = rows_of(folder / "store"), sorted((folder / "captures").iterdir())
    whole = tlspcap.read(list(map(str, captures)), jobs=1)
    assert found["handshakes"]["id"].is_unique
    assert set(whole.handshakes["id"]) <= set(found["handshakes"]["id"])
    near = ids_near(whole.handshakes, captures)
    assert len(near) > len(whole.handshakes) // 2
    halves = found["handshakes"][~found["handshakes"]["id"].isin(set(whole.handshakes["id"]))]
    assert not set(halves["client_port"]) & set(whole.handshakes.loc[whole.handshakes["id"].isin(near), "client_port"])
    for table in ("handshakes", "alerts", "notes"):
        frame = getattr(whole, table).drop(columns="handshake", errors="ignore")
        expected = ordered(frame[frame["id"].isin(near)].astype(dict(found[table].dtypes)))
        pd.testing.assert_frame_equal(ordered(found[table][found[table]["id"].isin(near)]), expected)


def ids_near(handshakes: pd.DataFrame, captures: list[Path]) -> set[str]:
    """Handshakes of which all packets of their ports lie in the file of the hello, and the one before and behind it."""
    lies_in: dict[frozenset[int], set[int]] = {}
    for number, capture in enumerate(captures):
        for packet in packets_of(capture.read_bytes()):
            lies_in.setdefault(frozenset(ports_in(packet)), set()).add(number)
    numbers = {str(capture): number for number, capture in enumerate(captures)}
    rows = zip(*(handshakes[name] for name in ("id", "capture", "client_port", "server_port")), strict=True)
    return {
        identity
        for identity, capture, client, server in rows
        if all(abs(number - numbers[capture]) <= 1 for number in lies_in[frozenset((client, server))])
    }


def ports_in(packet: bytes) -> tuple[int, ...]:
    """The ports of TCP over IP, without options or extensions, over Ethernet, in a packet with its record header."""
    begin = 16 + 14 + (40 if packet[16 + 12 : 16 + 14] == IPV6 else 20)
    return struct.unpack_from(">HH", packet, begin)


@pytest.mark.parametrize(("first_night", "gone", "second_night"), [((0, 1), 0, 2), ((1, 2), 2, 0)])
def test_a_run_of_which_captures_are_gone_is_mended(
    first_night: tuple[int, ...], gone: int, second_night: int, tmp_path: Path
) -> None:
    """It cannot be read again: its handshakes that wait at the edge get what the new capture holds of them, no others.

    Each handshake is one row, once, as in one pass; but no outcome of those that did not wait is looked at again.
    """
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    parts = parts_of("nginx-certificate.pcap", [40, 120])
    files = [captures / f"ring{number}.pcap" for number in range(3)]
    for night in (first_night, (second_night,)):
        for number in night:
            files[number].write_bytes(parts[number])
        batch([captures], store, jobs=1)
        files[gone].unlink(missing_ok=True)
    files[gone].write_bytes(parts[gone])
    found = open_store(store)
    assert found.captures["run"].nunique() == 2
    assert found.loose_ends.empty
    expected = tlspcap.read(list(map(str, files)), jobs=1).handshakes
    for column in ("id", "capture", "frame", "sni", "outcome", "completeness"):
        assert found.handshakes[column].astype(str).tolist() == expected[column].astype(str).tolist(), column


def test_a_run_stays_as_it_is_where_what_came_before_it_is_gone(tmp_path: Path) -> None:
    """Read again without the file that holds the hello of its first handshake, it would have that a second time."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    parts = parts_of("nginx-certificate.pcap", [40, 120])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LONGEST_RUN", -1)
        for number, part in enumerate(parts):
            (captures / f"ring{number}.pcap").write_bytes(part)
            batch([captures], store, jobs=1)
            if number == 1:
                (captures / "ring0.pcap").unlink()
    (captures / "ring0.pcap").write_bytes(parts[0])
    expected = tlspcap.read(sorted(map(str, captures.iterdir())), jobs=1).handshakes
    assert open_store(store).handshakes["id"].tolist() == expected["id"].tolist()


def test_a_file_that_grew_in_a_run_without_room_is_there_once(tmp_path: Path) -> None:
    """A file that was still being written belongs to its run, even where that has no room for more."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    parts = parts_of("nginx-certificate.pcap", [40, 120])
    for number, part in enumerate((parts[0], parts[1])):
        (captures / f"ring{number}.pcap").write_bytes(part)
    batch([captures], store, jobs=1)
    (captures / "ring1.pcap").write_bytes(parts[1] + parts[2][HEADER:])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LARGEST_RUN", 1)
        batch([captures], store, jobs=1)
    assert_like_one_pass(store, [sorted(captures.iterdir())])


def test_a_run_is_committed_together_with_what_is_new_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the run cannot be read again after all, the new capture waits for the next night, and nothing is half."""
    captures, store = tmp_path / "captures", tmp_path / "store"
    captures.mkdir()
    monkeypatch.setattr(runs, "LONGEST_RUN", -1)
    parts = parts_of("nginx-certificate.pcap", [40])
    attempt = work.attempt

    def fail_with_old(unit: runs.Unit, *rest: Any) -> Any:
        return attempt(unit, *rest) if unit.files[0].is_new else work.Failed(unit, "it went away")

    (captures / "ring1.pcap").write_bytes(parts[1])
    batch([captures], store, jobs=1)
    before = rows_of(store)
    (captures / "ring0.pcap").write_bytes(parts[0])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(processes, "attempt", fail_with_old)
        assert batch([captures], store, jobs=1).failed == {str(captures / "ring0.pcap"): "it went away"}
    assert_equal(rows_of(store), before)
    assert batch([captures], store, jobs=1).failed == {}
    assert_like_one_pass(store, [sorted(captures.iterdir())])


def test_captures_are_moved_when_no_other_run_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With --move-done too each run finds its neighbours, within a batch and in the next."""
    captures, done, store = tmp_path / "captures", tmp_path / "done", tmp_path / "store"
    captures.mkdir()
    monkeypatch.setattr(runs, "LONGEST_RUN", -1)
    parts = list(enumerate(parts_of("nginx-certificate.pcap", [40, 120, 200])))
    for night in (parts[:2], parts[2:]):
        for number, part in night:
            (captures / f"ring{number}.pcap").write_bytes(part)
        summary = batch([captures], store, jobs=1, move_done=done)
        assert (summary.captures, summary.moved, summary.failed) == (2, 2, {})
    for file in done.iterdir():
        file.rename(captures / file.name)
    assert_like_one_pass(store, [sorted(captures.iterdir())])
