"""Other points on the curves of elliptic keys: a key that lies on none would not be read as a key."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric import ec

_UNCOMPRESSED = 4  # first byte of a point with both coordinates (SEC 1 2.3.3)
_CURVES = {
    "1.2.840.10045.3.1.7": "SECP256R1",
    "1.3.132.0.34": "SECP384R1",
    "1.3.132.0.35": "SECP521R1",
    "1.3.132.0.33": "SECP224R1",
    "1.2.840.10045.3.1.1": "SECP192R1",
    "1.3.132.0.10": "SECP256K1",
    "1.3.36.3.3.2.8.1.1.7": "BrainpoolP256R1",
    "1.3.36.3.3.2.8.1.1.11": "BrainpoolP384R1",
    "1.3.36.3.3.2.8.1.1.13": "BrainpoolP512R1",
}


def other_point(curve: str, point: bytes, seed: bytes) -> bytes:
    r"""Return a point in the encoding of another; of a curve that is not known, its first byte and the seed.

    >>> len(other_point("1.2.840.10045.3.1.7", b"\4" + bytes(64), bytes(32)))
    65
    """
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    found = _derived(curve, seed)
    whole = point[:1] == bytes([_UNCOMPRESSED])
    form = PublicFormat.UncompressedPoint if whole else PublicFormat.CompressedPoint
    new = found.public_bytes(Encoding.X962, form) if found is not None else b""
    return new if len(new) == len(point) else point[:1] + seed[1 : len(point)].ljust(len(point) - 1, b"\0")


@cache
def _curve(name: str) -> "ec.EllipticCurve | None":
    from cryptography.hazmat.primitives.asymmetric import ec

    return getattr(ec, _CURVES[name])() if name in _CURVES else None


def _derived(name: str, seed: bytes) -> "ec.EllipticCurvePublicKey | None":
    """A key on a curve; which one, the seed tells."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec

    curve = _curve(name)
    if curve is None:
        return None
    # 64 bits fewer than the curve has: below its order, whatever that is
    secret = int.from_bytes(seed[: (curve.key_size - 64) // 8]) | 1
    try:
        return ec.derive_private_key(secret, curve).public_key()
    except UnsupportedAlgorithm:  # this OpenSSL lacks the curve
        return None
