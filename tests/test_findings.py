"""Findings: the first names the cause, each carries its evidence, and healthy captures have none of severity error."""

from functools import cache
from pathlib import Path

import lab_findings
import pandas as pd
import pytest
from frames import established, failed, handshakes, intermittent, table

import tlspcap
from tlspcap import findings, schema
from tlspcap.findings import Finding, Severity
from tlspcap.findings.causes import MEANING, Cause
from tlspcap.findings.rules import RULES


def find(*rows: dict[str, object]) -> list[Finding]:
    """Return the findings on handshakes of these rows."""
    return findings.find({"handshakes": handshakes(*rows)})


def test_every_failure_is_explained_once() -> None:
    """Each failed handshake is in exactly one finding of severity error, and no other handshake is."""
    rows = intermittent()
    errors = [one for one in findings.find({"handshakes": rows}) if one.severity is Severity.ERROR]
    explained = [number for one in errors for number in one.handshakes]
    assert sorted(explained) == sorted(rows.loc[rows["outcome"] == "failed", "id"])


def test_findings_come_worst_first() -> None:
    """Errors come first, and among them the one that explains most failures."""
    rows = [failed(alert="bad_certificate"), *[failed(alert="handshake_failure", server_ip="192.0.2.99")] * 3]
    first, second = (one for one in find(*rows, established()) if one.severity is Severity.ERROR)
    assert (len(first.handshakes), len(second.handshakes)) == (3, 1)


def test_a_finding_names_where_to_look() -> None:
    """The filter shows exactly the conversations of the finding, and the example is one of them."""
    first = findings.find({"handshakes": intermittent()})[0]
    assert first.filters == (("night.pcap", "tcp.stream in {2, 5, 9}"),)
    assert first.frames == (28, 64, 112)
    assert "stream 2, frame 28 of night.pcap" in first.detail[-1]


def test_the_findings_table_keeps_its_schema() -> None:
    """The table has the declared columns and dtypes, with findings and without."""
    for found in (findings.find({"handshakes": intermittent()}), []):
        made = findings.table(found)
        assert made.dtypes.to_dict() == {
            c.name: pd.api.types.pandas_dtype(c.pandas_dtype) for c in schema.FINDINGS.columns
        }
        assert len(made) == len(found)


def test_every_rule_says_what_it_finds() -> None:
    """Rules have distinct names, a docstring that says what they find, and a source; every cause has a meaning."""
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.ask.__doc__ and rule.source for rule in RULES)
    assert set(MEANING) == set(Cause)


def test_text_from_the_wire_is_harmless_in_findings() -> None:
    """Control characters in names from the wire are shown as codes."""
    (one,) = find(failed(alert=None, reason="answered \x1b[2J"))
    assert "\x1b" not in "".join((one.title, *one.detail, one.advice))


# -- each rule speaks where it should, and names what it saw ------------------------------------------------------


def first(**tables: pd.DataFrame) -> Finding:
    """Return the first finding on some tables."""
    return findings.find(tables)[0]


def hello(digest: str, **cells: str) -> dict[str, object]:
    """Describe a hello as clients offer it, apart from what is said."""
    usual = {
        "versions": "TLS 1.2",
        "cipher_suites": "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "groups": "x25519",
        "signature_schemes": "rsa_pss_rsae_sha256",
    }
    return {"digest": digest, "sender": "client", **usual, **cells}


def test_no_common_version_names_clients_and_what_the_server_took() -> None:
    """Clients below all that the server has accepted are named, with who would be let in and who shut out."""
    old = {"offered_versions": "TLS 1.0", "client_ip": "10.0.0.9", "ja4": "t10d"}
    rows = [failed("TLS 1.0", "protocol_version", **old), established("TLS 1.2"), established("TLS 1.3")]
    one = first(handshakes=handshakes(rows))
    assert (one.id, one.causes) == ("no_common_version", (Cause.NO_COMMON_VERSION,))
    assert one.title == (
        "Client 10.0.0.9 offers at most TLS 1.0, and server 198.51.100.1:443 accepted nothing below TLS 1.2: "
        "1 handshake refused with protocol_version (70)"
    )
    assert "Shut out: 10.0.0.9 (JA4 t10d, 1)." in one.detail
    assert "Lowering the server's minimum to TLS 1.0 would let in 1 client (1 handshake)." in one.detail
    assert any("Raising it to TLS 1.3 would shut out up to 1 client more" in line for line in one.detail)


