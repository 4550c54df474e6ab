"""What a day of captures needs in cores and disk, worked out from measured figures, written into docs/nightly.md.

    python benchmarks/sizing.py NAME=CAPTURE [NAME=CAPTURE…]

Each capture stands for a kind of traffic. `tlspcap batch` reads it into an empty store, twice, with one process; the
lesser CPU time, less what a capture of one packet takes, the bytes of the capture and of the store, and the
handshakes give the rest by multiplication.
"""

import argparse
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "nightly.md"
PART = re.compile(r"(<!-- sizing -->\n).*?(<!-- end -->)", re.DOTALL)
DAY = 86_400
RATES = (1, 10, 100)  # Gbit/s, as captured, all day
RUNS = 2


class Measured(NamedTuple):
    """What reading one capture took and gave."""

    name: str
    capture: int  # bytes
    cpu: float  # seconds
    handshakes: int
    store: int  # bytes


def measure(name: str, capture: Path) -> Measured:
    """Read a capture into a store of its own."""
    times = []
    for _ in range(RUNS):
        folder = Path(tempfile.mkdtemp(prefix="sizing-"))
        try:
            command = [sys.executable, "-m", "tlspcap", "batch", str(capture), "--store", str(folder), "--jobs", "1"]
            process = subprocess.Popen([*command, "--quiet"])
            _, status, used = os.wait4(process.pid, 0)
            if status:
                raise SystemExit(f"{capture}: batch ended with status {status}")
            times.append(used.ru_utime + used.ru_stime)
            files = list(folder.glob("*/date=*/*.parquet"))
            handshakes, store = _rows(files), sum(file.stat().st_size for file in files)
        finally:
            shutil.rmtree(folder)
    return Measured(name, capture.stat().st_size, min(times), handshakes, store)


def _rows(files: list[Path]) -> int:
    from pyarrow import parquet

    return sum(parquet.read_metadata(file).num_rows for file in files if file.parts[-3] == "handshakes")


def tables(found: list[Measured]) -> str:
    """Write what was measured, and what a day needs."""
    lines = ["| traffic | CPU s a GB | handshakes a GB | store bytes a handshake |", "| --- | ---: | ---: | ---: |"]
    for one in found:
        per_gb = one.capture / 1e9
        size = f"{one.store / one.handshakes:,.0f}" if one.handshakes else "none"
        lines.append(f"| {one.name} | {one.cpu / per_gb:,.1f} | {one.handshakes / per_gb:,.0f} | {size} |")
    lines += ["", "| Gbit/s all day | captures a day | " + " | ".join(
        f"{one.name}: cores | store a day" for one in found) + " |",
        "| ---: | ---: |" + " ---: | ---: |" * len(found)]  # fmt: skip
    for rate in RATES:
        total = rate * 1e9 / 8 * DAY
        cells = [f"{_digits(one.cpu * total / one.capture / DAY)} | {_bytes(one.store * total / one.capture)}"
                 for one in found]  # fmt: skip
        lines.append(f"| {rate} | {_bytes(total)} | {' | '.join(cells)} |")
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    machine = f"{len(os.sched_getaffinity(0))} cores ({model[1] if model else 'unknown'})"
    return "\n".join([*lines, "", f"Measured on {time.strftime('%Y-%m-%d')}, {machine}; the least of {RUNS} runs."])


def _digits(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.1f}"


def _bytes(size: float) -> str:
    return f"{size / 1e12:,.1f} TB" if size >= 1e12 else f"{size / 1e9:,.1f} GB"


def nothing() -> float:
    """How long it takes to read a capture of one packet, in CPU seconds."""
    with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 1))
        file.write(struct.pack("<IIII", 0, 0, 60, 60) + bytes(60))
        file.flush()
        return measure("nothing", Path(file.name)).cpu


def main() -> None:
    """Measure, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="+", metavar="NAME=CAPTURE")
    pairs = [word.partition("=")[::2] for word in parser.parse_args().captures]
    start = nothing()
    found = [measure(name, Path(capture)) for name, capture in pairs]
    table = tables([one._replace(cpu=one.cpu - start) for one in found])
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{table}\n{part[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
