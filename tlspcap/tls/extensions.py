"""The extension block of hellos and its contents: every extension kept as (code, bytes), the ones that matter read.

Reading is lenient: content that does not parse reads as absent, and `Extensions.malformed` says of which extension,
so that one odd extension never hides the rest of a hello.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import TypeVar

from tlspcap.tls.cursor import Cursor, Malformed, u16_values
from tlspcap.tls.names import ExtensionType as Code
from tlspcap.tls.names import is_grease, version_rank
from tlspcap.tls.remembering import remembered

_unpack = Struct(">HH").unpack_from
_NAME_HEADER = Struct(">HBH")  # length of the list; type and length of the name
_HOST_NAME = 0  # NameType (RFC 6066 3)

T = TypeVar("T")


@dataclass(slots=True, init=False, unsafe_hash=True)  # never changed; frozen, it would take twice as long to make
class Extensions:
    """The extensions of one message in wire order, GREASE included, contents unread (RFC 8446 4.2)."""

    raw: tuple[tuple[int, bytes], ...]
    _by_type: dict[int, bytes] = field(repr=False, compare=False)

    def __init__(self, raw: tuple[tuple[int, bytes], ...] = ()) -> None:
        self.raw = raw
        self._by_type = dict(reversed(raw))  # of several of one type, which RFC 8446 4.2 forbids, the first counts

    @classmethod
    def parse(cls, block: bytes, where: str) -> "Extensions":
        """Split an extension block (without its own length) into its extensions."""
        return cls(tuple(_pairs(block, where)))

    @property
    def codes(self) -> tuple[int, ...]:
        """Extension types in wire order, GREASE included."""
        return tuple([code for code, _ in self.raw])

    def get(self, wanted: int) -> bytes | None:
        """Return the content of an extension, None where it is absent."""
        return self._by_type.get(wanted)

    def __contains__(self, wanted: int) -> bool:
        return wanted in self._by_type

    def read(self, wanted: int, reader: Callable[[bytes], T]) -> T | None:
        """Return what `reader` makes of an extension; None where it is absent or does not parse."""
        content = self._by_type.get(wanted)
        if content is None:
            return None
        try:
            return reader(content)
        except Malformed:
            return None

    def malformed(self, readers: dict[int, Callable[[bytes], object]]) -> tuple[int, ...]:
        """Return the types of those extensions that their reader in `readers` cannot read."""
        return tuple(code for code, content in self.raw if code in readers and _fails(readers[code], content))


def _pairs(block: bytes, where: str) -> list[tuple[int, bytes]]:
    """Split a block of entries that are an uint16 and a vector16 each: extensions, key shares."""
    offset = start = 0
    last, found = len(block) - 4, []
    while offset <= last:
        code, length = _unpack(block, offset)
        start = offset + 4
        offset = start + length
        found.append((code, block[start:offset]))
    if offset != len(block):
        raise Malformed(where, offset if offset < len(block) else start - 2)
    return found


def _fails(reader: Callable[[bytes], object], content: bytes) -> bool:
    try:
        reader(content)
    except Malformed:
        return True
    return False


def text(name: bytes) -> str:
    r"""Return a name from the wire as text: ASCII as it is, control characters too, other bytes as \xNN.

    >>> text(b"caf\xc3\xa9.example")
    'caf\\xc3\\xa9.example'
    """
    return name.decode("ascii", "backslashreplace")


def server_name(content: bytes) -> bytes | None:
    """Read server_name (RFC 6066 3): the first host name; None in a server's empty answer."""
    if not content:
        return None
    whole = len(content)
    if whole > 5 and _NAME_HEADER.unpack_from(content) == (whole - 2, _HOST_NAME, whole - 5):
        return content[5:]  # one name, as in nearly all hellos
    names = Cursor(Cursor(content, "server_name").vector16(), "server_name")
    while not names.at_end:
        kind, name = names.u8(), names.vector16()
        if kind == _HOST_NAME:
            return name
    return None


def alpn(content: bytes) -> tuple[bytes, ...]:
    """Read application_layer_protocol_negotiation (RFC 7301 3.1): a client's offers, or the one chosen."""
    names, found = Cursor(Cursor(content, "alpn").vector16(), "alpn"), []
    while not names.at_end:
        found.append(names.vector8())
    return tuple(found)


# clients of one kind repeat these lists byte for byte, hello after hello
@remembered
def u16_list(content: bytes) -> tuple[int, ...]:
    """Read a vector16 of uint16: supported_groups (RFC 8446 4.2.7), signature_algorithms (4.2.3)."""
    return Cursor(content, "uint16 list").u16_list()


