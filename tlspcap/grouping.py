"""Rows of a handshakes table put into groups, in the order in which every table and plot shows them."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlspcap.errors import ArgumentError
from tlspcap.tls.names import version_rank_of_name

By = str | Sequence[str] | None
Ints = NDArray[np.int64]

VERSION_COLUMNS = frozenset({"version", "negotiated_version", "offered_version_max"})


@dataclass(frozen=True)
class Groups:
    """Which group each row belongs to: `index` names the groups in order, `codes` holds a position in it per row."""

    index: pd.Index
    codes: Ints

    def count(self, rows: NDArray[np.bool_] | None = None) -> Ints:
        """Count the rows of each group (int64), or only those that `rows` marks."""
        return np.bincount(self.codes if rows is None else self.codes[rows], minlength=len(self.index))


def group(handshakes: pd.DataFrame, by: By) -> Groups:
    """Put every row into the group of its values in `by`; None is one group, "all".

    NA is a value like any other and has its own group. Versions come in their order and categories in that of their
    closed list, NA last; all else with the most failures first, then the most rows, then by value.

    Raises:
        ArgumentError: a column of `by` does not exist; the message names the nearest one that does.
    """
    names = [] if by is None else [by] if isinstance(by, str) else list(dict.fromkeys(by))
    require(handshakes, "outcome", *names)
    if not names:
        everything = pd.Index(["all"][: len(handshakes)], dtype="string")
        return Groups(everything, np.zeros(len(handshakes), np.int64))
    codes, first = distinct(handshakes[names])
    keys = handshakes[names].iloc[first]
    failed = np.bincount(codes[is_outcome(handshakes, "failed")], minlength=len(keys))
    order = _order(keys, failed, np.bincount(codes, minlength=len(keys)))
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Groups(_index(keys.iloc[order]), place[codes])


def require(table: pd.DataFrame, *names: str) -> None:
    """Raise ArgumentError unless `table` is a DataFrame that has all columns called `names`."""
    if not isinstance(table, pd.DataFrame):
        raise ArgumentError(f"a handshakes DataFrame is needed, not {type(table).__name__}")
    for name in names:
        if name not in table.columns:
            raise ArgumentError(f"there is no column {name!r}{nearest(name, table.columns)}")


def nearest(word: object, words: Sequence[str] | pd.Index) -> str:
    """Say, for an error message, which of `words` was probably meant; nothing where none is near."""
    near = difflib.get_close_matches(str(word), [str(w) for w in words], n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def is_outcome(handshakes: pd.DataFrame, outcome: str) -> NDArray[np.bool_]:
    """Mark the rows of that outcome, whether the column is a category or, after a concatenation, plain text."""
    return (handshakes["outcome"] == outcome).to_numpy(dtype=bool, na_value=False)


def distinct(table: pd.DataFrame) -> tuple[Ints, Ints]:
    """Give equal rows of `table` equal numbers (NA equals NA); return each row's, and where each number is first."""
    codes: Ints = np.zeros(len(table), np.int64)
    first: Ints = codes[:1]
    for name in table.columns:
        own = pd.factorize(table[name])[0].astype(np.int64) + 1  # factorize numbers NA -1
        _, first, codes = np.unique(codes * (own.max(initial=0) + 1) + own, return_index=True, return_inverse=True)
    return codes, first


def server(handshakes: pd.DataFrame) -> "pd.Series[str]":
    """Name each row's server as address:port, an IPv6 address in brackets (RFC 3986 3.2.2)."""
    address = handshakes["server_ip"].astype("string")
    bracketed = address.where(~address.str.contains(":", regex=False, na=False), "[" + address + "]")
    return (bracketed + ":" + handshakes["server_port"].astype("string")).rename("server")


def _order(keys: pd.DataFrame, failed: Ints, rows: Ints) -> Ints:
    """Order groups column by column; within one value of the first column, the next decides."""
    sort_keys: list[NDArray[Any]] = []
    for position, name in enumerate(keys.columns, start=1):
        rank = closed_rank(keys[name])
        if rank is not None:
            sort_keys.append(rank)
        else:
            shared, _ = distinct(keys.iloc[:, :position])
            sort_keys += [-np.bincount(shared, weight)[shared] for weight in (failed, rows)]
        sort_keys.append(_value_rank(keys[name]))
    return np.lexsort(sort_keys[::-1]).astype(np.int64)


def closed_rank(values: "pd.Series[Any]") -> NDArray[np.float64] | None:
    """Rank values that have an order of their own, NA last; None where they have none."""
    if values.name in VERSION_COLUMNS:
        return np.array([np.inf if pd.isna(name) else version_rank_of_name(name) for name in values], np.float64)
    if isinstance(values.dtype, pd.CategoricalDtype):
        codes = values.cat.codes.to_numpy(np.float64)
        return np.where(codes < 0, np.inf, codes)
    return None


def _value_rank(values: "pd.Series[Any]") -> NDArray[Any]:
    """Rank values among themselves, numbers by size and all else as text, to settle ties the same way every time."""
    if pd.api.types.is_numeric_dtype(values.dtype):
        return values.to_numpy(np.float64, na_value=np.inf)
    return np.unique(values.astype(str).fillna("").to_numpy(str), return_inverse=True)[1]


def _index(keys: pd.DataFrame) -> pd.Index:
    """Make the index of a result: the values themselves for one column, a MultiIndex for several."""
    if keys.shape[1] > 1:
        return pd.MultiIndex.from_frame(keys)
    index: pd.Index = pd.Index(keys.iloc[:, 0], name=keys.columns[0])
    return index
