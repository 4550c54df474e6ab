"""Failures that come and go: the same offer to the same server fails at times; a large hello never gets through."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tlspcap import words
from tlspcap.failures import failure_ratio
from tlspcap.findings.agreement import accepted_elsewhere
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.evidence import by_server, clients, finding, phrase, servers_do, upper
from tlspcap.findings.general import ENDING, causes_of
from tlspcap.findings.model import Finding, Severity
from tlspcap.findings.offers import alert, looked_up

SEGMENT = 1_400  # bytes of a ClientHello that a single segment mostly carries


def intermittent_failure(case: Case) -> Iterator[Finding]:
    """A server fails now and then: the same offer that it refused (or never answered) succeeded in other handshakes."""
    rows = case.open
    rows = rows[rows["failure_side"].isin(["server", "network"])]
    rows = rows[accepted_elsewhere(case, rows)]
    for _, kind in rows.groupby(ENDING, dropna=False, observed=True, sort=False):
        for group in by_server(kind):
            yield _intermittent(case, group)


def _intermittent(case: Case, rows: pd.DataFrame) -> Finding:
    table = case.handshakes
    own = table[table["server"].isin(rows["server"].unique())]
    same = own[own["client_hello_digest"].isin(rows["client_hello_digest"].unique())]
    ratio = failure_ratio(same, by=None).iloc[0]
    base = int(ratio["failed"] + ratio["established"])
    title = (
        f"{upper(servers_do(rows, 'fail'))} now and then: {len(rows):,} of {base:,} handshakes with the same offers "
        f"ended with {alert(rows)}, {ratio['established']:,.0f} succeeded{_contrast(own, rows)}"
    )
    bounds = words.interval(ratio["ci_low"], ratio["ci_high"])
    detail = (
        f"Of those offers {words.percent(ratio['failure_ratio'])} failed, 95 % interval {bounds}; "
        f"{words.count(int(ratio['clients']), 'client')}.",
        *_versions(own),
        f"Each failed so: {phrase(rows)}.",
    )
    spared = _spared(own, rows)
    around = ""
    if spared is not None:
        around = f" Until then {words.wire(spared.name)}, of which none failed here, may be a way around."
    advice = (
        f"The offer is not to blame, since it succeeds as well. Look at the server {_when(rows)}: behind one address "
        "there may be several machines (or processes), of which one is set up differently, overloaded or broken."
        f"{around}"
    )
    return finding("intermittent_failure", Severity.ERROR, rows, title, detail, advice, causes_of(rows))


def _when(rows: pd.DataFrame) -> str:
    times = rows["time"]
    first = words.moment(times.min().isoformat())
    return f"at {first}" if len(rows) == 1 else f"between {first} and {words.moment(times.max().isoformat())}"


def _contrast(own: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Set the version of the failures beside one in which that server never failed."""
    spared = _spared(own, rows)
    if spared is None:
        return ""
    name = rows["version"].iloc[0]
    one = failure_ratio(own, by="version").loc[name]
    return (
        f" ({words.wire(name)}: {one['failed']:,.0f} of {one['failed'] + one['established']:,.0f} failed, "
        f"{words.wire(spared.name)}: 0 of {spared['established']:,.0f})"
    )


def _spared(own: pd.DataFrame, rows: pd.DataFrame) -> "pd.Series[Any] | None":
    """Return the version in which the server never failed, where all these failures are of another one."""
    ratios = failure_ratio(own, by="version")
    hit = rows["version"].dropna().unique()
    spared = ratios[(ratios["failed"] == 0) & (ratios["established"] > 0) & ~ratios.index.isin(hit)]
    if len(hit) != 1 or spared.empty:
        return None
    return spared.sort_values("established", ascending=False).iloc[0]


def _versions(own: pd.DataFrame) -> Iterator[str]:
    ratios = failure_ratio(own, by="version")
    if len(ratios) > 1:
        parts = [
            f"{words.wire(name)} {row['failed']:,.0f} of {row['failed'] + row['established']:,.0f} "
            f"({words.interval(row['ci_low'], row['ci_high'])})"
            for name, row in ratios.iterrows() if row["failed"] + row["established"]
        ]  # fmt: skip
        yield f"Failed by version, with 95 % intervals: {', '.join(parts)}."


def large_hello_lost(case: Case) -> Iterator[Finding]:
    """A ClientHello too large for one segment is never acknowledged or answered, while smaller ones are.

    Post-quantum key shares make hellos that large, and some old middleboxes and servers take no hello in two segments.
    """
    rows = case.open
    rows = rows[
        (rows["failure_phase"] == "client_hello")
        & (rows["failure_mechanism"].isin(["timeout", "reset"]) | (rows["failure_side"] == "client"))
    ]
    sizes = _hello_sizes(case) if len(rows) else pd.Series(dtype="float64")
    rows = rows.assign(size=looked_up(rows["id"], sizes))
    largest = looked_up(case.answered["id"], sizes).groupby(case.answered["server"]).max()
    rows = rows[(rows["size"] > SEGMENT) & (rows["size"] > looked_up(rows["server"], largest))]
    for group in by_server(rows):
        yield _large(group, largest)


def _hello_sizes(case: Case) -> "pd.Series[float]":
    table = case["messages"]
    hellos = table[table["message"] == "client_hello"]
    return hellos.drop_duplicates("id").set_index("id")["length"].astype("float64")


def _large(rows: pd.DataFrame, largest: "pd.Series[float]") -> Finding:
    least, most = rows["size"].min(), largest.reindex(rows["server"].unique()).max()
    title = (
        f"{upper(servers_do(rows, 'answer'))} no ClientHello as large as {least:,.0f} bytes "
        f"({words.count(len(rows), 'handshake')} of {clients(rows)}), while it answers smaller ones, "
        f"up to {most:,.0f} bytes"
    )
    detail = (
        f"Hellos of that size need two segments, mostly for a post-quantum key share. Each failed so: {phrase(rows)}.",
    )
    advice = (
        "Look for a middlebox or a server on the way that takes no ClientHello in two segments, and bring it up to "
        "date; until then switch post-quantum groups (X25519MLKEM768) off in these clients."
    )
    return finding("large_hello_lost", Severity.ERROR, rows, title, detail, advice, (Cause.PATH, Cause.SERVER_SILENT))
