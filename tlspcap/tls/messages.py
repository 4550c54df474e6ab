"""Handshake messages: one frozen dataclass and one parser each, fields in RFC order.

Coded fields stay integers, unknown values are kept; only lengths that do not fit raise `Malformed`.
`parse` reads any of them by its type.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tlspcap.tls import extensions as ext
from tlspcap.tls.ciphers import Suite
from tlspcap.tls.cursor import Cursor, Malformed
from tlspcap.tls.extensions import Extensions
from tlspcap.tls.hellos import ClientHello, ServerHello
from tlspcap.tls.names import TLS12, HandshakeType, is_tls13
from tlspcap.tls.names import ExtensionType as Code
from tlspcap.tls.remembering import remembered_up_to

__all__ = [
    "Certificate", "CertificateRequest", "CertificateStatus", "CertificateVerify", "ClientHello", "ClientKeyExchange",
    "CompressedCertificate", "EncryptedExtensions", "EndOfEarlyData", "Finished", "HelloRequest", "KeyUpdate",
    "Malformed", "Message", "NewSessionTicket", "ServerHello", "ServerHelloDone", "ServerKeyExchange", "Unknown",
    "parse",
]  # fmt: skip

_EXPLICIT_PRIME, _EXPLICIT_CHAR2, _NAMED_CURVE = 1, 2, 3  # ECCurveType (RFC 8422 5.4)
_EXPLICIT_GROUPS = {_EXPLICIT_PRIME: 0xFF01, _EXPLICIT_CHAR2: 0xFF02}  # their codes as supported groups
_OCSP_MULTI = 2  # CertificateStatusType (RFC 6961 2.2)
CHAINS = 256  # remembered as they were sent
_SEQUENCE = 0x30  # DER tag with which certificates and SubjectPublicKeyInfo begin


@dataclass(frozen=True, slots=True)
class HelloRequest:
    """HelloRequest (RFC 5246 7.4.1.1): empty."""


@dataclass(frozen=True, slots=True)
class EndOfEarlyData:
    """EndOfEarlyData (RFC 8446 4.5): empty."""


@dataclass(frozen=True, slots=True)
class ServerHelloDone:
    """ServerHelloDone (RFC 5246 7.4.5): empty."""


@dataclass(frozen=True, slots=True)
class NewSessionTicket:
    """NewSessionTicket (RFC 8446 4.6.1; RFC 5077 3.3, without age_add, nonce and extensions)."""

    lifetime: int  # seconds
    age_add: int | None
    nonce: bytes
    ticket: bytes
    extensions: Extensions = field(default_factory=Extensions)


@dataclass(frozen=True, slots=True)
class EncryptedExtensions:
    """EncryptedExtensions (RFC 8446 4.3.1)."""

    extensions: Extensions

    @property
    def alpn(self) -> str | None:
        """Application protocol chosen."""
        names = self.extensions.read(Code.ALPN, ext.alpn)
        return ext.text(names[0]) if names else None

    @property
    def early_data(self) -> bool:
        """Whether 0-RTT data was accepted (RFC 8446 4.2.10)."""
        return Code.EARLY_DATA in self.extensions


@dataclass(frozen=True, slots=True)
class Certificate:
    """Certificate (RFC 8446 4.4.2; RFC 5246 7.4.2, without context and extensions)."""

    context: bytes
    certificates: tuple[bytes, ...]  # DER, in the order sent
    extensions: tuple[Extensions, ...] = ()  # TLS 1.3: of each certificate
    raw_public_key: bytes = b""  # SubjectPublicKeyInfo in place of a chain (RFC 7250 3), up to TLS 1.2

    @property
    def ocsp_stapled(self) -> bool:
        """Whether the leaf carries an OCSP response (TLS 1.3, RFC 8446 4.4.2.1)."""
        return bool(self.extensions) and Code.STATUS_REQUEST in self.extensions[0]


@dataclass(frozen=True, slots=True)
class CompressedCertificate:
    """CompressedCertificate (RFC 8879 4), left compressed: a bomb would unpack to 16 MB."""

    algorithm: int
    uncompressed_length: int
    compressed: bytes


@dataclass(frozen=True, slots=True)
class CertificateStatus:
    """CertificateStatus (RFC 6066 8): a stapled OCSP response; of type ocsp_multi a list of them (RFC 6961 2.2)."""

    status_type: int
    response: bytes

    @property
    def has_response(self) -> bool:
        """Whether it holds a response for the server's own certificate; an empty one says nothing."""
        if self.status_type == _OCSP_MULTI:
            return any(self.response[:3])  # length of the first
        return bool(self.response)


