"""From the secrets of a key log to the keys of records: TLS 1.3's key schedule and the PRF of earlier versions."""

import hmac
from collections.abc import Iterator
from typing import NamedTuple

from tlspcap.tls.names import TLS12

HASHES = {"SHA256": "sha256", "SHA384": "sha384"}  # of suites, as hashlib has them
TRAFFIC_NONCE = 12  # bytes (RFC 8446 5.3; of all AEADs that TLS 1.3 uses)


class RecordKeys(NamedTuple):
    """What one side's records are sealed with."""

    mac_key: bytes  # empty for an AEAD
    key: bytes
    iv: bytes  # an AEAD's static part of the nonce; in TLS 1.0 the IV of the first record

    def __repr__(self) -> str:
        """Show no key."""
        return "RecordKeys(…)"


def expand_label(secret: bytes, label: str, length: int, digest: str) -> bytes:
    """HKDF-Expand-Label with an empty context (RFC 8446 7.1, RFC 5869 2.3)."""
    name = b"tls13 " + label.encode()
    info = length.to_bytes(2) + bytes([len(name)]) + name + b"\0"
    return _expand(secret, info, length, digest)


def _expand(secret: bytes, info: bytes, length: int, digest: str) -> bytes:
    block, blocks = b"", b""
    for counter in range(1, 256):
        block = hmac.digest(secret, block + info + bytes([counter]), digest)
        blocks += block
        if len(blocks) >= length:
            break
    return blocks[:length]


def traffic_keys(secret: bytes, key_length: int, digest: str) -> RecordKeys:
    """The keys of one side and one epoch (RFC 8446 7.3)."""
    key, iv = expand_label(secret, "key", key_length, digest), expand_label(secret, "iv", TRAFFIC_NONCE, digest)
    return RecordKeys(b"", key, iv)


def next_secret(secret: bytes, digest: str) -> bytes:
    """The traffic secret behind a KeyUpdate (RFC 8446 7.2)."""
    return expand_label(secret, "traffic upd", len(secret), digest)


def key_block(
    version: int, digest: str, master: bytes, randoms: tuple[bytes, bytes], lengths: tuple[int, int, int]
) -> tuple[RecordKeys, RecordKeys]:
    """The keys of client and server (RFC 5246 6.3); `lengths` of MAC key, key and IV, `randoms` the client's first."""
    client, server = randoms
    block = prf(version, digest, master, b"key expansion" + server + client, 2 * sum(lengths))
    parts = _cut(block, [length for length in lengths for _ in range(2)])
    mac_keys, keys, ivs = (next(parts), next(parts)), (next(parts), next(parts)), (next(parts), next(parts))
    return RecordKeys(mac_keys[0], keys[0], ivs[0]), RecordKeys(mac_keys[1], keys[1], ivs[1])


def prf(version: int, digest: str, secret: bytes, seed: bytes, length: int) -> bytes:
    """The pseudorandom function; `seed` begins with the label. Before TLS 1.2 it is MD5 and SHA-1 (RFC 4346 5)."""
    if version >= TLS12:
        return _p_hash(digest, secret, seed, length)
    half = (len(secret) + 1) // 2
    one, other = _p_hash("md5", secret[:half], seed, length), _p_hash("sha1", secret[-half:], seed, length)
    return bytes(a ^ b for a, b in zip(one, other, strict=True))


def _p_hash(digest: str, secret: bytes, seed: bytes, length: int) -> bytes:
    """P_hash (RFC 5246 5)."""
    state, found = seed, b""
    while len(found) < length:
        state = hmac.digest(secret, state, digest)
        found += hmac.digest(secret, state + seed, digest)
    return found[:length]


def _cut(block: bytes, lengths: list[int]) -> Iterator[bytes]:
    at = 0
    for length in lengths:
        yield block[at : at + length]
        at += length
