"""Measure how time and memory grow with a capture, and write the table and the plot of docs/performance.md.

    python benchmarks/growth.py [--captures FOLDER]

Handshakes from 1 to 16 times some 3,600, downloads from 1 to 16 times 75 MB, one conversation alone from 1 to 16 times
25 MB, and up to a million connections that open and stay silent. One process, so that what it takes is not hidden by
the second; CPU time of the whole process, and its peak memory.
"""

import argparse
import re
from pathlib import Path
from typing import NamedTuple

import captures
import processes
from race import FOLDER, PAGE, tlspcap

PLOT = PAGE.with_name("growth.svg")
PART = re.compile(r"(<!-- growth -->\n).*?(<!-- end -->)", re.DOTALL)
TIMES = (1, 2, 4, 8, 16)
LARGEST = {"dense": 16 / 14, "bulk": 1.0, "one_flow": 1.0, "half_open": 1.0}  # size at 16 times, of the usual one


class Point(NamedTuple):
    """What one capture took."""

    name: str
    times: int
    size: float  # MB
    cpu: float  # s, with start-up
    memory: float  # MB


def measure(name: str, times: int, folder: Path) -> Point:
    """Build a capture, read it in one process, and throw it away."""
    path = captures.find(name, folder, LARGEST[name] * times / 16 * 0.9999)  # never the one that is kept
    command = tlspcap(path, jobs=1)
    processes.warm(path)
    cpu = min(processes.run(command).cpu for _ in range(2))
    point = Point(name, times, path.stat().st_size / 1e6, cpu, processes.memory(command))
    path.unlink()
    return point


def table(points: list[Point]) -> str:
    """The points as Markdown."""
    rows = ["| capture | times | MB | CPU s | memory MB |", "| --- | ---: | ---: | ---: | ---: |"]
    rows += [f"| {name} | {times} | {size:,.0f} | {cpu:.1f} | {peak:,.0f} |" for name, times, size, cpu, peak in points]
    return "\n".join([*rows, "", f"The lesser of two runs, one process, on {processes.conditions()}."])


def draw(points: list[Point]) -> None:
    """Draw CPU time and memory against the size."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "growth"
    from matplotlib import pyplot as plt

    figure, (time, memory) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for name in dict.fromkeys(point.name for point in points):
        of_it = [point for point in points if point.name == name]
        times = [point.times for point in of_it]
        time.plot(times, [point.cpu for point in of_it], marker="o", label=name)
        memory.plot(times, [point.memory for point in of_it], marker="o", label=name)
    time.set(xlabel="times the capture", ylabel="CPU time, s", ylim=(0, None))
    memory.set(xlabel="times the capture", ylabel="peak memory, MB", ylim=(0, None))
    time.legend(frameon=False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Measure, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=Path, default=FOLDER, metavar="FOLDER", help="where they may lie meanwhile")
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    arguments = parser.parse_args()
    points = [measure(name, times, arguments.captures) for name in LARGEST for times in TIMES]
    told = table(points)
    print(told)
    if not arguments.dry:
        PAGE.write_text(PART.sub(lambda part: f"{part[1]}{told}\n{part[2]}", PAGE.read_text()))
        draw(points)


if __name__ == "__main__":
    main()
