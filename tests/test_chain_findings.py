"""Rules about server certificates and chains: each speaks where it should, and is silent where nothing is wrong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import der_bytes
import pandas as pd
import pki
import pytest
from conftest import ROOT as PROJECT
from cryptography.hazmat.primitives.asymmetric import ec
from pki import ISSUING, ROOT, refused, sealed, self_signed, shown, tables

import tlspcap
from tlspcap import findings
from tlspcap.errors import ArgumentError
from tlspcap.findings import Cause, Finding, Severity
from tlspcap.findings.chains import Certificate, Chain, _path
from tlspcap.tls.identity import Identity, common_names

NAME = "api.example.com"  # what handshakes of tests/frames.py ask for
LAST = PROJECT / "sample_captures" / "nginx-certificate.pcap"
REFERENCE = Path(os.environ.get("TLSPCAP_REFERENCE", PROJECT.parent / "shared" / "reference"))


def find(*rows: dict[str, Any], ca: str | Path | None = None) -> list[Finding]:
    """Return the findings on handshakes of these rows."""
    return findings.find(tables(*rows), ca)


def only(rule: str, *rows: dict[str, Any]) -> Finding:
    """Return the one finding of a rule."""
    (one,) = (one for one in find(*rows) if one.id == rule)
    return one


def healthy(**how: Any) -> tuple[bytes, bytes]:
    """A chain with which nothing is wrong, but for what is asked for."""
    return ISSUING.leaf(NAME, **how), ISSUING.der


# -- silence ------------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_sound_chain() -> None:
    """A valid leaf for the name asked for, with its intermediate, makes no finding, and is no reason for a refusal."""
    chain = healthy()
    assert find(shown(*chain), shown(*chain)) == []
    assert [one.id for one in find(refused(*chain))] == ["server_certificate_refused"]


def test_a_leaf_by_a_root_is_no_fault() -> None:
    """A leaf sent alone is sound where a root signed it: nothing says that an intermediate is missing."""
    assert find(shown(ROOT.leaf(NAME))) == []
    assert "missing_intermediate" not in {one.id for one in find(refused(ROOT.leaf(NAME), alert="unknown_ca"))}


def test_nothing_is_said_without_certificates() -> None:
    """Without the certificates table, or any handshake, the rules have nothing to say."""
    table = tables(shown(*healthy(days=(-90, -3))))
    assert findings.find({"handshakes": table["handshakes"]}) == []
    assert findings.find({name: frame.iloc[:0] for name, frame in table.items()}) == []


# -- each flaw ----------------------------------------------------------------------------------------------------

FLAWS: dict[str, tuple[Callable[[], tuple[bytes, ...]], str, Cause, str]] = {
    "certificate_expired": (
        lambda: healthy(days=(-90, -3)), "certificate_expired", Cause.SERVER_CERTIFICATE_EXPIRED, "expired 3 days",
    ),
    "certificate_not_yet_valid": (
        lambda: healthy(days=(5, 90)), "bad_certificate", Cause.SERVER_CERTIFICATE_EXPIRED, "5 days later",
    ),
    "certificate_name_mismatch": (
        lambda: (ISSUING.leaf("other.example"), ISSUING.der), "bad_certificate", Cause.SERVER_CERTIFICATE_NAME,
        f"other.example to clients that ask for {NAME}",
    ),
    "certificate_self_signed": (
        lambda: (self_signed(NAME),), "unknown_ca", Cause.SERVER_CERTIFICATE_SELF_SIGNED, "self-signed",
    ),
    "issuer_not_sent": (
        lambda: (ISSUING.leaf(NAME, aia="http://ca.example/issuing.der"),), "unknown_ca",
        Cause.SERVER_CERTIFICATE_UNTRUSTED, "CN=Test Issuing CA is most likely missing",
    ),
    "chain_out_of_order": (
        lambda: _jumbled(), "unknown_ca", Cause.SERVER_CERTIFICATE_UNTRUSTED, "wrong order",
    ),
    "weak_certificate": (
        lambda: healthy(key=pki.rsa_key(1024)), "bad_certificate", Cause.SERVER_CERTIFICATE_UNFIT, "RSA key of 1024",
    ),
}  # fmt: skip


def _jumbled() -> tuple[bytes, ...]:
    low = pki.Signer("Low CA", ISSUING)
    return low.leaf(NAME), ISSUING.der, low.der


@pytest.mark.parametrize("rule", FLAWS)
def test_a_flaw_explains_the_refusals_that_fit_it(rule: str) -> None:
    """The first finding on a refused flawed chain is its flaw, an error with its cause; others are left to others."""
    make, alert, cause, told = FLAWS[rule]
    chain = make()
    first, *rest = find(refused(*chain, alert=alert), shown(*chain), refused(ROOT.leaf(NAME), alert="unknown_ca"))
    assert (first.id, first.severity, first.causes, len(first.handshakes)) == (rule, Severity.ERROR, (cause,), 1)
    assert told in first.title
    assert first.title.startswith("1 handshake failed: ")
    assert [one.id for one in rest if one.severity is Severity.ERROR] == ["server_certificate_refused"]
    assert any("1 handshake with it succeeded" in line for line in first.detail)
    assert any("Judged at the time of the handshakes, from 2026-11-03 02:00:00Z" in line for line in first.detail)


@pytest.mark.parametrize("rule", FLAWS)
def test_a_flaw_that_nobody_minded_is_no_error(rule: str) -> None:
    """Where all handshakes with a flawed chain succeeded it is a warning, or for what may be sound, information."""
    chain = FLAWS[rule][0]()
    one = only(rule, shown(*chain), shown(*chain))
    assert one.severity is (Severity.INFO if rule == "issuer_not_sent" else Severity.WARNING)
    assert (len(one.handshakes), one.causes) == (2, ())


def test_a_missing_intermediate_is_known_from_other_chains() -> None:
    """A leaf sent alone misses its issuer where another server of the capture sends it, signed by someone else."""
    alone, other = refused(ISSUING.leaf(NAME), alert="unknown_ca"), shown(*healthy(), server_ip="198.51.100.2")
    first = find(alone, other)[0]
    assert (first.id, first.causes) == ("missing_intermediate", (Cause.SERVER_CERTIFICATE_UNTRUSTED,))
    assert "without the intermediate certificate CN=Test Issuing CA" in first.title
    by_root = shown(ROOT.leaf(NAME), ROOT.der, server_ip="198.51.100.2")
    assert "missing_intermediate" not in {one.id for one in find(refused(ROOT.leaf(NAME), alert="unknown_ca"), by_root)}


def test_an_alert_that_names_another_reason_is_not_explained_by_a_flaw() -> None:
    """unknown_ca is no word for a wrong name or an old date, nor certificate_expired for a missing issuer."""
    old = healthy(days=(-90, -3))
    assert find(refused(*old, alert="unknown_ca"))[0].id == "server_certificate_refused"
    assert find(refused(self_signed(NAME), alert="certificate_expired"))[0].id == "server_certificate_refused"


def test_a_client_that_leaves_without_a_word_is_only_probably_explained() -> None:
    """A close at a flawed certificate names the flaw as probable, and leaving as the other cause."""
    first = find(refused(*healthy(days=(-90, -3)), alert=None))[0]
    assert first.title.endswith("(probable: the client did not say why)")
    assert first.causes == (Cause.SERVER_CERTIFICATE_EXPIRED, Cause.CLIENT_LEFT)
    weak = find(refused(*healthy(key=pki.rsa_key(1024)), alert=None))[0]
    assert weak.id == "server_certificate_refused"


def test_what_is_sealed_is_taken_from_other_handshakes_and_said_to_be() -> None:
    """A refused TLS 1.3 handshake counts with the only chain that the server showed, marked probable; else not."""
    old, name = healthy(days=(-90, -3)), "other.example"
    first = find(shown(*old), sealed())[0]
    assert (first.id, len(first.handshakes)) == ("certificate_expired", 1)
    assert first.title.endswith("(probable: it is sealed there)")
    assert find(shown(*old), shown(*healthy()), sealed())[0].id == "server_certificate_refused"
    assert find(shown(*old, server_ip="198.51.100.2"), sealed())[0].id == "server_certificate_refused"
    wrong = find(shown(*healthy()), sealed(sni=name))[0]
    assert wrong.id == "certificate_name_mismatch"
    assert "(probable" in wrong.title


def test_dates_are_judged_at_the_time_of_each_handshake() -> None:
    """A certificate that ends during the capture is expired in the handshakes behind its end only."""
    chain = healthy(days=(-30, 1))
    before, behind = (shown(*chain, time=pki.frames.START + pd.Timedelta(days=days)) for days in (0.5, 1.5))
    one = only("certificate_expired", before, behind)
    assert len(one.handshakes) == 1
    assert one.frames == (16,)


def test_an_intermediate_that_expired_is_named() -> None:
    """Of a chain the certificate that ends first is the culprit, be it the leaf's or an issuer's; a root is not."""
    old = pki.Signer("Old CA", ROOT, days=(-900, -2))
    one = only("certificate_expired", shown(old.leaf(NAME), old.der))
    assert "intermediate certificate CN=Old CA" in one.title
    gone = pki.Signer("Gone Root", days=(-900, -2))
    ids = {one.id for one in find(shown(gone.leaf(NAME), gone.der))}
    assert ids == {"root_sent"}


ENDS = [((-80, 10), True), ((-80, 20), False), ((-3, 3.7), False), ((-6, 1), True)]


@pytest.mark.parametrize(("days", "speaks"), ENDS)
def test_an_end_that_comes_soon_is_said_in_time(days: tuple[float, float], speaks: bool) -> None:
    """Within 14 days of its end a certificate is a warning; one of few days only in the last third of its life."""
    ids = {one.id for one in find(shown(*healthy(days=days)))}
    assert ids == ({"certificate_expires_soon"} if speaks else set())


def test_weakness_is_that_of_keys_and_signatures_that_are_relied_on() -> None:
    """Small RSA and EC keys and SHA-1 are weak; a root's own signature, sent or not, is nobody's business."""
    assert "EC key of 192 bits" in only("weak_certificate", shown(*healthy(key=_small_curve()))).title
    own, sha1 = der_bytes.name((der_bytes.COMMON_NAME, b"Old CA")), ("2a8648ce3d0401", 70)
    leaf = der_bytes.certificate(issuer=own, sans=(NAME.encode(),), signature=sha1)
    assert "a signature by ecdsa-with-SHA1" in only("weak_certificate", shown(leaf)).title
    root = der_bytes.certificate(subject=own, issuer=own, signature=sha1)
    sound = der_bytes.certificate(issuer=own, sans=(NAME.encode(),))
    assert {one.id for one in find(shown(sound, root))} == {"root_sent"}


def _small_curve() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP192R1())


def test_a_common_name_alone_is_said_to_be_read_by_nobody() -> None:
    """A certificate without alternative names matches no name, and the finding says why."""
    one = only("certificate_name_mismatch", shown(ISSUING.leaf(common_name=NAME), ISSUING.der))
    assert "only as its common name" in one.title


def test_what_is_sent_in_vain_is_said() -> None:
    """A root, a stranger and a certificate sent twice are told apart."""
    leaf, middle = healthy()
    assert only("root_sent", shown(leaf, middle, ROOT.der)).severity is Severity.INFO
    stranger = pki.Signer("Stranger", ROOT)
    strange = only("needless_certificates", shown(leaf, middle, stranger.der))
    assert "that does not belong to it" in strange.title
    assert only("needless_certificates", shown(leaf, leaf, middle)).title.endswith(" twice")


def test_a_chain_over_the_initial_window_costs_a_round_trip() -> None:
    """Beyond ten segments the chain is said to cost a round trip, with its length; ten segments are not."""
    chain = healthy()
    assert "10.0 ms here" in only("chain_over_initial_window", shown(*chain, chain_bytes=14_601)).title
    assert find(shown(*chain, chain_bytes=14_600)) == []


def test_certificates_that_take_turns_are_told_from_a_renewal() -> None:
    """Two leaves in turn are a warning, one behind the other information, RSA beside EC nothing."""
    one, other = healthy(), healthy()
    for chains, severity in (((one, other, one, other), Severity.WARNING), ((one, one, other, other), Severity.INFO)):
        assert only("certificate_varies", *(shown(*chain) for chain in chains)).severity is severity
    both = healthy(), healthy(key=pki.rsa_key(2048))
    assert find(*(shown(*chain) for chain in (*both, *both))) == []
    assert find(shown(*one), shown(*other, server_ip="198.51.100.2"), shown(*one)) == []


def test_many_flawed_certificates_share_the_last_finding() -> None:
    """Beyond twenty certificates with a flaw one finding names the number of the others."""
    rows = [refused(self_signed(NAME), server_port=10_000 + i, alert="unknown_ca") for i in range(25)]
    found = find(*rows)
    assert [one.id for one in found] == ["certificate_self_signed"] * 21
    assert found[0].title.startswith("5 handshakes failed: 5 more self-signed certificates, of 5 servers")


# -- trust --------------------------------------------------------------------------------------------------------


@pytest.fixture
def roots(tmp_path: Path) -> Path:
    """A file with the one root of these tests."""
    path = tmp_path / "roots.pem"
    path.write_bytes(pki.pem(ROOT.der))
    return path


def test_without_roots_nothing_is_said_about_trust(roots: Path) -> None:
    """Trust is judged only where roots are given; a chain that leads to one of them is sound."""
    alien = pki.Signer("Alien Root")
    chain = alien.leaf(NAME)
    assert find(shown(chain)) == []
    assert find(shown(*healthy()), ca=roots) == []
    (one,) = find(refused(chain, alert="unknown_ca"), ca=roots)
    assert (one.id, one.causes) == ("untrusted_chain", (Cause.SERVER_CERTIFICATE_UNTRUSTED,))
    assert f"ends at CN=Alien Root, which is not among {roots}" in one.title


def test_trust_is_judged_at_capture_time_and_apart_from_name_and_dates(roots: Path) -> None:
    """A chain that was valid then is trusted though it ended since; an expired one is left to the rule about dates."""
    short = healthy(days=(-30, 20))
    assert find(shown(*short), ca=roots) == []
    assert {one.id for one in find(shown(*healthy(days=(-90, -3))), ca=roots)} == {"certificate_expired"}
    other = shown(ISSUING.leaf("other.example"), ISSUING.der)
    assert {one.id for one in find(other, ca=roots)} == {"certificate_name_mismatch"}


def test_a_leaf_without_its_intermediate_leads_to_no_root(roots: Path) -> None:
    """With roots given a lone leaf is seen to lead nowhere, and both reasons are said."""
    (one,) = find(shown(ISSUING.leaf(NAME)), ca=roots)
    assert one.id == "untrusted_chain"
    assert any("an intermediate that is missing, or a root that is not trusted" in line for line in one.detail)


def test_roots_that_cannot_be_read_are_the_callers_trouble(tmp_path: Path) -> None:
    """No file, no certificate in it, or nonsense is an ArgumentError; DER serves as well as PEM."""
    for content in (None, b"", b"-----BEGIN nonsense", b"\x30\x03"):
        path = tmp_path / "roots"
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(ArgumentError, match="ca: "):
            find(shown(*healthy()), ca=path)
    path.write_bytes(ROOT.der)
    assert find(shown(*healthy()), ca=path) == []


def test_the_roots_of_this_machine_are_asked_by_name() -> None:
    """`system` takes the machine's store, which does not hold a root made here."""
    try:
        found = find(shown(*healthy()), ca="system")
    except ArgumentError:
        pytest.skip("this machine has no trusted roots")
    assert [one.id for one in found] == ["untrusted_chain"]


