"""What the rules work on: the tables of a capture, and which of its failures no rule has explained yet."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tlspcap import schema
from tlspcap import tables as tables_room
from tlspcap.findings.presented import Presented, presented
from tlspcap.grouping import is_outcome, server
from tlspcap.tls.trust import anchors

# What rules about failures ask for. Fewer columns, and of one dtype, are taken apart much faster.
TEXTS = [
    "id", "capture", "client_ip", "server", "sni", "alpn_offered", "alpn", "offered_versions", "offered_version_max",
    "negotiated_version", "version", "cipher", "group", "signature_scheme", "certificate_sha256",
    "client_certificate_sha256", "ja4", "alert", "reason", "client_hello_digest", "certificate_request_digest",
    "transport", "client_auth", "outcome", "certainty", "failure_phase", "failure_side", "failure_mechanism",
]  # fmt: skip
OTHERS = [
    "stream", "frame", "time", "client_port", "server_ip", "server_port", "hello_retry", "alert_code", "handshake_ms",
]  # fmt: skip

# What they ask of the handshakes that came further.
TAKEN = [
    "id", "client_ip", "server", "sni", "alpn", "negotiated_version", "cipher", "group", "signature_scheme",
    "certificate_sha256", "alert", "client_hello_digest", "client_auth",
]  # fmt: skip


class Case:
    """The tables of a capture, as rules see them.

    A table that was not read is an empty one. Rules ask for `open` where they explain failures: each is explained by
    the first rule that names it in a finding of severity error, so rules that know more stand before those that know
    less. No rule changes a table.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], ca: str | Path | None = None) -> None:
        self.tables = tables
        self.anchors = None if ca is None else anchors(ca)  # trusted roots; without them nothing is said about trust
        # Rows are told apart by `id`; where captures were joined, several rows may be of one handshake.
        self._numbers, ids = pd.factorize(tables["handshakes"]["id"].to_numpy(object))
        self._number_of: dict[str, int] = {one: number for number, one in enumerate(ids)}
        self._explained = np.zeros(len(ids), bool)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return the table of that name: empty where it was not read, each row once where captures were joined."""
        found = self.tables.get(name)
        if found is None:
            return tables_room.empty(name)
        key = list(schema.TABLES[name].key)
        return found.drop_duplicates(key) if key else found

    @cached_property
    def handshakes(self) -> pd.DataFrame:
        """The handshakes table, with two more columns: `server`, the address and port, and `place`, the row number."""
        table = self.tables["handshakes"]
        return table.assign(server=server(table), place=np.arange(len(table)))

    @cached_property
    def is_failed(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which handshakes failed."""
        return is_outcome(self.handshakes, "failed")

    @cached_property
    def failed(self) -> pd.DataFrame:
        """All handshakes that failed, with the columns that are named above; what is NA in a text is None."""
        return _narrow(self.handshakes, self.is_failed, [*TEXTS, *OTHERS])

    @property
    def open(self) -> pd.DataFrame:
        """Those of `failed` that no rule has explained so far."""
        return self.failed[~self._explained[self._numbers[self.is_failed]]]

    def is_open(self, rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
        """Which of some rows of `handshakes` failed and were not explained so far."""
        chosen: npt.NDArray[np.bool_] = (self.is_failed & ~self._explained[self._numbers])[rows["place"].to_numpy()]
        return chosen

    @cached_property
    def established(self) -> pd.DataFrame:
        """All handshakes that succeeded, with the columns that are named above for them."""
        return _narrow(self.handshakes, is_outcome(self.handshakes, "established"), TAKEN)

    @cached_property
    def answered(self) -> pd.DataFrame:
        """All handshakes with a ServerHello, with the same columns as `established`."""
        return _narrow(self.handshakes, self.handshakes["negotiated_version"].notna().to_numpy(), TAKEN)

    @cached_property
    def presented(self) -> Presented:
        """The chains of servers, and the handshakes that showed them."""
        return presented(self.handshakes, self["certificates"])

    def explain(self, ids: Iterable[str]) -> None:
        """Mark handshakes as explained."""
        self._explained[self._known(ids)] = True

    def count_failed(self, ids: Iterable[str]) -> int:
        """Count those of the handshakes that failed."""
        return int(self._has_failed[self._known(ids)].sum())

    def _known(self, ids: Iterable[str]) -> list[int]:
        return [self._number_of[one] for one in ids if one in self._number_of]

    def first(self, ids: Iterable[str]) -> int:
        """Return a number by which handshakes are in the table's order: of their first, or one behind all."""
        return min(self._known(ids), default=len(self._number_of))

    @cached_property
    def _has_failed(self) -> npt.NDArray[np.bool_]:
        """Which numbers are of handshakes that failed."""
        return np.bincount(self._numbers[self.is_failed], minlength=len(self._number_of)) > 0


def _narrow(table: pd.DataFrame, chosen: npt.NDArray[np.bool_], columns: list[str]) -> pd.DataFrame:
    cells = {name: table[name][chosen] for name in columns}
    return pd.DataFrame({name: _text(column) if name in TEXTS else column for name, column in cells.items()})


def _text(cells: "pd.Series[Any]") -> "pd.Series[Any]":
    known: pd.Series[Any] = cells.astype(object)
    return known.where(cells.notna(), None)
