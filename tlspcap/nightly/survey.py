"""What a batch has to do: which captures are new, by content, and which belong together.

Files of one *series* (one folder, names that differ in digits only, as `tcpdump -C`, `-G` and `-W` write them) are read
as one stream where they may go on with one another; so a handshake across two files is one row. Where a neighbour
comes in a later batch, the run that it adjoins is read again with it, and its rows are replaced. A run that is full, or
cannot be read again, stays, and its neighbours read the one file of it that they adjoin (see `seams`).
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any, NamedTuple

import pandas as pd

from tlspcap.errors import CaptureError
from tlspcap.nightly.places import open_bytes, opened, size_of, stamp
from tlspcap.reading import LONGEST_PAUSE
from tlspcap.wire.files import natural
from tlspcap.wire.packets import first_time, last_time

HOUR = 3_600_000_000_000  # ns
LONGEST_RUN = 6 * HOUR  # between the beginnings of its files: what is read again with a neighbour stays bounded
LARGEST_RUN = 16 << 30  # bytes; a larger one would leave the other processes without work
LARGEST_AGAIN = 4 << 30  # bytes; a larger capture of another run is not read again for what its edge cut
BLOCK = 1 << 20


@dataclass(frozen=True)
class Found:
    """A capture file."""

    name: str  # absolute path, where it lay when it was found first
    path: str  # where it lies now
    size: int
    digest: str
    series: str
    start: int | None = None  # ns, of its first packet
    end: int | None = None  # ns, the largest time in it, where it was read before
    stamp: str | None = None  # see `places.stamp`
    trouble: str = ""  # why it cannot be read at all
    grown_from: str = ""  # digest of a capture in the store that is its beginning: it was still being written then
    is_new: bool = True  # False: it was in the store before, and is read again with a neighbour


@dataclass(frozen=True)
class Neighbour:
    """A capture that goes on with a unit, on either side, but is of another run."""

    found: Found
    run: str = ""  # of the store; none where it is of another unit of this batch, which looks after itself
    waiting: frozenset[str] = frozenset()  # handshakes of that run that wait at this edge


@dataclass(frozen=True)
class Unit:
    """Captures that are read together, as one run."""

    files: tuple[Found, ...]  # in order
    replaces: frozenset[str] = frozenset()  # runs whose captures are all in it
    before: Neighbour | None = None
    after: Neighbour | None = None

    @property
    def run(self) -> str:
        """Names the run, by what is in it."""
        digests = sorted(file.digest for file in self.files)
        return blake2b("\n".join(digests).encode(), digest_size=10).hexdigest()

    @property
    def neighbours(self) -> list[Neighbour]:
        """Those that there are."""
        return [neighbour for neighbour in (self.before, self.after) if neighbour is not None]

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(file.size for file in [*self.files, *(neighbour.found for neighbour in self.neighbours)])


@dataclass
class Plan:
    """What a batch has to do."""

    units: list[Unit] = field(default_factory=list)
    bad: list[Found] = field(default_factory=list)  # cannot be read at all
    known: list[Found] = field(default_factory=list)  # are in the store already

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(unit.size for unit in self.units)


def series_of(path: str) -> str:
    """Name the series of a file.

    >>> series_of("/caps/lb1_2026-11-03.pcap12"), series_of("/caps/lb2.pcap")
    ('/caps/lb_--.pcap', '/caps/lb.pcap')
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, re.sub(r"[0-9]+", "", name))


@dataclass(frozen=True)
class Earlier:
    """What a store knows of a path."""

    sizes: tuple[tuple[str, int], ...] = ()  # digest and size of each capture that lay there
    stamps: tuple[tuple[str, str], ...] = ()  # stamp and digest of those that may lie there still


Ask = tuple[str, Earlier]


def look_at(asked: Iterable[Ask]) -> "Iterator[Found | None]":
    """Look at files one by one."""
    return (look(path, earlier) for path, earlier in asked)


def plan(
    paths: Iterable[str],
    stored: pd.DataFrame,
    since: int | None = None,
    looks: Callable[[Iterable[Ask]], Iterable[Found | None]] = look_at,
    waiting: Callable[[str], pd.DataFrame] = lambda run: pd.DataFrame({"id": [], "edge": [], "capture": []}),
) -> Plan:
    """Say what is to be done with these files, given the table of captures of the store.

    Args:
        paths: absolute, or remote.
        stored: the table of captures.
        since: ns; captures that begin before are left alone.
        looks: looks at files, and gives what it found in the same order.
        waiting: gives the loose ends of a run of the store.
    """
    made, new = Plan(), dict[str, Found]()
    digests, earlier = set(stored["digest"]), _earlier(stored)
    for found in looks([(path, earlier.get(path, Earlier())) for path in paths]):
        if found is None:
            continue
        if found.digest in digests or found.digest in new:
            made.known.append(found)
        elif found.trouble:
            made.bad.append(found)
            digests.add(found.digest)
        elif since is None or found.start is None or found.start >= since:
            new[found.digest] = found
    by_series: dict[str, list[Found]] = {}
    for found in new.values():
        by_series.setdefault(found.series, []).append(found)
    for series, files in by_series.items():
        rows = stored[stored["series"] == series]
        again = dict(_runs(rows, files))
        stuck = {found.digest for found in files if _is_stuck(found, rows, again)}
        made.known += [found for found in files if found.digest in stuck]
        files = [found for found in files if found.digest not in stuck]
        made.units += with_neighbours(_units(files, again.items()), rows, waiting)
    return made


