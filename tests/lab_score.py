"""How often verdicts are right: `python tests/lab_score.py` reads the captures of the lab and compares with the truth.

Reads each capture twice, keyless and with its key log. Prints what docs/outcomes.md holds of it (lab_page.py): the
confusion table by version and by stack pair, how often side, mechanism, alert and phase are right, and beside it what
three well-known rules of other tools make of the same captures.
"""

import json
from collections.abc import Callable
from functools import cache
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


def verdicts(directory: Path, name: str) -> pd.DataFrame:
    """Read a capture without keys; one row for each handshake, with what the rules of other tools say of it, too."""
    capture = tlspcap.read(directory / name, tables=("handshakes", "records", "messages", "alerts"))
    table = capture.handshakes.assign(capture=name)
    for rule_name, rule in RULES.items():
        passed = rule(capture)
        table[rule_name] = ["established" if row in passed else "failed" for row in table.index]
    return table


def verdicts_with_keys(directory: Path, name: str) -> pd.DataFrame:
    """Read a capture with the key log beside it; one row for each handshake."""
    path = directory / name
    return tlspcap.read(path, tables=("handshakes",), keylog=path.with_suffix(".keys")).handshakes.assign(capture=name)


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


def joined(directory: Path = CAPTURES, *, keys: bool = False) -> pd.DataFrame:
    """Join truth and verdicts by capture and ports; columns that both have end in `_true` for the truth's.

    With keys, only the connections whose keys are there. Every capture is read once, however often this is asked.
    """
    return _joined(directory, keys)


@cache
def _joined(directory: Path, keys: bool) -> pd.DataFrame:
    known = truth(directory)
    known = known[known["keys"] | (not keys)]
    read = verdicts_with_keys if keys else verdicts
    seen = pd.concat([read(directory, name) for name in sorted(known["capture"].unique())], ignore_index=True)
    both = known.merge(seen, on=KEY, how="left", suffixes=("_true", ""), indicator="row")
    return both.assign(
        said=both["outcome"].astype("object").fillna("no row"),
        true_version=both["version_true"].fillna("TLS " + both["asked_version"]),
        client_family=both["client_stack"].map(family),
        server_family=both["server_stack"].map(family),
    )


def handshakes(both: pd.DataFrame) -> pd.DataFrame:
    """Return the connections that have an outcome; plain HTTP on a TLS port has none."""
    return both[both["outcome_true"].notna()]


def verdict_kinds(both: pd.DataFrame, column: str = "said") -> pd.Series:
    """Say of each verdict whether it is right, unknown, false (in either way), or not there at all."""
    said = both[column]
    return said.where(said != both["outcome_true"], "right").replace(
        {"established": "false established", "failed": "false failed"}
    )


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

TOLD = [  # the columns that say of a failure where it is, and what is said of it
    "capture", "stream", "scenario", "client_family", "true_version", "failure_side", "failure_mechanism",
    "failure_phase", "alert", *(column for column, _ in CHECKS.values()),
]  # fmt: skip


def checked(both: pd.DataFrame, what: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the failures whose side, mechanism, alert or phase is right, and those where it is wrong.

    Only failures that truth and verdict agree on count, only where the accounts tell, and alerts where one is named.
    """
    column, is_right = CHECKS[what]
    failures = both[(both["outcome_true"] == "failed") & (both["outcome"] == "failed") & both[column].notna()]
    rows = failures.loc[failures["alert"].notna() | (what != "alert"), TOLD].to_dict("records")
    return [row for row in rows if is_right(row)], [row for row in rows if not is_right(row)]


def hidden_alerts(both: pd.DataFrame) -> int:
    """Count the failures that the truth names an alert for and the verdict does not."""
    failures = both[(both["outcome_true"] == "failed") & (both["outcome"] == "failed")]
    return int((failures["alert_true"].notna() & failures["alert"].isna()).sum())


def wrong(both: pd.DataFrame) -> pd.DataFrame:
    """Return the connections whose outcome is not the truth's."""
    known = handshakes(both)
    return known[known["said"] != known["outcome_true"]]


def family(stack: str) -> str:
    """Return the name of a stack without its version."""
    return stack.split()[0]


if __name__ == "__main__":
    import lab_page  # which imports this module by its name

    lab_page.main()
