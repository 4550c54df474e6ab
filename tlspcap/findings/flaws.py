"""What findings about certificates have in common: which handshakes a flaw is blamed for, and who it is about.

A flaw of a chain explains a failure where the client ended the handshake at that chain, and its alert, if it can be
read, is one that fits. Else the flaw is there, and nobody in the capture minded.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import pandas as pd

from tlspcap import words
from tlspcap.findings import evidence
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.chains import Certificate, Chain
from tlspcap.findings.model import Finding, Severity

MOST = 20  # certificates (or chains) with a finding of their own; the others share one
DAY = 86_400_000_000  # microseconds

# Alerts of clients that do not like a certificate; which of them a stack sends for what is its own choice, but those
# that name one thing (RFC 8446 6.2) are not sent for another.
_ANY = {
    "bad_certificate", "certificate_unknown", "handshake_failure", "internal_error", "access_denied", "decrypt_error",
    "illegal_parameter", "close_notify", "user_canceled", "no_certificate",
}  # fmt: skip
TRUST = frozenset(_ANY | {"unknown_ca", "unsupported_certificate"})
DATES = frozenset(_ANY | {"certificate_expired"})
NAME = frozenset(_ANY | {"unrecognized_name"})
STRENGTH = frozenset(_ANY | {"unsupported_certificate", "insufficient_security"})


@dataclass(frozen=True)
class Group:
    """The handshakes that showed one flawed certificate or chain."""

    rows: pd.DataFrame  # those that the finding is about: of an error, those that failed by it
    shown: pd.DataFrame  # all that showed it
    chain: Chain

    @property
    def leaf(self) -> Certificate:
        """The server's own certificate."""
        return self.chain.leaf

    @property
    def whose(self) -> str:
        """E.g. `the certificate for shop.example of server 192.0.2.7:443`."""
        return f"the certificate for {named(self.leaf)} of {evidence.servers(self.rows)}"

    @property
    def asked(self) -> str:
        """The names that clients asked for."""
        return words.listed([words.wire(name) for name in self.rows["sni"].dropna().unique()])


@dataclass(frozen=True)
class Said:
    """The words of a finding; the statement goes on from "3 handshakes failed: "."""

    statement: str
    advice: str
    detail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Flaw:
    """One kind of flaw: which alerts fit it, and how it is said."""

    rule: str
    severity: Severity  # where no handshake failed by it
    fits: frozenset[str]  # alerts; none: no failure comes from it
    cause: Cause | None
    say: Callable[[Group], Said]
    others: str  # what there are more of, beyond `MOST`: "certificates that have expired"
    silent: bool = True  # it also explains the end of clients that leave without a word, or with an encrypted one
    by: str = "leaf"  # or "chain": what one finding is about


def findings(case: Case, flaw: Flaw, flawed: "pd.Series[bool]") -> Iterator[Finding]:
    """Make the findings of a flaw: `flawed` tells which of the rows of `case.presented` show it."""
    rows = case.presented.rows[flawed]
    if rows.empty:
        return
    fits = rows["alert"].isin(flaw.fits) | (rows["alert"].isna() & (flaw.silent and bool(flaw.fits)))
    blamed = rows["refused"] & fits & case.is_open(rows)
    rows = rows.assign(blamed=blamed)[~rows["assumed"] | blamed]
    yield from _grouped(case, flaw, rows)


def _grouped(case: Case, flaw: Flaw, rows: pd.DataFrame) -> Iterator[Finding]:
    """One finding for each certificate or chain, the worst first; one for what there is beyond `MOST`."""
    ranks = rows.groupby(flaw.by, sort=False)["blamed"].agg(["sum", "size"])
    order = ranks.sort_values(["sum", "size"], ascending=False, kind="stable").index
    for key in order[:MOST]:
        yield _finding(case, flaw, rows[rows[flaw.by] == key])
    rest = rows[rows[flaw.by].isin(order[MOST:])]
    for some, severity in ((rest[rest["blamed"]], Severity.ERROR), (rest[~rest["blamed"]], flaw.severity)):
        if len(some):
            yield _together(flaw, severity, some)


