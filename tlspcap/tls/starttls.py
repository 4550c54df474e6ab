r"""The ways into TLS from another protocol, as a table: what asks for it, and which answer is a yes or a no.

A `Way` is recognised by the bytes that one side's speech ends with, so that the next byte of that side may begin a
hello. What comes before is not parsed: of a long dialogue only the request matters, and the few words that tell which
protocol it is where several share a request.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from tlspcap.tls.quoting import quote

MAX_OPENING = 4_096  # first bytes of a side in which the words that tell a protocol are looked for
QUOTED = 120  # bytes of a request or an answer that a note shows

Pattern = re.Pattern[bytes]
Said = bytes | bytearray
_NO_CODES: Mapping[int, str] = MappingProxyType({})


class Way(NamedTuple):
    """One protocol from which a conversation goes over to TLS."""

    name: str  # its value in the `starttls` column
    request: Pattern  # ends what the asking side said; group `what` is its text, where it is text
    answer: Pattern | None  # in what the other side says then: a yes where group `yes` takes part, else a no
    speaks: Pattern | None = None  # said by either side: which protocol, where others ask in the same words
    called: str = ""  # what a request is called that is no text
    reach: int = 128  # the most bytes that the request takes
    opens: bool = False  # nothing but such messages comes before it
    ends: tuple[bytes, ...] = (b"\n",)  # what its last bytes are one of: cheap to tell before `request` is tried
    codes: Mapping[int, str] = _NO_CODES  # what a refusal's code means, where it is one byte


class Answer(NamedTuple):
    """What the other side said to a request."""

    accepted: bool
    text: str  # escaped


def asked(said: Said, other: Said) -> tuple[Way, ...]:
    r"""The way that a side asks for with the last of what it said; `other` is what the other side said.

    Several, where they ask in the same words and nothing else was said that tells them apart.

    >>> [way.name for way in asked(b"EHLO a.example\r\nSTARTTLS\r\n", b"220 mx.example ESMTP\r\n")]
    ['smtp']
    >>> [way.name for way in asked(b"a1 STARTTLS\r\n", b"")], len(asked(b"STARTTLS\r\n", b""))
    (['imap'], 4)
    """
    ways = tuple(way for way in WAYS if _request(way, said))
    fitting = tuple(way for way in ways if _fits(way, said, other))
    return fitting[:1] or ways


def request_text(way: Way, said: Said) -> str:
    """What a request looks like to a reader: its text, escaped and in quotes, or what it is called."""
    found = None if way.called else _request(way, said)
    return quote(found["what"], QUOTED) if found else way.called


def answered(way: Way, said: Said) -> Answer | None:
    r"""The answer to a request in what the other side `said` since; None while there is none.

    >>> answered(BY_NAME["smtp"], b"454 4.7.0 not now\r\n")
    Answer(accepted=False, text='"454 4.7.0 not now"')
    >>> answered(BY_NAME["ldap"], bytes.fromhex("300c02010178070a010204000400"))
    Answer(accepted=False, text='protocolError (2)')
    """
    found = way.answer and way.answer.search(said)
    if not found:
        return None
    groups = found.groupdict()
    if way.codes and groups["yes"] is None:
        code = (groups["no"] or b"\0")[0]
        return Answer(False, f"{way.codes.get(code, 'unassigned code')} ({code})")
    return Answer(groups["yes"] is not None, quote(groups.get("said") or groups["yes"] or groups["no"], QUOTED))


def _request(way: Way, said: Said) -> re.Match[bytes] | None:
    """The request, where it is the last that was said."""
    if not said.endswith(way.ends) or (way.opens and len(said) > way.reach):
        return None
    return way.request.search(said[-way.reach :])


def _fits(way: Way, *said: Said) -> bool:
    """Whether what the sides said first is of that protocol, where the request alone does not tell."""
    return way.speaks is None or any(way.speaks.search(words[:MAX_OPENING]) for words in said)


def _line(words: bytes) -> Pattern:
    """A request that is a line of text."""
    return re.compile(rb"(?:\A|\n)(?P<what>" + words + rb")[ \t]*\r?\n\Z", re.IGNORECASE)


def _reply(yes: bytes, no: bytes) -> Pattern:
    """An answer that is a line of text, which begins with one of two expressions."""
    return re.compile(
        rb"^(?P<said>(?:(?P<yes>" + yes + rb")|(?P<no>" + no + rb"))\b[^\r\n]*)\r?\n", re.IGNORECASE | re.MULTILINE
    )


def _words(expression: bytes) -> Pattern:
    """Words at the start of a line."""
    return re.compile(rb"^(?:" + expression + rb")", re.IGNORECASE | re.MULTILINE)


def _binary(expression: bytes) -> Pattern:
    return re.compile(expression, re.DOTALL)


_CLIENT_SSL = b"[" + b"".join(re.escape(bytes([code])) for code in range(256) if code & 0x08) + b"]"
# RFC 4511 4.1.9
_LDAP_CODES = {
    1: "operationsError", 2: "protocolError", 8: "strongerAuthRequired", 10: "referral", 51: "busy", 52: "unavailable",
    53: "unwillingToPerform", 80: "other",
}  # fmt: skip
# MS-RDPBCGR 2.2.1.2.2; 0 is the protocol that RDP_NEG_RSP names for "no TLS"
_RDP_CODES = {
    0: "standard RDP security", 1: "SSL_REQUIRED_BY_SERVER", 2: "SSL_NOT_ALLOWED_BY_SERVER",
    3: "SSL_CERT_NOT_ON_SERVER", 4: "INCONSISTENT_FLAGS", 5: "HYBRID_REQUIRED_BY_SERVER",
    6: "SSL_WITH_USER_AUTH_REQUIRED_BY_SERVER",
}  # fmt: skip
_SOCKS4_CODES = {91: "request rejected or failed", 92: "no identd on the client", 93: "identd names another user"}
# RFC 1928 6
_SOCKS5_CODES = {
    1: "general SOCKS server failure", 2: "connection not allowed by ruleset", 3: "network unreachable",
    4: "host unreachable", 5: "connection refused", 6: "TTL expired", 7: "command not supported",
    8: "address type not supported",
}  # fmt: skip

WAYS = (
    # RFC 3207 4; LMTP (RFC 2033) says LHLO
    Way("smtp", _line(rb"STARTTLS"), _reply(rb"220", rb"[45]\d\d"), _words(rb"220[ -]|(?:EHLO|HELO|LHLO) ")),
    # RFC 4642 2.2
    Way("nntp", _line(rb"STARTTLS"), _reply(rb"382", rb"[45]\d\d"), _words(rb"20[01] |CAPABILITIES\b|MODE READER\b")),
    # RFC 5804 2.2: the server's greeting is a list of capabilities in quotes
    Way("sieve", _line(rb"STARTTLS"), _reply(rb"OK", rb"NO|BYE"), _words(rb'"[A-Z]+"')),
    # ircv3.net, tls: numerics 670, 691; 421 and 451 from servers that do not know the command
    Way("irc", _line(rb"STARTTLS"), _reply(rb"(?::\S+ )?670", rb"(?::\S+ )?(?:691|421|451)"),
        _words(rb":\S+ (?:NOTICE|CAP|\d\d\d) |NOTICE |(?:CAP|NICK|USER|PASS) ")),
    # RFC 9051 6.2.1 (RFC 2595 3): a tag of the client's own, which the answer repeats
    Way("imap", _line(rb"(?!\*)[^\s]{1,64} STARTTLS"), _reply(rb"(?!\*)\S+ OK", rb"(?!\*)\S+ (?:NO|BAD)")),
    # RFC 2595 4
    Way("pop3", _line(rb"STLS"), _reply(rb"\+OK", rb"-ERR")),
    # RFC 4217 4; the forms beside TLS are older than it
    Way("ftp", _line(rb"AUTH (?:TLS|SSL|TLS-[CP])"), _reply(rb"234", rb"[45]\d\d")),
    # RFC 6120 5.4.2
    Way("xmpp", _binary(rb"(?P<what><(?:\w{1,20}:)?starttls\b[^<>]*(?:/>|>\s*</(?:\w{1,20}:)?starttls\s*>))\s*\Z"),
        _binary(rb"(?P<said><(?:\w{1,20}:)?(?:(?P<yes>proceed)|(?P<no>failure))\b[^>]*>)"), reach=512,
        ends=(b">", b"\n", b" ")),
    # RFC 4511 4.12 and 4.14.1: ExtendedRequest [APPLICATION 23] with the OID, ExtendedResponse [APPLICATION 24]
    Way("ldap", _binary(rb"\x30.{1,5}\x02.{2,5}\x77.{1,5}\x80\x161\.3\.6\.1\.4\.1\.1466\.20037\Z"),
        _binary(rb"\x30.{3,11}?\x78.{1,5}?\x0a\x01(?:(?P<yes>\x00)|(?P<no>.))"), called="StartTLS", ends=(b".20037",),
        codes=_LDAP_CODES),
    # PostgreSQL 55.8, SSLRequest, perhaps behind a GSSENCRequest; an answer E is an error of an old server
    Way("postgresql", _binary(rb"\A(?:\x00\x00\x00\x08\x04\xd2\x16\x30)?\x00\x00\x00\x08\x04\xd2\x16\x2f\Z"),
        _binary(rb"\A(?:(?P<yes>S)|(?P<no>N|E.*))"), called="SSLRequest", opens=True, ends=(b"\x2f",)),
    # MySQL, Protocol::SSLRequest: packet 1 of 32 bytes, CLIENT_SSL among the capability flags. Nothing answers it.
    Way("mysql", _binary(rb"\A\x20\x00\x00\x01." + _CLIENT_SSL + rb".{7}.{23}\Z"), None, called="SSLRequest",
        opens=True, ends=(b"",)),
    # MS-RDPBCGR 2.2.1.1 and 2.2.1.2: X.224 connection request with RDP_NEG_REQ, confirm with RDP_NEG_RSP or a failure
    Way("rdp", _binary(rb"\A\x03\x00...\xe0.{5}(?:[^\r\n]*\r\n)?\x01.\x08\x00(?!\x00{4}).{4}(?:\x06.{35})?\Z"),
        _binary(rb"\x03\x00..(?:\x0e\xd0.{5}(?:\x02.\x08\x00(?P<yes>[^\x00])|[\x02\x03].\x08\x00(?P<no>.))|\x06\xd0.{5})"),
        called="RDP_NEG_REQ", reach=512, opens=True, ends=(b"\0",), codes=_RDP_CODES),
    # RFC 9110 9.3.6
    Way("connect", re.compile(rb"(?:\A|\n\r?\n)(?P<what>CONNECT \S+ HTTP/1\.[01])\r?\n(?:[^\r\n]+\r?\n)*\r?\n\Z"),
        _reply(rb"HTTP/1\.[01] 2\d\d", rb"HTTP/1\.[01] [3-5]\d\d"), reach=8_192, ends=(b"\n\r\n", b"\n\n")),
    # SOCKS4 and 4a: an address 0.0.0.x stands for the name behind the user
    Way("socks4", _binary(rb"\A\x04\x01..(?:\x00{3}[^\x00][^\x00]*\x00[^\x00]+|(?!\x00{3}[^\x00]).{4}[^\x00]*)\x00\Z"),
        _binary(rb"\A\x00(?:(?P<yes>\x5a)|(?P<no>[\x5b-\x5d])).{6}"), called="SOCKS4 CONNECT", reach=1_024,
        opens=True, ends=(b"\0",), codes=_SOCKS4_CODES),
    # RFC 1928 3, 4 and 6; RFC 1929 may stand between greeting and request
    Way("socks5", _binary(rb"\A\x05[^\x00].{1,640}?\x05\x01\x00(?:\x01.{4}|\x04.{16}|\x03.{2,256})..\Z"),
        _binary(rb"\x05(?:(?P<yes>\x00)|(?P<no>[\x01-\x08]))\x00[\x01\x03\x04]"), called="SOCKS5 CONNECT", reach=640,
        opens=True, ends=(b"",), codes=_SOCKS5_CODES),
)  # fmt: skip
BY_NAME = {way.name: way for way in WAYS}


def proxy_header(said: Said) -> int:
    r"""Length of the PROXY protocol header that some bytes begin with (HAProxy's specification, 2.1 and 2.2), else 0.

    >>> proxy_header(b"PROXY TCP4 192.0.2.1 192.0.2.2 49152 443\r\nmore"), proxy_header(b"PROXY TC")
    (42, 0)
    """
    if said[:12] == b"\r\n\r\n\x00\r\nQUIT\n":
        length = 16 + int.from_bytes(said[14:16])
        return length if 16 <= len(said) >= length else 0
    found = _PROXY.match(said)
    return found.end() if found else 0


_PROXY = re.compile(rb"PROXY (?:TCP4|TCP6|UNKNOWN)[^\r\n]{0,90}\r\n")
