"""Stores of older versions: `tests/stores` holds one of each, written by the code of its time."""

import shutil
from pathlib import Path

import pytest
from test_store import SAMPLES, assert_equal, assert_no_leftovers, parts_of, rows_of

from tlspcap.errors import StoreError
from tlspcap.nightly import layout, migration, writing
from tlspcap.nightly.layout import OLDER, schema_version
from tlspcap.nightly.migration import STEPS
from tlspcap.nightly.runner import batch
from tlspcap.nightly.store import open_store

STORES = Path(__file__).parent / "stores"
PACKETS = 40  # of nginx-certificate.pcap, that each store was made of


def test_every_older_version_has_a_store_and_a_way_up() -> None:
    """Steps lead from each version that is said to be older, and from no other, to the columns of today."""
    assert {step.old for step in STEPS} == set(OLDER) == {folder.name for folder in STORES.iterdir()}
    for version in OLDER:
        assert migration._path(version)[-1].new == schema_version(), "the columns changed: see migration.py"


@pytest.mark.parametrize("version", OLDER)
def test_a_batch_brings_an_older_store_up_to_date(version: str, tmp_path: Path) -> None:
    """It is refused with what to do; after a batch it is as if written today, and goes on as any other."""
    store, captures = tmp_path / "store", tmp_path / "captures"
    shutil.copytree(STORES / version, store)
    with pytest.raises(StoreError, match="the next `tlspcap batch` into it brings it up to date"):
        open_store(store)
    captures.mkdir()
    (captures / "ring0.pcap").write_bytes(parts_of("nginx-certificate.pcap", [PACKETS])[0])
    done = batch([captures], store, jobs=1)
    assert (done.captures, done.known) == (0, 1)
    batch([captures], tmp_path / "today", jobs=1)
    today = rows_of(tmp_path / "today")
    for name, frame in rows_of(store).items():
        apart = [column for column in ("capture", "series") if column in frame]  # the folder was another
        assert frame.drop(columns=apart).equals(today[name].drop(columns=apart)), name
    assert len(open_store(store).loose_ends) == 1
    assert_no_leftovers(store)


def test_a_crash_while_it_is_brought_up_to_date_leaves_the_older_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the new table of captures is in place the store is the older one, and the next batch begins again."""
    store = tmp_path / "store"
    shutil.copytree(STORES / OLDER[0], store)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing, "write_synced", crash)
        with pytest.raises(KeyboardInterrupt):
            batch([], store, jobs=1)
    with pytest.raises(StoreError, match="up to date"):
        open_store(store)
    batch([], store, jobs=1)
    batch([], tmp_path / "never", jobs=1)
    twice = tmp_path / "twice"
    shutil.copytree(STORES / OLDER[0], twice)
    batch([], twice, jobs=1)
    assert_equal(rows_of(store), rows_of(twice))
    assert_no_leftovers(store)


def test_a_store_of_a_later_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What no step leads from is left as it is, and the message names both versions."""
    store = tmp_path / "store"
    batch([SAMPLES / "old-app.pcap"], store, jobs=1)
    before = sorted((file, file.read_bytes()) for file in store.rglob("*.parquet"))
    for module in (layout, migration):
        monkeypatch.setattr(module, "schema_version", lambda: "0123456789ab")
    with pytest.raises(StoreError, match=r"schema [0-9a-f]{12}, written .* schema 0123456789ab.* new folder"):
        batch([SAMPLES], store, jobs=1)
    assert sorted((file, file.read_bytes()) for file in store.rglob("*.parquet")) == before
