"""Failures at the hellos: no common cipher, group or signature scheme, no common protocol, a name unknown."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.findings.causes import MEANING, Cause
from tlspcap.findings.evidence import by_server, clients, finding, most_frequent, servers, upper
from tlspcap.findings.model import Finding, Severity
from tlspcap.findings.offers import TLS13_SUITES, Choices, Names, Offers, alert, client_list, named, who_offers
from tlspcap.grouping import distinct

# Alerts by which servers say that nothing in the offer suits them (RFC 8446 4.1.1, 6.2, RFC 5246 7.2.2, RFC 9155)
UNSUITABLE = ("handshake_failure", "insufficient_security", "missing_extension")
# What is offered, the column of the choice, what to call it, and how many of them a client mostly offers
PARAMETERS = (
    (Cause.NO_COMMON_CIPHER, "cipher_suites", "cipher", "cipher suite", 12),
    (Cause.NO_COMMON_GROUP, "groups", "group", "group", 4),
    (Cause.NO_COMMON_SIGNATURE, "signature_schemes", "signature_scheme", "signature scheme", 8),
)
TLS13_MOST = 3  # cipher suites that a client mostly offers where it offers nothing below TLS 1.3


def nothing_in_common(case: Case) -> Iterator[Finding]:
    """A server refused hellos because no cipher suite, group or signature scheme suits both sides: the two lists.

    The server's list is what it chose elsewhere in the capture. An offer that it took there is left to other rules.
    """
    rows = _unsuitable(case)
    if rows.empty:
        return
    offers, choices = Offers(case), Choices(case, rows["server"].unique())
    kind, first = distinct(rows[["server", "client_hello_digest"]])
    verdicts = [_empty_sets(choices, offers, row) for _, row in rows.iloc[first].iterrows()]
    places = {verdict: place for place, verdict in enumerate(dict.fromkeys(verdicts[number] for number in kind))}
    said = np.array([places[verdict] for verdict in verdicts])[kind]
    for verdict, place in places.items():
        for group in by_server(rows[said == place]):
            yield _nothing(case, offers, group, *verdict)


def _unsuitable(case: Case) -> pd.DataFrame:
    rows = case.open
    by_server = (rows["failure_side"] == "server") & (rows["failure_phase"] == "client_hello")
    refused = by_server & rows["alert"].isin(UNSUITABLE) & ~accepted_elsewhere(case, rows)
    # A HelloRetryRequest for a group that the client never offered (RFC 8446 4.1.4)
    retried = (rows["failure_side"] == "client") & rows["hello_retry"] & (rows["alert"] == "illegal_parameter")
    return rows[refused | retried]


def accepted_elsewhere(case: Case, rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are of an offer that the same server accepted in another handshake."""
    key = ["server", "client_hello_digest"]
    fine = case.established[key].dropna().drop_duplicates()
    known = pd.MultiIndex.from_frame(rows[key]).isin(pd.MultiIndex.from_frame(fine))
    return pd.Series(known, index=rows.index) & rows["client_hello_digest"].notna()


def _empty_sets(choices: Choices, offers: Offers, row: "pd.Series[Any]") -> tuple[tuple[Cause, ...], bool]:
    """Tell which of an offer's lists has nothing in common with what the server chose elsewhere.

    Where the server's other handshakes prove none, the causes are ordered by how narrow the offer is, and not proven.
    """
    digest = row["client_hello_digest"]
    if row["hello_retry"]:
        return (Cause.NO_COMMON_GROUP,), True
    versions = offers.of(digest, "versions")
    proven = [
        cause for cause, offered, choice, _, _ in PARAMETERS
        if (names := offers.of(digest, offered)) and (seen := choices.of(row["server"], versions, choice))
        and not seen & set(names)
    ]  # fmt: skip
    if proven:
        return tuple(proven), True
    return _by_narrowness(offers, digest, row), False


def _by_narrowness(offers: Offers, digest: object, row: "pd.Series[Any]") -> tuple[Cause, ...]:
    """Order the causes by how much narrower each list is than clients mostly offer it."""
    widths = {}
    for cause, column, _, _, most in PARAMETERS:
        names = offers.of(digest, column)
        only_13 = column == "cipher_suites" and all(name.startswith(TLS13_SUITES) for name in names)
        if names:
            widths[cause] = len(names) / (TLS13_MOST if only_13 else most)
    best = str(row["offered_version_max"])
    widths[Cause.NO_COMMON_VERSION] = 0.0 if best in ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1") else 9.0
    widths[Cause.NAME_UNKNOWN] = 5.0  # some servers say so of a name that they do not serve
    return tuple(sorted(widths, key=lambda cause: widths[cause]))


def _nothing(case: Case, offers: Offers, rows: pd.DataFrame, causes: tuple[Cause, ...], proven: bool) -> Finding:
    digests = list(dict.fromkeys(rows["client_hello_digest"]))
    detail = [
        line for cause, offered, choice, noun, _ in PARAMETERS
        if cause in causes for line in _lists(case, rows, offers.of_all(digests, offered), choice, noun)
    ]  # fmt: skip
    if not proven:
        detail.append(_unproven(causes))
    detail.append(f"Clients: {client_list(rows)}.")
    what = _what(offers, digests, causes, proven, rows)
    title = f"{what}: {words.count(len(rows), 'handshake')} refused with {alert(rows)}"
    return finding("nothing_in_common", Severity.ERROR, rows, title, tuple(detail), _advice(causes[0]), causes)


