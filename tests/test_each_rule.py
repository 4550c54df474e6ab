"""Each rule beside a capture that shows its cause first, and one of the same kind on which it stays silent.

The captures of tests/captures/rules were recorded for this, each with a single thing set up wrong and its twin with
that set right; truth.json there says what, and what the clients said. Of the lab, the connections of one scenario are
told as a capture of their own. No capture was made by hand: stacks send all of it.
"""

import io
import json
from functools import cache
from pathlib import Path
from typing import Any

import extracts
import lab_findings
import lab_score
import pytest
from conftest import ROOT

import tlspcap
from tlspcap import findings
from tlspcap.findings import Finding
from tlspcap.findings.rules import RULES

FOLDER = Path(__file__).parent / "captures" / "rules"
SAMPLES = ROOT / "sample_captures"
TRUTH: dict[str, dict[str, Any]] = json.loads((FOLDER / "truth.json").read_text())


# -- where captures come from -------------------------------------------------------------------------------------


def recorded(name: str) -> list[Finding]:
    """Findings on a capture of tests/captures/rules, with the roots beside it where there are some."""
    roots = FOLDER / f"{name}.pem"
    return findings.find(tlspcap.read(FOLDER / f"{name}.pcap").tables, roots if roots.exists() else None)


def sample(name: str) -> list[Finding]:
    """Findings on a sample capture."""
    return findings.find(tlspcap.read(SAMPLES / name).tables)


def succeeded(name: str) -> list[Finding]:
    """Findings on the handshakes of a sample capture that succeeded, extracted from it."""
    rows = tlspcap.read(SAMPLES / name).handshakes
    made = extracts.extracted(SAMPLES / name, rows[rows["outcome"] == "established"])
    return findings.find(tlspcap.read(io.BytesIO(made.getvalue())).tables)


def lab(place: str) -> list[Finding]:
    """Findings on the connections of one scenario with one stack of the lab: "gnutls/alpn", "gnutls/alpn with keys"."""
    stack, scenario = place.removesuffix(" with keys").split("/")
    return findings.find(lab_findings.of_scenario(f"{stack}.pcap", scenario, with_keys=place.endswith("with keys")))


SOURCES = {"recorded": recorded, "sample": sample, "succeeded": succeeded, "lab": lab}


@cache
def told(where: str) -> tuple[Finding, ...]:
    """Findings on what is named: "recorded old-version", "lab gnutls/alpn"."""
    source, name = where.split(" ", 1)
    return tuple(SOURCES[source](name))


# -- the table ----------------------------------------------------------------------------------------------------

