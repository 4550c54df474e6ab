"""The nights of a store side by side, as DataFrames: one pass over the store, of which only counts are kept."""

from typing import TYPE_CHECKING, Any

import pandas as pd

from tlspcap.nightly.nights import (
    BY,
    COUNTS,
    NEEDED,
    SERVER,
    added,
    columns_of,
    counted,
    named,
    of_piece,
    together,
)
from tlspcap.nightly.store import Store, decoded
from tlspcap.schema import DATE

if TYPE_CHECKING:
    import pyarrow as pa

OLD = ("SSL 2.0", "SSL 3.0", "TLS 1.0", "TLS 1.1")  # deprecated by RFC 8996 and those before it
CERTIFICATE = ["sha256", "subject", "not_after"]
COUNTED = {"versions": ("version",), "ciphers": ("version", "cipher")}
LEAF = "certificate_sha256"
ALERT = ["date", BY, "sender", "description"]
OLD_CLIENT = ["client_ip", "offered_version_max"]


def tables(store: Store, by: str = BY) -> dict[str, pd.DataFrame]:
    """Put the nights of a store, or of a slice of it, side by side.

    Args:
        store: the store, or what `select` left of it.
        by: a column of handshakes, or "server" for address and port.

    Returns:
        nights: a row per date and value of `by` (see `nights.summary`).
        versions, ciphers: n, established and failed per date, value of `by`, and version, or version and cipher.
        alerts: per date, server, sender and description how many handshakes an alert ended.
        old_clients: clients that offer at most TLS 1.1, the newest first (see `old_clients`).
        certificates: server leaves of the last night, by days left (see `certificates`).
    """
    names = ("nights", "ciphers", "old", "alerts")
    parts: dict[str, list[pd.DataFrame]] = {name: [] for name in names}
    wanted = {*NEEDED, *columns_of(by), *SERVER, "version", "cipher", "offered_version_max", "failure_side", "alert"}
    for piece in map(named, store.pieces(wanted)):
        parts["nights"].append(of_piece(piece, by))
        parts["ciphers"].append(counted(piece, by, "version", "cipher"))
        parts["old"].append(counted(_old(piece), BY, *OLD_CLIENT))
        parts["alerts"].append(_alerts(piece))
    told = {name: added(parts["ciphers"], _distinct("date", by, *columns)) for name, columns in COUNTED.items()}
    return {
        "nights": together(parts["nights"], by),
        **told,
        "alerts": added(parts["alerts"], ALERT).drop(columns=COUNTS[1:]),
        "old_clients": old_clients(added(parts["old"], ["date", BY, *OLD_CLIENT])),
        "certificates": certificates(store),
    }


def _distinct(*names: str) -> list[str]:
    return list(dict.fromkeys(names))


def _old(piece: "pa.Table") -> "pa.Table":
    import pyarrow as pa
    from pyarrow import compute

    return piece.filter(compute.is_in(piece["offered_version_max"], value_set=pa.array(OLD)))


def _alerts(piece: "pa.Table") -> pd.DataFrame:
    """Count the handshakes of a piece that an alert ended, by who sent which."""
    from pyarrow import compute

    ended = counted(piece.filter(compute.is_valid(piece["alert"])), BY, "failure_side", "alert")
    return ended.rename(columns={"failure_side": "sender", "alert": "description"})


def old_clients(counts: pd.DataFrame) -> pd.DataFrame:
    """Clients that offer at most TLS 1.1.

    Args:
        counts: n, established and failed per date, server, client_ip and offered_version_max.

    Returns:
        One row per client and highest version offered: first and last (dates), n, established and failed, servers (how
        many it went to) and server (the first of them by name). Those that came last stand first.
    """
    told = {"first": ("date", "min"), "last": ("date", "max"), "servers": (BY, "nunique"), "server": (BY, "min"),
            **{name: (name, "sum") for name in COUNTS}}  # fmt: skip
    groups: Any = counts.groupby(OLD_CLIENT, sort=True)
    found = groups.agg(**told).reset_index()
    ordered: pd.DataFrame = found.sort_values(["first", "n"], ascending=False, kind="stable", ignore_index=True)
    return ordered


def certificates(store: Store) -> pd.DataFrame:
    """Server leaves of the last night of a store, those that expire first before the others.

    Returns:
        One row per leaf: sha256, subject, not_after, days_left (float64, counted from the end of the last night, so
        that the same night gives the same number whenever it is looked at), servers (the first few by name).
    """
    dates = store.dates
    if not dates:
        return pd.DataFrame(columns=[*CERTIFICATE, "days_left", "servers"])
    night = store.select(since=dates[-1], until=dates[-1])
    pieces = map(named, night.pieces({"outcome", *SERVER, LEAF}))
    counts = added([counted(piece, BY, LEAF) for piece in pieces], [BY, LEAF])
    servers = counts.dropna(subset=[LEAF]).groupby(LEAF)[BY].agg(_names).rename("servers")
    found = _leaves(store, dates[-1], list(servers.index)).join(servers, how="inner", on="sha256")
    end = pd.Timestamp(dates[-1], tz="UTC") + pd.Timedelta(days=1)
    days = (found["not_after"] - end.as_unit("us")).dt.total_seconds() / 86_400
    return found.assign(days_left=days)[[*CERTIFICATE, "days_left", "servers"]].sort_values(
        ["days_left", "sha256"], ignore_index=True
    )


def _leaves(store: Store, date: str, wanted: list[str]) -> pd.DataFrame:
    """Find certificates by their hash: in the rows of about that night, and where one is not there, in all."""
    near = str((pd.Timestamp(date) - pd.Timedelta(days=2)).date())
    found = pd.DataFrame(columns=CERTIFICATE)
    for since in (near, None):
        pieces = Store(store.path, since=since).pieces([*CERTIFICATE, "role"], "certificates")
        rows = pd.concat([decoded(piece).to_pandas() for piece in pieces] or [found.assign(role="")])
        found = rows[(rows["role"] == "server") & rows["not_after"].notna() & rows["sha256"].isin(wanted)]
        found = found.drop_duplicates("sha256")[CERTIFICATE]
        if len(found) == len(wanted):
            break
    return found.astype({"not_after": DATE})


def _names(cells: "pd.Series[Any]") -> str:
    names = sorted(set(cells))
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
