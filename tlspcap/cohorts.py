"""Which handshakes fail, or are slow: every value of every attribute, tested against the handshakes without it.

Attributes are things that are settled whatever becomes of the handshake, or else count only where they are known: a
failure before the ServerHello has no cipher, so that those without one say nothing about ciphers. For the same reason
the version here is the highest that the client offered, apart from the one that the server chose.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlspcap.errors import ArgumentError
from tlspcap.grouping import is_outcome, nearest, require, server
from tlspcap.statistics import (
    SEED,
    fisher_exact,
    holm,
    median_difference,
    newcombe,
    permuted_by_cluster,
    sample_size,
)

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
Objects = NDArray[np.object_]
Texts: TypeAlias = "pd.Series[str]"

OUTCOMES = ("failed", "slow")
SLOWEST = 0.75  # quantile of the durations beyond which a handshake is slow
SEGMENT = 1_428  # bytes of TCP payload that fit a packet of 1,500 with IPv6 and timestamps (RFC 7323 appendix A)
HEADERS = 9  # of a ClientHello: 4 of the message (RFC 8446 4), 5 of its record (RFC 8446 5.1)
WITHIN, OVER, NO_NAME = "within one segment", "over one segment", "no name"
LEVEL = 0.05
MOST_VALUES = 100  # of an attribute that are tried: those of the most handshakes
MOST_CHECKED = 10  # contrasts that are tried again without their main client, and client by client
MOST_CLIENTS = 500  # of both arms together, up to which it is tried client by client; many clients are enough evidence


@dataclass(frozen=True)
class Cases:
    """Which handshakes are cases, and which are compared at all; what is neither is unknown or was not measured."""

    is_case: Bools
    is_decided: Bools
    limit: float | None = None  # of slow ones: the duration beyond which, in ms


def cases(handshakes: pd.DataFrame, outcome: str, limit: float | None = None) -> Cases:
    """Mark the failed handshakes among those with an outcome, or the slow ones among those established.

    Slow is what took longer than `limit` ms; without one, the slowest quarter.

    Raises:
        ArgumentError: there is no such outcome to contrast, or a column that this needs is missing.
    """
    if outcome not in OUTCOMES:
        near = nearest(outcome, OUTCOMES)
        raise ArgumentError(f"cannot contrast {outcome!r}{near}; what can be is {' and '.join(OUTCOMES)}")
    require(handshakes, "outcome")
    if outcome == "failed":
        failed = is_outcome(handshakes, "failed")
        return Cases(failed, failed | is_outcome(handshakes, "established"))
    require(handshakes, "handshake_ms")
    durations = handshakes["handshake_ms"].to_numpy(np.float64, na_value=np.nan)
    timed = is_outcome(handshakes, "established") & ~np.isnan(durations)
    if limit is None:
        limit = float(np.quantile(durations[timed], SLOWEST)) if timed.any() else 0.0
    return Cases(timed & (durations > limit), timed, limit)


# -- attributes -------------------------------------------------------------------------------------------------


def _column(name: str) -> Callable[[pd.DataFrame], Texts]:
    return lambda handshakes: handshakes[name].astype("string")


def _once_answered(name: str) -> Callable[[pd.DataFrame], Texts]:
    """Take a column that means something only where a ServerHello was seen."""
    return lambda handshakes: handshakes[name].astype("string").where(handshakes["negotiated_version"].notna())


def _name(handshakes: pd.DataFrame) -> Texts:
    """Take the name asked for; a ClientHello without one is a value too, one that was not seen is none."""
    unnamed = handshakes["sni"].isna() & handshakes["client_random"].notna()
    return handshakes["sni"].astype("string").mask(unnamed, NO_NAME)


def _hour(handshakes: pd.DataFrame) -> Texts:
    hour = handshakes["time"].dt.tz_convert("UTC").dt.hour
    clock = pd.Series([f"{h:02}:00 to {(h + 1) % 24:02}:00" for h in range(24)], dtype="string")
    return clock.reindex(hour).set_axis(handshakes.index)


def _hello_size(handshakes: pd.DataFrame) -> Texts:
    size = handshakes["client_hello_length"].astype("Float64") + HEADERS
    over = (size > SEGMENT).astype("boolean")
    return over.map({True: OVER, False: WITHIN}).astype("string").where(size.notna())


# In the order in which they are named where several mean the same handshakes: what a reader can change comes first.
ATTRIBUTES: dict[str, Callable[[pd.DataFrame], Texts]] = {
    "offered_version_max": _column("offered_version_max"),
    "negotiated_version": _column("negotiated_version"),
    "cipher": _column("cipher"),
    "group": _column("group"),
    "server": server,
    "server_of_name": server,
    "sni": _name,
    "ja4": _column("ja4"),
    "resumption": _once_answered("resumption"),
    "hello_size": _hello_size,
    "hour": _hour,
    "client_ip": _column("client_ip"),
}
NEEDED = (
    "offered_version_max", "negotiated_version", "cipher", "group", "server_ip", "server_port", "sni", "ja4",
    "resumption", "client_hello_length", "client_random", "time", "client_ip",
)  # fmt: skip


# -- arms -------------------------------------------------------------------------------------------------------

# What is counted of each arm: the handshakes that have a value, and (`other_`) those that they are compared with.
COUNTS = ("cases", "base", "ratio", "clients", "case_clients", "unknown")
_DTYPES: dict[str, Any] = {
    **dict.fromkeys(("attribute", "value", "other_value", "within"), "string"),
    **{f"{arm}{name}": "float64" if name == "ratio" else "int64" for arm in ("", "other_") for name in COUNTS},
    **dict.fromkeys(("difference", "ci_low", "ci_high", "p", "p_holm"), "float64"),
    "without_client": "string",
    **dict.fromkeys(("difference_without_client", "p_by_client", "needed"), "float64"), "same_as": "string",
}  # fmt: skip


def cohorts(handshakes: pd.DataFrame, outcome: str = "failed", limit: float | None = None) -> pd.DataFrame:
    """Test every value of every attribute: whether handshakes that have it fail (or are slow) more often.

    Fisher's exact test for each, corrected by Holm for all that were tried. Values that mean the same handshakes are
    one test, and named together in `same_as`. Of each attribute the 100 most frequent values are tried; those too rare
    to tell anything, whatever became of their handshakes, are left out of the count (after R. E. Tarone, Biometrics
    46, 1990), unless all are.

    Args:
        handshakes: a handshakes table, or any rows of it.
        outcome: what is asked for: failed (of failed and established), or slow (of established).
        limit: duration in ms beyond which a handshake is slow; the slowest quarter without one.

    Returns:
        One row per contrast, the least probable first: attribute, value, other_value (where the others have one value
        only), within (the server name, where its servers are compared); cases, base, ratio, clients, case_clients and
        unknown of the handshakes with the value, and the same with `other_` in front of those without; difference of
        the ratios with ci_low and ci_high (Newcombe); p, p_holm; without_client (the client with the most cases) and
        difference_without_client, for the first ten rows with p_holm of 5 % or less (NaN where an arm is that client
        alone); p_by_client, for the same rows, with clients dealt out in place of handshakes, and Holm's correction
        for these rows (NaN where most clients are in both arms, so that they are compared with themselves, or there
        are more than 500); needed, how many more handshakes of each kind would tell such a difference at 80 % power;
        same_as.

    Raises:
        ArgumentError: there is no such outcome to contrast, or a column that this needs is missing.
    """
    chosen = cases(handshakes, outcome, limit)
    require(handshakes, *NEEDED)
    clients = pd.factorize(handshakes["client_ip"])[0].astype(np.int64)
    divisions = {name: divide(handshakes, name) for name in ATTRIBUTES}
    tables = [_counted(division, clients, chosen) for division in divisions.values()]
    table = _apart(pd.concat(tables, ignore_index=True))
    table = table[_can_tell(table)] if len(table) else table
    table = _tested(table).sort_values("p", kind="stable", ignore_index=True)
    for place in table.index[(table["p_holm"] <= LEVEL) & (table["attribute"] != "client_ip")][:MOST_CHECKED]:
        row = table.loc[place]
        both = arms(divisions[row["attribute"]], row, chosen)
        checked = [*_without_main_client(handshakes, both, chosen), _by_client(clients, both, chosen)]
        table.loc[place, ["without_client", "difference_without_client", "p_by_client"]] = checked
    by_client = table["p_by_client"].notna()
    table.loc[by_client, "p_by_client"] = holm(table.loc[by_client, "p_by_client"])
    return table[list(_DTYPES)].astype(_DTYPES)


@dataclass(frozen=True, eq=False)
class Division:
    """How an attribute divides the rows: into its values, which are compared within one server name or overall."""

    attribute: str
    values: Objects  # texts, in the order in which they come
    codes: Ints  # of each row a place in `values`, -1 where the value is not known
    withins: Objects  # of each value the server name within which it is compared
    strata: Ints  # of each value the number of that name; all 0 where there is none


def divide(handshakes: pd.DataFrame, attribute: str) -> Division:
    """Divide the rows by an attribute."""
    codes, values = _factorized(ATTRIBUTES[attribute](handshakes))
    if attribute != "server_of_name":
        return Division(attribute, values, codes, np.full(len(values), None, object), np.zeros(len(values), np.int64))
    names, named = _factorized(handshakes["sni"].astype("string"))
    known = (names >= 0) & (codes >= 0)
    pairs, kinds = pd.factorize(names[known] * len(values) + codes[known])
    within, value = np.divmod(kinds, max(len(values), 1))
    codes = np.full(len(known), -1, np.int64)
    codes[known] = pairs
    return Division(attribute, values[value], codes, named[within], pd.factorize(within)[0])


def _factorized(values: Texts) -> tuple[Ints, Objects]:
    """Number the values in the order in which they come, NA -1; return each row's number, and the values."""
    codes, found = pd.factorize(values)
    return codes.astype(np.int64), found.to_numpy(object)


