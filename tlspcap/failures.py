"""How many handshakes failed, with what certainty that can be said, and who failed whom with what.

A failure ratio is failed / (failed + established). What the capture could not tell is counted as unknown beside it
and never enters the ratio.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tlspcap.grouping import By, Groups, distinct, group, is_outcome, require, server
from tlspcap.statistics import Z_95, Floats, Ints, student_t_95, wilson

CAUSE = ["server", "failure_side", "failure_phase", "failure_mechanism", "alert", "alert_code", "certainty", "version"]
GAP = ["completeness", "reason"]
EXAMPLE = ["id", "handshake", "capture", "stream", "frame"]


def failure_ratio(handshakes: pd.DataFrame, by: By = "version", by_client: bool = False) -> pd.DataFrame:
    """Count outcomes per group and give the failure ratio with its 95 % interval.

    The interval is Wilson's (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927), on failed + established. It takes handshakes
    to be independent. They are not where one broken client retries all night; `by_client=True` then clusters by
    `client_ip`: the base is replaced by an effective number of handshakes, from the ratio's variance between clients
    (see `effective_base`), and with fewer than two clients there is no interval.

    Args:
        handshakes: a handshakes table, or any rows of it; uses `outcome`, `client_ip` and the columns of `by`.
        by: a column, several, or None for one row called "all". NA values have a row of their own.
        by_client: widen the intervals for handshakes that come from the same client.

    Returns:
        One row per group, indexed by its values: versions in their order, categories in that of their list, all else
        with the most failures first. Columns n (all rows), established, failed, unknown and clients (distinct
        addresses) are int64; failure_ratio, ci_low and ci_high are float64 between 0 and 1, NaN where nothing was
        decided.

    Raises:
        ArgumentError: a column does not exist; the message names the nearest one that does.

    Example:
        >>> import pandas as pd
        >>> night = pd.DataFrame({
        ...     "version": ["TLS 1.3"] * 10 + ["TLS 1.2"] * 10,
        ...     "outcome": ["established"] * 17 + ["failed"] * 3,
        ...     "client_ip": "192.0.2.10",
        ... })
        >>> failure_ratio(night)[["n", "failed", "failure_ratio", "ci_low", "ci_high"]].round(3)
                  n  failed  failure_ratio  ci_low  ci_high
        version
        TLS 1.2  10       3            0.3   0.108    0.603
        TLS 1.3  10       0            0.0   0.000    0.278
    """
    require(handshakes, "outcome", "client_ip")
    groups = group(handshakes, by)
    is_failed, is_established = is_outcome(handshakes, "failed"), is_outcome(handshakes, "established")
    n, failed, established = groups.count(), groups.count(is_failed), groups.count(is_established)
    base = (failed + established).astype(np.float64)
    ratio = np.divide(failed, base, out=np.full(len(base), np.nan), where=base > 0)
    critical = np.full(len(base), Z_95)
    if by_client:
        base, critical = effective_base(groups, handshakes["client_ip"], is_failed, is_failed | is_established)
    low, high = wilson(ratio, base, critical)
    return pd.DataFrame(
        {
            "n": n,
            "established": established,
            "failed": failed,
            "unknown": n - failed - established,
            "clients": _clients(groups, handshakes["client_ip"]),
            "failure_ratio": ratio,
            "ci_low": low,
            "ci_high": high,
        },
        index=groups.index,
    )


def effective_base(
    groups: Groups, clients: "pd.Series[str]", is_failed: NDArray[np.bool_], is_decided: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Tell on how many independent handshakes each group's ratio rests, given that those of one client are alike.

    The ratio is a ratio of two sums over clients; its linearised (sandwich) variance is
    V = m/(m-1) · Σ(kᵢ - p·nᵢ)² / n² over the m clients with kᵢ of nᵢ handshakes failed. p(1-p)/V is the number of
    independent handshakes that would give the same variance (Kish, Survey Sampling, 1965: n over the design effect).
    Put into Wilson's interval with Student's t of m-1 degrees of freedom, it holds its level in surveys with few
    clusters (Dean and Pagano, J. Survey Stat. Methodol. 3, 2015, as Korn and Graubard, Surv. Methodol. 24, 1998, did
    for the exact interval). It is never taken as more than n. Where no handshake failed, or all did, V is 0 whatever
    the clients are like, so the handshakes of one client are taken as wholly alike: n² / Σnᵢ².

    Returns:
        The effective number and the critical value per group, float64; NaN with fewer than two clients.
    """
    decided_groups = groups.codes[is_decided]
    pairs, first = distinct(pd.DataFrame({"group": decided_groups, "client": clients.array[is_decided]}))
    per_cluster = np.bincount(pairs, minlength=len(first)).astype(np.float64)
    failed_in_cluster = np.bincount(pairs, is_failed[is_decided], minlength=len(first)).astype(np.float64)
    return effective_of_clients(decided_groups[first], per_cluster, failed_in_cluster, len(groups.index))


