"""What the first bytes of a segment look like: a TLS hello, a record of TLS, an alert, an HTTP message.

The one place in `wire` that knows anything of TLS; it looks at record headers and one byte behind them, no more.
"""

import numpy as np
import numpy.typing as npt

from tlspcap.wire.columns import Bytes, Int64
from tlspcap.wire.distinct import among

Mask = npt.NDArray[np.bool_]

HELLO_START = 6  # bytes that tell a TLS hello: record header (RFC 8446 5.1) and handshake type
SSL2_CLIENT_START = 11  # bytes that tell a ClientHello in the form of SSL 2.0 (RFC 5246 appendix E.2)
SSL2_START = 13  # the same of SSL 2.0's ServerHello
SSL2_HELLOS = ((1, SSL2_CLIENT_START), (4, SSL2_START))  # their message types, and the bytes that tell them
MAX_RECORD = (1 << 14) + 2048  # the most a record may carry (RFC 5246 6.2.3)
ALERT, HANDSHAKE, APPLICATION_DATA = 21, 22, 23
FIRST_TYPE = 20  # ChangeCipherSpec, the lowest record type
MIN_ALERT_SEGMENT = 7  # a record header and level, description
MAX_ALERT_SEGMENT = 5 + 256
MAX_SEALED_ALERT = 64  # record length up to which application data may hide an alert
HTTP_STARTS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"TRAC", b"PRI ", b"HTTP")


def begins_hello(start: bytes) -> bool:
    r"""Whether bytes begin a ClientHello or ServerHello, of TLS or in the form of SSL 2.0.

    >>> begins_hello(bytes([22, 3, 1, 2, 0, 1])), begins_hello(b"\x80\x2e\x01\x03\x01" + bytes([0, 21, 0, 0, 0, 16]))
    (True, True)
    """
    row = np.frombuffer(start.ljust(SSL2_START, b"\xff"), dtype=np.uint8)
    return bool(begin_hello(row, np.array([0]), np.array([len(start)]))[0])


def may_begin_hello(start: bytes) -> bool:
    """Whether bytes, too few to tell, could be the beginning of a hello."""
    tls = len(start) < HELLO_START and start[:1] == b"\x16" and start[1:2] in (b"", b"\x03") and start[2:3] <= b"\x04"
    if not start or start[0] < 0x80:
        return tls
    kind, behind = start[2:3], start[3:4]
    client = len(start) < SSL2_CLIENT_START and kind in (b"", b"\x01") and behind in (b"", b"\x00", b"\x03")
    return client or (len(start) < SSL2_START and kind in (b"", b"\x04") and behind in (b"", b"\x00", b"\x01"))


def begin_hello(buffer: Bytes, start: Int64, captured: Int64) -> Mask:
    """Whether each segment begins with a hello, as `begins_hello` says of one; rows with no payload never do."""
    found: Mask = np.zeros(len(start), dtype=np.bool_)
    rows = np.flatnonzero(captured >= HELLO_START)
    first = buffer[start[rows]]
    new, old = rows[first == HANDSHAKE], rows[first >= 0x80]
    kinds = _byte(buffer, start[new], 5)
    found[new] = _record_header(buffer, start[new]) & (kinds >= 1) & (kinds <= 2)
    if not len(old):
        return found
    kinds = _byte(buffer, start[old], 2)
    clients, servers = (old[(kinds == kind) & (captured[old] >= least)] for kind, least in SSL2_HELLOS)
    found[clients] = _begin_ssl2_client(buffer, start[clients])
    found[servers] = _begin_ssl2_server(buffer, start[servers])
    return found


def begin_record(buffer: Bytes, start: Int64, captured: Int64) -> Mask:
    """Whether each segment begins with the header of any TLS record, types 20 to 23."""
    first = _byte(buffer, start, 0)
    found = (first >= FIRST_TYPE) & (first <= APPLICATION_DATA) & (captured >= HELLO_START - 1)
    rows = np.flatnonzero(found)
    found[rows] = _record_header(buffer, start[rows])
    return found


