"""Rules about the server's chain: whether clients can get from its certificate to a root, and what it costs to send."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings import evidence
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.chains import Certificate, Chain
from tlspcap.findings.flaws import MOST, TRUST, Flaw, Group, Said, by_chain, findings, moment, named
from tlspcap.findings.model import Finding, Severity
from tlspcap.findings.trust import Verdicts
from tlspcap.tls.trust import issuer_locations

INITIAL_WINDOW = 10 * 1460  # bytes that a sender may send before the first acknowledgement (RFC 6928 2)


# -- what is missing --------------------------------------------------------------------------------------------------


def missing_intermediate(case: Case) -> Iterator[Finding]:
    """The server sends its certificate without the intermediate one that signed it."""
    seen = case.presented.intermediates
    lone = {key: chain for key, chain in case.presented.chains.items() if _is_alone(chain)}
    known = {key: chain.top.issuer in seen for key, chain in lone.items()}
    yield from findings(case, _MISSING, by_chain(case.presented.rows, known))


def _is_alone(chain: Chain) -> bool:
    """Whether no issuer of the leaf was sent, though it needs one."""
    return len(chain.path) == 1 and chain.leaf.self_signed is False


def _say_missing(group: Group) -> Said:
    issuer = words.wire(group.leaf.issuer, 120)
    return Said(
        f"{evidence.servers_do(group.rows, 'send')} a certificate for {named(group.leaf)} without the intermediate "
        f"certificate {issuer} that signed it",
        "On the server: configure the full chain, leaf first, then the intermediate (Let's Encrypt: fullchain.pem). "
        "Browsers hide this fault, since they remember or fetch intermediates; other clients fail by it.",
        (f"Other chains in this capture contain {issuer}, and there another authority signed it: it is no root.",),
    )


def issuer_not_sent(case: Case) -> Iterator[Finding]:
    """The server sends its certificate alone, and that says where to fetch its issuer's: roots seldom sign so."""
    seen = case.presented.intermediates
    lone = [chain for chain in case.presented.chains.values() if _is_alone(chain) and chain.top.issuer not in seen]
    fetchable = {chain.key: bool(issuer_locations(chain.leaf.bytes)) for chain in lone if chain.leaf.der}
    yield from findings(case, _NOT_SENT, by_chain(case.presented.rows, fetchable))


def _say_not_sent(group: Group) -> Said:
    issuer = words.wire(group.leaf.issuer, 120)
    places = words.listed([words.wire(place) for place in issuer_locations(group.leaf.bytes)])
    return Said(
        f"{evidence.servers_do(group.rows, 'send')} a certificate for {named(group.leaf)} alone; that of its issuer "
        f"{issuer} is most likely missing",
        f"See whether {issuer} is a root that the clients have; if not, configure the full chain on the server.",
        (f"The certificate says where to fetch its issuer's: {places}.",),
    )


# -- what is out of place ---------------------------------------------------------------------------------------------


def chain_out_of_order(case: Case) -> Iterator[Finding]:
    """The certificates of the server's chain do not come each behind the one that it signed."""
    chains = case.presented.chains
    jumbled = {key: not chain.in_order for key, chain in chains.items()}
    yield from findings(case, _OUT_OF_ORDER, by_chain(case.presented.rows, jumbled))


def _say_out_of_order(group: Group) -> Said:
    places = {certificate.sha256: place for place, certificate in enumerate(group.chain.sent, 1)}
    order = ", ".join(str(places[certificate.sha256]) for certificate in group.chain.path)
    return Said(
        f"{evidence.servers_do(group.rows, 'send')} the chain for {named(group.leaf)} in the wrong order",
        f"On the server: put its certificates into the order {order}. Clients of TLS 1.3 and most others sort them, "
        "old and embedded ones do not (RFC 5246 7.4.2, RFC 8446 4.4.2).",
        _listed(group.chain),
    )


