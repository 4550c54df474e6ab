"""Race tlspcap against the tools that are installed, and write the table and the plot of docs/performance.md.

    python benchmarks/race.py [--captures FOLDER] [--only NAME…] [--runs N]

Whole processes, by turns, the captures in the page cache, so that ratios hold on a busy machine. A capture that is not
in the folder is built (see captures.py); one of that name which is there already is taken as it is. Needs Linux.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import captures
import processes

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE, PLOT = DOCS / "performance.md", DOCS / "race.svg"
PART = re.compile(r"(<!-- race -->\n).*?(<!-- end -->)", re.DOTALL)
FOLDER = Path("~/.cache/tlspcap-benchmarks").expanduser()
OURS = "tlspcap"
# What one would ask tshark for to judge handshakes by hand; it takes as long for each packet, asked for or not.
FIELDS = (
    "frame.time_epoch", "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
    "tls.record.content_type", "tls.handshake.type", "tls.handshake.version",
    "tls.handshake.extensions.supported_version", "tls.handshake.ciphersuite",
    "tls.handshake.extensions_server_name", "tls.alert_message.level", "tls.alert_message.desc",
)  # fmt: skip
PEERS = {
    "tshark": ["tshark", "-n", "-r", "{}", "-Y", "tls.handshake or tls.alert_message", "-T", "fields"]
    + [word for field in FIELDS for word in ("-e", field)],
    "ndpiReader": ["ndpiReader", "-i", "{}", "-q", "-C", os.devnull],
    "ssldump": ["ssldump", "-n", "-j", "-r", "{}"],
    "tcpdump": ["tcpdump", "-r", "{}", "-w", os.devnull, "tcp"],
}  # `{}`: the capture
GOALS = {
    "tshark": {"dense.pcap": 1 / 12, "bulk.pcap": 1 / 25, "mixed.pcap": 1 / 15},
    "ndpiReader": {"dense.pcap": 0.8, "bulk.pcap": 0.9, "mixed.pcap": 0.8},
}  # our wall time to theirs, at most


class Result(NamedTuple):
    """Medians of one program on one capture."""

    capture: str
    program: str
    wall: float  # s
    cpu: float  # s
    memory: float  # MB
    ratio: float  # our wall time to its, the median of the turns


def tlspcap(capture: Path, jobs: int | None = None) -> list[str]:
    """The command that writes the handshakes table."""
    options = ["--table", "handshakes", "--format", "csv", "-o", os.devnull, "--quiet"]
    return [sys.executable, "-m", "tlspcap", "table", str(capture), *options, *(["--jobs", str(jobs)] if jobs else [])]


def contestants(capture: Path) -> dict[str, list[str]]:
    """The commands to run on a capture: ours, and those of the tools that are installed."""
    installed = {name: command for name, command in PEERS.items() if shutil.which(command[0])}
    others = {name: [word.replace("{}", str(capture)) for word in words] for name, words in installed.items()}
    return {OURS: tlspcap(capture), **others}


def race(capture: Path, runs: int) -> list[Result]:
    """Run all programs on one capture, by turns."""
    processes.warm(capture)
    commands = contestants(capture)
    turns = [{name: processes.run(command) for name, command in commands.items()} for _ in range(runs)]
    return [
        Result(
            capture.name,
            name,
            statistics.median(turn[name].wall for turn in turns),
            statistics.median(turn[name].cpu for turn in turns),
            processes.memory(command),
            statistics.median(turn[OURS].wall / turn[name].wall for turn in turns),
        )
        for name, command in commands.items()
    ]


def table(results: list[Result], sizes: dict[str, int], runs: int) -> str:
    """The results as Markdown."""
    rows = ["| capture | MB | program | wall s | CPU s | memory MB | our wall time to its | goal, at most |"]
    rows.append("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for capture, program, wall, cpu, memory, ratio in results:
        told, goal = "" if program == OURS else as_text(ratio), GOALS.get(program, {}).get(capture)
        size, wanted = f"{sizes[capture] / 1e6:,.0f}", as_text(goal) if goal else ""
        rows.append(f"| {capture} | {size} | {program} | {wall:.2f} | {cpu:.2f} | {memory:,.0f} | {told} | {wanted} |")
    versions = ", ".join(filter(None, map(version, {result.program for result in results} - {OURS})))
    return "\n".join([*rows, "", f"Medians of {runs} runs on {processes.conditions()}{versions and f'; {versions}'}."])


def as_text(ratio: float) -> str:
    """A ratio, small ones as a fraction."""
    return f"{ratio:.2f}" if ratio >= 1 / 3 else f"1/{1 / ratio:.1f}"


def version(program: str) -> str:
    """What a program calls itself."""
    option = "--version" if program in ("tcpdump", "tshark") else "-v"  # with which tcpdump would begin to record
    asked = subprocess.run([program, option], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    found = re.search(r"\d+\.\d+[\w.]*", asked.stdout + asked.stderr)
    return f"{program} {found[0].strip('.')}" if found else ""


def draw(results: list[Result]) -> None:
    """Draw the wall times, a row of bars for each capture."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "race"
    from matplotlib import pyplot as plt

    names = list(dict.fromkeys(result.capture for result in results))
    figure, all_axes = plt.subplots(1, len(names), figsize=(3.2 * len(names), 2.4), squeeze=False, layout="constrained")
    for axes, name in zip(all_axes[0], names, strict=True):
        of_it = [result for result in results if result.capture == name][::-1]
        colours = ["tab:blue" if result.program == OURS else "silver" for result in of_it]
        bars = axes.barh([result.program for result in of_it], [result.wall for result in of_it], color=colours)
        axes.bar_label(bars, fmt="%.1f", padding=2)
        axes.margins(x=0.15)
        axes.set(title=name, xlabel="wall time, s")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(PLOT, metadata={"Date": None})


def main() -> None:
    """Race, and write what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captures", type=Path, default=FOLDER, metavar="FOLDER", help="where they are (%(default)s)")
    parser.add_argument("--only", nargs="+", default=["dense", "bulk", "mixed"], metavar="NAME", help="captures")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="of each program (%(default)s)")
    parser.add_argument("--dry", action="store_true", help="print the table, write nothing")
    arguments = parser.parse_args()
    found = [captures.find(name, arguments.captures) for name in arguments.only]
    results = [result for capture in found for result in race(capture, arguments.runs)]
    told = table(results, {capture.name: capture.stat().st_size for capture in found}, arguments.runs)
    print(told)
    if not arguments.dry:
        PAGE.write_text(PART.sub(lambda part: f"{part[1]}{told}\n{part[2]}", PAGE.read_text()))
        draw(results)


if __name__ == "__main__":
    main()