# rule: captures whose first finding it is, each with words of the title; and captures on which it stays silent
SHOWN: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "tls_to_plain_port": (
        {
            "recorded tls-to-plain-port-http": "10.80.0.10:443 speaks plain HTTP on that port",
            "recorded tls-to-plain-port-ssh": "10.80.0.10:443 speaks SSH on that port",
            "lab nobody/http": "18 servers speak plain HTTP on that port",
            "lab nobody/ssh": "18 servers speak SSH on that port",
        },
        ("recorded tls-to-plain-port-http-healthy",),
    ),
    "http_on_tls_port": (
        {"recorded http-on-tls-port": "Plain HTTP to 10.80.0.10:443, which speaks TLS on that port, in 3 conv"},
        ("recorded http-on-tls-port-healthy",),
    ),
    "starttls_refused": ({"sample starttls.pcap": "declined in 6 conversations"}, ("succeeded starttls.pcap",)),
    "no_common_version": (
        {
            "sample old-app.pcap": "3 clients offer at most TLS 1.1, and server 10.40.0.10:443 accepted nothing below",
            "lab gnutls/no_common_version_old": "refused with protocol_version (70)",
        },
        ("succeeded old-app.pcap", "lab gnutls/full_old"),
    ),
    "name_unknown": ({"lab openssl/unrecognized_name": "did not know the name"}, ("lab openssl/full",)),
    "no_common_protocol": (
        {"lab gnutls/no_common_alpn": "took none of the application protocols that client 127.0.0.1 offers (h2)"},
        ("lab gnutls/alpn",),
    ),
    "missing_intermediate": (
        {
            "recorded missing-intermediate": "without the intermediate certificate CN=Rule Issuing CA that signed it",
            "sample nginx-certificate.pcap": "incomplete.example without the intermediate certificate CN=Home Trust",
        },
        ("recorded missing-intermediate-healthy",),
    ),
    "certificate_self_signed": (
        {
            "recorded certificate-self-signed": "is self-signed",
            "lab python-ssl/self_signed with keys": "is self-signed",
        },
        ("recorded certificate-self-signed-healthy", "lab python-ssl/full with keys"),
    ),
    "issuer_not_sent": (
        {"recorded issuer-not-sent": "alone; that of its issuer CN=Rule Issuing CA is most likely missing"},
        ("recorded issuer-not-sent-healthy",),
    ),
    "certificate_expired": (
        {
            "recorded certificate-expired": "had expired 3 days before",
            "lab python-ssl/expired with keys": "had expired 5 days before",
        },
        ("recorded certificate-expired-healthy", "lab python-ssl/full with keys"),
    ),
    "certificate_not_yet_valid": (
        {"recorded certificate-not-yet-valid": "becomes valid only 48 h"},
        ("recorded certificate-not-yet-valid-healthy",),
    ),
    "certificate_name_mismatch": (
        {
            "recorded certificate-name-mismatch": "for other.example to clients that ask for shop.example",
            "lab python-ssl/wrong_name with keys": "to clients that ask for",
        },
        ("recorded certificate-name-mismatch-healthy", "lab python-ssl/full with keys"),
    ),
    "untrusted_chain": (
        {"recorded untrusted-chain": "ends at CN=Other Root, which is not among"},
        ("recorded untrusted-chain-healthy",),
    ),
    "chain_out_of_order": (
        {"recorded chain-out-of-order": "in the wrong order"},
        ("recorded chain-out-of-order-healthy",),
    ),
    "weak_certificate": (
        {
            "recorded weak-certificate-refused": "2 handshakes failed: the certificate for shop.example",
            "recorded weak-certificate-taken": "has an RSA key of 1024 bits",
        },
        ("recorded weak-certificate-refused-healthy",),
    ),
    "small_dh_group": (
        {
            "recorded small-dh-group-refused": "groups of 1024 bits (2), too small for the client",
            "recorded small-dh-group-taken": "Diffie-Hellman groups of 1024 bits (2)",
        },
        ("recorded small-dh-group-refused-healthy",),
    ),
    "insecure_renegotiation": (
        {
            "recorded insecure-renegotiation-refused": "the secure renegotiation (RFC 5746) that the client insists on",
            "recorded insecure-renegotiation-taken": "lacks secure renegotiation (RFC 5746)",
        },
        ("recorded insecure-renegotiation-refused-healthy",),
    ),
    "server_certificate_refused": (
        {"lab gnutls/untrusted": "refused the certificate of server"},
        ("lab gnutls/full",),
    ),
    "client_certificate_refused": (
        {
            "sample mutual-tls.pcapng": "Server 10.50.0.10:443 refused the client certificate",
            "lab python-ssl/no_client_certificate": "asked for a client certificate, and",
            "lab python-ssl/wrong_client_ca with keys": "which was issued by CN=Other Root",
            "lab python-ssl/expired_client_certificate with keys": "which is valid from",
        },
        ("succeeded mutual-tls.pcapng", "lab python-ssl/mutual", "lab python-ssl/mutual with keys"),
    ),
    "large_hello_lost": (
        {"recorded large-hello-lost": "answers no ClientHello as large as 1,580 bytes (2 handshakes"},
        ("recorded large-hello-lost-healthy",),
    ),
    "nothing_in_common": (
        {
            "lab gnutls/no_common_cipher": "o common cipher suite",
            "lab gnutls/no_common_group": "o common group",
        },
        ("lab gnutls/aes128", "lab gnutls/hello_retry"),
    ),
    "intermittent_failure": (
        {"sample intermittent-alert.pcap": "3 of 10 handshakes with the same offers ended with internal_error (80)"},
        ("sample intermittent-alert-after.pcap",),
    ),
    "no_answer": ({"lab nobody/silence": "said nothing for 20 s after the ClientHello"}, ("lab openssl/full",)),
    "client_left": ({"lab lookers/hello_then_reset": "left before the handshake was done"}, ("lab openssl/full",)),
    "unexplained_failure": (
        {"lab python-ssl/internal_error": "internal_error (80)", "lab nobody/reset": "reset"},
        ("lab python-ssl/full",),
    ),
    "weak_cipher": (
        {
            "recorded weak-cipher-null": "no encryption (2)",
            "recorded weak-cipher-anonymous": "no authentication (2)",
            "recorded weak-cipher-export": "export (1)",
            "recorded weak-cipher-rc4": "RC4 (1)",
            "recorded weak-cipher-3des": "3DES (1)",
        },
        ("recorded weak-cipher-null-healthy",),
    ),
    "old_version": ({"recorded old-version": "takes TLS 1.0 (1)"}, ("recorded old-version-healthy",)),
    "no_forward_secrecy": (
        {"recorded no-forward-secrecy": "exchanges keys without forward secrecy"},
        ("recorded no-forward-secrecy-healthy",),
    ),
    "certificate_expires_soon": (
        {"recorded certificate-expires-soon": "ends 4 days after the capture"},
        ("recorded certificate-expires-soon-healthy",),
    ),
    "certificate_varies": (
        {"recorded certificate-varies": "10.80.0.10:443 changes between 2 certificates for shop.example"},
        ("recorded certificate-varies-healthy",),
    ),
    "needless_certificates": (
        {"recorded needless-certificates": "that does not belong to it"},
        ("recorded needless-certificates-healthy",),
    ),
    "root_sent": ({"recorded root-sent": "sends the root CN=Rule Root"}, ("recorded root-sent-healthy",)),
    "chain_over_initial_window": (
        {"recorded chain-over-initial-window": "more than fits into 10 segments"},
        ("recorded chain-over-initial-window-healthy",),
    ),
    "tickets_not_shared": (
        {"recorded tickets-not-shared": "between the addresses of shop.example: all 3 that clients offered"},
        ("recorded tickets-not-shared-healthy",),
    ),
    "resumption_declined": (
        {
            "recorded resumption-declined-balancer": "declined all 4 sessions offered, though it gives out tickets",
            "recorded resumption-declined-forgotten": "declined all 4 sessions offered, though it gives out tickets",
        },
        ("recorded resumption-declined-balancer-healthy", "lab openssl/resumed:second"),
    ),
    "hello_retry_usual": (
        {"recorded hello-retry-usual": "asked for another ClientHello in 3 of 3 handshakes"},
        ("recorded hello-retry-usual-healthy",),
    ),
    "slow_server": (
        {"recorded slow-server": "ms of its own for a handshake"},
        ("recorded slow-server-healthy",),
    ),
}


