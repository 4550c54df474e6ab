"""What is said before TLS, or in its place: words of the protocols stay, all others are replaced.

So STARTTLS and what a proxy is asked for are recognised as before, and an answer that is no TLS still reads as what it
is; who was greeted, by which software, and where a proxy was to connect to is gone.
"""

import re

from tlspcap.anonymize import asn1
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.anonymize.redaction import Redaction, redact
from tlspcap.tls import starttls

_WORD = re.compile(rb"[A-Za-z0-9\x80-\xff]+")
_ADDRESS = re.compile(
    rb"\[[0-9A-Fa-f:.]+\]|(?<![0-9.])\d{1,3}(?:\.\d{1,3}){3}(?![0-9.])|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:\S*"
)
_COOKIE = re.compile(rb"(mstshash=)([^\r\n]*)")  # MS-RDPBCGR 2.2.1.1
_MOST_DIGITS = 5  # of numbers that are codes, ports or sizes
_TEXT = 0.9  # share of printable bytes from which on something is text
_PROXY = 16  # bytes before the addresses of a PROXY protocol header in binary (HAProxy's specification, 2.2)

# Words of SMTP, IMAP, POP3, FTP, XMPP, IRC, NNTP, ManageSieve and HTTP, and what their servers say in them
_WORDS = frozenset(b"""
    ehlo helo lhlo starttls esmtp smtp lmtp size pipelining 8bitmime enhancedstatuscodes dsn auth plain login mail from
    rcpt to quit ok ready tls ssl start not now available unavailable command unrecognized error failed failure go ahead
    begin negotiation temporarily please try again later syntax unknown refused denied service closing transmission
    channel requested action aborted c p bye no bad capability capabilities imap imap4 imap4rev1 idle namespace id
    logindisabled literal completed stls stat user pass pop3 uidl top sasl resp codes err feat syst pbsz prot list
    reader mode post posting allowed continue sieve implementation version notice cap ls req end nick join ping pong
    xml stream streams features proceed required jabber client server xmlns urn ietf params ns xmpp etherx org lang en
    http https connect get head put options host proxy connection keep alive close agent content type length text
    html plain request forbidden found method required authentication gateway timeout internal bad url was the a this
    established of and is in for you are sent date location permanently moved status code reason upgrade accept
    ssh openssh doctype postgres tcp4 tcp6 support supported only speaking speak port enabled use used an on
    """.split())  # fmt: skip


def replaced(said: bytes, way: str | None, names: Pseudonyms) -> bytes:
    """Replace what one side said before TLS, where `way` led to it: a value of the `starttls` column."""
    header = starttls.proxy_header(said)
    if header and said[:1] == b"\r":
        return said[:_PROXY] + names.noise(said[_PROXY:header]) + replaced(said[header:], way, names)
    if way in _BINARY:
        return redact(said, names, _BINARY[way])
    return words(said, names) if _is_text(said) else bytes(len(said))


def words(said: bytes, names: Pseudonyms) -> bytes:
    r"""Replace the words of a text that belong to no protocol, and what may be an address.

    >>> words(b"EHLO www.example\r\n", Pseudonyms(b"x"))[:5]
    b'EHLO '
    """
    out, at = [], 0
    for found in _ADDRESS.finditer(said):
        out += [_words(said[at : found.start()], names), names.text(found[0])]
        at = found.end()
    return b"".join([*out, _words(said[at:], names)])


def _words(said: bytes, names: Pseudonyms) -> bytes:
    return _WORD.sub(lambda found: found[0] if _is_known(found[0]) else names.word(found[0]), said)


def _is_known(word: bytes) -> bool:
    return word.lower() in _WORDS or (word.isdigit() and len(word) <= _MOST_DIGITS)


def _is_text(said: bytes) -> bool:
    return sum(32 <= byte < 127 or byte in b"\t\r\n" for byte in said) >= _TEXT * len(said)


def _socks4(found: Redaction) -> None:
    """A request has a user and perhaps a name behind the address, the answer nothing."""
    request = found.keep(1)[0] == 4
    found.keep(3)
    named = request and found.read.data[4:7] == bytes(3)
    if named:
        found.keep(4)
    else:
        found.replace(4, lambda address: bytes(byte or 1 for byte in found.names.noise(address)))
    rest = len(found.read.data) - found.read.offset
    found.replace(rest, found.names.text)


def _socks5(found: Redaction) -> None:
    """Greeting, perhaps a user with a password, then the request; or the answers to them."""
    if found.read.data[1:2] == b"\0" or (len(found.read.data) > 2 and not _is_greeting(found.read.data)):
        found.keep(2)  # an answer to the greeting
    else:
        found.keep(1)
        found.keep(found.keep(1)[0])
    if found.read.data[found.read.offset : found.read.offset + 1] == b"\1":  # RFC 1929, or the answer to it
        found.keep(1)
        if len(found.read.data) - found.read.offset > 1 and found.read.data[found.read.offset + 1] != 5:
            found.vector(1, found.names.text)
            found.vector(1, found.names.text)
        else:
            found.keep(1)
    if not found.at_end:
        _socks5_address(found)


def _is_greeting(said: bytes) -> bool:
    behind = said[2 + said[1] : 3 + said[1]]
    return behind in (b"", b"\1", b"\5")


def _socks5_address(found: Redaction) -> None:
    found.keep(3)
    kind = found.keep(1)[0]
    if kind == 3:
        found.vector(1, found.names.text)
    else:
        found.replace(4 if kind == 1 else 16)
    found.keep(2)  # port


def _postgresql(found: Redaction) -> None:
    """Requests have no text in them, and an answer is one byte, unless it is an error."""
    rest = found.read.data
    found.replace(len(rest), lambda said: words(said, found.names) if said[:1] == b"E" else said)


def _mysql(found: Redaction) -> None:
    """The server's greeting tells its version up to a zero; what the client asks has no text in it."""
    content = found.read.data
    if content[:1] == b"\x20":
        found.keep(min(36, len(content)))
        return
    found.keep(5)
    found.replace(max(0, content.find(b"\0", 5) - 5), found.names.text)
    found.keep(len(content) - found.read.offset)


def _rdp(found: Redaction) -> None:
    names = found.names
    found.replace(len(found.read.data), lambda said: _COOKIE.sub(lambda user: user[1] + names.text(user[2]), said))


def _ldap(found: Redaction) -> None:
    found.replace(len(found.read.data), lambda said: asn1.replaced(said, found.names))


_BINARY = {
    "socks4": _socks4, "socks5": _socks5, "postgresql": _postgresql, "mysql": _mysql, "rdp": _rdp, "ldap": _ldap,
}  # fmt: skip
