"""What one hello says of its sender, apart from what changes from one handshake to the next.

Random values, keys, tickets, names and GREASE are left out, and extensions stand in order of their numbers, which some
clients shuffle. So all hellos of one kind of client give one `Offer`, and a night of handshakes some dozens.
"""

from hashlib import blake2b
from typing import NamedTuple

from tlspcap.tls.extensions import without_grease
from tlspcap.tls.figures import CLIENT, SERVER
from tlspcap.tls.hellos import ClientHello, ServerHello
from tlspcap.tls.messages import CertificateRequest
from tlspcap.tls.names import SSL20
from tlspcap.tls.ssl2 import NO_KIND

Codes = tuple[int, ...]


class Offer(NamedTuple):
    """A hello as codes: what a client offers, in its order of preference, or the one of each that a server chose."""

    sender: str
    versions: Codes  # highest first
    cipher_suites: Codes
    groups: Codes = ()
    key_shares: Codes = ()  # their groups
    signature_schemes: Codes = ()
    certificate_signature_schemes: Codes = ()
    alpn: tuple[str, ...] = ()
    client_certificate_types: Codes = ()
    server_certificate_types: Codes = ()
    certificate_compressions: Codes = ()
    psk_modes: Codes = ()
    extensions: Codes = ()  # in order of their numbers

    @property
    def digest(self) -> str:
        """The same for equal offers, wherever and whenever they are seen."""
        return _digest(self)


def client_offer(hello: ClientHello, key_shares: Codes | None = None) -> Offer:
    """What a ClientHello offers; `key_shares` stand for those of a hello that was stripped of its keys."""
    return Offer(
        CLIENT,
        hello.offered_versions,
        without_grease(hello.cipher_suites),
        hello.groups,
        hello.key_share_groups if key_shares is None else key_shares,
        hello.signature_schemes,
        hello.certificate_signature_schemes,
        hello.alpn,
        hello.client_certificate_types,
        hello.server_certificate_types,
        hello.certificate_compressions,
        hello.psk_modes,
        tuple(sorted(without_grease(hello.extensions.codes))),
    )


def server_offer(hello: ServerHello) -> Offer:
    """What a ServerHello chose."""
    share, alpn = hello.key_share_group, hello.alpn
    sent, read = hello.client_certificate_type, hello.server_certificate_type
    chosen = hello.version != SSL20 or hello.cipher_suite != NO_KIND  # in SSL 2.0 the client's next message says it
    return Offer(
        SERVER,
        (hello.version,),
        (hello.cipher_suite,) if chosen else (),
        key_shares=() if share is None else (share,),
        alpn=() if alpn is None else (alpn,),
        client_certificate_types=() if sent is None else (sent,),
        server_certificate_types=() if read is None else (read,),
        extensions=tuple(sorted(hello.extensions.codes)),
    )


def request_digest(request: CertificateRequest) -> str:
    """The same for certificate requests that ask for the same."""
    return _digest((request.certificate_types, request.signature_schemes, request.authorities))


def _digest(content: tuple[object, ...]) -> str:
    return blake2b(repr(tuple(content)).encode(), digest_size=8).hexdigest()
