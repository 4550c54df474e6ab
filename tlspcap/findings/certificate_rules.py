"""Rules about the server's certificate: its dates, names, key and signature, judged when it was shown."""

from collections.abc import Iterator

import pandas as pd

from tlspcap import words
from tlspcap.findings import evidence
from tlspcap.findings.case import Case
from tlspcap.findings.causes import Cause
from tlspcap.findings.chains import Certificate
from tlspcap.findings.flaws import (
    DATES,
    DAY,
    NAME,
    STRENGTH,
    TRUST,
    Flaw,
    Group,
    Said,
    by_chain,
    findings,
    moment,
    named,
    pause,
)
from tlspcap.findings.model import Finding, Severity
from tlspcap.tls.trust import signed

SOON = 14 * DAY
_RSA_BITS = 2048
# 112 bits of strength, the least that is allowed (NIST SP 800-131A 3, RFC 9325 4.5)
_ENOUGH_BITS = {"RSA": _RSA_BITS, "RSA-PSS": _RSA_BITS, "DSA": _RSA_BITS, "EC": 224}
_BROKEN = ("md2", "md5", "sha1", "dsa-with-sha1")  # how names of signature algorithms begin (RFC 9155, RFC 6151)


# -- dates ------------------------------------------------------------------------------------------------------------


def certificate_expired(case: Case) -> Iterator[Finding]:
    """A certificate of the server's chain had expired when it was shown."""
    rows = case.presented.rows
    yield from findings(case, _EXPIRED, rows["at"] > rows["not_after"])


def _say_expired(group: Group) -> Said:
    culprit, at = min(group.chain.relied, key=lambda one: one.not_after), int(group.rows["at"].min())
    whose, ago = _whose(group, culprit), pause(at - culprit.not_after)
    return Said(
        f"{whose} had expired {ago} before, at {moment(culprit.not_after)}",
        f"On the server: renew the certificate, and let the renewal run by itself. {_AFTER_RENEWAL}",
    )


_AFTER_RENEWAL = "If it was renewed already, the server still holds the old file: reload it."


def certificate_not_yet_valid(case: Case) -> Iterator[Finding]:
    """A certificate of the server's chain was not valid yet when it was shown."""
    rows = case.presented.rows
    yield from findings(case, _NOT_YET_VALID, rows["at"] < rows["not_before"])


def _say_not_yet_valid(group: Group) -> Said:
    culprit, at = max(group.chain.relied, key=lambda one: one.not_before), int(group.rows["at"].min())
    whose, left = _whose(group, culprit), pause(culprit.not_before - at)
    return Said(
        f"{whose} becomes valid only {left} later, at {moment(culprit.not_before)}",
        "Compare the clocks of the certificate's issuer, of the server and of the machine that captured; if they are "
        "right, go back to the former certificate on the server until then.",
    )


