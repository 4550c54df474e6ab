"""The mutation suite: which mutants there are, what may be said of them, and how an answer compares with the truth.

The truth is what both endpoints said of each connection (`sample_captures/*.truth.json`). An answer about a mutant is
equal, or says less (the right outcome, but not all else), or is unknown, or there is none; anything else is false: a
false established or failed, a wrong detail, an unknown with the wrong reason, a row too many. Where a mutation removes
nothing that an answer rests on, it must be equal.
"""

import io
import json
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import mutants
import pandas as pd
import wrappings
from mutants import Change, Key, Packet, Writer

from tlspcap.spread import read_tables

SAMPLES = Path(__file__).parent.parent / "sample_captures"
CAPTURES = sorted(path for path in SAMPLES.iterdir() if path.suffix in (".pcap", ".pcapng"))

IPV6_BYTES = 16
EACH = None  # one mutant for every packet of the longest conversation
CHUNK_BYTES = 1 << 20  # less than by default, since some mutants have thousands of files
WORDS = ("equal", "less", "unknown", "none", "false")  # of a comparison, from good to bad


@dataclass(frozen=True)
class Mutation:
    """One way to change a capture, and what may be said of the mutants."""

    name: str
    change: Change | None = None  # of each conversation
    whole: Change | None = None  # of the whole capture
    write: Writer = mutants.pcap
    numbers: tuple[int, ...] | None = (0,)  # which mutants
    lacks: tuple[str, ...] = ()  # what `completeness` may say of an unknown outcome; empty: nothing is gone
    times: int = 1  # how often each conversation is in a mutant
    ipv6_only: bool = False  # it can be done to IPv6 packets only
    rotates: bool = False  # a file for every packet

    @property
    def repacks(self) -> bool:
        """Whether it only writes the same packets in another way."""
        return self.rotates or self.write is not mutants.pcap

    def files(self, packets: list[Packet]) -> tuple[bytes, ...]:
        """Write packets as capture files."""
        return tuple(self.write([packet]) for packet in packets) if self.rotates else (self.write(packets),)


def _encoded() -> Iterator[Mutation]:
    for name, write in mutants.ENCODINGS.items():
        yield Mutation(name, write=write)
    for name, compress in mutants.COMPRESSIONS.items():
        yield Mutation(name, write=lambda packets, compress=compress: compress(mutants.pcap(packets)))
    yield Mutation("a file for every packet", rotates=True)


def _wrapped() -> Iterator[Mutation]:
    link, ether = wrappings.LINKS["Ethernet"]
    for name, (number, wrap) in wrappings.LINKS.items():
        yield Mutation(name, write=mutants.wrapped(number, wrap))
    for name, tunnel in (wrappings.TUNNELS | wrappings.TEREDO).items():
        write = mutants.wrapped(link, lambda ip, tunnel=tunnel: ether(tunnel(ip)))
        yield Mutation(name, write=write, ipv6_only=name in wrappings.TEREDO)


MUTATIONS: tuple[Mutation, ...] = (
    Mutation("nothing"),
    Mutation("two neighbours swapped", mutants.swap, numbers=EACH),
    Mutation("all neighbours swapped", mutants.swap_all, numbers=(0, 1)),
    Mutation("one packet delayed by three", mutants.delay, numbers=EACH),
    Mutation("12 s pause before a packet", mutants.pause, numbers=EACH),
    Mutation("one packet twice", mutants.duplicate, numbers=EACH),
    Mutation("one packet again, three later", mutants.duplicate_late, numbers=EACH),
    Mutation("every packet twice (SPAN)", mutants.span),
    Mutation("RST appended", mutants.append_reset, numbers=(0, 1)),
    Mutation("clock stepped back", whole=mutants.step_clock_back, numbers=(0, 1, 2)),
    Mutation("clock jitter of 50 ms", whole=mutants.jitter, numbers=(0, 1)),
    Mutation("sequence numbers wrap around", mutants.wrap, numbers=(0, 1)),
    Mutation("ports reused with new ISNs", mutants.reuse, times=2),
    *_encoded(),
    *_wrapped(),
    Mutation("a packet with data dropped", mutants.drop_data, numbers=EACH, lacks=("gap",)),
    Mutation("pure ACKs removed", mutants.drop_pure_acks, lacks=("gap",)),
    Mutation("FINs removed", mutants.remove_fins, lacks=("cut_off",)),
    Mutation("start removed", mutants.cut_front, numbers=(1, 3, 5), lacks=("mid_stream",)),
    Mutation("end removed", mutants.cut_end, numbers=EACH, lacks=("cut_off",)),
    Mutation("client's packets removed", mutants.one_direction, numbers=(0,), lacks=("one_sided",)),
    Mutation("server's packets removed", mutants.one_direction, numbers=(1,), lacks=("one_sided",)),
    Mutation("cut at 200 bytes", mutants.snap(200), lacks=("snaplen",)),
    Mutation("cut at 96 bytes", mutants.snap(96), lacks=("snaplen",)),
)


@dataclass(frozen=True)
class Mutant:
    """One changed capture: the bytes of its files, and the conversations in it."""

    number: int
    files: tuple[bytes, ...]
    keys: tuple[Key, ...]


def mutants_of(mutation: Mutation, parts: dict[Key, list[Packet]], most: int = 1 << 30) -> Iterator[Mutant]:
    """Give the mutants of some conversations; conversations that a mutation leaves alone are left out.

    Of more than `most` mutants, a fixed seed chooses.
    """
    parts = {key: part for key, part in parts.items() if len(key[0]) == IPV6_BYTES or not mutation.ipv6_only}
    longest = max(map(len, parts.values()), default=0)
    numbers = list(range(longest) if mutation.numbers is EACH else mutation.numbers)
    if len(numbers) > most:
        numbers = sorted(random.Random(mutants.SEED).sample(numbers, most))
    for number in numbers:
        after = parts if mutation.change is None else {k: mutation.change(p, number) for k, p in parts.items()}
        keys = tuple(key for key in after if mutation.change is None or after[key] != parts[key])
        packets = mutants.merged(after[key] for key in keys)
        if packets:
            packets = packets if mutation.whole is None else mutation.whole(packets, number)
            yield Mutant(number, mutation.files(packets), keys)


