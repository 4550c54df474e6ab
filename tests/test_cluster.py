"""Batches beyond one process: a Dask cluster of real worker processes, and captures on remote storage."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFile
from fsspec.spec import AbstractFileSystem
from test_store import SAMPLES, assert_equal, assert_no_leftovers, ordered, parts_of, rows_of

from tlspcap import cli
from tlspcap.errors import ArgumentError, CaptureError, MissingExtra
from tlspcap.nightly import cluster, places
from tlspcap.nightly.found import Earlier, Found
from tlspcap.nightly.runner import batch
from tlspcap.nightly.runs import Unit
from tlspcap.nightly.store import open_store
from tlspcap.nightly.work import Settings

NAMES = ("nginx-certificate.pcap", "old-app.pcap", "intermittent-alert.pcap")


@pytest.fixture(scope="module")
def captures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Samples, two of them rotated, and a file that is no capture."""
    folder = tmp_path_factory.mktemp("captures")
    for name in NAMES:
        for number, part in enumerate(parts_of(name, [50, 100])):
            (folder / f"{Path(name).stem}{number}.pcap").write_bytes(part)
    (folder / "broken.pcap").write_bytes(b"this is no capture")
    return folder


@pytest.fixture(scope="module")
def expected(captures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store that one process makes of them."""
    store = tmp_path_factory.mktemp("expected") / "store"
    batch([captures], store, jobs=1)
    return store


def test_two_dask_workers_write_what_one_process_writes(
    captures: Path, expected: Path, dask: Any, tmp_path: Path
) -> None:
    """A cluster gives equal tables, and the same row for the file that cannot be read; a second batch finds it done."""
    store = tmp_path / "store"
    done = batch([captures], store, scheduler=dask.scheduler_address)
    assert (done.captures, len(done.unreadable), done.failed) == (9, 1, {})
    assert_equal(rows_of(store), rows_of(expected))
    assert_no_leftovers(store)
    again = batch([captures], store, scheduler=dask.scheduler_address)
    assert (again.captures, again.known) == (0, 10)


def test_the_command_takes_a_scheduler(captures: Path, expected: Path, dask: Any, tmp_path: Path) -> None:
    """`--scheduler tcp://…` does the same."""
    arguments = ["batch", str(captures), "--store", str(tmp_path / "store"), "--quiet"]
    assert cli.main([*arguments, "--scheduler", dask.scheduler_address]) == 3  # one file is no capture
    assert_equal(rows_of(tmp_path / "store"), rows_of(expected))


def test_a_dask_worker_that_is_killed_costs_nothing(captures: Path, expected: Path, dask: Any, tmp_path: Path) -> None:
    """Kill -9 of a worker while units are under way: others do them again, and the tables are equal."""
    from distributed import Client

    killed: list[int] = []
    with Client(dask.scheduler_address) as client:
        pids: dict[str, int] = client.run(os.getpid)

        def kill() -> None:
            victim = next(iter(pids.values()))
            for _ in range(600):  # until that worker is at work
                processing = client.processing()
                if any(processing.get(address) for address, pid in pids.items() if pid == victim):
                    break
                time.sleep(0.01)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

        thread = threading.Thread(target=kill)
        thread.start()
        done = batch([captures], tmp_path / "store", scheduler=dask.scheduler_address)
        thread.join()
    assert killed
    assert done.failed == {}
    assert_equal(rows_of(tmp_path / "store"), rows_of(expected))
    assert_no_leftovers(tmp_path / "store")


def test_a_scheduler_that_is_not_there_is_a_usage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said which address cannot be reached, and nothing is written."""
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with pytest.raises(ArgumentError, match=r"127\.0\.0\.1:1.*cannot be reached"):
        batch([SAMPLES], tmp_path / "store", scheduler="tcp://127.0.0.1:1")
    with pytest.raises(ArgumentError, match="cannot be reached"):
        batch([SAMPLES], tmp_path / "store", scheduler="nonsense://nowhere")


def test_captures_that_no_worker_sees_are_said_to_be_so() -> None:
    """A file that only the batch sees is an error of the setting; one that went away meanwhile is nothing."""

    class Lost:
        def result(self) -> None:
            raise FileNotFoundError("storage that all see")

    with pytest.raises(ArgumentError, match=r"no worker could look at .*storage that all see"):
        cluster._seen(Lost(), str(SAMPLES / "old-app.pcap"))
    assert cluster._seen(Lost(), str(SAMPLES / "gone.pcap")) is None


def test_a_worker_of_another_version_does_nothing(tmp_path: Path) -> None:
    """Rows of other columns never come into a store: such a worker refuses the unit."""
    with pytest.raises(RuntimeError, match=r"this worker has tlspcap .* not 0\.0\.1 \(columns\)"):
        cluster.do(Unit(()), Settings(), ("0.0.1", "columns"))


def test_a_capture_that_a_worker_does_not_see_is_not_judged(tmp_path: Path) -> None:
    """Where the storage is not shared that is the worker's trouble: it raises, and writes no row about the capture."""
    path = str(tmp_path / "elsewhere.pcap")
    with pytest.raises(RuntimeError, match="cannot be seen"):
        cluster.do(Unit((Found(path, path, 10, "digest", "series"),)), Settings(), _version())
    with pytest.raises(FileNotFoundError, match="storage that all see"):
        cluster._look((path, Earlier()))


def _version() -> tuple[str, str]:
    return cluster.__version__, cluster.schema_version()


# -- remote captures --------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(captures: Path) -> Iterator[str]:
    """The captures on storage that only fsspec reaches."""
    storage = fsspec.filesystem("memory")
    storage.put(f"{captures}/", "/bucket/night/", recursive=True)
    storage.pipe_file("/bucket/night/.hidden/upload.pcap", b"half a file")
    storage.pipe_file("/bucket/night/README", b"no capture by name")
    yield "memory://bucket/night"
    storage.rm("/bucket", recursive=True)


def test_remote_captures_are_read_like_those_of_a_folder(bucket: str, expected: Path, tmp_path: Path) -> None:
    """The same rows, names apart; rotated files are joined, what cannot be read is named by its address."""
    store = tmp_path / "store"
    done = batch([bucket], store, jobs=1)
    assert done.captures == 9
    assert [*done.unreadable] == [f"{bucket}/broken.pcap".replace("bucket", "/bucket")]
    assert all(why.startswith(name) for name, why in done.unreadable.items())
    remote, local = rows_of(store), rows_of(expected)
    assert remote["handshakes"]["capture"].str.startswith("memory://").all()
    left, right = (
        tables["handshakes"].drop(columns="capture").sort_values("id", ignore_index=True) for tables in (remote, local)
    )
    assert left.equals(right)


class Pail(AbstractFileSystem):  # type: ignore[misc]
    """Storage as s3:// and gs:// are: names begin with the bucket, and a listing is kept, which tells more of files."""

    protocol = ("pail", "pails")
    objects: ClassVar[dict[str, bytes]] = {}

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget the listing."""
        self.dircache.clear()

    def find(self, path: str, *_: Any, **__: Any) -> list[str]:
        """List what lies below a path."""
        found = [name for name in self.objects if name.startswith(path)]
        self.dircache.update({name: {**self._asked(name), "StorageClass": "STANDARD"} for name in found})
        return found

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Tell of one file, from the listing if there is one."""
        return self.dircache.get(path) or self._asked(path)

    def _asked(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise FileNotFoundError(path)
        content = self.objects[path]
        return {"name": path, "size": len(content), "type": "file", "ETag": md5(content).hexdigest()}

    def _open(self, path: str, *_: Any, **__: Any) -> MemoryFile:
        return MemoryFile(None, path, self.objects[path])


@pytest.fixture
def pail(captures: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The captures on storage of another scheme."""
    fsspec.register_implementation("pail", Pail, clobber=True)
    objects = {f"bucket/night/{file.name}": file.read_bytes() for file in captures.iterdir()}
    monkeypatch.setattr(Pail, "objects", objects)
    return "pail://bucket/night"


def test_storage_of_any_scheme_is_read_like_a_folder(pail: str, expected: Path, tmp_path: Path) -> None:
    """Files are named by their addresses; one that comes later, or has other content under its name, is read."""
    content = Pail.objects.pop("bucket/night/old-app1.pcap")
    for captures_read, known in ((8, 0), (0, 9)):
        done = batch([pail], tmp_path / "store", jobs=1)
        assert (done.captures, done.known, done.failed) == (captures_read, known, {})
    Pail.objects["bucket/night/old-app1.pcap"] = content
    assert batch([pail], tmp_path / "store", jobs=1).captures == 1
    remote, local = rows_of(tmp_path / "store"), rows_of(expected)
    for table in ("handshakes", "alerts", "notes"):
        assert remote[table]["capture"].dropna().str.startswith("pail://bucket/night/").all()
        left, right = (ordered(tables[table].drop(columns="capture")) for tables in (remote, local))
        assert left.equals(right), table
    Pail.objects["bucket/night/broken.pcap"] = (SAMPLES / "starttls.pcap").read_bytes()
    assert batch([pail], tmp_path / "store", jobs=1).captures == 1


def test_a_remote_file_is_known_wherever_it_is_looked_at(pail: str) -> None:
    """What tells it apart is the same where storage was listed, as in a batch, and where it was not, as in a worker."""
    url = places.captures_in([pail])[-1]
    listed = places.stamp(url)
    fsspec.filesystem("pail").invalidate_cache()
    assert places.stamp(url) == listed
    name = url.removeprefix("pail://")
    Pail.objects[name] = Pail.objects[name][:-1] + b"?"
    assert places.stamp(url) != listed


@pytest.mark.parametrize("before", ["file://", "local://", "simplecache::file://"])
def test_addresses_of_this_machine_are_folders(before: str, captures: Path, expected: Path, tmp_path: Path) -> None:
    """However fsspec calls it, a folder of this machine is read as such."""
    batch([f"{before}{captures}"], tmp_path / "store", jobs=1)
    assert_equal(rows_of(tmp_path / "store"), rows_of(expected))


def test_remote_captures_are_not_fetched_again(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What storage tells of a file is enough to know it: a second batch opens none of them."""
    batch([bucket], tmp_path / "store", jobs=1)

    def refuse(path: str) -> None:
        raise AssertionError(path)

    monkeypatch.setattr(places, "open_bytes", refuse)
    monkeypatch.setattr("tlspcap.nightly.found.open_bytes", refuse)
    again = batch([bucket], tmp_path / "store", jobs=1)
    assert (again.captures, again.known) == (0, 10)


def test_remote_trouble_is_said(bucket: str, tmp_path: Path) -> None:
    """Nothing there, no such protocol, a package that is missing, and moving: each is an error of ours."""
    store = tmp_path / "store"
    with pytest.raises(CaptureError, match="nothing is there"):
        batch([f"{bucket}/nowhere"], store, jobs=1)
    with pytest.raises(CaptureError, match="nonsense"):
        batch(["nonsense://bucket"], store, jobs=1)
    with pytest.raises(ArgumentError, match="not moved"):
        batch([bucket], store, jobs=1, move_done=tmp_path / "done")
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtra, match="s3fs"):
            batch(["s3://bucket/night"], store, jobs=1)


def test_errors_of_a_storage_package_are_ours(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Packages of storage raise what they like: where it is listed, that ends the batch; of one capture, only that."""
    storage = type(fsspec.filesystem("memory"))

    class EndpointError(Exception):
        pass

    def fail(*_: Any, **__: Any) -> None:
        raise EndpointError("no route to the endpoint")

    with monkeypatch.context() as patched:
        patched.setattr(storage, "find", fail)
        with pytest.raises(CaptureError, match=r"cannot be listed.*no route"):
            batch([bucket], tmp_path / "store", jobs=1)
    opening = storage._open

    def fail_once(self: Any, path: str, *how: Any, **more: Any) -> Any:
        return fail() if path.endswith("old-app1.pcap") else opening(self, path, *how, **more)

    with monkeypatch.context() as patched:
        patched.setattr(storage, "_open", fail_once)
        done = batch([bucket], tmp_path / "store", jobs=1)
    assert done.captures == 8
    assert "no route" in done.unreadable[f"{bucket}/old-app1.pcap".replace("bucket", "/bucket")]
    assert batch([bucket], tmp_path / "store", jobs=1).captures == 1


def test_a_remote_capture_that_goes_away_is_tried_again(bucket: str) -> None:
    """A fetch that fails is no fault of the capture: nothing is said about it in the store."""
    unit = Unit((Found(f"{bucket}/gone.pcap", f"{bucket}/gone.pcap", 10, "digest", "series"),))
    with pytest.raises(RuntimeError, match="went away"):
        cluster.do(unit, Settings(), _version())


def test_a_capture_that_cannot_be_fetched_does_not_stop_the_night(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others are stored; it is told as failed and read by the next batch."""
    fetch = fsspec.filesystem("memory").get_file

    def fail_once(self: Any, name: str, path: str, **how: Any) -> None:
        if name.endswith("old-app1.pcap"):
            raise ConnectionError("the network is down")
        fetch(name, path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(type(fsspec.filesystem("memory")), "get_file", fail_once)
        done = batch([bucket], tmp_path / "store", jobs=1)
    assert {Path(name).name for name in done.failed} == {f"old-app{number}.pcap" for number in range(3)}
    assert all("the network is down" in why for why in done.failed.values())
    assert batch([bucket], tmp_path / "store", jobs=1).captures == 3


def test_a_store_of_a_cluster_reads_like_any(captures: Path, dask: Any, tmp_path: Path) -> None:
    """Captures on remote storage and workers elsewhere together."""
    batch([f"file://{captures}"], tmp_path / "store", scheduler=dask.scheduler_address, jobs=2)
    assert len(open_store(tmp_path / "store").handshakes) > 0