def certificate_expires_soon(case: Case) -> Iterator[Finding]:
    """A certificate of the server's chain ends within 14 days of its last handshake, with most of its life over."""
    rows = case.presented.rows
    last = rows.groupby("chain", sort=False)["at"].transform("max")
    left, life = rows["not_after"] - last, rows["not_after"] - rows["not_before"]
    # some issuers give certificates for six days, which are always about to end: of those, in their last third
    yield from findings(case, _EXPIRES_SOON, (left >= 0) & (left <= SOON) & (left <= life // 3))


def _say_expires_soon(group: Group) -> Said:
    culprit, at = min(group.chain.relied, key=lambda one: one.not_after), int(group.rows["at"].max())
    whose, left = _whose(group, culprit), pause(culprit.not_after - at)
    return Said(
        f"{whose} ends {left} after the capture, at {moment(culprit.not_after)}",
        "On the server: renew it now, and see why the renewal has not run by itself.",
    )


def _whose(group: Group, culprit: Certificate) -> str:
    if culprit is group.leaf:
        return group.whose
    of = f"in the chain of {evidence.servers(group.rows)}, for {named(group.leaf)},"
    return f"the intermediate certificate {words.wire(culprit.subject, 120)} {of}"


# -- names ------------------------------------------------------------------------------------------------------------


def certificate_name_mismatch(case: Case) -> Iterator[Finding]:
    """The server's certificate is not for the name that the client asked for (SNI)."""
    rows, known = case.presented.rows, case.presented.certificates
    pairs = rows[["leaf", "sni"]].dropna().drop_duplicates()
    if pairs.empty:
        return
    wrong = pairs[[not known[leaf].identity.covers(sni) for leaf, sni in pairs.itertuples(index=False)]]
    if len(wrong):
        flawed = pd.MultiIndex.from_frame(rows[["leaf", "sni"]]).isin(pd.MultiIndex.from_frame(wrong))
        yield from findings(case, _NAME_MISMATCH, pd.Series(flawed, index=rows.index))


def _say_name_mismatch(group: Group) -> Said:
    leaf = group.leaf
    if not leaf.names and leaf.common_names:
        return Said(
            f"the certificate of {evidence.servers(group.rows)} names {named(leaf)} only as its common name, which "
            f"clients no longer read (asked for: {group.asked})",
            "On the server: use a certificate that has the name among its subject alternative names (RFC 9525 2).",
        )
    return Said(
        f"{evidence.servers_do(group.rows, 'show')} a certificate for {named(leaf)} to clients that ask for "
        f"{group.asked}",
        "On the server: add the name to the certificate, or give it a certificate and a virtual host of its own; on "
        "the clients: see that the name is the one that was meant. (RFC 9525 6.3: a star stands for one label.)",
        (f"All its names: {words.listed([words.wire(name) for name in leaf.names], 20) or 'none'}.",),
    )


# -- who signed it, and with what -------------------------------------------------------------------------------------


def certificate_self_signed(case: Case) -> Iterator[Finding]:
    """The server's certificate is signed by nobody but itself."""
    own = {key: _signed_itself(chain.leaf) for key, chain in case.presented.chains.items()}
    yield from findings(case, _SELF_SIGNED, by_chain(case.presented.rows, own))


def _signed_itself(leaf: Certificate) -> bool:
    """Whether issuer and subject are one, and no other key of that name signed it, as far as that can be checked."""
    if not leaf.self_signed:
        return False
    return leaf.der is None or signed(leaf.bytes, leaf.bytes) is not False


def _say_self_signed(group: Group) -> Said:
    return Said(
        f"{group.whose} is self-signed: clients trust it only where it was given to them",
        "On the server: use a certificate of an authority that its clients trust; or, within one house, give this one "
        "to each client as trusted.",
    )


def weak_certificate(case: Case) -> Iterator[Finding]:
    """A key below 112 bits of strength (RSA 2048, EC 224), or a signature by MD5 or SHA-1, in the server's chain."""
    weak = {key: any(_weakness(one) for one in chain.relied) for key, chain in case.presented.chains.items()}
    yield from findings(case, _WEAK, by_chain(case.presented.rows, weak))


def _weakness(certificate: Certificate) -> str | None:
    """What is weak about a certificate, by the rules of today."""
    bits, kind = certificate.key_bits, certificate.key_type or ""
    if bits is not None and bits < _ENOUGH_BITS.get(kind, 0):
        return f"{'an' if kind in ('RSA', 'RSA-PSS', 'EC') else 'a'} {kind} key of {bits} bits"
    algorithm = certificate.signature_algorithm or ""
    # nobody relies on the signature of a self-signed certificate
    if not certificate.self_signed and algorithm.lower().replace("ecdsa-with-", "").startswith(_BROKEN):
        return f"a signature by {algorithm}"
    return None


def _say_weak(group: Group) -> Said:
    found = [(one, weakness) for one in group.chain.relied if (weakness := _weakness(one))]
    one, weakness = found[0]
    more = f", and {len(found) - 1} more of the chain are weak" if len(found) > 1 else ""
    whose = group.whose if one is group.leaf else _whose(group, one)
    return Said(
        f"{whose} has {weakness}{more}",
        f"On the server: replace it by one with an RSA key of {_RSA_BITS} bits or more, or an EC key of 256, signed "
        "with SHA-256 or better.",
        ("By the rules of today (RFC 9325 4.5, RFC 9155): what an old capture shows was usual in its time.",),
    )


_EXPIRED = Flaw(
    "certificate_expired", Severity.WARNING, DATES, Cause.SERVER_CERTIFICATE_EXPIRED, _say_expired,
    "certificates that had expired",
)  # fmt: skip
_NOT_YET_VALID = Flaw(
    "certificate_not_yet_valid", Severity.WARNING, DATES, Cause.SERVER_CERTIFICATE_EXPIRED, _say_not_yet_valid,
    "certificates that were not valid yet",
)  # fmt: skip
_EXPIRES_SOON = Flaw(
    "certificate_expires_soon", Severity.WARNING, frozenset(), Cause.SERVER_CERTIFICATE_EXPIRED, _say_expires_soon,
    "certificates that end within 14 days",
)  # fmt: skip
_NAME_MISMATCH = Flaw(
    "certificate_name_mismatch", Severity.WARNING, NAME, Cause.SERVER_CERTIFICATE_NAME, _say_name_mismatch,
    "certificates for other names than were asked for",
)  # fmt: skip
_SELF_SIGNED = Flaw(
    "certificate_self_signed", Severity.WARNING, TRUST, Cause.SERVER_CERTIFICATE_SELF_SIGNED, _say_self_signed,
    "self-signed certificates",
)  # fmt: skip
_WEAK = Flaw(
    "weak_certificate", Severity.WARNING, STRENGTH, Cause.SERVER_CERTIFICATE_UNFIT, _say_weak,
    "chains with a weak key or signature",
    silent=False,
)  # fmt: skip
