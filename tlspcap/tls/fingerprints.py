"""Fingerprints of hellos: JA3, JA3S and JA4, to the letter of their specifications.

JA3 and JA3S: github.com/salesforce/ja3. JA4: github.com/FoxIO-LLC/ja4, technical_details/JA4.md; of that family only
JA4 itself is free to use.
"""

from collections.abc import Iterable
from hashlib import md5, sha256

from tlspcap.tls import extensions as ext
from tlspcap.tls.extensions import without_grease
from tlspcap.tls.hellos import ClientHello, ServerHello
from tlspcap.tls.names import SSL20, SSL30, TLS10, TLS11, TLS12, TLS13
from tlspcap.tls.names import ExtensionType as Code

_JA4_VERSIONS = {
    TLS13: "13", TLS12: "12", TLS11: "11", TLS10: "10", SSL30: "s3", SSL20: "s2", 0xFEFF: "d1", 0xFEFD: "d2",
    0xFEFC: "d3",
}  # fmt: skip
_JA4_UNHASHED = {Code.SERVER_NAME, Code.ALPN}  # they already show in the first part
_JA4_EMPTY = "0" * 12


def _dashed(codes: Iterable[int]) -> str:
    return "-".join(map(str, codes))


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def ja3_text(hello: ClientHello) -> str:
    """Return what JA3 hashes: version, suites, extensions, groups, point formats, in decimal, without GREASE."""
    fields = (
        without_grease(hello.cipher_suites),
        without_grease(hello.extensions.codes),
        hello.groups,
        hello.point_formats,
    )
    return ",".join([str(hello.legacy_version), *map(_dashed, fields)])


def ja3(hello: ClientHello) -> str:
    """Return JA3, the MD5 of `ja3_text`."""
    return _md5(ja3_text(hello))


def ja3s(hello: ServerHello) -> str:
    """Return JA3S: the MD5 of version, suite and extensions in decimal."""
    return _md5(f"{hello.legacy_version},{hello.cipher_suite},{_dashed(without_grease(hello.extensions.codes))}")


def _hexadecimal(codes: Iterable[int]) -> str:
    return ",".join([f"{code:04x}" for code in codes])


def _ja4_alpn(hello: ClientHello) -> str:
    """First and last character of the first ALPN value, of its hexadecimal form where either is not alphanumeric."""
    values = hello.extensions.read(Code.ALPN, ext.alpn)
    if not values or not values[0]:
        return "00"
    value = values[0]
    ends = value[:1] + value[-1:]
    shown = ends.decode("ascii") if ends.isalnum() else value.hex()
    return shown[0] + shown[-1]


def _ja4_a(hello: ClientHello, transport: str, suites: int, extensions: int) -> str:
    version = _JA4_VERSIONS.get(hello.offered_version_max, "00")
    destination = "d" if Code.SERVER_NAME in hello.extensions else "i"
    return f"{transport}{version}{destination}{min(suites, 99):02}{min(extensions, 99):02}{_ja4_alpn(hello)}"


def _ja4_parts(hello: ClientHello, transport: str, original: bool) -> tuple[str, str, str]:
    """The three parts before hashing; in the original order everything is listed."""
    suites, extensions = without_grease(hello.cipher_suites), without_grease(hello.extensions.codes)
    first = _ja4_a(hello, transport, len(suites), len(extensions))
    if not original:
        suites = tuple(sorted(suites))
        extensions = tuple(sorted(code for code in extensions if code not in _JA4_UNHASHED))
    schemes = _hexadecimal(hello.signature_schemes)
    third = _hexadecimal(extensions) + (f"_{schemes}" if schemes else "")
    return first, _hexadecimal(suites), third


def _ja4_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else _JA4_EMPTY


def ja4(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4; `transport` is t (TLS over TCP), d (DTLS) or q (QUIC)."""
    first, second, third = _ja4_parts(hello, transport, original=False)
    return f"{first}_{_ja4_hash(second)}_{_ja4_hash(third)}"


def ja4_o(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4_o: as JA4, in the original order of the hello."""
    first, second, third = _ja4_parts(hello, transport, original=True)
    return f"{first}_{_ja4_hash(second)}_{_ja4_hash(third)}"


def ja4_r(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4_r: JA4 with the lists in place of their hashes."""
    return "_".join(_ja4_parts(hello, transport, original=False))


def ja4_ro(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4_ro: JA4_r in the original order of the hello."""
    return "_".join(_ja4_parts(hello, transport, original=True))
