"""Bounds-checked reading of the presentation language of TLS (RFC 8446 3): integers and vectors, big-endian."""

from struct import Struct
from struct import error as StructError

_U16 = Struct(">H")
_U32 = Struct(">I")


class Malformed(Exception):
    """The bytes end too early or their lengths contradict each other. It never leaves `tlspcap.tls`."""

    def __init__(self, where: str, offset: int) -> None:
        super().__init__(f"{where}: lengths do not fit at byte {offset}")
        self.where = where
        self.offset = offset


class Cursor:
    r"""Reads one structure from its first byte to its last; raises Malformed rather than read beyond the end.

    >>> cursor = Cursor(b"\x03\x03\x02ab", "example")
    >>> cursor.u16(), cursor.vector8(), cursor.at_end
    (771, b'ab', True)
    """

    __slots__ = ("data", "offset", "where")

    def __init__(self, data: bytes, where: str) -> None:
        self.data = data
        self.where = where
        self.offset = 0

    @property
    def at_end(self) -> bool:
        """Whether every byte was read."""
        return self.offset >= len(self.data)

    def u8(self) -> int:
        """Read an uint8."""
        try:
            value = self.data[self.offset]
        except IndexError:
            raise Malformed(self.where, self.offset) from None
        self.offset += 1
        return value

    def u16(self) -> int:
        """Read an uint16."""
        try:
            value: int = _U16.unpack_from(self.data, self.offset)[0]
        except StructError:
            raise Malformed(self.where, self.offset) from None
        self.offset += 2
        return value

    def u24(self) -> int:
        """Read an uint24."""
        return int.from_bytes(self.take(3))

    def u32(self) -> int:
        """Read an uint32."""
        try:
            (value,) = _U32.unpack_from(self.data, self.offset)
        except StructError:
            raise Malformed(self.where, self.offset) from None
        self.offset += 4
        return int(value)

    def take(self, count: int) -> bytes:
        """Read exactly `count` bytes."""
        end = self.offset + count
        if end > len(self.data):
            raise Malformed(self.where, self.offset)
        value = self.data[self.offset : end]
        self.offset = end
        return value

    def rest(self) -> bytes:
        """Read all that is left."""
        value = self.data[self.offset :]
        self.offset = len(self.data)
        return value

    def vector8(self) -> bytes:
        """Read a vector<0..2^8-1>: an uint8 length and that many bytes."""
        data, start = self.data, self.offset + 1
        try:
            end = start + data[start - 1]
        except IndexError:
            raise Malformed(self.where, self.offset) from None
        return self._vector(start, end)

    def vector16(self) -> bytes:
        """Read a vector<0..2^16-1>."""
        data, start = self.data, self.offset + 2
        if start > len(data):
            raise Malformed(self.where, self.offset)
        return self._vector(start, start + (data[start - 2] << 8 | data[start - 1]))

    def _vector(self, start: int, end: int) -> bytes:
        """Read what lies behind a length that has been read."""
        if end > len(self.data):
            raise Malformed(self.where, start)
        self.offset = end
        return self.data[start:end]

    def vector24(self) -> bytes:
        """Read a vector<0..2^24-1>."""
        return self.take(self.u24())

    def u16_list(self) -> tuple[int, ...]:
        """Read a vector<0..2^16-1> of uint16."""
        return u16_values(self.vector16(), self.where)

    def vectors16(self) -> tuple[bytes, ...]:
        """Read a vector<0..2^16-1> of vectors of the same kind."""
        inner = Cursor(self.vector16(), self.where)
        values = []
        while not inner.at_end:
            values.append(inner.vector16())
        return tuple(values)


_U16_LISTS = tuple(Struct(f">{count}H") for count in range(65))  # formats of usual lengths, compiled once


def u16_values(data: bytes, where: str) -> tuple[int, ...]:
    r"""Return `data` as uint16 values.

    >>> u16_values(b"\x13\x01\x13\x02", "example")
    (4865, 4866)
    """
    count, odd = divmod(len(data), 2)
    if odd:
        raise Malformed(where, len(data))
    layout = _U16_LISTS[count] if count < len(_U16_LISTS) else Struct(f">{count}H")
    return layout.unpack(data)
