"""Show where the time of a handshake goes: each step of its path run alone, over and over, on what a capture holds.

    python benchmarks/handshakes.py CAPTURE [--times N] [--tables NAME,NAME]
    python benchmarks/handshakes.py CAPTURE --instructions

The first prints the CPU time of each step, the least of N runs, in µs a handshake. The second counts instructions
under `valgrind --tool=callgrind`, which do not depend on what else the machine does, in thousands a handshake.
"""

import argparse
import gc
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from tlspcap import rows
from tlspcap.lines import LineBuilder
from tlspcap.tables import Builder
from tlspcap.tls.handshake import Follower
from tlspcap.transport import Conversation, Event, Events, Run
from tlspcap.wire import packets
from tlspcap.wire.columns import AddressBook, FileFacts
from tlspcap.wire.files import open_capture
from tlspcap.wire.flows import Flows

TIMEOUT = 10_000_000_000  # ns
STEPS = ("packets", "streams", "follow", "judge", "rows", "csv", "frames")
WITHIN = {"streams": "packets", "csv": "rows"}  # steps that can only be run behind another, which is taken off
DUMPED = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


class Heard(NamedTuple):
    """What one conversation gave its follower."""

    conversation: Conversation
    runs: list[tuple[list[Event], bool]]  # the events of each, and whether they are orderly
    clock: int  # ns, the capture's, when it was over

    @property
    def events(self) -> list[Event]:
        """The events of all runs."""
        return [event for events, _ in self.runs for event in events]


class Stage(NamedTuple):
    """One step of the path, ready to be run alone."""

    name: str
    run: Callable[[], object]


def segments(capture: str, book: AddressBook) -> Iterator[Any]:
    """Scan a capture."""
    with open_capture(capture) as opened:
        yield from packets.segments(opened, FileFacts(capture), book)


def recorded(events: Iterator[Event], kept: list[Event]) -> Iterator[Event]:
    """Hand events on, and keep those that were taken."""
    for event in events:
        kept.append(event)
        yield event


def listen(capture: str) -> list[Heard]:
    """Read a capture, and keep what each conversation with a handshake gave its follower."""
    book, heard, followers = AddressBook(), [], {}
    flows = Flows(capture, book)

    def take(conversation: Conversation, events: Events) -> None:
        follower, kept = followers.setdefault(conversation.number, (Follower(conversation), []))
        for run in events.runs:
            kept.append(([], run.orderly))
            follower.take_run(Run(recorded(run.events, kept[-1][0]), run.orderly))
            conversation.done = follower.done
        if conversation.over:
            del followers[conversation.number]
            follower.finish()
            if follower.account is not None:
                heard.append(Heard(conversation, kept, conversation.until or flows.clock))

    for chunk in segments(capture, book):
        for conversation, events in flows.take(chunk):
            take(conversation, events)
    for conversation, events in flows.finish():
        take(conversation, events)
    return heard


def only_scan(capture: str) -> None:
    """The header columns of all packets, and no more."""
    for _ in segments(capture, AddressBook()):
        pass


def only_streams(capture: str, wanted: dict[int, int]) -> None:
    """The scan, and events of all conversations; each is done behind as many as its follower wanted."""
    book = AddressBook()
    flows, given = Flows(capture, book), dict.fromkeys(wanted, 0)

    def take(conversation: Conversation, events: Events) -> None:
        number = conversation.number
        for run in events.runs:
            left = wanted.get(number, 1 << 62) - given.get(number, 0)
            given[number] = given.get(number, 0) + len([*islice(run.events, max(0, left))])
            conversation.done = given[number] >= wanted.get(number, 1 << 62)

    for chunk in segments(capture, book):
        for conversation, events in flows.take(chunk):
            take(conversation, events)
    for conversation, events in flows.finish():
        take(conversation, events)


def follow(heard: list[Heard]) -> list[Any]:
    """The account of each handshake."""
    accounts = []
    for conversation, runs, clock in heard:
        follower = Follower(conversation)
        for events, orderly in runs:
            follower.take_run(Run(iter(events), orderly))
        follower.finish()
        accounts.append((follower.account, clock))
    return accounts


