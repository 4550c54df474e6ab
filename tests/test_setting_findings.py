"""Rules about weak settings and needless effort: each speaks where it should, and is silent where nothing is wrong."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import frames
import pandas as pd
import pytest
from conftest import ROOT as PROJECT
from frames import established, failed
from lab_findings import NEEDED

import tlspcap
from tlspcap import findings
from tlspcap.findings import Finding, Severity

REFERENCE = Path(os.environ.get("TLSPCAP_REFERENCE", PROJECT.parent / "shared" / "reference")) / "captures"
STATIC_RSA = {"cipher": "TLS_RSA_WITH_AES_128_CBC_SHA", "cipher_code": 0x002F, "forward_secrecy": False}


def find(*rows: dict[str, Any] | list[dict[str, Any]], **tables: pd.DataFrame) -> list[Finding]:
    """Return the findings on handshakes of these rows."""
    return findings.find({"handshakes": frames.handshakes(*rows), **tables})


def only(rule: str, *rows: dict[str, Any] | list[dict[str, Any]], **tables: pd.DataFrame) -> Finding:
    """Return the one finding of a rule."""
    (one,) = (one for one in find(*rows, **tables) if one.id == rule)
    return one


# -- weak settings ------------------------------------------------------------------------------------------------


def suite(code: int, name: str) -> dict[str, Any]:
    """The columns of a cipher suite."""
    return {"cipher": name, "cipher_code": code, "forward_secrecy": True}


WEAK: dict[str, tuple[str, dict[str, Any], str]] = {
    "SSL 3.0": ("old_version", {"version": "SSL 3.0"}, "takes SSL 3.0 (1)"),
    "TLS 1.1": ("old_version", {"version": "TLS 1.1"}, "takes TLS 1.1 (1)"),
    "RC4": ("weak_cipher", suite(0xC011, "TLS_ECDHE_RSA_WITH_RC4_128_SHA"), "RC4 (1)"),
    "3DES": ("weak_cipher", suite(0xC012, "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA"), "3DES (1)"),
    "NULL": ("weak_cipher", suite(0xC010, "TLS_ECDHE_RSA_WITH_NULL_SHA"), "no encryption (1)"),
    "anonymous": ("weak_cipher", suite(0x00A6, "TLS_DH_anon_WITH_AES_128_GCM_SHA256"), "no authentication (1)"),
    "export": ("weak_cipher", suite(0x0011, "TLS_DHE_DSS_EXPORT_WITH_DES40_CBC_SHA"), "export (1)"),
    "static RSA": ("no_forward_secrecy", STATIC_RSA, "without forward secrecy"),
    "small DH": ("small_dh_group", {"dh_bits": 1024}, "1024 bits (1)"),
}


@pytest.mark.parametrize("what", WEAK)
def test_a_weak_setting_in_use_is_a_warning(what: str) -> None:
    """Each weak setting that a server used is said of that server, and of no other."""
    rule, columns, told = WEAK[what]
    weak, sound = established(**columns), established(server_ip="198.51.100.2", server_port=8443)
    (one,) = find(weak, sound)
    assert (one.id, one.severity, one.frames) == (rule, Severity.WARNING, (4,))
    assert told in one.title
    assert "server 198.51.100.1:443" in one.title.lower()


def test_sound_settings_are_silent() -> None:
    """TLS 1.2 and 1.3 with ephemeral keys and groups of 2048 bits make no finding."""
    renegotiates = {"secure_renegotiation": True}
    assert find(established(dh_bits=2048, forward_secrecy=True, **renegotiates), established("TLS 1.3")) == []


def test_clients_that_need_an_old_version_are_named() -> None:
    """Those that offered no more would be lost; those that offered more and got less are counted apart."""
    needy = established(version="TLS 1.0", client_ip="10.0.0.7")
    able = established(version="TLS 1.0") | {"offered_version_max": "TLS 1.2"}
    one = only("old_version", needy, needy, able)
    assert "Would be lost: 1 client that offer no more: 10.0.0.7 (2)." in one.detail
    assert "1 handshake got it though the client offered TLS 1.2 or more." in one.detail


def test_a_dh_group_that_the_client_refuses_explains_the_failure() -> None:
    """A client that ends the handshake in the key exchange, with handshake_failure, failed by the small group."""
    ended = {"failure_side": "client", "failure_phase": "key_exchange", "negotiated_version": "TLS 1.2"}
    first = find(failed(alert="handshake_failure", dh_bits=1024) | ended)[0]
    assert (first.id, first.severity, first.causes) == ("small_dh_group", Severity.ERROR, ("weak_setting",))


def _hellos(extensions: str) -> pd.DataFrame:
    hello = {"digest": "d1", "sender": "client", "extensions": extensions, "cipher_suites": "TLS_AES_128_GCM_SHA256"}
    return frames.table("hellos", [hello])


def test_renegotiation_counts_where_the_client_offers_the_secure_one() -> None:
    """RFC 5746: a server that does not answer the offer is a warning, a refusal by that an error; no offer, nothing."""
    lacks = {"secure_renegotiation": False, "client_hello_digest": "d1"}
    offered, silent = _hellos("server_name,renegotiation_info"), _hellos("server_name")
    assert only("insecure_renegotiation", established(**lacks), hellos=offered).severity is Severity.WARNING
    assert find(established(**lacks), hellos=silent) == []
    ended = {"failure_side": "client", "failure_phase": "server_hello", "negotiated_version": "TLS 1.2", **lacks}
    first = find(failed(alert="handshake_failure") | ended, hellos=offered)[0]
    assert (first.id, first.severity) == ("insecure_renegotiation", Severity.ERROR)


# -- resumption ---------------------------------------------------------------------------------------------------


def test_a_server_that_declines_every_session_is_named() -> None:
    """Three offers and none taken up is said; two are too few, and one taken up shows that it works."""
    declined, taken = established(resumption="declined"), established(resumption="ticket", resumed=True)
    one = only("resumption_declined", [declined] * 3)
    assert "declined all 3 sessions offered" in one.title
    assert find([declined] * 2) == []
    assert find([declined] * 3, taken) == []
    assert find([established(resumption="none")] * 5) == []


def test_sessions_that_do_not_carry_over_between_addresses_are_told_apart() -> None:
    """Where offers to the same address work, and behind a change of address all are declined, that is the cause."""
    def visit(address: str, resumption: str) -> dict[str, Any]:
        return established(ja4="t13", server_ip=address, resumption=resumption, resumed=resumption == "psk")

    first, second = "198.51.100.1", "198.51.100.2"
    trips = [visit(first, "none"), visit(first, "psk"), visit(second, "declined"), visit(first, "declined")]
    one = only("tickets_not_shared", trips, visit(second, "declined"))
    assert "all 3 that clients" in one.title
    assert one.severity is Severity.WARNING
    assert not [one for one in find(trips, visit(second, "psk")) if one.id == "tickets_not_shared"]


# -- retries and slow servers -------------------------------------------------------------------------------------


def test_a_retry_that_is_the_rule_is_said_with_its_cost() -> None:
    """Where most handshakes need a second hello, the round trip and the groups are named; one in four is not."""
    hello = {"digest": "d1", "sender": "client", "key_shares": "x25519"}
    retried = established("TLS 1.3", hello_retry=True, group="secp384r1", client_hello_digest="d1")
    one = only("hello_retry_usual", [retried] * 3, established("TLS 1.3"), hellos=frames.table("hellos", [hello]))
    assert "in 3 of 4 handshakes, each a round trip of 10.0 ms more" in one.title
    assert "Key shares of the first hello: x25519 (3)." in one.detail
    assert find([retried] * 3, [established("TLS 1.3")] * 9) == []


SLOW: dict[str, tuple[dict[str, Any], bool]] = {
    "300 ms over a round trip of 10": ({"server_ms": 318.0}, True),
    "as long as the way to it": ({"server_ms": 318.0, "server_rtt_ms": 150.0, "tcp_rtt_ms": 151.0}, False),
    "three times a long round trip": ({"server_ms": 700.0, "server_rtt_ms": 1.0, "tcp_rtt_ms": 200.0}, False),
    "no SYN seen": ({"server_ms": 318.0, "server_rtt_ms": None, "tcp_rtt_ms": None}, True),
    "below a tenth of a second": ({"server_ms": 90.0}, False),
}


@pytest.mark.parametrize("what", SLOW)
def test_a_server_is_slow_by_what_the_way_does_not_explain(what: str) -> None:
    """The server's own time is its part less the way to it; it counts beyond 100 ms and five round trips."""
    columns, speaks = SLOW[what]
    found = find([established(**columns)] * 3)
    assert [one.id for one in found] == ["slow_server"] * speaks
    assert find([established(**columns)] * 2) == []


