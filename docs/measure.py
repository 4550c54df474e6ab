"""Measure tlspcap beside tshark on captures, and write the medians into docs/performance.md.

    python docs/measure.py CAPTURE [CAPTURE…]

Whole processes, by turns, the captures in the page cache. Needs Linux (/proc) and tshark.
"""

import argparse
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PAGE = Path(__file__).resolve().parent / "performance.md"
PART = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
RUNS = 3
SAMPLE_SECONDS = 0.05
CHUNK = 1 << 24
# What one would ask tshark for to judge handshakes by hand; it takes as long for each packet, asked for or not.
FIELDS = (
    "frame.time_epoch", "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
    "tls.record.content_type", "tls.handshake.type", "tls.handshake.version",
    "tls.handshake.extensions.supported_version", "tls.handshake.ciphersuite",
    "tls.handshake.extensions_server_name", "tls.alert_message.level", "tls.alert_message.desc",
)  # fmt: skip
HEAD = (
    "| capture | MB | tlspcap wall s | CPU s | memory MB | tshark wall s | CPU s | memory MB | wall, ours to theirs |"
)


class Run(NamedTuple):
    """What one run of a program took, in seconds."""

    wall: float
    cpu: float  # of the process and its children


def tlspcap(capture: str) -> list[str]:
    """Give the command that writes the handshakes table."""
    options = ["--table", "handshakes", "--format", "csv", "-o", os.devnull, "--quiet"]
    return [sys.executable, "-m", "tlspcap", "table", capture, *options]


def tshark(capture: str) -> list[str]:
    """Give the command that prints the fields of every packet with a handshake message or an alert."""
    wanted = [word for field in FIELDS for word in ("-e", field)]
    return ["tshark", "-n", "-r", capture, "-Y", "tls.handshake or tls.alert_message", "-T", "fields", *wanted]


def run(command: list[str]) -> Run:
    """Run a command to its end."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(wall, used)


def memory(command: list[str]) -> float:
    """Give the largest memory of a command's process tree, in MB; a run of its own, as watching slows it down."""
    process, peak = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), 0.0
    while process.poll() is None:
        peak = max(peak, _tree_memory(process.pid))
        time.sleep(SAMPLE_SECONDS)
    return peak


def _tree_memory(root: int) -> float:
    """Sum the proportional set sizes of a process and all below it, in MB."""
    family, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        family.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += [int(child) for child in _read(children).split()]
    sizes = (re.search(r"^Pss:\s+(\d+)", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE) for pid in family)
    return sum(int(size[1]) for size in sizes if size) / 1024


def _read(path: Path) -> str:
    """Read a file of /proc; a process that has ended gives nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""


def measure(capture: Path) -> str:
    """Race both programs on one capture, and give the row of the table."""
    with open(capture, "rb", buffering=0) as file:  # into the page cache
        while file.read(CHUNK):
            pass
    commands = (tlspcap(str(capture)), tshark(str(capture)))
    runs = [[run(command) for command in commands] for _ in range(RUNS)]
    cells = [f"{_medians([turn[side] for turn in runs])} | {memory(commands[side]):,.0f}" for side in (0, 1)]
    ratio = statistics.median(ours.wall / theirs.wall for ours, theirs in runs)
    return f"| {capture.name} | {capture.stat().st_size / 1e6:,.0f} | {' | '.join(cells)} | 1/{1 / ratio:.1f} |"


def _medians(runs: list[Run]) -> str:
    wall, cpu = (statistics.median(run[column] for run in runs) for column in range(2))
    return f"{wall:.2f} | {cpu:.2f}"


def conditions() -> str:
    """Say on what was measured."""
    version = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    model = re.search(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    machine = f"{len(os.sched_getaffinity(0))} cores ({model[1] if model else platform.machine()})"
    programs = f"Python {platform.python_version()}, tshark {version.strip('.')}"
    return f"Medians of {RUNS} runs on {time.strftime('%Y-%m-%d')}, {machine}, {programs}."


def main() -> None:
    """Measure, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", nargs="+", type=Path, metavar="CAPTURE")
    captures = parser.parse_args().captures
    if shutil.which("tshark") is None:
        parser.error("tshark is not installed; on Debian and Ubuntu: apt install tshark")
    rows = [HEAD, f"| --- |{' ---: |' * 8}", *(measure(capture) for capture in captures)]
    table = "\n".join([*rows, "", conditions()])
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{table}\n{part[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