def effective_of_clients(
    cluster_group: Ints, per_cluster: Floats, failed_in_cluster: Floats, groups: int
) -> tuple[Floats, Floats]:
    """Tell the same as `effective_base` from counts: a value per client and group.

    Args:
        cluster_group: the group of each, as a number below `groups`.
        per_cluster: its decided handshakes, at least one.
        failed_in_cluster: those of them that failed.
        groups: how many groups there are.
    """

    def total(weights: Floats) -> Floats:
        return np.bincount(cluster_group, weights, minlength=groups).astype(np.float64)

    n, failed, m = total(per_cluster), total(failed_in_cluster), total(np.ones(len(cluster_group)))
    with np.errstate(divide="ignore", invalid="ignore"):  # groups without base, and V = 0: settled by the two `where`s
        p = failed / n
        residuals = total(np.square(failed_in_cluster - p[cluster_group] * per_cluster))
        independent = p * (1 - p) * np.square(n) / (m / (m - 1) * residuals)
        alike = np.square(n) / total(np.square(per_cluster))
    effective = np.where((failed == 0) | (failed == n), alike, np.fmin(independent, n))
    return np.where(m < 2, np.nan, effective), np.array([student_t_95(int(clusters) - 1) for clusters in m])


def failures(handshakes: pd.DataFrame) -> pd.DataFrame:
    """Say who failed whom and with what: failed handshakes counted by everything that is known of the failure.

    Returns:
        One row per distinct (server, failure_side, failure_phase, failure_mechanism, alert, alert_code, certainty,
        version), most frequent first; `server` is address:port. Columns n and clients (int64) count; id, handshake
        (row label), capture, stream and frame point at the first such handshake, and `reason` is its reason.

    Raises:
        ArgumentError: a column that this needs is missing.

    Example:
        >>> import pandas as pd
        >>> from tlspcap import schema
        >>> night = pd.DataFrame({name: [None, None] for name in schema.HANDSHAKES.names})
        >>> night["outcome"], night["server_ip"], night["server_port"] = ["failed", "established"], "2001:db8::1", 443
        >>> night["failure_side"], night["alert"], night["frame"] = "server", "internal_error", [9, 21]
        >>> failures(night)[["server", "failure_side", "alert", "n", "frame"]]
                        server failure_side           alert  n  frame
        0  [2001:db8::1]:443       server  internal_error  1      9
    """
    require(handshakes, "outcome", "server_ip", "server_port")
    rows = handshakes[is_outcome(handshakes, "failed")]
    return _tally(rows.assign(server=server(rows)), CAUSE, after=["reason"])


def unknowns(handshakes: pd.DataFrame) -> pd.DataFrame:
    """Say what the capture could not tell: handshakes of unknown outcome counted by what is missing and why.

    Returns:
        One row per distinct (completeness, reason), most frequent first, with n and clients (int64) and the first such
        handshake: id, handshake (row label), capture, stream, frame.

    Raises:
        ArgumentError: a column that this needs is missing.

    Example:
        >>> import pandas as pd
        >>> from tlspcap import schema
        >>> night = pd.DataFrame({name: [None, None] for name in schema.HANDSHAKES.names})
        >>> night["outcome"], night["completeness"], night["reason"] = "unknown", "gap", "the ServerHello is missing"
        >>> unknowns(night)[["completeness", "reason", "n"]]
          completeness                      reason  n
        0          gap  the ServerHello is missing  2
    """
    require(handshakes, "outcome")
    return _tally(handshakes[is_outcome(handshakes, "unknown")], GAP)


def _tally(rows: pd.DataFrame, keys: list[str], after: list[str] | None = None) -> pd.DataFrame:
    """Count `rows` by `keys`, most frequent first, each with its first row in time as the example."""
    require(rows, *keys, *(name for name in EXAMPLE if name != "handshake"), *(after or []), "time", "client_ip")
    ordered = rows.assign(handshake=rows.index).sort_values(["time", "frame"], kind="stable")
    codes, first = distinct(ordered[keys])
    groups = Groups(pd.RangeIndex(len(first) if len(ordered) else 0), codes)
    result = ordered.iloc[first[: len(groups.index)]].reset_index(drop=True)
    result = result.assign(n=groups.count(), clients=_clients(groups, ordered["client_ip"]))
    order = np.lexsort((first[: len(result)], -result["n"].to_numpy()))
    return result.iloc[order][[*keys, "n", "clients", *EXAMPLE, *(after or [])]].reset_index(drop=True)


def _clients(groups: Groups, clients: "pd.Series[str]") -> NDArray[np.int64]:
    """Count the distinct client addresses of each group."""
    known = clients.notna().to_numpy()
    _, first = distinct(pd.DataFrame({"group": groups.codes[known], "client": clients.array[known]}))
    return np.bincount(groups.codes[known][first], minlength=len(groups.index))
