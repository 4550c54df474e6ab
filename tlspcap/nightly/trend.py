"""The nights of a store side by side, as DataFrames."""

from typing import Any

import pandas as pd

from tlspcap.grouping import server
from tlspcap.nightly.nights import BY, nights
from tlspcap.nightly.store import Store

OLD = ("SSL 2.0", "SSL 3.0", "TLS 1.0")


def trend(store: Store, by: str = BY) -> dict[str, pd.DataFrame]:
    """Put the nights of a store, or of a slice of it, side by side.

    Returns:
        nights: a row per date and value of `by` (see `nights.nights`); versions: handshakes per date and version;
        alerts: per date, sender and description; old_clients: clients that offer at most TLS 1.0, with the dates and
        counts they did so, newest first; certificates: server leaves of the last night, by days left.
    """
    dates = store.dates
    return {
        "nights": nights(store, by),
        "versions": _counted(store, "handshakes", ["version"]),
        "alerts": _counted(store, "alerts", ["sender", "description"]),
        "old_clients": old_clients(store),
        "certificates": certificates(store.select(since=dates[-1]), dates[-1]) if dates else pd.DataFrame(),
    }


def _counted(store: Store, table: str, columns: list[str]) -> pd.DataFrame:
    parts = []
    for date in store.dates:
        rows = store.select(since=date, until=date).table(table, columns)
        counts = rows.groupby(columns, observed=True, dropna=False).size().rename("n").reset_index()
        parts.append(counts.assign(date=date)[["date", *columns, "n"]])
    empty = pd.DataFrame(columns=["date", *columns, "n"])
    return pd.concat([part for part in parts if len(part)] or [empty], ignore_index=True)


def old_clients(store: Store) -> pd.DataFrame:
    """Clients that offer at most TLS 1.0: address, first and last date, handshakes, newest first."""
    parts = []
    for date in store.dates:
        rows = store.select(since=date, until=date).table("handshakes", ["client_ip", "offered_version_max"])
        old = rows[rows["offered_version_max"].isin(OLD)]
        parts.append(old.groupby("client_ip").size().rename("n").reset_index().assign(date=date))
    if not any(len(part) for part in parts):
        return pd.DataFrame(columns=["client_ip", "first", "last", "n"])
    joined = pd.concat([part for part in parts if len(part)])
    found = joined.groupby("client_ip").agg(first=("date", "min"), last=("date", "max"), n=("n", "sum")).reset_index()
    return found.sort_values(["first", "client_ip"], ascending=[False, True], ignore_index=True)


def certificates(store: Store, date: str) -> pd.DataFrame:
    """Server leaves, those that expire first before the others.

    Returns:
        One row per leaf: sha256, subject, not_after, days_left (float64, counted from the end of the date), servers.
    """
    rows = store.table("handshakes", ["certificate_sha256", "server_ip", "server_port"])
    shown = rows.assign(server=server(rows)).dropna(subset=["certificate_sha256"])
    servers = shown.groupby("certificate_sha256")["server"].agg(_names).rename("servers")
    known = Store(store.path).certificates
    leaves = known[(known["role"] == "server") & known["not_after"].notna()].set_index("sha256")
    found = leaves[["subject", "not_after"]].join(servers, how="inner").rename_axis("sha256").reset_index()
    end = pd.Timestamp(date, tz="UTC") + pd.Timedelta(days=1)
    days = (found["not_after"] - end.as_unit("us")).dt.total_seconds() / 86_400
    return found.assign(days_left=days)[["sha256", "subject", "not_after", "days_left", "servers"]].sort_values(
        "days_left", ignore_index=True
    )


def _names(cells: "pd.Series[Any]") -> str:
    names = sorted(set(cells))
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
