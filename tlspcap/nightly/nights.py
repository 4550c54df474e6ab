"""One row per night and server: what `trend` shows and `check` judges.

A store is summed up piece by piece: a piece is some nights' rows of a few columns, of which only counts per client and
quantiles of durations are kept. All else is worked out from those counts, which are small however many handshakes there
are.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.failures import effective_of_clients
from tlspcap.grouping import closed_rank, server
from tlspcap.nightly.store import Store, decoded
from tlspcap.statistics import Floats, Ints, wilson

if TYPE_CHECKING:
    import pyarrow as pa

BY = "server"
SERVER = ("server_ip", "server_port")
NEEDED = ("outcome", "client_ip", "handshake_ms")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}  # of durations; told where at least 1 / (1 - q) were measured
COUNTS = ["n", "established", "failed"]
COLUMNS = ("date", BY, *COUNTS, "unknown", "clients", "failure_ratio", "ci_low", "ci_high", "without_retries",
           "effective", "timed", *QUANTILES)  # fmt: skip
FREE, TIMES = 3, 3  # failures of a client that count in any case; times what its other handshakes let expect, besides
ROUNDS = 6  # until what is expected changes no more


def nights(store: Store, by: str = BY, dates: Iterable[str] | None = None) -> pd.DataFrame:
    """Summarise every night of a store.

    Args:
        store: the store, or a slice of it.
        by: a column of handshakes, or "server" for address and port.
        dates: UTC dates of the store, of which the first and the last count; all of it without.

    Returns:
        The table of `summary`.
    """
    if dates is not None:
        wanted = sorted(dates)
        store = store.select(since=wanted[0], until=wanted[-1])
    return together([of_piece(named(piece), by) for piece in store.pieces({*NEEDED, *columns_of(by)})], by)


def of_piece(piece: "pa.Table", by: str = BY) -> pd.DataFrame:
    """Summarise the nights of a piece (see `named`), which has them whole: of its clients nothing is kept."""
    return summary(per_client(piece, by), durations(piece, by), by)


def together(parts: Sequence[pd.DataFrame], by: str = BY) -> pd.DataFrame:
    """Put the summaries of pieces, which come in order of their dates, together."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return pd.DataFrame(columns=[by if column == BY else column for column in COLUMNS])
    return pd.concat(kept, ignore_index=True)


def columns_of(by: str) -> tuple[str, ...]:
    """The columns of handshakes that tell the values of `by`."""
    return SERVER if by == BY else (by,)


def summary(clients: pd.DataFrame, times: pd.DataFrame, by: str = BY) -> pd.DataFrame:
    """Work out each night from counts.

    Args:
        clients: counts per date, value of `by` and client (see `per_client`).
        times: quantiles per date and value of `by` (see `durations`).
        by: the column that both have.

    Returns:
        One row per date and value of `by`: n, established, failed, unknown and clients (counts), failure_ratio with its
        95 % interval (Wilson's), without_retries (float64: the ratio, in which one client's retries count little; see
        `steadied`), effective (float64: on how many independent handshakes that rests, given that those of one client
        are alike; see `failures.effective_base`), timed (how many durations were measured), and
        p50, p95 and p99 (float64, ms: quantiles of handshake_ms of established handshakes; NaN with fewer than 2, 20
        and 100). Dates in order, in each of them the most failures first, versions in their order.

    Example:
        >>> clients = pd.DataFrame({"date": "2026-11-03", "server": "192.0.2.1:443", "n": [3, 2], "failed": [0, 2],
        ...                         "established": [3, 0], "client_ip": ["10.0.0.1", "10.0.0.2"]})
        >>> times = pd.DataFrame({"date": ["2026-11-03"], "server": ["192.0.2.1:443"], "timed": 3, "p50": 5.0,
        ...                       "p95": float("nan"), "p99": float("nan")})
        >>> summary(clients, times)[["server", "n", "failed", "failure_ratio", "p50"]].to_dict("records")
        [{'server': '192.0.2.1:443', 'n': 5, 'failed': 2, 'failure_ratio': 0.4, 'p50': 5.0}]
    """
    groups = clients.groupby(["date", by], sort=False, dropna=False)
    sums = groups[COUNTS].sum()
    found = sums.reset_index().assign(unknown=(sums["n"] - sums["established"] - sums["failed"]).to_numpy())
    found["clients"] = groups["client_ip"].nunique().to_numpy()
    base = (found["failed"] + found["established"]).to_numpy(np.float64)
    ratio = np.divide(found["failed"].to_numpy(np.float64), base, out=np.full(len(base), np.nan), where=base > 0)
    low, high = wilson(ratio, base)
    steady, effective = _steady(np.asarray(groups.ngroup(), np.int64), clients, len(found))
    effective = np.where(np.isnan(effective), base, effective)  # one client: nights differ as much as they differ
    found = found.assign(failure_ratio=ratio, ci_low=low, ci_high=high, without_retries=steady, effective=effective)
    found = found.merge(times, on=["date", by], how="left").fillna({"timed": 0}).astype({"timed": np.int64})
    return _ordered(found, by)[[by if column == BY else column for column in COLUMNS]]


