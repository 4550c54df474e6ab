"""X.509 certificates as facts for the `certificates` table, read through `cryptography`.

Odd certificates are data: each fact is read on its own, what cannot be read is None, and `trouble` says why.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from cryptography import x509

T = TypeVar("T")

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
    trouble: str | None = None  # what could not be read, and why


def describe(der: bytes) -> Facts:
    """Return the facts of a certificate, whatever the bytes are.

    >>> describe(b"no certificate").trouble
    'certificate: error parsing asn1 value: ...'
    """
    from cryptography import x509

    fingerprint = sha256(der).hexdigest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities such as a negative serial; they end up in the facts
        try:
            certificate = x509.load_der_x509_certificate(der)
        except Exception as error:  # ValueError, TypeError, UnsupportedAlgorithm, InvalidVersion: no closed list
            return Facts(fingerprint, trouble=f"certificate: {_words(error)}")
        return _Reader(certificate).facts(fingerprint)


def _words(error: Exception) -> str:
    """An error in one line; the bytes it may quote are hostile."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else text[:199] + "…"


class _Reader:
    """Reads one fact after another and collects what went wrong."""

    def __init__(self, certificate: "x509.Certificate") -> None:
        self._certificate = certificate
        self._troubles: list[str] = []

    def facts(self, fingerprint: str) -> Facts:
        certificate = self._certificate
        return Facts(
            sha256=fingerprint,
            subject=self._read("subject", lambda: certificate.subject.rfc4514_string()),
            issuer=self._read("issuer", lambda: certificate.issuer.rfc4514_string()),
            serial=self._read("serial", lambda: _hexadecimal(certificate.serial_number)),
            san=self._read("san", self._san) or (),
            not_before=self._read("not_before", lambda: certificate.not_valid_before_utc),
            not_after=self._read("not_after", lambda: certificate.not_valid_after_utc),
            key_type=self._read("key_type", self._key_type),
            key_bits=self._read("key_bits", self._key_bits),
            signature_algorithm=self._read("signature_algorithm", self._signature_algorithm),
            self_signed=self._read("self_signed", self._self_signed),
            is_ca=self._read("is_ca", self._is_ca),
            trouble="; ".join(self._troubles) or None,
        )

    def _read(self, what: str, reader: Callable[[], T]) -> T | None:
        try:
            return reader()
        except Exception as error:  # whatever a hostile certificate provokes costs this fact and no other
            self._troubles.append(f"{what}: {_words(error)}")
            return None

    def _san(self) -> tuple[str, ...]:
        from cryptography import x509

        try:
            extension = self._certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        except x509.ExtensionNotFound:
            return ()
        return tuple(_general_name(name) for name in extension.value)

    def _key_type(self) -> str:
        number = self._certificate.public_key_algorithm_oid.dotted_string
        return _KEY_TYPES.get(number, number)

    def _key_bits(self) -> int | None:
        from cryptography.exceptions import UnsupportedAlgorithm

        try:
            return getattr(self._certificate.public_key(), "key_size", None)
        except UnsupportedAlgorithm:  # the key type already says which
            return None

    def _signature_algorithm(self) -> str:
        number = self._certificate.signature_algorithm_oid.dotted_string
        return _SIGNATURE_ALGORITHMS.get(number, number)

    def _self_signed(self) -> bool:
        return self._certificate.issuer == self._certificate.subject

    def _is_ca(self) -> bool:
        from cryptography import x509

        try:
            return self._certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
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
