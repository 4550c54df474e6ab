"""Claims about the edges of full runs: files too large to be read beside them, and names that come again."""

from dataclasses import replace
from itertools import accumulate, pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_nightly_law import EXAMPLES, ports_in
from test_rotation import HEADER, NAMES, packets_of
from test_store import assert_equal, assert_no_leftovers, ordered, parts_of, rows_of

import tlspcap
from tlspcap.nightly import runs
from tlspcap.nightly.found import Found
from tlspcap.nightly.layout import READ
from tlspcap.nightly.runner import batch
from tlspcap.nightly.store import open_store

SECOND = 1_000_000_000
NOBODY = pd.DataFrame({"id": [], "edge": [], "capture": []})


def whole_of(folder: Path, parts: list[bytes], names: list[Path]) -> dict[str, pd.DataFrame]:
    """The tables of one pass over these files, each named as it was when its turn in the ring came."""
    folder.mkdir()
    files = [folder / f"{number:03}.pcap" for number in range(len(parts))]
    for file, part in zip(files, parts, strict=True):
        file.write_bytes(part)
    known_as = {str(file): str(name) for file, name in zip(files, names, strict=True)}
    capture = tlspcap.read(list(map(str, files)), jobs=1)
    tables = {name: getattr(capture, name).drop(columns="handshake", errors="ignore") for name in READ}
    for name, frame in tables.items():
        if "capture" in frame:
            tables[name] = frame.assign(capture=frame["capture"].astype(object).map(known_as))
    return tables


# -- files too large to be read beside others -------------------------------------------------------------------


def fill(folder: Path, parts: list[bytes], nights: list[list[int]], bound: int) -> tuple[Path, Path]:
    """Two stores of runs of one file each: of these parts night by night, and of all in one night."""
    captures = folder / "captures"
    captures.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LONGEST_RUN", -1)
        patched.setattr(runs, "LARGEST_CONTEXT", bound)
        for night in nights:
            for number in night:
                (captures / f"ring{number}.pcap").write_bytes(parts[number])
            assert batch([captures], folder / "nights", jobs=1).failed == {}
        batch([captures], folder / "once", jobs=1)
    return folder / "nights", folder / "once"


@pytest.mark.parametrize(("cuts", "old", "large"), [
    ([40, 660], 0, 1),  # the large one at the edge, the other behind it
    ([40, 57], 0, 2),  # the small one at the edge
    ([40, 660], 2, 1),  # the same before a run
    ([590, 610], 2, 0),
])  # fmt: skip
def test_two_new_files_at_one_edge_of_which_one_is_too_large(
    cuts: list[int], old: int, large: int, tmp_path: Path
) -> None:
    """Where both files at an edge are within the bound, rows are those of one pass; the others are cut, and wait."""
    parts = parts_of("nginx-certificate.pcap", cuts)
    bound = sum(len(part) for number, part in enumerate(parts) if number != large)
    assert len(parts[large]) > bound
    nights, once = fill(tmp_path, parts, [[old], [number for number in range(3) if number != old]], bound)
    assert_equal(rows_of(nights), rows_of(once))
    whole = tlspcap.read([*map(str, sorted((tmp_path / "captures").iterdir()))], jobs=1)
    found = rows_of(nights)
    assert found["handshakes"]["id"].is_unique
    assert set(whole.handshakes["id"]) <= set(found["handshakes"]["id"])
    near = ids_within_two(whole.handshakes, parts, alone=large)
    for table in ("handshakes", "alerts", "notes"):
        frame = getattr(whole, table).drop(columns="handshake", errors="ignore")
        expected = ordered(frame[frame["id"].isin(near)].astype(dict(found[table].dtypes)))
        pd.testing.assert_frame_equal(ordered(found[table][found[table]["id"].isin(near)]), expected)
    cut = set(whole.handshakes["id"]) - near
    assert cut
    assert cut <= set(found["loose_ends"]["id"])
    assert_no_leftovers(nights)