def _steady(codes: Ints, clients: pd.DataFrame, groups: int) -> tuple[Floats, Floats]:
    """The ratio of each group without retries, and on how many independent handshakes it rests."""
    failed, established = (clients[name].to_numpy(np.float64) for name in ("failed", "established"))
    some = failed + established > 0
    codes, established = codes[some], established[some]
    failed = steadied(codes, failed[some], established, groups)
    base = np.bincount(codes, failed + established, groups)
    ratio = np.divide(np.bincount(codes, failed, groups), base, out=np.full(groups, np.nan), where=base > 0)
    return ratio, effective_of_clients(codes, failed + established, failed, groups)[0]


def steadied(codes: Ints, failed: Floats, established: Floats, groups: int) -> Floats:
    """Count the failures of each client of each group so that one client's retry loop counts little.

    A client that fails tries again, often at once and all night; its hundreds of failures are one trouble. Of each
    client, FREE failures count, and beyond them TIMES as many as its established handshakes let expect at the ratio of
    its group, itself reckoned in this way: so the failures of a busy client of a server that fails often all count.

    Example:
        >>> failed, established = np.array([1.0, 2.0, 500.0]), np.array([49.0, 48.0, 50.0])
        >>> steadied(np.zeros(3, np.int64), failed, established, 1).round(1).tolist()
        [1.0, 2.0, 36.7]
    """
    counted = failed
    for _ in range(ROUNDS):
        base = np.maximum(np.bincount(codes, counted + established, groups), 1)
        ratio = np.bincount(codes, counted, groups) / base
        counted = np.minimum(failed, FREE + TIMES * established * ratio[codes])
    return counted


def _ordered(found: pd.DataFrame, by: str) -> pd.DataFrame:
    rank = closed_rank(found[by])
    if rank is not None:
        return found.assign(rank=rank).sort_values(["date", "rank"], kind="stable", ignore_index=True)
    return found.sort_values(["date", "failed", "n", by], ascending=[True, False, False, True], ignore_index=True)


# -- pieces of a store ------------------------------------------------------------------------------------------


def named(piece: "pa.Table") -> "pa.Table":
    """Add the column `server` to a piece of a store that has its address and port."""
    import pyarrow as pa

    if not {*SERVER} <= {*piece.column_names}:
        return piece
    codes, found = _coded(piece.select(SERVER))
    servers = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(server(found), pa.string()))
    return piece.append_column(BY, servers)


def per_client(piece: "pa.Table", by: str = BY) -> pd.DataFrame:
    """Count the handshakes of a piece: date, `by`, client_ip, n, established, failed."""
    return counted(piece, by, "client_ip")


