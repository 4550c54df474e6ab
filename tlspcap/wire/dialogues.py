"""What the first bytes of a segment look like: the begin of a dialogue that may go over to TLS (STARTTLS, a proxy).

Such a conversation is handed on before a hello is seen, since the hello may come late, or inside a segment, or never,
and `tls` knows how to read on. A look at a few bytes: what only looks like one is given up there.
"""

import numpy as np

from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.distinct import among
from tlspcap.wire.hello import Mask

HEAD = 6  # bytes looked at
LDAP_START_TLS = b"0037"  # what LDAP's request for TLS ends with: the last digits of its OID (RFC 4511 4.14.1)

# Greetings and commands in text, by their first four bytes
WORDS = (
    b"220 ", b"220-", b"EHLO", b"HELO", b"LHLO", b"STAR",  # SMTP, FTP, LMTP
    b"* OK", b"* PR",  # IMAP
    b"+OK ",  # POP3
    b"200 ", b"201 ",  # NNTP
    b'"IMP', b'"SIE', b'"SAS', b'"STA', b'"VER', b'"NOT', b'"MAX',  # ManageSieve: capabilities in any order
    b"<?xm", b"<str",  # XMPP
    b"CAP ", b"NICK", b"PASS", b"USER",  # IRC
    b"CONN",  # CONNECT
    b"PROX",  # PROXY protocol, version 1
)  # fmt: skip
# The same of messages that are no text
MESSAGES = (
    b"\r\n\r\n",  # PROXY protocol, version 2
    b"\x00\x00\x00\x08",  # PostgreSQL, SSLRequest or GSSENCRequest
    b"\x20\x00\x00\x01",  # MySQL, SSLRequest
)


def _numbers(words: tuple[bytes, ...], length: int = 4) -> Int64:
    return np.array(sorted({int.from_bytes(word[:length]) for word in words}), dtype=np.int64)


_NUMBERS = _numbers(WORDS + MESSAGES)
_BEGUN = {length: _numbers(WORDS, length) for length in (1, 2, 3)}  # words that a short segment may begin
_FIRST = np.zeros(256, dtype=np.bool_)  # the first bytes of all that is looked for
_FIRST[[word[0] for word in WORDS + MESSAGES] + [3, 4, 5, 0x30]] = True


def begin_dialogue(buffer: Bytes, start: Int64, captured: Int64) -> Mask:
    r"""Whether each segment begins a dialogue that may go over to TLS.

    >>> buffer = np.frombuffer(b"220 mx.example\r\nGET /", dtype=np.uint8)
    >>> begin_dialogue(buffer, np.array([0, 16]), np.array([16, 5])).tolist()
    [True, False]
    """
    found = np.zeros(len(start), dtype=np.bool_)
    rows = np.flatnonzero(captured > 0)
    rows = rows[_FIRST[buffer[start[rows]]]]
    if len(rows):
        start, captured = start[rows], captured[rows]
        head = _bytes(buffer, start, HEAD)
        found[rows] = _text(head, captured) | _proxy(head, captured) | _request(buffer, head, start, captured)
    return found


def _bytes(buffer: Bytes, start: Int64, count: int) -> Int64:
    """Return so many bytes from each start on, one row each; the buffer's last one beyond its end."""
    at = np.minimum(start[:, None] + np.arange(count), len(buffer) - 1)
    taken: Int64 = buffer[np.maximum(at, 0)].astype(np.int64)
    return taken


def _word(head: Int64) -> Int64:
    word: Int64 = head[:, 0] << 24 | head[:, 1] << 16 | head[:, 2] << 8 | head[:, 3]
    return word


def _text(head: Int64, captured: Int64) -> Mask:
    """Whether a segment begins with one of the words, or is the begin of one (a stream that comes byte by byte)."""
    word = _word(head)
    found: Mask = (captured >= 4) & among(word, _NUMBERS)
    for length, begun in _BEGUN.items():
        found |= (captured == length) & among(word >> 8 * (4 - length), begun)
    return found


def _proxy(head: Int64, captured: Int64) -> Mask:
    """Whether a segment begins with a SOCKS4 request, or is a SOCKS5 greeting (RFC 1928 3): version, count, methods."""
    socks4: Mask = (head[:, 0] == 4) & (head[:, 1] == 1) & (captured >= 9)
    socks5: Mask = (head[:, 0] == 5) & (captured >= 3) & (head[:, 1] == captured - 2)
    return socks4 | socks5


def _request(buffer: Bytes, head: Int64, start: Int64, captured: Int64) -> Mask:
    """Whether a segment begins with an X.224 connection request (RDP), or with LDAP's request for TLS."""
    rdp: Mask = (_word(head) >> 8 == 0x030000) & (head[:, 5] == 0xE0) & (captured >= 11)
    length = np.where(head[:, 1] == 0x84, 6 + _word(head[:, 2:]), 2 + head[:, 1])  # BER: of four bytes, or in one
    ldap: Mask = (head[:, 0] == 0x30) & (length > 24) & (length <= captured)
    ldap &= _word(_bytes(buffer, np.where(ldap, start + length - 4, 0), 4)) == int.from_bytes(LDAP_START_TLS)
    return rdp | ldap
