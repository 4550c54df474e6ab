"""Both offers of one handshake, and what a server asked of its client's certificate, as small objects that print well.

Made from the tables `handshakes`, `hellos` and `certificate_requests`, which hold each distinct one once.
"""

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import pandas as pd

from tlspcap import words
from tlspcap.errors import ArgumentError
from tlspcap.offer_rows import COMMA, SEMICOLON

Row: TypeAlias = "pd.Series[Any]"
Names = tuple[str, ...]
Lines = Iterator[tuple[str, Names, str | None]]  # label, what was offered, what was chosen

WIDTH, LABEL = 80, 24
CHOSEN = "→"


@dataclass(frozen=True)
class Offer:
    """What a ClientHello offers, in the client's order of preference, without GREASE."""

    versions: Names  # highest first
    cipher_suites: Names
    groups: Names
    key_shares: Names  # groups that a key share was sent for
    signature_schemes: Names
    certificate_signature_schemes: Names  # where they are told apart
    alpn: Names
    client_certificate_types: Names
    server_certificate_types: Names
    certificate_compressions: Names
    psk_modes: Names
    extensions: Names  # in order of their numbers


@dataclass(frozen=True)
class Choice:
    """What the server chose; None where it did not, or where it is sealed."""

    version: str | None
    cipher_suite: str | None
    group: str | None
    signature_scheme: str | None
    alpn: str | None
    client_certificate_type: str | None
    server_certificate_type: str | None
    extensions: Names  # of the ServerHello, in order of their numbers


class _Printed:
    """What shows itself as lines of label, offer and choice: as text, and as a table in Jupyter."""

    @property
    def _title(self) -> str:
        raise NotImplementedError

    def _lines(self) -> Lines:
        raise NotImplementedError

    def __str__(self) -> str:
        return "\n".join([self._title, *(text for line in self._lines() for text in _text(*line))])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(_html(*line) for line in self._lines())
        return f"<table><caption>{html.escape(self._title)}</caption><tbody>{rows}</tbody></table>"


@dataclass(frozen=True, repr=False)
class Hello(_Printed):
    """What the client of one handshake offered, and what the server chose; None where that hello was not seen."""

    handshake: int
    offered: Offer | None
    chosen: Choice | None
    ja4_r: str | None = None  # JA4 of what is offered, with its lists in place of their hashes

    @property
    def _title(self) -> str:
        lacking = [name for name, seen in (("ClientHello", self.offered), ("ServerHello", self.chosen)) if seen is None]
        told = f"{' and '.join(f'no {name}' for name in lacking)} seen" if lacking else f"offered, {CHOSEN} chosen"
        return f"Hellos of handshake {self.handshake}: {told}"

    def _lines(self) -> Lines:
        for label, offered, chosen in _HELLO_LINES:
            names = getattr(self.offered, offered) if self.offered is not None else ()
            choice = getattr(self.chosen, chosen) if self.chosen is not None and chosen else None
            if names or choice:
                yield label, names, choice
        if self.chosen is not None and self.chosen.extensions:
            yield "extensions of the server", self.chosen.extensions, None
        if self.ja4_r is not None:
            yield "JA4_r", (self.ja4_r,), None


_HELLO_LINES = (
    ("versions", "versions", "version"),
    ("cipher suites", "cipher_suites", "cipher_suite"),
    ("groups", "groups", "group"),
    ("key shares", "key_shares", ""),
    ("signature schemes", "signature_schemes", "signature_scheme"),
    ("certificate signatures", "certificate_signature_schemes", ""),
    ("ALPN", "alpn", "alpn"),
    ("client certificate types", "client_certificate_types", "client_certificate_type"),
    ("server certificate types", "server_certificate_types", "server_certificate_type"),
    ("certificate compression", "certificate_compressions", ""),
    ("PSK modes", "psk_modes", ""),
    ("extensions", "extensions", ""),
)


@dataclass(frozen=True, repr=False)
class CertificateRequest(_Printed):
    """What the server of one handshake asked of a client certificate."""

    handshake: int
    certificate_types: Names  # empty in TLS 1.3
    signature_schemes: Names  # empty before TLS 1.2
    authorities: Names  # names of acceptable CAs, RFC 4514; empty: any will do

    @property
    def _title(self) -> str:
        return f"Certificate request of handshake {self.handshake}"

    def _lines(self) -> Lines:
        yield "certificate types", self.certificate_types, None
        yield "signature schemes", self.signature_schemes, None
        yield "acceptable CAs", self.authorities or ("any: none is named",), None


def hello(handshake: int, tables: Mapping[str, pd.DataFrame]) -> Hello:
    """Give both offers of a handshake.

    Args:
        handshake: its number, the row label in the handshakes table.
        tables: DataFrames by name; `handshakes` and `hellos` are needed.

    Returns:
        A Hello, which prints as a list; each list in it is a tuple of text.

    Raises:
        ArgumentError: there is no such handshake.

    >>> import tlspcap
    >>> found = hello(1, tlspcap.read("sample_captures/intermittent-alert.pcap").tables)
    >>> found.offered.groups[:2], found.chosen.group
    (('x25519', 'secp256r1'), 'x25519')
    """
    return hello_of(row_of(handshake, tables["handshakes"]), tables["hellos"])