def _counted(division: Division, clients: Ints, chosen: Cases) -> pd.DataFrame:
    """Count both arms of every value that is tried: a row each."""
    size, codes, strata = len(division.values), division.codes, division.strata
    known = codes >= 0
    marks = np.random.default_rng(SEED).integers(0, 1 << 62, len(codes), dtype=np.int64)
    told: dict[str, Any] = {"attribute": division.attribute, "value": division.values, "within": division.withins}

    def both(name: str, here: Ints) -> None:
        whole = np.zeros(size + 1, np.int64)
        np.add.at(whole, strata, here)
        told[name], told[f"other_{name}"] = here, whole[strata] - here

    both("base", np.bincount(codes[known & chosen.is_decided], minlength=size))
    both("cases", np.bincount(codes[known & chosen.is_case], minlength=size))
    both("unknown", np.bincount(codes[known & ~chosen.is_decided], minlength=size))
    for name, rows in (("clients", known & chosen.is_decided), ("case_clients", known & chosen.is_case)):
        told[name], told[f"other_{name}"] = _clients(codes[rows], clients[rows], strata)
    # The sum of random marks stands for a set of rows: two sets have equal sums by a chance of 2 to the -62.
    sums = np.zeros(size, np.int64)
    np.add.at(sums, codes[known & chosen.is_decided], marks[known & chosen.is_decided])
    both("mark", sums)
    both("kinds", (told["base"] > 0).astype(np.int64))
    table = pd.DataFrame(told)
    table["other_value"] = _other_values(table, strata)
    table = table[(table["base"] > 0) & (table["other_base"] > 0)]
    return table.sort_values("base", ascending=False, kind="stable").head(MOST_VALUES)


