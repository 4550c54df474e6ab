"""One row per night and server: what `trend` shows and `check` judges. A store is read a date at a time for it."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.failures import effective_base
from tlspcap.grouping import group, is_outcome, server
from tlspcap.nightly.store import Store
from tlspcap.statistics import wilson

NEEDED = ("outcome", "server_ip", "server_port", "client_ip", "handshake_ms")
COLUMNS = ("date", "server", "n", "established", "failed", "unknown", "clients", "failure_ratio", "ci_low", "ci_high",
           "effective", "p50", "p95")  # fmt: skip
BY = "server"


def nights(store: Store, by: str = BY, dates: Iterable[str] | None = None) -> pd.DataFrame:
    """Summarise every night of a store.

    Args:
        store: the store, or a slice of it.
        by: a column of handshakes, or "server" for address and port.
        dates: UTC dates; all of the store's without.

    Returns:
        One row per date and value of `by`, with the columns of `night`.
    """
    wanted = store.dates if dates is None else list(dates)
    columns = [*NEEDED, *([] if by == BY or by in NEEDED else [by])]
    parts = [night(store.select(since=d, until=d).table("handshakes", columns), d, by) for d in wanted]
    if not parts:
        return pd.DataFrame(columns=[by if column == BY else column for column in COLUMNS])
    return pd.concat(parts, ignore_index=True)


def night(handshakes: pd.DataFrame, date: str, by: str = BY) -> pd.DataFrame:
    """Summarise one night.

    Returns:
        One row per value of `by`: n, established, failed, unknown and clients (counts), failure_ratio with its 95 %
        interval (Wilson's), effective (float64: on how many independent handshakes the ratio rests, given that those of
        one client are alike; see `failures.effective_base`), and p50 and p95 (float64, ms: quantiles of handshake_ms of
        established handshakes; NaN with fewer than 2 and 20).

    >>> rows = pd.DataFrame({"outcome": ["established", "failed"] * 2, "server_ip": "192.0.2.1", "server_port": 443,
    ...                      "client_ip": ["10.0.0.1", "10.0.0.2"] * 2, "handshake_ms": 5.0})
    >>> night(rows, "2026-11-03")[["server", "n", "failed", "p50"]].to_dict("records")
    [{'server': '192.0.2.1:443', 'n': 4, 'failed': 2, 'p50': 5.0}]
    """
    rows = handshakes.assign(server=server(handshakes)) if by == BY else handshakes
    groups = group(rows, by)
    failed, established = is_outcome(rows, "failed"), is_outcome(rows, "established")
    decided = failed | established
    n, k, done = groups.count(), groups.count(failed), groups.count(established)
    base = (k + done).astype(np.float64)
    ratio = np.divide(k, base, out=np.full(len(base), np.nan), where=base > 0)
    low, high = wilson(ratio, base)
    effective, _ = effective_base(groups, rows["client_ip"], failed, decided)
    effective = np.where(np.isnan(effective), base, effective)  # one client: nights differ as much as they differ
    pairs = pd.DataFrame({"group": groups.codes, "client": rows["client_ip"].to_numpy(object)}).drop_duplicates()
    times = rows["handshake_ms"].to_numpy(np.float64, na_value=np.nan)
    usable = established & ~np.isnan(times)
    grouped = pd.Series(times[usable]).groupby(groups.codes[usable])
    count = groups.count(usable)

    def quantile(q: float, needed: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        found = grouped.quantile(q).reindex(range(len(n))).to_numpy(np.float64)
        return np.where(count >= needed, found, np.nan)

    told = {
        "date": date, by: groups.index.to_numpy(object), "n": n, "established": done, "failed": k,
        "unknown": n - k - done, "clients": np.bincount(pairs["group"], minlength=len(n)), "failure_ratio": ratio,
        "ci_low": low, "ci_high": high, "effective": effective, "p50": quantile(0.5, 2), "p95": quantile(0.95, 20),
    }  # fmt: skip
    return pd.DataFrame(told)


def last_nights(store: Store, days: int) -> Store:
    """Narrow a store to its last so many dates.

    Raises ArgumentError where `days` is below 1.
    """
    if days < 1:
        raise ArgumentError(f"days: {days!r} make no sense; give 1 or more")
    dates = store.dates[-days:]
    return store.select(since=dates[0], until=dates[-1]) if dates else store