@dataclass(frozen=True, slots=True)
class ServerKeyExchange:
    """ServerKeyExchange (RFC 5246 7.4.3, RFC 8422 5.4, RFC 4279 2): what the suite's key exchange lets read."""

    group: int | None = None  # named group; explicit curves have codes of their own
    dh_bits: int | None = None  # size of the prime
    public: bytes = b""  # the server's public key
    signature_scheme: int | None = None  # TLS 1.2 only


@dataclass(frozen=True, slots=True)
class CertificateRequest:
    """CertificateRequest (RFC 8446 4.3.2; RFC 5246 7.4.4; before TLS 1.2 without signature schemes)."""

    certificate_types: tuple[int, ...]
    signature_schemes: tuple[int, ...]
    authorities: tuple[bytes, ...]  # DER names
    context: bytes = b""
    extensions: Extensions = field(default_factory=Extensions)


@dataclass(frozen=True, slots=True)
class CertificateVerify:
    """CertificateVerify (RFC 8446 4.4.3; RFC 5246 7.4.8; before TLS 1.2 without a scheme)."""

    signature_scheme: int | None
    signature: bytes


@dataclass(frozen=True, slots=True)
class ClientKeyExchange:
    """ClientKeyExchange (RFC 5246 7.4.7); its form depends on the key exchange and is left unread."""

    exchange: bytes


@dataclass(frozen=True, slots=True)
class Finished:
    """Finished (RFC 8446 4.4.4, RFC 5246 7.4.9)."""

    verify_data: bytes