def _clients(codes: Ints, clients: Ints, strata: Ints) -> tuple[Ints, Ints]:
    """Count for each value the distinct clients that show it, and those that show another one of its stratum."""
    size, many = len(strata), int(clients.max(initial=0)) + 1
    values, who = np.divmod(np.unique((codes * many + clients)[clients >= 0]), many)
    _, inverse, shown = np.unique(strata[values] * many + who, return_inverse=True, return_counts=True)
    of_stratum = np.bincount(strata[values], 1 / shown[inverse], minlength=size + 1).round().astype(np.int64)
    only_here = np.bincount(values[shown[inverse] == 1], minlength=size)
    return np.bincount(values, minlength=size), of_stratum[strata] - only_here


def _other_values(table: pd.DataFrame, strata: Ints) -> Objects:
    """Name for each value the only other one of its stratum that is seen, if it is the only one."""
    seen = np.flatnonzero(table["base"].to_numpy() > 0)
    values = table["value"].to_numpy(object)
    others = np.full(len(table), None, object)
    in_order = seen[np.argsort(strata[seen], kind="stable")]  # the values of one stratum beside each other
    _, first, count = np.unique(strata[in_order], return_index=True, return_counts=True)
    one, other = in_order[first[count == 2]], in_order[first[count == 2] + 1]
    others[one], others[other] = values[other], values[one]
    return others


def _apart(table: pd.DataFrame) -> pd.DataFrame:
    """Keep one row of those that divide the same handshakes in the same two, and name in it which mean its own.

    Of two values that divide them in two, the one with the higher ratio stands for both.
    """
    table = table.assign(ratio=table["cases"] / table["base"], other_ratio=table["other_cases"] / table["other_base"])
    marks = list(zip(table["mark"], table["other_mark"], strict=True))
    alike: dict[frozenset[int], list[int]] = {}
    for place, sides in enumerate(marks):
        alike.setdefault(frozenset(sides), []).append(place)
    ratios, names, values = (table[name].to_list() for name in ("ratio", "attribute", "value"))
    kept = [max(places, key=lambda place: ratios[place]) for places in alike.values()]
    same_as = [
        "; ".join(f"{names[i]}={values[i]}" for i in places if marks[i] == marks[main] and names[i] != names[main])
        for main, places in zip(kept, alike.values(), strict=True)
    ]
    return table.iloc[kept].assign(same_as=pd.array([same or None for same in same_as], dtype="string"))


