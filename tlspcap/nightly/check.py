"""The gate for cron: whether the last night keeps the limits, and is in line with the nights before.

Absolute limits are plain comparisons. Regressions are tests (see `regression`), of many servers and measures at once:
Holm's correction keeps the chance of any false alarm in a healthy night within ALPHA, and what is significant but small
is left alone.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.nightly.nights import nights
from tlspcap.nightly.regression import Verdict, judge, of_durations, of_failures
from tlspcap.nightly.store import Store
from tlspcap.statistics import holm

ALPHA = 0.002  # a healthy night's chance of any false alarm: about one in a year, as one may be told more than once
NIGHTS = 56  # before the present one, that it is compared with
TOGETHER = (1, 3)  # last nights that are compared as one: a jump shows at once, a smaller step in three nights
SMALLEST_RISE = 1.25  # times what was expected; less is not worth waking anyone
SMALLEST_RATIO = 0.005  # rise of a failure ratio
SMALLEST_MS = 2.0  # rise of a median duration
DAY = 86_400  # seconds
MEASURES = ("age_days", "failure_ratio", "p95_ms", "certificate_days", "failure_ratio_regression", "p50_ms_regression")


@dataclass(frozen=True)
class Limits:
    """What a night must keep; None: no limit."""

    max_failure_ratio: float | None = None  # of any server, 0 to 1
    max_p95_ms: float | None = None  # 95 % of a server's established handshakes are done within
    min_certificate_days: float | None = None  # that a server's leaf is still valid
    min_handshakes: int = 20  # of a server, for its ratio to be judged
    regression: bool = False  # compare with the nights before
    max_age_days: float | None = None  # of the last night, from its end to now


@dataclass(frozen=True)
class Breach:
    """One limit that was not kept, or one measure that got worse."""

    measure: str  # one of MEASURES
    what: str  # the server, or the certificate
    value: float
    limit: float  # or what was expected
    sentence: str


def check(store: Store, limits: Limits, date: str | None = None, now: float | None = None) -> list[Breach]:
    """Judge one night of a store.

    Args:
        store: the store, or a slice of it.
        limits: what to look for.
        date: the night, as a UTC date; the last one without.
        now: seconds since 1970 at which the night's age counts; the present without.

    Returns:
        What was not kept, each with a sentence: absolute limits first, then regressions, then certificates.

    Raises:
        ArgumentError: the store has no such night.

    Example:
        >>> from tlspcap.nightly.store import open_store
        >>> check(open_store("sample_captures"), Limits(max_failure_ratio=0.05))
        Traceback (most recent call last):
        tlspcap.errors.StoreError: sample_captures: no store (captures.parquet is missing); `tlspcap batch` makes one
    """
    dates = [one for one in store.dates if date is None or one <= date]
    if not dates or (date is not None and dates[-1] != date):
        raise ArgumentError(f"{store.path}: no handshakes of {date or 'any night'} in the store")
    if not limits.regression:
        dates = dates[-1:]
    found = [*_stale(dates[-1], limits.max_age_days, time.time() if now is None else now)]
    found += check_nights(nights(store, dates=dates[-NIGHTS - 1 :]), limits)
    if limits.min_certificate_days is not None:
        night = store.select(since=dates[-1], until=dates[-1])
        found += list(_expiring(night, dates[-1], limits.min_certificate_days))
    return found


def _stale(date: str, limit: float | None, now: float) -> Iterator[Breach]:
    age = (now - night_end(date)) / DAY
    if limit is not None and age > limit:
        yield Breach("age_days", date, age, limit,
                     f"the last night in the store is {date}, which ended {age:,.1f} days ago; {limit:,g} are allowed: "
                     "was there a capture, and did batch run?")  # fmt: skip


def night_end(date: str) -> float:
    """When a night, which is a UTC date, is over: seconds since 1970."""
    return pd.Timestamp(date, tz="UTC").timestamp() + DAY


def check_nights(table: pd.DataFrame, limits: Limits) -> list[Breach]:
    """Judge the last night of a table of nights (see `nights.night`)."""
    last = table[table["date"] == table["date"].max()]
    found = [*_failing(last, limits), *_slow(last, limits)]
    return found + (regressions(table) if limits.regression else [])


def _failing(last: pd.DataFrame, limits: Limits) -> Iterator[Breach]:
    limit = limits.max_failure_ratio
    for row in last.to_dict("records") if limit is not None else ():
        assert limit is not None
        base = row["failed"] + row["established"]
        if base >= max(limits.min_handshakes, 1) and row["failure_ratio"] > limit:
            interval = f"95 % interval {_percent(row['ci_low'])} to {_percent(row['ci_high'])}"
            told = f"{row['server']}: {row['failed']:,} of {base:,} handshakes failed "
            told += f"({_percent(row['failure_ratio'])}, {interval}; {row['clients']:,} clients), "
            yield Breach("failure_ratio", row["server"], row["failure_ratio"], limit,
                         f"{told}more than the {_percent(limit)} allowed on {row['date']}")  # fmt: skip


def _slow(last: pd.DataFrame, limits: Limits) -> Iterator[Breach]:
    limit = limits.max_p95_ms
    for row in last.to_dict("records") if limit is not None else ():
        assert limit is not None
        if row["established"] >= limits.min_handshakes and row["p95"] > limit:
            told = f"{row['server']}: 5 % of {row['established']:,} handshakes took more than {row['p95']:,.1f} ms, "
            yield Breach("p95_ms", row["server"], row["p95"], limit,
                         f"{told}where {limit:,.1f} ms are allowed on {row['date']}")  # fmt: skip


def _expiring(night: Store, date: str, limit: float) -> Iterator[Breach]:
    from tlspcap.nightly.trend import certificates

    for row in certificates(night).to_dict("records"):
        if row["days_left"] < limit:
            days, ends = abs(row["days_left"]), f"{row['not_after']:%Y-%m-%d}"
            when = f"expired on {ends}, {days:,.0f} days before" if row["days_left"] < 0 else (
                f"expires on {ends}, {days:,.0f} days after")  # fmt: skip
            yield Breach("certificate_days", row["sha256"], row["days_left"], limit,
                         f"certificate {row['subject']} of {row['servers']} {when} the end of {date}; "
                         f"{limit:,.0f} are wanted")  # fmt: skip


def regressions(table: pd.DataFrame) -> list[Breach]:
    """Tell which servers' last night is worse than the nights before let expect.

    Args:
        table: nights of some servers (see `nights.summary`).
    """
    tried = list(_tried(table))
    adjusted = holm([verdict.p_value for _, _, verdict in tried]) if tried else np.empty(0)
    found: dict[tuple[str, str], Breach] = {}
    for (row, measure, verdict), p in zip(tried, adjusted, strict=True):
        breach = _regressed(table.loc[row], measure, verdict, float(p)) if p < ALPHA else None
        if breach is not None:
            found.setdefault((breach.what, measure), breach)
    return list(found.values())


def _tried(table: pd.DataFrame) -> Iterator[tuple[Any, str, Verdict]]:
    """Put each server's last night to the tests: the label of its row, the measure, the verdict."""
    if table.empty:
        return
    rows = table.sort_values(["server", "date"], kind="stable")
    nights, dates = pd.factorize(rows["date"], sort=True)
    weekdays = np.asarray(pd.DatetimeIndex(dates).day_of_week, np.int64)[nights]
    needed = ("without_retries", "effective", "p50", "timed")
    ratio, effective, median, count = (rows[name].to_numpy(np.float64) for name in needed)
    codes = pd.factorize(rows["server"])[0]
    edges = np.flatnonzero(np.diff(codes, prepend=-1))
    for start, end in zip(edges, [*edges[1:], len(rows)], strict=True):
        own = slice(start, end)
        when = weekdays[own], nights[own]
        measured = {"failure_ratio": of_failures(ratio[own], effective[own], *when),
                    "p50_ms": of_durations(median[own], count[own], *when)}  # fmt: skip
        for measure, series in measured.items():
            if len(series.nights) and series.nights[-1] == len(dates) - 1:
                for together in TOGETHER:
                    verdict = judge(series, together)
                    if verdict is not None:
                        yield rows.index[end - 1], measure, verdict


