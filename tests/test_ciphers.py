"""Cipher suites taken apart, forward secrecy, and the sizes of sealed records."""

import ssl
import warnings

import pytest
from openssl_bytes import exchange

from tlspcap.tls import ciphers, names
from tlspcap.tls.ciphers import forward_secrecy, sealed_length, suite

TLS10, TLS11, TLS12, TLS13 = 0x0301, 0x0302, 0x0303, 0x0304
ALERT = 2  # bytes of content

# What no name tells: signalling values, GOST, and the suites before TLS that were never used in it
UNREADABLE = {0x00FF, 0x5600, 0xC100, 0xC101, 0xC102, 0xC103, 0xC104, 0xC105, 0xC106}


@pytest.mark.parametrize(
    ("version", "code", "length"),
    [
        (TLS13, 0x1301, 19),  # AES_128_GCM
        (TLS13, 0x1303, 19),  # CHACHA20_POLY1305
        (TLS13, 0x1304, 19),  # AES_128_CCM
        (TLS13, 0x1305, 11),  # AES_128_CCM_8
        (0x7F17, 0x1301, 19),  # a draft of TLS 1.3
        (TLS12, 0xC02F, 26),  # GCM
        (TLS12, 0xC0AC, 26),  # CCM
        (TLS12, 0xCCA8, 18),  # CHACHA20_POLY1305
        (TLS12, 0xC0AE, 18),  # CCM_8
        (TLS12, 0xD003, 18),  # CCM_8 of RFC 8442, with the hash in its name
        (TLS12, 0x002F, 48),  # AES_128_CBC_SHA, explicit IV
        (TLS11, 0x0035, 48),
        (TLS12, 0x003C, 64),  # AES_128_CBC_SHA256
        (TLS12, 0xC028, 80),  # AES_256_CBC_SHA384
        (TLS10, 0x002F, 32),  # AES_128_CBC_SHA, no IV sent
        (TLS10, 0x000A, 24),  # 3DES
        (0x0300, 0x000A, 24),
        (TLS12, 0x000A, 32),
        (TLS12, 0x0005, 22),  # RC4_128_SHA
        (TLS12, 0x0004, 18),  # RC4_128_MD5
        (TLS12, 0x0002, 22),  # NULL_SHA
        (TLS12, 0x0000, 2),  # nothing at all
        (TLS13, 0xC0B4, 35),  # TLS_SHA256_SHA256: an HMAC instead of encryption (RFC 9150)
        (TLS12, 0xC102, None),  # GOST: not known here
        (TLS12, 0x0BAD, None),
        (TLS13, 0xC02F, None),  # no suite of TLS 1.3
        (TLS12, 0x1301, None),  # a suite of TLS 1.3 only
    ],
)
def test_the_length_of_a_sealed_alert_follows_from_version_and_suite(version, code, length):
    """A sealed alert has the length that the version's record protection gives it."""
    assert sealed_length(version, code, ALERT) == length


def test_encrypt_then_mac_keeps_the_mac_outside_the_padding():
    """With encrypt-then-MAC (RFC 7366) the content alone is padded and the MAC follows."""
    assert sealed_length(TLS12, 0x002F, 2, encrypt_then_mac=True) == 16 + 16 + 20
    assert sealed_length(TLS12, 0x003C, 15, encrypt_then_mac=True) == 16 + 16 + 32
    assert sealed_length(TLS12, 0x003C, 16, encrypt_then_mac=True) == 16 + 32 + 32


