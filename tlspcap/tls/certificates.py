"""X.509 certificates as facts for the `certificates` table, read through `cryptography`.

Odd certificates are data: each fact is read on its own, a lenient reader takes over where the strict one refuses, what
neither can read is None, and `trouble` says what was odd.
"""

import contextlib
import re
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

from tlspcap.tls import der
from tlspcap.tls.cursor import Malformed

if TYPE_CHECKING:
    from cryptography import x509

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_SERIAL = 20  # bytes (RFC 5280 4.1.2.2)
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\00")  # as RFC 4514 escapes it; a backslash of its own is written twice
_COMMON_NAME = re.compile(r"(?:^|[,+])CN=")
_LONGEST_SHOWN = 64  # bytes of a name that cannot be read
_SUBJECT_ALTERNATIVE_NAME, _BASIC_CONSTRAINTS = "2.5.29.17", "2.5.29.19"

# Names of RFC 3279, 4055, 5758, 8410 and FIPS 204; an algorithm beyond them reads as its dotted number.
_SIGNATURE_ALGORITHMS = {
    "1.2.840.113549.1.1.2": "md2WithRSAEncryption",
    "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
    "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
    "1.2.840.113549.1.1.10": "rsassaPss",
    "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
    "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
    "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
    "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
    "1.2.840.10040.4.3": "dsa-with-sha1",
    "2.16.840.1.101.3.4.3.1": "dsa-with-sha224",
    "2.16.840.1.101.3.4.3.2": "dsa-with-sha256",
    "1.2.840.10045.4.1": "ecdsa-with-SHA1",
    "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
    "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
    "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
    "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}
_KEY_TYPES = {
    "1.2.840.113549.1.1.1": "RSA",
    "1.2.840.113549.1.1.10": "RSA-PSS",
    "1.2.840.10040.4.1": "DSA",
    "1.2.840.10045.2.1": "EC",
    "1.3.101.110": "X25519",
    "1.3.101.111": "X448",
    "1.3.101.112": "Ed25519",
    "1.3.101.113": "Ed448",
    "2.16.840.1.101.3.4.3.17": "ML-DSA-44",
    "2.16.840.1.101.3.4.3.18": "ML-DSA-65",
    "2.16.840.1.101.3.4.3.19": "ML-DSA-87",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What a certificate says of itself (RFC 5280 4.1); None where it does not, or cannot be read."""

    sha256: str  # of the DER bytes, hexadecimal
    subject: str | None = None  # RFC 4514
    issuer: str | None = None
    serial: str | None = None  # hexadecimal, whole bytes, a minus sign where it is negative
    san: tuple[str, ...] = ()
    not_before: datetime | None = None  # UTC
    not_after: datetime | None = None  # UTC
    key_type: str | None = None  # RSA, EC, Ed25519, ML-DSA-44, …; a dotted number where it has no name here
    key_bits: int | None = None  # None for key types of one size
    signature_algorithm: str | None = None
    self_signed: bool | None = None  # by name only: issuer and subject are the same
    is_ca: bool | None = None
    trouble: str | None = None  # what the strict reader refused, and why; what is odd about the rest


def describe(certificate: bytes) -> Facts:
    """Return the facts of a certificate, whatever the bytes are.

    >>> describe(b"no certificate").trouble
    'certificate: error parsing asn1 value: ...'
    """
    strict = _Reader()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities such as a negative serial; they end up in the facts
        found = strict.facts(certificate)
    if strict.troubles:  # what the strict reader refuses, the lenient one may still read
        found = _lenient_facts(certificate) | {name: value for name, value in found.items() if value is not None}
    facts = Facts(sha256(certificate).hexdigest(), **found)  # type: ignore[arg-type]  # by construction
    return replace(facts, trouble="; ".join([*strict.troubles, *_oddities(facts)]) or None)


def _oddities(facts: Facts) -> Iterator[str]:
    """What breaks a rule of RFC 5280, or is unheard of, in what could be read."""
    if facts.serial is not None and (facts.serial.startswith("-") or not facts.serial.strip("0")):
        yield "the serial number is not positive (RFC 5280 4.1.2.2)"
    if facts.serial is not None and len(facts.serial) > 2 * _LONGEST_SERIAL:
        yield f"the serial number has more than {_LONGEST_SERIAL} bytes (RFC 5280 4.1.2.2)"
    if any(_NUL.search(name) for name in (facts.subject, facts.issuer) if name) or any("\0" in n for n in facts.san):
        yield "a NUL within a name, at which some clients stop reading"
    if facts.not_before is not None and facts.not_before < _EPOCH:
        yield f"valid since {facts.not_before.year}, before 1970"
    if facts.not_before is not None and facts.not_after is not None and facts.not_after < facts.not_before:
        yield "it ends before it begins to be valid"
    for what, algorithm in (("key", facts.key_type), ("signature", facts.signature_algorithm)):
        if algorithm is not None and algorithm[:1].isdigit():
            yield f"unknown {what} algorithm {algorithm}"
    if facts.subject is not None and not (facts.is_ca or facts.san or _COMMON_NAME.search(facts.subject)):
        yield "it names nobody: neither a common name nor a subject alternative name"


def distinguished_name(encoded: bytes) -> str:
    """Return a DER name as RFC 4514 writes it; where it is none, its bytes as hexadecimal behind a number sign.

    >>> distinguished_name(bytes.fromhex("300d310b3009060355040613024445")), distinguished_name(b"CA")
    ('C=DE', '#4341')
    """
    try:
        found = der.elements(encoded)
        if len(found) == 1 and found[0][0] == der.SEQUENCE:
            return der.name(found[0][1])
    except Malformed:
        pass
    return "#" + encoded[:_LONGEST_SHOWN].hex() + ("…" if len(encoded) > _LONGEST_SHOWN else "")


def _words(error: Exception) -> str:
    """An error in one line; the bytes it may quote are hostile."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


class _Reader:
    """Reads one fact after another through `cryptography` and collects what went wrong."""

    def __init__(self) -> None:
        self.troubles: list[str] = []

    def facts(self, encoded: bytes) -> dict[str, object]:
        from cryptography import x509

        certificate = self._read("certificate", lambda: x509.load_der_x509_certificate(encoded))
        if certificate is None:
            return {}
        readers: dict[str, Callable[[], object]] = {
            "subject": lambda: certificate.subject.rfc4514_string(),
            "issuer": lambda: certificate.issuer.rfc4514_string(),
            "serial": lambda: _hexadecimal(certificate.serial_number),
            "san": lambda: _san(certificate),
            "not_before": lambda: certificate.not_valid_before_utc,
            "not_after": lambda: certificate.not_valid_after_utc,
            "key_type": lambda: _named(_KEY_TYPES, certificate.public_key_algorithm_oid.dotted_string),
            "key_bits": lambda: _key_bits(certificate),
            "signature_algorithm": lambda: _named(
                _SIGNATURE_ALGORITHMS, certificate.signature_algorithm_oid.dotted_string
            ),
            "self_signed": lambda: certificate.issuer == certificate.subject,
            "is_ca": lambda: _is_ca(certificate),
        }
        found = {name: self._read(name, reader) for name, reader in readers.items()}
        return {name: value for name, value in found.items() if value is not None}

    def _read(self, what: str, reader: Callable[[], T]) -> T | None:
        try:
            return reader()
        except Exception as error:  # whatever a hostile certificate provokes costs this fact and no other
            self.troubles.append(f"{what}: {_words(error)}")
            return None


def _lenient_facts(certificate: bytes) -> dict[str, object]:
    """Return what can be read of a certificate that breaks the rules; nothing where it is none."""
    try:
        bones = der.skeleton(certificate)
    except Malformed:
        return {}
    readers: dict[str, Callable[[], object]] = {
        "subject": lambda: der.name(bones.subject),
        "issuer": lambda: der.name(bones.issuer),
        "serial": lambda: _hexadecimal(bones.serial),
        "san": lambda: der.alternative_names(bones.extensions.get(_SUBJECT_ALTERNATIVE_NAME, b"")),
        "not_before": lambda: der.time(bones.not_before),
        "not_after": lambda: der.time(bones.not_after),
        "key_type": lambda: _named(_KEY_TYPES, bones.key_algorithm),
        "signature_algorithm": lambda: _named(_SIGNATURE_ALGORITHMS, bones.signature_algorithm),
        "self_signed": lambda: bones.issuer == bones.subject,
        "is_ca": lambda: der.is_ca(bones.extensions.get(_BASIC_CONSTRAINTS, b"")),
    }
    found: dict[str, object] = {}
    for name, reader in readers.items():
        with contextlib.suppress(Malformed):
            found[name] = reader()
    return found


def _named(names: dict[str, str], number: str) -> str:
    return names.get(number, number)


def _san(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(_general_name(name) for name in extension.value)


def _key_bits(certificate: "x509.Certificate") -> int | None:
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return getattr(certificate.public_key(), "key_size", None)
    except UnsupportedAlgorithm:  # the key type already says which
        return None


def _is_ca(certificate: "x509.Certificate") -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _hexadecimal(serial: int) -> str:
    digits = f"{abs(serial):x}"
    return ("-" if serial < 0 else "") + digits.zfill(len(digits) + len(digits) % 2)


def _general_name(name: "x509.GeneralName") -> str:
    """A subject alternative name as text (RFC 5280 4.2.1.6)."""
    from cryptography import x509

    if isinstance(name, x509.DirectoryName):
        return name.value.rfc4514_string()
    if isinstance(name, x509.OtherName):
        return f"otherName {name.type_id.dotted_string}"
    if isinstance(name, x509.RegisteredID):
        return name.value.dotted_string
    return str(name.value)
