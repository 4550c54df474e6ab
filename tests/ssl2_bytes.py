"""Messages and records of SSL 2.0 put together by hand, in the order of the specification."""

from conversation import CLIENT, SERVER, Talk

SSL20, TLS10 = 0x0002, 0x0301
DES3, RC4 = 0x0700C0, 0x010080  # kinds of cipher
CHALLENGE, SESSION, CONNECTION = bytes(range(16)), bytes(range(32, 48)), bytes(range(64, 80))
CERTIFICATE = b"\x30\x03abc"


def record(content: bytes) -> bytes:
    """A record in clear: two bytes of header."""
    return (0x8000 | len(content)).to_bytes(2) + content


def sealed(length: int, block: int = 8) -> bytes:
    """A record that seals a message of so many bytes: a MAC of 16, and padding where the cipher works in blocks."""
    padding = -(16 + length) % block
    content = bytes(16 + length + padding)
    return len(content).to_bytes(2) + bytes([padding]) + content if padding else record(content)


def _lengths(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2) for part in parts) + b"".join(parts)


def kinds(*codes: int) -> bytes:
    """Cipher kinds, three bytes each."""
    return b"".join(code.to_bytes(3) for code in codes)


def client_hello(*ciphers: int, version: int = SSL20, session: bytes = b"", challenge: bytes = CHALLENGE) -> bytes:
    """A CLIENT-HELLO record."""
    return record(b"\1" + version.to_bytes(2) + _lengths(kinds(*ciphers or (DES3, RC4)), session, challenge))


def server_hello(*ciphers: int, hit: bool = False, certificate: bytes = CERTIFICATE) -> bytes:
    """A SERVER-HELLO record; with neither certificate nor ciphers where it takes up a session."""
    head, parts = (b"\4\1\0", (b"", b"")) if hit else (b"\4\0\1", (certificate, kinds(*ciphers or (DES3, RC4))))
    return record(head + SSL20.to_bytes(2) + _lengths(*parts, CONNECTION))


def master_key(cipher: int = DES3) -> bytes:
    """A CLIENT-MASTER-KEY record."""
    return record(b"\2" + cipher.to_bytes(3) + _lengths(b"", bytes(128), bytes(8)))


def error(code: int) -> bytes:
    """An ERROR record in clear."""
    return record(b"\0" + code.to_bytes(2))


FINISHED = SERVER_VERIFY = 1 + 16  # lengths: a type, and connection id, session id or challenge
REQUEST_CERTIFICATE, ERROR = 2 + 16, 1 + 2


def hellos() -> Talk:
    """Both hellos and the client's key."""
    return Talk().says(CLIENT, client_hello()).says(SERVER, server_hello()).says(CLIENT, master_key())


def full() -> Talk:
    """A whole handshake, in the order that OpenSSL keeps."""
    talk = hellos().says(SERVER, sealed(SERVER_VERIFY)).says(CLIENT, sealed(FINISHED))
    return talk.says(SERVER, sealed(FINISHED))


def resumed() -> Talk:
    """A handshake that takes up a session: no certificate, no master key."""
    talk = Talk().says(CLIENT, client_hello(session=SESSION)).says(SERVER, server_hello(hit=True))
    return talk.says(CLIENT, sealed(FINISHED)).says(SERVER, sealed(SERVER_VERIFY), sealed(FINISHED))
