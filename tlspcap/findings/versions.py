"""Failures for want of a version of TLS that both sides allow."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.evidence import by_server, finding, most_frequent, servers
from tlspcap.findings.model import Finding, Severity
from tlspcap.findings.offers import alert, client_list, extremes, looked_up, lowest_offered, ranks, who_offers
from tlspcap.tls.names import version_rank_of_name

OLD, NEW, NEITHER = "too old", "too new", "neither"


@dataclass(frozen=True)
class Bounds:
    """The versions that a server accepted in this capture, as ranks; NaN where it accepted none."""

    lowest: "pd.Series[float]"  # by server
    highest: "pd.Series[float]"


def no_common_version(case: Case) -> Iterator[Finding]:
    """Clients and a server that share no version of TLS: who is shut out, and who would be let in.

    By the alert protocol_version, or any refusal of a hello by a server that has accepted nothing in its range.
    """
    rows = case.open[_at_hello(case.open)]
    if rows.empty:
        return
    rows = rows.assign(direction=_direction(rows, _bounds(case)))
    said = rows["alert"] == "protocol_version"
    known = (rows["failure_side"] == "server") & rows["failure_mechanism"].isin(["alert", "reset", "close"])
    rows = rows[said | (known & (rows["direction"] != NEITHER))]
    rows = rows.assign(direction=rows["direction"].where(rows["direction"] != NEITHER, _guess(rows)))
    for _, kind in rows.groupby("direction", sort=False):
        for group in by_server(kind):
            yield _finding(case, group)


def _at_hello(rows: pd.DataFrame) -> "pd.Series[bool]":
    return rows["failure_phase"].isin(["client_hello", "server_hello"])


def _bounds(case: Case) -> Bounds:
    """What each server accepted; a handshake that the client then refused for its version shows no more than a wish."""
    chosen = case.answered[case.answered["alert"] != "protocol_version"]
    groups = ranks(chosen["negotiated_version"]).groupby(chosen["server"])
    return Bounds(groups.min(), groups.max())


def _direction(rows: pd.DataFrame, bounds: Bounds) -> "pd.Series[str]":
    """Tell whether all that a client offers lies below, or above, all that the server accepted from others."""
    highest, lowest = ranks(rows["offered_version_max"]), ranks(lowest_offered(rows["offered_versions"]))
    below = highest < looked_up(rows["server"], bounds.lowest)
    above = lowest > looked_up(rows["server"], bounds.highest)
    return pd.Series(np.select([below, above], [OLD, NEW], NEITHER), index=rows.index)


def _guess(rows: pd.DataFrame) -> "pd.Series[str]":
    """Without another handshake of that server: what offers nothing but TLS 1.3 is new to it, TLS 1.1 is old."""
    only_13 = ranks(lowest_offered(rows["offered_versions"])) >= version_rank_of_name("TLS 1.3")
    old = ranks(rows["offered_version_max"]) <= version_rank_of_name("TLS 1.2")
    return pd.Series(np.select([only_13, old], [NEW, OLD], NEITHER), index=rows.index)


def _finding(case: Case, rows: pd.DataFrame) -> Finding:
    others = case.answered[~case.answered["id"].isin(rows["id"])]
    others = others[others["server"].isin(rows["server"].unique())]
    detail = (
        f"Versions offered: {most_frequent(rows['offered_versions'])}.",
        _accepted(others),
        f"Shut out: {client_list(rows)}.",
        *_gain(rows),
        *_loss(case, rows),
    )
    title = f"{_title(rows, others)}: {words.count(len(rows), 'handshake')} refused with {alert(rows)}"
    causes = (Cause.NO_COMMON_VERSION,)
    return finding("no_common_version", Severity.ERROR, rows, title, detail, _advice(rows), causes)


def _title(rows: pd.DataFrame, others: pd.DataFrame) -> str:
    direction = rows["direction"].iloc[0]
    lowest, highest = extremes(others["negotiated_version"])
    if direction == OLD:
        best = extremes(rows["offered_version_max"])[1]
        seen = f"accepted nothing below {lowest}" if len(others) else "refused that"
        return f"{who_offers(rows)} at most {words.wire(best)}, and {servers(rows)} {seen}"
    if direction == NEW:
        least = extremes(lowest_offered(rows["offered_versions"]))[0]
        seen = f"accepted nothing above {highest}" if len(others) else "refused that"
        return f"{who_offers(rows)} nothing below {words.wire(least)}, and {servers(rows)} {seen}"
    return f"{who_offers(rows)} {most_frequent(rows['offered_versions'], 1)}, and {servers(rows)} took none of that"


def _accepted(others: pd.DataFrame) -> str:
    if others.empty:
        return "The capture holds no other handshake that tells which versions the server allows."
    return f"The server chose in its other handshakes here: {most_frequent(others['negotiated_version'], 5)}."


def _gain(rows: pd.DataFrame) -> Iterator[str]:
    """Say whom a lower minimum (or a newer version) at the server would let in."""
    direction = rows["direction"].iloc[0]
    if direction == NEITHER:
        return
    column = rows["offered_version_max"] if direction == OLD else lowest_offered(rows["offered_versions"])
    least = extremes(column)[0 if direction == OLD else 1]
    who = f"{words.count(rows['client_ip'].nunique(), 'client')} ({words.count(len(rows), 'handshake')})"
    verb = "Lowering the server's minimum to" if direction == OLD else "Allowing"
    yield f"{verb} {words.wire(least)} would let in {who}."


def _loss(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    """Say whom a higher minimum at the server would shut out."""
    own = case.established[case.established["server"].isin(rows["server"].unique())]
    names = sorted(own["negotiated_version"].dropna().unique(), key=version_rank_of_name)
    if len(names) > 1:
        lost = own[own["negotiated_version"] == names[0]]
        yield (
            f"Raising it to {words.wire(names[1])} would shut out up to "
            f"{words.count(lost['client_ip'].nunique(), 'client')} more, which took {words.wire(names[0])} here "
            f"({words.count(len(lost), 'handshake')})."
        )


_ADVICE = {
    OLD: "On the clients: bring their TLS library up to date, or lift the setting that holds it down. Where that "
    "cannot be, allow the older version on the server, best on an address of its own for these clients.",
    NEW: "On the server: bring its TLS library up to date, or allow the newer version. Until then let the clients "
    "offer an older version too.",
    NEITHER: "Compare the minimum and maximum version that both sides are set to.",
}


def _advice(rows: pd.DataFrame) -> str:
    return _ADVICE[str(rows["direction"].iloc[0])]
