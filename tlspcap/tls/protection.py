"""Record protection undone: one class for each way in which a version and a cipher suite seal records.

The ciphers are those of `cryptography`, imported when there are keys. A record that does not open gives None: its tag
or MAC says that key, number or bytes are wrong.
"""

import hmac
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Protocol

from tlspcap.tls.ciphers import Suite
from tlspcap.tls.names import TLS11, is_tls13
from tlspcap.tls.records import Record
from tlspcap.tls.secrets import RecordKeys

FIXED_NONCE = 4  # bytes of GCM's and CCM's nonce that stand for the connection (RFC 5288 3, RFC 6655 3)
NONCE = 12
MACS = {"MD5": "md5", "SHA": "sha1", "SHA256": "sha256", "SHA384": "sha384"}
# Block and stream ciphers: the class in `cryptography`, bytes of key
CIPHERS = {
    "AES_128": ("AES", 16), "AES_256": ("AES", 32), "CAMELLIA_128": ("Camellia", 16), "CAMELLIA_256": ("Camellia", 32),
    "3DES_EDE": ("TripleDES", 24), "SEED": ("SEED", 16), "IDEA": ("IDEA", 16), "RC4_128": ("ARC4", 16),
    "CHACHA20": ("ChaCha20", 32),
}  # fmt: skip
Aead = Callable[[bytes, bytes, bytes], bytes | None]  # nonce, sealed content, additional data -> content


class Plain(NamedTuple):
    """What a record held."""

    number: int  # the record's sequence number under its key
    content_type: int
    content: bytes
    lead: int  # bytes of the record before its content

    def __repr__(self) -> str:
        """Show no content."""
        return f"Plain(number={self.number}, content_type={self.content_type}, {len(self.content)} bytes)"


class Protection(Protocol):
    """Opens the records of one side under one key. Every record is given to one of these three, in order."""

    def open(self, numbers: Iterable[int], record: Record) -> Plain | None:
        """Open a record that has one of these numbers."""

    def pass_over(self, record: Record) -> None:
        """Keep in step with a record that need not be opened."""

    def lose(self) -> None:
        """Note that records are missing from here on."""


class Shape(NamedTuple):
    """How a suite seals, as far as keys must be cut for it."""

    mac_length: int
    key_length: int
    iv_length: int


def shape(version: int, suite: Suite) -> Shape | None:
    """The lengths of MAC key, key and IV; None for a suite that cannot be opened."""
    words = suite.encryption.removesuffix("_POLY1305").removesuffix("_8")
    name, _, mode = words.rpartition("_")
    known = CIPHERS.get(words) or (CIPHERS.get(name) if mode in ("CBC", "GCM", "CCM") else None)
    if known is None or suite.export:
        return None
    if suite.is_aead and known[0] not in ("AES", "ChaCha20"):  # `cryptography` has no other
        return None
    if suite.is_aead:
        return Shape(0, known[1], FIXED_NONCE if suite.explicit_nonce else NONCE)
    if suite.mac not in MACS:
        return None
    return Shape(suite.mac_length, known[1], suite.block_size if suite.block_size > 1 and version < TLS11 else 0)


def protection(version: int, suite: Suite, keys: RecordKeys, encrypt_then_mac: bool = False) -> Protection | None:
    """What opens the records that are sealed with these keys, of a suite that has a `shape`.

    None where the cipher is not to be had: some builds of OpenSSL lack the old ones.
    """
    from cryptography.exceptions import UnsupportedAlgorithm

    try:
        return _protection(version, suite, keys, encrypt_then_mac)
    except UnsupportedAlgorithm:
        return None


def _protection(version: int, suite: Suite, keys: RecordKeys, encrypt_then_mac: bool) -> Protection:
    if suite.is_aead:
        aead = _aead(suite, keys.key)
        return Tls13(aead, keys.iv, suite) if is_tls13(version) else Tls12Aead(aead, keys.iv, suite)
    if suite.block_size > 1:
        return Blocks(version, suite, keys, encrypt_then_mac)
    return Stream(suite, keys)


