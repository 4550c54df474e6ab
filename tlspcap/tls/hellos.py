"""ClientHello and ServerHello: one NamedTuple and one parser each, fields in RFC order."""

from struct import Struct
from struct import error as StructError
from typing import NamedTuple

from tlspcap.tls import extensions as ext
from tlspcap.tls.cursor import Cursor, u16_values
from tlspcap.tls.extensions import Extensions
from tlspcap.tls.names import SSL20, is_grease
from tlspcap.tls.names import ExtensionType as Code
from tlspcap.tls.remembering import remembered

# SHA-256 of "HelloRetryRequest", in the random of a ServerHello that is one (RFC 8446 4.1.3)
RETRY_RANDOM = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
EMPTY_RENEGOTIATION_INFO_SCSV = 0x00FF  # RFC 5746 3.3
LAST_SUITE = 0xFFFF  # cipher kinds of SSL 2.0 have three bytes
_GREASE_MODES = frozenset(range(0x0B, 0x100, 0x1F))  # RFC 8701 2
_FIXED = Struct(">H32sB")  # what both hellos begin with: legacy_version, random, length of the session id
_fixed = _FIXED.unpack_from
_new = tuple.__new__  # makes a NamedTuple without the detour through its own __new__
NO_EXTENSIONS = Extensions()
_DRAFT = 0x7F  # high byte of the versions of TLS 1.3 drafts


@remembered  # clients of one kind send one list
def _suites(data: bytes) -> tuple[int, ...]:
    return u16_values(data, "cipher_suites")


