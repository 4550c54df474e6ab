"""What the fuzz targets share: their names, and a reader of inputs that never runs out."""

TARGETS = (
    "files",
    "pcapng",
    "headers",
    "streams",
    "records",
    "messages",
    "hellos",
    "certificates",
    "dialogues",
    "handshakes",
    "keys",
)


class Input:
    """Reads a target's own little format from the bytes of an input; behind their end it reads zeros.

    >>> read = Input(bytes([7, 255, 254]))
    >>> read.u8(), read.i16(), read.left, read.u8()
    (7, -2, 0, 0)
    """

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """Read so many bytes, fewer at the end."""
        taken = self._data[self._at : self._at + count]
        self._at += len(taken)
        return taken

    def u8(self) -> int:
        """Read a byte as a number."""
        return int.from_bytes(self.take(1))

    def u16(self) -> int:
        """Read two bytes as a number."""
        return int.from_bytes(self.take(2).ljust(2, b"\0"))

    def i16(self) -> int:
        """Read two bytes as a number that may be negative."""
        return (self.u16() + 0x8000 & 0xFFFF) - 0x8000
