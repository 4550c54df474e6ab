"""Names of code points: IANA's registries from the dated files in `iana/`, and how versions read and rank.

Codes stay integers everywhere else; they are named only where they are shown. Enums hold the few codes that logic
branches on.
"""

import csv
import re
from collections.abc import Iterable
from enum import IntEnum
from functools import cache
from importlib import resources


class ContentType(IntEnum):
    """Record content types (RFC 8446 5.1)."""

    CHANGE_CIPHER_SPEC = 20
    ALERT = 21
    HANDSHAKE = 22
    APPLICATION_DATA = 23
    HEARTBEAT = 24


class HandshakeType(IntEnum):
    """Handshake message types (RFC 5246 7.4, RFC 8446 4)."""

    HELLO_REQUEST = 0
    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    HELLO_RETRY_REQUEST = 6
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    SERVER_KEY_EXCHANGE = 12
    CERTIFICATE_REQUEST = 13
    SERVER_HELLO_DONE = 14
    CERTIFICATE_VERIFY = 15
    CLIENT_KEY_EXCHANGE = 16
    FINISHED = 20
    CERTIFICATE_STATUS = 22
    KEY_UPDATE = 24
    COMPRESSED_CERTIFICATE = 25


class AlertDescription(IntEnum):
    """Alerts that the outcome, or what is told of it, depends on (RFC 8446 6)."""

    CLOSE_NOTIFY = 0
    HANDSHAKE_FAILURE = 40
    NO_CERTIFICATE = 41
    PROTOCOL_VERSION = 70
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    NO_RENEGOTIATION = 100
    UNRECOGNIZED_NAME = 112
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120


class ExtensionType(IntEnum):
    """Extensions that are read (RFC 8446 4.2 and the documents it lists)."""

    SERVER_NAME = 0
    STATUS_REQUEST = 5
    SUPPORTED_GROUPS = 10
    EC_POINT_FORMATS = 11
    SIGNATURE_ALGORITHMS = 13
    HEARTBEAT = 15
    ALPN = 16
    CLIENT_CERTIFICATE_TYPE = 19
    SERVER_CERTIFICATE_TYPE = 20
    ENCRYPT_THEN_MAC = 22
    EXTENDED_MASTER_SECRET = 23  # as RFC 7627 and tools call it; RFC 9846 renamed it extended_main_secret
    COMPRESS_CERTIFICATE = 27
    SESSION_TICKET = 35
    KEY_SHARE_DRAFT = 40  # key_share up to TLS 1.3 draft 22
    PRE_SHARED_KEY = 41
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    PSK_KEY_EXCHANGE_MODES = 45
    CERTIFICATE_AUTHORITIES = 47
    SIGNATURE_ALGORITHMS_CERT = 50
    KEY_SHARE = 51
    ENCRYPTED_CLIENT_HELLO = 65037
    RENEGOTIATION_INFO = 65281


SSL20, SSL30, TLS10, TLS11, TLS12, TLS13 = 0x0002, 0x0300, 0x0301, 0x0302, 0x0303, 0x0304

_VERSIONS = {
    SSL20: "SSL 2.0",
    SSL30: "SSL 3.0",
    TLS10: "TLS 1.0",
    TLS11: "TLS 1.1",
    TLS12: "TLS 1.2",
    TLS13: "TLS 1.3",
    0xFEFF: "DTLS 1.0",
    0xFEFD: "DTLS 1.2",
    0xFEFC: "DTLS 1.3",
}
_VERSION_CODES = {name: code for code, name in _VERSIONS.items()}
_DRAFT, _FACEBOOK, _EXPERIMENT = 0x7F, 0xFB, 0x7E  # high bytes of TLS 1.3 drafts, Facebook's, and Chrome's experiment
_DRAFT_NAME = re.compile(r"TLS 1\.3 (draft |fb)(\d+)")
_SUFFIX = re.compile(r"(_RESERVED| \((OBSOLETE|renamed|TEMPORARY)\b.*\))$")


def is_grease(code: int) -> bool:
    """Return whether a 16-bit code is one of the sixteen GREASE values (RFC 8701 2): two equal bytes 0x?a.

    >>> is_grease(0x1A1A), is_grease(0x1A2A)
    (True, False)
    """
    return code & 0x0F0F == 0x0A0A and code >> 8 == code & 0xFF


def is_tls13(version: int | None) -> bool:
    """Return whether a negotiated version is TLS 1.3, one of its drafts or experiments.

    >>> is_tls13(0x0304), is_tls13(0x7F17), is_tls13(0x0303), is_tls13(None)
    (True, True, False, False)
    """
    return version is not None and (version == TLS13 or version >> 8 in (_DRAFT, _FACEBOOK, _EXPERIMENT))


@cache
def version_name(code: int) -> str:
    """Return how a protocol version reads.

    >>> [version_name(code) for code in (0x0303, 0x7F17, 0xFB17, 0x7E01)]
    ['TLS 1.2', 'TLS 1.3 draft 23', 'TLS 1.3 fb23', '0x7e01']
    """
    if code >> 8 == _DRAFT:
        return f"TLS 1.3 draft {code & 0xFF}"
    if code >> 8 == _FACEBOOK:
        return f"TLS 1.3 fb{code & 0xFF}"
    return _VERSIONS.get(code) or _number(code)


