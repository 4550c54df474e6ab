"""Where captures lie: folders of this machine, or storage that fsspec reaches (s3://, gs://, memory:// and others).

A remote capture is found, told apart and fetched through fsspec; it is read from a temporary copy, so that trouble of
the network is never taken for the end of a capture.
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

from tlspcap.errors import CaptureError, MissingExtra, TlspcapError
from tlspcap.wire.files import Opened, is_capture, natural, open_capture

NAMED_SO = re.compile(r"\.(pcap|pcapng|cap|dmp)\d*(\.(gz|bz2|xz|zst|lz4))?$", re.IGNORECASE)
SETTLED = 2_000_000_000  # ns; a file that was changed later than this before it was looked at may change unnoticed
LOCAL = "file://"


class Unreachable(Exception):
    """A capture that was found cannot be had now; that is no fault of its own, and may be over another time."""


def is_remote(place: str | Path) -> bool:
    """Whether a place is reached through fsspec.

    >>> is_remote("s3://captures/lb1"), is_remote("/var/captures"), is_remote("file:///var/captures")
    (True, False, False)
    """
    return "://" in str(place) and not str(place).startswith(LOCAL)


def captures_in(places: Iterable[str | Path], leave_out: Iterable[Path] = ()) -> list[str]:
    """List the capture files in folders and below, by content or by name; hidden files and folders are left out.

    Remote ones are told by their names alone.

    Raises:
        CaptureError: a folder is not there.
        MissingExtra: a package for such storage is not installed.
    """
    apart = {str(path.resolve()) for path in leave_out}
    found: dict[str, None] = {}
    for place in places:
        here = _remote(str(place)) if is_remote(place) else _local(str(place).removeprefix(LOCAL), apart)
        found.update(dict.fromkeys(here))
    return list(found)


def _local(place: str, apart: set[str]) -> Iterator[str]:
    if os.path.isfile(place):
        yield os.path.abspath(place)
    elif not os.path.isdir(place):
        raise CaptureError(f"{place}: no such folder; check the path")
    for folder, folders, files in os.walk(place):
        folders[:] = sorted(f for f in folders if f[0] != "." and os.path.realpath(f"{folder}/{f}") not in apart)
        paths = (os.path.abspath(os.path.join(folder, file)) for file in files if file[0] != ".")
        yield from (path for path in sorted(paths, key=natural) if _seems_capture(path))


def _seems_capture(path: str) -> bool:
    return os.path.isfile(path) and (NAMED_SO.search(path) is not None or is_capture(path))


def _remote(place: str) -> Iterator[str]:
    storage, path = _storage(place)
    try:
        with _reaching(place):
            storage.invalidate_cache()
            found = sorted(storage.find(path), key=natural)
    except OSError as error:
        raise CaptureError(f"{place}: cannot be listed: {error}; check the address and your rights") from error
    if not found:
        raise CaptureError(f"{place}: nothing is there; check the address")
    for name in found:
        parts = str(name).removeprefix(str(path)).split("/")
        if NAMED_SO.search(str(name)) and not any(part.startswith(".") for part in parts):
            yield str(storage.unstrip_protocol(name)).removeprefix(LOCAL)  # local:// is of this machine too


def _storage(url: str) -> tuple[Any, Any]:
    """Give the file system of a remote place, and the path in it. Raises MissingExtra where a package is missing."""
    try:
        from fsspec.core import url_to_fs

        return cast(tuple[Any, Any], url_to_fs(url))
    except ImportError as error:
        told = f"{error}; pip install 'tlspcap[dask]', and for s3:// s3fs, for gs:// gcsfs"
        raise MissingExtra(f"{url}: {told}") from None
    except ValueError as error:  # no such protocol
        raise CaptureError(f"{url}: {error}") from None


def stamp(path: str) -> str | None:
    """What tells, without reading it, whether a file was changed; None where it is too fresh to trust that.

    Raises OSError where it is not there.
    """
    if is_remote(path):
        storage, name = _storage(path)
        with _reaching(path):
            known = storage.info(name)
            etag = known.get("ETag") or known.get("etag")  # a listing may tell more of the rest
            return f"{known.get('size')}:{etag}" if etag else str(storage.ukey(name))
    here = os.stat(path)
    if time.time_ns() - here.st_mtime_ns < SETTLED:
        return None
    return f"{here.st_size}:{here.st_mtime_ns}:{here.st_ino}"


def size_of(path: str) -> int | None:
    """Bytes of a capture; None where it is not there."""
    try:
        if is_remote(path):
            storage, name = _storage(path)
            with _reaching(path):
                return int(storage.size(name))
        return os.path.getsize(path) if os.path.isfile(path) else None
    except OSError:
        return None


@contextmanager
def open_bytes(path: str) -> Iterator[IO[bytes]]:
    """Open a capture to read its bytes, packed as they are. Raises OSError where that cannot be done."""
    if not is_remote(path):
        with open(path, "rb") as local:
            yield local
        return
    storage, name = _storage(path)
    with _reaching(path), storage.open(name, "rb") as file:
        file.name = path  # what is wrong with it is said by this name
        yield cast(IO[bytes], file)


@contextmanager
def _reaching(place: str) -> Iterator[None]:
    """Raise OSError for whatever remote storage raises: its packages have errors of their own kinds."""
    try:
        yield
    except (OSError, TlspcapError):
        raise
    except Exception as error:
        raise ConnectionError(f"{place}: cannot be reached: {error or type(error).__name__}") from error


@contextmanager
def opened(path: str) -> Iterator[Opened]:
    """Open a capture to look into it. Raises CaptureError where it is none, OSError where it cannot be opened."""
    with open_bytes(path) as file, open_capture(file) as capture:
        yield capture


@contextmanager
def at_hand(paths: Iterable[str]) -> Iterator[list[str]]:
    """Have captures as files of this machine, in the same order: remote ones are copied for as long as this lasts.

    Raises Unreachable where one of them is not there or cannot be fetched.
    """
    wanted = list(paths)
    for path in wanted:
        if size_of(path) is None:
            raise Unreachable(f"{path}: it went away, or cannot be seen from here")
    if not any(is_remote(path) for path in wanted):
        yield wanted
        return
    with TemporaryDirectory(prefix="tlspcap-") as folder:
        yield [_fetched(path, f"{folder}/{number}") if is_remote(path) else path for number, path in enumerate(wanted)]


def _fetched(url: str, place: str) -> str:
    path = f"{place}-{url.rpartition('/')[2]}"
    storage, name = _storage(url)
    try:
        storage.get_file(name, path)
    except Exception as error:  # whatever such storage raises
        raise Unreachable(f"{url}: cannot be fetched: {error}") from error
    return path
