"""What other tools say of captures that nobody here made, and every disagreement with them."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from handshake_bytes import REFERENCE

PAGE = Path(__file__).parent.parent / "docs" / "reference.md"
Disagreement = tuple[str, str, str, str]  # capture, field, expected, ours
LINE = re.compile(r"(?P<capture>\S+) .*?: (?P<field>[\w ()]+): expected '(?P<expected>.*)', got '(?P<ours>.*)'")


def documented() -> set[Disagreement]:
    """Give the disagreements that docs/reference.md lists."""
    rows = [line.strip("| ").split(" | ") for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return {(capture, field, expected, ours) for capture, _, field, expected, ours, _ in rows[2:]}


def score_script() -> ModuleType:
    """Load the script that came with the captures, or skip."""
    path = REFERENCE / "score.py"
    if not path.exists():
        pytest.skip("no reference captures beside the project")
    spec = importlib.util.spec_from_file_location("score", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_disagreement_with_other_tools_is_documented() -> None:
    """The comparison finds the documented disagreements and no other, among more than a thousand values."""
    script = score_script()
    expected = pd.read_csv(REFERENCE / "expected.csv", dtype=str, keep_default_na=False)
    agreed, _, _, lines = script.score(expected, REFERENCE / "captures", "")
    found = [LINE.fullmatch(line) for line in lines]
    assert {tuple(match.groups()) if match else line for match, line in zip(found, lines, strict=True)} == documented()
    assert sum(agreed.values()) > 1_000


def test_each_documented_disagreement_is_explained() -> None:
    """Every row of the table points at a section of the page that is there."""
    page = PAGE.read_text()
    titles = re.findall(r"^## (.*)$", page, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    pointed = set(re.findall(r"\]\(#([\w-]+)\)", page))
    assert len(pointed) == len(documented())
    assert pointed <= anchors
