"""Names of codes, and the order of versions."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tlspcap.tls import names

VERSIONS = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x7F0E: "TLS 1.3 draft 14",
    0x7F17: "TLS 1.3 draft 23",
    0xFB17: "TLS 1.3 fb23",
    0x7F1C: "TLS 1.3 draft 28",
    0x0304: "TLS 1.3",
    0x7E01: "0x7e01",
}


@pytest.mark.parametrize(("code", "name"), VERSIONS.items())
def test_versions_read_as_documented(code, name):
    """Versions, drafts and unknown codes read as the tables document them."""
    assert names.version_name(code) == name


def test_versions_rank_in_the_order_they_came():
    """Drafts rank between TLS 1.2 and TLS 1.3, unknown versions by their number."""
    assert sorted(sorted(VERSIONS), key=names.version_rank) == list(VERSIONS)
    assert names.version_order(reversed(VERSIONS.values())) == list(VERSIONS.values())


def test_datagram_versions_rank_downwards():
    """DTLS numbers its versions downwards (RFC 6347 4.1); they rank in the order they came all the same."""
    assert names.version_order(["DTLS 1.3", "DTLS 1.0", "DTLS 1.2"]) == ["DTLS 1.0", "DTLS 1.2", "DTLS 1.3"]


@given(code=st.integers(0, 0xFFFF))
def test_a_version_ranks_the_same_by_code_and_by_name(code):
    """Sorting a table by the names of versions gives the order of their codes."""
    assert names.version_rank_of_name(names.version_name(code)) == names.version_rank(code)


def test_words_that_are_no_version_rank_last():
    """Text of another kind sorts behind every version rather than raising."""
    assert names.version_order(["unknown", "0xffff", "TLS 1.3"]) == ["TLS 1.3", "0xffff", "unknown"]


def test_grease_values_are_sixteen_with_equal_bytes():
    """GREASE values are the sixteen of RFC 8701 2 and no others."""
    grease = [code for code in range(0x10000) if names.is_grease(code)]
    assert grease == [0x0A0A + 0x1010 * step for step in range(16)]


@pytest.mark.parametrize(
    ("version", "expected"),
    [(0x0304, True), (0x7F12, True), (0xFB17, True), (0x7E01, True), (0x0303, False), (0xFEFC, False), (None, False)],
)
def test_drafts_and_experiments_count_as_tls13(version, expected):
    """The drafts of TLS 1.3, Facebook's and Chrome's experiment follow its message flow; nothing else does."""
    assert names.is_tls13(version) is expected


@pytest.mark.parametrize(
    ("name", "code", "expected"),
    [
        (names.cipher_name, 0x1302, "TLS_AES_256_GCM_SHA384"),
        (names.cipher_name, 0xC02F, "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"),
        (names.cipher_name, 0x5600, "TLS_FALLBACK_SCSV"),
        (names.cipher_name, 0x0700C0, "SSL_CK_DES_192_EDE3_CBC_WITH_MD5"),
        (names.cipher_name, 0x080080, "SSL_CK_RC4_64_WITH_MD5"),
        (names.cipher_name, 0x090080, "0x090080"),
        (names.cipher_name, 0x2A2A, "0x2a2a"),
        (names.cipher_name, 0xFFFE, "0xfffe"),
        (names.group_name, 23, "secp256r1"),
        (names.group_name, 512, "MLKEM512"),
        (names.group_name, 513, "MLKEM768"),
        (names.group_name, 514, "MLKEM1024"),
        (names.group_name, 4587, "SecP256r1MLKEM768"),
        (names.group_name, 4588, "X25519MLKEM768"),
        (names.group_name, 4589, "SecP384r1MLKEM1024"),
        (names.group_name, 25497, "X25519Kyber768Draft00"),
        (names.group_name, 16696, "CECPQ2"),
        (names.group_name, 0x0BAD, "0x0bad"),
        (names.signature_scheme_name, 0x0403, "ecdsa_secp256r1_sha256"),
        (names.signature_scheme_name, 0x0202, "dsa_sha1"),
        (names.signature_scheme_name, 0x0904, "mldsa44"),
        (names.signature_scheme_name, 0x0906, "mldsa87"),
        (names.alert_name, 48, "unknown_ca"),
        (names.alert_name, 41, "no_certificate"),
        (names.alert_name, 100, "no_renegotiation"),
        (names.alert_name, 117, "general_error"),
        (names.alert_name, 121, "ech_required"),
        (names.alert_name, 200, "0x00c8"),
        (names.extension_name, 10, "supported_groups"),
        (names.extension_name, 35, "session_ticket"),
        (names.extension_name, 17613, "application_settings"),
        (names.extension_name, 65037, "encrypted_client_hello"),
        (names.extension_name, 51764, "trust_anchors"),
        (names.extension_name, 0xABCD, "0xabcd"),
        (names.handshake_type_name, 12, "server_key_exchange"),
        (names.handshake_type_name, 99, "0x0063"),
        (names.content_type_name, 23, "application_data"),
        (names.content_type_name, 99, "0x0063"),
    ],
)
def test_codes_have_their_registered_names(name, code, expected):
    """A code has the name of its registry, without a mark of being historic; an unknown one reads as its number."""
    assert name(code) == expected


def test_registries_are_read_when_first_needed():
    """Importing the module reads no registry."""
    program = "from tlspcap.tls import names; assert names.registry.cache_info().currsize == 0"
    subprocess.run([sys.executable, "-c", program], check=True)
