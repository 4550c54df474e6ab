"""Ask tlspcap, tshark and ndpiReader about every mutant of every sample capture, and write the table of mutations.md.

    PYTHONPATH=tests:. python docs/mutations.py [--mutants N]

Takes some ten minutes. Of a mutation that changes one packet, N places are taken, chosen by a fixed seed (5 unless told
otherwise). Needs tshark and ndpiReader (Debian and Ubuntu: apt install tshark libndpi-bin).
"""

import argparse
import csv
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from ipaddress import ip_address
from pathlib import Path

import mutation_suite as suite
from mutants import Key

PAGE = Path(__file__).resolve().parent / "mutations.md"
PART = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
FIELDS = (
    "tcp.stream", "ip.src", "ipv6.src", "tcp.srcport", "ip.dst", "ipv6.dst", "tcp.dstport",
    "tls.handshake.type", "tls.alert_message.level",
)  # fmt: skip
SERVER_HELLO, FATAL = "2", "2"
HEAD = """\
| | | tlspcap | | | | | tshark | | | ndpiReader | |
| mutation | conversations | equal | less | unknown | no row | false | equal | nothing | changed | equal | other |"""
WORKERS = 2

Said = dict[frozenset[tuple[bytes, int]], list[str]]  # what a program says of each pair of endpoints


def _ends(row: tuple[str, str, str, str]) -> frozenset[tuple[bytes, int]]:
    # in a tunnel there are several addresses of each kind: the last is the innermost
    source, source_port, target, target_port = (cell.split(",")[-1] for cell in row)
    return frozenset(((ip_address(source).packed, int(source_port)), (ip_address(target).packed, int(target_port))))


def tshark(capture: Path) -> Said:
    """Judge by tshark's fields: a fatal alert is a failure, else a ServerHello a success."""
    # samples speak TLS on port 80 too, which tshark takes for HTTP unless told
    command = ["tshark", "-n", "-r", str(capture), "-d", "tcp.port==80,tls", "-T", "fields"]
    command += ["-Y", "tls.handshake.type == 2 or tls.alert_message"]
    command += [word for field in FIELDS for word in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    streams: dict[tuple[str, frozenset[tuple[bytes, int]]], str] = {}
    for line in done.stdout.splitlines():
        stream, source, source6, source_port, target, target6, target_port, kinds, levels = line.split("\t")
        key = stream, _ends((source or source6, source_port, target or target6, target_port))
        if FATAL in levels.split(","):
            streams[key] = "failed"
        elif SERVER_HELLO in kinds.split(","):
            streams.setdefault(key, "established")
    said: Said = {}
    for (_, ends), verdict in streams.items():
        said.setdefault(ends, []).append(verdict)
    return said


def ndpi(capture: Path) -> Said:
    """What ndpiReader finds of each flow: that it is TLS, its server name, JA3 and JA3S."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "flows.csv"
        command = ["ndpiReader", "-q", "-i", str(capture), "-C", str(table)]
        subprocess.run(command, capture_output=True, timeout=300, check=False)
        if not table.exists():
            return {}
        with table.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row.get("dst_port")]
    said: Said = {}
    for row in rows:
        ends = _ends((row["src_ip"], row["src_port"], row["dst_ip"], row["dst_port"]))
        facts = ("TLS" in row["ndpi_proto"], row["server_name_sni"], row["ja3c"], row["ja3s"])
        said.setdefault(ends, []).append(repr(facts))
    return said


PROGRAMS: dict[str, Callable[[Path], Said]] = {"tshark": tshark, "ndpi": ndpi}


@cache
def untouched(program: str, path: Path) -> Said:
    """What a program says of a sample as it was recorded."""
    return PROGRAMS[program](path)


def ends_of(key: Key) -> frozenset[tuple[bytes, int]]:
    """The endpoints of a conversation, whoever spoke first."""
    return frozenset((key[:2], key[2:]))


def compare(before: list[str], after: list[str], times: int) -> str:
    """Compare what a program says of one conversation with what it said of the sample: equal, nothing or changed."""
    if sorted(after) == sorted(before * times):
        return "equal"
    return "changed" if set(after) - set(before) else "nothing"


def ask(mutation: suite.Mutation, path: Path, most: int, pool: ThreadPoolExecutor) -> Iterator[tuple[str, str]]:
    """Give what each program says of each conversation of each mutant of a sample, in a word."""
    for mutant in suite.mutants_of(mutation, suite.recording(path), most):
        with tempfile.NamedTemporaryFile(suffix=".pcap") as file:
            file.write(mutant.files[0])
            file.flush()
            programs = {} if mutation.rotates else PROGRAMS  # the others read one file at a time
            asked = {name: pool.submit(program, Path(file.name)) for name, program in programs.items()}
            ours = suite.answers(mutant.files)
            said = {name: answer.result() for name, answer in asked.items()}
        for key in mutant.keys:
            ends = ends_of(key)
            yield "tlspcap", suite.compare(path, key, ours.get(key, []), mutation).partition(":")[0]
            for name, answers in said.items():
                # ndpiReader knows one flow of two endpoints, however often they connect
                times = mutation.times if name == "tshark" else 1
                yield name, compare(untouched(name, path).get(ends, []), answers.get(ends, []), times)


def row(mutation: suite.Mutation, most: int, pool: ThreadPoolExecutor) -> str:
    """Give one row of the table."""
    counts = Counter(pair for path in suite.CAPTURES for pair in ask(mutation, path, most, pool))
    ours = [counts["tlspcap", word] for word in suite.WORDS]
    theirs = [counts["tshark", word] for word in ("equal", "nothing", "changed")]
    equal = counts["ndpi", "equal"]
    mine, others = (sum(ours), *ours), (*theirs, equal, sum(ours) - equal)
    cells = [f"{n:,}" for n in mine] + ["" if mutation.rotates else f"{n:,}" for n in others]
    return f"| {mutation.name} | {' | '.join(cells)} |"


def rule_of_tshark() -> str:
    """Say how far the rule that stands for tshark agrees with the endpoints on the samples as recorded."""
    agreed = Counter(
        said.outcome in untouched("tshark", path).get(ends_of(key), [])
        for path in suite.CAPTURES
        for key, said in suite.truth(path).items()
        if said is not None
    )
    return (
        f"Of the samples as recorded, this rule gives the outcome that the endpoints reported for {agreed[True]} of "
        f"{agreed.total()} handshakes."
    )


def versions() -> str:
    """Say which versions of the other programs were asked."""
    found = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True).stdout.split()[2]
    listed = ["dpkg-query", "-W", "-f", "${Version}", "libndpi-bin"]
    package = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    return f"tshark {found.strip('.')}, ndpiReader from libndpi-bin {package}."


def main() -> None:
    """Ask, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=5, metavar="N", help="places of a single change")
    most = parser.parse_args().mutants
    for program in ("tshark", "ndpiReader"):
        if shutil.which(program) is None:
            parser.error(f"{program} is not installed; on Debian and Ubuntu: apt install tshark libndpi-bin")
    head, names = HEAD.splitlines()
    lines = [head, f"| --- |{' ---: |' * 11}", names]
    with ThreadPoolExecutor(WORKERS) as pool:
        for mutation in suite.MUTATIONS:
            lines.append(row(mutation, most, pool))
            sys.stdout.write(lines[-1] + "\n")
    table = "\n".join([*lines, "", f"{versions()} {rule_of_tshark()}"])
    PAGE.write_text(PART.sub(lambda part: f"{part[1]}{table}\n{part[2]}", PAGE.read_text()))


if __name__ == "__main__":
    main()