def begin_http(buffer: Bytes, start: Int64, captured: Int64) -> Mask:
    """Whether each segment begins with an HTTP request or response."""
    word = np.zeros(len(start), dtype=np.int64)
    for at in range(4):
        word = word << 8 | _byte(buffer, start, at)
    words = np.array(sorted(int.from_bytes(text, "big") for text in HTTP_STARTS), dtype=np.int64)
    long: Mask = captured >= 4
    return long & among(word, words)


def is_alert_segment(payload: bytes | memoryview) -> bool:
    """Whether a segment is exactly one record that is an alert, or that is sealed and no longer than an alert."""
    if not MIN_ALERT_SEGMENT <= len(payload) <= MAX_ALERT_SEGMENT:
        return False
    kind, major, minor, high, low = payload[:5]
    whole = high << 8 | low == len(payload) - 5 and major == 3 and minor <= 4
    return whole and (kind == ALERT or (kind == APPLICATION_DATA and len(payload) - 5 <= MAX_SEALED_ALERT))


def alert_segments(buffer: Bytes, start: Int64, length: Int64) -> Mask:
    """Whether each segment is what `is_alert_segment` says of one."""
    found = (length >= MIN_ALERT_SEGMENT) & (length <= MAX_ALERT_SEGMENT)
    rows = np.flatnonzero(found)
    start, record = start[rows], length[rows] - 5
    kind = _byte(buffer, start, 0)
    whole = _record_header(buffer, start) & (_byte(buffer, start, 3) << 8 | _byte(buffer, start, 4) == record)
    found[rows] = whole & ((kind == ALERT) | ((kind == APPLICATION_DATA) & (record <= MAX_SEALED_ALERT)))
    return found


def _byte(buffer: Bytes, start: Int64, at: int) -> Int64:
    """Return the byte at a distance from each start, the buffer's last one beyond its end."""
    if not len(buffer):
        return np.zeros(len(start), dtype=np.int64)
    return buffer[np.minimum(start + at, len(buffer) - 1)].astype(np.int64)


def _record_header(buffer: Bytes, start: Int64) -> Mask:
    """Whether version and length of a record header make sense (RFC 8446 5.1), whatever its type."""
    length = _byte(buffer, start, 3) << 8 | _byte(buffer, start, 4)
    version: Mask = (_byte(buffer, start, 1) == 3) & (_byte(buffer, start, 2) <= 4)
    sane: Mask = (length > 0) & (length <= MAX_RECORD)
    return version & sane


def _short(buffer: Bytes, start: Int64, at: int) -> Int64:
    """Return the uint16 at a distance from each start."""
    return _byte(buffer, start, at) << 8 | _byte(buffer, start, at + 1)


def _begin_ssl2_client(buffer: Bytes, start: Int64) -> Mask:
    """Whether an SSL 2.0 record holds a ClientHello whose lengths add up (RFC 5246 E.2, SSL 2.0 2.5)."""
    version, ciphers, session, challenge = (_short(buffer, start, at) for at in (3, 5, 7, 9))
    known = (version == 0x0002) | ((version >= 0x0300) & (version <= 0x0303))
    sane = (ciphers > 0) & (ciphers % 3 == 0) & ((session == 0) | (session == 16))
    sane &= (challenge >= 16) & (challenge <= 32)
    adds_up = 9 + ciphers + session + challenge == _short(buffer, start, 0) & 0x7FFF
    client: Mask = known & sane & adds_up
    return client


def _begin_ssl2_server(buffer: Bytes, start: Int64) -> Mask:
    """Whether an SSL 2.0 record holds a ServerHello whose lengths add up (SSL 2.0 2.6)."""
    version, certificate, ciphers, connection = (_short(buffer, start, at) for at in (5, 7, 9, 11))
    hit, kind = _byte(buffer, start, 3), _byte(buffer, start, 4)
    full = (hit == 0) & (kind == 1) & (certificate > 0)
    taken_up = (hit == 1) & (kind == 0) & (certificate == 0) & (ciphers == 0)
    sane = (version == 0x0002) & (ciphers % 3 == 0) & (connection >= 16) & (connection <= 32)
    adds_up = 11 + certificate + ciphers + connection == _short(buffer, start, 0) & 0x7FFF
    server: Mask = (full | taken_up) & sane & adds_up
    return server
