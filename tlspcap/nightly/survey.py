"""What a batch has to do: which captures are new, by content, and which belong together.

Files of one *series* (one folder, names that differ in digits only, as `tcpdump -C`, `-G` and `-W` write them) are read
as one stream where they may go on with one another; so a handshake across two files is one row. Where a neighbour
comes in a later batch, the run that it adjoins is read again with it, and its rows are replaced.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

import pandas as pd

from tlspcap.errors import CaptureError
from tlspcap.wire.files import PCAP_MAGICS, PCAPNG_MAGIC, natural, open_capture
from tlspcap.wire.packets import first_time

HOUR = 3_600_000_000_000  # ns
WIDEST_STEP = 6 * HOUR  # between the beginnings of two files of a run; further apart they are of different nights
LONGEST_RUN = 24 * HOUR  # an unbroken recording begins a new run after that, so that reading again stays bounded
BLOCK = 1 << 20
NAMED_SO = re.compile(r"\.(pcap|pcapng|cap|dmp)\d*(\.(gz|bz2|xz|zst|lz4))?$", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A capture file."""

    name: str  # absolute path, where it lay when it was found first
    path: str  # where it lies now
    size: int
    digest: str
    series: str
    start: int | None = None  # ns, of its first packet
    trouble: str = ""  # why it cannot be read at all
    grown_from: str = ""  # digest of a capture in the store that is its beginning: it was still being written then
    is_new: bool = True  # False: it was in the store before, and is read again with a neighbour


@dataclass(frozen=True)
class Unit:
    """Captures that are read together, as one run."""

    files: tuple[Found, ...]  # in order
    replaces: frozenset[str] = frozenset()  # runs whose captures are all in it

    @property
    def run(self) -> str:
        """Names the run, by what is in it."""
        digests = sorted(file.digest for file in self.files)
        return blake2b("\n".join(digests).encode(), digest_size=10).hexdigest()

    @property
    def size(self) -> int:
        """Bytes to read."""
        return sum(file.size for file in self.files)


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


def captures_in(places: Iterable[str | Path], leave_out: Iterable[Path] = ()) -> list[str]:
    """List the capture files in folders and below, by content or by name; hidden files and folders are left out.

    Raises CaptureError where a folder is not there.
    """
    apart = {str(path.resolve()) for path in leave_out}
    found: dict[str, None] = {}
    for place in places:
        if Path(place).is_file():
            found[os.path.abspath(place)] = None
        elif not Path(place).is_dir():
            raise CaptureError(f"{place}: no such folder; check the path")
        for folder, folders, files in os.walk(place):
            folders[:] = sorted(f for f in folders if f[0] != "." and os.path.realpath(f"{folder}/{f}") not in apart)
            paths = (os.path.abspath(os.path.join(folder, file)) for file in files if file[0] != ".")
            found.update(dict.fromkeys(path for path in sorted(paths, key=natural) if _seems_capture(path)))
    return list(found)


def _seems_capture(path: str) -> bool:
    if not os.path.isfile(path):
        return False
    if NAMED_SO.search(path):
        return True
    try:
        with open_capture(path) as opened:
            head = bytearray(4)
            opened.readinto(memoryview(head))
    except CaptureError:
        return False
    return bytes(head) in PCAP_MAGICS or bytes(head) == PCAPNG_MAGIC


def series_of(path: str) -> str:
    """Name the series of a file.

    >>> series_of("/caps/lb1_2026-11-03.pcap12"), series_of("/caps/lb2.pcap")
    ('/caps/lb_--.pcap', '/caps/lb.pcap')
    """
    folder, name = os.path.split(path)
    return os.path.join(folder, re.sub(r"[0-9]+", "", name))


def plan(paths: Iterable[str], stored: pd.DataFrame, since: int | None = None) -> Plan:
    """Say what is to be done with these files, given the table of captures of the store.

    Args:
        paths: absolute.
        stored: the table of captures.
        since: ns; captures that begin before are left alone.
    """
    made, new = Plan(), dict[str, Found]()
    digests = set(stored["digest"])
    for path in paths:
        found = look(path, stored)
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
        made.units += _units(files, again.items())
    return made


def _is_stuck(found: Found, rows: pd.DataFrame, again: dict[str, list[Found]]) -> bool:
    """Whether a file is a capture of the store, grown, whose run cannot be read again: others of that run are gone."""
    runs = rows.loc[rows["digest"] == found.grown_from, "run"].dropna().tolist()
    return bool(runs) and runs[0] not in again


def look(path: str, stored: pd.DataFrame) -> Found | None:
    """Look at one file; None where it went away meanwhile."""
    earlier = stored[(stored["name"] == path).to_numpy(bool)]
    sizes = dict(zip(earlier["digest"].tolist(), earlier["size"].tolist(), strict=True))
    try:
        size, digest, grown_from = digest_of(path, sizes)
    except FileNotFoundError:
        return None
    except OSError as error:
        unread = blake2b(os.fsencode(path), digest_size=32).hexdigest()
        return Found(path, path, 0, unread, series_of(path), trouble=f"{path}: {error.strerror or error}")
    try:
        with open_capture(path) as opened:
            start = first_time(opened)
    except CaptureError as error:
        return Found(path, path, size, digest, series_of(path), None, str(error), grown_from)
    return Found(path, path, size, digest, series_of(path), start, "", grown_from)


def digest_of(path: str, earlier: dict[str, int]) -> tuple[int, str, str]:
    """Size and digest of a file, and which of the `earlier` digests (with their sizes) is that of its beginning."""
    whole, size, grown_from = blake2b(digest_size=32), 0, ""
    edges = sorted((at, digest) for digest, at in earlier.items())
    with open(path, "rb") as file:
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


def _still_there(row: "dict[object, object] | dict[str, object]") -> Found | None:
    cells = {str(name): None if pd.isna(cell) else cell for name, cell in row.items()}  # type: ignore[call-overload]
    name, digest, start = str(cells["name"]), str(cells["digest"]), cells["start"]
    for path in (cells["moved_to"], name):
        if path and os.path.isfile(str(path)) and os.path.getsize(str(path)) == cells["size"]:
            size, now, _ = digest_of(str(path), {})
            if now == digest:
                at = None if start is None else pd.Timestamp(str(start)).as_unit("ns").value
                return Found(name, str(path), size, digest, str(cells["series"]), at, is_new=False)
    return None


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
    return min(theirs) - max(ours) <= WIDEST_STEP and max(together) - min(together) <= LONGEST_RUN
