"""Show where each second of `table` goes: start-up, and each step of reading without the steps inside of it.

    python benchmarks/seconds.py [--captures FOLDER]

Runs the command in one process on each capture, three times, with a clock around every step, and writes the least CPU
seconds of each into docs/performance.md, with what the step rests on. The clocks themselves take some 2 µs a
conversation.
"""

import argparse
import importlib
import json
import re
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple

import captures
import processes
from race import FOLDER, PAGE

PART = re.compile(r"(<!-- seconds -->\n).*?(<!-- end -->)", re.DOTALL)
RUNS = 3
START, ELSE = "start-up", "else"


class Step(NamedTuple):
    """A step of reading, by the functions that take it."""

    name: str
    functions: tuple[str, ...]  # module, class where there is one, and function, below tlspcap
    floor: str  # what it rests on


STEPS = (
    Step("read into the window", ("wire.files Window _read_on",),
         "the kernel copies each byte once, at 0.2 ns; a mapped file takes 0.18, and is fatal where it is cut short"),
    Step("record walk", ("wire.walk Walker walk",), "a cache miss a packet: each header says where the next one is"),
    Step("container headers", ("wire.pcap PcapReader _next_packets",), "one gather"),
    Step("columns of link, IP, TCP", ("wire.headers columns",),
         "one gather of 54 bytes a packet takes 0.03 to 0.04 µs, whatever is made of it"),
    Step("addresses", ("wire.columns AddressBook ends_v4", "wire.columns AddressBook numbers_v6"),
         "a hash for each pair of addresses"),
    Step("shared out", ("wire.packets part_of",), "a hash for each pair of endpoints"),
    Step("numbering", ("wire.numbering Numbering number",), "a hash look-up for each packet that tells"),
    Step("which conversations matter", tuple(f"wire.undecided Undecided {name}" for name in ("begin", "look", "tidy")),
         "the first payload byte of each conversation that is not decided"),
    Step("rows of those, grouped", ("wire.flows _grouped", "wire.flows block_of"), "a sort by conversation"),
    Step("rows behind handshakes", ("wire.flows Flows _count_settled",), "sums by conversation"),
    Step("new conversations", ("wire.flows Flows _begin",), "Python objects, once for each"),
    Step("events of orderly ones", ("wire.flows _begun",), "an object for each event, with its bytes"),
    Step("following", ("reading _Run _follow",), "Python, some 8,500 bytecodes a handshake, with the streams"),
    Step("verdict and row", ("reading _Run _add",), "Python: the rules in order, then a cell for each column"),
    Step("lines of CSV", ("lines Lines turn",), "a look-up and a join for each cell"),
)  # fmt: skip


class Clock:
    """Sums up CPU seconds by step, each without those of the steps that it calls."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner: list[float] = []

    def around(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, with its time taken."""

        @wraps(function)
        def timed(*given: Any, **named: Any) -> Any:
            self._inner.append(0.0)
            began = time.process_time()
            try:
                return function(*given, **named)
            finally:
                took = time.process_time() - began
                self.seconds[step] += took - self._inner.pop()
                if self._inner:
                    self._inner[-1] += took

        return timed

    def watch(self, step: Step) -> None:
        """Take the time of all functions of a step."""
        for path in step.functions:
            module, *owners, name = path.split()
            owner = importlib.import_module(f"tlspcap.{module}")
            for inside in owners:
                owner = getattr(owner, inside)
            setattr(owner, name, self.around(step.name, getattr(owner, name)))


def alone(path: str) -> None:
    """Read one capture in this process, as the command does, and print the seconds of each step as JSON."""
    from tlspcap.cli import main

    clock = Clock()
    for step in STEPS:
        clock.watch(step)
    clock.seconds[START] = time.process_time()
    main(["table", path, "--jobs", "1", "--table", "handshakes", "--format", "csv", "-o", "/dev/null", "--quiet"])
    clock.seconds[ELSE] = time.process_time() - sum(clock.seconds.values())
    print(json.dumps(clock.seconds))


def measure(path: Path) -> dict[str, float]:
    """The least seconds of each step in some runs."""
    command = [sys.executable, __file__, "--alone", str(path)]
    told = [subprocess.run(command, check=True, stdout=subprocess.PIPE, env=processes.ENVIRONMENT) for _ in range(RUNS)]
    runs = [json.loads(one.stdout) for one in told]
    steps = [START, *[step.name for step in STEPS], ELSE]
    return {step: min(run.get(step, 0.0) for run in runs) for step in steps}


def table(found: dict[str, dict[str, float]]) -> str:
    """The seconds as Markdown."""
    steps = [Step(START, (), "Python with numpy, and the modules of this project"), *STEPS,
             Step(ELSE, (), "lines in order and to the file; what is between the steps")]  # fmt: skip
    lines = [f"| step | {' | '.join(found)} | what it rests on |", f"| --- |{' ---: |' * len(found)} --- |"]
    for name, _, floor in steps:
        lines.append(f"| {name} | {' | '.join(f'{seconds[name]:.2f}' for seconds in found.values())} | {floor} |")
    lines.append(f"| together | {' | '.join(f'{sum(seconds.values()):.2f}' for seconds in found.values())} | |")
    return "\n".join([*lines, "", f"CPU seconds, the least of {RUNS} runs for each step, on {processes.conditions()}."])


def main() -> None:
    """Find the captures, measure, and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=Path, default=FOLDER)
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.alone:
        alone(arguments.alone)
        return
    found = {}
    for name in captures.NAMES[:3]:
        path = captures.find(name, arguments.captures)
        processes.warm(path)
        found[name] = measure(path)
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{table(found)}\n{part[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