@pytest.mark.parametrize("rule", [rule.id for rule in RULES])
def test_each_rule_is_first_where_its_cause_is_and_silent_where_it_is_not(rule: str) -> None:
    """Every rule of the list has captures here: on some it is the first finding, on others of the kind it is none."""
    shown, silent = SHOWN[rule]
    assert shown
    assert silent
    for where, words in shown.items():
        first = told(where)[0]
        assert first.id == rule, where
        assert words in first.title, where
        assert first.streams or first.handshakes, where
    for where in silent:
        assert rule not in {one.id for one in told(where)}, where


def test_captures_with_all_set_right_have_no_finding() -> None:
    """On the healthy twins no rule speaks at all."""
    names = [name for name in TRUTH if name.endswith("-healthy")]
    assert len(names) >= 20
    assert {name: [one.title for one in told(f"recorded {name}")] for name in names} == {name: [] for name in names}


def test_every_recorded_capture_has_its_truth_and_is_used() -> None:
    """Each capture of the folder has a line that says what was set up, is small, and stands in the table."""
    files = {path.stem: path.stat().st_size for path in FOLDER.glob("*.pcap")}
    assert files.keys() == TRUTH.keys()
    assert max(files.values()) < 30_000
    assert all(line["set_up"] and line["clients_said"] for line in TRUTH.values())
    used = {where for shown, silent in SHOWN.values() for where in (*shown, *silent)}
    assert {f"recorded {name}" for name in files} <= used


def test_the_lab_was_recorded_with_these_outcomes() -> None:
    """What the table takes from the lab has the outcome of which the endpoints themselves told."""
    truth = lab_score.truth(lab_score.CAPTURES)
    for rule, (shown, silent) in SHOWN.items():
        for where in (one for one in (*shown, *silent) if one.startswith("lab ")):
            stack, scenario = where.removeprefix("lab ").removesuffix(" with keys").split("/")
            rows = truth[(truth["capture"] == f"{stack}.pcap") & (truth["scenario"] == scenario)]
            assert len(rows), where
            if where in shown:
                assert (rows["outcome"] == "failed").mean() > 0.5, (rule, where)
            else:
                assert (rows["outcome"] == "established").mean() > 0.9, (rule, where)
