"""Findings: from rows to reasons. Rules over the tables say what is wrong, why, and what to change.

`find` asks every rule; `table` makes the DataFrame that `Capture.findings` is. What a finding holds is in model.py,
the rules are listed in rules.py.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.model import Finding, Severity
from tlspcap.findings.rules import RULES
from tlspcap.schema import FINDINGS

__all__ = ["Cause", "Finding", "Severity", "find", "table"]

_SEVERITIES = list(Severity)


def find(tables: Mapping[str, pd.DataFrame], ca: str | Path | None = None) -> list[Finding]:
    """Ask every rule about the tables of a capture.

    Args:
        tables: DataFrames by name; `handshakes` is needed, the others add what they know.
        ca: trusted roots: a file of certificates (PEM or DER), or "system" for those of this machine; without them
            nothing is said about trust.

    Returns:
        Findings, errors first, then by how much each is about: failed handshakes, and conversations in which no
        handshake came about, else handshakes. Of equals those that name one cause come before those that name
        several, then those that were seen first. Every failed handshake is in a finding of severity error.

    >>> import tlspcap
    >>> [found.id for found in find(tlspcap.read("sample_captures/intermittent-alert-after.pcap").tables)]
    []
    """
    case, found = Case(tables, ca), []
    for rule in RULES:
        said = list(rule.ask(case))
        case.explain(number for one in said if one.severity is Severity.ERROR for number in one.handshakes)
        found += said
    order = sorted(range(len(found)), key=lambda i: (*_rank(found[i], case), i))
    return [found[i] for i in order]


def _rank(one: Finding, case: Case) -> tuple[int, int, int, int]:
    """How near to the top a finding stands: less is nearer."""
    severity = _SEVERITIES.index(one.severity)
    if one.severity is not Severity.ERROR:  # of equals, the order of the rules is what is worse
        return severity, -len(one.frames), 0, 0
    unmade = len(one.streams) - len(one.handshakes)  # conversations without a handshake have a stream alone
    return severity, -case.count_failed(one.handshakes) - unmade, len(one.causes), case.first(one.handshakes)


def table(findings: Iterable[Finding]) -> pd.DataFrame:
    """Make a DataFrame of findings, in their order; the columns are in docs/tables.md.

    >>> table([]).columns[:3].tolist()
    ['id', 'severity', 'title']
    """
    rows = [_row(one) for one in findings]
    frame = pd.DataFrame(rows, columns=FINDINGS.names, dtype=object)
    dtypes: dict[str, Any] = {column.name: column.pandas_dtype for column in FINDINGS.columns}
    return frame.astype(dtypes)


def _row(one: Finding) -> dict[str, object]:
    capture, shown = one.filters[0] if one.filters else (None, None)
    return {
        "id": one.id, "severity": one.severity.value, "title": one.title, "detail": "\n".join(one.detail) or None,
        "advice": one.advice, "causes": ",".join(one.causes) or None,
        "handshakes": list(one.handshakes), "frames": list(one.frames), "streams": list(one.streams),
        "capture": capture, "filter": shown,
    }  # fmt: skip
