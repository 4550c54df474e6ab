"""Handshakes that an edge of a recording cut: which they are, and which file each waits for.

They are rows like others, mostly with `completeness` cut_off or mid_stream. When the file that they wait for comes, the
run is read again with it (`runs`), and its rows are replaced; where captures of it are gone, the new capture is read
with the one that it adjoins, and these rows are mended (`seams`). Nothing of the packets is kept in a store.
"""

import numpy as np
import pandas as pd

from tlspcap.nightly.layout import stored
from tlspcap.tables import Columns

COLUMNS = ["id", "capture", "time", "completeness", "outcome"]
EDGE_NOTE = "tls_without_hello"  # the kind of note that an edge may be the cause of
MOST = 10_000  # kept of a run: those nearest to its beginning, and to its end


def cut(handshakes: pd.DataFrame) -> pd.DataFrame:
    """Keep of handshakes those that an edge may have cut, and of their columns what tells."""
    rows = handshakes[COLUMNS]
    unanswered = (rows["outcome"] == "unknown") & (rows["completeness"] == "one_sided")
    return bounded(rows[rows["completeness"].isin(["cut_off", "mid_stream"]) | unanswered])


def bounded(rows: pd.DataFrame) -> pd.DataFrame:
    """Keep what is nearest to the two ends."""
    if len(rows) <= 2 * MOST:
        return rows
    rows = rows.sort_values("time", kind="stable")
    return pd.concat([rows.iloc[:MOST], rows.iloc[-MOST:]])


def loose_ends(rows: pd.DataFrame, captures: pd.DataFrame, timeout: float) -> pd.DataFrame:
    """Say which of these handshakes an edge cut.

    Args:
        rows: what `cut` kept of the handshakes of a run.
        captures: the rows of its captures.
        timeout: seconds of silence that count as no answer; what lasts longer between two files is an edge too.

    Returns:
        Rows of the table of that name, in order of time.
    """
    begins, ends = _edges(captures, pd.Timedelta(seconds=timeout))
    table = Columns(stored("loose_ends"))
    series = captures["series"].iloc[0] if len(captures) else ""
    for row in rows.sort_values(["time", "id"], kind="stable").to_dict("records") if len(ends) else ():
        begun = row["completeness"] == "mid_stream"
        edge = _before(begins, row["time"]) if begun else _after(ends, row["time"])
        near = edge is not None and abs(row["time"] - edge) <= pd.Timedelta(seconds=timeout)
        if edge is not None and (near or row["completeness"] == "cut_off"):
            cells = {"id": row["id"], "capture": row["capture"], "time": row["time"].value, "series": series}
            table.add({**cells, "edge": "beginning" if begun else "end", "edge_time": edge.value})
    return table.frame()


def _edges(captures: pd.DataFrame, timeout: pd.Timedelta) -> tuple[pd.DatetimeIndex, pd.DatetimeIndex]:
    """When the recording began, and when it ended, once for each stretch without a pause."""
    known = captures[captures["start"].notna()].sort_values("start", kind="stable")
    start, reached = pd.DatetimeIndex(known["start"]), pd.DatetimeIndex(known["last_time"].cummax())
    if known.empty:  # captures without packets
        return start, reached
    paused = (start[1:] - reached[:-1]) > timeout
    return start[np.append(True, paused)], reached[np.append(paused, True)]


def _before(edges: pd.DatetimeIndex, time: pd.Timestamp) -> pd.Timestamp | None:
    at = int(edges.searchsorted(time, side="right"))
    return edges[at - 1] if at else None


def _after(edges: pd.DatetimeIndex, time: pd.Timestamp) -> pd.Timestamp | None:
    at = int(edges.searchsorted(time))
    return edges[at] if at < len(edges) else None