def version_rank(code: int) -> int:
    """Return a number that orders versions: drafts of 1.3 between 1.2 and 1.3, unknown ones by their number.

    >>> sorted([0x0304, 0x7F17, 0x0303, 0x0002], key=version_rank) == [0x0002, 0x0303, 0x7F17, 0x0304]
    True
    """
    if code >> 8 == _DRAFT:
        return (TLS12 << 16) + 2 * (code & 0xFF) + 1
    if code >> 8 == _FACEBOOK:
        return (TLS12 << 16) + 2 * (code & 0xFF) + 2
    if code >> 8 == 0xFE:  # DTLS counts down (RFC 6347 4.1)
        return (0xFE00 + 0xFF - (code & 0xFF)) << 16
    return code << 16


def version_rank_of_name(name: str) -> int:
    """Return the rank of a version as `version_name` writes it; names of another kind come last.

    >>> version_rank_of_name("TLS 1.3 draft 23") == version_rank(0x7F17)
    True
    """
    if name in _VERSION_CODES:
        return version_rank(_VERSION_CODES[name])
    if draft := _DRAFT_NAME.fullmatch(name):
        return version_rank((_FACEBOOK if draft[1] == "fb" else _DRAFT) << 8 | min(int(draft[2]), 0xFF))
    try:
        return version_rank(int(name, 16))
    except ValueError:
        return 1 << 32


def version_order(names: Iterable[str]) -> list[str]:
    """Return the distinct names of versions, lowest first.

    >>> version_order(["TLS 1.3", "TLS 1.0", "TLS 1.3"])
    ['TLS 1.0', 'TLS 1.3']
    """
    return sorted(set(names), key=lambda name: (version_rank_of_name(name), name))


def _number(code: int) -> str:
    """Four digits; six of the kinds of cipher that SSL 2.0 numbers with three bytes."""
    return f"0x{code:04x}" if code <= 0xFFFF else f"0x{code:06x}"


@cache
def registry(file: str) -> dict[int, str]:
    """Return one registry of `iana/` as code -> name.

    A suffix by which IANA marks an entry as historic (`_RESERVED`, ` (OBSOLETE)`) is left off, so that
    `no_certificate` reads as in the RFC that defined it.
    """
    text = resources.files("tlspcap.tls.iana").joinpath(file).read_text(encoding="utf-8")
    rows = csv.reader(line for line in text.splitlines() if not line.startswith("#"))
    next(rows)  # the header
    return {int(value, 0): _SUFFIX.sub("", description) for value, description in rows}


def _name(file: str, code: int) -> str:
    return registry(file).get(code) or registry(f"unregistered-{file}").get(code) or _number(code)


def cipher_name(code: int) -> str:
    """Return the IANA name of a cipher suite, `SSL_CK_…` for the three-byte kinds of SSL 2.0.

    >>> cipher_name(0x1301), cipher_name(0x010080), cipher_name(0x1A1A)
    ('TLS_AES_128_GCM_SHA256', 'SSL_CK_RC4_128_WITH_MD5', '0x1a1a')
    """
    return _name("cipher-suites.csv", code)


def group_name(code: int) -> str:
    """Return the IANA name of a supported group.

    >>> group_name(29), group_name(4588)
    ('x25519', 'X25519MLKEM768')
    """
    return _name("supported-groups.csv", code)


def signature_scheme_name(code: int) -> str:
    """Return the IANA name of a signature scheme.

    >>> signature_scheme_name(0x0804)
    'rsa_pss_rsae_sha256'
    """
    return _name("signature-schemes.csv", code)


def alert_name(code: int) -> str:
    """Return the IANA name of an alert description.

    >>> alert_name(40), alert_name(255)
    ('handshake_failure', '0x00ff')
    """
    return registry("alerts.csv").get(code) or _number(code)


def extension_name(code: int) -> str:
    """Return the IANA name of an extension type.

    >>> extension_name(0), extension_name(65037)
    ('server_name', 'encrypted_client_hello')
    """
    return _name("extension-types.csv", code)


@cache
def handshake_type_name(code: int) -> str:
    """Return the IANA name of a handshake message type.

    >>> handshake_type_name(1)
    'client_hello'
    """
    return registry("handshake-types.csv").get(code) or _number(code)


@cache
def content_type_name(code: int) -> str:
    """Return the IANA name of a record content type.

    >>> content_type_name(22)
    'handshake'
    """
    return registry("content-types.csv").get(code) or _number(code)


def certificate_type_name(code: int) -> str:
    """Return the IANA name of a certificate type (RFC 7250 3).

    >>> certificate_type_name(0), certificate_type_name(2)
    ('X509', 'Raw Public Key')
    """
    return registry("certificate-types.csv").get(code) or _number(code)


def certificate_compression_name(code: int) -> str:
    """Return the IANA name of an algorithm that compresses certificates (RFC 8879 7.3).

    >>> certificate_compression_name(2)
    'brotli'
    """
    return registry("certificate-compressions.csv").get(code) or _number(code)


def psk_mode_name(code: int) -> str:
    """Return the IANA name of a PSK key exchange mode (RFC 8446 4.2.9).

    >>> psk_mode_name(1)
    'psk_dhe_ke'
    """
    return registry("psk-modes.csv").get(code) or _number(code)


def client_certificate_type_name(code: int) -> str:
    """Return the IANA name of a ClientCertificateType (RFC 5246 7.4.4), which a certificate request lists.

    >>> client_certificate_type_name(64)
    'ecdsa_sign'
    """
    return registry("client-certificate-types.csv").get(code) or _number(code)
