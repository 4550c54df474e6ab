"""How a report is shown: on a terminal, as HTML, Markdown and JSON; hostile names must stay text in each."""

import html
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from frames import established, failed, handshakes, intermittent, messages, table, unknown

from tlspcap.errors import ArgumentError
from tlspcap.escape import encodable, printable
from tlspcap.report import Report, build, figures, markdown, save, terminal
from tlspcap.report import html as page
from tlspcap.report import json as as_json

HOSTILE = [
    "\x1b[2J\x1b]0;owned\x07",
    "[red]markup[/red]",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a|b`c`\n# heading",
    "\u202egnp.exe",
    "{{ 7 * 7 }}",
    "$\\frac{1}{0}$",
]


def hostile_tables() -> dict[str, pd.DataFrame]:
    """Build tables in which the wire holds every hostile text wherever it can."""
    rows = [failed(sni=text, reason=text, alert=None, failure_mechanism="not_tls", capture=text) for text in HOSTILE]
    notes = table("notes", [{"kind": "gap", "detail": text} for text in HOSTILE])
    return {"handshakes": handshakes(rows, [unknown(reason=text, sni=text) for text in HOSTILE]), "notes": notes}


SECTIONS = ["findings", "failures", "causes", "contrast", "latency", "lacking"]


def hostile() -> Report:
    """Build the report of it, grouped by the hostile names too."""
    return build(hostile_tables(), by=["sni", "version"])


# -- terminal ---------------------------------------------------------------------------------------------------


def test_terminal_report_of_the_intermittent_alert_is_as_agreed() -> None:
    """The whole terminal report of the first story is the golden file, character by character."""
    golden = Path(__file__).with_name("golden") / "report-intermittent.txt"
    assert terminal.render(build({"handshakes": intermittent()})) == golden.read_text(encoding="utf-8")


def test_terminal_report_fits_a_screen() -> None:
    """A simple capture's report takes at most 48 lines of 80 columns, display filters aside."""
    lines = terminal.render(build({"handshakes": intermittent()})).splitlines()
    assert len(lines) <= 48
    assert max(len(line) for line in lines if "tcp.stream" not in line) <= 80


def test_long_tables_are_cut_with_a_count() -> None:
    """What does not fit is counted: rows of a table and causes alike."""
    rows = [failed(sni=f"{i}.example", alert=None, alert_code=None, failure_phase=p, failure_mechanism=m)
            for i, (p, m) in enumerate((p, m) for p in ("client_hello", "finished", "key_exchange")
                                       for m in ("reset", "close", "violation"))]  # fmt: skip
    text = terminal.render(build({"handshakes": handshakes(rows)}, by="sni"))
    assert "and 1 more" in text  # nine names, eight rows
    assert "and 4 more" in text  # nine causes, five sentences


def test_a_display_filter_is_one_line() -> None:
    """A filter longer than the line is not broken, so that it can be copied whole."""
    rows = handshakes([failed(stream=3 * i) for i in range(40)])
    streams = ", ".join(str(3 * i) for i in range(40))
    assert f"tcp.stream in {{{streams}}}\n" in terminal.render(build({"handshakes": rows}), width=60)


def test_colours_only_when_asked_for() -> None:
    """Without colour there is no escape sequence at all; with it, failures are coloured."""
    report = build({"handshakes": intermittent()})
    assert "\x1b" not in terminal.render(report)
    assert "\x1b[" in terminal.render(report, colour=True)


def test_terminal_never_gets_a_hostile_escape() -> None:
    """Escape sequences from the wire are shown as text, markup of the terminal library too."""
    text = terminal.render(hostile(), width=200)
    assert all(char.isprintable() or char == "\n" for char in text)
    assert "\\x1b[2J" in text
    assert "[red]markup[/red]" in text


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "no-such-encoding"])
def test_terminal_text_fits_its_encoding(encoding: str) -> None:
    """Where the output cannot carry a character, an ASCII cousin of the same width stands in."""
    text = terminal.render(build({"handshakes": intermittent()}), encoding=encoding)
    text.encode("ascii" if encoding == "no-such-encoding" else encoding)
    assert "3 x internal_error" in text or "3 × internal_error" in text  # noqa: RUF001


