"""Handshake messages put together by hand, field by field."""

TLS12 = 0x0303
RANDOM = bytes(range(32))


def vector(size: int, *parts: bytes) -> bytes:
    """Return a vector: its length in `size` bytes, and its parts."""
    content = b"".join(parts)
    return len(content).to_bytes(size) + content


def u16s(*codes: int) -> bytes:
    """Return codes as uint16."""
    return b"".join(code.to_bytes(2) for code in codes)


def hello_body(*extensions: tuple[int, bytes], suites: bytes = u16s(0x1301), version: int = TLS12) -> bytes:
    """Return the body of a ClientHello."""
    block = b"".join(code.to_bytes(2) + vector(2, content) for code, content in extensions)
    return u16s(version) + RANDOM + vector(1, b"id") + vector(2, suites) + vector(1, b"\0") + vector(2, block)


def server_body(*extensions: tuple[int, bytes], random: bytes = RANDOM, version: int = TLS12) -> bytes:
    """Return the body of a ServerHello."""
    block = b"".join(code.to_bytes(2) + vector(2, content) for code, content in extensions)
    return u16s(version) + random + vector(1) + u16s(0x1301) + b"\0" + vector(2, block)
