"""What is known of a capture file before it is read: where it lies, what tells it apart, when it begins."""

import os
import re
from dataclasses import dataclass, replace
from hashlib import blake2b
from typing import Any

import pandas as pd

from tlspcap.errors import CaptureError
from tlspcap.nightly.places import open_bytes, opened, size_of, stamp
from tlspcap.wire.packets import first_time, last_time

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


def still_there(row: dict[Any, Any]) -> Found | None:
    """Find a capture of the store again, by its row; None where it is gone."""
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


def end_of(file: Found) -> int | None:
    """The largest time in a capture, in ns, which is read for it; None where there is none."""
    try:
        with opened(file.path) as capture:
            return last_time(capture)
    except (CaptureError, OSError):
        return None
