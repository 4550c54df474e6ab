"""What the documentation holds of the score of the lab: tables in Markdown, made from `lab_score`'s reading."""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import lab_score
import pandas as pd
from lab_score import CAPTURES, OUTCOMES

from tlspcap.words import percent

WAYS = (False, True)  # keyless, with keys


def counts(directory: Path = CAPTURES) -> str:
    """Say how much the lab holds."""
    known = lab_score.truth(directory)
    clients, servers = (known[f"{side}_stack"] for side in ("client", "server"))
    real = [stacks[stacks.map(lab_score.family) != "nobody"].nunique() for stacks in (clients, servers)]
    pairs = known[~(clients + servers).str.contains("nobody")][["client_stack", "server_stack"]].drop_duplicates()
    scenarios = known["scenario"].str.removesuffix(":second").nunique()
    return (
        f"{len(known):,} connections of {real[0]} stacks as clients and {real[1]} as servers, in {len(pairs)} pairings "
        f"and {scenarios} scenarios;\n{known['keys'].sum():,} of them with keys. "
        f"{known['outcome'].isna().sum()} are plain HTTP on a TLS port, of which no handshake is told."
    )


def score(directory: Path = CAPTURES) -> str:
    """Give every table of the score."""
    both = [lab_score.handshakes(lab_score.joined(directory, keys=keys)) for keys in WAYS]
    parts: tuple[tuple[str, Callable[[list[pd.DataFrame]], Iterator[list[object]]]], ...] = (
        (_VERSIONS, versions), (_ACCURACY, accuracy), (_OTHERS, others), (_OPEN, reasons), (_PAIRS, pairs),
    )  # fmt: skip
    return "\n\n".join(_table(head, rows(both)) for head, rows in parts)


def _table(head: str, rows: Iterator[list[object]]) -> str:
    title, columns = head.split("\n")
    lines = [f"| {' | '.join(_cell(value) for value in row)} |" for row in rows]
    return "\n".join([f"**{title}**", "", columns, f"|{' --- |' * (columns.count('|') - 1)}", *lines])


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


# -- the tables -------------------------------------------------------------------------------------------------

_VERSIONS = """Truth against verdict, by version
| version | truth | established | failed | unknown | with keys: established | failed | unknown |"""


def versions(both: list[pd.DataFrame]) -> Iterator[list[object]]:
    """Count truth against verdict, by version and together."""
    for version in [*sorted(both[0]["true_version"].unique()), "all"]:
        for outcome in OUTCOMES[:2]:
            numbers: list[int] = []
            for way in both:
                here = way[(way["true_version"] == version) | (version == "all")]
                said = here.loc[here["outcome_true"] == outcome, "said"].value_counts()
                numbers += [int(said.get(verdict, 0)) for verdict in OUTCOMES]
            if any(numbers):
                yield [version, outcome, *numbers]


_ACCURACY = """Failures told as the endpoints tell them, where their accounts do
| | keyless | with keys |"""


def accuracy(both: list[pd.DataFrame]) -> Iterator[list[object]]:
    """Say how often side, mechanism, alert and phase are right."""
    for what in lab_score.CHECKS:
        yield [what + (", where one is named" if what == "alert" else ""), *(_right(way, what) for way in both)]
    yield ["alerts that were sent, but stay without a name", *(lab_score.hidden_alerts(way) for way in both)]


def _right(way: pd.DataFrame, what: str) -> str:
    right, wrong = map(len, lab_score.checked(way, what))
    return f"{right:,} of {right + wrong:,} ({percent(right / max(1, right + wrong))})"


_OTHERS = """Keyless, beside the rules of other tools
| rule | right | false established | false failed | unknown |"""


def others(both: list[pd.DataFrame]) -> Iterator[list[object]]:
    """Compare with three rules of other tools on the same captures."""
    for name, column in (("tlspcap", "said"), *((rule, rule) for rule in lab_score.RULES)):
        kinds = lab_score.verdict_kinds(both[0], column).value_counts()
        right = int(kinds.get("right", 0))
        rest = [int(kinds.get(kind, 0)) for kind in ("false established", "false failed", "unknown")]
        yield [name, f"{right:,} ({percent(right / len(both[0]))})", *rest]


_OPEN = """Why a verdict stays unknown
| reason | keyless: established in truth | failed | with keys: established in truth | failed |"""


def reasons(both: list[pd.DataFrame]) -> Iterator[list[object]]:
    """Count the reasons of unknown verdicts by what the truth is."""
    unknown = [way[way["said"] == "unknown"] for way in both]
    for reason in sorted({reason for way in unknown for reason in way["reason"]}):
        here = [way.loc[way["reason"] == reason, "outcome_true"].value_counts() for way in unknown]
        yield [reason, *(int(count.get(outcome, 0)) for count in here for outcome in OUTCOMES[:2])]
    shares = [
        f"{len(way):,} of {len(of):,} ({percent(len(way) / len(of))})" for way, of in zip(unknown, both, strict=True)
    ]
    yield ["all", shares[0], "", shares[1], ""]


_PAIRS = """Stack pairs with anything but right verdicts
| client | keyless: server and verdicts that are not right, of connections | with keys |"""


def pairs(both: list[pd.DataFrame]) -> Iterator[list[object]]:
    """List for each client stack the servers with which a verdict was not right."""
    said = [dict(_pairs(way)) for way in both]
    for client in sorted({client for way in said for client, _ in way}):
        yield [client, *(", ".join(text for (other, _), text in way.items() if other == client) for way in said)]


def _pairs(way: pd.DataFrame) -> Iterator[tuple[tuple[str, str], str]]:
    """Say for each pair of client and server what verdicts were not right."""
    kinds = pd.crosstab([way["client_family"], way["server_family"]], lab_score.verdict_kinds(way))
    for (client, server), row in kinds.iterrows():
        amiss = " and ".join(f"{n} {kind}" for kind, n in row.items() if n and kind != "right")
        if amiss:
            yield (client, server), f"{server} {amiss} of {row.sum()}"


# -- the command ------------------------------------------------------------------------------------------------


def list_wrong(both: pd.DataFrame) -> None:
    """Print every wrong or unknown verdict, and every wrong side, mechanism, alert and phase."""
    place = ["capture", "stream", "scenario", "client_family", "true_version"]
    for row in lab_score.wrong(both)[[*place, "outcome_true", "said", "reason"]].to_dict("records"):
        print(" · ".join(str(value) for value in row.values()))
    for what, (column, _) in lab_score.CHECKS.items():
        for row in lab_score.checked(both, what)[1]:
            told = " ".join(str(row[f"failure_{name}"]) for name in ("side", "mechanism", "phase"))
            where = " ".join(str(row[name]) for name in place)
            print(f"{what}: {where}: {told} {row['alert']}, the truth says {row[column]}")


def main() -> None:
    """Print the score."""
    parser = argparse.ArgumentParser(description="How often verdicts on the lab's captures are right.")
    parser.add_argument("directory", type=Path, nargs="?", default=CAPTURES)
    parser.add_argument("--wrong", action="store_true", help="list every wrong or unknown verdict")
    asked = parser.parse_args()
    print(counts(asked.directory), score(asked.directory), sep="\n\n")
    if asked.wrong:
        for keys in WAYS:
            print("\nwith keys:" if keys else "\nkeyless:")
            list_wrong(lab_score.joined(asked.directory, keys=keys))
