"""A lenient reader of certificates (X.690 DER, RFC 5280 4.1), for those that a strict one refuses.

A certificate that breaks a rule of the encoding somewhere still says who it is for and how long; a client may well
accept it. Only lengths that do not fit raise `Malformed`.
"""

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from tlspcap.tls.cursor import Malformed
from tlspcap.tls.extensions import text

SEQUENCE = 0x30
_INTEGER, _BIT_STRING, _OBJECT_IDENTIFIER = 0x02, 0x03, 0x06
_BOOLEAN, _BMP_STRING, _UTF8_STRING = 0x01, 0x1E, 0x0C
_VERSION, _EXTENSIONS = 0xA0, 0xA3  # context tags of TBSCertificate
_EMAIL, _DNS_NAME, _DIRECTORY_NAME, _URI, _IP_ADDRESS = 0x81, 0x82, 0xA4, 0x86, 0x87  # tags of GeneralName
_TIME = re.compile(rb"(\d{2}|\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)?(?:\.\d+)?(?:Z|([+-])(\d\d)(\d\d))?")
_ESCAPED = re.compile(r'([,+"\\<>;]|^[# ]| $)')  # RFC 4514 2.4
_ATTRIBUTES = {  # RFC 4514 3, and as the strict reader writes them
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}

Element = tuple[int, bytes]  # tag and content


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The fields of a certificate that its rows are made of, names and extensions still encoded."""

    serial: int
    signature_algorithm: str  # dotted
    issuer: bytes
    not_before: bytes
    not_after: bytes
    subject: bytes
    key_algorithm: str  # dotted
    extensions: dict[str, bytes] = field(default_factory=dict)  # dotted -> content


def elements(data: bytes) -> list[Element]:
    r"""Return the elements that `data` consists of.

    >>> elements(bytes.fromhex("020105 0c026869"))
    [(2, b'\x05'), (12, b'hi')]
    """
    found, offset = [], 0
    while offset < len(data):
        tag, start, offset = header(data, offset)
        found.append((tag, data[start:offset]))
    return found


def header(data: bytes, offset: int) -> tuple[int, int, int]:
    r"""Return the tag at `offset`, and where its content begins and ends (X.690 8.1).

    >>> header(bytes.fromhex("300302010500"), 2)
    (2, 4, 5)
    """
    head = data[offset : offset + 6]
    if len(head) < 2 or head[0] & 0x1F == 0x1F:  # tags of several bytes stand in no certificate
        raise Malformed("der", offset)
    length, start = head[1], offset + 2
    if length >= 0x80:
        count = length & 0x7F
        if not 0 < count <= 4 or len(head) < 2 + count:
            raise Malformed("der", offset)
        length, start = int.from_bytes(head[2 : 2 + count]), start + count
    if start + length > len(data):
        raise Malformed("der", offset)
    return head[0], start, start + length


def skeleton(certificate: bytes) -> Skeleton:
    """Return the fields of a certificate (RFC 5280 4.1)."""
    (_, whole), *_ = elements(certificate) or [(0, b"")]
    (_, to_be_signed), *_ = elements(whole) or [(0, b"")]
    fields = elements(to_be_signed)
    if fields and fields[0][0] == _VERSION:
        del fields[0]
    if len(fields) < 6 or fields[0][0] != _INTEGER:
        raise Malformed("certificate", 0)
    (_, serial), (_, algorithm), (_, issuer), (_, validity), (_, subject), (_, key), *rest = fields
    (_, not_before), (_, not_after) = _pair(validity)
    key_algorithm = elements(key)[:1] or [(0, b"")]
    return Skeleton(
        int.from_bytes(serial, signed=True),
        _first_identifier(algorithm),
        issuer,
        not_before,
        not_after,
        subject,
        _first_identifier(key_algorithm[0][1]),
        _extensions(next((content for tag, content in rest if tag == _EXTENSIONS), b"")),
    )


def _pair(data: bytes) -> tuple[Element, Element]:
    found = elements(data)
    if len(found) < 2:
        raise Malformed("der", 0)
    return found[0], found[1]


def _first_identifier(data: bytes) -> str:
    """The object identifier with which an AlgorithmIdentifier begins; its parameters may be anything."""
    tag, start, end = header(data, 0)
    if tag != _OBJECT_IDENTIFIER:
        raise Malformed("der", 0)
    return identifier(data[start:end])


def identifier(content: bytes) -> str:
    """Return an object identifier in dotted form (X.690 8.19).

    >>> identifier(bytes.fromhex("2a864886f70d01010b"))
    '1.2.840.113549.1.1.11'
    """
    arcs, value = [], 0
    for byte in content[:64]:  # no identifier in use is nearly as long; longer numbers cost quadratic work
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2) if arcs else 0
    return ".".join(str(arc) for arc in [first, arcs[0] - 40 * first, *arcs[1:]]) if arcs else ""


def _extensions(wrapped: bytes) -> dict[str, bytes]:
    """Extensions (RFC 5280 4.1): identifier, criticality which may be left out, content."""
    found: dict[str, bytes] = {}
    for _, sequence in elements(wrapped):
        for _, extension in elements(sequence):
            parts = elements(extension)
            if len(parts) >= 2 and parts[0][0] == _OBJECT_IDENTIFIER:
                found.setdefault(identifier(parts[0][1]), parts[-1][1])
    return found


def time(content: bytes) -> datetime | None:
    """Return UTCTime or GeneralizedTime in UTC (RFC 5280 4.1.2.5), None where it is no time.

    >>> time(b"491231235959Z").year, time(b"500101000000Z").year, time(b"99991231235959Z").year
    (2049, 1950, 9999)
    """
    if not (found := _TIME.fullmatch(content)):
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    if len(found[1]) == 2:
        year += 1900 if year >= 50 else 2000
    try:
        moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        return moment - _offset(*found.groups()[6:]) if found[7] else moment
    except (ValueError, OverflowError):
        return None


def _offset(sign: bytes, hours: bytes, minutes: bytes) -> timedelta:
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return -offset if sign == b"-" else offset


def name(content: bytes) -> str:
    """Return a distinguished name as RFC 4514 writes it, the last part first."""
    parts = []
    for _, relative in elements(content):
        pairs = [_pair(attribute) for _, attribute in elements(relative)]
        parts.append("+".join(_attribute(identifier(kind), value) for (_, kind), value in pairs))
    return ",".join(reversed(parts))


def _attribute(kind: str, value: Element) -> str:
    shown = _ESCAPED.sub(r"\\\1", _string(*value)).replace("\0", "\\00")
    return f"{_ATTRIBUTES.get(kind, kind)}={shown}"


def _string(tag: int, content: bytes) -> str:
    if tag == _UTF8_STRING:
        return content.decode("utf-8", "backslashreplace")
    return content.decode("utf-16-be", "replace") if tag == _BMP_STRING else text(content)


def alternative_names(content: bytes) -> tuple[str, ...]:
    """Return subject alternative names (RFC 5280 4.2.1.6); other kinds than the usual ones are left out."""
    names = [_general_name(tag, value) for _, sequence in elements(content) for tag, value in elements(sequence)]
    return tuple(shown for shown in names if shown is not None)


def _general_name(tag: int, content: bytes) -> str | None:
    if tag in (_DNS_NAME, _EMAIL, _URI):
        return text(content)
    if tag == _IP_ADDRESS and len(content) in (4, 16):
        return str(ipaddress.ip_address(content))
    if tag == _DIRECTORY_NAME:
        return ",".join(name(sequence) for _, sequence in elements(content))
    return None


def is_ca(content: bytes) -> bool:
    """Return the cA flag of basic constraints (RFC 5280 4.2.1.9), false where it is left out."""
    return any(
        tag == _BOOLEAN and flag not in (b"", b"\0")
        for _, sequence in elements(content)
        for tag, flag in elements(sequence)
    )