class ClientHello(NamedTuple):
    """ClientHello (RFC 8446 4.1.2; RFC 5246 7.4.1.2, where extensions may be missing altogether)."""

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suites: tuple[int, ...]  # as sent, GREASE and signalling values included; SSL 2.0's have three bytes
    compression_methods: bytes
    extensions: Extensions = NO_EXTENSIONS
    trailing: bytes = b""  # bytes after the last field, which no version defines

    @classmethod
    def parse(cls, body: bytes) -> "ClientHello":
        """Read the message body."""
        try:
            version, random, length = _fixed(body)
            suites = _FIXED.size + length
            compression = suites + 2 + (body[suites] << 8 | body[suites + 1])
            block = compression + 1 + body[compression]
            if block + 2 + (body[block] << 8 | body[block + 1]) == len(body):  # nothing behind it: the rule
                offered = _suites(body[suites + 2 : compression]), body[compression + 1 : block]
                extensions = Extensions.parse(body[block + 2 :], "client_hello")
                return _new(cls, (version, random, body[_FIXED.size : suites], *offered, extensions, b""))
        except (IndexError, StructError):
            pass
        return cls._parse_any(body)

    @classmethod
    def _parse_any(cls, body: bytes) -> "ClientHello":
        """Read the message body field by field, whatever its form."""
        read = Cursor(body, "client_hello")
        version, random, session_id = read.u16(), read.take(32), read.vector8()
        suites, compression = _suites(read.vector16()), read.vector8()
        block = b"" if read.at_end else read.vector16()
        return cls(version, random, session_id, suites, compression, Extensions.parse(block, read.where), read.rest())

    @property
    def server_name(self) -> str | None:
        """Host name asked for (RFC 6066 3), as `extensions.text` writes it."""
        return self.extensions.read(Code.SERVER_NAME, ext.host_name)

    @property
    def alpn(self) -> tuple[str, ...]:
        """Application protocols offered, in order, without GREASE (RFC 8701 2)."""
        names = self.extensions.read(Code.ALPN, ext.alpn) or ()
        return tuple([ext.text(n) for n in names if not (len(n) == 2 and is_grease(int.from_bytes(n)))])

    @property
    def offered_versions(self) -> tuple[int, ...]:
        """Versions offered, highest first; before TLS 1.3 a hello names only the highest (RFC 5246 E.1).

        A hello in the form of SSL 2.0 that lists ciphers of SSL 2.0 offers that too (RFC 5246 E.2).
        """
        offered = self.extensions.read(Code.SUPPORTED_VERSIONS, ext.versions_in_order)
        if offered is None:
            old = self.legacy_version != SSL20 and max(self.cipher_suites, default=0) > LAST_SUITE
            return (self.legacy_version, SSL20) if old else (self.legacy_version,)
        return offered

    @property
    def offered_version_max(self) -> int:
        """Highest version offered."""
        versions = self.offered_versions
        return versions[0] if versions else self.legacy_version

    @property
    def groups(self) -> tuple[int, ...]:
        """Supported groups in order of preference (RFC 8446 4.2.7), without GREASE."""
        return ext.without_grease(self.extensions.read(Code.SUPPORTED_GROUPS, ext.u16_list) or ())

    @property
    def point_formats(self) -> tuple[int, ...]:
        """EC point formats (RFC 8422 5.1.2)."""
        return self.extensions.read(Code.EC_POINT_FORMATS, ext.point_formats) or ()

    @property
    def key_share_groups(self) -> tuple[int, ...]:
        """Groups that a key share was sent for (RFC 8446 4.2.8), without GREASE."""
        shares = self.extensions.read(Code.KEY_SHARE, ext.client_key_shares)
        if shares is None:
            shares = self.extensions.read(Code.KEY_SHARE_DRAFT, ext.client_key_shares) or ()
        return ext.without_grease(tuple([group for group, _ in shares]))

    @property
    def signature_schemes(self) -> tuple[int, ...]:
        """Signature schemes in order of preference (RFC 8446 4.2.3), without GREASE."""
        return ext.without_grease(self.extensions.read(Code.SIGNATURE_ALGORITHMS, ext.u16_list) or ())

    @property
    def certificate_signature_schemes(self) -> tuple[int, ...]:
        """Signature schemes for certificates (RFC 8446 4.2.3), without GREASE; empty where they are not told apart."""
        return ext.without_grease(self.extensions.read(Code.SIGNATURE_ALGORITHMS_CERT, ext.u16_list) or ())

    @property
    def client_certificate_types(self) -> tuple[int, ...]:
        """Certificate types that the client can send (RFC 7250 3)."""
        return self.extensions.read(Code.CLIENT_CERTIFICATE_TYPE, ext.certificate_types) or ()

    @property
    def server_certificate_types(self) -> tuple[int, ...]:
        """Certificate types that the client can read (RFC 7250 3)."""
        return self.extensions.read(Code.SERVER_CERTIFICATE_TYPE, ext.certificate_types) or ()

    @property
    def certificate_compressions(self) -> tuple[int, ...]:
        """Algorithms that may compress the server's certificates (RFC 8879 3), without GREASE."""
        return ext.without_grease(self.extensions.read(Code.COMPRESS_CERTIFICATE, ext.u16_short_list) or ())

    @property
    def psk_modes(self) -> tuple[int, ...]:
        """PSK key exchange modes (RFC 8446 4.2.9), without GREASE (RFC 8701 2: values of a byte, 0x0b, 0x2a, …)."""
        modes = self.extensions.read(Code.PSK_KEY_EXCHANGE_MODES, ext.u8_list) or ()
        return tuple([mode for mode in modes if mode not in _GREASE_MODES])

    @property
    def session_ticket(self) -> bytes | None:
        """Ticket to resume with (RFC 5077 3.2); empty: none yet, one is asked for; None: no extension."""
        return self.extensions.get(Code.SESSION_TICKET)

    @property
    def psk_offered(self) -> bool:
        """Whether pre_shared_key was sent (RFC 8446 4.2.11)."""
        return Code.PRE_SHARED_KEY in self.extensions

    @property
    def early_data(self) -> bool:
        """Whether 0-RTT data was announced (RFC 8446 4.2.10)."""
        return Code.EARLY_DATA in self.extensions

    @property
    def ech(self) -> bool:
        """Whether encrypted_client_hello was sent, a GREASE one included (RFC 9849)."""
        return Code.ENCRYPTED_CLIENT_HELLO in self.extensions

    @property
    def extended_master_secret(self) -> bool:
        """Whether extended_master_secret was offered (RFC 7627)."""
        return Code.EXTENDED_MASTER_SECRET in self.extensions

    @property
    def encrypt_then_mac(self) -> bool:
        """Whether encrypt_then_mac was offered (RFC 7366)."""
        return Code.ENCRYPT_THEN_MAC in self.extensions

    @property
    def secure_renegotiation(self) -> bool:
        """Whether RFC 5746 is supported: the extension, or the signalling cipher suite."""
        return Code.RENEGOTIATION_INFO in self.extensions or EMPTY_RENEGOTIATION_INFO_SCSV in self.cipher_suites

    @property
    def status_request(self) -> bool:
        """Whether a stapled OCSP response was asked for (RFC 6066 8)."""
        return Code.STATUS_REQUEST in self.extensions

    @property
    def heartbeat(self) -> bool:
        """Whether heartbeat was offered (RFC 6520)."""
        return Code.HEARTBEAT in self.extensions

    @property
    def malformed_extensions(self) -> tuple[int, ...]:
        """Types of extensions whose content does not parse; they read as absent."""
        return self.extensions.malformed(ext.CLIENT_READERS)


