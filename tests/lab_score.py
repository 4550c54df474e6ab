"""How often verdicts are right: `python tests/lab_score.py` reads the captures of the lab and compares with the truth.

Prints the confusion table (by version and by stack too), how often side, mechanism, alert and phase are right, and
beside it what three well-known rules of other tools make of the same captures.
"""

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

import tlspcap

CAPTURES = Path(__file__).parent.parent / "lab" / "captures"
KEY = ["capture", "client_port", "server_port"]
OUTCOMES = ["established", "failed", "unknown"]


def truth(directory: Path) -> pd.DataFrame:
    """Return the truth, one row for each connection."""
    return pd.DataFrame(json.loads(line) for line in (directory / "truth.jsonl").read_text().splitlines())


def verdicts(directory: Path, captures: Iterable[str], **options: Any) -> pd.DataFrame:
    """Read the captures; one row for each handshake, with what the rules of other tools say of it, too."""
    found = []
    for name in captures:
        capture = tlspcap.read(directory / name, **options)
        table = capture.handshakes.copy()
        table["capture"] = name
        for rule_name, rule in RULES.items():
            passed = rule(capture)
            table[rule_name] = ["established" if row in passed else "failed" for row in table.index]
        found.append(table)
    return pd.concat(found, ignore_index=True)


def _both(table: pd.DataFrame) -> set[int]:
    """Return the handshakes of which the rows of both senders are in a table."""
    senders = table.groupby("handshake")["sender"].nunique()
    return set(senders[senders == 2].index)


def zeek_rule(capture: tlspcap.Capture) -> set[int]:
    """Each side sent one encrypted record."""
    return _both(capture.records[capture.records["sealed"]])


def packetbeat_rule(capture: tlspcap.Capture) -> set[int]:
    """A ChangeCipherSpec each way."""
    return _both(capture.messages[capture.messages["message"] == "change_cipher_spec"])


def tshark_rule(capture: tlspcap.Capture) -> set[int]:
    """A ServerHello, and no alert that can be read."""
    messages, alerts = capture.messages, capture.alerts
    answered = set(messages.loc[messages["message"] == "server_hello", "handshake"])
    return answered - set(alerts.loc[~alerts["encrypted"], "handshake"])


RULES: dict[str, Callable[[tlspcap.Capture], set[int]]] = {
    "encrypted records both ways (Zeek)": zeek_rule,
    "ChangeCipherSpec both ways (packetbeat)": packetbeat_rule,
    "ServerHello and no alert (tshark)": tshark_rule,
}


def joined(directory: Path, **options: Any) -> pd.DataFrame:
    """Join truth and verdicts by capture and ports; columns that both have end in `_true` for the truth's."""
    known = truth(directory)
    seen = verdicts(directory, sorted(known["capture"].unique()), **options)
    return known.merge(seen, on=KEY, how="left", suffixes=("_true", ""), indicator="row")


def confusion(both: pd.DataFrame, column: str = "outcome") -> pd.DataFrame:
    """Count truth (rows) against verdict (columns)."""
    counted = pd.crosstab(both["outcome_true"], both[column].astype("object").fillna("no row"))
    return counted.reindex(index=OUTCOMES[:2], columns=[*OUTCOMES, *set(counted.columns) - set(OUTCOMES)], fill_value=0)


def mechanism_is_right(row: dict[str, Any]) -> bool:
    """Tell whether a mechanism is right; the accounts tell of an alert, not always whether it was sealed."""
    said = row["failure_mechanism"]
    return bool(said == row["mechanism"] or (row["mechanism"] == "alert" and said == "hidden_alert"))


CHECKS: dict[str, tuple[str, Callable[[dict[str, Any]], bool]]] = {  # what -> the truth's column, and when it is right
    "side": ("side", lambda row: row["failure_side"] == row["side"]),
    "mechanism": ("mechanism", mechanism_is_right),
    "alert": ("alert_true", lambda row: row["alert"] == row["alert_true"]),
    "phase": ("phase", lambda row: row["failure_phase"] == row["phase"]),
}


def checked(both: pd.DataFrame, what: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the failures whose side, mechanism, alert or phase is right, and those where it is wrong.

    Only failures that truth and verdict agree on count, only where the accounts tell, and alerts where one is named.
    """
    column, is_right = CHECKS[what]
    failures = both[(both["outcome_true"] == "failed") & (both["outcome"] == "failed") & both[column].notna()]
    rows = failures[failures["alert"].notna() | (what != "alert")].to_dict("records")
    return [row for row in rows if is_right(row)], [row for row in rows if not is_right(row)]


def accuracy(both: pd.DataFrame) -> pd.DataFrame:
    """Say how often side, mechanism, alert and phase are right."""
    counts = {what: [len(part) for part in checked(both, what)] for what in CHECKS}
    return pd.DataFrame(counts, index=["right", "wrong"]).T


def wrong(both: pd.DataFrame) -> pd.DataFrame:
    """Return the connections whose outcome is not the truth's."""
    return both[both["outcome"].astype("object") != both["outcome_true"]]


def family(stack: str) -> str:
    """Return the name of a stack without its version."""
    return stack.split()[0]


def _by(both: pd.DataFrame, *columns: str) -> pd.DataFrame:
    """Count right, wrong and unknown verdicts by some columns; complete agreement is left out."""
    verdict = both["outcome"].astype("object").fillna("no row")
    kind = verdict.where(verdict != both["outcome_true"], "right").replace(
        {"established": "false established", "failed": "false failed"}
    )
    return both.assign(kind=kind).pivot_table(
        index=list(columns), columns="kind", values="client_port", aggfunc="count", fill_value=0
    )


def main() -> None:
    """Print the score."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, nargs="?", default=CAPTURES)
    parser.add_argument("--wrong", action="store_true", help="list every wrong or unknown verdict")
    asked = parser.parse_args()
    pd.set_option("display.width", 200, "display.max_rows", None, "display.max_columns", None)
    both = joined(asked.directory)
    both["client_family"], both["server_family"] = both["client_stack"].map(family), both["server_stack"].map(family)
    print(f"{len(both)} connections\n\n{confusion(both)}\n\n{accuracy(both)}\n")
    for name in RULES:
        print(f"{name}\n{confusion(both, name)}\n")
    print(f"{_by(both, 'version')}\n")
    pairs = _by(both, "client_family", "server_family")
    print(pairs[pairs.drop(columns="right").sum(axis=1) > 0])
    if asked.wrong:
        columns = ["capture", "stream", "scenario", "client_family", "version", "outcome_true", "outcome", "reason"]
        for row in wrong(both)[columns].to_dict("records"):
            print(" · ".join(str(value) for value in row.values()))
        for what, (column, _) in CHECKS.items():
            for row in checked(both, what)[1]:
                place = (
                    f"{row['capture']} {row['stream']:.0f} {row['scenario']} {row['client_family']} {row['version']}"
                )
                print(
                    f"{what}: {place}: {row['failure_side']} {row['failure_mechanism']} {row['alert']} "
                    f"{row['failure_phase']}, the truth says {row[column]}"
                )


if __name__ == "__main__":
    main()