class _Stateless:
    """What opens records each on its own."""

    def pass_over(self, record: Record) -> None:
        """Nothing to do."""

    def lose(self) -> None:
        """Nothing to do."""


class Tls13(_Stateless):
    """TLS 1.3: the true content type stands behind the content, zeros behind it are padding (RFC 8446 5.2, 5.4)."""

    def __init__(self, aead: Aead, iv: bytes, suite: Suite) -> None:
        self._aead, self._iv, self._tag = aead, iv, suite.tag_length

    def open(self, numbers: Iterable[int], record: Record) -> Plain | None:
        """Open a record (RFC 8446 5.2): its header is the additional data."""
        sealed = record.fragment or b""
        header = bytes([record.content_type]) + record.version.to_bytes(2) + record.length.to_bytes(2)
        if len(sealed) <= self._tag:
            return None
        for number in numbers:
            content = self._aead(_mixed(self._iv, number), sealed, header)
            if content is not None:
                content = content.rstrip(b"\0")
                return Plain(number, content[-1], content[:-1], 0) if content else None
        return None


class Tls12Aead(_Stateless):
    """TLS 1.2 with an AEAD (RFC 5246 6.2.3.3; the nonces of RFC 5288 3, RFC 6655 3 and RFC 7905 2)."""

    def __init__(self, aead: Aead, iv: bytes, suite: Suite) -> None:
        self._aead, self._iv, self._tag, self._lead = aead, iv, suite.tag_length, suite.explicit_nonce

    def open(self, numbers: Iterable[int], record: Record) -> Plain | None:
        """Open a record: number, type, version and length are the additional data."""
        sealed = record.fragment or b""
        length = len(sealed) - self._lead - self._tag
        if length < 0:
            return None
        for number in numbers:
            nonce = self._iv + sealed[: self._lead] if self._lead else _mixed(self._iv, number)
            content = self._aead(nonce, sealed[self._lead :], _numbered(number, record, length))
            if content is not None:
                return Plain(number, record.content_type, content, self._lead)
        return None


class Blocks:
    """CBC (RFC 5246 6.2.3.2): MAC inside, or outside where agreed (RFC 7366); in TLS 1.0 the IV is implicit."""

    def __init__(self, version: int, suite: Suite, keys: RecordKeys, encrypt_then_mac: bool) -> None:
        self._block, self._mac_length, self._outside = suite.block_size, suite.mac_length, encrypt_then_mac
        self._digest, self._mac_key = MACS[suite.mac], keys.mac_key
        self._decrypt = _cbc(suite, keys.key)
        self._lead = suite.block_size if version >= TLS11 else 0
        self._decrypt(bytes(self._block), bytes(self._block))  # raises where the cipher is not to be had
        self._chained: bytes | None = keys.iv  # without an explicit IV: the last block before the record

    def open(self, numbers: Iterable[int], record: Record) -> Plain | None:
        """Open a record; which number it has is told by its MAC."""
        sealed = record.fragment or b""
        iv = sealed[: self._lead] if self._lead else self._chained
        self.pass_over(record)
        body = sealed[self._lead :]
        mac = b""
        if self._outside:
            body, mac = body[: len(body) - self._mac_length], body[len(body) - self._mac_length :]
        if iv is None or len(iv) != self._block or not body or len(body) % self._block:
            return None
        content = self._decrypt(iv, body)
        content = content[: max(0, len(content) - 1 - content[-1])]
        if not self._outside:
            content, mac = content[: -self._mac_length], content[-self._mac_length :]
        if len(mac) != self._mac_length:
            return None
        covered = sealed[: len(sealed) - self._mac_length] if self._outside else content
        for number in numbers:
            if _is_mac(self._mac_key, self._digest, _numbered(number, record, len(covered)) + covered, mac):
                return Plain(number, record.content_type, content, self._lead)
        return None

    def pass_over(self, record: Record) -> None:
        """Keep the last block, which may be the next record's IV."""
        last = (record.fragment or b"")[-self._block :]
        self._chained = last if len(last) == self._block else None

    def lose(self) -> None:
        """The last block before the next record is not known."""
        self._chained = None