def needless_certificates(case: Case) -> Iterator[Finding]:
    """The server sends certificates that are no part of its chain, or one of them twice."""
    needless = {key: bool(chain.extra) for key, chain in case.presented.chains.items()}
    yield from findings(case, _NEEDLESS, by_chain(case.presented.rows, needless))


def _say_needless(group: Group) -> Said:
    extra, used = group.chain.extra, {certificate.sha256 for certificate in group.chain.path}
    count, of = words.count(len(extra), "certificate"), f"the chain for {named(group.leaf)}"
    twice = all(certificate.sha256 in used for certificate in extra)
    fault = f"of {of} twice" if twice else f"with {of} that {'does' if len(extra) == 1 else 'do'} not belong to it"
    return Said(
        f"{evidence.servers_do(group.rows, 'send')} {count} {fault}",
        "On the server: take what does not belong there out of its chain; it may have been meant to replace what does.",
        (f"Not needed: {words.listed([words.wire(one.subject, 120) for one in extra])}.", *_listed(group.chain)),
    )


def root_sent(case: Case) -> Iterator[Finding]:
    """The server sends the root, too, which clients have of their own and never take from a server."""
    sent = {key: chain.root is not None for key, chain in case.presented.chains.items()}
    yield from findings(case, _ROOT_SENT, by_chain(case.presented.rows, sent))


def _say_root_sent(group: Group) -> Said:
    root = group.chain.root
    assert root is not None
    return Said(
        f"{evidence.servers_do(group.rows, 'send')} the root {words.wire(root.subject, 120)} with its chain for "
        f"{named(group.leaf)}",
        "On the server: leave it out (RFC 8446 4.4.2 allows it). Who does not have the root gains nothing by it, and "
        f"each full handshake carries {words.count(len(root.bytes), 'byte')} more.",
    )


def _listed(chain: Chain) -> tuple[str, ...]:
    """The chain as sent, each with its issuer."""
    shown = [f"{place}: {_link(one)}" for place, one in enumerate(chain.sent[:10], 1)]
    return (f"As sent: {'; '.join(shown)}{'; …' if len(chain.sent) > 10 else ''}.",)


def _link(certificate: Certificate) -> str:
    return f"{words.wire(certificate.subject, 120)}, by {words.wire(certificate.issuer, 120)}"


# -- what is too large ------------------------------------------------------------------------------------------------


def chain_over_initial_window(case: Case) -> Iterator[Finding]:
    """The server's chain does not fit into what a TCP connection may send at first: a round trip more."""
    rows = case.presented.rows
    large = (rows["chain_bytes"] > INITIAL_WINDOW).fillna(False).astype(bool)
    yield from findings(case, _TOO_LARGE, large)


def _say_too_large(group: Group) -> Said:
    size = int(group.rows["chain_bytes"].max())
    trip = group.rows["tcp_rtt_ms"].median()
    cost = "" if pd.isna(trip) else f", {words.milliseconds(trip)} ms here"
    return Said(
        f"{evidence.servers_do(group.rows, 'send')} a chain of {size:,} bytes for {named(group.leaf)}, more than fits "
        f"into 10 segments: clients wait one more round trip{cost}",
        "On the server: leave out what is not needed (root, cross-signed certificates), use EC keys, fewer names, or "
        "certificate compression (RFC 8879); or enlarge the initial window of TCP.",
        (f"RFC 6928 2: {INITIAL_WINDOW:,} bytes may be sent before the first is acknowledged.", *_listed(group.chain)),
    )


# -- trust ------------------------------------------------------------------------------------------------------------


def untrusted_chain(case: Case) -> Iterator[Finding]:
    """With trusted roots given: the chain that the server sends leads to none of them, at the time it was shown."""
    if case.anchors is None:
        return
    verdicts = Verdicts(case.anchors, case.presented)
    flaw = Flaw(
        "untrusted_chain", Severity.WARNING, TRUST, Cause.SERVER_CERTIFICATE_UNTRUSTED, verdicts.say,
        f"chains that {case.anchors.source} do not lead to", by="chain",
    )  # fmt: skip
    yield from findings(case, flaw, verdicts.untrusted)


