"""Cipher suites taken apart by their names, and what follows from them: forward secrecy and sizes of sealed records."""

import re
from dataclasses import dataclass
from functools import lru_cache

from tlspcap.tls.names import SSL20, TLS11, cipher_name, is_tls13

_UNKNOWN = "unknown"
_MAC_LENGTHS = {"MD5": 16, "SHA": 20, "SHA256": 32, "SHA384": 48, "SM3": 32}
# encryption as the name has it, without key length -> block size; stream ciphers have 1
_BLOCK_SIZES = {"AES": 16, "CAMELLIA": 16, "ARIA": 16, "SEED": 16, "IDEA": 8, "DES": 8, "DES40": 8, "3DES": 8, "RC2": 8}
_KEY_EXCHANGES = (  # the longest that fits counts; what follows it is the authentication
    "ECDHE_PSK", "DHE_PSK", "PSK_DHE", "RSA_PSK", "RSA_EXPORT1024", "RSA_EXPORT", "RSA_FIPS", "ECDHE", "DHE",
    "ECDH_anon", "DH_anon", "ECDH", "DH", "RSA", "PSK", "KRB5", "SRP_SHA", "ECCPWD", "ECJPAKE",
)  # fmt: skip
_EPHEMERAL = {"DHE", "ECDHE", "DHE_PSK", "ECDHE_PSK", "DH_anon", "ECDH_anon", "SRP", "ECCPWD", "ECJPAKE"}
_LONG_LIVED = {"RSA", "DH", "ECDH", "PSK", "RSA_PSK", "KRB5", "NULL"}
_TLS13_NAME = re.compile(r"TLS_(?!.*_WITH_)(?P<encryption>\w+)_(?P<hash>SHA256|SHA384|SHA512|SM3|ASCONHASH256)")


@dataclass(frozen=True, slots=True)
class Suite:
    """A cipher suite's parts, in the words of its IANA name; "unknown" where the name does not tell."""

    code: int
    name: str
    key_exchange: str  # RSA, DHE, ECDHE, DH, ECDH, DH_anon, ECDH_anon, PSK, DHE_PSK, …, TLS13
    authentication: str  # RSA, ECDSA, DSS, PSK, anon, …; TLS13: by the certificate or PSK
    encryption: str  # AES_128_GCM, CHACHA20_POLY1305, 3DES_EDE_CBC, NULL, …
    mac: str  # AEAD, SHA, SHA256, MD5, …
    hash: str  # of the key derivation: SHA256, SHA384, … (up to TLS 1.1 it was MD5 and SHA-1, whatever the suite)
    is_aead: bool = False
    tag_length: int = 0  # bytes of the AEAD's tag
    explicit_nonce: int = 0  # bytes of nonce sent with each record in TLS 1.2
    block_size: int = 1  # bytes; 1: a stream cipher, an AEAD or none
    mac_length: int = 0  # bytes of the HMAC; 0 for an AEAD
    export: bool = False


@lru_cache(maxsize=1024)
def suite(code: int) -> Suite:
    """Return a cipher suite taken apart.

    >>> suite(0xC02F).key_exchange, suite(0xC02F).authentication, suite(0xC02F).encryption, suite(0xC02F).hash
    ('ECDHE', 'RSA', 'AES_128_GCM', 'SHA256')
    """
    name = cipher_name(code)
    if tls13 := _TLS13_NAME.fullmatch(name):
        return _tls13_suite(code, name, tls13["encryption"], tls13["hash"])
    prefix, _, rest = name.partition("_")
    exchange, with_, protection = rest.partition("_WITH_")
    if prefix not in ("TLS", "SSL") or not with_ or exchange.startswith(("GOST", "CK", "FORTEZZA")):
        return Suite(code, name, _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN, _UNKNOWN)
    key_exchange, authentication = _key_exchange(exchange)
    return _protected(code, name, key_exchange, authentication, protection, "EXPORT" in exchange)


def _tls13_suite(code: int, name: str, encryption: str, hash_: str) -> Suite:
    """A TLS 1.3 suite (RFC 8446 B.4); those of RFC 9150 have a hash for their encryption: an HMAC and no more."""
    if encryption in _MAC_LENGTHS:
        return Suite(code, name, "TLS13", "TLS13", "NULL", encryption, hash_, tag_length=_MAC_LENGTHS[encryption])
    tag = 8 if encryption.endswith("CCM_8") else 16
    return Suite(code, name, "TLS13", "TLS13", encryption, "AEAD", hash_, is_aead=True, tag_length=tag)


