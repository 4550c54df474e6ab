"""What the rules work on: the tables of a capture, and which of its failures no rule has explained yet."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from tlspcap import tables as tables_room
from tlspcap.grouping import is_outcome, server


class Case:
    """The tables of a capture, as rules see them.

    A table that was not read is an empty one. Rules ask for `open` where they explain failures: each is explained by
    the first rule that names it in a finding of severity error, so rules that know more stand before those that know
    less. No rule changes a table.
    """

    def __init__(self, tables: Mapping[str, pd.DataFrame], ca: Path | None = None) -> None:
        self.tables = tables
        self.ca = ca  # certificates of trusted authorities (PEM); without it nothing is said about trust
        self._explained = np.zeros(len(tables["handshakes"]), bool)

    def __getitem__(self, name: str) -> pd.DataFrame:
        """Return the table of that name; empty where it was not read."""
        found = self.tables.get(name)
        return tables_room.empty(name) if found is None else found

    @cached_property
    def handshakes(self) -> pd.DataFrame:
        """The handshakes table, with `server`, the address and port, as a further column."""
        table = self.tables["handshakes"]
        return table.assign(server=server(table))

    @cached_property
    def is_failed(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which handshakes failed."""
        return is_outcome(self.handshakes, "failed")

    @property
    def failed(self) -> pd.DataFrame:
        """All handshakes that failed."""
        return self.handshakes[self.is_failed]

    @property
    def open(self) -> pd.DataFrame:
        """The handshakes that failed and that no rule has explained so far."""
        return self.handshakes[self.is_failed & ~self._explained]

    @cached_property
    def established(self) -> pd.DataFrame:
        """All handshakes that succeeded."""
        return self.handshakes[is_outcome(self.handshakes, "established")]

    def explain(self, ids: Iterable[str]) -> None:
        """Mark handshakes as explained."""
        found = self._places.get_indexer(pd.Index(list(ids), dtype=object))
        self._explained[found[found >= 0]] = True

    def count_failed(self, ids: Iterable[str]) -> int:
        """Count those of the handshakes that failed."""
        found = self._places.get_indexer(pd.Index(list(ids), dtype=object))
        return int(self.is_failed[found[found >= 0]].sum())

    @cached_property
    def _places(self) -> pd.Index:
        ids: pd.Index = pd.Index(self.tables["handshakes"]["id"].to_numpy(object))
        return ids
