"""The benchmarks: that they measure what they say, on captures that are what they say. No time is looked at."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import tlspcap

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import captures  # noqa: E402  # the benchmarks are programs, not a package
import growth  # noqa: E402
import race  # noqa: E402

ORIGINAL = ROOT / "lab" / "captures" / "haskell.pcap"


def outcomes(path: Path) -> Counter[tuple[str, ...]]:
    """How handshakes ended, and how many."""
    columns = ["outcome", "failure_side", "failure_mechanism", "alert", "failure_phase", "version", "completeness"]
    return Counter(tlspcap.read(path, jobs=1).handshakes[columns].astype(str).itertuples(index=False, name=None))


def test_clones_are_handshakes_of_their_own(tmp_path: Path) -> None:
    """Each clone of a capture gives the handshakes of the original, once more."""
    path = tmp_path / "clones.pcap"
    originals = [captures.Packets.of(captures.recorded(ORIGINAL))]
    captures.write(path, captures.clones(originals, 3, 0, np.random.default_rng(1)))
    once = outcomes(ORIGINAL)
    assert sum(once.values()) > 50
    assert outcomes(path) == Counter({told: 3 * count for told, count in once.items()})


def test_a_download_is_one_peaceful_connection(tmp_path: Path) -> None:
    """A download is a complete handshake, with all its bytes acknowledged, and nothing odd about it."""
    path = tmp_path / "download.pcap"
    captures.write(path, [captures.download(200_000)])
    capture = tlspcap.read(path, jobs=1)
    (row,) = capture.handshakes.to_dict("records")
    assert (row["outcome"], row["completeness"], row["retransmissions"]) == ("established", "complete", 0)
    assert path.stat().st_size > 200_000
    assert capture.notes.empty


def test_a_capture_in_other_forms_is_the_same_capture(tmp_path: Path) -> None:
    """What is written as pcapng, gzip and zstd gives the tables of the classic pcap."""
    path = tmp_path / "mixed.begun"
    captures.write(path, [captures.Packets.of(captures.recorded(ORIGINAL)), captures.requests(50)])
    captures.pack(path)
    plain = outcomes(path)
    assert plain
    for suffix in (".pcapng", ".pcap.gz", ".pcap.zst"):
        assert outcomes(path.with_suffix(suffix)) == plain


def test_growth_names_what_it_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Growth is measured on a capture of the size that it names, which is thrown away."""
    monkeypatch.setitem(growth.LARGEST, "half_open", 16 * 0.001)
    point = growth.measure("half_open", 1, tmp_path)
    assert (point.name, point.times) == ("half_open", 1)
    assert 0.1 < point.size < 0.3
    assert point.cpu > 0
    assert 5 < point.memory < 1_000
    assert not list(tmp_path.iterdir())
    assert "| half_open | 1 | 0 |" in growth.table([point])


def test_a_race_prints_a_row_for_each_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A race has a row for tlspcap and for each tool that is there, with the ratio of the wall times."""
    path = tmp_path / "small.pcap"
    path.write_bytes(ORIGINAL.read_bytes())
    monkeypatch.setattr(race, "PEERS", {"python": [sys.executable, "-c", "pass", "{}"], "none": ["no-such-tool"]})
    results = race.race(path, 1)
    assert [result.program for result in results] == ["tlspcap", "python"]
    assert results[0].ratio == 1 < results[1].ratio
    assert race.table(results, {"small.pcap": 142_819}, 1).count("| small.pcap | 0 |") == 2


def test_steps_run() -> None:
    """The micro-benchmarks run, once each."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "benchmarks/test_steps.py",
        "--benchmark-disable",
        "-q",
        "-p",
        "no:xdist",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert " passed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0