def counted(piece: "pa.Table", by: str, *columns: str) -> pd.DataFrame:
    """Count the handshakes of a piece per date, `by`, and some more columns: n, established, failed."""
    import pyarrow as pa
    from pyarrow import compute

    keys = list(dict.fromkeys(["date", by, *columns]))
    outcomes = {name: compute.fill_null(compute.equal(piece["outcome"], name), False) for name in COUNTS[1:]}
    table = piece.select(keys)
    for name, marked in outcomes.items():
        table = table.append_column(f"is_{name}", marked.cast(pa.int64()))
    sums = [("is_established", "sum"), ("is_failed", "sum")]
    found = decoded(table.group_by(keys).aggregate([([], "count_all"), *sums])).to_pandas()
    names = {"count_all": "n", "is_established_sum": "established", "is_failed_sum": "failed"}
    return pd.DataFrame(found.rename(columns=names))


def durations(piece: "pa.Table", by: str = BY) -> pd.DataFrame:
    """Tell quantiles of the durations of established handshakes: date, `by`, timed, p50, p95, p99 (ms)."""
    from pyarrow import compute

    measured = compute.is_valid(piece["handshake_ms"])
    kept = piece.filter(compute.and_(measured, compute.equal(piece["outcome"], "established")))
    codes, found = _coded(kept.select(["date", by]))
    values = kept["handshake_ms"].to_numpy()
    order = np.lexsort((values, codes))
    count = np.bincount(codes, minlength=len(found))
    first = np.concatenate([[0], np.cumsum(count)[:-1]]).astype(np.int64)
    told = {name: _quantile(values[order], first, count, q) for name, q in QUANTILES.items()}
    return found.assign(timed=count, **told)


def _quantile(values: Floats, first: Ints, count: Ints, q: float) -> Floats:
    """The quantile of each stretch of sorted values, between neighbours by their distance; NaN where too few."""
    if not len(values):
        return np.full(len(count), np.nan)
    place = q * np.maximum(count - 1, 0)  # within the stretch, so that its fraction does not rest on where that lies
    down = np.floor(place).astype(np.int64)
    below, above = values[first + down], values[first + np.minimum(down + 1, np.maximum(count - 1, 0))]
    enough = count >= round(1 / (1 - q))
    return np.where(enough, below + (place - down) * (above - below), np.nan)


def _coded(keys: "pa.Table") -> tuple[Ints, pd.DataFrame]:
    """Number the distinct rows; give each row's number, and the distinct rows in the order of their numbers."""
    import pyarrow as pa

    codes: Ints = np.zeros(len(keys), np.int64)
    for name in keys.column_names:
        own = keys[name].combine_chunks()
        own = own if isinstance(own, pa.DictionaryArray) else own.dictionary_encode()
        numbers = own.indices.fill_null(len(own.dictionary)).to_numpy().astype(np.int64)
        codes = pd.factorize(codes * (len(own.dictionary) + 1) + numbers)[0].astype(np.int64)
    first = np.empty(codes.max(initial=-1) + 1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]  # of several that are written to one place the last one stays
    return codes, decoded(keys.take(first)).to_pandas()


def last_nights(store: Store, days: int) -> Store:
    """Narrow a store to its last so many dates.

    Raises ArgumentError where `days` is below 1.
    """
    if days < 1:
        raise ArgumentError(f"days: {days!r} make no sense; give 1 or more")
    dates = store.dates[-days:]
    return store.select(since=dates[0], until=dates[-1]) if dates else store


def added(parts: Sequence[pd.DataFrame], keys: list[str]) -> pd.DataFrame:
    """Add up counts of pieces, in order of their keys."""
    if not parts:
        return pd.DataFrame(columns=[*keys, *COUNTS])
    groups: Any = pd.concat(parts, ignore_index=True).groupby(keys, dropna=False, sort=True)
    result: pd.DataFrame = groups[COUNTS].sum().reset_index()
    return result
