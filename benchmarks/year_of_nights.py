"""A simulated year of nights: make a store by sampling, and measure what `trend` takes on it.

    python benchmarks/year_of_nights.py make FOLDER [--handshakes 20000000]
    python benchmarks/year_of_nights.py measure FOLDER [FOLDER…]

A store has 365 nights of 20 addresses. Its rows are drawn, with replacement, from those of the sample captures; times,
identities, random values, addresses, ports and durations are drawn anew, so that they compress as real ones do. It is
written by the code that `batch` writes with. `measure` runs each command as a process of its own, twice, and writes the
least of each and a plot into docs/nightly.md. Delete the folders afterwards: a year takes some gigabytes.
"""

import argparse
import functools
import operator
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import processes

import tlspcap
from tlspcap.nightly import layout, writing
from tlspcap.version import __version__

ROOT = Path(__file__).resolve().parent.parent
PAGE, PLOT = ROOT / "docs" / "nightly.md", ROOT / "docs" / "year_of_nights.svg"
PART = re.compile(r"(<!-- year of nights -->\n).*?(<!-- end -->)", re.DOTALL)
FIRST = pd.Timestamp("2025-11-01", tz="UTC")
NIGHTS, SERVERS, CLIENTS = 365, 20, 2_000
OUTCOMES = {"established": 0.97, "failed": 0.02, "unknown": 0.01}
SEED = 365
RUNS = 2
MONTH = ("--days", "30")
YEAR = ("--days", "365")


# -- making -----------------------------------------------------------------------------------------------------


class Pool(NamedTuple):
    """What is drawn from: the handshakes of the samples, their alerts by handshake, and their certificates."""

    handshakes: pd.DataFrame
    alerts: pd.DataFrame
    first_alert: np.ndarray[Any, Any]  # of each handshake, its place in `alerts`; as many as `alerts`: none
    certificates: pd.DataFrame
    chances: np.ndarray[Any, Any]  # of each handshake, to be drawn


def pool() -> Pool:
    """Read the samples."""
    captures = [tlspcap.read(path, tables=["handshakes", "alerts", "certificates"])
                for path in sorted((ROOT / "sample_captures").glob("*.pcap"))]  # fmt: skip
    handshakes = pd.concat([capture.handshakes for capture in captures], ignore_index=True)
    alerts = pd.concat([capture.alerts for capture in captures], ignore_index=True)
    alerts = alerts.drop_duplicates("id", ignore_index=True)
    certificates = pd.concat([capture.certificates for capture in captures], ignore_index=True)
    place = pd.Series(alerts.index, index=alerts["id"]).reindex(handshakes["id"])
    return Pool(handshakes, alerts, place.fillna(len(alerts)).to_numpy(np.int64),
                certificates.drop_duplicates("sha256", ignore_index=True), _chances(handshakes["outcome"]))  # fmt: skip


def _chances(outcome: "pd.Series[str]") -> "np.ndarray[Any, Any]":
    """Draw outcomes as often as a healthy night has them; the samples hold more failures."""
    counts = outcome.value_counts()
    shares = outcome.astype(str).map({name: OUTCOMES[name] / counts[name] for name in OUTCOMES if counts[name]})
    return (shares / shares.sum()).to_numpy(np.float64)


