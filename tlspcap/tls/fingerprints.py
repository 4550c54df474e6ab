"""Fingerprints of hellos: JA3, JA3S and JA4, to the letter of their specifications.

JA3 and JA3S: github.com/salesforce/ja3. JA4: github.com/FoxIO-LLC/ja4, technical_details/JA4.md; of that family only
JA4 itself is free to use. Each is a function of a few lists of codes; since hellos of one kind repeat them, the
hashes are remembered by those lists.

Every function here takes a parsed hello and nothing else, so that it serves whoever has one:

>>> hello = ClientHello.parse(bytes.fromhex("0301" + "00" * 32 + "00 0004 002f 00ff 01 00"))
>>> ja3_text(hello), ja4_r(hello)
('769,47-255,,,', 't10i020000_002f,00ff_')
>>> ja4(hello)
't10i020000_a5878986a7c9_000000000000'
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import md5, sha256

from tlspcap.tls import extensions as ext
from tlspcap.tls.extensions import without_grease
from tlspcap.tls.hellos import LAST_SUITE, ClientHello, ServerHello
from tlspcap.tls.names import SSL20, SSL30, TLS10, TLS11, TLS12, TLS13, is_grease, version_rank
from tlspcap.tls.names import ExtensionType as Code
from tlspcap.tls.remembering import remembered

_JA4_VERSIONS = {
    TLS13: "13",
    TLS12: "12",
    TLS11: "11",
    TLS10: "10",
    SSL30: "s3",
    SSL20: "s2",
    0xFEFF: "d1",
    0xFEFD: "d2",
    0xFEFC: "d3",
}
_JA4_UNHASHED = (Code.SERVER_NAME, Code.ALPN)  # they already show in the first part
_JA4_EMPTY = "0" * 12
_NO_VERSION = 0


def ja3_text(hello: ClientHello) -> str:
    """Return what JA3 hashes: version, suites, extensions, groups, point formats, in decimal, without GREASE."""
    return _ja3_text(_ja3_parts(hello))


def ja3(hello: ClientHello) -> str:
    """Return JA3, the MD5 of `ja3_text`."""
    return _ja3_hash(_ja3_parts(hello))


def ja3s_text(hello: ServerHello) -> str:
    """Return what JA3S hashes: version, suite and extensions, in decimal."""
    return _ja3_text(_ja3s_parts(hello))


def ja3s(hello: ServerHello) -> str:
    """Return JA3S, the MD5 of `ja3s_text`; it is meant for a ServerHello, not for a HelloRetryRequest."""
    return _ja3_hash(_ja3s_parts(hello))


@dataclass(frozen=True, slots=True)
class _Ja3Parts:
    """All that goes into a JA3 or JA3S."""

    version: int
    lists: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return sum(map(len, self.lists))


def _ja3_parts(hello: ClientHello) -> _Ja3Parts:
    lists = hello.cipher_suites, hello.extensions.codes, hello.groups, hello.point_formats
    return _Ja3Parts(hello.legacy_version, lists)


def _ja3s_parts(hello: ServerHello) -> _Ja3Parts:
    return _Ja3Parts(hello.legacy_version, ((hello.cipher_suite,), hello.extensions.codes))


def _ja3_text(parts: _Ja3Parts) -> str:
    return ",".join([str(parts.version), *["-".join(map(str, without_grease(codes))) for codes in parts.lists]])


@remembered
def _ja3_hash(parts: _Ja3Parts) -> str:
    return md5(_ja3_text(parts).encode(), usedforsecurity=False).hexdigest()


def ja4(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4; `transport` is t (TLS over TCP), d (DTLS) or q (QUIC)."""
    return _ja4_hash(_ja4_parts(hello, transport, as_sent=False))