def _what(offers: Offers, digests: list[object], causes: tuple[Cause, ...], proven: bool, rows: pd.DataFrame) -> str:
    found = next((row for row in PARAMETERS if row[0] is causes[0]), None)
    sure = "" if proven else ", most likely"
    if found is None:
        old = f"{who_offers(rows)} at most {words.wire(rows['offered_version_max'].iloc[0])}"
        return f"{old}{sure} too old for {servers(rows)}"
    names = offers.of_all(digests, found[1])
    who = who_offers(rows).replace("Client", "client", 1)
    return f"No common {found[3]}{sure}: {who} {named(names, 3)} to {servers(rows)}"


def _lists(case: Case, rows: pd.DataFrame, names: Names, choice: str, noun: str) -> Iterator[str]:
    """Set the client's list beside what the server chose elsewhere."""
    if not names:
        return
    yield f"Offered, {words.count(len(names), noun)}: {named(names)}."
    seen = case.answered[case.answered["server"].isin(rows["server"].unique())]
    chosen = most_frequent(seen[choice])
    yield f"Chosen by the server elsewhere in this capture: {chosen or 'none was seen'}."
    wanted, there = keys_of(names), keys_of(seen[choice].dropna())
    if wanted and there and not wanted & there:
        yield f"What is offered needs a certificate with a key of {_or(wanted)}; the server has shown {_or(there)}."


def keys_of(names: Iterable[str]) -> set[str]:
    """Tell which kinds of certificate key go with cipher suites or signature schemes; those of TLS 1.3 name none.

    >>> sorted(keys_of(["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ecdsa_secp256r1_sha256", "TLS_AES_128_GCM_SHA256"]))
    ['ECDSA', 'RSA']
    """
    upper = [name.upper() for name in names]
    return {kind for kind in ("ECDSA", "RSA") for name in upper if f"_{kind}_" in name or name.startswith(f"{kind}_")}


def _or(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))


def _unproven(causes: tuple[Cause, ...]) -> str:
    listed = "; ".join(MEANING[cause] for cause in causes)
    return f"The alert does not say what was missing, nor does another handshake of the server. What fits: {listed}."


_ADVICE = {
    Cause.NO_COMMON_CIPHER: "Let both sides allow one cipher suite of forward secrecy in common (RFC 9325 4.2); mind "
    "that one of ECDSA needs an EC certificate on the server, one of RSA an RSA certificate.",
    Cause.NO_COMMON_GROUP: "Let both sides allow one group in common: x25519 and secp256r1 are what most have.",
    Cause.NO_COMMON_SIGNATURE: "Give the server a certificate with a kind of key that the client can check, or let "
    "the client offer the scheme.",
}


def _advice(cause: Cause) -> str:
    return _ADVICE.get(cause, "Compare the versions, cipher suites and groups that both sides are set to.")


def no_common_protocol(case: Case) -> Iterator[Finding]:
    """A server speaks none of the application protocols (ALPN) that clients offer.

    By the alert no_application_protocol, or, sealed in TLS 1.3, by one short record instead of the server's flight.
    """
    rows = case.open
    said = (rows["alert"] == "no_application_protocol").fillna(False).astype(bool)
    sealed = (
        (rows["failure_side"] == "server") & (rows["failure_mechanism"] == "hidden_alert")
        & rows["failure_phase"].isin(["client_hello", "server_hello"]) & rows["alpn_offered"].notna()
    )  # fmt: skip
    for (named_so, _), kind in rows[said | sealed].groupby([said, "alpn_offered"], sort=False, dropna=False):
        for group in by_server(kind):
            yield _protocol(case, group, bool(named_so))


def _protocol(case: Case, rows: pd.DataFrame, certain: bool) -> Finding:
    own = case.answered[case.answered["server"].isin(rows["server"].unique())]
    chosen = most_frequent(own["alpn"])
    offered = words.wire(rows["alpn_offered"].iloc[0])
    sure = "took none" if certain else "most likely took none"
    title = f"{upper(servers(rows))} {sure} of the application protocols that {clients(rows)} offers ({offered})"
    detail = (
        f"Refused: {words.count(len(rows), 'handshake')}, with {alert(rows)}.",
        f"Protocols that the server chose elsewhere in this capture: {chosen or 'none was seen'}.",
    )
    advice = "Let the client offer a protocol that the server speaks (RFC 7301), or switch it on at the server."
    causes = (Cause.NO_COMMON_PROTOCOL, *(() if certain else (Cause.SERVER_ERROR,)))
    return finding("no_common_protocol", Severity.ERROR, rows, title, detail, advice, causes)


def name_unknown(case: Case) -> Iterator[Finding]:
    """A server does not serve the name that clients ask for (SNI).

    By the alert unrecognized_name, or by a warning of that name after which the client gave up.
    """
    rows, alerts = case.open, case["alerts"]
    warned = alerts.loc[(alerts["description"] == "unrecognized_name") & (alerts["sender"] == "server"), "id"]
    gave_up = (rows["failure_side"] == "client") & rows["id"].isin(warned)
    for group in by_server(rows[(rows["alert"] == "unrecognized_name") | gave_up]):
        asked = named(group["sni"].dropna().unique(), 3) or "no name at all"
        title = f"{upper(servers(group))} did not know the name {asked} that {clients(group)} asked for"
        detail = (
            f"Refused: {words.count(len(group), 'handshake')}, with unrecognized_name from the server.",
            f"Names that it served elsewhere in this capture: {_served(case, group) or 'none was seen'}.",
        )
        advice = (
            "See that the client asks for the right name at the right address; if it does, add the name to the "
            "server's virtual hosts and certificate."
        )
        yield finding("name_unknown", Severity.ERROR, group, title, detail, advice, (Cause.NAME_UNKNOWN,))


def _served(case: Case, rows: pd.DataFrame) -> str:
    fine = case.established
    return most_frequent(fine.loc[fine["server"].isin(rows["server"].unique()), "sni"])
