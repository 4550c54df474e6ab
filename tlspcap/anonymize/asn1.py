"""Certificates, names and other DER (X.690), replaced in place: tags, lengths, algorithms, dates and flags stay.

Names, keys, signatures, serial numbers and identifiers are replaced, each by something of its own kind, so that the
certificate still parses and its key is as large as it was. Equal values stay equal: a subject that was the issuer of
another certificate still is, and a name still fits, or does not fit, the host name that was asked for.
"""

from tlspcap.anonymize.curves import other_point
from tlspcap.anonymize.pseudonyms import Pseudonyms
from tlspcap.anonymize.redaction import Redaction, each, redact
from tlspcap.tls import der
from tlspcap.tls.cursor import Malformed

_BOOLEAN, _INTEGER, _BIT_STRING, _OCTET_STRING, _NULL, _IDENTIFIER = 1, 2, 3, 4, 5, 6
_ENUMERATED, _UTC_TIME, _TIME = 10, 23, 24
_KEPT = frozenset({_BOOLEAN, _NULL, _IDENTIFIER, _ENUMERATED, _UTC_TIME, _TIME})
_UTF16, _UTF32 = 30, 28  # BMPString, UniversalString
_STRINGS = frozenset({12, 18, 19, 20, 22, 26, 27, 29})  # of one byte a letter, and UTF-8
_CONSTRUCTED, _CONTEXT = 0x20, 0x80
_IP_ADDRESS = 0x87  # of GeneralName (RFC 5280 4.2.1.6)
_SMALL = 4  # bytes of an integer that is a version, a path length or an exponent
_FLAGS = 3  # bytes of a bit string that holds flags
_EC_KEY = "1.2.840.10045.2.1"
_TIMESTAMPS = bytes.fromhex("2b06010401d679020402")  # identifier of the SCT list (RFC 6962 3.3)
MOST_NESTED = 32
_START_TLS = b"1.3.6.1.4.1.1466.20037"  # RFC 4511 4.14.1: text, where LDAP is spoken


def replaced(data: bytes, names: Pseudonyms) -> bytes:
    """Return DER with what identifies replaced; what is no DER becomes noise."""
    try:
        return _elements(data, names, 0)
    except Malformed:
        return names.noise(data)


def certificate(data: bytes, names: Pseudonyms) -> bytes:
    """Return a certificate with what identifies replaced, its serial number included, however small that is."""
    new = bytearray(replaced(data, names))
    try:
        _, whole, _ = der.header(data, 0)
        _, at, _ = der.header(data, whole)
        if data[at : at + 1] == b"\xa0":  # version
            at = der.header(data, at)[2]
        tag, start, end = der.header(data, at)
    except Malformed:
        return bytes(new)
    if tag == _INTEGER:
        new[start:end] = _integer(data[start:end], names)
    return bytes(new)


def _elements(data: bytes, names: Pseudonyms, depth: int, *, extension: bool = False) -> bytes:
    """Replace within the elements that `data` consists of; `extension`: an octet string among them holds DER."""
    out, at = [], 0
    if depth > MOST_NESTED:
        raise Malformed("der", 0)
    while at < len(data):
        tag, start, end = der.header(data, at)
        content = data[start:end]
        out += [data[at:start], _content(tag, content, names, depth, extension)]
        at = end
    return b"".join(out)


def _content(tag: int, content: bytes, names: Pseudonyms, depth: int, extension: bool) -> bytes:
    if tag & _CONSTRUCTED:
        return _constructed(content, names, depth + 1)
    if tag in _KEPT or not content:
        return content
    if tag == _INTEGER:
        return content if len(content) <= _SMALL else _integer(content, names)
    if tag == _BIT_STRING:
        return content if len(content) <= _FLAGS else content[:1] + _inner(content[1:], names, depth)
    if tag == _OCTET_STRING and extension:
        return _inner(content, names, depth)
    if tag in _STRINGS:
        return names.text(content)
    if tag in (_UTF16, _UTF32):
        return _wide(content, 2 if tag == _UTF16 else 4, names)
    return _context(tag, content, names) if tag & _CONTEXT else names.noise(content)