def ja4_o(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4_o: JA4 with suites and extensions in the order sent, server_name and ALPN among them."""
    return _ja4_hash(_ja4_parts(hello, transport, as_sent=True))


def ja4_r(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4_r: JA4 with the lists in place of their hashes."""
    return "_".join(_ja4_texts(_ja4_parts(hello, transport, as_sent=False)))


def ja4_ro(hello: ClientHello, transport: str = "t") -> str:
    """Return JA4_ro: JA4_o with the lists in place of their hashes."""
    return "_".join(_ja4_texts(_ja4_parts(hello, transport, as_sent=True)))


@dataclass(frozen=True, slots=True)
class _Ja4Parts:
    """All that goes into a JA4."""

    transport: str
    version: int
    has_server_name: bool
    alpn: bytes  # the first value
    suites: tuple[int, ...]
    extensions: tuple[int, ...]
    schemes: tuple[int, ...]
    as_sent: bool

    def __len__(self) -> int:
        return len(self.suites) + len(self.extensions) + len(self.schemes)


def _ja4_parts(hello: ClientHello, transport: str, as_sent: bool) -> _Ja4Parts:
    return _Ja4Parts(
        transport,
        _ja4_version(hello, transport),
        Code.SERVER_NAME in hello.extensions,
        _first_protocol(hello),
        hello.cipher_suites,
        hello.extensions.codes,
        hello.signature_schemes,
        as_sent,
    )


def _ja4_version(hello: ClientHello, transport: str) -> int:
    """The highest value of supported_versions, drafts above TLS 1.3, where the extension is; else the hello's own."""
    if Code.SUPPORTED_VERSIONS not in hello.extensions:
        return hello.legacy_version
    offered = without_grease(hello.extensions.read(Code.SUPPORTED_VERSIONS, ext.offered_versions) or ())
    # the numbers of DTLS count down (RFC 6347 4.1), so that its highest version has the lowest value
    return max(offered, key=version_rank if transport == "d" else None, default=_NO_VERSION)


def _first_protocol(hello: ClientHello) -> bytes:
    """The first ALPN value, without GREASE, which is to be ignored "anywhere"."""
    names = hello.extensions.read(Code.ALPN, ext.alpn) or ()
    return next((name for name in names if len(name) != 2 or not is_grease(int.from_bytes(name))), b"")


@remembered
def _ja4_hash(parts: _Ja4Parts) -> str:
    first, *lists = _ja4_texts(parts)
    return "_".join([first, *[sha256(text.encode()).hexdigest()[:12] if text else _JA4_EMPTY for text in lists]])


def _ja4_texts(parts: _Ja4Parts) -> tuple[str, str, str]:
    """The three parts of a JA4 before hashing."""
    suites, extensions = without_grease(parts.suites), without_grease(parts.extensions)
    first = _ja4_first(parts, len(suites), len(extensions))
    if not parts.as_sent:
        suites = tuple(sorted(suites))
        extensions = tuple(sorted(code for code in extensions if code not in _JA4_UNHASHED))
    third = _hexadecimal(extensions)
    if parts.schemes:
        third += f"_{_hexadecimal(parts.schemes)}"
    return first, _hexadecimal(suites), third


def _ja4_first(parts: _Ja4Parts, suites: int, extensions: int) -> str:
    version = _JA4_VERSIONS.get(parts.version, "00")
    destination = "d" if parts.has_server_name else "i"
    return f"{parts.transport}{version}{destination}{min(suites, 99):02}{min(extensions, 99):02}{_ja4_alpn(parts.alpn)}"


def _ja4_alpn(value: bytes) -> str:
    """First and last character of the first ALPN value, of its hexadecimal form where either is not alphanumeric."""
    if not value:
        return "00"
    ends = value[:1] + value[-1:]
    shown = ends.decode("ascii") if ends.isalnum() else value.hex()  # bytes.isalnum knows ASCII only
    return shown[0] + shown[-1]


def _hexadecimal(codes: Iterable[int]) -> str:
    """Codes in four digits; of a hello in the form of SSL 2.0 the kinds of cipher that only it has, in six."""
    return ",".join([f"{code:04x}" if code <= LAST_SUITE else f"{code:06x}" for code in codes])