# -- names --------------------------------------------------------------------------------------------------------

MATCHES = [
    ("a.example", "A.Example.", True),
    ("*.example", "a.example", True),
    ("*.example", "a.b.example", False),
    ("*.example", "example", False),
    ("*.example", ".example", False),
    ("a*.example", "ab.example", False),  # RFC 9525 6.3: no partial wildcards
    ("*.*.example", "a.b.example", False),
    ("a.*.example", "a.b.example", False),
    ("192.0.2.7", "192.0.2.7", True),
    ("2001:db8::1", "[2001:DB8:0:0::1]", True),
    ("*.0.2.7", "192.0.2.7", False),
    ("xn--mnchen-3ya.example", "münchen.example", True),
    ("a.example\0.evil.example", "a.example", False),
    ("", "", False),
]


@pytest.mark.parametrize(("presented", "asked", "covered"), MATCHES)
def test_names_match_as_rfc_9525_says(presented: str, asked: str, covered: bool) -> None:
    """Case and the last dot do not count, a star is one whole label, and an address matches an address only."""
    assert Identity([presented]).covers(asked) is covered


def test_common_names_are_unescaped() -> None:
    """Commas, pluses and bytes that RFC 4514 escapes stay within the name."""
    assert common_names(r"O=CN\=x,CN=a\,b\+c\41,OU=d+CN=e") == ["a,b+cA", "e"]