def test_a_reset_below_the_minimum_is_a_version_too() -> None:
    """A server that resets what lies below all it has accepted refuses the version; one that takes it does not."""
    old = {"offered_versions": "TLS 1.0"}
    reset = failed("TLS 1.0", None, **old)
    assert first(handshakes=handshakes(reset, established("TLS 1.2"))).id == "no_common_version"
    assert first(handshakes=handshakes(reset, established("TLS 1.0"))).id == "unexplained_failure"


def test_nothing_in_common_shows_both_lists() -> None:
    """Where the server chose other suites elsewhere, the empty intersection is shown, and the kinds of key."""
    rows = [
        failed(alert="handshake_failure", client_hello_digest="a", offered_versions="TLS 1.2"),
        established(client_hello_digest="b", group="x25519"),
    ]
    hellos = table("hellos", [hello("a", cipher_suites="TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"), hello("b")])
    one = first(handshakes=handshakes(rows), hellos=hellos)
    assert (one.id, one.causes) == ("nothing_in_common", (Cause.NO_COMMON_CIPHER,))
    assert "No common cipher suite: client 192.0.2.10 offers TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256" in one.title
    assert "What is offered needs a certificate with a key of ECDSA; the server has shown RSA." in one.detail


def test_a_bare_handshake_failure_is_not_more_certain_than_it_is() -> None:
    """Without another handshake of that server the narrowest list is likeliest, and all that fit are named."""
    rows = failed(alert="handshake_failure", client_hello_digest="a", offered_versions="TLS 1.2")
    one = first(handshakes=handshakes(rows), hellos=table("hellos", [hello("a", groups="secp521r1")]))
    assert "most likely" in one.title
    assert {Cause.NO_COMMON_CIPHER, Cause.NO_COMMON_GROUP, Cause.NO_COMMON_SIGNATURE} <= set(one.causes)


def test_an_offer_that_was_accepted_before_is_intermittent() -> None:
    """The same offer to the same server fails and succeeds: the ratio is told with its interval, and no list blamed."""
    same = {"client_hello_digest": "a"}
    one = first(handshakes=handshakes(failed(alert="handshake_failure", **same), [established(**same)] * 3))
    assert one.id == "intermittent_failure"
    assert "1 of 4 handshakes with the same offers ended with handshake_failure (40), 3 succeeded" in one.title
    assert any("95 % interval" in line for line in one.detail)


def test_the_name_and_the_protocol_are_told() -> None:
    """unrecognized_name names the name asked for, no_application_protocol the protocols offered."""
    name = first(handshakes=handshakes(failed(alert="unrecognized_name", sni="old.example")))
    assert (name.id, name.causes) == ("name_unknown", (Cause.NAME_UNKNOWN,))
    assert "did not know the name old.example" in name.title
    protocol = first(handshakes=handshakes(failed(alert="no_application_protocol", alpn_offered="h2")))
    assert (protocol.id, protocol.causes) == ("no_common_protocol", (Cause.NO_COMMON_PROTOCOL,))
    assert "(h2)" in protocol.title


def test_a_sealed_refusal_by_the_client_names_a_set() -> None:
    """Where the alert is sealed the client's refusal is probable, and every reason that fits is among the causes."""
    sealed = {"failure_side": "client", "failure_phase": "server_certificate", "failure_mechanism": "hidden_alert"}
    one = first(handshakes=handshakes(failed("TLS 1.3", None, **sealed, certainty="probable")))
    assert one.id == "server_certificate_refused"
    assert "refused the certificate of server 198.51.100.1:443 with encrypted alert (probable)" in one.title
    assert {Cause.SERVER_CERTIFICATE_UNTRUSTED, Cause.SERVER_CERTIFICATE_EXPIRED, Cause.SERVER_CERTIFICATE_NAME} <= set(
        one.causes
    )


def test_mutual_tls_sets_the_issuer_beside_the_authorities() -> None:
    """A client certificate from an authority that the server did not name is told so, with both names."""
    row = failed(
        alert="bad_certificate",
        failure_phase="client_auth",
        client_auth="certificate",
        client_certificate_sha256="c1",
        certificate_request_digest="r1",
    )
    leaf = {"sha256": "c1", "role": "client", "subject": "CN=device", "issuer": "CN=Other"}
    dates = {"not_before": pd.Timestamp("2026-01-01", tz="UTC"), "not_after": pd.Timestamp("2027-01-01", tz="UTC")}
    one = first(
        handshakes=handshakes(row),
        certificates=table("certificates", [{**leaf, **dates}]),
        certificate_requests=table("certificate_requests", [{"digest": "r1", "authorities": "CN=Right; CN=Next"}]),
    )
    assert (one.id, one.causes) == ("client_certificate_refused", (Cause.CLIENT_CERTIFICATE_UNTRUSTED,))
    assert "which was issued by CN=Other" in one.title
    assert "Authorities that the server accepts: CN=Right; CN=Next." in one.detail