def _earlier(stored: pd.DataFrame) -> dict[str, Earlier]:
    """What the store knows of each path."""
    sizes, stamps = defaultdict[str, list[tuple[str, int]]](list), defaultdict[str, list[tuple[str, str]]](list)
    columns = [stored[name].astype(object).where(stored[name].notna(), None).tolist()
               for name in ("name", "moved_to", "digest", "size", "stamp")]  # fmt: skip
    for name, moved_to, digest, size, known in zip(*columns, strict=True):
        sizes[name].append((digest, size))
        if known is not None:
            stamps[moved_to or name].append((known, digest))
    return {path: Earlier(tuple(sizes[path]), tuple(stamps[path])) for path in sizes.keys() | stamps.keys()}


def _is_stuck(found: Found, rows: pd.DataFrame, again: dict[str, list[Found]]) -> bool:
    """Whether a file is a capture of the store, grown, whose run cannot be read again: others of that run are gone."""
    runs = rows.loc[rows["digest"] == found.grown_from, "run"].dropna().tolist()
    return bool(runs) and runs[0] not in again


def look(path: str, earlier: Earlier = Earlier()) -> Found | None:
    """Look at one file; None where it went away meanwhile. One that was not touched is not read again."""
    found = Found(path, path, 0, "", series_of(path))
    try:
        if same := untouched(path, earlier):
            return same
        before = stamp(path)
        size, digest, grown_from = digest_of(path, dict(earlier.sizes))
        found = replace(found, size=size, digest=digest, grown_from=grown_from)
        found = replace(found, stamp=before if before == stamp(path) else None)
        with opened(path) as capture:
            return replace(found, start=first_time(capture))
    except FileNotFoundError:
        return None
    except CaptureError as error:
        return replace(found, trouble=str(error))
    except OSError as error:
        unread = blake2b(os.fsencode(path), digest_size=32).hexdigest()
        return replace(found, digest=unread, trouble=f"{path}: {error.strerror or error}")


def untouched(path: str, earlier: Earlier) -> Found | None:
    """Know a file by its stamp, without reading it; None where it is not known so.

    Raises OSError where it is not there.
    """
    if not earlier.stamps or (now := stamp(path)) is None or (digest := dict(earlier.stamps).get(now)) is None:
        return None
    return Found(path, path, size_of(path) or 0, digest, series_of(path), stamp=now)


def digest_of(path: str, earlier: dict[str, int]) -> tuple[int, str, str]:
    """Size and digest of a file, and which of the `earlier` digests (with their sizes) is that of its beginning."""
    whole, size, grown_from = blake2b(digest_size=32), 0, ""
    edges = sorted((at, digest) for digest, at in earlier.items())
    with open_bytes(path) as file:
        while block := file.read(min(BLOCK, edges[0][0] - size) if edges else BLOCK):
            whole.update(block)
            size += len(block)
            while edges and edges[0][0] <= size:
                at, digest = edges.pop(0)
                if at == size and whole.hexdigest() == digest:
                    grown_from = digest
    digest = whole.hexdigest()
    return size, digest, "" if grown_from == digest else grown_from


def _runs(rows: pd.DataFrame, new: list[Found]) -> Iterator[tuple[str, list[Found]]]:
    """Runs of the store that may be read again with new files: all their captures are still there."""
    grown = {found.grown_from for found in new}
    begins = [found.start for found in new if found.start is not None]
    for run, members in rows[rows["run"].notna()].groupby("run", sort=True):
        starts = members["start"].dropna().astype("int64").tolist()
        near = any(starts and min(starts) - LONGEST_RUN <= at <= max(starts) + LONGEST_RUN for at in begins)
        if not near and not grown & set(members["digest"]):
            continue
        files = [_still_there(row) for row in members.to_dict("records") if row["digest"] not in grown]
        if all(files):
            yield str(run), [file for file in files if file]