@pytest.mark.parametrize(
    ("version", "cipher", "kind", "code"),
    [
        (ssl.TLSVersion.TLSv1_3, None, "EC", 0x1302),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-GCM-SHA256", "EC", 0xC02B),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-CHACHA20-POLY1305", "EC", 0xCCA9),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-CCM", "EC", 0xC0AC),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-CCM8:@SECLEVEL=0", "EC", 0xC0AE),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES256-SHA384", "EC", 0xC024),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-AES128-SHA256", "EC", 0xC023),
        (ssl.TLSVersion.TLSv1_2, "AES128-SHA", "RSA", 0x002F),
        (ssl.TLSVersion.TLSv1_2, "ECDHE-ECDSA-NULL-SHA:@SECLEVEL=0", "EC", 0xC006),
        (ssl.TLSVersion.TLSv1_1, "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", "EC", 0xC009),
        (ssl.TLSVersion.TLSv1, "ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0", "EC", 0xC00A),
    ],
)
@pytest.mark.parametrize("plain", [1, 15, 16, 100])
def test_openssl_seals_records_of_the_computed_length(version, cipher, kind, code, plain):
    """OpenSSL's own records have the computed length, encrypt-then-MAC included, which it negotiates for CBC."""
    sent = exchange(version, cipher, kind, plain).data
    if version == ssl.TLSVersion.TLSv1 and len(sent) > 5 + int.from_bytes(sent[3:5]):
        sent = sent[5 + int.from_bytes(sent[3:5]) :]  # OpenSSL splits off an empty record first, against BEAST
    uses_cbc = suite(code).block_size > 1
    assert len(sent) - 5 == sealed_length(int(version), code, plain, encrypt_then_mac=uses_cbc)


def test_every_registered_suite_can_be_taken_apart():
    """Every suite of IANA's registry is read by its name, but for those listed as unreadable."""
    unread = {code for code in names.registry("cipher-suites.csv") if suite(code).key_exchange == "unknown"}
    assert unread == UNREADABLE


@pytest.mark.parametrize(
    ("code", "key_exchange", "authentication", "encryption", "mac", "derivation"),
    [
        (0x1302, "TLS13", "TLS13", "AES_256_GCM", "AEAD", "SHA384"),
        (0x1305, "TLS13", "TLS13", "AES_128_CCM_8", "AEAD", "SHA256"),
        (0x006E, "TLS13", "TLS13", "ASCONAEAD128", "AEAD", "ASCONHASH256"),
        (0x1306, "TLS13", "TLS13", "AEGIS_256", "AEAD", "SHA512"),
        (0x0000, "NULL", "NULL", "NULL", "NULL", "SHA256"),
        (0x0001, "RSA", "RSA", "NULL", "MD5", "SHA256"),
        (0x0003, "RSA", "RSA", "RC4_40", "MD5", "SHA256"),
        (0x000A, "RSA", "RSA", "3DES_EDE_CBC", "SHA", "SHA256"),
        (0x000E, "DH", "RSA", "DES40_CBC", "SHA", "SHA256"),
        (0x0016, "DHE", "RSA", "3DES_EDE_CBC", "SHA", "SHA256"),
        (0x0032, "DHE", "DSS", "AES_128_CBC", "SHA", "SHA256"),
        (0x0034, "DH_anon", "anon", "AES_128_CBC", "SHA", "SHA256"),
        (0x001E, "KRB5", "KRB5", "DES_CBC", "SHA", "SHA256"),
        (0x008C, "PSK", "PSK", "AES_128_CBC", "SHA", "SHA256"),
        (0x0095, "RSA_PSK", "RSA", "AES_256_CBC", "SHA", "SHA256"),
        (0x009D, "RSA", "RSA", "AES_256_GCM", "AEAD", "SHA384"),
        (0x00AA, "DHE_PSK", "PSK", "AES_128_GCM", "AEAD", "SHA256"),
        (0xC004, "ECDH", "ECDSA", "AES_128_CBC", "SHA", "SHA256"),
        (0xC018, "ECDH_anon", "anon", "AES_128_CBC", "SHA", "SHA256"),
        (0xC01E, "SRP", "RSA", "AES_128_CBC", "SHA", "SHA256"),
        (0xC01D, "SRP", "SRP", "AES_128_CBC", "SHA", "SHA256"),
        (0xC028, "ECDHE", "RSA", "AES_256_CBC", "SHA384", "SHA384"),
        (0xC0AA, "DHE_PSK", "PSK", "AES_128_CCM_8", "AEAD", "SHA256"),
        (0xC0B0, "ECCPWD", "ECCPWD", "AES_128_GCM", "AEAD", "SHA256"),
        (0xCCAC, "ECDHE_PSK", "PSK", "CHACHA20_POLY1305", "AEAD", "SHA256"),
        (0xD005, "ECDHE_PSK", "PSK", "AES_128_CCM", "AEAD", "SHA256"),
        (0xCC13, "ECDHE", "RSA", "CHACHA20_POLY1305", "AEAD", "SHA256"),
        (0xFEFF, "RSA", "RSA", "3DES_EDE_CBC", "SHA", "SHA256"),
    ],
)
def test_parts_of_a_suite(code, key_exchange, authentication, encryption, mac, derivation):
    """Key exchange, authentication, encryption, MAC and hash are those that the suite's RFC gives it."""
    parts = suite(code)
    assert (parts.key_exchange, parts.authentication) == (key_exchange, authentication)
    assert (parts.encryption, parts.mac, parts.hash) == (encryption, mac, derivation)