def hello_of(row: Row, hellos: pd.DataFrame) -> Hello:
    """Both offers of a row of the handshakes table."""
    offered, chosen = (_joined(row, f"{side}_hello_digest", hellos) for side in ("client", "server"))
    return Hello(
        int(row.name),  # type: ignore[call-overload]  # the index holds numbers
        None if offered is None else Offer(*(_split(offered[name], COMMA) for name in Offer.__dataclass_fields__)),
        None if chosen is None else _choice(row, chosen),
        None if offered is None or words.missing(offered["ja4_r"]) else str(offered["ja4_r"]),
    )


def certificate_request(handshake: int, tables: Mapping[str, pd.DataFrame]) -> CertificateRequest | None:
    """Give what the server asked of a client certificate; None where it did not, or where that is sealed.

    Args:
        handshake: its number, the row label in the handshakes table.
        tables: DataFrames by name; `handshakes` and `certificate_requests` are needed.

    Raises:
        ArgumentError: there is no such handshake.

    >>> import tlspcap
    >>> cap = tlspcap.read("sample_captures/mutual-tls.pcapng")
    >>> asked = cap.handshakes.index[cap.handshakes["client_auth"] == "certificate"][0]
    >>> certificate_request(asked, cap.tables).certificate_types
    ('rsa_sign', 'dss_sign', 'ecdsa_sign')
    """
    return request_of(row_of(handshake, tables["handshakes"]), tables["certificate_requests"])


def request_of(row: Row, requests: pd.DataFrame) -> CertificateRequest | None:
    """The certificate request of a row of the handshakes table."""
    found = _joined(row, "certificate_request_digest", requests)
    if found is None:
        return None
    types, schemes = (_split(found[name], COMMA) for name in ("certificate_types", "signature_schemes"))
    number = int(row.name)  # type: ignore[call-overload]  # the index holds numbers
    return CertificateRequest(number, types, schemes, _split(found["authorities"], SEMICOLON))


def row_of(handshake: int, handshakes: pd.DataFrame) -> Row:
    """The row of a handshake. Raises ArgumentError where there is none of that number."""
    if handshake in handshakes.index:
        found = handshakes.loc[handshake]
        return found if isinstance(found, pd.Series) else found.iloc[0]
    have = f"they go from {handshakes.index.min()} to {handshakes.index.max()}" if len(handshakes) else ""
    raise ArgumentError(f"there is no handshake {handshake}: {have or 'the table is empty'}")


def _joined(row: Row, column: str, table: pd.DataFrame) -> "Row | None":
    """The row of another table that a digest leads to."""
    if words.missing(row[column]):
        return None
    found = table[table["digest"] == row[column]]
    return None if found.empty else found.iloc[0]


def _choice(row: Row, found: Row) -> Choice:
    """What was chosen: from the handshake, which knows the key exchange too, and from its ServerHello."""
    def named(column: str) -> str | None:
        return None if words.missing(row[column]) else str(row[column])

    return Choice(
        version=named("negotiated_version"),
        cipher_suite=named("cipher"),
        group=named("group"),
        signature_scheme=named("signature_scheme"),
        alpn=named("alpn"),
        client_certificate_type=_first(found["client_certificate_types"]),
        server_certificate_type=_first(found["server_certificate_types"]),
        extensions=_split(found["extensions"], COMMA),
    )


def _first(cell: object) -> str | None:
    return next(iter(_split(cell, COMMA)), None)


def _split(cell: object, separator: str) -> Names:
    return () if words.missing(cell) else tuple(str(cell).split(separator))


# -- how it is shown ----------------------------------------------------------------------------------------------


def _text(label: str, names: Names, chosen: str | None) -> Iterator[str]:
    """Lines of a terminal: the label, the names wrapped beside it, the choice below them."""
    shown = ", ".join(words.wire(name, 200) for name in names) or words.UNKNOWN
    yield from textwrap.wrap(
        f"{label:<{LABEL}} {shown}", WIDTH, subsequent_indent=" " * (LABEL + 1), break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip
    if chosen:
        yield f"{'':<{LABEL}} {CHOSEN} {words.wire(chosen, 200)}"


def _html(label: str, names: Names, chosen: str | None) -> str:
    """A row of an HTML table."""
    shown = ", ".join(html.escape(words.wire(name, 200)) for name in names) or words.UNKNOWN
    choice = f"<b>{html.escape(words.wire(chosen, 200))}</b>" if chosen else ""
    cells = f'<td style="text-align:left">{shown}</td><td style="text-align:left">{choice}</td>'
    return f'<tr><th style="text-align:left">{html.escape(label)}</th>{cells}</tr>'