@remembered
def offered_versions(content: bytes) -> tuple[int, ...]:
    """Read a client's supported_versions (RFC 8446 4.2.1), GREASE included."""
    return u16_values(Cursor(content, "supported_versions").vector8(), "supported_versions")


@remembered
def versions_in_order(content: bytes) -> tuple[int, ...]:
    """Read a client's supported_versions: the highest first, without GREASE."""
    return tuple(sorted(without_grease(offered_versions(content)), key=version_rank, reverse=True))


@remembered
def selected_version(content: bytes) -> int:
    """Read a server's supported_versions: the one selected."""
    return Cursor(content, "supported_versions").u16()


def selected_identity(content: bytes) -> int:
    """Read a server's pre_shared_key (RFC 8446 4.2.11): the place of the one selected."""
    return Cursor(content, "pre_shared_key").u16()


def client_key_shares(content: bytes) -> tuple[tuple[int, int], ...]:
    """Read a client's key_share (RFC 8446 4.2.8): (group, length of its key) in order, GREASE included."""
    return tuple([(group, len(key)) for group, key in _pairs(Cursor(content, "key_share").vector16(), "key_share")])


def server_key_share(content: bytes) -> int:
    """Read the group of a server's key_share, or of a HelloRetryRequest's, which holds nothing else."""
    return Cursor(content, "key_share").u16()


def point_formats(content: bytes) -> tuple[int, ...]:
    """Read ec_point_formats (RFC 8422 5.1.2)."""
    return tuple(Cursor(content, "ec_point_formats").vector8())


def certificate_types(content: bytes) -> tuple[int, ...]:
    """Read a client's client_certificate_type or server_certificate_type (RFC 7250 3): those it can send, or read."""
    return tuple(Cursor(content, "certificate_type").vector8())


def selected_certificate_type(content: bytes) -> int:
    """Read a server's client_certificate_type or server_certificate_type: the one selected."""
    return Cursor(content, "certificate_type").u8()


def u16_short_list(content: bytes) -> tuple[int, ...]:
    """Read a vector8 of uint16: compress_certificate (RFC 8879 3)."""
    return u16_values(Cursor(content, "uint16 list").vector8(), "uint16 list")


def u8_list(content: bytes) -> tuple[int, ...]:
    """Read a vector8 of uint8: psk_key_exchange_modes (RFC 8446 4.2.9)."""
    return tuple(Cursor(content, "uint8 list").vector8())


def authorities(content: bytes) -> tuple[bytes, ...]:
    """Read certificate_authorities (RFC 8446 4.2.4): DER names."""
    return Cursor(content, "certificate_authorities").vectors16()


def host_name(content: bytes) -> str | None:
    """Read server_name as text."""
    name = server_name(content)
    return None if name is None else text(name)


@remembered
def without_grease(codes: tuple[int, ...]) -> tuple[int, ...]:
    """Leave out the GREASE values (RFC 8701)."""
    return tuple([code for code in codes if not is_grease(code)])


CLIENT_READERS: dict[int, Callable[[bytes], object]] = {
    Code.SERVER_NAME: server_name,
    Code.SUPPORTED_GROUPS: u16_list,
    Code.EC_POINT_FORMATS: point_formats,
    Code.SIGNATURE_ALGORITHMS: u16_list,
    Code.ALPN: alpn,
    Code.CLIENT_CERTIFICATE_TYPE: certificate_types,
    Code.SERVER_CERTIFICATE_TYPE: certificate_types,
    Code.COMPRESS_CERTIFICATE: u16_short_list,
    Code.SUPPORTED_VERSIONS: offered_versions,
    Code.PSK_KEY_EXCHANGE_MODES: u8_list,
    Code.SIGNATURE_ALGORITHMS_CERT: u16_list,
    Code.KEY_SHARE: client_key_shares,
}
SERVER_READERS: dict[int, Callable[[bytes], object]] = {
    Code.ALPN: alpn,
    Code.EC_POINT_FORMATS: point_formats,
    Code.PRE_SHARED_KEY: selected_identity,
    Code.CLIENT_CERTIFICATE_TYPE: selected_certificate_type,
    Code.SERVER_CERTIFICATE_TYPE: selected_certificate_type,
    Code.SUPPORTED_VERSIONS: selected_version,
    Code.KEY_SHARE: server_key_share,
}
