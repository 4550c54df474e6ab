"""Server chains as the handshakes showed them: each distinct chain looked at once, then joined to its handshakes.

A chain is judged at the time of each handshake that showed it, never by today's date.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from tlspcap.tls.identity import Identity, common_names

Tables = Mapping[str, pd.DataFrame]

NEVER = np.iinfo(np.int64).max  # an end of validity that is not known: it is never over
_FACTS = (
    "subject", "issuer", "serial", "san", "key_type", "key_bits", "signature_algorithm", "self_signed", "is_ca", "der",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Certificate:
    """A row of the certificates table; None where it does not say. Dates are microseconds since 1970."""

    sha256: str
    not_before: int
    not_after: int
    subject: str | None
    issuer: str | None
    serial: str | None
    san: str | None
    key_type: str | None
    key_bits: int | None
    signature_algorithm: str | None
    self_signed: bool | None
    is_ca: bool | None
    der: str | None

    @cached_property
    def identity(self) -> Identity:
        """The names it is for."""
        return Identity(self.names)

    @property
    def bytes(self) -> bytes:
        """Its DER bytes; none where the table does not hold them."""
        return base64.b64decode(self.der or "")

    @property
    def names(self) -> list[str]:
        """Its subject alternative names."""
        return [name.replace("\\x2c", ",") for name in self.san.split(",")] if self.san else []

    @property
    def common_names(self) -> list[str]:
        """The common names of its subject."""
        return common_names(self.subject or "")


@dataclass(frozen=True, eq=False)
class Chain:
    """One distinct chain: as it was sent, and as it hangs together by the names of issuers (RFC 5280 6.1)."""

    key: str  # chain_sha256
    sent: tuple[Certificate, ...]
    path: tuple[Certificate, ...]  # from the leaf up, as far as the issuers were sent; a root included

    @property
    def leaf(self) -> Certificate:
        """The server's own certificate."""
        return self.sent[0]

    @property
    def top(self) -> Certificate:
        """The last certificate of the path."""
        return self.path[-1]

    @property
    def root(self) -> Certificate | None:
        """The root, where it was sent above a leaf."""
        return self.top if self.top.self_signed and len(self.path) > 1 else None

    @property
    def relied(self) -> tuple[Certificate, ...]:
        """What clients must check: all of the path but a root, which they have of their own (RFC 8446 4.4.2)."""
        return self.path[:-1] if self.root else self.path

    @property
    def in_order(self) -> bool:
        """Whether each certificate of the path came behind the one that it signed (RFC 5246 7.4.2)."""
        places = {certificate.sha256: place for place, certificate in reversed(list(enumerate(self.sent)))}
        order = [places[certificate.sha256] for certificate in self.path]
        return order == sorted(order)

    @property
    def extra(self) -> tuple[Certificate, ...]:
        """Certificates that are no part of the path, repeated ones among them."""
        used = {certificate.sha256 for certificate in self.path}
        return tuple(certificate for certificate in self.sent if not _once(certificate.sha256, used))

    @property
    def not_before(self) -> int:
        """When the last of those that count begins to be valid."""
        return max(certificate.not_before for certificate in self.relied)

    @property
    def not_after(self) -> int:
        """When the first of those that count ends."""
        return min(certificate.not_after for certificate in self.relied)


def _once(key: str, left: set[str]) -> bool:
    """Whether a key is in the set; the second time it is not."""
    if key in left:
        left.remove(key)
        return True
    return False


def certificates(table: pd.DataFrame) -> dict[str, Certificate]:
    """The certificates of servers, by their SHA-256."""
    servers = table[table["role"] == "server"].drop_duplicates("sha256")
    columns = [servers["sha256"].tolist(), _micros(servers["not_before"], -NEVER), _micros(servers["not_after"], NEVER)]
    columns += [_objects(servers[name]) for name in _FACTS]
    return {row[0]: Certificate(*row) for row in zip(*columns, strict=True)}


def _micros(dates: "pd.Series[Any]", missing: int) -> list[int]:
    values = dates.to_numpy("datetime64[us]")
    micros: list[int] = np.where(np.isnat(values), missing, values.astype(np.int64)).tolist()
    return micros


def _objects(cells: "pd.Series[Any]") -> list[Any]:
    return cells.astype(object).where(cells.notna(), None).tolist()


def chains(handshakes: pd.DataFrame, known: Mapping[str, Certificate]) -> dict[str, Chain]:
    """The distinct chains that handshakes showed, by `chain_sha256`; one of unknown certificates is left out."""
    found = {}
    for key in handshakes["chain_sha256"].dropna().unique().tolist():
        sent = [known.get(sha256) for sha256 in key.split(",")]
        whole = tuple(certificate for certificate in sent if certificate is not None)
        if len(whole) == len(sent):
            found[key] = Chain(key, whole, tuple(_path(whole)))
    return found


def _path(sent: tuple[Certificate, ...]) -> Iterator[Certificate]:
    """From the leaf to the last issuer that was sent."""
    by_subject: dict[str | None, list[Certificate]] = {}
    for certificate in reversed(sent[1:]):
        by_subject.setdefault(certificate.subject, []).append(certificate)
    current, used = sent[0], {sent[0].sha256}
    yield current
    while not current.self_signed and current.issuer is not None:
        issuers = by_subject.get(current.issuer, [])
        while issuers and issuers[-1].sha256 in used:
            issuers.pop()
        if not issuers:
            return
        current = issuers.pop()
        used.add(current.sha256)
        yield current
