r"""Hellos and certificate requests to the values of rows: names for codes, text for CA names.

Lists are comma-joined in the sender's order. In a text from the wire (application protocols, names) a comma reads
`\x2c`, and in a CA name a semicolon `\3b`, so that a cell can be split again without doubt.
"""

from collections.abc import Callable, Iterable
from struct import Struct
from typing import Any

from tlspcap.tls import certificates, names, ssl2
from tlspcap.tls.account import Account
from tlspcap.tls.ciphers import forward_secrecy
from tlspcap.tls.extensions import Extensions, host_name, without_grease
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
    codes, contents = zip(*hello.extensions.raw, strict=True) if hello.extensions.raw else ((), ())
    kept = tuple([contents[place] for place in _alike(codes)])
    row = _offer_of_shape((hello.legacy_version, hello.cipher_suites, codes, kept, _share_groups(hello))).copy()
    row["sni"] = hello.extensions.read(Code.SERVER_NAME, _host_name)
    row["client_random"] = hello.random.hex() or None
    row["client_hello_length"] = _hello_length(account)
    return row


_host_name = remembered_up_to(260, entries=4_096, size=len)(host_name)


def _hello_length(account: Account) -> int | None:
    for seen in account.messages:
        if seen.name == "client_hello":
            return seen.length
    return None


def _share_groups(hello: ClientHello) -> tuple[int, ...]:
    """As `hello.key_share_groups`; most hellos of old versions have none, most others one or two."""
    content = hello.extensions.get(Code.KEY_SHARE)
    if content is None:
        return hello.key_share_groups if Code.KEY_SHARE_DRAFT in hello.extensions else ()
    found, at, end = [], 2, len(content)
    while at + 4 <= end:
        group, length = _SHARE.unpack_from(content, at)
        found.append(group)
        at += 4 + length
    is_whole = at == end and content[:2] == (end - 2).to_bytes(2)
    return without_grease(tuple(found)) if is_whole else hello.key_share_groups


_SHARE = Struct(">HH")  # group of a key share, length of its key (RFC 8446 4.2.8)


_NO_OFFER: Row = {
    "sni": None, "alpn_offered": None, "offered_versions": None, "offered_version_max": None, "ech_offered": False,
    "ja3": None, "ja4": None, "client_hello_digest": None, "client_hello_length": None, "client_random": None,
}  # fmt: skip
# Extensions whose content differs from hello to hello of one client and says nothing of its kind
_OF_ONE_HELLO = frozenset((
    Code.SERVER_NAME, Code.SESSION_TICKET, Code.PRE_SHARED_KEY, Code.KEY_SHARE, Code.KEY_SHARE_DRAFT,
    Code.ENCRYPTED_CLIENT_HELLO,
))  # fmt: skip


# What is the same for all hellos that differ only in random values, keys, tickets and names. Of a ClientHello: version,
# suites, types of its extensions, contents of those that are alike, groups of its key shares; of a ServerHello:
# version, suite and extensions.
_Codes = tuple[int, ...]
_Offered = tuple[int, _Codes, _Codes, tuple[bytes, ...], _Codes]
_Chosen = tuple[int, int, tuple[tuple[int, bytes], ...]]


@remembered_up_to(256, entries=2_048, size=len)
def _alike(codes: _Codes) -> tuple[int, ...]:
    """The places of those extensions whose content is alike in the hellos of one client."""
    return tuple([place for place, code in enumerate(codes) if code not in _OF_ONE_HELLO])


def _size_of_offer(offered: _Offered) -> int:
    _, suites, codes, kept, _ = offered
    return len(suites) + len(codes) + sum(map(len, kept))


# A client sends hellos of one shape; GREASE makes some dozens of it.
@remembered_up_to(2_048, entries=2_048, size=_size_of_offer)
def _offer_of_shape(offered: _Offered) -> Row:
    """What the row says of all ClientHellos of one shape."""
    version, suites, codes, kept, key_shares = offered
    contents = dict(zip(_alike(codes), kept, strict=True))
    extensions = tuple([(code, contents.get(place, b"")) for place, code in enumerate(codes)])
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