def test_the_slow_step_is_named() -> None:
    """Whether the time goes by before the first answer or behind the client's keys is said."""
    early = only("slow_server", [established(server_ms=318.0, server_hello_ms=310.0)] * 3)
    late = only("slow_server", [established(server_ms=318.0, server_hello_ms=12.0)] * 3)
    assert "its first answer to the ClientHello" in " ".join(early.detail)
    assert "what follows the client's key exchange" in " ".join(late.detail)


# -- captures -----------------------------------------------------------------------------------------------------

ABOUT_SETTINGS = {"old_version", "weak_cipher", "no_forward_secrecy", "small_dh_group", "insecure_renegotiation"}


def test_the_samples_show_the_weak_settings_that_they_were_made_with(sample: Callable[[str], Path]) -> None:
    """The capture of versions and ciphers names the two weak servers of six, that of old clients the old server."""
    said = {
        (one.id, one.title.split(" ")[1])
        for name in ("version-cipher-matrix.pcap", "old-app.pcap")
        for one in findings.find(tlspcap.read(sample(name)).tables)
        if one.id in ABOUT_SETTINGS
    }
    assert said == {
        ("old_version", "10.30.0.10:443"), ("no_forward_secrecy", "10.30.0.10:443"),
        ("weak_cipher", "10.30.0.50:8443"), ("no_forward_secrecy", "10.30.0.50:8443"),
        ("old_version", "10.40.0.20:443"),
    }  # fmt: skip


