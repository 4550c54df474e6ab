"""What differs between two tables of handshakes: failures, durations, and what is seen in only one of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from tlspcap.failures import failure_ratio
from tlspcap.grouping import is_outcome, require, server
from tlspcap.statistics import Floats, fisher_exact, holm, median_difference, newcombe, sample_size

BOTH = ("before", "after")
MOST_SERVERS = 100  # compared one by one: those of the most handshakes
MOST_NEW = 1_000  # values of a kind listed as new, and as gone

# What is compared: all handshakes, then those of one version, then those of one server.
GROUPINGS: dict[str, Callable[[pd.DataFrame], "pd.Series[str]"]] = {
    "all": lambda handshakes: pd.Series("all", index=handshakes.index, dtype="string"),
    "version": lambda handshakes: handshakes["version"].astype("string"),
    "server": server,
}
# What may be new or gone.
KINDS: dict[str, Callable[[pd.DataFrame], "pd.Series[str]"]] = {
    "server": server,
    "client": lambda handshakes: handshakes["client_ip"].astype("string"),
    "client stack": lambda handshakes: handshakes["ja4"].astype("string"),
    "version": lambda handshakes: handshakes["version"].astype("string"),
    "cipher": lambda handshakes: handshakes["cipher"].astype("string"),
    "certificate": lambda handshakes: handshakes["certificate_sha256"].astype("string"),
    "alert": lambda handshakes: handshakes["alert"].astype("string"),
}
NEEDED = (
    "outcome", "client_ip", "server_ip", "server_port", "version", "cipher", "ja4", "certificate_sha256", "alert",
    "handshake_ms",
)  # fmt: skip
_COUNTS = ("failed", "base", "unknown", "clients")


def failure_differences(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Compare failure ratios: of all handshakes, by version and by server.

    Returns:
        One row per group that is in both tables: by (all, version, server), value; of each table, with `before_` and
        `after_` in front, failed, base (failed and established), unknown, clients, ratio; difference of the ratios
        with ci_low and ci_high (Newcombe), p (Fisher), p_holm (Holm, over all rows), and needed: how many handshakes of
        each would tell such a difference at 80 % power.

    Raises:
        ArgumentError: a column that this needs is missing.
    """
    rows = pd.concat([_ratios(before, after, by) for by in GROUPINGS], ignore_index=True)
    is_all = (rows[["before_base", "after_base"]] == rows[["before_base", "after_base"]].iloc[0]).all(axis=1)
    rows = rows[~is_all | (rows["by"] == "all")].reset_index(drop=True)  # a group of all there are is no other test
    counts = rows[["before_failed", "before_base", "after_failed", "after_base"]].to_numpy(np.int64)
    p = [fisher_exact(*(int(count) for count in row)) for row in counts]
    first, second = _share(rows, "before"), _share(rows, "after")
    bases = [rows[f"{side}_base"].to_numpy(np.float64) for side in BOTH]
    low, high = newcombe(first, bases[0], second, bases[1])
    needed = [sample_size(a, b) for a, b in zip(first, second, strict=True)]
    return rows.assign(
        before_ratio=first, after_ratio=second, difference=second - first, ci_low=low, ci_high=high, p=p,
        p_holm=holm(p), needed=needed,
    )  # fmt: skip


def _ratios(before: pd.DataFrame, after: pd.DataFrame, by: str) -> pd.DataFrame:
    """Count both tables by one grouping, where both have decided handshakes; all of them always."""
    sides = []
    for side, table in zip(BOTH, (before, after), strict=True):
        require(table, *NEEDED)
        counts = failure_ratio(table.assign(value=GROUPINGS[by](table)), by="value")
        counts = counts[counts.index.notna()].assign(base=counts["failed"] + counts["established"])
        sides.append(counts[list(_COUNTS)].add_prefix(f"{side}_"))
    if by == "all":
        joined = pd.concat([side.reindex(pd.Index(["all"], dtype="string"), fill_value=0) for side in sides], axis=1)
    else:
        joined = sides[0].join(sides[1], how="inner")
        joined = joined[(joined["before_base"] > 0) & (joined["after_base"] > 0)].head(MOST_SERVERS)
    return joined.rename_axis("value").reset_index().assign(by=by)


def _share(rows: pd.DataFrame, side: str) -> Floats:
    failed, base = (rows[f"{side}_{name}"].to_numpy(np.float64) for name in ("failed", "base"))
    share: Floats = np.divide(failed, base, out=np.full(len(rows), np.nan), where=base > 0)
    return share


def latency_differences(before: pd.DataFrame, after: pd.DataFrame, measure: str = "handshake_ms") -> pd.DataFrame:
    """Compare the median duration of established handshakes: of all, by version and by server.

    Returns:
        One row per group that is in both tables: by, value, before_n, before_p50, after_n, after_p50, difference with
        ci_low and ci_high (bootstrap, seeded; NaN where a table has fewer than 10). Durations are ms.

    Raises:
        ArgumentError: a column that this needs is missing.
    """
    require(before, *NEEDED, measure)
    require(after, *NEEDED, measure)
    made = []
    for by in GROUPINGS:
        sides = [_durations(table, by, measure) for table in (before, after)]
        for value in [value for value in sides[0] if value in sides[1]][:MOST_SERVERS]:
            first, second = (side[value] for side in sides)
            difference, low, high = median_difference(first, second)
            medians = len(first), np.median(first), len(second), np.median(second)
            made.append((by, value, *medians, difference, low, high))
    columns = ["by", "value", "before_n", "before_p50", "after_n", "after_p50", "difference", "ci_low", "ci_high"]
    return pd.DataFrame(made, columns=columns).astype({"by": "string", "value": "string"})


def _durations(table: pd.DataFrame, by: str, measure: str) -> dict[Any, Floats]:
    """Give the known durations of established handshakes by group, those of the most handshakes first."""
    kept = table[is_outcome(table, "established") & table[measure].notna().to_numpy()]
    groups = {value: rows.to_numpy(np.float64) for value, rows in kept[measure].groupby(GROUPINGS[by](kept))}
    return dict(sorted(groups.items(), key=lambda item: -len(item[1])))


def changes(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """List what is new and what is gone: servers, clients, client stacks, versions, ciphers, certificates, alerts.

    Returns:
        One row per value seen in only one table: kind, value, change (new, gone), handshakes (how many showed it) and
        failed (of those), the most frequent first within its kind.

    Raises:
        ArgumentError: a column that this needs is missing.
    """
    require(before, *NEEDED)
    require(after, *NEEDED)
    made: list[tuple[str, str, str, int, int]] = []
    for kind, values in KINDS.items():
        counts = [_seen(table, values(table)) for table in (before, after)]
        for change, own, other in (("new", counts[1], counts[0]), ("gone", counts[0], counts[1])):
            only = own[~own.index.isin(other.index)].head(MOST_NEW)
            made += [(kind, str(value), change, int(row.n), int(row.failed)) for value, row in only.iterrows()]
    columns = ["kind", "value", "change", "handshakes", "failed"]
    return pd.DataFrame(made, columns=columns).astype(dict.fromkeys(columns[:3], "string"))


def _seen(table: pd.DataFrame, values: "pd.Series[str]") -> pd.DataFrame:
    """Count how many handshakes show each value, and how many of them failed."""
    failed = pd.Series(is_outcome(table, "failed"), index=table.index)
    counts = failed.groupby(values).agg(["size", "sum"]).set_axis(["n", "failed"], axis=1)
    return counts.sort_values("n", ascending=False, kind="stable")
