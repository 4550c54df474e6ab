"""Fixtures and settings that every test shares."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import matplotlib
import pytest

ROOT = Path(__file__).parent.parent

matplotlib.use("Agg")  # plots are tested by what they hold; no display is needed

# One profile for everyone: no test is decided by time, and a failure found once is found again.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def sample() -> Callable[[str], Path]:
    """Give the path of a sample capture by its file name."""

    def path(name: str) -> Path:
        found = ROOT / "sample_captures" / name
        assert found.is_file(), f"no sample capture {name}"
        return found

    return path


@pytest.fixture(scope="session")
def reference() -> Path:
    """Give the folder of reference captures; they are not part of the project."""
    folder = Path(os.environ.get("TLSPCAP_REFERENCE", ROOT.parent / "shared" / "reference"))
    if not (folder / "captures").is_dir():
        pytest.skip(f"no reference captures at {folder}; TLSPCAP_REFERENCE may name their folder")
    return folder


@pytest.fixture(scope="session")
def tshark() -> str:
    """Give the path of tshark, an independent reader of the same captures."""
    found = shutil.which("tshark")
    if found is None:
        pytest.skip("tshark is not installed; on Debian and Ubuntu: apt install tshark")
    return found


@pytest.fixture(scope="session")
def dask() -> Iterator[Any]:
    """Give a Dask cluster of two worker processes on this machine."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address="127.0.0.1:0", host="127.0.0.1"
    ) as running:
        yield running
