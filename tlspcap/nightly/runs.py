"""Which captures of a series are read together: as one run, or beside it, for what its edges cut.

Files of one *series* (one folder, names that differ in digits only, as `tcpdump -C`, `-G` and `-W` write them) are read
as one stream where they may go on with one another: a *run*. A run is bounded, so that it can be read again, and so
that the others have work. It owns the handshakes whose hello lies in its files. What adjoins it is read with it as
*context*: rows of its own handshakes see what came before the edge and what comes behind it, and rows of the context
are left to the run that owns them. So a run that a new capture adjoins is read again with it: as one run with it where
there is room, else beside it. Where that cannot be, since captures are gone, its rows are mended (see `seams`).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import takewhile
from typing import Any, NamedTuple

import pandas as pd

from tlspcap.nightly.found import Found, end_of, still_there
from tlspcap.reading import LONGEST_PAUSE
from tlspcap.wire.files import natural

HOUR = 3_600_000_000_000  # ns
LONGEST_RUN = 6 * HOUR  # between the beginnings of its files: what is read again with a neighbour stays bounded
LARGEST_RUN = 16 << 30  # bytes; a larger one would leave the other processes without work
LARGEST_CONTEXT = 4 << 30  # bytes on either side; larger captures of another run are not read for what an edge cut

Waiting = Callable[[str], pd.DataFrame]  # the loose ends of a run of the store


@dataclass(frozen=True)
class Edge:
    """Where a unit adjoins a run of the store that is not read again: its rows are mended."""

    run: str
    capture: str  # name of its file that the unit reads as context
    waiting: frozenset[str] = frozenset()  # ids of its handshakes that wait at this edge


@dataclass(frozen=True)
class Unit:
    """Captures that are read together, as one run, and what is read beside them."""

    files: tuple[Found, ...]  # in order
    replaces: frozenset[str] = frozenset()  # runs whose captures are all in it
    context: tuple[Found, ...] = ()  # of other runs: what adjoins it on either side
    before: Edge | None = None
    after: Edge | None = None
    bundle: str = ""  # units of one bundle are committed together

    @property
    def run(self) -> str:
        """Names the run, by what is in it and beside it; never like one that it replaces."""
        parts = [sorted(file.digest for file in files) for files in (self.files, self.context)]
        told = "\n\n".join("\n".join(part) for part in (*parts, sorted(self.replaces)))
        return blake2b(told.encode(), digest_size=10).hexdigest()

    @property
    def in_order(self) -> list[Found]:
        """All that is read, in order of time."""
        return list(_in_order([*self.files, *self.context]))

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(file.size for file in [*self.files, *self.context])


def units_of(new: list[Found], rows: pd.DataFrame, reach: int, waiting: Waiting) -> list[Unit]:
    """Say how the new captures of a series are read.

    Args:
        new: at least one.
        rows: of the store's captures, those of this series.
        reach: ns; so much time, and at least one file, is read beside a run.
        waiting: gives the loose ends of a run of the store.

    Returns:
        Units that hold all that is new, but for captures that grew in a run that cannot be read again: those stay as
        they were. Besides units for runs of the store that are read again with new captures beside them.
    """
    line = _Line(new, rows, reach)
    stored = dict(line.near())
    if stuck := {found.digest for found in new if found.grown_from and line.run_of(found.grown_from) not in stored}:
        left = [found for found in new if found.digest not in stuck]
        return units_of(left, rows, reach, waiting) if left else []
    units = _joined(new, stored)
    units += line.beside(units)
    again = frozenset[str]().union(*(unit.replaces for unit in units))
    return _bundled([line.surround(unit, again, waiting) for unit in units])


class _Place(NamedTuple):
    """Where a capture comes in its series."""

    start: int
    name: list[tuple[int, str]]
    digest: str
    size: int
    end: int | None  # ns; None where nobody has read so far
    run: str  # of the store; none where it is new
    item: Found | dict[Any, Any]  # of one that lies in the store, its row


class _Line:
    """The captures of a series that hold packets, in order of time: new ones, and those of the store."""

    def __init__(self, new: list[Found], rows: pd.DataFrame, reach: int) -> None:
        self._new = {found.digest: found for found in new}
        self._grown = {found.grown_from for found in new}
        self._reach = reach
        self._rows = rows[rows["run"].notna() & ~rows["digest"].isin(self._new)]
        current = self._rows[self._rows["start"].notna() & ~self._rows["digest"].isin(self._grown)]
        places = [_place_of(row) for row in current.to_dict("records")]
        places += [_new_place(found) for found in new if found.start is not None]
        self._places = sorted(places, key=lambda place: place[:2])
        self._at = {place.digest: at for at, place in enumerate(self._places)}
        self._found: dict[str, Found | None] = {}
        self._ends: dict[str, int | None] = {}

    def run_of(self, digest: str) -> str | None:
        """The run of a capture of the store."""
        runs: list[str] = self._rows.loc[self._rows["digest"] == digest, "run"].tolist()
        return runs[0] if runs else None

    def near(self) -> "Iterator[tuple[str, _Block]]":
        """Runs of the store with which new captures may be one run, and which can be read again."""
        begins = [found.start for found in self._new.values() if found.start is not None]
        for run, members in self._rows.groupby("run", sort=True):
            starts = members["start"].dropna().astype("int64").tolist()
            near = any(starts and min(starts) - LONGEST_RUN <= at <= max(starts) + LONGEST_RUN for at in begins)
            if (near or self._grown & set(members["digest"])) and (files := self._again(str(run))) is not None:
                yield str(run), _Block(frozenset([str(run)]), files, starts)

    def _again(self, run: str) -> list[Found] | None:
        """The captures of a run of the store, where all are there to be read again, and so is what adjoins them."""
        members = self._rows[(self._rows["run"] == run) & ~self._rows["digest"].isin(self._grown)]
        files = [self._still_there(row) for row in members.to_dict("records")]
        there = [file for file in files if file is not None]
        beside = [place for side in self._around(there) for place in side]
        return there if len(there) == len(files) and all(map(self._at_hand, beside)) else None

    def beside(self, units: list[Unit]) -> list[Unit]:
        """Units for the runs of the store that are not in these, but adjoin what is new in them."""
        taken = frozenset[str]().union(*(unit.replaces for unit in units))
        met = {place.run for unit in units for side in self._around(unit.files) for place in side} - taken - {""}
        found = []
        for run in sorted(met):
            files = self._again(run) or []
            if any(place.digest in self._new for side in self._around(files) for place in side):
                found.append(Unit(_in_order(files), frozenset([run])))
        return found

    def surround(self, unit: Unit, again: frozenset[str], waiting: Waiting) -> Unit:
        """Give a unit its context, and the edges at which runs of the store are mended that are not read `again`."""
        own = self._span(unit.files)
        if not own:
            return unit
        sides = zip(own, (-1, 1), strict=True)
        before, after = (list(takewhile(self._at_hand, self._side(at, step))) for at, step in sides)
        context = tuple(found for place in [*before, *after] if (found := self._at_hand(place)))
        edges = {
            edge: _edge_at(side[0], edge, waiting)
            for at, side, edge in ((own[0], before, "end"), (own[1], after, "beginning"))
            if side and not self._places[at].run and side[0].run not in {"", *again}
        }
        return replace(unit, context=context, before=edges.get("end"), after=edges.get("beginning"))

    def _around(self, files: Iterable[Found]) -> tuple[list[_Place], list[_Place]]:
        """What adjoins these captures before the first and behind the last of them, the nearest first."""
        own = self._span(files)
        return (self._side(own[0], -1), self._side(own[1], 1)) if own else ([], [])

    def _span(self, files: Iterable[Found]) -> tuple[int, int] | None:
        """Where the first and the last of these captures are; nowhere if none of them holds a packet."""
        own = [self._at[file.digest] for file in files if file.digest in self._at]
        return (min(own), max(own)) if own else None

    def _side(self, at: int, step: int) -> list[_Place]:
        """Captures on one side of a place, as far as they go on with one another, and `reach` and size allow.

        The larger of both ends counts, so that each is read beside the other or neither is: else one that comes later
        would have to be read beside a run that it does not adjoin.
        """
        own, taken, between = self._places[at], list[_Place](), 0
        while 0 <= (at := at + step) < len(self._places):
            place, near = self._places[at], taken[-1] if taken else own
            covered = own.start - near.start if step < 0 else place.start - taken[0].start if taken else 0
            enough = len(taken) > 0 and covered >= self._reach
            too_large = between + max(own.size, place.size) > LARGEST_CONTEXT
            if enough or too_large or not self._adjoin(*((near, place) if step > 0 else (place, near))):
                break
            taken.append(place)
            between += place.size
        return taken

    def _adjoin(self, one: _Place, other: _Place) -> bool:
        """Whether one capture may go on with the one before; that one is read to its end if need be."""
        if other.start <= one.start + LONGEST_PAUSE:
            return True
        if one.end is None and isinstance(one.item, Found) and one.digest not in self._ends:
            self._ends[one.digest] = end_of(one.item)
        end = self._ends.get(one.digest) if one.end is None else one.end
        return end is not None and other.start <= end + LONGEST_PAUSE

    def _at_hand(self, place: _Place) -> Found | None:
        """A capture, where it is there to be read."""
        return place.item if isinstance(place.item, Found) else self._still_there(place.item)

    def _still_there(self, row: dict[Any, Any]) -> Found | None:
        if row["digest"] not in self._found:
            self._found[row["digest"]] = still_there(row)
        return self._found[row["digest"]]


def _new_place(found: Found) -> _Place:
    return _Place(found.start or 0, natural(found.name), found.digest, found.size, found.end, "", found)


def _place_of(row: dict[Any, Any]) -> _Place:
    end = None if pd.isna(row["last_time"]) else row["last_time"].value
    name, run = natural(row["name"]), str(row["run"])
    return _Place(row["start"].value, name, row["digest"], row["size"], end, run, row)


def _edge_at(place: _Place, edge: str, waiting: Waiting) -> Edge:
    ends = waiting(place.run)
    assert not isinstance(place.item, Found)  # it is of a run of the store
    return Edge(place.run, str(place.item["name"]), frozenset(ends.loc[ends["edge"] == edge, "id"]))


@dataclass
class _Block:
    """Captures that are to be one run."""

    replaces: frozenset[str]
    files: list[Found]
    starts: list[int]  # ns; of captures that grew too, which are not among the files any more


def _joined(new: list[Found], stored: dict[str, _Block]) -> list[Unit]:
    """Join new captures, and runs of the store, that may go on with one another; give the units that hold any new."""
    blocks = [_Block(frozenset(), [found], [] if found.start is None else [found.start]) for found in new]
    blocks += [block for block in stored.values() if block.files]  # of the others all grew, and are among the new
    blocks.sort(key=lambda block: (min(block.starts, default=0), natural(block.files[0].name)))
    joined: list[_Block] = []
    for block in blocks:
        if joined and _go_on(joined[-1], block):
            last = joined.pop()
            block = _Block(last.replaces | block.replaces, last.files + block.files, last.starts + block.starts)
        joined.append(block)
    fresh = {found.digest for found in new}
    return [
        Unit(_in_order(block.files), block.replaces)
        for block in joined
        if any(file.digest in fresh for file in block.files)
    ]


def _in_order(files: Iterable[Found]) -> tuple[Found, ...]:
    return tuple(sorted(files, key=lambda file: (file.start or 0, natural(file.name))))


def _go_on(before: _Block, block: _Block) -> bool:
    """Whether captures may be one run with those before: within what they span, or with it within the bounds."""
    if not before.starts or not block.starts:
        return False
    if not block.replaces and block.starts[0] <= max(before.starts):  # a new one that was missing among them
        return True
    size = sum(file.size for file in [*before.files, *block.files])
    together = [*before.starts, *block.starts]
    return max(together) - min(together) <= LONGEST_RUN and size <= LARGEST_RUN


def _bundled(units: list[Unit]) -> list[Unit]:
    """Name bundles: a run that is read again is committed with what is new beside it, so that no row is ever twice."""
    owner = {file.digest: unit.run for unit in units for file in unit.files}
    bundle = {unit.run: unit.run for unit in units}
    for unit in units:
        if not any(file.is_new for file in unit.files):
            met = {bundle[owner[file.digest]] for file in unit.context if file.is_new} | {bundle[unit.run]}
            bundle = {run: min(met) if name in met else name for run, name in bundle.items()}
    return [replace(unit, bundle=bundle[unit.run]) for unit in units]
