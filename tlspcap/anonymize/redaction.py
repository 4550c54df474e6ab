"""Writing a structure anew while it is read: lengths and codes stay, contents are replaced, and no length changes.

Where lengths do not fit, what is left becomes noise; so a message that did not parse does not parse at the same place.
"""

from collections.abc import Callable
from contextlib import suppress

from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.tls.cursor import Cursor, Malformed

Replace = Callable[[bytes], bytes]


def keep(content: bytes) -> bytes:
    """Leave something as it is."""
    return content


class Redaction:
    """One structure, read from its first byte on, and what is written in its place."""

    def __init__(self, data: bytes, names: Pseudonyms) -> None:
        self.read, self.names = Cursor(data, "redaction"), names
        self._out: list[bytes] = []

    @property
    def at_end(self) -> bool:
        """Whether every byte was read."""
        return self.read.at_end

    def keep(self, count: int) -> bytes:
        """Leave some bytes as they are, and return them."""
        self._out.append(self.read.take(count))
        return self._out[-1]

    def replace(self, count: int, replace: Replace | None = None) -> None:
        """Replace some bytes, by noise unless told otherwise."""
        content = self.read.take(count)
        self._out.append((replace or self.names.noise)(content))

    def vector(self, width: int, replace: Replace | None = None) -> None:
        """Leave a length of some bytes, and replace what it counts, by noise unless told otherwise."""
        self.replace(int.from_bytes(self.keep(width)), replace)

    def written(self) -> bytes:
        """Return what stands in the structure's place."""
        self._out.append(self.names.noise(self.read.rest()))
        return b"".join(self._out)


def redact(data: bytes, names: Pseudonyms, work: Callable[[Redaction], object]) -> bytes:
    r"""Let `work` read and replace a structure; what it leaves, or cannot read, becomes noise.

    >>> redact(b"\x00\x02hi\x01", Pseudonyms(b""), lambda found: found.vector(2, keep))[:4]
    b'\x00\x02hi'
    """
    found = Redaction(data, names)
    with suppress(Malformed):
        work(found)
    return found.written()


def each(names: Pseudonyms, work: Callable[[Redaction], object]) -> Replace:
    """Make what replaces a list: `work` is done until its end."""

    def all_of_them(found: Redaction) -> None:
        while not found.at_end:
            work(found)

    return lambda content: redact(content, names, all_of_them)
