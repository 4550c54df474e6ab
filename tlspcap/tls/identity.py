r"""Whether a certificate is for a name: matching of RFC 9525, which replaced RFC 6125.

Only subject alternative names count; a common name is read for those that still rely on it, and said to be no match.
"""

import ipaddress
import re
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST = 253  # characters of a host name (RFC 1035 2.3.4)
_NUMERIC_END = re.compile(r":|(?:^|\.)\d+$")  # no top-level domain is a number: what ends so can be an address only
_PART = re.compile(r"((?:[^,+\\]|\\.)*)([,+]|$)", re.DOTALL)  # of a name of RFC 4514, up to a sign not escaped
_ESCAPE = re.compile(r"\\(?:([0-9A-Fa-f]{2})|(.))", re.DOTALL)


class Identity:
    """The subject alternative names of one certificate, ready to be asked for many names.

    >>> shop = Identity(["shop.example", "*.cdn.example", "192.0.2.7"])
    >>> [shop.covers(name) for name in ("SHOP.example.", "a.cdn.example", "a.b.cdn.example", "cdn.example")]
    [True, True, False, False]
    >>> shop.covers("192.0.2.7"), Identity(["*.2.7"]).covers("192.0.2.7")
    (True, False)
    """

    __slots__ = ("_addresses", "_names", "_parents")

    def __init__(self, alternative_names: Iterable[str]) -> None:
        self._names: set[str] = set()
        self._parents: set[str] = set()  # of wildcards: what stands behind the star and its dot
        self._addresses: set[Address] = set()
        for name in alternative_names:
            self._take(name)

    def _take(self, name: str) -> None:
        address = _address(name)
        if address is not None:
            self._addresses.add(address)
            return
        plain = _plain(name)
        # the star is the whole left-most label, or it is no wildcard (RFC 9525 6.3)
        if plain.startswith("*.") and "*" not in plain[1:]:
            self._parents.add(plain[2:])
        else:
            self._names.add(plain)

    def covers(self, name: str) -> bool:
        """Whether the certificate is for this name: a host name, or an IP address as text."""
        address = _address(name)
        if address is not None:  # an address matches an address, never a name or wildcard (RFC 9525 6.4)
            return address in self._addresses
        plain = _plain(name)
        first, _, parent = plain.partition(".")
        return bool(plain) and (plain in self._names or (bool(first) and parent in self._parents))


def is_address(name: str) -> bool:
    """Whether a name is an IP address as text, in brackets or not."""
    return _address(name) is not None


def _address(name: str) -> Address | None:
    if not _NUMERIC_END.search(name):
        return None
    try:
        return ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return None


def _plain(name: str) -> str:
    """A host name as it is compared: lower case, in A-labels, without the root's dot (RFC 9525 6.3, RFC 5891 5)."""
    plain = name.removesuffix(".").lower()
    if plain.isascii() or len(plain) > _LONGEST:
        return plain
    try:
        return plain.encode("idna").decode("ascii")
    except UnicodeError:
        return plain


def common_names(subject: str) -> list[str]:
    r"""Return the common names in a subject as RFC 4514 writes it, unescaped.

    >>> common_names("CN=a.example,O=Shop\\, Ltd+CN=b.example"), common_names("O=CN=c.example")
    (['a.example', 'b.example'], [])
    """
    parts = (found[1] for found in _PART.finditer(subject))
    return [_ESCAPE.sub(_unescaped, part[3:]) for part in parts if part[:3].upper() == "CN="]


def _unescaped(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else found[2]
