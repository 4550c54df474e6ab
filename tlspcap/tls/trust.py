"""Signatures and trust, through `cryptography`: who signed a certificate, and whether a chain leads to a trusted root.

Nothing is asked of the network: no issuer is fetched, no revocation list is read.
"""

import contextlib
import ssl
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from tlspcap.errors import ArgumentError
from tlspcap.tls.identity import is_address

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.verification import Store, Subject

T = TypeVar("T")

SYSTEM = "system"
_PEM = b"-----BEGIN"


def signed(issuer: bytes, certificate: bytes) -> bool | None:
    """Whether the key of `issuer` signed `certificate`, both DER; None where that cannot be checked."""

    def check() -> bool:
        from cryptography import x509
        from cryptography.exceptions import InvalidSignature

        below, above = (x509.load_der_x509_certificate(der) for der in (certificate, issuer))
        try:
            below.verify_directly_issued_by(above)
        except InvalidSignature:
            return False
        return True

    return _tried(check, None)


def issuer_locations(certificate: bytes) -> list[str]:
    """Where a certificate says that the one of its issuer can be fetched (RFC 5280 4.2.2.1)."""

    def read() -> list[str]:
        from cryptography import x509
        from cryptography.x509.oid import AuthorityInformationAccessOID as Method

        parsed = x509.load_der_x509_certificate(certificate)
        access = parsed.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        issuers = [place.access_location for place in access if place.access_method == Method.CA_ISSUERS]
        return [place.value for place in issuers if isinstance(place, x509.UniformResourceIdentifier)]

    return _tried(read, [])


def _tried(act: Callable[[], T], otherwise: T) -> T:
    """What `act` gives; whatever a hostile certificate provokes in it gives `otherwise`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # oddities of certificates have notes of their own
        try:
            return act()
        except Exception:
            return otherwise


@dataclass(frozen=True)
class Anchors:
    """The roots that are trusted."""

    source: str  # as it is said to people
    certificates: "tuple[x509.Certificate, ...]"
    subjects: frozenset[str]  # their names, RFC 4514

    def verdict(self, leaf: bytes, others: Iterable[bytes], moment: datetime, name: str) -> str | None:
        """Why a chain is not trusted at a time, for a name that its leaf has; None where it is.

        The rules are those of RFC 5280 and the CA/Browser Forum, as `cryptography` applies them.
        """
        from cryptography import x509
        from cryptography.x509.verification import PolicyBuilder

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                chain = [x509.load_der_x509_certificate(der) for der in (leaf, *others)]
                policy = PolicyBuilder().store(self._store).time(moment.astimezone(UTC).replace(tzinfo=None))
                policy.build_server_verifier(_subject(name)).verify(chain[0], chain[1:])
            except Exception as error:  # what the verifier says, or trips over in a hostile certificate
                return _words(error)
        return None

    @cached_property
    def _store(self) -> "Store":
        from cryptography.x509.verification import Store

        return Store(list(self.certificates))


def _subject(name: str) -> "Subject":
    import ipaddress

    from cryptography import x509

    if is_address(name):
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    return x509.DNSName(name)


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text.removeprefix("validation failed: ").split(" (encountered processing <")[0]


def anchors(source: str | Path) -> Anchors:
    """Load trusted roots: "system" for those that this machine trusts, else a file of certificates, PEM or DER.

    Raises ArgumentError where it cannot be read, or holds none.
    """
    system = str(source) == SYSTEM
    found = _of_system() if system else _of_file(Path(source))
    if not found:
        raise ArgumentError("ca: this machine has no trusted roots" if system else f"ca: {source} holds no certificate")
    names = frozenset(_tried(certificate.subject.rfc4514_string, "") for certificate in found)
    return Anchors("the roots of this machine" if system else str(source), tuple(found), names)


def _of_system() -> "list[x509.Certificate]":
    from cryptography import x509

    context = ssl.create_default_context()
    found = []
    for encoded in context.get_ca_certs(binary_form=True):
        with contextlib.suppress(ValueError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # stores hold a few that break the rules of today
            found.append(x509.load_der_x509_certificate(encoded))
    return found


def _of_file(path: Path) -> "list[x509.Certificate]":
    from cryptography import x509

    try:
        content = path.read_bytes()
        if _PEM in content:
            return x509.load_pem_x509_certificates(content)
        return [x509.load_der_x509_certificate(content)]
    except (OSError, ValueError) as error:
        raise ArgumentError(f"ca: {path} cannot be read as certificates: {' '.join(str(error).split())}") from None