def test_a_file_is_read_beside_another_or_neither_is(tmp_path: Path) -> None:
    """Of three files in a row the last comes later, and would fit beside the first, but not the first beside it."""
    parts = parts_of("intermittent-alert.pcap", [24, 26, 32])[:3]  # a handshake begins in the first, ends in the last
    first, between, last = map(len, parts)
    assert last < first
    nights, once = fill(tmp_path, parts, [[0, 1], [2]], between + (first + last) // 2)
    assert_equal(rows_of(nights), rows_of(once))


def test_a_large_file_that_comes_between_two_leaves_their_rows(tmp_path: Path) -> None:
    """Two that were read beside each other stay as they were, and no handshake is lost or there twice."""
    parts = parts_of("intermittent-alert.pcap", [24, 300])
    bound = len(parts[0]) + len(parts[2])
    assert len(parts[1]) > bound
    before, _ = fill(tmp_path / "before", parts, [[0, 2]], bound)
    after, _ = fill(tmp_path / "after", parts, [[0, 2], [1]], bound)
    one, other = (rows_of(store)["handshakes"] for store in (before, after))
    kept = other[~other["capture"].str.endswith("ring1.pcap")]
    assert ordered(kept.drop(columns="capture")).equals(ordered(one.drop(columns="capture")))
    whole = tlspcap.read([*map(str, sorted((tmp_path / "after" / "captures").iterdir()))], jobs=1)
    assert other["id"].is_unique
    assert set(whole.handshakes["id"]) <= set(other["id"])


@settings(max_examples=20 * EXAMPLES)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=2, max_size=8),
    nights=st.lists(st.integers(1, 7), max_size=3),
    bound=st.integers(1, 12),
    reach=st.sampled_from([0, 1, 2, 10]),
)
def test_what_is_read_beside_a_run_does_not_depend_on_nights(
    sizes: list[int], nights: list[int], bound: int, reach: int
) -> None:
    """However large files are, that come in order of time: each run was last read with what one night would give it."""
    files = [
        Found(f"{at}.pcap", f"{at}.pcap", size, f"{at}", "series", start=at * SECOND, end=at * SECOND)
        for at, size in enumerate(sizes)
    ]
    edges = [0, *sorted({end for end in nights if end < len(files)}), len(files)]
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LONGEST_RUN", -1)
        patched.setattr(runs, "LARGEST_CONTEXT", bound)
        patched.setattr(runs, "still_there", lambda row: replace(files[int(row["digest"])], is_new=False))
        once = read_beside(files, {}, reach)
        found: dict[str, list[str]] = {}
        for low, high in pairwise(edges):
            found |= read_beside(files[low:high], {file.digest: file for file in files[:low]}, reach)
    assert found == once
    assert all(one in once[other] for one in once for other in once[one])


def read_beside(new: list[Found], stored: dict[str, Found], reach: int) -> dict[str, list[str]]:
    """What is read beside each file that is read now, where each is a run of its own."""
    rows = pd.DataFrame(
        [
            {
                "digest": file.digest, "name": file.name, "size": file.size, "run": f"run {file.digest}",
                "start": pd.Timestamp(file.start, tz="UTC"), "last_time": pd.Timestamp(file.end, tz="UTC"),
            }
            for file in stored.values()
        ],
        columns=["digest", "name", "size", "run", "start", "last_time"],
    )  # fmt: skip
    units = runs.units_of(new, rows, reach * SECOND, lambda _: NOBODY)
    assert all(len(unit.files) == 1 for unit in units)
    return {unit.files[0].digest: sorted(file.digest for file in unit.context) for unit in units}


# -- ring buffers -----------------------------------------------------------------------------------------------