def _finding(case: Case, flaw: Flaw, shown: pd.DataFrame) -> Finding:
    failed = shown[shown["blamed"]]
    rows = failed if len(failed) else shown
    group = Group(rows, shown, case.presented.chains[rows["chain"].iloc[0]])
    said = flaw.say(group)
    severity = Severity.ERROR if len(failed) else flaw.severity
    detail = (*said.detail, *_seen(group), *_probable(failed), *_unminded(group))
    return evidence.finding(
        flaw.rule, severity, rows, title(said.statement, failed), detail, said.advice, _causes(flaw, failed)
    )


def _together(flaw: Flaw, severity: Severity, rows: pd.DataFrame) -> Finding:
    """One finding for all beyond `MOST`."""
    statement = f"{rows[flaw.by].nunique():,} more {flaw.others}, of {evidence.servers(rows)}"
    failed = rows[rows["blamed"]]
    advice = f"Look at each of them: the findings {flaw.rule} say what to change for one."
    return evidence.finding(flaw.rule, severity, rows, title(statement, failed), (), advice, _causes(flaw, failed))


def _causes(flaw: Flaw, failed: pd.DataFrame) -> tuple[Cause, ...]:
    """What is behind the failures; a client that left without a word may have had another reason."""
    if flaw.cause is None or failed.empty:
        return ()
    return (
        (flaw.cause, Cause.CLIENT_LEFT) if failed["failure_mechanism"].isin(["close", "reset"]).all() else (flaw.cause,)
    )


def title(statement: str, failed: pd.DataFrame) -> str:
    """Begin a statement with the failures that it explains."""
    if failed.empty:
        return statement
    doubt = ""
    if failed["assumed"].all():
        doubt = " (probable: it is sealed there)"
    elif failed["alert"].isna().all():
        doubt = " (probable: the client did not say why)"
    return f"{words.count(len(failed), 'handshake')} failed: {statement}{doubt}"


def _seen(group: Group) -> Iterator[str]:
    leaf = group.leaf
    first = moment(int(group.rows["at"].min()))
    yield (
        f"Judged at the time of the handshakes, from {first} on. Certificate {words.wire(leaf.subject, 120)} by "
        f"{words.wire(leaf.issuer, 120)}, valid from {moment(leaf.not_before)} to {moment(leaf.not_after)}, "
        f"SHA-256 {leaf.sha256}."
    )


def _probable(failed: pd.DataFrame) -> Iterator[str]:
    assumed = int(failed["assumed"].sum())
    if assumed:
        yield (
            f"Probable for {assumed:,} of the {len(failed):,}: there the certificate is sealed (TLS 1.3), and taken to "
            "be the one that the server showed in its other handshakes."
        )


def _unminded(group: Group) -> Iterator[str]:
    fine = group.shown[~group.shown["blamed"] & (group.shown["outcome"] == "established")]
    if len(fine) and len(group.rows) != len(group.shown):
        yield f"{words.count(len(fine), 'handshake')} with it succeeded, of {evidence.clients(fine)}: not all check."


def named(certificate: Certificate) -> str:
    """Who a certificate is for, in words."""
    names = certificate.names or certificate.common_names
    return words.listed([words.wire(name) for name in names]) if names else words.wire(certificate.subject)


def moment(micros: int) -> str:
    """A date and time in UTC, from microseconds since 1970."""
    try:
        return words.moment(pd.Timestamp(micros, unit="us").isoformat())
    except (ValueError, OverflowError):  # beyond what can be said: no date was there
        return words.UNKNOWN


def pause(micros: int) -> str:
    """A length of time in the unit that fits.

    >>> [pause(n * 3_600_000_000) for n in (1, 30, 100)]
    ['1 h 0 min', '30 h 0 min', '4 days']
    """
    return words.count(micros // DAY, "day") if micros >= 2 * DAY else words.span(micros / 1e6)


def by_chain(rows: pd.DataFrame, flawed: Mapping[str, bool]) -> "pd.Series[bool]":
    """Which rows show a chain that has a flaw."""
    return rows["chain"].isin([key for key, has in flawed.items() if has])
