"""The two offers side by side: what a server was offered, and what it has chosen in its other handshakes."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pandas as pd

from tlspcap import words
from tlspcap.findings.case import Case
from tlspcap.offer_rows import COMMA
from tlspcap.tls.names import version_rank_of_name

Names = tuple[str, ...]
MOST_LISTED = 6  # names of a list of suites, groups or schemes
# Signals in the list of cipher suites that are none (RFC 5746 3.3, RFC 7507 1)
SIGNALS = ("TLS_EMPTY_RENEGOTIATION_INFO_SCSV", "TLS_FALLBACK_SCSV")
TLS13_SUITES = ("TLS_AES_", "TLS_CHACHA20_POLY1305_SHA256", "TLS_SM4_")


class Offers:
    """What ClientHellos offered, by the digest that joins them with their handshakes."""

    def __init__(self, case: Case) -> None:
        self._cells = case["hellos"].drop_duplicates("digest")
        self._places = {digest: place for place, digest in enumerate(self._cells["digest"])}
        self._lists: dict[str, list[Any]] = {}

    def of(self, digest: object, column: str) -> Names:
        """Return one list of one hello, in the client's order; empty where it was not sent, or not seen."""
        if words.missing(digest) or digest not in self._places:
            return ()
        if column not in self._lists:
            self._lists[column] = self._cells[column].tolist()
        cell = self._lists[column][self._places[digest]]
        return () if words.missing(cell) else tuple(name for name in str(cell).split(COMMA) if name not in SIGNALS)

    def of_all(self, digests: Iterable[object], column: str) -> Names:
        """Return one list of several hellos, put together in their order."""
        return tuple(dict.fromkeys(name for digest in digests for name in self.of(digest, column)))


class Choices:
    """What some servers chose in the handshakes of this capture that they answered."""

    COLUMNS = ("cipher", "group", "signature_scheme")

    def __init__(self, case: Case, servers: Iterable[str]) -> None:
        table = case.answered[["server", "negotiated_version", *self.COLUMNS]]
        kinds = table[table["server"].isin(list(servers))].drop_duplicates()
        self._seen: dict[tuple[str, str, str], set[str]] = {}
        for server, version, *names in kinds.itertuples(False, None):
            for column, name in zip(self.COLUMNS, names, strict=True):
                if not words.missing(name):
                    self._seen.setdefault((server, version, column), set()).add(name)

    def of(self, server: str, versions: Iterable[str], column: str) -> set[str]:
        """Return what the server chose, in that column, with one of some versions."""
        return {name for version in versions for name in self._seen.get((server, version, column), ())}


def looked_up(keys: "pd.Series[str]", numbers: "pd.Series[float]") -> "pd.Series[float]":
    """Look up a number for each key, NaN where there is none; the index of `numbers` holds each key once."""
    return pd.Series(numbers.reindex(keys.to_numpy(object)).to_numpy("float64"), index=keys.index)


def ranks(versions: "pd.Series[str]") -> "pd.Series[float]":
    """Rank versions, NaN where there is none; each distinct name is looked up once."""
    known = {name: version_rank_of_name(name) for name in versions.dropna().unique()}
    return looked_up(versions, pd.Series(known, dtype="float64"))


def extremes(versions: "pd.Series[str]") -> tuple[str, str]:
    """Return the lowest and the highest of some versions."""
    names = sorted(versions.dropna().unique(), key=version_rank_of_name) or [words.UNKNOWN]
    return names[0], names[-1]


def lowest_offered(versions: "pd.Series[str]") -> "pd.Series[str]":
    """Return the lowest of each list of versions, which are written highest first."""
    return versions.str.rsplit(",", n=1).str[-1]


def named(names: Iterable[str], most: int = MOST_LISTED) -> str:
    """List names from the wire, the first few."""
    return words.listed([words.wire(name, 60) for name in names], most)


def alert(rows: pd.DataFrame) -> str:
    """Name how the first of the rows ended: "handshake_failure (40)", "connection reset"."""
    row = rows.iloc[0]
    return words.what_happened(row.failure_mechanism, row.alert, row.alert_code, row.certainty)


def who_offers(rows: pd.DataFrame) -> str:
    """Begin a sentence on what clients offer: "Client 10.0.0.5 offers", "3 clients offer"."""
    names = rows["client_ip"].dropna().unique()
    if len(names) == 1:
        return f"Client {words.wire(names[0])} offers"
    return f"{words.count(len(names), 'client')} offer"


def client_list(rows: pd.DataFrame, most: int = 5) -> str:
    """List clients by address and fingerprint (where each has but one), with how many handshakes of each."""
    prints: dict[object, set[object]] = {}
    for ip, ja4 in zip(rows["client_ip"], rows["ja4"], strict=True):
        prints.setdefault(ip, set()).add(ja4)
    return words.listed(
        [f"{words.wire(ip)} ({_print(prints[ip])}{n:,})" for ip, n in Counter(rows["client_ip"]).most_common()], most
    )


def _print(ja4s: set[object]) -> str:
    if len(ja4s) > 1:
        return f"{len(ja4s):,} fingerprints, "
    (ja4,) = ja4s
    return "" if words.missing(ja4) else f"JA4 {words.wire(ja4)}, "
