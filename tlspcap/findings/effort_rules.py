"""Rules about needless effort: sessions that are never resumed, retried hellos, servers that take their time."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings import evidence
from tlspcap.findings.case import Case
from tlspcap.findings.model import Finding, Severity

_WANTED = [
    "id", "capture", "transport", "stream", "frame", "client_ip", "server_ip", "server_port", "server", "sni", "ja4",
    "version", "negotiated_version", "group", "hello_retry", "resumption", "resumed", "outcome", "client_hello_digest",
    "server_ms", "server_hello_ms", "server_rtt_ms", "tcp_rtt_ms",
]  # fmt: skip
ENOUGH = 3  # handshakes of a kind before a rule is read from them
SLOW_MS = 100  # of the server's own time
SLOW_ROUNDS = 5  # times the round trip
FLIGHTS = {True: 1, False: 2}  # of the server, by whether it is one of TLS 1.3 or resumed: each costs a way to it


# -- resumption -------------------------------------------------------------------------------------------------------


def resumption_declined(case: Case) -> Iterator[Finding]:
    """A server takes up none of the sessions that its clients offer to resume: each handshake is a full one."""
    rows = _asked(case)
    none = ~rows.groupby("server", sort=False)["resumed"].transform("any")
    enough = rows.groupby("server", sort=False)["id"].transform("size") >= ENOUGH
    for part in evidence.by_server(rows[none & enough & ~_roams(rows)]):
        yield _declined(case, part)


def _declined(case: Case, rows: pd.DataFrame) -> Finding:
    """Tickets that the server gave itself and does not know again are another matter than none at all."""
    messages = case["messages"]
    gave = messages["id"][messages["message"] == "new_session_ticket"]
    own = case.handshakes["server"].isin(rows["server"].unique())
    given = int(case.handshakes["id"][own].isin(gave).sum())
    told = f"Versions: {evidence.most_frequent(rows['version'])}; {evidence.clients(rows)}."
    title = f"Resumption never works: {evidence.servers(rows)} declined all {len(rows):,} sessions offered"
    if not given:
        advice = (
            "On the server: switch on session tickets (or a session cache), and let their keys live longer than the "
            "pauses of the clients; each resumption saves the certificate and its signature."
        )
        return evidence.finding("resumption_declined", Severity.INFO, rows, title, (told,), advice)
    detail = f"It gave a new ticket in {words.count(given, 'handshake')}: tickets are switched on there."
    advice = (
        "Behind the address: if a load balancer hands connections to several servers, let them share their ticket keys "
        "(nginx: ssl_session_ticket_key), or send each client to the server it had; if it is one server, see that its "
        "ticket keys outlive the pauses of the clients, its restarts and its worker processes."
    )
    title = f"{title}, though it gives out tickets"
    return evidence.finding("resumption_declined", Severity.INFO, rows, title, (detail, told), advice)


def tickets_not_shared(case: Case) -> Iterator[Finding]:
    """Behind one name stand several addresses, and a session got at one of them is never taken up at another."""
    rows = _asked(case)
    rows = rows[_roams(rows)]
    never = ~rows.groupby("sni")["resumed"].transform("any")
    rows = rows[never & (rows.groupby("sni")["id"].transform("size") >= ENOUGH)]
    for name in rows["sni"].value_counts().index[: evidence.MOST_SERVERS]:
        part = rows[rows["sni"] == name]
        yield evidence.finding(
            "tickets_not_shared", Severity.WARNING, part,
            f"Sessions do not carry over between the addresses of {words.wire(name)}: all {len(part):,} that clients "
            "offered at another one than they had been to were declined",
            (
                "That the session came from the address before is inferred: the client's handshake before it, for the "
                "same name, went there.",
                f"Addresses: {evidence.most_frequent(part['server'], 6)}.",
            ),
            "On the servers: share the ticket keys (or the session cache) among all that serve this name, and change "
            "the keys together; or let the load balancer send a client to the server it had.",
        )  # fmt: skip


def _asked(case: Case) -> pd.DataFrame:
    """Handshakes that offered a session, with the address to which the client went before for that name and port."""
    rows = case.handshakes[_WANTED]
    before = rows.groupby(["client_ip", "ja4", "sni", "server_port"], sort=False)["server_ip"].shift()
    return rows.assign(before=before)[rows["resumption"].isin(["declined", "session_id", "ticket", "psk"])]


def _roams(rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which of them went to another address than the one before."""
    return rows["before"].notna() & (rows["before"] != rows["server_ip"])


