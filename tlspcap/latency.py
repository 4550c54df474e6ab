"""How long handshakes took: quantiles by group, and the split between client, server and transfer.

All durations are milliseconds. A quantile interpolates linearly between the two nearest values (numpy's default, type
7 of Hyndman and Fan, Am. Stat. 50, 1996). One that the number of handshakes cannot carry is NaN: the q quantile needs
1/(1-q) of them, since with fewer it would only repeat the longest.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlspcap.errors import ArgumentError
from tlspcap.grouping import By, Groups, group, is_outcome, nearest, require
from tlspcap.tls.verdict import Outcome

MEASURES = (
    "tcp_rtt_ms", "client_rtt_ms", "server_rtt_ms", "server_hello_ms", "handshake_ms", "connect_ms",
    "client_ms", "server_ms", "transfer_ms", "first_data_ms",
)  # fmt: skip
PARTS = {"client": "client_ms", "server": "server_ms", "transfer": "transfer_ms"}
QUANTILES = {"p50": (0.50, 2), "p90": (0.90, 10), "p95": (0.95, 20), "p99": (0.99, 100)}  # q, and the n that carries it


def latency(
    handshakes: pd.DataFrame,
    by: By = None,
    outcome: str | None = "established",
    measures: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Summarise durations per group and measure.

    Args:
        handshakes: a handshakes table, or any rows of it; uses `outcome`, the measures and the columns of `by`.
        by: a column, several, or None for the whole table.
        outcome: only handshakes of this outcome; None takes all.
        measures: which of MEASURES, in the order wanted; None takes all.

    Returns:
        One row per group and measure, groups in the order of `failure_ratio`; the index is (by…, measure), or just
        measure without `by`. Columns n and excluded (int64: rows of the group measured, and left out for their outcome
        or for want of a value), and mean, p50, p90, p95, p99, max (float64, ms; NaN where n cannot carry them).

    Raises:
        ArgumentError: a column, outcome or measure does not exist.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({
        ...     "outcome": ["established"] * 10 + ["failed"],
        ...     "handshake_ms": [20.0, 22, 21, 20, 24, 23, 22, 21, 20, 90, 4],
        ... })
        >>> latency(night, measures=["handshake_ms"]).round(1)
                       n  excluded  mean   p50   p90  p95  p99   max
        measure
        handshake_ms  10         1  28.3  21.5  30.6  NaN  NaN  90.0
    """
    names = _measures(measures)
    require(handshakes, *names)
    groups = group(handshakes, by)
    wanted = _wanted(handshakes, outcome)
    pieces = [_summary(handshakes[name].to_numpy(np.float64, na_value=np.nan), wanted, groups) for name in names]
    return _stack(pieces, names, groups, "measure")


def split(handshakes: pd.DataFrame, by: By = None, outcome: str | None = "established") -> pd.DataFrame:
    """Say whose turn it was while the handshake lasted: client_ms, server_ms and transfer_ms, which add up to it.

    Args:
        handshakes: a handshakes table, or any rows of it; uses `outcome`, the three parts and the columns of `by`.
        by: a column, several, or None for the whole table.
        outcome: only handshakes of this outcome; None takes all.

    Returns:
        One row per group and part, indexed by (by…, part), or just part without `by`: client, server, transfer.
        Columns n and excluded (int64; left out are other outcomes, unknown parts, and handshakes of no duration), mean
        and p50 (float64, ms), and share_mean and share_p50 (float64, 0 to 1: the part's share of each handshake). The
        three means add up to the mean duration, and the three share_mean to 1; medians need not.

    Raises:
        ArgumentError: a column or outcome does not exist.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({
        ...     "outcome": "established", "client_ms": [2.0, 4], "server_ms": [6.0, 14], "transfer_ms": [2.0, 2],
        ... })
        >>> split(night)
                  n  excluded  mean   p50  share_mean  share_p50
        part
        client    2         0   3.0   3.0        0.20       0.20
        server    2         0  10.0  10.0        0.65       0.65
        transfer  2         0   2.0   2.0        0.15       0.15
    """
    require(handshakes, *PARTS.values())
    groups = group(handshakes, by)
    parts = handshakes[list(PARTS.values())].to_numpy(np.float64, na_value=np.nan)
    total = parts.sum(axis=1)  # NaN where any part is
    wanted = _wanted(handshakes, outcome) & (total > 0)
    shares = parts / np.where(wanted, total, np.nan)[:, None]
    pieces = []
    for column in range(len(PARTS)):
        in_ms, share = (_summary(values[:, column], wanted, groups) for values in (parts, shares))
        pieces.append(in_ms[["n", "excluded", "mean", "p50"]].assign(share_mean=share["mean"], share_p50=share["p50"]))
    return _stack(pieces, list(PARTS), groups, "part")


def _measures(measures: Sequence[str] | None) -> list[str]:
    """Check the measures asked for."""
    names = list(MEASURES) if measures is None else [measures] if isinstance(measures, str) else list(measures)
    if not names:
        raise ArgumentError(f"no measure asked for; measures are {', '.join(MEASURES)}")
    for name in names:
        if name not in MEASURES:
            raise ArgumentError(f"there is no measure {name!r}{nearest(name, MEASURES)}")
    return names


def _wanted(handshakes: pd.DataFrame, outcome: str | None) -> NDArray[np.bool_]:
    """Mark the rows to measure."""
    if outcome is None:
        return np.ones(len(handshakes), bool)
    if outcome not in set(Outcome):
        raise ArgumentError(f"there is no outcome {outcome!r}; outcomes are {', '.join(Outcome)}, or None for all")
    return is_outcome(handshakes, outcome)


def _summary(values: NDArray[np.float64], wanted: NDArray[np.bool_], groups: Groups) -> pd.DataFrame:
    """Summarise one measure: a row per group, in the order of the groups."""
    usable = wanted & ~np.isnan(values)
    n = groups.count(usable)
    grouped = pd.Series(values[usable]).groupby(groups.codes[usable])
    places = range(len(n))
    columns = {"n": n, "excluded": groups.count() - n, "mean": grouped.mean().reindex(places).to_numpy(np.float64)}
    for name, (q, needed) in QUANTILES.items():
        quantile = grouped.quantile(q).reindex(places).to_numpy(np.float64)
        columns[name] = np.where(n >= needed, quantile, np.nan)
    columns["max"] = grouped.max().reindex(places).to_numpy(np.float64)
    return pd.DataFrame(columns)


def _stack(pieces: list[pd.DataFrame], names: list[str], groups: Groups, level: str) -> pd.DataFrame:
    """Put the summaries of all measures together, those of one group side by side."""
    everything = groups.index.names == [None]  # not grouped by anything
    size = len(groups.index)
    place = np.tile(np.arange(size), len(names))
    which = np.repeat(np.arange(len(names)), size)
    order = np.lexsort((which, place))
    keys = {} if everything else groups.index[place[order]].to_frame(index=False).to_dict("series")
    labels = pd.Series(names, dtype="string").iloc[which[order]].reset_index(drop=True)
    index = pd.MultiIndex.from_frame(pd.DataFrame({**keys, level: labels}))
    result = pd.concat(pieces, ignore_index=True).iloc[order]
    return result.set_axis(index.get_level_values(0) if everything else index)