# -- chains -------------------------------------------------------------------------------------------------------


def _certificate(name: str, issuer: str) -> Certificate:
    return Certificate(name, 0, 1, name, issuer, None, None, None, None, None, name == issuer, None, None)


def test_a_path_is_found_in_any_order_and_ends() -> None:
    """A path follows issuers by name, takes no certificate twice, and ends in a loop of cross-signed ones."""
    link = {pair: _certificate(*pair) for pair in ("LM", "MR", "RR", "RM", "XY")}
    paths = {("LM", "RR", "MR"): "LMR", ("LM", "XY"): "L", ("LM", "MR", "RM"): "LMR", ("RR", "LM"): "R"}
    for sent, path in paths.items():
        chain = tuple(link[pair] for pair in sent)
        assert "".join(one.sha256 for one in _path(chain)) == path
    whole = Chain("", tuple(link[pair] for pair in ("LM", "RR", "MR")), (link["LM"], link["MR"], link["RR"]))
    assert not whole.in_order
    assert [one.sha256 for one in whole.relied] == ["L", "M"]


# -- captures -----------------------------------------------------------------------------------------------------


def test_the_certificate_story_names_each_true_cause() -> None:
    """In the capture of wrong certificates each server's failures are explained by what was set up wrong there."""
    found = tlspcap.read(LAST).find()
    errors = found[found["severity"] == "error"]
    by_rule = errors.set_index("id")["title"].groupby("id").agg(list)
    assert "10.60.0.20:443" in by_rule["missing_intermediate"][0]
    assert "10.60.0.30:443" in by_rule["certificate_expired"][0]
    assert len(by_rule["certificate_name_mismatch"]) == 2
    assert {"certificate_expires_soon", "no_forward_secrecy", "old_version"} <= set(found["id"])
    assert not found["title"].str.contains("good.example").drop(errors.index).any()