# -- retried hellos ---------------------------------------------------------------------------------------------------


def hello_retry_usual(case: Case) -> Iterator[Finding]:
    """A server asks most clients of TLS 1.3 for another hello (HelloRetryRequest): a round trip more each time."""
    rows = case.handshakes[_WANTED]
    rows = rows[rows["hello_retry"] | rows["negotiated_version"].str.startswith("TLS 1.3").fillna(False)]
    retried = rows.groupby("server", sort=False)["hello_retry"]
    usual = (retried.transform("mean") > 0.5) & (retried.transform("sum") >= ENOUGH)
    for part in evidence.by_server(rows[usual & rows["hello_retry"]]):
        all_of = int(rows["server"].isin(part["server"].unique()).sum())
        yield evidence.finding(
            "hello_retry_usual", Severity.INFO, part,
            f"{evidence.servers(part)} asked for another ClientHello in {len(part):,} of {all_of:,} handshakes"
            f"{_cost(part)}",
            tuple(_shares(case, part)),
            "On the server: also allow a group that the clients send a key share of (mostly x25519, lately "
            "X25519MLKEM768); or let the clients send a share of the group that it wants (RFC 8446 4.1.4, 4.2.8).",
        )  # fmt: skip


def _cost(rows: pd.DataFrame) -> str:
    trip = rows["tcp_rtt_ms"].median()
    return "" if pd.isna(trip) else f", each a round trip of {words.milliseconds(trip)} ms more"


def _shares(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    """Which group was taken, and which shares were sent."""
    if rows["group"].notna().any():
        yield f"Taken in the end: {evidence.most_frequent(rows['group'])}."
    hellos = case["hellos"].set_index("digest")["key_shares"]
    sent = rows["client_hello_digest"].map(hellos[~hellos.index.duplicated()])
    if sent.notna().any():
        yield f"Key shares of the first hello: {evidence.most_frequent(sent.str.replace(',', ' and '))}."


# -- slow servers -----------------------------------------------------------------------------------------------------


def slow_server(case: Case) -> Iterator[Finding]:
    """A server needs far longer for its part of the handshake than the way to it explains."""
    rows = case.handshakes[_WANTED]
    rows = rows[rows["outcome"] == "established"]
    short = rows["resumed"] | rows["negotiated_version"].str.startswith("TLS 1.3").fillna(False)
    flights = short.map(FLIGHTS) + rows["hello_retry"].astype(int)
    own = rows["server_ms"] - flights * rows["server_rtt_ms"].fillna(0)
    rows = rows.assign(own=own)[own.notna()]
    by_server = rows.groupby("server", sort=False)
    usual, trip = by_server["own"].transform("median"), by_server["tcp_rtt_ms"].transform("median").fillna(0)
    enough = by_server["own"].transform("size") >= ENOUGH
    slow = enough & (usual > SLOW_MS) & (usual > SLOW_ROUNDS * trip)
    for part in evidence.by_server(rows[slow]):
        yield _slow(part)


def _slow(rows: pd.DataFrame) -> Finding:
    usual, first = rows["own"].median(), rows["server_hello_ms"].median()
    trip = rows["tcp_rtt_ms"].median()
    way = "" if pd.isna(trip) else f", the way to it and back takes {words.milliseconds(trip)} ms"
    begin = first > usual / 2
    step = "its first answer to the ClientHello" if begin else "what follows the client's key exchange"
    return evidence.finding(
        "slow_server", Severity.WARNING, rows,
        f"{evidence.servers_do(rows, 'take')} {words.milliseconds(usual)} ms of its own for a handshake{way}",
        (
            f"The median of {words.count(len(rows), 'handshake')} that succeeded; most of it goes by before {step} "
            f"({words.milliseconds(first)} ms from the ClientHello to the first answer).",
        ),
        "On the server: look for its load, a slow signer (RSA 4096, a key in an HSM or on another host), a look-up in "
        "the way (OCSP stapling, client names in DNS), or a queue in front of it.",
    )  # fmt: skip
