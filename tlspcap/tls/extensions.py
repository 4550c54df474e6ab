"""The extension block of hellos and its contents: every extension kept as (code, bytes), the ones that matter read.

Reading is lenient: content that does not parse reads as absent, and `Extensions.malformed` says of which extension,
so that one odd extension never hides the rest of a hello.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, NamedTuple, TypeVar

from tlspcap.tls.cursor import Cursor, Malformed, u16_values
from tlspcap.tls.names import ExtensionType as Code
from tlspcap.tls.names import is_grease, version_rank
from tlspcap.tls.remembering import ENTRIES, remembered

_unpack = Struct(">HH").unpack_from
_NAME_HEADER = Struct(">HBH")  # length of the list; type and length of the name
_HOST_NAME = 0  # NameType (RFC 6066 3)
LONGEST = 2_048  # bytes of a block whose layout is remembered; a hello with a hybrid key share has 1,700
MOST_OF_LAYOUT = 64  # extensions of it

T = TypeVar("T")


class _Layout(NamedTuple):
    """Where the extensions of a block lie: the same for hellos of one kind, whatever their keys and names are."""

    codes: tuple[int, ...]
    lengths: tuple[int, ...]
    places: dict[int, int]  # of each code, the first: RFC 8446 4.2 forbids several of one type
    unpack: Callable[[bytes], tuple[Any, ...]] | None  # into code, length, content of each; None while seen but once

    def known(self) -> "_Layout":
        """Return the same, ready to read blocks by."""
        return self._replace(unpack=Struct(">" + "".join([f"HH{length}s" for length in self.lengths])).unpack)


_LAYOUTS: dict[tuple[int, bytes], _Layout] = {}  # by length, and by how the first extension begins


def _places(raw: tuple[tuple[int, bytes], ...]) -> dict[int, int]:
    return {raw[place][0]: place for place in range(len(raw) - 1, -1, -1)}


def _remember(key: tuple[int, bytes], raw: tuple[tuple[int, bytes], ...], before: _Layout | None) -> dict[int, int]:
    """Keep the layout of a block, ready to be used where it came twice running; return the places."""
    codes, lengths = tuple([code for code, _ in raw]), tuple([len(content) for _, content in raw])
    layout = _Layout(codes, lengths, _places(raw), None)
    if key[0] <= LONGEST and 0 < len(raw) <= MOST_OF_LAYOUT:
        if len(_LAYOUTS) >= ENTRIES:
            _LAYOUTS.clear()
        again = before is not None and (before.codes, before.lengths) == (codes, lengths)
        _LAYOUTS[key] = layout.known() if again else layout
    return layout.places


@dataclass(slots=True, init=False, unsafe_hash=True)  # never changed; frozen, it would take twice as long to make
class Extensions:
    """The extensions of one message in wire order, GREASE included, contents unread (RFC 8446 4.2)."""

    raw: tuple[tuple[int, bytes], ...]
    _places: dict[int, int] = field(repr=False, compare=False)  # of each type, the first; shared by hellos of a kind

    def __init__(self, raw: tuple[tuple[int, bytes], ...] = (), places: dict[int, int] | None = None) -> None:
        self.raw = raw
        self._places = _places(raw) if places is None else places

    @classmethod
    def parse(cls, block: bytes, where: str) -> "Extensions":
        """Split an extension block (without its own length) into its extensions."""
        key = len(block), block[:4]
        layout = _LAYOUTS.get(key)
        if layout is not None:
            codes, lengths, places, unpack = layout
            if unpack is not None:
                found = unpack(block)
                if found[::3] == codes and found[1::3] == lengths:
                    return cls(tuple(zip(codes, found[2::3], strict=False)), places)
        raw = tuple(_pairs(block, where))
        return cls(raw, _remember(key, raw, layout))

    @property
    def codes(self) -> tuple[int, ...]:
        """Extension types in wire order, GREASE included."""
        return tuple([code for code, _ in self.raw])

    def get(self, wanted: int) -> bytes | None:
        """Return the content of an extension, None where it is absent."""
        place = self._places.get(wanted)
        return None if place is None else self.raw[place][1]

    def __contains__(self, wanted: int) -> bool:
        return wanted in self._places

    def read(self, wanted: int, reader: Callable[[bytes], T]) -> T | None:
        """Return what `reader` makes of an extension; None where it is absent or does not parse."""
        place = self._places.get(wanted)
        if place is None:
            return None
        try:
            return reader(self.raw[place][1])
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