def test_sizes_equal_scapys():
    """Where scapy implements a suite, block size, tag and MAC length are the same."""
    pytest.importorskip("scapy", reason="scapy is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scapy's, of ciphers that `cryptography` moved
        from scapy.layers.tls.crypto.suites import _tls_cipher_suites_cls as theirs
    implemented = {code: each for code, each in theirs.items() if code <= 0xFFFF and hasattr(each, "cipher_alg")}
    assert len(implemented) >= 100
    assert {code: our_sizes(code) for code in implemented} == {c: scapy_sizes(each) for c, each in implemented.items()}


def our_sizes(code: int) -> tuple[int, int, int]:
    """Return block size, tag and MAC length of a suite."""
    parts = suite(code)
    return parts.block_size, parts.tag_length, parts.mac_length


def scapy_sizes(each: type) -> tuple[int, int, int]:
    """Return the same of a suite as scapy has it."""
    cipher = each.cipher_alg
    if cipher.type == "aead":
        return 1, cipher.tag_len, 0
    return cipher.block_size if cipher.type == "block" else 1, 0, each.hmac_alg.hmac_len


@pytest.mark.parametrize(
    ("version", "code", "expected"),
    [
        (TLS13, 0x1301, True),
        (TLS13, 0x0BAD, True),  # the version decides
        (TLS12, 0xC02F, True),
        (TLS12, 0x0033, True),
        (TLS12, 0x0034, True),  # anonymous, yet ephemeral
        (TLS12, 0x009C, False),
        (TLS12, 0xC004, False),  # static ECDH
        (TLS12, 0x008C, False),
        (TLS12, 0x0095, False),
        (TLS12, 0xC102, None),
        (TLS12, 0x0BAD, None),
        (None, 0xC02F, True),
        (0x0002, 0x010080, False),
    ],
)
def test_forward_secrecy_by_version_and_suite(version, code, expected):
    """Ephemeral key exchanges have forward secrecy, long-lived keys have not, unknown suites stay unknown."""
    assert forward_secrecy(version, code) is expected


def test_a_psk_without_key_share_has_no_forward_secrecy():
    """TLS 1.3 with a PSK alone (psk_ke, RFC 8446 4.2.9) has no forward secrecy."""
    assert forward_secrecy(TLS13, 0x1301, psk_only=True) is False


@pytest.mark.parametrize(
    "name", ["TLS_NEWEXCHANGE_WITH_AES_128_GCM_SHA256", "TLS_RSA_WITH_AES_128_GCM_NEWHASH", "TLS_NEWSUITE", "0xabcd"]
)
def test_names_of_a_later_registry_stay_unknown_in_part(name, monkeypatch):
    """A suite whose name holds words not known here is unknown in those parts, and sizes are not guessed."""
    monkeypatch.setattr(ciphers, "cipher_name", lambda _: name)
    parts = suite.__wrapped__(0xFDFD)
    assert "unknown" in (parts.key_exchange, parts.encryption)
    monkeypatch.setattr(ciphers, "suite", lambda _: parts)
    assert parts.encryption != "unknown" or sealed_length(TLS12, 0xFDFD, ALERT) is None