@dataclass(frozen=True, slots=True)
class KeyUpdate:
    """KeyUpdate (RFC 8446 4.6.3)."""

    request_update: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A message of a type that is not read here."""

    type: int
    body: bytes


Message = (
    HelloRequest | ClientHello | ServerHello | NewSessionTicket | EndOfEarlyData | EncryptedExtensions | Certificate
    | ServerKeyExchange | CertificateRequest | ServerHelloDone | CertificateVerify | ClientKeyExchange | Finished
    | CertificateStatus | KeyUpdate | CompressedCertificate | Unknown
)  # fmt: skip


def _before_tls12(version: int | None) -> bool:
    return version is not None and version < TLS12 and not is_tls13(version)


def _new_session_ticket(body: bytes, version: int | None) -> NewSessionTicket:
    read = Cursor(body, "new_session_ticket")
    lifetime = read.u32()
    if not is_tls13(version):
        return NewSessionTicket(lifetime, None, b"", read.vector16())
    age_add, nonce, ticket = read.u32(), read.vector8(), read.vector16()
    block = b"" if read.at_end else read.vector16()
    return NewSessionTicket(lifetime, age_add, nonce, ticket, Extensions.parse(block, read.where))


def _encrypted_extensions(body: bytes) -> EncryptedExtensions:
    read = Cursor(body, "encrypted_extensions")
    return EncryptedExtensions(Extensions.parse(read.vector16(), read.where))


def _certificate(body: bytes, version: int | None) -> Certificate:
    return _certificate_tls13(body) if is_tls13(version) else _certificate_tls12(body)


def _certificate_tls13(body: bytes) -> Certificate:
    read = Cursor(body, "certificate")
    context, entries = read.vector8(), Cursor(read.vector24(), "certificate_list")
    certificates, extensions = [], []
    while not entries.at_end:
        certificates.append(entries.vector24())
        extensions.append(Extensions.parse(entries.vector16(), entries.where))
    return Certificate(context, tuple(certificates), tuple(extensions))


@remembered_up_to(16_384, entries=CHAINS, size=len)  # the same few chains come again and again
def _certificate_tls12(body: bytes) -> Certificate:
    entries, certificates = Cursor(Cursor(body, "certificate").vector24(), "certificate_list"), []
    if entries.data[:1] == bytes([_SEQUENCE]):  # a key where a length should be: 0x30…: 3 MB would be no certificate
        return Certificate(b"", (), raw_public_key=entries.data)
    while not entries.at_end:
        certificates.append(entries.vector24())
    return Certificate(b"", tuple(certificates))


def _compressed_certificate(body: bytes) -> CompressedCertificate:
    read = Cursor(body, "compressed_certificate")
    return CompressedCertificate(read.u16(), read.u24(), read.vector24())


def _certificate_status(body: bytes) -> CertificateStatus:
    read = Cursor(body, "certificate_status")
    return CertificateStatus(read.u8(), b"" if read.at_end else read.vector24())


def _server_key_exchange(body: bytes, version: int | None, suite: Suite | None) -> ServerKeyExchange:
    exchange = suite.key_exchange if suite else ""
    read = Cursor(body, "server_key_exchange")
    if exchange.endswith("_PSK"):
        read.vector16()  # psk_identity_hint (RFC 4279 3, RFC 5489 2)
    if exchange.startswith("ECDH"):
        group, point = _ec_params(read)
        return ServerKeyExchange(group, None, point, _scheme(read, version))
    if exchange.startswith("DH"):
        bits, public = _dh_params(read)
        return ServerKeyExchange(None, bits, public, _scheme(read, version))
    return ServerKeyExchange()


def _ec_params(read: Cursor) -> tuple[int | None, bytes]:
    """ServerECDHParams (RFC 8422 5.4): explicit curves, long forbidden, are named but not read."""
    curve_type = read.u8()
    if curve_type == _NAMED_CURVE:
        return read.u16(), read.vector8()
    read.rest()
    return _EXPLICIT_GROUPS.get(curve_type), b""


def _dh_params(read: Cursor) -> tuple[int, bytes]:
    """ServerDHParams (RFC 5246 7.4.3): prime, generator, public value."""
    prime, _generator, public = read.vector16(), read.vector16(), read.vector16()
    return int.from_bytes(prime).bit_length(), public


def _scheme(read: Cursor, version: int | None) -> int | None:
    """Scheme of the signature over the parameters, where one follows and TLS 1.2 names it."""
    if read.at_end or _before_tls12(version):
        return None
    return read.u16()


def _certificate_request(body: bytes, version: int | None) -> CertificateRequest:
    read = Cursor(body, "certificate_request")
    if is_tls13(version):
        context, extensions = read.vector8(), Extensions.parse(read.vector16(), read.where)
        schemes = extensions.read(Code.SIGNATURE_ALGORITHMS, ext.u16_list) or ()
        names = extensions.read(Code.CERTIFICATE_AUTHORITIES, ext.authorities) or ()
        return CertificateRequest((), schemes, names, context, extensions)
    types = tuple(read.vector8())
    schemes = () if _before_tls12(version) else read.u16_list()
    return CertificateRequest(types, schemes, read.vectors16())


def _certificate_verify(body: bytes, version: int | None) -> CertificateVerify:
    read = Cursor(body, "certificate_verify")
    return CertificateVerify(None if _before_tls12(version) else read.u16(), read.vector16())


_PARSERS: dict[int, Callable[[bytes, int | None, Suite | None], Message]] = {
    HandshakeType.HELLO_REQUEST: lambda body, version, suite: HelloRequest(),
    HandshakeType.CLIENT_HELLO: lambda body, version, suite: ClientHello.parse(body),
    HandshakeType.SERVER_HELLO: lambda body, version, suite: ServerHello.parse(body),
    HandshakeType.NEW_SESSION_TICKET: lambda body, version, suite: _new_session_ticket(body, version),
    HandshakeType.END_OF_EARLY_DATA: lambda body, version, suite: EndOfEarlyData(),
    HandshakeType.HELLO_RETRY_REQUEST: lambda body, version, suite: ServerHello.parse_draft_retry(body),
    HandshakeType.ENCRYPTED_EXTENSIONS: lambda body, version, suite: _encrypted_extensions(body),
    HandshakeType.CERTIFICATE: lambda body, version, suite: _certificate(body, version),
    HandshakeType.SERVER_KEY_EXCHANGE: _server_key_exchange,
    HandshakeType.CERTIFICATE_REQUEST: lambda body, version, suite: _certificate_request(body, version),
    HandshakeType.SERVER_HELLO_DONE: lambda body, version, suite: ServerHelloDone(),
    HandshakeType.CERTIFICATE_VERIFY: lambda body, version, suite: _certificate_verify(body, version),
    HandshakeType.CLIENT_KEY_EXCHANGE: lambda body, version, suite: ClientKeyExchange(body),
    HandshakeType.FINISHED: lambda body, version, suite: Finished(body),
    HandshakeType.CERTIFICATE_STATUS: lambda body, version, suite: _certificate_status(body),
    HandshakeType.KEY_UPDATE: lambda body, version, suite: KeyUpdate(Cursor(body, "key_update").u8()),
    HandshakeType.COMPRESSED_CERTIFICATE: lambda body, version, suite: _compressed_certificate(body),
}


def parse(message_type: int, body: bytes, version: int | None = None, suite: Suite | None = None) -> Message:
    r"""Read one handshake message from its body (without the four bytes of type and length).

    `version` is the negotiated one; None reads the forms of TLS 1.2. `suite` is what ServerKeyExchange needs.
    Raises Malformed where lengths do not fit.

    >>> parse(24, b"\x01")
    KeyUpdate(request_update=1)
    """
    parser = _PARSERS.get(message_type)
    return Unknown(message_type, body) if parser is None else parser(body, version, suite)