def test_narrow_terminals_lose_nothing_but_the_drawing() -> None:
    """At 40 columns every number is still there."""
    text = terminal.render(build({"handshakes": intermittent()}), width=40)
    assert "11 to 60 %" in text
    assert "├" not in text


def test_whiskers_mark_the_ends() -> None:
    """A drawn interval touches the ends at 0 and 100 % and draws nothing where there is no ratio."""
    assert terminal.whiskers(1.0, (0.5, 1.0), 11) == "     ├────●"
    assert terminal.whiskers(None, None) == ""


# -- HTML -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a page with every figure in it."""
    path = tmp_path_factory.mktemp("html") / "night.html"
    rows = intermittent()
    sent = messages((0.0, "client", "client_hello", 512), (11.0, "server", "alert", 2)).assign(id=rows["id"].iloc[2])
    save({"handshakes": rows, "messages": sent}, path, sources=["night.pcap"])
    return path.read_text(encoding="utf-8")


class Loads(HTMLParser):
    """Collects what a browser would fetch for a page, and which elements it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = re.findall(r"""url\(\s*["']?([^"')]+)""", text) + re.findall("@import[^;]*", text)
        self.elements: set[str] = set()
        self.handlers: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        self.elements.add(tag)
        for name, value in attrs:
            if name.split(":")[-1] in ("src", "href", "srcset", "action", "poster", "data", "background"):
                self.targets.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)


def loads(text: str) -> list[str]:
    """Return what a browser would fetch for this page: anything but fragments of it and data within it."""
    return [target for target in Loads(text).targets if not target.startswith(("#", "data:"))]


def test_html_loads_nothing(whole_page: str) -> None:
    """The page names no address to load from, and its policy would forbid it."""
    assert loads(whole_page) == []
    assert not Loads(whole_page).elements & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "default-src 'none'" in whole_page
    outside = set(re.findall(r"https?://[^\s\"'<>)]+", whole_page))
    assert outside <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}  # names of formats, not loaded


def test_html_begins_with_what_matters(whole_page: str) -> None:
    """The heading is the headline; sections follow in the order in which they matter."""
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", whole_page)
    assert heading is not None
    assert html.unescape(heading[1]).startswith("3 handshakes failed: internal_error (80), sent by the server ")
    assert re.findall(r'<section id="(\w+)"', whole_page) == SECTIONS


def test_html_holds_the_figures(whole_page: str) -> None:
    """Five figures stand in the page as SVG, whose ids do not collide."""
    assert whole_page.count("<svg") == 5
    ids = re.findall(r'\bid="([^"]+)"', whole_page)
    assert len(ids) == len(set(ids))


def test_html_is_the_same_each_time(tmp_path: Path) -> None:
    """Two reports of the same tables are the same bytes, so that they can be compared."""
    first, second = tmp_path / "a.html", tmp_path / "b.html"
    save({"handshakes": intermittent()}, first)
    save({"handshakes": intermittent()}, second)
    assert first.read_bytes() == second.read_bytes()


def test_html_escapes_hostile_names() -> None:
    """Names from the wire are text in the page and in its figures, never elements, attributes or templates."""
    tables = hostile_tables()
    text = page.render(hostile(), figures.draw(tables, ["sni", "version"]))
    assert "\x1b" not in text
    assert not Loads(text).elements & {"script", "img"}
    assert not Loads(text).handlers
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7 * 7 }}" in text
    assert loads(text) == []


def test_a_figure_of_very_many_marks_is_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """A figure that would be too heavy as SVG becomes a PNG within the page."""
    monkeypatch.setattr(figures, "LARGEST_SVG", 10)
    drawn = figures.draw({"handshakes": intermittent()})
    assert all(figure.markup.startswith('<img alt="" src="data:image/png;base64,') for figure in drawn)


def test_html_of_a_capture_without_tls() -> None:
    """Without TLS the page says so and has no empty tables or figures."""
    text = page.render(
        build({"handshakes": handshakes()}, sources=["x.pcap"]), figures.draw({"handshakes": handshakes()})
    )
    assert "No TLS handshake was found" in text
    assert "<table" not in text


