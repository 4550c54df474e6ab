"""Measure a night: many captures, made by slicing a few large ones, into a new store.

    python benchmarks/batch.py bulk.pcap mixed.pcap dense.pcap --files 200 --gigabytes 5 --jobs 2

The slices of one source are rotated files of one recorder; where the sources are too small they are used again, a day
later each time. Prints throughput, CPU time, the largest resident set of any process, and, as a yardstick that the
machine's other load slows alike, the CPU time of `cat` over the same files.
"""

import argparse
import os
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

HEADER, PACKET, DAY = 24, 16, 86_400
STEP = 0.2  # seconds between two looks at the memory of processes


def slices(source: Path, size: int, seconds: int) -> Iterator[bytes]:
    """Cut a little-endian classic pcap at packets, into captures of about that size, this much later."""
    with open(source, "rb") as file:
        head = file.read(HEADER)
        part = bytearray(head)
        while len(packet := file.read(PACKET)) == PACKET:
            when, fraction, captured, wire = struct.unpack("<IIII", packet)
            part += struct.pack("<IIII", when + seconds, fraction, captured, wire) + file.read(captured)
            if len(part) >= size:
                yield bytes(part)
                part = bytearray(head)


def make(sources: list[Path], files: int, size: int, folder: Path) -> None:
    """Write so many captures, a folder for each source and day."""
    made = 0
    for day in count():
        for source in sources:
            place = folder / f"{source.stem}-{day}"
            place.mkdir()
            for number, part in enumerate(slices(source, size, day * DAY)):
                if made == files:
                    return
                (place / f"ring{number:04}.pcap").write_bytes(part)
                made += 1


class Memory(threading.Thread):
    """Watches the resident sets of all processes below this one."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.largest = 0  # KB, of one process
        self.together = 0  # KB, of all at one time
        self.over = threading.Event()

    def run(self) -> None:
        """Look, until it is over."""
        while not self.over.wait(STEP):
            sizes = list(_resident())
            self.largest = max([self.largest, *sizes])
            self.together = max(self.together, sum(sizes))


def _resident() -> Iterator[int]:
    parents, sizes = {}, {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            facts = dict(line.split(":", 1) for line in status.read_text().splitlines())
        except OSError:  # it ended meanwhile
            continue
        pid = int(status.parent.name)
        parents[pid] = int(facts["PPid"])
        sizes[pid] = int(facts.get("VmRSS", "0 kB").split()[0])
    ours = {os.getpid()}
    for _ in range(4):  # generations
        ours |= {pid for pid, parent in parents.items() if parent in ours}
    yield from (sizes[pid] for pid in ours - {os.getpid()} if pid in sizes)


def cpu() -> float:
    """CPU seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Make the captures, read them, print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("sources", nargs="+", type=Path)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as temporary:
        folder = Path(temporary)
        make(arguments.sources, arguments.files, int(arguments.gigabytes * 1e9 / arguments.files), folder)
        captures = sorted(folder.rglob("*.pcap"))
        size = sum(file.stat().st_size for file in captures)
        before = cpu()
        subprocess.run(["cat", *map(str, captures)], stdout=subprocess.DEVNULL, check=True)
        yardstick = cpu() - before
        memory, began = Memory(), time.monotonic()
        memory.start()
        command = [sys.executable, "-m", "tlspcap", "batch", str(folder), "--store", str(folder / "store")]
        subprocess.run([*command, "--jobs", str(arguments.jobs)], check=True)
        took, used = time.monotonic() - began, cpu() - before - yardstick
        memory.over.set()
        stored = sum(file.stat().st_size for file in (folder / "store").rglob("*.parquet"))
        began = time.monotonic()
        subprocess.run([*command, "--quiet"], check=True)
        again = time.monotonic() - began
        print(f"{len(captures)} captures, {size / 1e9:.2f} GB: {took:.0f} s with {arguments.jobs} processes, "
              f"{size / 1e6 / took:.0f} MB/s; {used:.0f} CPU s, {used / size * 1e9:.1f} per GB "
              f"(cat: {yardstick / size * 1e9:.2f} per GB)")  # fmt: skip
        print(f"largest process {memory.largest / 1e3:.0f} MB, all together {memory.together / 1e3:.0f} MB; "
              f"store {stored / 1e6:.1f} MB; a second batch, with nothing new: {again:.1f} s")  # fmt: skip
        shutil.rmtree(folder / "store")


if __name__ == "__main__":
    main()
