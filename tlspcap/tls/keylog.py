"""Key logs in NSS's format (RFC 9850, SSLKEYLOGFILE): the secrets of handshakes, looked up by client random.

They are secrets: nothing here shows one, not in a repr, not in an error. A line that does not parse is counted and
passed over, since a program that crashed leaves half of one.
"""

import re
from collections.abc import Iterator
from typing import Final

MASTER: Final = "CLIENT_RANDOM"  # of SSL 3.0 to TLS 1.2: the master secret
EARLY: Final = "CLIENT_EARLY_TRAFFIC_SECRET"
CLIENT_HANDSHAKE: Final = "CLIENT_HANDSHAKE_TRAFFIC_SECRET"
SERVER_HANDSHAKE: Final = "SERVER_HANDSHAKE_TRAFFIC_SECRET"
CLIENT_TRAFFIC: Final = "CLIENT_TRAFFIC_SECRET_0"
SERVER_TRAFFIC: Final = "SERVER_TRAFFIC_SECRET_0"
USED = frozenset((MASTER, EARLY, CLIENT_HANDSHAKE, SERVER_HANDSHAKE, CLIENT_TRAFFIC, SERVER_TRAFFIC))

RANDOM_BYTES = 32
MASTER_BYTES = (48,)  # RFC 5246 8.1
SECRET_BYTES = (32, 48)  # one hash, of the suites that there are (RFC 8446 7.1)
MOST_BYTES = 64 << 20  # of a key log that are read
MOST_CANDIDATES = 4  # different secrets kept for one label of one handshake: the first may be damaged
LABEL = re.compile(r"[A-Z][A-Z0-9_]{1,63}")
NEVER = 1 << 62  # a frame behind all others

Secrets = dict[str, tuple[bytes, ...]]  # label -> candidates, in order


class KeyLog:
    r"""The secrets of some handshakes. What stands in a capture counts for packets behind it.

    >>> log = KeyLog()
    >>> log.add(b"CLIENT_RANDOM " + b"ab" * 32 + b" " + b"cd" * 48 + b"\nhalf of a li")
    >>> log, log.unread, sorted(log.find(bytes([0xab] * 32), frame=1))
    (<KeyLog of 1 handshakes>, 1, ['CLIENT_RANDOM'])
    """

    def __init__(self, given: "KeyLog | None" = None) -> None:
        """`given`: a log whose secrets count as well; those come first."""
        self.unread: int = given.unread if given else 0  # lines that are not in the format
        self.cut: bool = given.cut if given else False  # there was more than is read
        self.since: int = given.since if given else NEVER  # packets up to this frame have no keys
        self._given = given
        self._lines: dict[bytes, list[tuple[str, bytes, int]]] = {}  # client random -> label, secret, since
        self._bytes = 0

    def __repr__(self) -> str:
        """Say how many handshakes there are secrets of, and nothing more."""
        return f"<KeyLog of {len(self)} handshakes>"

    def __len__(self) -> int:
        """Handshakes of which there is a secret."""
        return len(self._lines) + (len(self._given) if self._given else 0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was given to it, not even what cannot be used."""
        return self._bytes == 0 and (self._given is None or self._given.is_empty)

    def add(self, content: bytes, since: int = 0) -> None:
        """Take the lines of a key log, which count for packets behind frame `since`."""
        if self._bytes + len(content) > MOST_BYTES:
            content, self.cut = content[: MOST_BYTES - self._bytes], True
        self._bytes += len(content)
        for line in content.splitlines():
            self._add_line(line, since)

    def find(self, random: bytes, frame: int) -> Secrets:
        """The secrets of a handshake, by its client random, that count for a packet; none where there are none."""
        found: Secrets = {}
        for label, secret, since in self._all(random):
            candidates = found.get(label, ())
            if since < frame and secret not in candidates and len(candidates) < MOST_CANDIDATES:
                found[label] = (*candidates, secret)
        return found

    def _all(self, random: bytes) -> Iterator[tuple[str, bytes, int]]:
        if self._given is not None:
            yield from self._given._all(random)
        yield from self._lines.get(random, ())

    def _add_line(self, line: bytes, since: int) -> None:
        words = line.split()
        if not words or words[0].startswith(b"#"):
            return
        label = words[0].decode("ascii", "replace")
        if label in USED:
            self.unread += not self._keep(label, words[1:], since)
        elif not LABEL.fullmatch(label) or len(words) < 3:  # secrets of other kinds are of no use here
            self.unread += 1

    def _keep(self, label: str, words: list[bytes], since: int) -> bool:
        """Keep a secret; False where what stands behind the label is none."""
        try:
            random, secret = (bytes.fromhex(word.decode("ascii")) for word in words)
        except ValueError:  # not two words, or not in hexadecimal; the error would show them
            return False
        lengths = MASTER_BYTES if label == MASTER else SECRET_BYTES
        if len(random) != RANDOM_BYTES or len(secret) not in lengths:
            return False
        known = self._lines.setdefault(random, [])
        if len(known) < MOST_CANDIDATES * len(USED):
            known.append((label, secret, since))
        self.since = min(self.since, since)
        return True