def _still_there(row: dict[Any, Any]) -> Found | None:
    cells = {str(name): None if pd.isna(cell) else cell for name, cell in row.items()}
    name, digest = str(cells["name"]), str(cells["digest"])
    for path in (cells["moved_to"], name):
        if path and size_of(str(path)) == cells["size"]:
            known = ((str(cells["stamp"]), digest),) if cells["stamp"] else ()
            found = look(str(path), Earlier((), known))
            if found is not None and found.digest == digest:
                return replace(
                    found, name=name, series=str(cells["series"]), start=_ns(cells["start"]),
                    end=_ns(cells["last_time"]), trouble="", is_new=False,
                )  # fmt: skip
    return None


def _ns(time: object) -> int | None:
    return None if time is None else int(pd.Timestamp(str(time)).as_unit("ns").value)


def _units(new: list[Found], runs: Iterable[tuple[str, list[Found]]]) -> list[Unit]:
    """Join files and runs of one series that may go on with one another; give the units that hold anything new."""
    blocks = [(frozenset[str](), [found]) for found in new] + [(frozenset([run]), files) for run, files in runs]
    blocks.sort(key=lambda block: (_begin(block[1]), natural(block[1][0].name) if block[1] else []))
    joined: list[tuple[frozenset[str], list[Found]]] = []
    for replaces, files in blocks:
        if joined and _go_on(joined[-1][1], files):
            joined[-1] = (joined[-1][0] | replaces, joined[-1][1] + files)
        else:
            joined.append((replaces, files))
    fresh = {found.digest for found in new}
    return [
        Unit(tuple(sorted(files, key=lambda file: (file.start or 0, natural(file.name)))), replaces)
        for replaces, files in joined
        if any(file.digest in fresh for file in files)
    ]


def _starts(files: list[Found]) -> list[int]:
    return [file.start for file in files if file.start is not None]


def _begin(files: list[Found]) -> int:
    return min(_starts(files), default=0)


def _go_on(before: list[Found], files: list[Found]) -> bool:
    """Whether files may go on with those before; those that grew, or hold no packet, decide nothing by themselves."""
    ours, theirs = _starts(before), _starts(files)
    if not before or not files or not ours or not theirs:
        return not before or not files
    together = [*ours, *theirs]
    size = sum(file.size for file in [*before, *files])
    return max(together) - min(together) <= LONGEST_RUN and size <= LARGEST_RUN


def with_neighbours(units: list[Unit], rows: pd.DataFrame, waiting: Callable[[str], pd.DataFrame]) -> list[Unit]:
    """Give the units of a series the captures of other runs that go on with them, where those are still there."""
    ours = {file.digest: file for unit in units for file in unit.files}
    replaced = frozenset[str]().union(*(unit.replaces for unit in units))
    theirs = rows[rows["start"].notna() & rows["run"].notna() & ~rows["run"].isin(replaced)]
    line = [_Place(file.start, natural(file.name), file) for file in ours.values() if file.start is not None]
    line += [
        _Place(row["start"].value, natural(row["name"]), row)
        for row in theirs.to_dict("records")
        if row["digest"] not in ours
    ]
    line.sort(key=lambda place: place[:2])
    return [_between(unit, line, waiting) for unit in units]


class _Place(NamedTuple):
    """Where a capture comes in its series; of one that lies in the store, its row."""

    start: int
    name: list[tuple[int, str]]
    item: Found | dict[Any, Any]


def _between(unit: Unit, line: list[_Place], waiting: Callable[[str], pd.DataFrame]) -> Unit:
    own = [at for at, place in enumerate(line) if isinstance(place.item, Found) and place.item in unit.files]
    if not own:
        return unit
    first, last = line[own[0]].item, line[own[-1]].item
    before = _neighbour(line[own[0] - 1].item, "end", waiting) if own[0] else None
    after = _neighbour(line[own[-1] + 1].item, "beginning", waiting) if own[-1] + 1 < len(line) else None
    return replace(
        unit,
        before=before if before and _adjoin(before.found, first) else None,
        after=after if after and _adjoin(last, after.found) else None,
    )


def _neighbour(item: Found | dict[Any, Any], edge: str, waiting: Callable[[str], pd.DataFrame]) -> Neighbour | None:
    if isinstance(item, Found):
        return Neighbour(item) if item.size <= LARGEST_AGAIN else None
    if item["size"] > LARGEST_AGAIN or (found := _still_there(item)) is None:
        return None
    ends = waiting(str(item["run"]))
    return Neighbour(found, str(item["run"]), frozenset(ends.loc[ends["edge"] == edge, "id"]))


def _adjoin(one: Any, other: Any) -> bool:
    """Whether one capture may go on with the one before; that one is read to its end if need be."""
    if other.start <= one.start + LONGEST_PAUSE:
        return True
    end = one.end if one.end is not None else _end(one)
    return end is not None and other.start <= end + LONGEST_PAUSE


def _end(file: Found) -> int | None:
    try:
        with opened(file.path) as capture:
            return last_time(capture)
    except (CaptureError, OSError):
        return None
