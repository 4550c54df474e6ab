"""What is said of failures that no other rule explains: who ended them, how, at which step."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.findings.causes import MEANING, Cause
from tlspcap.findings.evidence import by_server, clients, finding, most_frequent, phrase, servers, upper
from tlspcap.findings.model import Finding, Severity

ENDING = ["failure_side", "failure_phase", "failure_mechanism", "alert", "alert_code", "certainty"]
PATIENCE = 1_000.0  # ms: who ends a connection after a longer wait than that has waited in vain
INTERNAL = ("internal_error", "access_denied", "user_canceled")


def no_answer(case: Case) -> Iterator[Finding]:
    """A server took the hello and never answered it, until the client gave up, the server closed, or nothing came."""
    rows = case.open
    waited = rows["handshake_ms"] >= PATIENCE
    ended = rows["failure_mechanism"].isin(["close", "reset"]) | (rows["failure_side"] == "client")
    silent = (rows["failure_mechanism"] == "timeout") & (rows["failure_side"] == "server")
    rows = rows[(rows["failure_phase"] == "client_hello") & (silent | (ended & waited))]
    for side, kind in rows.groupby("failure_side", observed=True, sort=False):
        for group in by_server(kind):
            yield _silence(group, str(side))


def _silence(rows: pd.DataFrame, side: str) -> Finding:
    waited = rows["handshake_ms"].median()
    after = "" if pd.isna(waited) else f" for {words.span(waited / 1000)}"
    if side == "client":
        what = f"did not answer the ClientHello{after}, and {clients(rows)} gave up"
    elif after:
        what = f"said nothing{after} after the ClientHello of {clients(rows)}, and then ended it"
    else:
        what = f"never answered the ClientHello of {clients(rows)}"
    title = f"{upper(servers(rows))} {what} ({words.count(len(rows), 'handshake')})"
    detail = (*_reason(rows), *_answered_elsewhere(rows))
    advice = (
        "Look at the server: it accepted the connection and read nothing, or waits itself (for a back end, a lookup, a "
        "free worker). A listener that speaks another protocol, and waits for the client, looks the same."
    )
    causes = (Cause.SERVER_SILENT, *((Cause.CLIENT_LEFT,) if side == "client" else ()))
    return finding("no_answer", Severity.ERROR, rows, title, detail, advice, causes)


def _answered_elsewhere(rows: pd.DataFrame) -> Iterator[str]:
    names = rows["server"].nunique()
    if names > 1:
        yield f"So did {words.count(names, 'server')}: {most_frequent(rows['server'])}."


def client_left(case: Case) -> Iterator[Finding]:
    """Clients left before the handshake was done, without a word and without having waited: scans, health checks."""
    rows = case.open
    rows = rows[(rows["failure_side"] == "client") & rows["failure_mechanism"].isin(["close", "reset"])]
    for _, group in rows.groupby(["failure_phase", "failure_mechanism"], dropna=False, observed=True, sort=False):
        title = f"{upper(clients(group))} left before the handshake was done: {phrase(group)}"
        detail = (f"Handshakes: {len(group):,}, of {servers(group)}.", *_reason(group))
        advice = (
            "See whether these clients mean it: a scan, a health check or a browser that opened one connection too "
            "many leaves so. A service that leaves so ran into a time-out or a fault of its own: look into its log."
        )
        causes = (Cause.CLIENT_LEFT, Cause.CLIENT_ERROR)
        yield finding("client_left", Severity.ERROR, group, title, detail, advice, causes)


def unexplained_failure(case: Case) -> Iterator[Finding]:
    """Handshakes that failed, by a cause that no other rule names: who ended them, how, and at which step."""
    for _, rows in case.open.groupby(ENDING, dropna=False, observed=True, sort=False):
        count = words.count(len(rows), "handshake")
        causes = causes_of(rows)
        title, detail = f"{count} failed: {phrase(rows)}", (*_reason(rows), *_may_be(causes))
        yield finding("unexplained_failure", Severity.ERROR, rows, title, detail, _advice(rows), causes)


def _may_be(causes: tuple[Cause, ...]) -> Iterator[str]:
    if len(causes) > 1:
        yield f"What may be behind it: {'; '.join(MEANING[cause] for cause in causes)}."


def _reason(rows: pd.DataFrame) -> Iterator[str]:
    """Say why it is believed, unless an alert in clear says it all."""
    known = rows["reason"].dropna()
    if len(known) and rows["failure_mechanism"].iloc[0] != "alert":
        yield f"Seen: {words.wire(known.iloc[0], 300)}."


def _advice(rows: pd.DataFrame) -> str:
    side = rows["failure_side"].iloc[0]
    if side == "network":
        return "Look for loss between the two: a firewall, a path MTU that is too small, a broken link."
    if rows["failure_mechanism"].iloc[0] == "violation":
        return (
            f"Look at what the {side} sends there: most often something writes to the connection past TLS (a log line, "
            "an error page, a device between the two)."
        )
    if words.missing(side):
        return "Look at the example in Wireshark."
    return f"Look into the log of the {side} at these times: it ended the handshakes, and the wire does not say why."


def causes_of(rows: pd.DataFrame) -> tuple[Cause, ...]:
    """What may be behind failures that ended alike, by no more than how they ended."""
    row = rows.iloc[0]
    side, alert = str(row["failure_side"]), row["alert"]
    error = Cause.SERVER_ERROR if side == "server" else Cause.CLIENT_ERROR
    if side == "network":
        return (Cause.PATH,)
    if str(row["failure_mechanism"]) == "violation":
        return (Cause.PROTOCOL_VIOLATION, error)
    if not words.missing(alert):
        at_hello = side == "server" and row["failure_phase"] == "client_hello"
        odd = (Cause.PROTOCOL_VIOLATION, error, *((Cause.NO_COMMON_GROUP,) if at_hello else ()))
        return (error,) if str(alert) in INTERNAL else odd
    if side == "server" and str(row["failure_mechanism"]) in ("close", "reset"):
        agreed = (Cause.NO_COMMON_VERSION, Cause.NO_COMMON_CIPHER, Cause.NO_COMMON_GROUP, Cause.NAME_UNKNOWN)
        return (Cause.SERVER_ENDED, error, *agreed)
    return (Cause.SERVER_SILENT, error) if str(row["failure_mechanism"]) == "timeout" else (error,)