def wanted_events(heard: list[Heard]) -> dict[int, int]:
    """Behind how many events each follower was done."""
    wanted = {}
    for one in heard:
        conversation = one.conversation
        follower = Follower(conversation)
        for count, event in enumerate(one.events, start=1):
            follower.take(event)
            if follower.done:
                wanted[conversation.number] = count
                break
    return wanted


def stages(capture: str, tables: list[str] | None) -> tuple[int, list[Stage]]:
    """The steps of the path, each with what those before it give; and the number of handshakes."""
    heard = listen(capture)
    wanted, accounts = wanted_events(heard), follow(heard)
    finished = [rows.finish(account, clock, TIMEOUT, b"") for account, clock in accounts]

    def gather(builder: Any) -> Any:
        for done in finished:
            builder.add(done)
        return builder

    def write() -> list[str]:
        builder = gather(LineBuilder(tables))
        return ["".join(builder.lines(name)) for name in builder.names]

    builder = gather(Builder(tables))
    builder.frames()  # imports pandas, which is no part of the step
    return len(heard), [
        Stage("packets", lambda: only_scan(capture)),
        Stage("streams", lambda: only_streams(capture, wanted)),
        Stage("follow", lambda: follow(heard)),
        Stage("judge", lambda: [rows.finish(account, clock, TIMEOUT, b"") for account, clock in accounts]),
        Stage("rows", lambda: gather(Builder(tables))),
        Stage("csv", write),
        Stage("frames", builder.frames),
    ]


def least(run: Callable[[], object], times: int) -> float:
    """CPU seconds of the fastest of some runs; the collector is paused, as it is while a capture is read."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        gc.disable()
        before = time.process_time()
        run()
        best = min(best, time.process_time() - before)
        gc.enable()
    return best


def measure(capture: str, tables: list[str] | None, times: int) -> None:
    """Print the CPU time of each step."""
    count, steps = stages(capture, tables)
    spent = {stage.name: least(stage.run, times) for stage in steps}
    show({name: seconds / count * 1e6 for name, seconds in spent.items()}, count, "µs")


def show(spent: dict[str, float], count: int, unit: str) -> None:
    """Print what each step took a handshake; together, what a table as CSV takes, which needs no DataFrame."""
    own = {name: value - spent.get(WITHIN.get(name, ""), 0) for name, value in spent.items()}
    for name, value in own.items():
        print(f"{name:8} {value:8.1f} {unit}")
    print(f"{'together':8} {sum(own.values()) - own['frames']:8.1f} {unit} a handshake, of {count:,}, without frames")


def run_marked(capture: str, tables: list[str] | None) -> None:
    """Run each step once, warm, between calls of getppid, at which callgrind writes what it has counted so far."""
    count, steps = stages(capture, tables)
    print(count)
    gc.disable()
    for stage in steps:
        os.getppid()
        stage.run()
    os.getppid()


def count_instructions(capture: str, tables: list[str] | None) -> None:
    """Print the instructions of each step."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "counted")
        tool = ["valgrind", "--tool=callgrind", "--dump-before=getppid", f"--callgrind-out-file={out}"]
        marked = [sys.executable, __file__, capture, "--marked", *(["--tables", ",".join(tables)] if tables else [])]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        done = subprocess.run([*tool, *marked], capture_output=True, text=True, check=True, env=environment)
        count = int(done.stdout)
        parts = [out.with_name(f"counted.{number}") for number in range(1, len(STEPS) + 2)]
        counted = [sum(map(int, DUMPED.findall(part.read_text())[-1:])) for part in parts]
    spent = dict(zip(STEPS, counted[1:], strict=True))
    show({name: value / count / 1e3 for name, value in spent.items()}, count, "thousand")


def main() -> None:
    """Parse the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture")
    parser.add_argument("--times", type=int, default=15, metavar="N", help="runs of each step (%(default)s)")
    parser.add_argument("--tables", default="handshakes", help="tables to build (%(default)s); all: every table")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--instructions", action="store_true", help="count instructions with valgrind")
    how.add_argument("--marked", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    tables = None if arguments.tables == "all" else arguments.tables.split(",")
    if arguments.instructions:
        count_instructions(arguments.capture, tables)
    elif arguments.marked:
        run_marked(arguments.capture, tables)
    else:
        measure(arguments.capture, tables, arguments.times)


if __name__ == "__main__":
    main()
