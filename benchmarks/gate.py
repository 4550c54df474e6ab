"""How often `check --regression` is wrong, and how soon it finds a change: simulated years, and a power curve.

    PYTHONPATH=tests python benchmarks/gate.py healthy --years 60
    PYTHONPATH=tests python benchmarks/gate.py power --repeats 100
    PYTHONPATH=tests python benchmarks/gate.py write

Healthy nights are those of tests/simulated_nights.py: 20 servers, a weekly rhythm, nights that differ by 15 % besides,
clients in retry loops. Seeds are fixed beforehand: year or repeat number N has seed 2000 + N (those below 2000 were
seen while the test was made, so nothing is told of them). `healthy` and `power` keep what they find in docs/gate.json;
`write` makes the tables and the plot of docs/nightly.md from it.
"""

import argparse
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from simulated_nights import Servers

from tlspcap.nightly.check import NIGHTS, regressions

ROOT = Path(__file__).resolve().parent.parent
FOUND, PAGE, PLOT = ROOT / "docs" / "gate.json", ROOT / "docs" / "nightly.md", ROOT / "docs" / "gate.svg"
PART = re.compile(r"(<!-- gate -->\n).*?(<!-- end -->)", re.DOTALL)
SERVERS = 20
SEED = 2_000
SIZES = (5_000,)  # handshakes of each server in a healthy night
HISTORY = (7, 14, 28, 56)  # nights before the change
CHANGES = (1.25, 1.5, 1.75, 2.0, 3.0)  # of a failure ratio of 2 %
WATCHED = 7  # nights after it
CHANGED = "10.0.0.1:443"  # the first server


def servers(seed: int, size: int) -> Servers:
    """Servers whose ratios lie between 0.5 and 4 %."""
    random = np.random.default_rng(seed)
    return Servers(random, random.uniform(0.005, 0.04, SERVERS), size)


def alarms(table: pd.DataFrame, nights: range) -> list[list[str]]:
    """Judge some nights of a table as `check` does; tell the servers that were named on each."""
    ends = [0, *np.searchsorted(table["date"], table["date"].unique(), side="right")]
    judged = (table.iloc[ends[max(0, night - NIGHTS)] : ends[night + 1]] for night in nights)
    return [[breach.what for breach in regressions(one)] for one in judged]


def healthy(years: int) -> dict[str, Any]:
    """Count the false alarms of each healthy year."""
    return {str(size): [sum(map(len, alarms(servers(seed, size).nights(365), range(365))))
                        for seed in range(SEED + 1, SEED + years + 1)] for size in SIZES}  # fmt: skip


def nights_until_found(seed: int, history: int, change: float) -> int:
    """After how many nights a change is found, the first night being 1; 0 where it is not."""
    simulated = servers(seed, 5_000)
    simulated.ratios[0] = 0.02
    simulated.day = seed % 7  # the change comes on every weekday
    table = pd.concat([simulated.nights(history), simulated.nights(WATCHED, times=change)], ignore_index=True)
    found = alarms(table, range(history, history + WATCHED))
    return next((night for night, named in enumerate(found, 1) if CHANGED in named), 0)


def power(repeats: int) -> dict[str, Any]:
    """Find changes of different size after histories of different length."""
    seeds = range(SEED + 1, SEED + repeats + 1)
    return {f"{history} {change}": [nights_until_found(seed, history, change) for seed in seeds]
            for history in HISTORY for change in CHANGES}  # fmt: skip


def share(found: list[int], within: int) -> float:
    """Tell which share of the changes was found within so many nights."""
    return sum(0 < nights <= within for nights in found) / len(found)


def tables(kept: dict[str, Any]) -> str:
    """Write both tables."""
    lines = ["| handshakes a server and night | years | false alarms in all | years with 0, 1, 2, 3, 4, more |",
             "| ---: | ---: | ---: | --- |"]  # fmt: skip
    for size, years in kept["healthy"].items():
        counts = Counter(min(alarms, 5) for alarms in years)
        shown = ", ".join(str(counts[alarms]) for alarms in range(6))
        lines.append(f"| {int(size):,} | {len(years)} | {sum(years)} | {shown} |")
    repeats = len(next(iter(kept["power"].values())))
    lines += ["", f"Found within 1 / 3 / {WATCHED} nights, of {repeats} changes each, in percent:", "",
              "| nights before | " + " | ".join(f"2 % x {change:g}" for change in CHANGES) + " |",
              "| ---: |" + " ---: |" * len(CHANGES)]  # fmt: skip
    for history in HISTORY:
        found = [kept["power"][f"{history} {change}"] for change in CHANGES]
        cells = [" / ".join(f"{100 * share(one, within):.0f}" for within in (1, 3, WATCHED)) for one in found]
        lines.append(f"| {history} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(kept: dict[str, Any]) -> None:
    """Draw which share is found by which night."""
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "gate", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(HISTORY), figsize=(10, 2.8), layout="constrained", sharey=True)
    nights = np.arange(1, WATCHED + 1)
    for place, history in zip(axes, HISTORY, strict=True):
        for change, colour in zip(CHANGES, ("#bbbbbb", "#888888", "#56B4E9", "#0072B2", "#D55E00"), strict=True):
            found = kept["power"][f"{history} {change}"]
            shares = [100 * share(found, night) for night in nights]
            place.plot(nights, shares, "o-", markersize=3, color=colour, label=f"x {change:g}")
        place.set_title(f"{history} nights before")
        place.set_xlabel("nights since the change")
        place.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("found, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, title="2 %")
    figure.savefig(PLOT, metadata={"Date": None, "Creator": None})


def main() -> None:
    """Simulate, or write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["healthy", "power", "write"])
    parser.add_argument("--years", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    if arguments.what != "write":
        found = healthy(arguments.years) if arguments.what == "healthy" else power(arguments.repeats)
        kept = json.loads(FOUND.read_text()) if FOUND.exists() else {}
        FOUND.write_text(json.dumps({**kept, arguments.what: found}) + "\n")
        return
    kept = json.loads(FOUND.read_text())
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{tables(kept)}\n{part[2]}", PAGE.read_text()))
    plot(kept)


if __name__ == "__main__":
    main()