class Stream:
    """RC4 (RFC 5246 6.2.3.1): one key stream over all records, so one that is missing ends it."""

    def __init__(self, suite: Suite, keys: RecordKeys) -> None:
        self._decryptor = _cipher(suite, keys.key, None).decryptor()
        self._digest, self._mac_length, self._mac_key = MACS[suite.mac], suite.mac_length, keys.mac_key
        self._lost = False

    def open(self, numbers: Iterable[int], record: Record) -> Plain | None:
        """Open a record."""
        if self._lost or record.fragment is None or record.length < self._mac_length:
            self._lost = True
            return None
        opened = self._decryptor.update(record.fragment)
        content, mac = opened[: -self._mac_length], opened[-self._mac_length :]
        for number in numbers:
            if _is_mac(self._mac_key, self._digest, _numbered(number, record, len(content)) + content, mac):
                return Plain(number, record.content_type, content, 0)
        self._lost = True
        return None

    def pass_over(self, record: Record) -> None:
        """Step the key stream over a record."""
        if record.fragment is None or len(record.fragment) != record.length:
            self._lost = True
        elif not self._lost:
            self._decryptor.update(record.fragment)

    def lose(self) -> None:
        """How far the key stream has gone is not known."""
        self._lost = True


def _mixed(iv: bytes, number: int) -> bytes:
    """The nonce of a record: its number, xored with the IV (RFC 8446 5.3)."""
    return (int.from_bytes(iv) ^ number).to_bytes(len(iv))


def _numbered(number: int, record: Record, length: int) -> bytes:
    """What a MAC or a tag covers beside the content (RFC 5246 6.2.3.1)."""
    return number.to_bytes(8) + bytes([record.content_type]) + record.version.to_bytes(2) + length.to_bytes(2)


def _is_mac(key: bytes, digest: str, covered: bytes, mac: bytes) -> bool:
    return hmac.compare_digest(hmac.digest(key, covered, digest), mac)


def _aead(suite: Suite, key: bytes) -> Aead:
    """An AEAD's opening; where a tag is wrong it gives None."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers import aead

    opener: Any
    if "POLY1305" in suite.encryption:
        opener = aead.ChaCha20Poly1305(key)
    elif "CCM" in suite.encryption:
        opener = aead.AESCCM(key, tag_length=suite.tag_length)
    else:
        opener = aead.AESGCM(key)

    def opened(nonce: bytes, sealed: bytes, covered: bytes) -> bytes | None:
        try:
            content: bytes = opener.decrypt(nonce, sealed, covered)
        except InvalidTag:
            return None
        return content

    return opened


def _cbc(suite: Suite, key: bytes) -> Callable[[bytes, bytes], bytes]:
    from cryptography.hazmat.primitives.ciphers import modes

    def opened(iv: bytes, sealed: bytes) -> bytes:
        decryptor = _cipher(suite, key, modes.CBC(iv)).decryptor()
        content: bytes = decryptor.update(sealed) + decryptor.finalize()
        return content

    return opened


def _cipher(suite: Suite, key: bytes, mode: Any) -> Any:
    """A cipher of `cryptography`; it keeps the old ones in a place of their own."""
    from cryptography.hazmat.decrepit.ciphers import algorithms as old
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

    words = suite.encryption
    name = (CIPHERS.get(words) or CIPHERS[words.rpartition("_")[0]])[0]
    algorithm = getattr(old if hasattr(old, name) else algorithms, name)
    return Cipher(algorithm(key), mode)