# -- Markdown, JSON, files --------------------------------------------------------------------------------------


def test_markdown_keeps_hostile_names_in_their_cell() -> None:
    """No name ends a table's cell or row, opens code, or becomes HTML."""
    text = markdown.render(hostile())
    assert not re.search(r"(?<!\\)<script", text)
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    header = next(line for line in rows if line.startswith("| name asked for | version | failed"))
    body = [line for line in rows if "a\\|b" in line and "1 of 1" in line]
    assert len(body) == 1
    assert len(re.findall(r"(?<!\\)\|", body[0])) == len(re.findall(r"(?<!\\)\|", header))


def test_markdown_begins_with_the_headline() -> None:
    """The first paragraph is the headline."""
    lines = markdown.render(build({"handshakes": intermittent()})).splitlines()
    assert lines[0] == "# TLS handshakes in night.pcap"
    assert lines[2].startswith("**3 handshakes failed: internal")


def test_json_has_its_documented_shape() -> None:
    """The JSON report names its schema and version, and holds numbers as numbers."""
    shape = json.loads(as_json.render(build({"handshakes": intermittent()})))
    assert (shape["schema"], shape["schema_version"]) == ("tlspcap.report", 1)
    assert list(shape) == ["schema", "schema_version", "sources", "facts", "headline", "sections"]
    assert [part["key"] for part in shape["sections"]] == SECTIONS
    (ratios,) = shape["sections"][1]["tables"]
    row = ratios["rows"][0]
    assert (row["version"], row["failed"], row["base"], row["failure_ratio"]) == ("TLS 1.2", 3, 10, 0.3)
    assert (round(row["ci_low"], 3), round(row["ci_high"], 3)) == (0.108, 0.603)
    assert list(row) == [column["key"] for column in ratios["columns"]]
    (cause,) = shape["sections"][2]["sentences"]
    assert (cause["data"]["alert"], cause["data"]["alert_code"], cause["data"]["count"]) == ("internal_error", 80, 3)
    assert cause["data"]["versions"] == {"TLS 1.2": 3}


def test_json_writes_the_unknown_as_null() -> None:
    """What is not known is null, never NaN, which JSON does not have."""
    shape = json.loads(
        as_json.render(build({"handshakes": handshakes(unknown(), established())})), parse_constant=pytest.fail
    )
    assert shape["sections"][2]["tables"][0]["rows"][0]["p90"] is None


def test_json_is_plain_ascii() -> None:
    """No name can reach a terminal through the JSON report unescaped."""
    text = as_json.render(hostile())
    assert text.isascii()
    assert "\x1b" not in text
    json.loads(text)


@pytest.mark.parametrize(("name", "start"), [("r.md", "# TLS"), ("r.json", "{"), ("r.HTM", "<!DOCTYPE html>")])
def test_a_files_suffix_decides(tmp_path: Path, name: str, start: str) -> None:
    """`save` writes what the suffix says."""
    save({"handshakes": intermittent()}, tmp_path / name)
    assert (tmp_path / name).read_text(encoding="utf-8").lstrip().startswith(start)


def test_an_unknown_suffix_is_the_callers_error(tmp_path: Path) -> None:
    """A suffix that says nothing raises ArgumentError and names those that do."""
    with pytest.raises(ArgumentError, match=r"\.html, \.md or \.json"):
        save({"handshakes": intermittent()}, tmp_path / "r.pdf")


# -- escaping ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [*HOSTILE, "".join(map(chr, range(0x250))), "\ud800", "\u2028\u2029\ufeff"])
def test_printable_text_is_printable(text: str) -> None:
    """Whatever goes in, what comes out is visible and can be encoded."""
    shown = printable(text)
    assert shown.isprintable()
    shown.encode("utf-8")


def test_harmless_text_is_left_alone() -> None:
    """Ordinary names in any script stay as they are."""
    for name in ("api.example.com", "bücher.example", "例え.テスト", "a_b-c.d"):
        assert printable(name) == encodable(name, "utf-8") == name
