"""Measure what a second process gives on large captures, and write the table into docs/performance.md.

    python benchmarks/cores.py [--captures FOLDER]

Wall times of the command on captures of 2 GB, by one process and by as many as there are cores, in turns, the
least of two; less what it takes on a capture without a packet, which is start-up. The captures are built, and thrown
away. It needs a machine with nothing else to do.
"""

import argparse
import os
import re
import struct
import tempfile
from pathlib import Path
from typing import NamedTuple

import captures
import processes
from race import FOLDER, PAGE, tlspcap

PART = re.compile(r"(<!-- cores -->\n).*?(<!-- end -->)", re.DOTALL)
SIZES = {"bulk": 1.7, "mixed": 4.5}  # times the usual size
HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1)  # of a classic pcap of Ethernet
RUNS = 2


class Measured(NamedTuple):
    """Least wall seconds by one process, and by several."""

    alone: float
    together: float


def measure(path: Path, jobs: int) -> Measured:
    """Read a capture, by one process and by several, by turns."""
    processes.warm(path)
    runs = [[processes.run(tlspcap(path, jobs=count)).wall for count in (1, jobs)] for _ in range(RUNS)]
    return Measured(*(min(walls) for walls in zip(*runs, strict=True)))


def of_nothing(jobs: int) -> Measured:
    """What start-up takes."""
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(HEADER)
        file.flush()
        return measure(Path(file.name), jobs)


def table(found: dict[str, tuple[float, Measured]], start: Measured, jobs: int) -> str:
    """The figures as Markdown."""
    rows = [f"| capture | MB | one process, s | {jobs} processes, s | times as fast | beyond start-up |",
            "| --- | ---: | ---: | ---: | ---: | ---: |",
            f"| no packet | 0 | {start.alone:.2f} | {start.together:.2f} | | |"]  # fmt: skip
    for name, (size, (alone, together)) in found.items():
        beyond = (alone - start.alone) / (together - start.together)
        rows.append(f"| {name} | {size:,.0f} | {alone:.2f} | {together:.2f} | {alone / together:.2f} | {beyond:.2f} |")
    return "\n".join([*rows, "", f"The least wall seconds of {RUNS} runs, by turns, on {processes.conditions()}."])


def main() -> None:
    """Build, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=Path, default=FOLDER)
    folder, jobs, found = parser.parse_args().captures, len(os.sched_getaffinity(0)), {}
    for name, times in SIZES.items():
        path = captures.find(name, folder, times)
        found[name] = path.stat().st_size / 1e6, measure(path, jobs)
        path.unlink()
    text = table(found, of_nothing(jobs), jobs)
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{text}\n{part[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
