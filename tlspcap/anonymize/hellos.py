"""Hellos and their extensions, replaced in place: offers and choices stay, to the bit that fingerprints are made of."""

from collections.abc import Callable

from tlspcap.anonymize import asn1
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.anonymize.redaction import Redaction, Replace, each, keep, redact
from tlspcap.tls.hellos import RETRY_RANDOM
from tlspcap.tls.names import ExtensionType as Code

_DRAFT = 0x7F  # high byte of the versions of TLS 1.3 drafts
_DOWNGRADES = (b"DOWNGRD\1", b"DOWNGRD\0")  # at the end of a server's random (RFC 8446 4.1.3)
_NO_INNER = 0  # ECHClientHelloType outer (RFC 9849 5)

# What these hold is from registries, or a size: offers and choices. The numbers beside `Code` are of no other use.
_KEPT = frozenset({
    Code.SUPPORTED_GROUPS, Code.EC_POINT_FORMATS, Code.SIGNATURE_ALGORITHMS, Code.HEARTBEAT, Code.ALPN,
    Code.CLIENT_CERTIFICATE_TYPE, Code.SERVER_CERTIFICATE_TYPE, Code.ENCRYPT_THEN_MAC, Code.EXTENDED_MASTER_SECRET,
    Code.COMPRESS_CERTIFICATE, Code.EARLY_DATA, Code.SUPPORTED_VERSIONS, Code.PSK_KEY_EXCHANGE_MODES,
    Code.SIGNATURE_ALGORITHMS_CERT,
    1,  # max_fragment_length (RFC 6066 4)
    4,  # truncated_hmac (RFC 6066 7)
    9,  # cert_type (RFC 6091 3.1)
    28,  # record_size_limit (RFC 8449)
    34,  # delegated_credential (RFC 9345)
    49,  # post_handshake_auth (RFC 8446 4.2.6)
    13172, 17513, 17613,  # names of application protocols too: next_protocol_negotiation, application_settings
})  # fmt: skip
_PADDING, _COOKIE, _TIMESTAMPS = 21, 44, 18  # RFC 7685; RFC 8446 4.2.2; RFC 6962 3.3.1
_STATUS_REQUEST_V2, _TRUSTED_CA_KEYS, _USE_SRTP, _CONNECTION_ID = 17, 3, 14, 54  # RFC 6961, 6066 6, 5764 4.1.1, 9146 3
_KEY_HASH, _DISTINGUISHED_NAME, _CERTIFICATE_HASH = 1, 2, 3  # IdentifierType (RFC 6066 6)
_SHA1 = 20  # bytes

_Work = Callable[[Redaction], object]


def client_hello(found: Redaction) -> None:
    """ClientHello (RFC 8446 4.1.2)."""
    found.keep(2)
    found.replace(32)
    found.vector(1)  # session id
    found.vector(2, keep)  # cipher suites
    found.vector(1, keep)  # compression methods
    if not found.at_end:
        found.vector(2, extensions(found.names, client=True))


def server_hello(found: Redaction) -> None:
    """ServerHello (RFC 8446 4.1.3)."""
    version = found.keep(2)
    found.replace(32, lambda random: _server_random(random, found.names))
    if version[0] != _DRAFT:
        found.vector(1)  # session id
    found.keep(2)  # cipher suite
    if version[0] != _DRAFT:
        found.keep(1)  # compression method
    if not found.at_end:
        found.vector(2, extensions(found.names, client=False))


def draft_retry(found: Redaction) -> None:
    """HelloRetryRequest of its own type (draft-ietf-tls-tls13-21 4.1.4), with a cipher suite since draft 19."""
    found.keep(2)
    if int.from_bytes(found.read.data[2:4]) != len(found.read.data) - 4:
        found.keep(2)
    found.vector(2, extensions(found.names, client=False))


def _server_random(random: bytes, names: Pseudonyms) -> bytes:
    """Replace a server's random, but for what it says by itself: that it is a retry, or that it could do better."""
    if random == RETRY_RANDOM:
        return random
    return names.noise(random)[:-8] + random[-8:] if random.endswith(_DOWNGRADES) else names.noise(random)


def extensions(names: Pseudonyms, *, client: bool) -> Replace:
    """Make what replaces a block of extensions."""
    special = _CLIENT if client else _SERVER

    def extension(found: Redaction) -> None:
        code = int.from_bytes(found.keep(2))
        if code in _KEPT:
            found.vector(2, keep)
        elif code in special:
            found.vector(2, lambda content: redact(content, names, special[code]))
        else:
            found.vector(2)

    return each(names, extension)