def _constructed(content: bytes, names: Pseudonyms, depth: int) -> bytes:
    tag, start, end = der.header(content, 0) if content else (0, 0, 0)
    if tag == der.SEQUENCE and _is_key_algorithm(content[start:end], content[end:]):
        return _key(content[:end], content[start:end], content[end:], names, depth)
    if tag == _IDENTIFIER and content[start:end] == _TIMESTAMPS:
        return content[:end] + _timestamps(content[end:], names)
    return _elements(content, names, depth, extension=tag == _IDENTIFIER)


def _timestamps(behind: bytes, names: Pseudonyms) -> bytes:
    """Replace what leads from a certificate to its entry in public logs: the timestamps that they signed."""
    _, outer, _ = der.header(behind, 0)
    _, inner, _ = der.header(behind, outer)
    one = each(names, lambda found: found.vector(2, lambda signed: redact(signed, names, _timestamp)))
    return behind[:inner] + redact(behind[inner:], names, lambda found: found.vector(2, one))


def _timestamp(found: Redaction) -> None:
    found.keep(1)  # version
    found.replace(32)  # log
    found.keep(4)  # of the time, which leaves it vague by seven weeks
    found.replace(4)
    found.vector(2)
    found.keep(2)  # algorithms
    found.vector(2)


def _is_key_algorithm(algorithm: bytes, behind: bytes) -> bool:
    """Whether this is a SubjectPublicKeyInfo (RFC 5280 4.1.2.7): an algorithm, a bit string, and no more."""
    if algorithm[:1] != bytes([_IDENTIFIER]) or behind[:1] != bytes([_BIT_STRING]):
        return False
    return der.header(behind, 0)[2] == len(behind)


def _key(head: bytes, algorithm: bytes, behind: bytes, names: Pseudonyms, depth: int) -> bytes:
    """Replace a key by another of its kind; the parameters of its algorithm stay, since a key must fit them."""
    _, start, end = der.header(behind, 0)
    content = behind[start:end]
    (_, kind), *parameters = der.elements(algorithm)
    if der.identifier(kind) == _EC_KEY and parameters:
        new = other_point(der.identifier(parameters[0][1]), content[1:], names.noise(content))
    else:
        new = _inner(content[1:], names, depth)
    return head + behind[:start] + content[:1] + new


def _inner(content: bytes, names: Pseudonyms, depth: int) -> bytes:
    """Replace within DER that a string holds; a string that holds something else becomes noise."""
    try:
        return _elements(content, names, depth + 1)
    except Malformed:
        return names.noise(content)


def _integer(content: bytes, names: Pseudonyms) -> bytes:
    """Replace a number by another of as many bits and the same sign, odd where it was odd; 0 stays."""
    lead = len(content) - len(content.lstrip(b"\0"))
    value = content[lead:]
    if not value:
        return content
    new = bytearray(names.noise(value))
    top = 1 << (value[0].bit_length() - 1)
    new[0] = value[0] if value[0] & 0x80 and not lead else new[0] % top | top
    new[-1] = new[-1] & 0xFE | value[-1] & 1 if len(value) > 1 else new[-1]
    return content[:lead] + bytes(new)


def _wide(content: bytes, width: int, names: Pseudonyms) -> bytes:
    """Replace letters that take several bytes each."""
    narrow = bytes(letter if 0 < (letter := int.from_bytes(content[at : at + width])) < 256 else 0x80
                   for at in range(0, len(content), width))  # fmt: skip
    new = b"".join(letter.to_bytes(width) for letter in names.text(narrow))
    return new[: len(content)].ljust(len(content), b"\0")


def _context(tag: int, content: bytes, names: Pseudonyms) -> bytes:
    """Replace what only its place gives a meaning: text is a name, four or sixteen bytes of IP are an address."""
    if tag == _IP_ADDRESS and len(content) in (4, 16):
        return names.address(content)
    if len(content) == 1 or content == _START_TLS:
        return content
    return names.text(content) if all(32 <= byte < 127 for byte in content) else names.noise(content)
