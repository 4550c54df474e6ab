"""Pseudonyms: what replaces an address, a name or opaque bytes, always of the same length and the same for the same.

All of them hang on a key that is drawn anew for each run and forgotten, so that nobody can try out names. No more of
the original shows than which values are equal, how long they are, and of words where letters, digits and capitals are.
"""

import re
from hashlib import shake_256

_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_FIRST_IPV4 = 240 << 24  # addresses are numbered from 240.0.0.1 on: reserved (RFC 1112 4), so nobody's in a capture
_FIRST_IPV6 = 0x0100 << 112  # and from 100::1 on: the discard prefix (RFC 6666)
_SHORT = 5  # letters of words that are rotated one by one, so that two of them never become one


class Pseudonyms:
    r"""Replaces values by others.

    >>> names = Pseudonyms(b"key")
    >>> len(names.text(b"www.Example.com")), names.text(b"*.example.com") in names.text(b"www.example.com")
    (15, False)
    >>> names.text(b"*.example.com")[1:] == names.text(b"www.example.com")[3:]
    True
    >>> names.address(b"\xc0\x00\x02\x01").hex(), names.address(b"\xc0\x00\x02\x01").hex()
    ('f0000001', 'f0000001')
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._addresses: dict[bytes, bytes] = {}

    def noise(self, value: bytes) -> bytes:
        """Replace opaque bytes: equal ones by equal ones."""
        return self._digest(b"noise", value, len(value))

    def address(self, address: bytes) -> bytes:
        """Replace an address of 4 or 16 bytes; no two by the same."""
        if address not in self._addresses:
            first = _FIRST_IPV4 if len(address) == 4 else _FIRST_IPV6
            self._addresses[address] = (first + len(self._addresses) + 1).to_bytes(len(address))
        return self._addresses[address]

    def text(self, text: bytes) -> bytes:
        """Replace the words of a text, such as the labels of a host name; what stands between them stays."""
        return _WORD.sub(lambda found: self.word(found[0]), text)

    def word(self, word: bytes) -> bytes:
        """Replace a word, letters by letters and digits by digits, whatever its capitals; they stay where they are."""
        plain = word.lower()
        replace = self._rotated if len(word) <= _SHORT else self._hashed
        return bytes(new - 32 if chr(old).isupper() else new for old, new in zip(word, replace(plain), strict=True))

    def _hashed(self, word: bytes) -> bytes:
        for attempt in range(4):
            noise = self._digest(b"word %d" % attempt, word, 2 * len(word))
            found = bytes(_of_class(old, int.from_bytes(noise[2 * at : 2 * at + 2])) for at, old in enumerate(word))
            if found != word:
                break
        return found

    def _rotated(self, word: bytes) -> bytes:
        """Turn each letter on by what the letters before it say: no two words become one, and no letter stays."""
        found = bytearray()
        for at, old in enumerate(word):
            turn = int.from_bytes(self._digest(b"turn", word[:at], 4))
            count = 10 if _is_digit(old) else 26
            found.append(_of_class(old, _place(old) + 1 + turn % (count - 1)))
        return bytes(found)

    def _digest(self, use: bytes, value: bytes, size: int) -> bytes:
        return shake_256(b"%d %s %s" % (len(self._key), self._key, use) + b"\0" + value).digest(size)


def _is_digit(letter: int) -> bool:
    return 48 <= letter <= 57


def _place(letter: int) -> int:
    return letter - 48 if _is_digit(letter) else letter - 97


def _of_class(old: int, place: int) -> int:
    """The digit or letter at a place of its alphabet; what is neither becomes a letter."""
    return 48 + place % 10 if _is_digit(old) else 97 + place % 26
