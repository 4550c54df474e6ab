"""Rules about weak settings: what a server really used, told server by server."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings import evidence
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.model import Finding, Severity
from tlspcap.tls.ciphers import suite

OLD_VERSIONS = ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1")
ENOUGH_DH_BITS = 2048
_BROKEN_ENCRYPTION = {"RC4": "RC4", "3DES": "3DES", "DES": "DES", "DES40": "DES", "RC2": "RC2", "NULL": "no encryption"}
_NO = ("handshake_failure", "insufficient_security", "illegal_parameter")
_WANTED = [
    "id", "capture", "transport", "stream", "frame", "client_ip", "server_ip", "server_port", "server", "place",
    "negotiated_version", "offered_version_max", "cipher", "cipher_code", "dh_bits", "forward_secrecy",
    "secure_renegotiation", "client_hello_digest", "outcome", "alert", "failure_side", "failure_phase",
]  # fmt: skip
_AT_CHOICE = ("server_hello", "server_certificate", "key_exchange")  # a flight comes as a whole, mostly
_RENEGOTIATION = ("renegotiation_info", "TLS_EMPTY_RENEGOTIATION_INFO_SCSV")


def old_version(case: Case) -> Iterator[Finding]:
    """A server accepts SSL 2.0, SSL 3.0, TLS 1.0 or TLS 1.1."""
    rows = _chosen(case)
    for part in evidence.by_server(rows[rows["negotiated_version"].isin(OLD_VERSIONS)]):
        versions = evidence.most_frequent(part["negotiated_version"], len(OLD_VERSIONS))
        yield _weak(
            "old_version", part, f"{evidence.servers_do(part, 'take')} {versions}",
            "On the server: raise the lowest version to TLS 1.2, once its last clients that offer no more are replaced "
            "(the clients listed here, and those that offer more than they got are no reason to wait).",
            (*_best_offers(part),),
        )  # fmt: skip


def _best_offers(rows: pd.DataFrame) -> Iterator[str]:
    """Which of the clients could do no better."""
    needy = rows[rows["offered_version_max"].isin(OLD_VERSIONS)]
    if len(needy):
        who = evidence.most_frequent(needy["client_ip"], 10)
        yield f"Would be lost: {words.count(needy['client_ip'].nunique(), 'client')} that offer no more: {who}."
    if len(needy) < len(rows):
        able = rows[~rows["offered_version_max"].isin(OLD_VERSIONS)]
        yield f"{words.count(len(able), 'handshake')} got it though the client offered TLS 1.2 or more."


def weak_cipher(case: Case) -> Iterator[Finding]:
    """A server uses RC4, DES, 3DES, RC2, an export cipher, one without encryption, or one without authentication."""
    rows = _chosen(case)
    codes = rows["cipher_code"].dropna().unique().tolist()
    weak = {code: weakness for code in codes if (weakness := _weakness(int(code)))}
    rows = rows.assign(weakness=rows["cipher_code"].map(weak))
    for part in evidence.by_server(rows[rows["weakness"].notna()]):
        kinds = evidence.most_frequent(part["weakness"].astype("string"), 6)
        yield _weak(
            "weak_cipher", part, f"{evidence.servers_do(part, 'use')} weak ciphers: {kinds}",
            "On the server: allow only suites with AES-GCM or ChaCha20-Poly1305 (RFC 9325 4.2).",
            (f"Suites: {evidence.most_frequent(part['cipher'], 6)}.",),
        )  # fmt: skip


def _weakness(code: int) -> str | None:
    """What is weak about a cipher suite but its key exchange."""
    parts = suite(code)
    if parts.export:
        return "export"
    if parts.authentication == "anon":
        return "no authentication"
    return _BROKEN_ENCRYPTION.get(parts.encryption.split("_")[0])


def no_forward_secrecy(case: Case) -> Iterator[Finding]:
    """A server exchanges keys by static RSA or DH: who records traffic and gets the server's key later reads it all."""
    rows = _chosen(case)
    static = (rows["forward_secrecy"] == False).fillna(False).astype(bool)  # noqa: E712 - a column, and NA in it
    codes = [code for code in rows["cipher_code"].dropna().unique() if _static(int(code))]
    for part in evidence.by_server(rows[static & rows["cipher_code"].isin(codes)]):
        yield _weak(
            "no_forward_secrecy", part,
            f"{evidence.servers_do(part, 'exchange')} keys without forward secrecy",
            "On the server: put ECDHE suites first and drop those without (RFC 9325 4.1): most of these clients will "
            "then take one.",
            (f"Suites: {evidence.most_frequent(part['cipher'], 6)}.",),
        )  # fmt: skip


