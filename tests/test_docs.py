"""The documentation against the code: what is made from it is fresh, what is promised exists, examples run."""

import contextlib
import doctest
import importlib.util
import io
import re
import shlex
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest
from conftest import ROOT

import tlspcap
from tlspcap import cli, schema

PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "sample_captures").glob("*.md")],
    key=lambda path: path.as_posix(),
)
LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.DOTALL | re.MULTILINE)
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())


def _load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


generate = _load_generator()


@pytest.mark.parametrize("page", generate.PARTS)
def test_generated_parts_are_fresh(page: str) -> None:
    """A page holds every generated part that is made for it, as the code of today makes it (else: `make docs`)."""
    text = (ROOT / page).read_text()
    assert sorted(generate.names(text)) == sorted(generate.PARTS[page])
    assert generate.filled(text, generate.PARTS[page]) == text


@each_page
def test_links_resolve(page: Path) -> None:
    """Every link to a file of the project leads to one, and every anchor to a heading."""
    for found in LINK.finditer(FENCE.sub("", page.read_text())):
        target, _, anchor = found["target"].partition("#")
        if target.startswith(("http:", "https:")):
            continue
        path = (page.parent / target).resolve() if target else page
        assert path.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in _anchors(path), f"{page.name} links to {found['target']}"


def _anchors(page: Path) -> set[str]:
    """Give the anchors of a page's headings, by the rule of the common forges."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_can_be_reached_from_the_readme() -> None:
    """No page of the documentation is lost: links lead from the README to each."""
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        for found in LINK.finditer(page.read_text()):
            target = (page.parent / found["target"].partition("#")[0]).resolve()
            waiting += [target] if target.is_file() else []
    assert set(PAGES) <= reached


@each_page
def test_examples_run(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python examples give what the page says, run from the project's folder."""
    monkeypatch.chdir(ROOT)
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    done = doctest.testfile(str(page), module_relative=False, optionflags=flags, encoding="utf-8")
    assert done.failed == 0


def _commands(page: Path) -> Iterator[list[str]]:
    """Give the commands of a page's shell blocks, as words; of a pipe, each part."""
    for fence in FENCE.finditer(page.read_text()):
        if fence["language"] == "sh":
            for line in fence["code"].splitlines():
                words = shlex.split(line, comments=True)
                yield from (list(part) for bar, part in groupby(words, "|".__eq__) if not bar)


@each_page
def test_make_targets_exist(page: Path) -> None:
    """Every `make TARGET` that a page names is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z]+)\b", page.read_text(), re.MULTILINE))
    assert named <= targets


@each_page
def test_commands_take_the_options_shown(page: Path) -> None:
    """Every tlspcap command in a shell block exists and takes the options that are shown with it."""
    for words in _commands(page):
        if words[:3] == ["python", "-m", "tlspcap"]:
            words = words[2:]
        if Path(words[0]).name != "tlspcap":
            continue
        known = _help(words[1])
        for option in (word.split("=")[0] for word in words[2:] if word.startswith("-") and word != "-"):
            assert re.search(rf"(?<!\S){re.escape(option)}\b", known), f"{' '.join(words)}: no {option}"


def _help(command: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"])
    assert ended.value.code == 0
    return out.getvalue()


def test_changelog_keeps_its_form() -> None:
    """The changelog names its convention and begins with what is unreleased or released last."""
    text = (ROOT / "CHANGELOG.md").read_text()
    assert "keepachangelog.com" in text
    assert re.findall(r"^## (.+)$", text, re.MULTILINE)[0] in ("[Unreleased]", f"[{tlspcap.__version__}]")


@pytest.fixture(scope="module")
def samples() -> dict[str, pd.DataFrame]:
    """Give the tables of all sample captures together."""
    captures = [tlspcap.read(path) for path in sorted((ROOT / "sample_captures").glob("*.pcap*"))]
    return {name: pd.concat([getattr(capture, name) for capture in captures]) for name in schema.TABLES}


@pytest.mark.parametrize("name", schema.TABLES)
def test_columns_are_filled_as_documented(name: str, samples: dict[str, pd.DataFrame]) -> None:
    """A column that is said not to be filled yet is NA in every row of every sample capture."""
    table = schema.TABLES[name]
    for column in table.columns:
        if not column.filled and column.name != table.index:
            assert samples[name][column.name].isna().all(), f"{name}.{column.name} is filled"


@pytest.mark.parametrize("name", ["handshakes", "records", "messages", "certificates"])
def test_columns_that_are_filled_hold_something(name: str, samples: dict[str, pd.DataFrame]) -> None:
    """Every other column holds a value in some row of some sample capture."""
    empty = [c.name for c in schema.TABLES[name].columns if c.filled and samples[name][c.name].isna().all()]
    assert empty == []
