"""Certificates put together by hand, element by element, for what no library will sign (X.690, RFC 5280 4.1)."""

EC, P256, ECDSA_SHA256 = "2a8648ce3d0201", "2a8648ce3d030107", "2a8648ce3d040302"
ML_DSA_65 = "608648016503040312"
COMMON_NAME, ORGANIZATION = "550403", "55040a"
SUBJECT_ALTERNATIVE_NAME = "551d11"


def element(tag: int, *parts: bytes) -> bytes:
    """One element: tag, length, content."""
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes([tag, len(content)]) + content
    length = len(content).to_bytes((len(content).bit_length() + 7) // 8)
    return bytes([tag, 0x80 | len(length)]) + length + content


def sequence(*parts: bytes) -> bytes:
    """A SEQUENCE."""
    return element(0x30, *parts)


def identifier(encoded: str) -> bytes:
    """An OBJECT IDENTIFIER, given as the hexadecimal of its content."""
    return element(6, bytes.fromhex(encoded))


def name(*attributes: tuple[str, bytes]) -> bytes:
    """A distinguished name of UTF-8 strings."""
    return sequence(*(element(0x31, sequence(identifier(kind), element(12, value))) for kind, value in attributes))


def time(text: str) -> bytes:
    """A UTCTime (13 characters) or a GeneralizedTime."""
    return element(23 if len(text) == 13 else 24, text.encode())


def certificate(
    subject: bytes = name((COMMON_NAME, b"odd.example")),
    issuer: bytes = name((COMMON_NAME, b"Odd CA")),
    serial: bytes = b"\x12",
    not_before: str = "260101000000Z",
    not_after: str = "270101000000Z",
    sans: tuple[bytes, ...] = (),
    key: tuple[str, str | None, int] = (EC, P256, 65),
    signature: tuple[str, int] = (ECDSA_SHA256, 70),
) -> bytes:
    """A certificate; `key` is its algorithm, parameters and size in bytes, `signature` its algorithm and size."""
    algorithm, parameters, size = key
    point = b"\x04" + GENERATOR if size == 65 else bytes(size)
    signed_with = sequence(identifier(signature[0]))
    extension = sequence(identifier(SUBJECT_ALTERNATIVE_NAME), element(4, sequence(*(element(0x82, n) for n in sans))))
    to_be_signed = sequence(
        element(0xA0, element(2, b"\2")),
        element(2, serial),
        signed_with,
        issuer,
        sequence(time(not_before), time(not_after)),
        subject,
        sequence(
            sequence(identifier(algorithm), identifier(parameters) if parameters else b""),
            element(3, b"\0", point),
        ),
        element(0xA3, sequence(extension)) if sans else b"",
    )
    return sequence(to_be_signed, signed_with, element(3, b"\0", bytes(signature[1])))


GENERATOR = bytes.fromhex(  # of P-256 (SEC 2): a point that is on the curve
    "6b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