def _static(code: int) -> bool:
    return suite(code).key_exchange in ("RSA", "DH", "ECDH")


def small_dh_group(case: Case) -> Iterator[Finding]:
    """A server sends Diffie-Hellman parameters with a prime below 2048 bits."""
    rows = case.handshakes[_WANTED]
    rows = rows[(rows["dh_bits"] < ENOUGH_DH_BITS).fillna(False).astype(bool)]
    refused = _refused(case, rows)
    advice = (
        f"On the server: use ECDHE, or a group of {ENOUGH_DH_BITS} bits or more (RFC 7919, RFC 9325 4.1); current "
        "clients refuse groups below 1024 bits, some below 2048."
    )
    for part in evidence.by_server(rows[refused]):
        yield _refusal("small_dh_group", part, f"{_dh(part)}, too small for the client", advice)
    for part in evidence.by_server(rows[~refused]):
        yield _weak("small_dh_group", part, _dh(part), advice, ())


def _dh(rows: pd.DataFrame) -> str:
    sizes = evidence.most_frequent(rows["dh_bits"].astype("string") + " bits", 6)
    return f"{evidence.servers_do(rows, 'exchange')} keys in Diffie-Hellman groups of {sizes}"


def insecure_renegotiation(case: Case) -> Iterator[Finding]:
    """A server does not answer to the secure renegotiation (RFC 5746) that clients offer."""
    rows, hellos = _chosen(case), case["hellos"]
    offers = hellos[hellos["sender"] == "client"]
    listed = offers["extensions"].str.cat(offers["cipher_suites"], sep=",", na_rep="")
    able = offers["digest"][listed.str.contains("|".join(_RENEGOTIATION), regex=True).fillna(False)]
    lacking = (rows["secure_renegotiation"] == False).fillna(False).astype(bool)  # noqa: E712 - a column, and NA in it
    rows = rows[lacking & rows["client_hello_digest"].isin(able)]
    refused = _refused(case, rows)
    advice = (
        "On the server: update its TLS library; all since 2010 have it (RFC 5746 3.6). OpenSSL 3 and others refuse to "
        "talk to a server without."
    )
    for part in evidence.by_server(rows[refused]):
        statement = (
            f"{evidence.servers_do(part, 'lack')} the secure renegotiation (RFC 5746) that the client insists on"
        )
        yield _refusal("insecure_renegotiation", part, statement, advice)
    for part in evidence.by_server(rows[~refused]):
        statement = f"{evidence.servers_do(part, 'lack')} secure renegotiation (RFC 5746)"
        yield _weak("insecure_renegotiation", part, statement, advice, ())


def _refused(case: Case, rows: pd.DataFrame) -> "pd.Series[bool]":
    """Which handshakes the client ended at the server's choice, with an alert that says no more than no."""
    ended = (rows["failure_side"] == "client") & rows["failure_phase"].isin(_AT_CHOICE) & rows["alert"].isin(_NO)
    return ended & case.is_open(rows)


def _refusal(rule: str, rows: pd.DataFrame, statement: str, advice: str) -> Finding:
    """A finding about a weak setting that clients did not take."""
    title = f"{words.count(len(rows), 'handshake')} failed: {statement}"
    told = f"Refused by {evidence.clients(rows)}, with {evidence.most_frequent(rows['alert'])}."
    return evidence.finding(rule, Severity.ERROR, rows, title, (told,), advice, (Cause.WEAK_SETTING,))


def _chosen(case: Case) -> pd.DataFrame:
    """Handshakes in which the server made its choice."""
    rows = case.handshakes[_WANTED]
    return rows[rows["negotiated_version"].notna()]


def _weak(rule: str, rows: pd.DataFrame, statement: str, advice: str, detail: tuple[str, ...]) -> Finding:
    """A finding about what a server used: nobody failed by it."""
    done = int((rows["outcome"] == "established").sum())
    told = f"{done:,} of these {words.count(len(rows), 'handshake')} succeeded; {evidence.clients(rows)}."
    return evidence.finding(rule, Severity.WARNING, rows, statement, (*detail, told), advice)