def _regressed(last: "pd.Series[Any]", measure: str, verdict: Verdict, p: float) -> Breach | None:
    """Word a regression of a server's last night, if it is large enough to matter."""
    server = str(last["server"])
    nights = "healthy nights are" if verdict.nights == 1 else f"{verdict.nights} healthy nights in a row are"
    chance = f"{nights} that far off with a chance below {max(p, 1e-6):.2g}, all servers and measures counted"
    if measure == "failure_ratio":
        value, expected = float(last["without_retries"]), math.sin(max(0.0, verdict.expected)) ** 2
        if value < SMALLEST_RISE * expected or value - expected < SMALLEST_RATIO:
            return None
        base = last["failed"] + last["established"]
        ratio = _percent(float(last["failure_ratio"]))
        steady = "" if _percent(value) == ratio else f", {_percent(value)} without retries of single clients"
        told = f"{server}: {last['failed']:,} of {base:,} handshakes failed on {last['date']} ({ratio}{steady}; "
        told += f"{last['clients']:,} clients), where the nights before let expect {_percent(expected)}"
        return Breach("failure_ratio_regression", server, value, expected, f"{told}: {chance}")
    value, expected = float(last["p50"]), math.exp(verdict.expected)
    if value < SMALLEST_RISE * expected or value - expected < SMALLEST_MS:
        return None
    told = f"{server}: half of {last['established']:,} handshakes took more than {value:,.1f} ms on {last['date']}, "
    return Breach("p50_ms_regression", server, value, expected,
                  f"{told}where the nights before let expect {expected:,.1f} ms: {chance}")  # fmt: skip


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.2g} %" if ratio < 0.1 else f"{100 * ratio:.0f} %"
