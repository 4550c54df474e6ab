r"""Hellos and certificate requests to the values of rows: names for codes, text for CA names.

Lists are comma-joined in the sender's order. In a text from the wire (application protocols, names) a comma reads
`\x2c`, and in a CA name a semicolon `\3b`, so that a cell can be split again without doubt.
"""

from collections.abc import Callable, Iterable
from typing import Any

from tlspcap.tls import certificates, names, ssl2
from tlspcap.tls.account import Account
from tlspcap.tls.ciphers import forward_secrecy
from tlspcap.tls.extensions import Extensions
from tlspcap.tls.fingerprints import ja3, ja3s, ja4, ja4_r
from tlspcap.tls.messages import CertificateRequest, ClientHello, ServerHello
from tlspcap.tls.names import ExtensionType as Code
from tlspcap.tls.offers import Offer, client_offer, request_digest, server_offer
from tlspcap.tls.remembering import remembered_up_to

Row = dict[str, Any]
MAX_LISTED = 1_000  # names written of one list; of hostile hellos, which hold 32,000 suites, the count tells the rest
COMMA, SEMICOLON = ",", "; "


# -- in a row of `handshakes` ---------------------------------------------------------------------------------------


def offer(account: Account) -> Row:
    """What a row of the `handshakes` table says of the first ClientHello."""
    hello = account.hello
    if hello is None:
        return _NO_OFFER
    kept = tuple([(code, b"" if code in _OF_ONE_HELLO else content) for code, content in hello.extensions.raw])
    shape = _offer_of_shape((hello.legacy_version, hello.cipher_suites, kept, hello.key_share_groups))
    own = {"sni": hello.server_name, "client_random": hello.random.hex() or None}
    return {**shape, **own, "client_hello_length": _hello_length(account)}


def _hello_length(account: Account) -> int | None:
    return next((seen.length for seen in account.messages if seen.name == "client_hello"), None)


_NO_OFFER: Row = {
    "sni": None, "alpn_offered": None, "offered_versions": None, "offered_version_max": None, "ech_offered": False,
    "ja3": None, "ja4": None, "client_hello_digest": None, "client_hello_length": None, "client_random": None,
}  # fmt: skip
# Extensions whose content differs from hello to hello of one client and says nothing of its kind
_OF_ONE_HELLO = frozenset((
    Code.SERVER_NAME, Code.SESSION_TICKET, Code.PRE_SHARED_KEY, Code.KEY_SHARE, Code.KEY_SHARE_DRAFT,
    Code.ENCRYPTED_CLIENT_HELLO,
))  # fmt: skip


# Version, suites and extensions of a ClientHello, and the groups of its key shares; version, suite and extensions of a
# ServerHello: what is the same for all hellos that differ only in random values, keys, tickets and names.
_Offered = tuple[int, tuple[int, ...], tuple[tuple[int, bytes], ...], tuple[int, ...]]
_Chosen = tuple[int, int, tuple[tuple[int, bytes], ...]]


def _size_of_offer(offered: _Offered) -> int:
    _, suites, extensions, _ = offered
    return len(suites) + len(extensions) + sum([len(content) for _, content in extensions])


# A client sends hellos of one shape; GREASE makes some dozens of it.
@remembered_up_to(2_048, entries=2_048, size=_size_of_offer)
def _offer_of_shape(offered: _Offered) -> Row:
    """What the row says of all ClientHellos of one shape."""
    version, suites, extensions, key_shares = offered
    hello = ClientHello(version, b"", b"", suites, b"", Extensions(extensions))
    return {
        "alpn_offered": texts(hello.alpn),
        "offered_versions": ",".join([names.version_name(code) for code in hello.offered_versions]) or None,
        "offered_version_max": names.version_name(hello.offered_version_max),
        "ech_offered": hello.ech,
        "ja3": ja3(hello),
        "ja4": ja4(hello),
        "client_hello_digest": client_offer(hello, key_shares).digest,
    }