# -- answers --------------------------------------------------------------------------------------------------------


class Answer(NamedTuple):
    """What is said of one handshake; None where nothing is."""

    outcome: str
    side: str | None
    mechanism: str | None
    alert: str | None
    version: str | None
    cipher: str | None
    sni: str | None


COLUMNS = (
    "outcome", "failure_side", "failure_mechanism", "alert", "negotiated_version", "cipher", "sni",
)  # fmt: skip


def key_of(row: dict[str, Any]) -> Key:
    """The ends of a handshake as `mutants` names them."""
    client, server = ip_address(row["client_ip"]).packed, ip_address(row["server_ip"]).packed
    return client, row["client_port"], server, row["server_port"]


@cache
def truth(path: Path) -> dict[Key, Answer | None]:
    """What must be said of each conversation of a sample; None where it is no TLS."""
    found: dict[Key, Answer | None] = {}
    for row in json.loads(path.with_suffix(".truth.json").read_text()):
        said = row["expected"]
        alert = None if said["alert_sealed"] else said["alert"]
        facts = (said["side"], said["mechanism"], alert, said["version"], said["cipher"], row["sni"])
        found[key_of(row)] = Answer(said["outcome"], *facts) if said["outcome"] else None
    return found


@cache
def recording(path: Path) -> dict[Key, list[Packet]]:
    """The conversations of a sample."""
    return mutants.conversations(mutants.read_packets(path))


def answers(files: tuple[bytes, ...]) -> dict[Key, list[tuple[Answer, str]]]:
    """What tlspcap says of each conversation of a capture, and what it says that is lacking."""
    table = read_tables(map(io.BytesIO, files), tables=("handshakes",), chunk_bytes=CHUNK_BYTES).frames["handshakes"]
    found: dict[Key, list[tuple[Answer, str]]] = {}
    for row in table.to_dict("records"):
        said = Answer(*(None if pd.isna(row[column]) else row[column] for column in COLUMNS))
        found.setdefault(key_of(row), []).append((said, row["completeness"]))
    return found


@cache
def alerts_sent(path: Path) -> dict[Key, frozenset[tuple[str, str]]]:
    """Who sent which alerts in a sample: what endpoints report, and what is read in clear (which tshark confirms)."""
    frames = read_tables(path).frames
    keys = {row["id"]: key_of(row) for row in frames["handshakes"].to_dict("records")}
    found: dict[Key, set[tuple[str, str]]] = {}
    for row in json.loads(path.with_suffix(".truth.json").read_text()):
        found[key_of(row)] = {(side, row[side]["alert_sent"]) for side in ("client", "server") if row[side]}
    for row in frames["alerts"].query("not encrypted").to_dict("records"):
        found[keys[row["id"]]].add((row["sender"], row["description"]))
    return {key: frozenset(alerts) for key, alerts in found.items()}


def compare(path: Path, key: Key, got: list[tuple[Answer, str]], mutation: Mutation) -> str:
    """Compare what is said of one conversation with the truth: one of WORDS, behind `false` also why."""
    expected = truth(path)[key]
    if expected is None:
        return "false: a row for what is no TLS" if got else "equal"
    if not got:
        return "none" if mutation.lacks else "false: no row"
    if len(got) != mutation.times:
        return f"false: {len(got)} rows"
    alerts = alerts_sent(path)[key]
    words = [_compare(expected, answer, lacking, mutation.lacks, alerts) for answer, lacking in got]
    return max(words, key=lambda word: WORDS.index(word.partition(":")[0]))


def _compare(
    expected: Answer, answer: Answer, lacking: str, lacks: tuple[str, ...], alerts: frozenset[tuple[str, str]]
) -> str:
    if answer == expected:
        return "equal"
    if not lacks:
        return f"false: {answer}"
    if answer.mechanism == "alert" and expected.outcome == "failed" and (answer.side, answer.alert) in alerts:
        return "less"  # what came first is gone; this alert was sent, too
    unknown = answer.outcome == "unknown"
    said = zip(answer[unknown:], expected[unknown:], strict=True)
    if any(mine is not None and mine != theirs for mine, theirs in said):
        return f"false: {answer}"
    if unknown and lacking not in lacks:
        return f"false: unknown, {lacking}"
    return "unknown" if unknown else "less"


def one_of_each_kind(path: Path) -> dict[Key, list[Packet]]:
    """The conversations of a sample of which no earlier one has the same truth and kind of address, SNI apart."""
    kinds: dict[object, Key] = {}
    for key in recording(path):
        said = truth(path)[key]
        kinds.setdefault((len(key[0]), said and said[:-1]), key)
    return {key: recording(path)[key] for key in kinds.values()}


def tally(mutation: Mutation, path: Path, parts: dict[Key, list[Packet]], most: int = 1 << 30) -> Counter[str]:
    """Count how the answers about all mutants compare with the truth; of false ones each stands for itself."""
    counts: Counter[str] = Counter()
    for mutant in mutants_of(mutation, parts, most):
        said = answers(mutant.files)
        for key in mutant.keys:
            word = compare(path, key, said.get(key, []), mutation)
            if word.startswith("false"):
                word += f" (mutant {mutant.number}, client port {key[1]}, truth {truth(path)[key]})"
            counts[word] += 1
    return counts