class ServerHello(NamedTuple):
    """ServerHello (RFC 8446 4.1.3; RFC 5246 7.4.1.3), or the HelloRetryRequest that has its form."""

    legacy_version: int
    random: bytes
    session_id: bytes
    cipher_suite: int
    compression_method: int
    extensions: Extensions = NO_EXTENSIONS
    trailing: bytes = b""

    @classmethod
    def parse(cls, body: bytes) -> "ServerHello":
        """Read the message body."""
        try:
            version, random, length = _fixed(body)
            suite = _FIXED.size + length
            block = suite + 3
            if version >> 8 != _DRAFT and block + 2 + (body[block] << 8 | body[block + 1]) == len(body):
                chosen = body[_FIXED.size : suite], body[suite] << 8 | body[suite + 1], body[suite + 2]
                return _new(cls, (version, random, *chosen, Extensions.parse(body[block + 2 :], "server_hello"), b""))
        except (IndexError, StructError):
            pass
        return cls._parse_any(body)

    @classmethod
    def _parse_any(cls, body: bytes) -> "ServerHello":
        """Read the message body field by field, whatever its form."""
        read = Cursor(body, "server_hello")
        version, random = read.u16(), read.take(32)
        if version >> 8 == _DRAFT:  # up to draft 21 without session id and compression (draft-ietf-tls-tls13-21 4.1.3)
            session_id, suite, compression = b"", read.u16(), 0
        else:
            session_id, suite, compression = read.vector8(), read.u16(), read.u8()
        block = b"" if read.at_end else read.vector16()
        return cls(version, random, session_id, suite, compression, Extensions.parse(block, read.where), read.rest())

    @classmethod
    def parse_draft_retry(cls, body: bytes) -> "ServerHello":
        """Read a HelloRetryRequest of its own type (6), as up to draft 21 (draft-ietf-tls-tls13-21 4.1.4)."""
        read = Cursor(body, "hello_retry_request")
        version, suite = read.u16(), 0
        if int.from_bytes(body[2:4]) != len(body) - 4:  # since draft 19 the cipher suite stands before the extensions
            suite = read.u16()
        return cls(version, RETRY_RANDOM, b"", suite, 0, Extensions.parse(read.vector16(), read.where), read.rest())

    @property
    def version(self) -> int:
        """Version chosen: supported_versions, else legacy_version (RFC 8446 4.2.1)."""
        selected = self.extensions.read(Code.SUPPORTED_VERSIONS, ext.selected_version)
        return self.legacy_version if selected is None else selected

    @property
    def is_retry(self) -> bool:
        """Whether it is a HelloRetryRequest, told by its random (RFC 8446 4.1.3)."""
        return self.random == RETRY_RANDOM

    @property
    def key_share_group(self) -> int | None:
        """Group of the key exchange, or the one a HelloRetryRequest asks for (RFC 8446 4.2.8)."""
        group = self.extensions.read(Code.KEY_SHARE, ext.server_key_share)
        return self.extensions.read(Code.KEY_SHARE_DRAFT, ext.server_key_share) if group is None else group

    @property
    def psk_selected(self) -> bool:
        """Whether a pre-shared key was accepted (RFC 8446 4.2.11)."""
        return Code.PRE_SHARED_KEY in self.extensions

    @property
    def selected_psk(self) -> int | None:
        """Which of the offered pre-shared keys was accepted, from 0 (RFC 8446 4.2.11)."""
        return self.extensions.read(Code.PRE_SHARED_KEY, ext.selected_identity)

    @property
    def alpn(self) -> str | None:
        """Application protocol chosen, up to TLS 1.2 (RFC 7301 3.1); later it is in EncryptedExtensions."""
        names = self.extensions.read(Code.ALPN, ext.alpn)
        return ext.text(names[0]) if names else None

    @property
    def client_certificate_type(self) -> int | None:
        """Type of the client's certificate, up to TLS 1.2 (RFC 7250 3); later it is in EncryptedExtensions."""
        return self.extensions.read(Code.CLIENT_CERTIFICATE_TYPE, ext.selected_certificate_type)

    @property
    def server_certificate_type(self) -> int | None:
        """Type of the server's certificate, up to TLS 1.2 (RFC 7250 3)."""
        return self.extensions.read(Code.SERVER_CERTIFICATE_TYPE, ext.selected_certificate_type)

    @property
    def session_ticket(self) -> bool:
        """Whether a NewSessionTicket will follow (RFC 5077 3.2)."""
        return Code.SESSION_TICKET in self.extensions

    @property
    def status_request(self) -> bool:
        """Whether a CertificateStatus may follow (RFC 6066 8)."""
        return Code.STATUS_REQUEST in self.extensions

    @property
    def secure_renegotiation(self) -> bool:
        """Whether RFC 5746 is supported."""
        return Code.RENEGOTIATION_INFO in self.extensions

    @property
    def extended_master_secret(self) -> bool:
        """Whether extended_master_secret was agreed (RFC 7627)."""
        return Code.EXTENDED_MASTER_SECRET in self.extensions

    @property
    def encrypt_then_mac(self) -> bool:
        """Whether encrypt_then_mac was agreed (RFC 7366)."""
        return Code.ENCRYPT_THEN_MAC in self.extensions

    @property
    def malformed_extensions(self) -> tuple[int, ...]:
        """Types of extensions whose content does not parse; they read as absent."""
        return self.extensions.malformed(ext.SERVER_READERS)