def choice(account: Account) -> Row:
    """What a row of the `handshakes` table says of the ServerHello and the server's key exchange."""
    hello, exchange, offered = account.server_hello, account.key_exchange, account.offered_max
    retry = account.retry is not None
    if hello is None:
        version = None if offered is None else names.version_name(offered)
        return {**_NO_CHOICE, "version": version, "hello_retry": retry}
    kept = tuple([(code, content[: _TOLD.get(code, 0)]) for code, content in hello.extensions.raw])
    named = _choice_of_shape((hello.legacy_version, hello.cipher_suite, kept))
    row = {**named, "hello_retry": retry, "dh_bits": None, "signature_scheme": None}
    row["server_random"] = hello.random.hex() or None
    if exchange is not None:
        if exchange.group is not None and not account.is_tls13:
            row["group"] = names.group_name(exchange.group)
        row["dh_bits"] = exchange.dh_bits
        if exchange.signature_scheme is not None:
            row["signature_scheme"] = names.signature_scheme_name(exchange.signature_scheme)
    return row


_NO_CHOICE: Row = dict.fromkeys((
    "negotiated_version", "alpn", "cipher", "cipher_code", "group", "dh_bits", "signature_scheme", "forward_secrecy",
    "ja3s", "server_hello_digest", "server_random",
))  # fmt: skip
# Extensions by which a ServerHello tells its choice, and how many of their bytes do: of a key share its group
_TOLD: dict[int, int] = {
    Code.SUPPORTED_VERSIONS: 2, Code.KEY_SHARE: 2, Code.KEY_SHARE_DRAFT: 2, Code.ALPN: 260,
    Code.CLIENT_CERTIFICATE_TYPE: 1, Code.SERVER_CERTIFICATE_TYPE: 1,
}  # fmt: skip


def _size_of_choice(chosen: _Chosen) -> int:
    extensions = chosen[2]
    return len(extensions) + sum([len(content) for _, content in extensions])


@remembered_up_to(512, entries=4_096, size=_size_of_choice)  # a server makes one of a few choices
def _choice_of_shape(choice: _Chosen) -> Row:
    """What the row says of all ServerHellos of one shape."""
    legacy_version, suite, extensions = choice
    hello = ServerHello(legacy_version, b"", b"", suite, 0, Extensions(extensions))
    share, version, alpn = hello.key_share_group, hello.version, hello.alpn
    name = names.version_name(version)
    is_known = version != names.SSL20 or suite != ssl2.NO_KIND  # in SSL 2.0 the client's next message says it
    return {
        "negotiated_version": name,
        "version": name,
        "alpn": alpn,
        "cipher": names.cipher_name(suite) if is_known else None,
        "cipher_code": suite if is_known else None,
        "group": None if share is None or not names.is_tls13(version) else names.group_name(share),
        "forward_secrecy": forward_secrecy(version, suite, share is None and hello.psk_selected),
        "ja3s": None if version == names.SSL20 else ja3s(hello),
        "server_hello_digest": server_offer(hello).digest,
    }


# -- rows of their own -----------------------------------------------------------------------------------------------


def client_hello_cells(hello: ClientHello) -> Row:
    """What a row of the `hellos` table says of a ClientHello itself."""
    listed = len(hello.cipher_suites) + len(hello.extensions.codes) + len(hello.signature_schemes)
    return {**_hello_cells(client_offer(hello)), "ja4_r": ja4_r(hello) if listed <= MAX_LISTED else None}


def server_hello_cells(hello: ServerHello) -> Row:
    """What a row of the `hellos` table says of a ServerHello itself."""
    return {**_hello_cells(server_offer(hello)), "ja4_r": None}


def _hello_cells(offer: Offer) -> Row:
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


def _size_of_request(request: CertificateRequest | None) -> int:
    return 0 if request is None else sum(map(len, request.authorities)) + len(request.signature_schemes)


@remembered_up_to(65_536, entries=64, size=_size_of_request)  # a server asks all its clients for the same
def request_id(request: CertificateRequest | None) -> str | None:
    """The digest that joins a handshake with its row of `certificate_requests`."""
    return None if request is None else request_digest(request)


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