def names_in_ring(captures: Path, count: int, size: int) -> list[Path]:
    """The file into which each part goes, where so many names are used again and again."""
    return [captures / f"ring{number % size}.pcap" for number in range(count)]


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    steps=st.lists(st.integers(3, 60), min_size=2, max_size=6),
    size=st.integers(1, 3),
    full=st.booleans(),
)
def test_moved_files_whose_names_come_again_give_the_tables_of_one_pass(
    tmp_path_factory: pytest.TempPathFactory, name: str, steps: list[int], size: int, full: bool
) -> None:
    """A ring of few names, each file moved when it is stored: each is found under its new name at the next edge."""
    folder = tmp_path_factory.mktemp("moved")
    captures, done, store = folder / "captures", folder / "done", folder / "store"
    captures.mkdir()
    parts = parts_of(name, list(accumulate(steps)))
    names = names_in_ring(captures, len(parts), size)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LONGEST_RUN", -1 if full else runs.LONGEST_RUN)
        for begin in range(0, len(parts), size):
            for number in range(begin, min(begin + size, len(parts))):
                names[number].write_bytes(parts[number])
            assert batch([captures], store, jobs=1, move_done=done).failed == {}
    assert [*captures.iterdir()] == []
    assert sorted(file.read_bytes() for file in done.iterdir()) == sorted(parts)
    found = rows_of(store)
    for table, expected in whole_of(folder / "whole", parts, names).items():
        pd.testing.assert_frame_equal(found[table], ordered(expected.astype(dict(found[table].dtypes))))
    assert_no_leftovers(store)


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("written", [0, 40])
def test_a_file_that_is_moved_while_it_is_written_is_read_again(
    written: int, full: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A recorder goes on writing where the file was moved to; when its name comes again, nothing is lost or doubled."""
    captures, done, store = tmp_path / "captures", tmp_path / "done", tmp_path / "store"
    captures.mkdir()
    monkeypatch.setattr(runs, "LONGEST_RUN", -1 if full else runs.LONGEST_RUN)
    parts = parts_of("nginx-certificate.pcap", [120, 180])
    name, packets = captures / "ring0.pcap", packets_of(parts[0])
    with name.open("wb") as recorder:
        recorder.write(parts[0][:HEADER] + b"".join(packets[:written]))
        recorder.flush()
        assert batch([captures], store, jobs=1, move_done=done).moved == 1
        recorder.write(b"".join(packets[written:]))
    for part in parts[1:]:
        name.write_bytes(part)
        assert batch([captures], store, jobs=1, move_done=done).moved == 1
    assert sorted(file.read_bytes() for file in done.iterdir()) == sorted(parts)
    found = rows_of(store)
    for table, expected in whole_of(tmp_path / "whole", parts, [name] * len(parts)).items():
        pd.testing.assert_frame_equal(found[table], ordered(expected.astype(dict(found[table].dtypes))))
    assert sorted(open_store(store).captures["size"]) == sorted(map(len, parts))
    assert batch([captures], store, jobs=1, move_done=done).captures == 0


@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    steps=st.lists(st.integers(3, 60), min_size=3, max_size=7),
    size=st.integers(2, 3),
    fresh=st.integers(1, 2),
    full=st.booleans(),
    move=st.booleans(),
)
def test_overwritten_files_lose_and_double_no_row(
    tmp_path_factory: pytest.TempPathFactory, name: str, steps: list[int], size: int, fresh: int, full: bool, move: bool
) -> None:
    """A ring whose oldest files are overwritten, or moved and removed, each after a batch has read it: none is lost.

    One that a single edge cuts, whose two files were there together, has the outcome of one pass.
    """
    folder = tmp_path_factory.mktemp("ring")
    captures, done, store = folder / "captures", folder / "done", folder / "store"
    captures.mkdir()
    parts = parts_of(name, list(accumulate(steps)))
    names = names_in_ring(captures, len(parts), size)
    fresh = min(fresh, size - 1)  # of two that adjoin, one is there still when the other comes
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(runs, "LONGEST_RUN", -1 if full else runs.LONGEST_RUN)
        for begin in range(0, len(parts), fresh):
            for number in range(begin, min(begin + fresh, len(parts))):
                names[number].write_bytes(parts[number])
            assert batch([captures], store, jobs=1, move_done=done if move else None).failed == {}
            for file in done.iterdir() if move else ():
                if file.read_bytes() not in parts[begin : begin + fresh]:
                    file.unlink()
    found = rows_of(store)["handshakes"]
    whole = whole_of(folder / "whole", parts, names)["handshakes"]
    assert found["id"].is_unique
    assert set(whole["id"]) <= set(found["id"])
    near = whole[whole["id"].isin(ids_within_two(whole, parts))]
    halves = found[~found["id"].isin(set(whole["id"]))]
    assert not set(halves["client_port"]) & set(near["client_port"])
    columns = ["id", "capture", "frame", "sni", "outcome", "completeness"]
    one, other = (frame.set_index("id").loc[near["id"]].reset_index()[columns].astype(str) for frame in (found, near))
    pd.testing.assert_frame_equal(one, other)


def ids_within_two(handshakes: pd.DataFrame, parts: list[bytes], alone: int | None = None) -> set[str]:
    """Handshakes whose packets all lie in one file, or in two that adjoin, none of them the one that is read alone."""
    lies_in: dict[frozenset[int], set[int]] = {}
    for number, part in enumerate(parts):
        for packet in packets_of(part):
            lies_in.setdefault(frozenset(ports_in(packet)), set()).add(number)
    ports = zip(*(handshakes[name] for name in ("id", "client_port", "server_port")), strict=True)
    spans = {identity: lies_in[frozenset((client, server))] for identity, client, server in ports}
    return {
        identity
        for identity, span in spans.items()
        if len(span) == 1 or (max(span) - min(span) == 1 and alone not in span)
    }
