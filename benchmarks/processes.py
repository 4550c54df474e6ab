"""Runs whole programs and says what they took: wall and CPU seconds, and the memory of all their processes together."""

import os
import platform
import re
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

SAMPLE_SECONDS = 0.05
NOWHERE = subprocess.DEVNULL
# What is installed is kept compiled: a machine that forbids that would compile all modules anew in every process.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
CHUNK = 1 << 24


class Run(NamedTuple):
    """What one run of a program took, in seconds."""

    wall: float
    cpu: float  # of the process and its children


def warm(path: Path) -> None:
    """Bring a file into the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(CHUNK):
            pass


def run(command: list[str]) -> Run:
    """Run a program to its end; what it prints is thrown away. Raises CalledProcessError where it fails."""
    before, began = os.times(), time.perf_counter()
    subprocess.run(command, stdin=NOWHERE, stdout=NOWHERE, stderr=NOWHERE, env=ENVIRONMENT, check=True)
    wall, after = time.perf_counter() - began, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Run(wall, used)


def memory(command: list[str]) -> float:
    """The largest proportional set size of a program's process tree, in MB, in a run of its own."""
    process, peak = subprocess.Popen(command, stdout=NOWHERE, stderr=NOWHERE, env=ENVIRONMENT), 0.0
    while process.poll() is None:
        peak = max(peak, _tree_memory(process.pid))
        time.sleep(SAMPLE_SECONDS)
    return peak


def _tree_memory(root: int) -> float:
    family, waiting = [], [root]
    while waiting:
        pid = waiting.pop()
        family.append(pid)
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            waiting += [int(child) for child in _read(children).split()]
    sizes = (re.search(r"^Pss:\s+(\d+)", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE) for pid in family)
    return sum(int(size[1]) for size in sizes if size) / 1024


def _read(path: Path) -> str:
    """A file of /proc; a process that has ended gives nothing."""
    try:
        return path.read_text()
    except OSError:
        return ""


def conditions() -> str:
    """On what was measured."""
    model = re.search(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    machine = f"{len(os.sched_getaffinity(0))} cores ({model[1] if model else platform.machine()})"
    return f"{time.strftime('%Y-%m-%d')}, {machine}, Python {platform.python_version()}"