def _key_exchange(words: str) -> tuple[str, str]:
    """Split `ECDHE_RSA` and its like into key exchange and authentication."""
    if words == "NULL":
        return "NULL", "NULL"
    found = next((k for k in _KEY_EXCHANGES if words == k or words.startswith(k + "_")), None)
    if found is None:
        return _UNKNOWN, _UNKNOWN
    rest = words[len(found) + 1 :].replace("EXPORT1024", "").replace("EXPORT", "").strip("_")
    exchange = {"PSK_DHE": "DHE_PSK", "SRP_SHA": "SRP"}.get(found, found).split("_EXPORT")[0].replace("_FIPS", "")
    if exchange.endswith("_anon"):
        return exchange, "anon"
    if exchange.endswith("PSK"):
        return exchange, "RSA" if exchange == "RSA_PSK" else "PSK"
    return exchange, rest or exchange


def _protected(code: int, name: str, exchange: str, authentication: str, words: str, export: bool) -> Suite:
    """Take `AES_128_GCM_SHA256` and its like apart."""
    words = words.removesuffix("_OLD")
    if "CCM" in words:  # RFC 6655 names no hash and derives keys with SHA-256; RFC 8442 names it
        encryption = words.removesuffix("_SHA256")
        tag = 8 if encryption.endswith("_8") else 16
        return Suite(code, name, exchange, authentication, encryption, "AEAD", "SHA256", True, tag, 8, export=export)
    encryption, _, hash_ = words.rpartition("_")
    if hash_ not in _MAC_LENGTHS and hash_ != "NULL":
        return Suite(code, name, exchange, authentication, _UNKNOWN, _UNKNOWN, _UNKNOWN, export=export)
    if encryption.endswith("GCM") or "POLY1305" in encryption:
        # RFC 5288 3 sends 8 bytes of nonce; RFC 7905 2 sends none
        nonce = 0 if "POLY1305" in encryption else 8
        return Suite(code, name, exchange, authentication, encryption, "AEAD", hash_, True, 16, nonce, export=export)
    derivation = hash_ if hash_ in ("SHA384", "SM3") else "SHA256"  # RFC 5246 5: SHA-256 unless the suite says more
    block = _BLOCK_SIZES.get(encryption.split("_")[0], 1) if "CBC" in encryption else 1
    length = _MAC_LENGTHS.get(hash_, 0)
    return Suite(code, name, exchange, authentication, encryption or "NULL", hash_, derivation,
                 block_size=block, mac_length=length, export=export)  # fmt: skip


def forward_secrecy(version: int | None, code: int, psk_only: bool = False) -> bool | None:
    """Return whether recorded traffic stays safe if the server's long-lived key leaks; None where it cannot be told.

    `psk_only`: a TLS 1.3 handshake took a PSK without a key share (psk_ke, RFC 8446 4.2.9).

    >>> forward_secrecy(0x0303, 0xC02F), forward_secrecy(0x0303, 0x009C), forward_secrecy(0x0304, 0x1301)
    (True, False, True)
    """
    if is_tls13(version):
        return not psk_only
    if version == SSL20:
        return False  # the master key travels under the server's RSA key
    exchange = suite(code).key_exchange
    if exchange in _EPHEMERAL:
        return True
    return False if exchange in _LONG_LIVED else None


def sealed_length(version: int, code: int, plain: int, encrypt_then_mac: bool = False) -> int | None:
    """Return the length of the record that seals `plain` bytes without extra padding; None where it cannot be told.

    >>> sealed_length(0x0304, 0x1301, 2), sealed_length(0x0303, 0xC02F, 2), sealed_length(0x0303, 0x002F, 2)
    (19, 26, 48)
    """
    parts = suite(code)
    if is_tls13(version):  # RFC 8446 5.2: the content type is sealed with the content
        return plain + 1 + parts.tag_length if parts.key_exchange == "TLS13" else None
    if parts.encryption == _UNKNOWN or parts.key_exchange == "TLS13":
        return None
    if parts.is_aead:  # RFC 5246 6.2.3.3
        return parts.explicit_nonce + plain + parts.tag_length
    if parts.block_size == 1:  # RFC 5246 6.2.3.1
        return plain + parts.mac_length
    return _block_length(version, parts, plain, encrypt_then_mac)


def _block_length(version: int, parts: Suite, plain: int, encrypt_then_mac: bool) -> int:
    """Length of a CBC record (RFC 5246 6.2.3.2): padding ends with its own length byte and fills the block."""
    explicit_iv = parts.block_size if version >= TLS11 else 0  # RFC 4346 6.2.3.2; before, the last block served
    inside = plain if encrypt_then_mac else plain + parts.mac_length  # RFC 7366 3 puts the MAC outside
    padded = (inside // parts.block_size + 1) * parts.block_size
    return explicit_iv + padded + (parts.mac_length if encrypt_then_mac else 0)