def _can_tell(table: pd.DataFrame) -> Bools:
    """Mark the rows of which some outcome could make the arms differ, given how many cases there are; else all."""
    marked = np.array([_least(*counts) <= LEVEL for counts in _fourfold(table)], bool)
    return marked if marked.any() else ~marked


def _least(count: int, base: int, other_count: int, other_base: int) -> float:
    """Return the least p-value that these bases could give with so many cases."""
    total = count + other_count
    extremes = {min(base, total), max(0, total - other_base)}
    return min(fisher_exact(k, base, total - k, other_base) for k in extremes)


def _fourfold(table: pd.DataFrame) -> list[list[int]]:
    """Give cases and base of both arms, row by row."""
    counts: list[list[int]] = table[["cases", "base", "other_cases", "other_base"]].to_numpy(np.int64).tolist()
    return counts


def _tested(table: pd.DataFrame) -> pd.DataFrame:
    """Compare the arms of each row."""
    p = [fisher_exact(*counts) for counts in _fourfold(table)]
    here, there = table["ratio"].to_numpy(np.float64), table["other_ratio"].to_numpy(np.float64)
    low, high = newcombe(there, table["other_base"].to_numpy(np.float64), here, table["base"].to_numpy(np.float64))
    needed = [sample_size(first, second) for first, second in zip(here, there, strict=True)]
    return table.assign(
        difference=here - there, ci_low=low, ci_high=high, p=p, p_holm=holm(p), needed=needed,
        without_client=None, difference_without_client=np.nan, p_by_client=np.nan,
    )  # fmt: skip


# -- both arms of a row, handshake by handshake -----------------------------------------------------------------


def arms(division: Division, row: "pd.Series[Any]", chosen: Cases) -> tuple[Bools, Bools]:
    """Mark the handshakes with the value of a row of `cohorts`, and those that they are compared with."""
    within = None if pd.isna(row["within"]) else row["within"]
    is_inside = division.withins == within
    own = int(np.flatnonzero(is_inside & (division.values == row["value"]))[0])
    inside = (division.codes >= 0) & is_inside[division.codes] & chosen.is_decided
    return inside & (division.codes == own), inside & (division.codes != own)


def _without_main_client(handshakes: pd.DataFrame, both: tuple[Bools, Bools], chosen: Cases) -> list[Any]:
    """Compare both arms again without the client with the most cases, since its troubles may be its own."""
    here, there = both
    clients = handshakes["client_ip"]
    main = clients[(here | there) & chosen.is_case].value_counts().index[0]
    kept = (clients != main).to_numpy(dtype=bool, na_value=True)
    ratios = [_ratio(arm & kept, chosen) for arm in (here, there)]
    return [main, ratios[0] - ratios[1]]


def _by_client(clients: Ints, both: tuple[Bools, Bools], chosen: Cases) -> float:
    """Compare both arms with each client's handshakes taken as one; NaN where clients are compared with themselves."""
    here, there = (np.unique(clients[arm & (clients >= 0)]) for arm in both)
    shared = len(np.intersect1d(here, there, assume_unique=True))
    if len(here) + len(there) > MOST_CLIENTS or 2 * shared >= min(len(here), len(there)):
        return np.nan
    size = int(clients.max()) + 1
    arms_of = [(clients[arm & (clients >= 0)], clients[arm & chosen.is_case & (clients >= 0)]) for arm in both]
    base, cases = (np.concatenate([np.bincount(found[i], minlength=size) for found in arms_of]) for i in (0, 1))
    is_first = np.arange(2 * size) < size
    return permuted_by_cluster(cases[base > 0], base[base > 0], is_first[base > 0])


def _ratio(rows: Bools, chosen: Cases) -> float:
    return float((rows & chosen.is_case).sum() / rows.sum()) if rows.any() else np.nan


def slower_by(handshakes: pd.DataFrame, row: "pd.Series[Any]", chosen: Cases) -> tuple[float, float, float]:
    """Give the difference of median durations between both arms of a row of `cohorts`, with its interval, in ms."""
    durations = handshakes["handshake_ms"].to_numpy(np.float64, na_value=np.nan)
    here, there = arms(divide(handshakes, row["attribute"]), row, chosen)
    return median_difference(durations[there], durations[here])
