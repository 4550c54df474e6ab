"""Failures at certificates: a client that refuses the server's, a server that refuses the client's (mutual TLS)."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.findings.causes import MEANING, Cause
from tlspcap.findings.evidence import by_server, clients, finding, most_frequent, servers, upper
from tlspcap.findings.model import Finding, Severity
from tlspcap.findings.offers import alert, client_list
from tlspcap.tls.rules.tls13 import EMPTY_CERTIFICATE

# Alerts about a certificate (RFC 8446 6.2) and what each may mean, likeliest first. Stacks differ: bad_certificate and
# certificate_unknown stand for anything, and what the capture shows of the certificate is asked before these rules.
_ANY = (
    Cause.SERVER_CERTIFICATE_UNTRUSTED, Cause.SERVER_CERTIFICATE_NAME, Cause.SERVER_CERTIFICATE_EXPIRED,
    Cause.SERVER_CERTIFICATE_SELF_SIGNED, Cause.SERVER_CERTIFICATE_UNFIT,
)  # fmt: skip
OF_SERVER: dict[str, tuple[Cause, ...]] = {
    "unknown_ca": (Cause.SERVER_CERTIFICATE_UNTRUSTED, Cause.SERVER_CERTIFICATE_SELF_SIGNED),
    "certificate_expired": (Cause.SERVER_CERTIFICATE_EXPIRED,),
    "certificate_revoked": (Cause.SERVER_CERTIFICATE_UNFIT,),
    "unsupported_certificate": (Cause.SERVER_CERTIFICATE_UNFIT,),
    "bad_certificate_status_response": (Cause.SERVER_CERTIFICATE_UNFIT,),
    "bad_certificate": _ANY,
    "certificate_unknown": _ANY,
}
_ANY_CLIENT = (
    Cause.CLIENT_CERTIFICATE_UNTRUSTED, Cause.CLIENT_CERTIFICATE_EXPIRED, Cause.CLIENT_CERTIFICATE_UNFIT,
)  # fmt: skip
OF_CLIENT: dict[str, tuple[Cause, ...]] = {
    "unknown_ca": (Cause.CLIENT_CERTIFICATE_UNTRUSTED,),
    "certificate_expired": (Cause.CLIENT_CERTIFICATE_EXPIRED,),
    "certificate_revoked": (Cause.CLIENT_CERTIFICATE_UNFIT,),
    "unsupported_certificate": (Cause.CLIENT_CERTIFICATE_UNFIT,),
    "certificate_required": (Cause.CLIENT_CERTIFICATE_MISSING, Cause.CLIENT_CERTIFICATE_UNTRUSTED),
}
AT_CERTIFICATE = ["server_certificate", "key_exchange"]


# -- the server's certificate -----------------------------------------------------------------------------------------


def server_certificate_refused(case: Case) -> Iterator[Finding]:
    """Clients refused the server's certificate, or left when they saw it, and the capture shows no flaw in it.

    By an alert about certificates, by a sealed alert in place of the client's Finished, or without a word.
    """
    rows = case.open
    rows = rows[(rows["failure_side"] == "client") & rows["failure_phase"].isin(AT_CERTIFICATE)]
    rows = rows[rows["alert"].isin(OF_SERVER) | rows["failure_mechanism"].isin(["hidden_alert", "close", "reset"])]
    keys = ["failure_mechanism", "alert", "client_auth"]
    for (mechanism, named, asked), kind in rows.groupby(keys, dropna=False, observed=True, sort=False):
        for visible, part in kind.groupby(kind["certificate_sha256"].notna()):
            causes = _of_server(str(mechanism), named, str(asked), bool(visible))
            for group in by_server(part):
                yield _refused_server(case, group, causes)


def _of_server(mechanism: str, named: object, asked: str, visible: bool) -> tuple[Cause, ...]:
    """What may be behind it. A flaw in a certificate that was seen has been told by the rules about certificates."""
    trust = Cause.SERVER_CERTIFICATE_UNTRUSTED
    causes = _ANY if words.missing(named) else OF_SERVER[str(named)]
    if visible and trust in causes:
        causes = (trust, Cause.SERVER_CERTIFICATE_UNFIT)
    if mechanism in ("close", "reset"):
        left = (Cause.CLIENT_LEFT, *causes)
        want = (Cause.CLIENT_CERTIFICATE_MISSING,)
        causes = want + left if asked == "requested" else left + want if asked == "hidden" else left
    return causes


def _refused_server(case: Case, rows: pd.DataFrame, causes: tuple[Cause, ...]) -> Finding:
    count = words.count(len(rows), "handshake")
    if causes[0] is Cause.CLIENT_CERTIFICATE_MISSING:
        title = f"{upper(clients(rows))} left when {servers(rows)} asked for a client certificate ({count})"
        advice = (
            "Give the client a certificate if the server needs one. A browser that has to ask its user leaves, and "
            "comes again with the choice."
        )
    elif causes[0] is Cause.CLIENT_LEFT:
        title = f"{upper(clients(rows))} left without a word at the certificate of {servers(rows)} ({count})"
        advice = (
            "Look into the client's log: it refused the certificate or a pin, ran into a time-out of its own, or only "
            "looked what was there (a scan, a health check)."
        )
    else:
        title = f"{upper(clients(rows))} refused the certificate of {servers(rows)} with {alert(rows)} ({count})"
        advice = _ADVICE[causes[0]]
    detail = (*_shown(case, rows), _may_be(causes), *_others(case, rows), f"Clients: {client_list(rows)}.")
    return finding("server_certificate_refused", Severity.ERROR, rows, title, detail, advice, causes)


_ADVICE = {
    Cause.SERVER_CERTIFICATE_UNTRUSTED: "See that the server sends its intermediate certificates, and that the client "
    "trusts the root they lead to; compare the name asked for and the dates with the certificate.",
    Cause.SERVER_CERTIFICATE_EXPIRED: "Renew the server's certificate, and see that the client's clock is right.",
    Cause.SERVER_CERTIFICATE_UNFIT: "Give the server a certificate that this client accepts: not revoked, with a key, "
    "signature and use that the client supports.",
}  # fmt: skip


def _shown(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    leaf = rows["certificate_sha256"].dropna()
    table = case["certificates"]
    found = table[table["sha256"].isin(leaf.head(1))]
    if found.empty:
        yield "The certificate is sealed (TLS 1.3), so the capture cannot tell what is wrong with it; keys would."
        return
    one = found.iloc[0]
    dates = f"valid from {_day(one['not_before'])} to {_day(one['not_after'])}"
    names = words.wire(one["san"], 120)
    yield f"The certificate: {words.wire(one['subject'])}, for {names}, issued by {words.wire(one['issuer'])}, {dates}."


def _day(time: object) -> str:
    return words.UNKNOWN if words.missing(time) else f"{time:%Y-%m-%d}"


def _may_be(causes: tuple[Cause, ...]) -> str:
    meant = "; ".join(MEANING[cause] for cause in causes)
    return f"It says that {meant}." if len(causes) == 1 else f"One of these, likeliest first: {meant}."


def _others(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    """Say who took what the clients refused."""
    fine = case.established
    fine = fine[fine["server"].isin(rows["server"].unique())]
    if len(fine):
        n = words.count(len(fine), "handshake")
        same = fine["client_hello_digest"].isin(rows["client_hello_digest"].dropna()).sum()
        yield f"{n} with the same server succeeded, {same:,} of them with the same offer."


# -- the client's certificate -----------------------------------------------------------------------------------------


def client_certificate_refused(case: Case) -> Iterator[Finding]:
    """Mutual TLS: a server refused the client's certificate, or that there was none.

    The requested authorities are set against the issuer of what was presented. In TLS 1.3 both are sealed, and the
    client believes that it succeeded: what the sizes of the client's flight tell is inferred.
    """
    rows = case.open
    rows = rows[(rows["failure_side"] == "server") & (rows["failure_phase"] == "client_auth")]
    if rows.empty:
        return
    rows = rows.assign(**_presented(case, rows))
    keys = ["alert", "client_auth", "empty", "expired", "stranger", "failure_mechanism"]
    for _, kind in rows.groupby(keys, dropna=False, observed=True, sort=False):
        causes = _of_client(kind.iloc[0])
        for group in by_server(kind):
            yield _refused_client(case, group, causes)


def _presented(case: Case, rows: pd.DataFrame) -> dict[str, "pd.Series[bool]"]:
    """What is known of the certificate presented: none, expired then, or of no authority that the server named."""
    table = case["certificates"]
    leaves = table[table["role"] == "client"].set_index("sha256")
    own = leaves.reindex(rows["client_certificate_sha256"])
    time = rows["time"].to_numpy()
    expired = (own["not_after"].to_numpy() < time) | (own["not_before"].to_numpy() > time)
    requests = case["certificate_requests"].set_index("digest")["authorities"]
    wanted = rows["certificate_request_digest"].map(requests)
    pairs = pd.DataFrame({"issuer": own["issuer"].to_numpy(), "wanted": wanted.to_numpy()}, index=rows.index)
    issuers = {str(subject): str(issuer) for subject, issuer in leaves[["subject", "issuer"]].itertuples(index=False)}
    strange = {
        (issuer, names): not _leads_to(issuer, str(names).split("; "), issuers)
        for issuer, names in pairs.dropna().drop_duplicates().itertuples(index=False)
    }
    empty = (rows["client_auth"] == "no_certificate") | rows["reason"].str.contains(EMPTY_CERTIFICATE, regex=False)
    return {
        "empty": empty.fillna(False).astype(bool),
        "expired": pd.Series(expired, index=rows.index),
        "stranger": pd.Series([strange.get(pair, False) for pair in pairs.itertuples(False, None)], rows.index),
    }


def _leads_to(issuer: str, authorities: list[str], issuers: dict[str, str]) -> bool:
    """Tell whether a name is one of the authorities, or leads to one by the certificates that were presented."""
    for _ in range(8):  # no chain is longer
        if issuer in authorities:
            return True
        issuer = issuers.get(issuer, issuer)
    return False


def _of_client(row: "pd.Series[Any]") -> tuple[Cause, ...]:
    if row["empty"]:
        return (Cause.CLIENT_CERTIFICATE_MISSING, Cause.CLIENT_CERTIFICATE_UNTRUSTED)
    seen = [
        cause for cause, shows in ((Cause.CLIENT_CERTIFICATE_EXPIRED, row["expired"]),
                                   (Cause.CLIENT_CERTIFICATE_UNTRUSTED, row["stranger"])) if shows
    ]  # fmt: skip
    if seen:
        return tuple(seen)
    if not words.missing(row["alert"]) and str(row["alert"]) in OF_CLIENT:
        return OF_CLIENT[str(row["alert"])]
    if row["client_auth"] == "certificate":
        return _ANY_CLIENT
    return (*_ANY_CLIENT, Cause.CLIENT_CERTIFICATE_MISSING, Cause.SERVER_ERROR)


def _refused_client(case: Case, rows: pd.DataFrame, causes: tuple[Cause, ...]) -> Finding:
    count = words.count(len(rows), "handshake")
    first = rows.iloc[0]
    seen = first["client_auth"] == "certificate" and not words.missing(first["client_certificate_sha256"])
    if causes[0] is Cause.CLIENT_CERTIFICATE_MISSING:
        wish = f"{upper(servers(rows))} asked for a client certificate, and {clients(rows)} sent none"
    elif not seen and not first["empty"]:
        wish = f"{upper(servers(rows))} refused the client certificate of {clients(rows)}"
    else:
        wish = f"{upper(servers(rows))} refused the client certificate of {clients(rows)}, {_fault(case, rows, causes)}"
    detail = (
        *_asked(case, rows), *_sent(case, rows), _may_be(causes), *_believes(rows), *_succeeded(case, rows),
        f"Clients: {client_list(rows)}.",
    )  # fmt: skip
    title = f"{wish}: {count} ended with {alert(rows)}"
    return finding("client_certificate_refused", Severity.ERROR, rows, title, detail, _CLIENT_ADVICE[causes[0]], causes)


def _fault(case: Case, rows: pd.DataFrame, causes: tuple[Cause, ...]) -> str:
    table = case["certificates"]
    found = table[table["sha256"].isin(rows["client_certificate_sha256"].dropna().head(1))]
    if found.empty or causes[0] is Cause.CLIENT_CERTIFICATE_UNFIT:
        return "which is not fit for that use"
    if causes[0] is Cause.CLIENT_CERTIFICATE_EXPIRED:
        return f"which is valid from {_day(found.iloc[0]['not_before'])} to {_day(found.iloc[0]['not_after'])}"
    return f"which was issued by {words.wire(found.iloc[0]['issuer'])}"


def _asked(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    table = case["certificate_requests"]
    found = table[table["digest"].isin(rows["certificate_request_digest"].dropna())]
    if len(found):
        names = words.wire(found.iloc[0]["authorities"], 300)
        told = "any, it names none" if words.missing(found.iloc[0]["authorities"]) else names
        yield f"Authorities that the server accepts: {told}."


def _sent(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    table = case["certificates"]
    found = table[table["sha256"].isin(rows["client_certificate_sha256"].dropna())]
    for _, one in found.head(3).iterrows():
        dates = f"valid from {_day(one['not_before'])} to {_day(one['not_after'])}"
        yield f"Presented: {words.wire(one['subject'])}, issued by {words.wire(one['issuer'])}, {dates}."


def _believes(rows: pd.DataFrame) -> Iterator[str]:
    if (rows["version"] == "TLS 1.3").any():
        yield (
            "In TLS 1.3 a client is done before the server has looked at its certificate: it believes that it "
            "succeeded, and its log shows the end only when it reads or writes."
        )


def _succeeded(case: Case, rows: pd.DataFrame) -> Iterator[str]:
    fine = case.established
    fine = fine[fine["server"].isin(rows["server"].unique())]
    if len(fine):
        what = most_frequent(fine["client_auth"].astype("string"))
        yield f"Succeeded with the same server: {words.count(len(fine), 'handshake')}; client authentication {what}."


_CLIENT_ADVICE = {
    Cause.CLIENT_CERTIFICATE_MISSING: "Give the client a certificate (and its key) from one of the authorities that "
    "the server accepts; a client that has one from another authority often sends none.",
    Cause.CLIENT_CERTIFICATE_UNTRUSTED: "Give the client a certificate from an authority that the server accepts (with "
    "the intermediates), or add the authority to those of the server.",
    Cause.CLIENT_CERTIFICATE_EXPIRED: "Renew the client's certificate, and see that the server's clock is right.",
    Cause.CLIENT_CERTIFICATE_UNFIT: "Give the client a certificate meant for client authentication, with a key and "
    "signature that the server supports.",
}  # fmt: skip
