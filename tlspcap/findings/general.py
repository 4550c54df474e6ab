"""What is said of failures that no other rule explains: who ended them, how, at which step."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.evidence import finding, most_frequent, phrase
from tlspcap.findings.model import Finding, Severity

ENDING = ["failure_side", "failure_phase", "failure_mechanism", "alert", "alert_code", "certainty"]


def unexplained_failure(case: Case) -> Iterator[Finding]:
    """Handshakes that failed, by a cause that no other rule names: who ended them, how, and at which step."""
    for _, rows in case.open.groupby(ENDING, dropna=False, observed=True, sort=False):
        count = words.count(len(rows), "handshake")
        yield finding(
            "unexplained_failure", Severity.ERROR, rows, f"{count} failed: {phrase(rows)}",
            (f"Versions: {most_frequent(rows['version'])}.", *_reason(rows)), _advice(rows), _causes(rows),
        )  # fmt: skip


def _reason(rows: pd.DataFrame) -> Iterator[str]:
    known = rows["reason"].dropna()
    if len(known):
        yield f"Why it is believed: {words.wire(known.iloc[0], 300)}."


def _advice(rows: pd.DataFrame) -> str:
    side = rows["failure_side"].iloc[0]
    if words.missing(side):
        return "Look at the example in Wireshark."
    return f"Look into the logs of the {side} at these times: it ended the handshakes, and the wire does not say why."


def _causes(rows: pd.DataFrame) -> tuple[Cause, ...]:
    known = {"server": Cause.SERVER_ERROR, "client": Cause.CLIENT_ERROR, "network": Cause.PATH}
    side = rows["failure_side"].iloc[0]
    return () if words.missing(side) else (known[str(side)],)