def host_names(found: Redaction) -> None:
    """server_name (RFC 6066 3); a server's is empty."""

    def name(entry: Redaction) -> None:
        entry.keep(1)
        entry.vector(2, found.names.text)

    if not found.at_end:
        found.vector(2, each(found.names, name))


def authorities(found: Redaction) -> None:
    """A list of names in DER (RFC 8446 4.2.4)."""
    names = found.names
    found.vector(2, each(names, lambda entry: entry.vector(2, lambda name: asn1.replaced(name, names))))


def _status_request(found: Redaction) -> None:
    """status_request (RFC 6066 8): responders and extensions are replaced."""
    if not found.at_end:
        found.keep(1)
        found.vector(2)
        found.vector(2)


def _status_requests(found: Redaction) -> None:
    """status_request_v2 (RFC 6961 2.2): a list of them, each with its length."""

    def request(entry: Redaction) -> None:
        entry.keep(1)
        entry.vector(2, lambda content: redact(content, entry.names, _responders))

    if not found.at_end:
        found.vector(2, each(found.names, request))


def _responders(found: Redaction) -> None:
    found.vector(2)
    found.vector(2)


def _trusted_authorities(found: Redaction) -> None:
    """trusted_ca_keys (RFC 6066 6): names and hashes of authorities; a server's is empty."""

    def authority(entry: Redaction) -> None:
        kind = entry.keep(1)[0]
        if kind == _DISTINGUISHED_NAME:
            entry.vector(2, lambda name: asn1.replaced(name, entry.names))
        elif kind in (_KEY_HASH, _CERTIFICATE_HASH):
            entry.replace(_SHA1)

    if not found.at_end:
        found.vector(2, each(found.names, authority))


def _srtp(found: Redaction) -> None:
    """use_srtp (RFC 5764 4.1.1): profiles stay, the key's identifier does not."""
    found.vector(2, keep)
    found.vector(1)


def _share(found: Redaction) -> None:
    found.keep(2)
    found.vector(2)


def _shares(found: Redaction) -> None:
    """A client's key_share (RFC 8446 4.2.8)."""
    found.vector(2, each(found.names, _share))


def _chosen_share(found: Redaction) -> None:
    """A server's key_share; a HelloRetryRequest's names a group only."""
    found.keep(2)
    if not found.at_end:
        found.vector(2)


def _keys_to_resume(found: Redaction) -> None:
    """A client's pre_shared_key (RFC 8446 4.2.11): identities with their ages, and binders."""

    def identity(entry: Redaction) -> None:
        entry.vector(2)
        entry.replace(4)

    found.vector(2, each(found.names, identity))
    found.vector(2, each(found.names, lambda entry: entry.vector(1)))


def _encrypted_hello(found: Redaction) -> None:
    """A client's encrypted_client_hello (RFC 9849 5): the suite stays."""
    if found.keep(1)[0] == _NO_INNER:
        found.keep(4)
        found.replace(1)  # which of the server's keys
        found.vector(2)
        found.vector(2)


def _padding(found: Redaction) -> None:
    found.replace(len(found.read.data), lambda content: bytes(len(content)))


def _timestamps(found: Redaction) -> None:
    """signed_certificate_timestamp (RFC 6962 3.3.1): empty in a client's hello."""
    if not found.at_end:
        found.vector(2, each(found.names, lambda entry: entry.vector(2)))


_EITHER: dict[int, _Work] = {
    Code.SERVER_NAME: host_names,
    Code.RENEGOTIATION_INFO: lambda found: found.vector(1),
    _COOKIE: lambda found: found.vector(2),
    Code.CERTIFICATE_AUTHORITIES: authorities,
    _PADDING: _padding,
    _TIMESTAMPS: _timestamps,
    _TRUSTED_CA_KEYS: _trusted_authorities,
    _USE_SRTP: _srtp,
    _CONNECTION_ID: lambda found: found.vector(1),
}
_CLIENT = _EITHER | {
    Code.STATUS_REQUEST: _status_request,
    _STATUS_REQUEST_V2: _status_requests,
    Code.KEY_SHARE: _shares,
    Code.KEY_SHARE_DRAFT: _shares,
    Code.PRE_SHARED_KEY: _keys_to_resume,
    Code.ENCRYPTED_CLIENT_HELLO: _encrypted_hello,
}
_SERVER = _EITHER | {
    Code.KEY_SHARE: _chosen_share,
    Code.KEY_SHARE_DRAFT: _chosen_share,
    Code.PRE_SHARED_KEY: lambda found: found.keep(2),
}
