"""Captures that once went wrong, or might: each with what must be said of it, in a JSON file of the same name.

`claim` is what the capture shows, `known_from` who knows that it is true, `handshakes` lists for every row of the
handshakes table the columns that matter, `notes` the kinds of notes, in order. CONTRIBUTING.md tells how to add one.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import tlspcap

CAPTURES = sorted((Path(__file__).parent / "captures").glob("*.pcap*"))


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_capture_is_judged_as_expected(capture: Path) -> None:
    """A capture gives the rows and notes that its JSON file lists, and no others."""
    expected: dict[str, Any] = json.loads(capture.with_suffix(".json").read_text())
    assert expected["claim"]
    assert expected["known_from"]
    cap = tlspcap.read(capture)
    assert len(cap.handshakes) == len(expected["handshakes"])
    for (_, row), wanted in zip(cap.handshakes.iterrows(), expected["handshakes"], strict=True):
        assert {name: _plain(row[name]) for name in wanted} == wanted
    assert cap.notes["kind"].tolist() == expected["notes"]


def _plain(value: Any) -> Any:
    """Give a cell as JSON has it: NA is null."""
    return None if pd.isna(value) else value


def test_there_are_captures() -> None:
    """The folder is found, and each capture is small."""
    assert CAPTURES
    assert all(path.stat().st_size < 100_000 for path in CAPTURES)