def night(pool: Pool, random: np.random.Generator, day: int, size: int) -> dict[str, pd.DataFrame]:
    """Draw one night's tables."""
    drawn = random.choice(len(pool.handshakes), size, p=pool.chances)
    start = FIRST + pd.Timedelta(days=day)
    rows = pool.handshakes.iloc[drawn].reset_index(drop=True)
    server, client = random.integers(0, SERVERS, size), random.integers(0, CLIENTS, size)
    ids, values = _hex(random, size, 8), _hex(random, 2 * size, 32)
    stretched = random.lognormal(0, 0.3, size)
    durations = [name for name in rows if str(name).endswith("_ms")]
    rows[durations] = rows[durations].mul(stretched, axis=0)
    rows = rows.assign(
        id=ids, time=start + pd.to_timedelta(np.sort(random.integers(0, 86_400 * 10**9, size))),
        stream=np.arange(size), frame=np.arange(size) * 12 + 1, capture=f"night-{day:03}.pcap",
        server_ip=_text("10.0.0.", server), client_ip=_text("10.1.", client // 250, ".", client % 250),
        client_port=random.integers(20_000, 60_000, size).astype(np.int32), client_random=values[:size],
        server_random=pd.array(values[size:], "string"),
    )  # fmt: skip
    with_alert = np.flatnonzero(pool.first_alert[drawn] < len(pool.alerts))
    alerts = pool.alerts.iloc[pool.first_alert[drawn[with_alert]]].reset_index(drop=True)
    own = rows.iloc[with_alert].reset_index(drop=True)
    alerts = alerts.assign(**{name: own[name] for name in ("id", "time", "stream", "frame", "capture")})
    return {"handshakes": rows, "alerts": alerts, "certificates": pool.certificates.assign(first_seen=start)}


def _hex(random: np.random.Generator, count: int, size: int) -> "pd.Series[str]":
    text = random.bytes(count * size).hex()
    return pd.Series([text[at : at + 2 * size] for at in range(0, len(text), 2 * size)], dtype="string")


def _text(*parts: Any) -> "pd.Series[str]":
    texts = [part if isinstance(part, str) else pd.Series(part).astype("string") for part in parts]
    return functools.reduce(operator.add, texts)


def make(folder: Path, handshakes: int) -> None:
    """Make a store of a year."""
    drawn_from, random = pool(), np.random.default_rng(SEED)
    sizes = np.diff(np.linspace(0, handshakes, NIGHTS + 1).round().astype(int))
    stages, captures = [], []
    for day, size in enumerate(sizes):
        run = f"{day:016x}"
        stage = writing.Stage(writing.staging(folder), run)
        for name, frame in night(drawn_from, random, day, int(size)).items():
            stage.write(name, frame, lambda frame: pd.Series("", frame.index))
        stages.append(stage.root)
        start = FIRST + pd.Timedelta(days=day)
        captures.append({
            "digest": f"{day:064x}", "name": f"night-{day:03}.pcap", "size": 0, "series": "night-.pcap", "run": run,
            "tlspcap_version": __version__, "schema_version": layout.schema_version(), "start": start,
            "first_time": start, "last_time": start, "packets": 12 * int(size), "unread_packets": 0,
        })  # fmt: skip
    writing.commit(folder, captures, set(), stages)


# -- measuring --------------------------------------------------------------------------------------------------


class Cost(NamedTuple):
    """What one run of a command took."""

    seconds: float
    cpu: float
    peak: float  # MB


def cost(command: list[str]) -> Cost:
    """Run a command to its end."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen([sys.executable, "-m", "tlspcap", *command], stdout=out, env=processes.ENVIRONMENT)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)}: ended with status {status}")
    return Cost(time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def least(costs: list[Cost]) -> Cost:
    """The least of each: what else the machine does only adds."""
    return Cost(*(min(column) for column in zip(*costs, strict=True)))


def measure(folders: list[Path]) -> None:
    """Measure stores, the smallest first, and write what came of it."""
    one = ("--server", "10.0.0.7:443")
    questions = {"one server, 30 nights": (*one, *MONTH), "one server, the year": (*one, *YEAR),
                 "all servers, the year": YEAR}  # fmt: skip
    found, sizes, counts = {}, [], []
    for folder in folders:
        files = sorted(folder.glob("*/date=*/*.parquet"))
        sizes.append(sum(file.stat().st_size for file in files) / 1e9)
        counts.append(_rows([file for file in files if file.parts[-3] == "handshakes"]))
    for folder, count in zip(folders, counts, strict=True):
        for name, options in questions.items():
            costs = [cost(["trend", "--store", str(folder), *options]) for _ in range(RUNS)]
            found[name, count] = least(costs)
    table = _table(counts, sizes, list(questions), found)
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{table}\n{part[2]}", PAGE.read_text()))
    _plot(counts, sizes, list(questions), found)


def _rows(files: list[Path]) -> int:
    from pyarrow import parquet

    return sum(parquet.read_metadata(file).num_rows for file in files)


def _table(counts: list[int], sizes: list[float], names: list[str], found: dict[tuple[str, int], Cost]) -> str:
    lines = [
        "| handshakes | store GB | bytes a handshake |" + "".join(f" {name}: s | CPU s | MB |" for name in names),
        "| ---: | ---: | ---: |" + " ---: | ---: | ---: |" * len(names),
    ]
    for count, size in zip(counts, sizes, strict=True):
        cells = [f"{c.seconds:.1f} | {c.cpu:.1f} | {c.peak:,.0f}" for c in (found[name, count] for name in names)]
        lines.append(f"| {count:,} | {size:.2f} | {size * 1e9 / count:,.0f} | {' | '.join(cells)} |")
    cores = len(os.sched_getaffinity(0))
    return "\n".join([*lines, "", f"The least of {RUNS} runs on {time.strftime('%Y-%m-%d')}, {cores} cores."])


def _plot(counts: list[int], sizes: list[float], names: list[str], found: dict[tuple[str, int], Cost]) -> None:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "year", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 3, figsize=(10, 3), layout="constrained")
    millions = [count / 1e6 for count in counts]
    axes[0].plot(millions, sizes, "o-", color="#0072B2")
    axes[0].set_title("store, GB")
    for name, colour in zip(names, ("#8C8C8C", "#0072B2", "#D55E00"), strict=True):
        axes[1].plot(millions, [found[name, count].seconds for count in counts], "o-", color=colour, label=name)
        axes[2].plot(millions, [found[name, count].peak for count in counts], "o-", color=colour)
    axes[1].set_title("trend, seconds")
    axes[1].legend(frameon=False)
    axes[2].set_title("trend, MB at most")
    for one in axes:
        one.set_xlabel("million handshakes in the year")
        one.set_ylim(bottom=0)
        one.set_xlim(left=0)
        one.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLOT, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Make a store, or measure some."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["make", "measure"])
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--handshakes", type=int, default=20_000_000, metavar="N")
    arguments = parser.parse_args()
    if arguments.what == "make":
        make(arguments.folders[0], arguments.handshakes)
    else:
        measure(arguments.folders)


if __name__ == "__main__":
    main()
