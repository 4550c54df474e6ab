"""The fuzz targets without the fuzzer: what they promise holds for their seeds, and for seeds that were damaged."""

import importlib
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.target import TARGETS

FOLDER = Path(__file__).parent.parent / "fuzz"
each_target = pytest.mark.parametrize("name", TARGETS)


@cache
def target(name: str) -> tuple[ModuleType, list[bytes]]:
    """Load a target and its seeds."""
    module = importlib.import_module(f"fuzz.{name}")
    return module, module.seeds()


def test_every_target_is_on_the_list() -> None:
    """No module of the folder is forgotten by `make fuzz`."""
    helpers = {"__init__", "__main__", "seeds", "target"}
    assert {path.stem for path in FOLDER.glob("*.py")} - helpers == set(TARGETS)


@each_target
def test_promises_hold_for_the_seeds(name: str) -> None:
    """Each target has seeds, no longer than it takes, that break none of its promises."""
    module, seeds = target(name)
    assert len(seeds) > 10
    for seed in seeds:
        assert len(seed) <= module.LONGEST
        module.check(seed)


@each_target
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_promises_hold_for_damaged_seeds(name: str, data: st.DataObject) -> None:
    """A seed with bytes overwritten, inserted and cut off breaks none either."""
    module, seeds = target(name)
    damaged = bytearray(data.draw(st.sampled_from(seeds)))
    for _ in range(data.draw(st.integers(0, 8))):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    module.check(bytes(damaged[: data.draw(st.integers(0, module.LONGEST))]))
