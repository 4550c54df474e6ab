"""One path captured at two points: the same handshakes found in both, and what became of them in between.

A handshake is known again by its client random, which no device changes that does not end TLS itself; addresses and
ports may be others behind NAT or a load balancer. The clocks of the two captures need not agree: what is said of times
either needs no common clock, or is said to hold the difference of the clocks.
"""

from typing import Any

import numpy as np
import pandas as pd

from tlspcap.grouping import require

POINTS = ("first", "second")
ADDRESSES = ("client_ip", "client_port", "server_ip", "server_port")
OF_CLIENT = ("sni", "alpn_offered", "offered_versions", "ja3", "ja4", "client_hello_length")
OF_SERVER = ("server_random", "negotiated_version", "cipher", "group", "alpn", "chain_sha256")
SHOWN = (
    "handshake", "id", "capture", "stream", "frame", *ADDRESSES, "outcome", "failure_side", "failure_mechanism",
    "retransmissions",
)  # fmt: skip
NUMBERS = ("handshake", "stream", "frame", "client_port", "server_port", "retransmissions")
NEEDED = (
    *(name for name in SHOWN if name != "handshake"), "client_random", "time", "server_hello_ms",
    *OF_CLIENT, *OF_SERVER,
)  # fmt: skip
CLIENT, SERVER, BETWEEN = "client", "server", "between"


def joined(first: pd.DataFrame, second: pd.DataFrame) -> pd.DataFrame:
    """Find each handshake of one capture in the other.

    Handshakes whose ClientHello was not seen cannot be found and are left out. Of equal client randoms in one capture
    (a hello that was sent again, say by a device that retries) the first in time goes with the first of the other.

    Returns:
        One row per handshake, in order of its time at the first point that saw it: client_random; seen (both, first,
        second); of each point, with `first_` and `second_` in front, handshake, id, capture, stream, frame, addresses
        and ports, outcome, failure_side, failure_mechanism and retransmissions (NA where it was not seen there);
        readdressed and altered (names of the columns that differ, comma-joined; NA: none does); answer_lost (bool: the
        ServerHello was seen at one point only); lost_between (Int64: packets that were sent again at one point more
        often than at the other: at least so many were lost between them, or, where a proxy ends TCP, on one of its
        sides); ended_by (client, server, between, NA: established at both, or not known); hello_apart_ms, the time of
        the ClientHello at the second point less that at the first, clocks included; and between_ms, the round trip
        between the points, which needs no common clock: positive where the first is nearer to the client.

    Raises:
        ArgumentError: a column that this needs is missing.
    """
    sides = [_keyed(table, point) for table, point in zip((first, second), POINTS, strict=True)]
    both = sides[0].join(sides[1], how="outer")
    both["seen"] = np.select([both["second_id"].isna(), both["first_id"].isna()], POINTS, "both")
    pair = (both["seen"] == "both").to_numpy()
    apart = both["second_time"] - both["first_time"]
    table = pd.DataFrame({
        "client_random": both.index.get_level_values(0), "seen": both["seen"].astype("string"),
        **{f"{point}_{name}": _shown(both, point, name) for point in POINTS for name in SHOWN},
        "readdressed": _different(both, ADDRESSES, pair), "altered": _altered(both, pair),
        "answer_lost": pair & (both["first_server_random"].isna() ^ both["second_server_random"].isna()).to_numpy(),
        "hello_apart_ms": apart.dt.total_seconds().to_numpy(np.float64) * 1000,
        "between_ms": (both["first_server_hello_ms"] - both["second_server_hello_ms"]).to_numpy(np.float64),
    })  # fmt: skip
    table["lost_between"] = (table["first_retransmissions"] - table["second_retransmissions"]).abs()
    table["ended_by"] = _ended_by(table, first_is_nearer=bool(table["between_ms"].median() >= 0))
    when = both["first_time"].fillna(both["second_time"])
    return table.iloc[np.argsort(when.to_numpy(), kind="stable")].reset_index(drop=True)