def certificate_varies(case: Case) -> Iterator[Finding]:
    """One address shows several certificates with keys of one kind for one name: renewed, or now this one, now that."""
    rows = case.presented.rows
    rows = rows[~rows["assumed"]]
    kinds = {sha256: one.key_type or "" for sha256, one in case.presented.certificates.items()}
    rows = rows.assign(asked=rows["sni"].fillna(""), kind=rows["leaf"].map(kinds))
    keys = ["server", "asked", "kind"]
    several = rows[rows.groupby(keys, sort=False)["leaf"].transform("nunique") > 1]
    changed = several["leaf"] != several.groupby(keys, sort=False)["leaf"].shift()
    changes = changed.groupby([several[key] for key in keys], sort=False).sum()
    for key in changes.sort_values(ascending=False, kind="stable").index[:MOST]:
        group = several[(several[keys] == list(key)).all(axis=1)]
        yield _varies(case, group, int(changes[key]))


def _varies(case: Case, rows: pd.DataFrame, runs: int) -> Finding:
    """`runs`: stretches of handshakes, one behind the other, that showed the same certificate."""
    leaves = rows.groupby("leaf", sort=False)["at"].agg(["min", "max", "size"])
    alternates = runs > len(leaves)
    asked = rows["sni"].dropna()
    name = words.wire(asked.iloc[0]) if len(asked) else "clients that send no name"
    how = f"changes between {len(leaves)} certificates" if alternates else f"went through {len(leaves)} certificates"
    advice = (
        "On the servers behind this address: give all of them the same certificate; one of them may hold an old one."
        if alternates
        else "Nothing, if the certificate was renewed during the capture."
    )
    severity = Severity.WARNING if alternates else Severity.INFO
    detail = tuple(_variant(case.presented.certificates[row[0]], *row[1:]) for row in leaves.head(10).itertuples())
    title = f"{evidence.servers(rows)} {how} for {name}"
    return evidence.finding("certificate_varies", severity, rows, title, detail, advice)


def _variant(leaf: Certificate, first: int, last: int, size: int) -> str:
    return (
        f"{words.count(size, 'handshake')} from {moment(first)} to {moment(last)}: serial {words.wire(leaf.serial)}, "
        f"by {words.wire(leaf.issuer)}, valid until {moment(leaf.not_after)}."
    )


_MISSING = Flaw(
    "missing_intermediate", Severity.WARNING, TRUST, Cause.SERVER_CERTIFICATE_UNTRUSTED, _say_missing,
    "certificates sent without their intermediate",
)  # fmt: skip
_NOT_SENT = Flaw(
    "issuer_not_sent", Severity.INFO, TRUST, Cause.SERVER_CERTIFICATE_UNTRUSTED, _say_not_sent,
    "certificates sent alone",
)  # fmt: skip
_OUT_OF_ORDER = Flaw(
    "chain_out_of_order", Severity.WARNING, TRUST, Cause.SERVER_CERTIFICATE_UNTRUSTED, _say_out_of_order,
    "chains in the wrong order", by="chain", silent=False,
)  # fmt: skip
_NEEDLESS = Flaw(
    "needless_certificates", Severity.INFO, frozenset(), None, _say_needless,
    "chains with certificates that do not belong there", by="chain",
)  # fmt: skip
_ROOT_SENT = Flaw("root_sent", Severity.INFO, frozenset(), None, _say_root_sent, "chains with their root", by="chain")
_TOO_LARGE = Flaw(
    "chain_over_initial_window", Severity.INFO, frozenset(), None, _say_too_large,
    "chains over the initial window", by="chain",
)  # fmt: skip
