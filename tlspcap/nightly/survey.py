"""What a batch has to do: which captures are new, by content, and how they are read (see `runs`).

A recorder goes on writing into a file that was moved meanwhile. So captures that were moved are looked at again where
they lie now, if they have grown.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

import pandas as pd

from tlspcap.nightly.found import Earlier, Found, look
from tlspcap.nightly.places import size_of
from tlspcap.nightly.runs import Unit, Waiting, units_of

Ask = tuple[str, Earlier]


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


def look_at(asked: Iterable[Ask]) -> "Iterator[Found | None]":
    """Look at files one by one."""
    return (look(path, earlier) for path, earlier in asked)


def plan(
    paths: Iterable[str],
    stored: pd.DataFrame,
    since: int | None = None,
    looks: Callable[[Iterable[Ask]], Iterable[Found | None]] = look_at,
    waiting: Waiting = lambda run: pd.DataFrame({"id": [], "edge": [], "capture": []}),
    reach: int = 0,
) -> Plan:
    """Say what is to be done with these files, given the table of captures of the store.

    Args:
        paths: absolute, or remote.
        stored: the table of captures.
        since: ns; captures that begin before are left alone.
        looks: looks at files, and gives what it found in the same order.
        waiting: gives the loose ends of a run of the store.
        reach: ns that are read beside a run (see `runs.units_of`).
    """
    made, new = Plan(), dict[str, Found]()
    digests = set(stored["digest"])
    for found in _found(paths, stored, looks):
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
    rows = dict(list(stored.groupby("series", sort=False)))
    for series, files in by_series.items():
        made.units += units_of(files, rows.get(series, stored[:0]), reach, waiting)
    read = {found.digest for unit in made.units for found in unit.files}
    made.known += [found for found in new.values() if found.digest not in read]
    return made


def _found(
    paths: Iterable[str], stored: pd.DataFrame, looks: Callable[[Iterable[Ask]], Iterable[Found | None]]
) -> Iterator[Found]:
    """Look at these files, and at captures of the store that grew where they were moved to; those keep their names."""
    earlier, asked = _earlier(stored), dict.fromkeys(paths)
    told = ["name", "series", "moved_to", "digest", "size"]
    # Only the newest of a series may still be written: to look at all, of years perhaps, would take too long.
    newest = stored["last_time"] >= stored.groupby("series")["start"].transform("max")
    rows = stored.loc[(newest | stored["last_time"].isna()) & stored["moved_to"].notna(), told].to_dict("records")
    moved = {(row["moved_to"], row["digest"]): row for row in rows}
    grew = [row["moved_to"] for row in rows if (size_of(row["moved_to"]) or 0) > row["size"]]
    for found in looks([(path, earlier.get(path, Earlier())) for path in asked | dict.fromkeys(grew)]):
        if found is not None and (row := moved.get((found.path, found.grown_from))):
            yield replace(found, name=str(row["name"]), series=str(row["series"]))
        elif found is not None and found.path in asked:
            yield found


def _earlier(stored: pd.DataFrame) -> dict[str, Earlier]:
    """What the store knows of each path."""
    sizes, stamps = defaultdict[str, list[tuple[str, int]]](list), defaultdict[str, list[tuple[str, str]]](list)
    columns = [stored[name].astype(object).where(stored[name].notna(), None).tolist()
               for name in ("name", "moved_to", "digest", "size", "stamp")]  # fmt: skip
    for name, moved_to, digest, size, known in zip(*columns, strict=True):
        for path in {name, moved_to or name}:
            sizes[path].append((digest, size))
        if known is not None:
            stamps[moved_to or name].append((known, digest))
    return {path: Earlier(tuple(sizes[path]), tuple(stamps[path])) for path in sizes.keys() | stamps.keys()}