def _shown(both: pd.DataFrame, point: str, name: str) -> "pd.Series[Any]":
    """Take a column of one point; numbers stay whole where a handshake was not seen there."""
    column = both[f"{point}_{name}"]
    return column.astype("Int64") if name in NUMBERS else column


def clocks_apart(table: pd.DataFrame) -> tuple[float, float] | None:
    """Bound how far the second clock is ahead of the first, in ms, by what passed in both directions.

    No packet arrives before it was sent: the way there is at least nothing, and at most the round trip.

    Returns:
        The least and the most that all handshakes of `joined` allow, NaN rows aside; None where there is no such
        value, since clocks drift or were set meanwhile, or nothing was timed in both directions.
    """
    apart, back = (table[name].to_numpy(np.float64) for name in ("hello_apart_ms", "between_ms"))
    timed = ~np.isnan(back)
    if not timed.any():
        return None
    ends = np.sort(np.stack([apart[timed], apart[timed] - back[timed]]), axis=0)
    low, high = float(ends[0].max()), float(ends[1].min())
    return (low, high) if low <= high else None


def _keyed(table: pd.DataFrame, point: str) -> pd.DataFrame:
    """Take what is needed of handshakes that can be found again, by their random and how often it came before."""
    require(table, *NEEDED)
    known = table[table["client_random"].notna()].sort_values(["time", "frame"], kind="stable")
    known = known.assign(handshake=known.index.astype("Int64"))
    key = [known["client_random"].astype("string"), known.groupby("client_random").cumcount().rename("again")]
    names = ["handshake", *(name for name in NEEDED if name != "client_random")]
    return known[names].set_index(key).add_prefix(f"{point}_")


def _different(both: pd.DataFrame, names: tuple[str, ...], where: Any) -> "pd.Series[str]":
    """Name the columns that differ between the points; NA equals NA."""
    said = np.full(len(both), "", dtype=object)
    for name in names:
        one, other = both[f"first_{name}"], both[f"second_{name}"]
        differs = ((one != other).fillna(True) & ~(one.isna() & other.isna())).to_numpy(bool) & where
        said[differs] = said[differs] + f",{name}"
    text = pd.Series(said, index=both.index, dtype="string").str.removeprefix(",")
    return text.mask(text == "")


def _altered(both: pd.DataFrame, pair: Any) -> "pd.Series[str]":
    """Name what was altered: of the ClientHello, and of the server's answer where both points saw one."""
    answered = pair & both["first_server_random"].notna().to_numpy() & both["second_server_random"].notna().to_numpy()
    parts = pd.concat([_different(both, OF_CLIENT, pair), _different(both, OF_SERVER, answered)], axis=1)
    text = parts.fillna("").agg(",".join, axis=1).str.strip(",").astype("string")
    return text.mask(text == "")


def _ended_by(table: pd.DataFrame, first_is_nearer: bool) -> "pd.Series[str]":
    """Tell who ended what failed: a side, or something between the points.

    A side that ends it is seen to do so at both points. Where each point sees it come from the other's direction, or
    the point on one side sees it fail and the other does not, it comes from in between.
    """
    near, far = POINTS if first_is_nearer else POINTS[::-1]
    failed = {point: (table[f"{point}_outcome"] == "failed").fillna(False) for point in POINTS}
    side = {point: table[f"{point}_failure_side"].astype("string") for point in POINTS}
    pair = table["seen"] == "both"
    same = (side["first"] == side["second"]).fillna(False)
    both = pair & failed["first"] & failed["second"]
    ended = pd.Series(pd.NA, index=table.index, dtype="string").mask(both & same, side["first"])
    facing = (side[near] == SERVER).fillna(False), (side[far] == CLIENT).fillna(False)
    established = {point: (table[f"{point}_outcome"] == "established").fillna(False) for point in POINTS}
    alone = (failed[near] & established[far] & facing[0]) | (failed[far] & established[near] & facing[1])
    return ended.mask(pair & ((both & facing[0] & facing[1]) | alone), BETWEEN)
