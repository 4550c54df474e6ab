"""Conversations in which one side does not speak TLS: the wrong port, or a request for TLS declined."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.evidence import by_server, clients, finding, servers, servers_do, upper
from tlspcap.findings.model import Finding, Severity

# How an answer that is not TLS begins in the reason of a handshake, and what speaks so
SPEAKERS = {
    "HTTP/": "plain HTTP", "<html": "plain HTTP", "SSH-": "SSH", "Invalid SSH": "SSH", "220": "SMTP or FTP",
    "+OK": "POP3", "* OK": "IMAP",
}  # fmt: skip


def tls_to_plain_port(case: Case) -> Iterator[Finding]:
    """Clients speak TLS to a port that speaks something else (plain HTTP, SSH, a mail protocol)."""
    rows = case.open
    rows = rows[rows["failure_mechanism"] == "not_tls"]
    rows = rows.assign(speaks=_speaks(rows["reason"]))
    for speaks, kind in rows.groupby("speaks", sort=False):
        for group in by_server(kind[kind["failure_side"] != "client"]):
            yield _plain(group, str(speaks))
        stranger = kind[kind["failure_side"] == "client"]
        if len(stranger):
            yield _client_is_no_tls(stranger)


def _speaks(reasons: "pd.Series[str]") -> "pd.Series[str]":
    speaks = pd.Series("something that is not TLS", index=reasons.index)
    for sign, name in reversed(SPEAKERS.items()):
        quoted = reasons.str.contains(f'"{sign}', regex=False) | reasons.str.contains(f"'{sign}", regex=False)
        speaks = speaks.mask(quoted.fillna(False).astype(bool), name)
    return speaks


def _plain(rows: pd.DataFrame, speaks: str) -> Finding:
    count = words.count(len(rows), "handshake")
    title = f"{upper(servers_do(rows, 'speak'))} {speaks} on that port, and {clients(rows)} spoke TLS to it ({count})"
    detail = (f"{upper(words.wire(rows['reason'].iloc[0], 300))}.",)
    return finding("tls_to_plain_port", Severity.ERROR, rows, title, detail, _advice(speaks), (Cause.NOT_TLS,))


def _advice(speaks: str) -> str:
    if speaks == "plain HTTP":
        return "Use http:// for that port, or the server's TLS port; or switch TLS on there (nginx: listen … ssl)."
    if speaks in ("SMTP or FTP", "POP3", "IMAP"):
        return "Let the client ask for TLS in that protocol first (STARTTLS), or use the port that begins with TLS."
    return "Send the client to the server's TLS port, or switch TLS on at that port."


def _client_is_no_tls(rows: pd.DataFrame) -> Finding:
    title = f"{upper(clients(rows))} sent what is not TLS to {servers(rows)} ({words.count(len(rows), 'handshake')})"
    detail = (f"{upper(words.wire(rows['reason'].iloc[0], 300))}.",)
    advice = "See what speaks to that port: the client, or something between it and the server."
    return finding("tls_to_plain_port", Severity.ERROR, rows, title, detail, advice, (Cause.NOT_TLS,))


def http_on_tls_port(case: Case) -> Iterator[Finding]:
    """Plain HTTP was spoken to a port that speaks TLS."""
    yield from _noted(
        case, "http_on_tls_port", Severity.ERROR, "Plain HTTP was spoken to a TLS port",
        "Use https:// in the client (or the load balancer's health check), or the server's port for plain HTTP.",
    )  # fmt: skip


def starttls_refused(case: Case) -> Iterator[Finding]:
    """A server (or a proxy) declined a request for TLS, so that no handshake came."""
    yield from _noted(
        case, "starttls_refused", Severity.ERROR, "A request for TLS (STARTTLS, or a way through a proxy) was declined",
        "Switch TLS on in that server, or see why the proxy does not allow the way.",
    )  # fmt: skip


def _noted(case: Case, kind: str, severity: Severity, what: str, advice: str) -> Iterator[Finding]:
    """Make a finding of the notes of one kind; those of a handshake that succeeded none the less are left out."""
    notes = case["notes"]
    rows = notes[(notes["kind"] == kind) & notes["stream"].notna()]
    rows = rows[~rows["id"].isin(case.established["id"])] if len(rows) else rows
    if rows.empty:
        return
    counts = rows["detail"].value_counts()
    detail = tuple(f"{n:,} {words.TIMES} {words.wire(text, 300)}." for text, n in counts.head(5).items())
    if len(counts) == 1:  # the note says more, and names the server
        what, detail = f"{upper(words.wire(counts.index[0], 300))},", ()
    title = f"{what} in {words.count(rows['stream'].nunique(), 'conversation')}"
    yield finding(kind, severity, rows, title, detail, advice, (Cause.NOT_TLS,))