def test_a_large_hello_that_gets_no_answer_is_told_from_smaller_ones() -> None:
    """A hello over one segment that stays unanswered is the size's fault only where smaller ones are answered."""
    lost = failed("TLS 1.3", None, failure_side="network", failure_mechanism="timeout")
    both = handshakes(lost, established("TLS 1.3"))
    sizes = [{"id": both["id"].iloc[i], "message": "client_hello", "length": size} for i, size in ((0, 1700), (1, 400))]
    messages = table("messages", [{**row, "handshake": 0} for row in sizes])
    one = first(handshakes=both, messages=messages)
    assert one.id == "large_hello_lost"
    assert "no ClientHello as large as 1,700 bytes" in one.title
    assert "up to 400 bytes" in one.title
    assert first(handshakes=handshakes(lost), messages=messages[:1]).id == "unexplained_failure"


def test_a_silent_server_and_a_client_that_only_looks_are_told_apart() -> None:
    """Who leaves after a wait has waited in vain; who leaves at once never meant it, or had a fault of its own."""
    left = {"failure_side": "client", "failure_mechanism": "close"}
    waited = first(handshakes=handshakes(failed(alert=None, **left, handshake_ms=3000.0)))
    assert (waited.id, waited.causes[0]) == ("no_answer", Cause.SERVER_SILENT)
    assert "did not answer the ClientHello for 3 s" in waited.title
    looked = first(handshakes=handshakes(failed(alert=None, **left, handshake_ms=2.0)))
    assert (looked.id, looked.causes[0]) == ("client_left", Cause.CLIENT_LEFT)


SAMPLES = Path(__file__).parent.parent / "sample_captures"
STORIES = {
    "intermittent-alert.pcap": ("intermittent_failure", "3 of 10"),
    "old-app.pcap": ("no_common_version", "3 clients offer at most TLS 1.1"),
    "mutual-tls.pcapng": ("client_certificate_refused", "Server 10.50.0.10:443"),
    "version-cipher-matrix.pcap": ("no_common_version", "3 clients offer at most TLS 1.1"),
    "starttls.pcap": ("starttls_refused", "declined in 6 conversations"),
}


@cache
def of_sample(name: str) -> list[Finding]:
    """Return the findings on a sample capture."""
    return findings.find(tlspcap.read(SAMPLES / name).tables)


@pytest.mark.parametrize("name", STORIES)
def test_the_first_finding_of_a_sample_is_its_story(name: str) -> None:
    """What each sample capture was recorded to show is the first finding on it."""
    rule, words = STORIES[name]
    found = of_sample(name)[0]
    assert found.id == rule
    assert words in found.title


def test_tls_to_a_plain_port_is_named() -> None:
    """The nginx that listens without ssl is found to speak plain HTTP."""
    found = {one.id: one for one in of_sample("nginx-certificate.pcap")}
    assert "10.60.0.50:8080 speaks plain HTTP" in found["tls_to_plain_port"].title
    assert found["tls_to_plain_port"].causes == (Cause.NOT_TLS,)


def test_a_healthy_capture_has_no_error() -> None:
    """Where every handshake succeeded no finding is of severity error."""
    assert not [one for one in of_sample("intermittent-alert-after.pcap") if one.severity is Severity.ERROR]


# -- the lab: what the endpoints know --------------------------------------------------------------------------------


def test_findings_of_the_lab_hold_the_true_cause() -> None:
    """Of every failure of the lab the true cause is among those that the finding names, in 99 of 100."""
    for with_keys in (False, True):
        said = lab_findings.told(with_keys)
        assert len(said) >= 300
        missed = [(one.row["capture"], one.row["stream"], one.cause) for one in said if not one.is_held]
        assert len(missed) <= 0.01 * len(said), missed[:10]


def test_the_first_finding_of_the_lab_names_the_true_cause() -> None:
    """Where nothing needed is sealed, and where keys are given, 95 of 100 failures are named by their true cause."""
    for with_keys in (False, True):
        said = [one for one in lab_findings.told(with_keys) if with_keys or one.in_clear]
        named = [one for one in said if one.is_named]
        assert len(named) >= 0.95 * len(said)
        firsts = {one.cause: one for one in said if one.is_first}
        assert [cause for cause, one in firsts.items() if not one.is_named] == []


def test_the_page_says_what_the_lab_shows() -> None:
    """The table in docs/findings.md is that of today's rules."""
    shown = lab_findings.PLACE.search(lab_findings.PAGE.read_text())
    assert shown is not None
    assert shown[0] == lab_findings.table()
