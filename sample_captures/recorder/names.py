"""The registry spellings that truth files use, from the spellings of OpenSSL, GnuTLS and the wire."""

import functools
import re
import subprocess

# RFC 8446 6 and the IANA "TLS Alerts" registry.
ALERTS = {
    0: "close_notify", 10: "unexpected_message", 20: "bad_record_mac", 22: "record_overflow", 40: "handshake_failure",
    41: "no_certificate", 42: "bad_certificate", 43: "unsupported_certificate", 44: "certificate_revoked",
    45: "certificate_expired", 46: "certificate_unknown", 47: "illegal_parameter", 48: "unknown_ca",
    49: "access_denied", 50: "decode_error", 51: "decrypt_error", 70: "protocol_version",
    71: "insufficient_security", 80: "internal_error", 86: "inappropriate_fallback", 90: "user_canceled",
    100: "no_renegotiation", 109: "missing_extension", 110: "unsupported_extension", 112: "unrecognized_name",
    113: "bad_certificate_status_response", 115: "unknown_psk_identity", 116: "certificate_required",
    120: "no_application_protocol",
}  # fmt: skip

# These end a connection in peace; none of them refuses a handshake.
CLOSING_ALERTS = frozenset({"close_notify", "user_canceled"})

# IANA "TLS HandshakeType"; only what an endpoint can receive in these recordings.
HANDSHAKE_TYPES = {
    0: "hello_request", 1: "client_hello", 2: "server_hello", 4: "new_session_ticket", 8: "encrypted_extensions",
    11: "certificate", 12: "server_key_exchange", 13: "certificate_request", 14: "server_hello_done",
    15: "certificate_verify", 16: "client_key_exchange", 20: "finished", 22: "certificate_status", 24: "key_update",
}  # fmt: skip

# RFC 8446 4.2.1 and the versions before it.
VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}

_VERSION = re.compile(r"(SSL|TLS)v?(\d)(?:\.(\d))?$")


def version(spelling: str | None) -> str | None:
    """Return "TLS 1.2" for TLSv1.2 (OpenSSL, nginx) or TLS1.2 (GnuTLS)."""
    match = _VERSION.match(spelling or "")
    return f"{match[1]} {match[2]}.{match[3] or 0}" if match else None


def cipher(spelling: str | None) -> str | None:
    """Return the IANA name of a cipher suite that OpenSSL or GnuTLS names in its own way."""
    if spelling is None or spelling in _iana_by_openssl().values():
        return spelling
    return _iana_by_openssl().get(spelling) or _iana_by_gnutls()[spelling.removeprefix("GNUTLS_")]


def cipher_of_code(code: int) -> str:
    """Return the IANA name of a cipher suite by its number on the wire."""
    return _iana_by_code()[f"0x{code >> 8:02x},0x{code & 255:02x}"]


@functools.cache
def _suites() -> list[tuple[str, str, str]]:
    """Return (code, IANA name, OpenSSL name) of every suite that this OpenSSL knows."""
    command = ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return [(words[0], words[2], words[4]) for words in map(str.split, lines)]


@functools.cache
def _iana_by_openssl() -> dict[str, str]:
    return {openssl: iana for _, iana, openssl in _suites()}


@functools.cache
def _iana_by_code() -> dict[str, str]:
    """OpenSSL 3 as Debian builds it has no 3DES and RC4 left, so GnuTLS' suites with them stand here."""
    return {code.lower(): iana for code, iana, _ in _suites()} | {
        "0x00,0x04": "TLS_RSA_WITH_RC4_128_MD5",
        "0x00,0x05": "TLS_RSA_WITH_RC4_128_SHA",
        "0xc0,0x07": "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "0xc0,0x11": "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "0x00,0x0a": "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "0x00,0x16": "TLS_DHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "0xc0,0x08": "TLS_ECDHE_ECDSA_WITH_3DES_EDE_CBC_SHA",
        "0xc0,0x12": "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
    }


@functools.cache
def _iana_by_gnutls() -> dict[str, str]:
    """Join GnuTLS' names to IANA's by the number of the suite."""
    listing = subprocess.run(["gnutls-cli", "--list"], capture_output=True, text=True, check=True).stdout
    rows = re.findall(r"^TLS_(\S+)\s+(0x\w\w), (0x\w\w)\s", listing, re.MULTILINE)
    iana = _iana_by_code()
    return {name: iana[f"{high},{low}"] for name, high, low in rows if f"{high},{low}" in iana}