# What rules about certificates, settings and effort say of the captures that others made, and why it is true: as tshark
# shows the hellos and key exchanges, and openssl the certificates. The captures not named here have none of it.
SEEN: dict[str, dict[str, str]] = {
    "ja4-badcurveball.pcap": {
        "root_sent":
            "second of two certificates: subject and issuer INFIGO, a root forged with the bug that names the "
            "file",
    },
    "ja4-socks4-https.pcap": {
        "weak_certificate": "login.live.com and both above it are signed by sha1WithRSAEncryption",
    },
    "ndpi-6in4tunnel.pcap": {
        "root_sent": "stream 5: the fourth is AddTrust External CA Root, by itself",
        "weak_certificate": "stream 1: *.facebook.com and its DigiCert CA-3 by SHA-1",
    },
    "ndpi-google_ssl.pcap": {
        "no_forward_secrecy": "ServerHello: TLS_RSA_WITH_RC4_128_SHA",
        "old_version": "ServerHello: 0x0301",
        "weak_certificate": "all three by SHA-1",
        "weak_cipher": "RC4, as above",
    },
    "zeek-certificate-request-failed.pcap": {
        "root_sent": "second of two: O=SomeOrg, by itself",
    },
    "zeek-connect-with-header.pcap": {
        "no_forward_secrecy": "ServerHello, frame 11: TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "weak_cipher": "3DES, as above",
    },
    "zeek-dhe.pcap": {
        "small_dh_group": "frame 8: a prime of 128 bytes",
        "weak_certificate": "the leaf is by SHA-256, StartCom's intermediate by SHA-1",
    },
    "zeek-encrypted.pcap": {
        "old_version":
            "ServerHello: 0x0302; issuer and subject are equal, but openssl finds that another key signed it: not"
            " self-signed",
    },
    "zeek-globus-url-copy.pcap": {
        "no_forward_secrecy": "frame 43: TLS_RSA_WITH_NULL_SHA",
        "old_version": "frame 43: 0x0301",
        "root_sent": "fourth of four: Globus Simple CA, by itself",
        "weak_certificate": "RSA of 512, 512 and 1024 bits",
        "weak_cipher": "NULL, as above",
    },
    "zeek-google-duplicate.pcap": {
        "weak_certificate": "all three by SHA-1, in both streams",
    },
    "zeek-heartbleed-encrypted-short.pcap": {
        "issuer_not_sent": "one certificate, with caIssuers at aia.startssl.com",
        "old_version": "ServerHello: 0x0301",
        "small_dh_group": "frame 7: a prime of 64 bytes",
    },
    "zeek-heartbleed-success.pcap": {
        "weak_certificate": "the leaf is by SHA-256, StartCom's intermediate by SHA-1",
    },
    "zeek-imap-starttls.pcap": {
        "root_sent": "third of three: Deutsche Telekom Root CA 2, by itself",
        "weak_certificate": "leaf and TeleSec intermediate by SHA-1",
    },
    "zeek-missing-intermediate.pcap": {
        "insecure_renegotiation": "hellos with the SCSV 0x00ff, ServerHellos without extension 65281",
        "missing_intermediate": "one certificate; stream 1 shows its issuer below a Starfield root",
        "no_forward_secrecy": "TLS_RSA_WITH_RC4_128_MD5",
        "old_version": "0x0301 in streams 0 and 2",
        "root_sent": "stream 1: third of three, by itself",
        "weak_cipher": "RC4, as above",
    },
    "zeek-ml-dsa-44-cert.pcap": {
        "certificate_not_yet_valid": "from April 2026, in packets of November 2023 (the capture is synthetic)",
        "certificate_self_signed": "subject is issuer; ML-DSA cannot be checked here",
        "no_forward_secrecy": "TLS_RSA_WITH_AES_128_CBC_SHA",
    },
    "zeek-ocsp-stapling.pcap": {
        "old_version": "ServerHello: 0x0301",
        "weak_certificate": "all three by SHA-1",
    },
    "zeek-pop3-starttls.pcap": {
        "small_dh_group": "frame 13: a prime of 128 bytes",
        "weak_certificate": "md5WithRSAEncryption",
    },
    "zeek-pppoe-over-qinq.pcap": {
        "insecure_renegotiation": "extension 65281 in frame 4, none in frame 7",
        "no_forward_secrecy": "TLS_RSA_WITH_AES_128_GCM_SHA256",
    },
    "zeek-psql-aws-ssl-require.pcap": {
        "root_sent": "third of three: Amazon RDS Root 2019 CA; openssl verifies it by itself",
    },
    "zeek-rdp-to-ssl.pcap": {
        "certificate_name_mismatch":
            "asked for 192.168.1.150; a common name WIN2K8R2.awakecoding.ath.cx, no alternative names",
        "certificate_self_signed": "subject is issuer",
        "no_forward_secrecy": "TLS_RSA_WITH_AES_128_CBC_SHA",
        "old_version": "0x0301 in both streams; neither hello offers secure renegotiation, so nothing is said of it",
    },
    "zeek-smtp-starttls.pcap": {
        "weak_certificate": "all three by SHA-1",
    },
    "zeek-socks-with-ssl.pcap": {
        "certificate_name_mismatch": "www.google.com is the common name, and there are no alternative names",
        "old_version": "ServerHello: 0x0301",
        "weak_certificate": "RSA of 1024 bits and SHA-1, twice",
        "weak_cipher": "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
    },
    "zeek-ssl-v2.pcap": {
        "certificate_expired": "until 5 November 2012, shown on 10 April 2014",
        "certificate_self_signed": "plesk; openssl verifies it by itself",
        "old_version": "0x0002 in both hellos",
    },
    "zeek-tls-expired-cert.pcap": {
        "certificate_expired": "stream 0: until 4 March 2014, shown on the 13th",
        "certificate_expires_soon": "stream 1: until 14 March, after 13 months",
        "insecure_renegotiation": "stream 1: SCSV in frame 31, no extension 65281 in frame 32",
        "no_forward_secrecy": "stream 1: TLS_RSA_WITH_AES_256_CBC_SHA",
        "old_version": "0x0301 in both",
        "small_dh_group": "stream 0, frame 8: a prime of 128 bytes",
        "weak_certificate": "two and three by SHA-1",
    },
    "zeek-tls-fragmented-handshake.pcap.gz": {
        "certificate_name_mismatch": "asked for 104.236.167.107, 10,000 names of helloIamADomain.example",
        "certificate_self_signed": "CN=Bro; openssl verifies it by itself",
        "chain_over_initial_window": "one certificate of 339,623 bytes",
    },
    "zeek-tls1.2-late-protocol-error.pcap": {
        "no_forward_secrecy": "TLS_RSA_WITH_RC4_128_MD5",
        "root_sent": "third of three: AddTrust External CA Root, by itself",
        "weak_certificate": "leaf and intermediate by SHA-1",
        "weak_cipher": "RC4, as above",
    },
    "zeek-tls1.2-protocol-violation.pcap": {
        "no_forward_secrecy": "ServerHello, frame 5: TLS_RSA_WITH_RC4_128_MD5",
        "weak_cipher": "RC4; its certificates were overwritten, so nothing is said of them",
    },
    "zeek-tls1.2.pcap": {
        "no_forward_secrecy": "TLS_RSA_WITH_RC4_128_MD5",
        "root_sent": "third of three: AddTrust External CA Root, by itself",
        "weak_certificate": "leaf and intermediate by SHA-1",
        "weak_cipher": "RC4, as above",
    },
    "zeek-xmpp-starttls.pcap": {
        "root_sent": "second of two: CA Cert Signing Authority, by itself",
        "weak_certificate": "the leaf by SHA-1 (that the root is by MD5 does not matter)",
    },
}  # fmt: skip
RULES = {
    "missing_intermediate", "certificate_self_signed", "issuer_not_sent", "certificate_expired",
    "certificate_not_yet_valid", "certificate_name_mismatch", "chain_out_of_order", "weak_certificate",
    "certificate_expires_soon", "certificate_varies", "needless_certificates", "root_sent",
    "chain_over_initial_window", "tickets_not_shared", "resumption_declined", "hello_retry_usual", "slow_server",
    *ABOUT_SETTINGS,
}  # fmt: skip


@pytest.mark.skipif(not REFERENCE.is_dir(), reason="the reference captures are not here")
def test_nothing_is_said_of_the_reference_captures_but_what_was_looked_at() -> None:
    """Of captures that others made, the rules say what is listed above, and nothing else."""
    said = {}
    for path in sorted(REFERENCE.glob("*.pcap*")):
        found = {one.id for one in findings.find(tlspcap.read(path, tables=NEEDED).tables)} & RULES
        if found:
            said[path.name] = found
    assert said == {name: set(why) for name, why in SEEN.items()}
