"""Stores of older versions: brought up to date, one step after the other, by the next batch.

Whoever changes a column of the stored tables changes `layout.schema_version()`. If a version with the columns before
was released, add a step here, from that version to the new one; else change the last step's `new`. A step gives the
new table of captures. Columns that are new in other tables need nothing: files without them read as NA. A step counts
once the new table of captures has replaced the old one; files that it wrote before do no harm, and are written anew.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from tlspcap.nightly.layout import CAPTURES, schema_version, version_in
from tlspcap.nightly.loose_ends import COLUMNS, cut, loose_ends
from tlspcap.nightly.writing import Stage, move_into_place, replace_captures, staging

TIMEOUT = 10.0  # seconds; with which batches read unless told otherwise


class Step(NamedTuple):
    """From one version of the columns to the next."""

    old: str
    new: str
    take: Callable[[Path, pd.DataFrame], pd.DataFrame]  # the store's folder, its captures -> new captures


def _stamps_and_loose_ends(folder: Path, captures: pd.DataFrame) -> pd.DataFrame:
    """Captures get a `stamp` (unknown: each is read once more to be told apart), runs their `loose_ends`."""
    place = staging(folder)
    for run, members in captures[captures["run"].notna()].groupby("run"):
        stage = Stage(place, str(run))
        ends = loose_ends(cut(_rows(folder, str(run))), members, TIMEOUT)
        stage.write("loose_ends", ends, lambda rows: rows["time"].dt.strftime("%Y-%m-%d"))
        move_into_place(folder, stage.root)
    return captures.assign(stamp=pd.array([None] * len(captures), dtype="string"))


def _rows(folder: Path, run: str) -> pd.DataFrame:
    """What a run's handshakes have in the columns that tell loose ends."""
    from pyarrow import dataset

    files = sorted(map(os.fspath, (folder / "handshakes").glob(f"date=*/{run}-*.parquet")))
    if not files:
        return pd.DataFrame(columns=COLUMNS)
    return pd.DataFrame(dataset.dataset(files, format="parquet").to_table(columns=COLUMNS).to_pandas())


STEPS = (Step("7b8c97f27aa2", "c26a7def2ca3", _stamps_and_loose_ends),)


def migrate(folder: Path) -> None:
    """Bring a store up to date; the caller holds its lock.

    Raises StoreError where no steps lead from its version to this one.
    """
    from pyarrow import parquet

    file = folder / CAPTURES
    if not file.exists():
        return
    found = version_in(folder)
    steps = _path(found)
    if steps:
        captures = parquet.read_table(file).to_pandas()
        for step in steps:
            captures = step.take(folder, captures)
        replace_captures(folder, captures)


def _path(version: str) -> list[Step]:
    """The steps that lead from a version to this one; none where there is no way, or nothing to do."""
    steps: list[Step] = []
    while version != schema_version():
        step = next((step for step in STEPS if step.old == version), None)
        if step is None:
            return []
        steps.append(step)
        version = step.new
    return steps
