r"""Distinct hellos and certificate requests to the values of their rows: names for codes, text for CA names.

Lists are comma-joined in the sender's order. In a text from the wire (application protocols, names) a comma reads
`\x2c`, and in a CA name a semicolon `\3b`, so that a cell can be split again without doubt.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tlspcap.tls import certificates, names
from tlspcap.tls.messages import CertificateRequest
from tlspcap.tls.offers import Offer, request_digest
from tlspcap.tls.remembering import remembered_up_to

Row = dict[str, Any]
MAX_LISTED = 1_000  # names written of one list; of hostile hellos, which hold 32,000 suites, the count tells the rest
COMMA, SEMICOLON = ",", "; "


def hello_cells(offer: Offer) -> Row:
    """What a row of the `hellos` table says of the hello itself."""
    return {
        "digest": offer.digest,
        "sender": offer.sender,
        "versions": _named(names.version_name, offer.versions),
        "cipher_suites": _named(names.cipher_name, offer.cipher_suites),
        "groups": _named(names.group_name, offer.groups),
        "key_shares": _named(names.group_name, offer.key_shares),
        "signature_schemes": _named(names.signature_scheme_name, offer.signature_schemes),
        "certificate_signature_schemes": _named(names.signature_scheme_name, offer.certificate_signature_schemes),
        "alpn": texts(offer.alpn),
        "client_certificate_types": _named(names.certificate_type_name, offer.client_certificate_types),
        "server_certificate_types": _named(names.certificate_type_name, offer.server_certificate_types),
        "certificate_compressions": _named(names.certificate_compression_name, offer.certificate_compressions),
        "psk_modes": _named(names.psk_mode_name, offer.psk_modes),
        "extensions": _named(names.extension_name, offer.extensions),
    }


def texts(names: Iterable[str]) -> str | None:
    r"""Texts from the wire as one cell.

    >>> texts(("h2", "a,b"))
    'h2,a\\x2cb'
    """
    return _joined([name.replace(",", "\\x2c") for name in names], COMMA)


def _named(name: Callable[[int], str], codes: tuple[int, ...]) -> str | None:
    shown = [name(code) for code in codes[:MAX_LISTED]]
    return _joined(shown, COMMA, len(codes) - len(shown))


def _joined(shown: list[str], separator: str, more: int = 0) -> str | None:
    return separator.join([*shown, f"… {more} more"] if more > 0 else shown) or None


def _size_of_request(request: CertificateRequest) -> int:
    return sum(map(len, request.authorities)) + len(request.signature_schemes)


@remembered_up_to(65_536, entries=64, size=_size_of_request)  # a server asks all its clients for the same
def request_id(request: CertificateRequest) -> str:
    """The digest that joins a handshake with its row of `certificate_requests`."""
    return request_digest(request)


def request_cells(request: CertificateRequest) -> Row:
    """What a row of the `certificate_requests` table says of the request itself."""
    shown = [_authority(name) for name in request.authorities[:MAX_LISTED]]
    return {
        "digest": request_id(request),
        "certificate_types": _named(names.client_certificate_type_name, request.certificate_types),
        "signature_schemes": _named(names.signature_scheme_name, request.signature_schemes),
        "authorities": _joined(shown, SEMICOLON, len(request.authorities) - len(shown)),
        "authority_count": len(request.authorities),
    }


def _authority(encoded: bytes) -> str:
    """A CA name; RFC 4514 3 lets any character of a value be written as the hexadecimal of its bytes."""
    return certificates.distinguished_name(encoded).replace("\\;", "\\3b")
