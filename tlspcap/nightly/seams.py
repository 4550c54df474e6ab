"""Where a unit adjoins a run that cannot be read again: what the edge cut in that run is mended.

A handshake is of the run whose captures hold its hello. So a unit keeps of what it reads what is its own. Of a run of
the store of which captures are gone, it tells besides what mends it: rows that were cut off there and are whole now,
and rows joined in mid-stream that were the other half of such.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from tlspcap.nightly.layout import NO_TIME, STORED
from tlspcap.nightly.loose_ends import EDGE_NOTE, cut
from tlspcap.nightly.runs import Unit
from tlspcap.nightly.store import typed
from tlspcap.nightly.writing import Stage

OF_HANDSHAKES = ("handshakes", "alerts", "notes")
CHAINS = {"chain_sha256": "server", "client_certificate_sha256": "client"}


@dataclass(frozen=True)
class Mend:
    """What changes in a run of the store."""

    run: str
    drop: frozenset[str]  # ids of handshakes, whose rows are
    rows: dict[str, pd.DataFrame] = field(default_factory=dict)  # replaced by these
    capture: str = ""  # of which notes about TLS without a hello are replaced too


class Seams:
    """Parts what a unit reads into its own rows and those of what it reads beside them."""

    def __init__(self, unit: Unit, own: set[str], name: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
        """`own`: paths of the unit's own captures. `name` gives rows the names of captures in place of paths."""
        self._unit, self._own, self._name = unit, own, name
        self._others: dict[str, list[pd.DataFrame]] = {name: [] for name in OF_HANDSHAKES}

    def own(self, frames: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
        """Keep the unit's own rows."""
        handshakes = frames["handshakes"]
        mine = set(handshakes.loc[handshakes["capture"].isin(self._own), "id"])
        kept = dict(frames)
        for name in OF_HANDSHAKES if self._unit.context else ():
            frame = frames[name]
            is_own = frame["id"].isin(mine) | (frame["id"].isna() & frame["capture"].isin(self._own))
            kept[name] = frame[is_own]
            if self._unit.before or self._unit.after:
                self._others[name].append(self._name(frame[~is_own]))
        return {name: self._name(frame) for name, frame in kept.items()}

    def mends(self) -> tuple[Mend, ...]:
        """What changes in runs that are not read again."""
        found = {mend.run: mend for mend in (self._after(), self._before()) if mend is not None}
        return tuple(found.values())  # where a unit fills a hole in a run that is gone, the end of that alone is mended

    def _before(self) -> Mend | None:
        """Rows that were cut off at the end of the run before, and are whole now."""
        edge = self._unit.before
        if edge is None or not self._others["handshakes"]:
            return None
        rows = {name: pd.concat(frames) for name, frames in self._others.items()}
        handshakes = rows["handshakes"]
        whole = set(handshakes["id"]) & edge.waiting - set(cut(handshakes)["id"])
        rows = {name: frame[frame["id"].isin(whole)] for name, frame in rows.items()}
        return Mend(edge.run, frozenset(whole), rows) if whole else None

    def _after(self) -> Mend | None:
        """Rows that began in mid-stream in the run behind, and are the rest of others now."""
        edge = self._unit.after
        if edge is None or not self._others["handshakes"]:
            return None
        there = set(pd.concat(self._others["handshakes"])["id"])
        notes = pd.concat(self._others["notes"])
        notes = notes[(notes["kind"] == EDGE_NOTE) & (notes["capture"] == edge.capture)]
        return Mend(edge.run, edge.waiting - there, {"notes": notes}, edge.capture)


def mended(folder: Path, staging: Path, mend: Mend) -> Stage:
    """Stage a run of the store anew, mended, under another name."""
    told = "\n".join([mend.run, mend.capture, *sorted(mend.drop)])
    stage = Stage(staging, blake2b(told.encode(), digest_size=10).hexdigest())
    dropped = _rows(folder, "handshakes", mend.run, lambda frame: frame["id"].isin(mend.drop))
    for name in STORED:
        for file in _files(folder, name, mend.run):
            date, frame = file.parent.name.removeprefix("date="), _read(name, file)
            frame = _counted(frame, dropped) if name == "certificates" else frame[_stays(name, frame, mend)]
            stage.write(name, frame, lambda rows, date=date: pd.Series(date, rows.index))  # type: ignore[misc]
    for name, frame in mend.rows.items():
        stage.write(name, frame, lambda rows: pd.Series(NO_TIME, rows.index))
    return stage


def _stays(name: str, frame: pd.DataFrame, mend: Mend) -> "pd.Series[bool]":
    goes = frame["id"].isin(mend.drop)
    if name == "notes" and mend.capture:
        goes |= (frame["kind"] == EDGE_NOTE) & (frame["capture"] == mend.capture)
    return ~goes


def _counted(certificates: pd.DataFrame, dropped: pd.DataFrame) -> pd.DataFrame:
    """Count certificates less often by the handshakes that are dropped: their new rows count them again."""
    left = certificates.assign(handshakes=certificates["handshakes"])
    for column, role in CHAINS.items():
        for sha in (sha for chain in dropped[column].dropna() for sha in dict.fromkeys(chain.split(","))):
            left.loc[(left["sha256"] == sha) & (left["role"] == role), "handshakes"] -= 1
    return left[left["handshakes"] > 0]


def _rows(folder: Path, name: str, run: str, wanted: "Callable[[pd.DataFrame], pd.Series[bool]]") -> pd.DataFrame:
    frames = [_read(name, file) for file in _files(folder, name, run)]
    return pd.concat([frame[wanted(frame)] for frame in frames]) if frames else pd.DataFrame(columns=[*CHAINS])


def _files(folder: Path, name: str, run: str) -> list[Path]:
    return sorted((folder / name).glob(f"date=*/{run}-*.parquet"), key=os.fspath)


def _read(name: str, file: Path) -> pd.DataFrame:
    from pyarrow import parquet

    return typed(name, parquet.read_table(file, partitioning=None).to_pandas().drop(columns="run"))
