"""Write the generated parts of the documentation, so that it says what the code says.

A generated part stands between `<!-- tlspcap: NAME -->` and `<!-- end -->`; `PARTS` says for each page what fills
which name. Run by `make docs`; the tests compare what is committed with what this makes.
"""

import contextlib
import csv
import inspect
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import bounds  # what is kept of a capture at most; in tests/ too
import house  # the law about imports; in tests/, beside the test that enforces it
import lab_page  # how often verdicts are right; in tests/ too

from tlspcap import cli, schema
from tlspcap.findings.causes import MEANING
from tlspcap.findings.rules import RULES
from tlspcap.tls import figures, outcome, verdict

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden" / "figures.txt"
PART = re.compile(r"(<!-- tlspcap: (?P<name>[^>]+?) -->\n).*?(<!-- end -->)", re.DOTALL)
DEMO = "sample_captures/intermittent-alert.pcap"


# -- what the command says --------------------------------------------------------------------------------------


def said(*arguments: str) -> str:
    """Run the command in the project's folder and give what it prints, 80 columns wide."""
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    with (
        contextlib.chdir(ROOT),
        contextlib.redirect_stdout(out),
        mock.patch.dict(os.environ, {"COLUMNS": "80"}),
    ):
        code = cli.main(list(arguments))
        out.flush()
    assert code == 0, f"{arguments} ended with {code}"
    assert isinstance(out.buffer, io.BytesIO)
    return out.buffer.getvalue().decode()


def excerpt(capture: str) -> str:
    """Give a report up to its part on latency, fenced."""
    text = said("report", "--quiet", f"sample_captures/{Path(capture).name}")
    beginning = re.split(r"\n(?=Latency |What the capture lacks)", text)[0].rstrip()
    return f"```text\n$ python -m tlspcap report sample_captures/{Path(capture).name}\n{beginning}\n[…]\n```"


def explained() -> str:
    """Give the words about one handshake, fenced."""
    return f"```text\n$ python -m tlspcap explain {DEMO}\n{said('explain', '--quiet', DEMO).rstrip()}\n```"


# -- tables -----------------------------------------------------------------------------------------------------


def cell(text: str) -> str:
    """Keep a text within its cell of a Markdown table."""
    return text.replace("|", "\\|").replace("\n", " ")


def table_page() -> str:
    """Describe every table, column by column."""
    return "\n\n".join(_table(table) for table in (schema.TABLES | schema.COMPUTED).values())


def _table(table: schema.Table) -> str:
    index = f" The index is `{table.index}`, from 0." if table.index else ""
    lines = [
        f"## {table.name}",
        "",
        f"One row is {table.row}.{index}",
        "",
        "| column | dtype | meaning |",
        "| --- | --- | --- |",
    ]
    return "\n".join([*lines, *(_column(column) for column in table.columns)])


def _column(column: schema.Column) -> str:
    meaning = column.meaning + (f" ({column.unit})" if column.unit else "")
    if column.values and column.name != "kind":
        meaning += ": " + ", ".join(column.values)
    if not column.filled:
        meaning += "; **not filled yet**"
    return f"| `{column.name}` | {column.dtype} | {cell(meaning)} |"


def unfilled() -> str:
    """Name the columns that the contract reserves and nothing fills yet."""
    names = [f"`{table.name}.{c.name}`" for table in schema.TABLES.values() for c in table.columns if not c.filled]
    return "Not filled yet, NA in every row: " + ", ".join(names) + "." if names else "Every column is filled."


def note_kinds() -> str:
    """List the kinds of notes; those that no code names but the schema cannot be written yet."""
    code = "".join(path.read_text() for name, path in house.modules() if name != "schema")
    waits = {kind: "" if f'"{kind}"' in code else "; **not written yet**" for kind in schema.NOTE_KINDS}
    rows = [f"| `{kind}` | {cell(meaning)}{waits[kind]} |" for kind, meaning in schema.NOTE_KINDS.items()]
    return "\n".join(["| kind | meaning |", "| --- | --- |", *rows])


# -- fields -----------------------------------------------------------------------------------------------------

FIELDS = ROOT / "docs" / "fields.csv"
BEYOND_RFCS = {
    "tlspcap": "*here*",
    "pcap": "the packet's header in the capture file",
    "JA3": "[JA3](https://github.com/salesforce/ja3)",
    "JA4": "[JA4](https://github.com/FoxIO-LLC/ja4/blob/main/technical_details/JA4.md)",
}
RFC = re.compile(r"RFC (?P<number>\d+) (?P<section>(?P<first>[A-Z\d])[.\d]*)")


def fields() -> list[dict[str, str]]:
    """Read where each column is defined, and what other tools call it."""
    with FIELDS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def field_page() -> str:
    """List the fields, table by table."""
    return "\n\n".join(_fields_of(name) for name in schema.TABLES)


def _fields_of(table: str) -> str:
    lines = [
        f"## {table}",
        "",
        "| column | defined in | Wireshark | Zeek | Suricata | what differs |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    return "\n".join([*lines, *(_field(field) for field in fields() if field["table"] == table)])


def _field(field: dict[str, str]) -> str:
    source = ", ".join(_source(part) for part in field["source"].split("; "))
    wireshark = re.sub(r"([a-z_]\S+)", r"`\1`", field["wireshark"])
    zeek = "; ".join(re.sub(r"(\S+) (.+)", r"\1 `\2`", name) for name in field["zeek"].split("; "))
    suricata = re.sub(r"([^; ]+)", r"`\1`", field["suricata"])
    cells = [f"`{field['column']}`", source, wireshark, zeek, suricata, cell(field["difference"])]
    return f"| {' | '.join(cells)} |"


def _source(source: str) -> str:
    """Link to a section of an RFC; appendices are those whose number begins with a letter."""
    if source in BEYOND_RFCS:
        return BEYOND_RFCS[source]
    found = RFC.fullmatch(source)
    assert found is not None, f"{FIELDS.name}: {source!r} is no section of an RFC"
    kind = "section" if found["first"].isdigit() else "appendix"
    return f"[{source}](https://www.rfc-editor.org/rfc/rfc{found['number']}#{kind}-{found['section']})"


# -- outcomes ---------------------------------------------------------------------------------------------------


def rules() -> str:
    """List the rules in the order in which they are asked."""
    return "\n".join(f"{number}. **{rule.__name__}** {_prose(rule)}" for number, rule in enumerate(outcome.RULES, 1))


def _prose(thing: object) -> str:
    return " ".join((inspect.getdoc(thing) or "").split())


def verdict_words() -> str:
    """List the closed lists of words that a verdict is made of."""
    kinds = (
        verdict.Outcome, verdict.Certainty, verdict.Phase, verdict.Party, verdict.Mechanism, verdict.Completeness
    )  # fmt: skip
    rows = [f"| {kind.__name__} | {', '.join(word.value for word in kind)} | {_prose(kind)} |" for kind in kinds]
    return "\n".join(["| | words | what they say |", "| --- | --- | --- |", *rows])


# -- findings ---------------------------------------------------------------------------------------------------


def finding_rules() -> str:
    """List the rules over the tables in the order in which they are asked."""
    rows = [f"| `{rule.id}` | {cell(_prose(rule.ask))} | {cell(rule.source)} |" for rule in RULES]
    return "\n".join(["| id | what it finds | where it is written down |", "| --- | --- | --- |", *rows])


def causes() -> str:
    """List the causes that findings name."""
    rows = [f"| `{cause}` | {cell(meaning)} |" for cause, meaning in MEANING.items()]
    return "\n".join(["| cause | what it says |", "| --- | --- |", *rows])


# -- figures ----------------------------------------------------------------------------------------------------

HOW_OFTEN = {"": "", "?": " (optional)", "*": " (any number)"}


def figure_page() -> str:
    """Draw every figure, and say of each place in it what may come next."""
    return "\n\n".join(_figure(figure) for figure in figures.FIGURES)


def _figure(figure: figures.Figure) -> str:
    versions = {"2.0": "", "1.2": ": SSL 3.0 to TLS 1.2", "1.3": ": TLS 1.3"}
    title = f"## {figure.name}{versions[figure.family]}"
    blocks = [title, _sequence(figure)]
    return "\n\n".join([*blocks, "| from | message | | defined in |\n| --- | --- | --- | --- |\n" + _steps(figure)])


def _sequence(figure: figures.Figure) -> str:
    lines = ["```mermaid", "sequenceDiagram", "  participant client", "  participant server"]
    for step in figure.steps:
        other = figures.SERVER if step.side == figures.CLIENT else figures.CLIENT
        lines.append(
            f"  {step.side} {'-->>' if step.repeat else '->>'} {other}: {step.message}{HOW_OFTEN[step.repeat]}"
        )
    return "\n".join([*lines, "```"])


def _steps(figure: figures.Figure) -> str:
    words = {"": "required", "?": "optional", "*": "any number"}
    rows = [f"| {s.side} | `{s.message}` | {words[s.repeat]} | {s.section} |" for s in figure.steps]
    return "\n".join(rows)


def anytime() -> str:
    """List the messages that may come at any time."""
    rows = [
        f"| {side or 'both'} | {family} | `{message}` | {section} |"
        for side, family, message, section in figures.ANYTIME
    ]
    return "\n".join(["| from | family | message | defined in |", "| --- | --- | --- | --- |", *rows])


def compiled() -> str:
    """Show what a client and a server may say next, state by state, as long as all goes by one figure."""
    states = f"{len(figures.TABLE.expected)} states of a side and {len(figures.TABLE.moves)} moves between them."
    blocks = [states]
    for side in (figures.CLIENT, figures.SERVER):
        lines = [
            f"### What the {side} may say next",
            "",
            "| figures still open: messages behind it | next |",
            "| --- | --- |",
        ]
        blocks.append("\n".join([*lines, *_single_states(side)]))
    return "\n\n".join(blocks)


def _single_states(side: str) -> Iterator[str]:
    known = {state for owner, state in figures.TABLE.expected if owner == side}
    for state in sorted(known, key=lambda state: (sorted(state), len(state))):
        if len(state) == 1 or state == figures.TABLE.start:
            expected = figures.TABLE.expected[side, state]
            names = ", ".join(
                f"`{name.rstrip('?*')}`{HOW_OFTEN[name[-1]] if name[-1] in '?*' else ''}" for name in expected
            )
            yield f"| {figures.describe_state(state)} | {names or 'nothing more'} |"


# -- pages ------------------------------------------------------------------------------------------------------

Parts = dict[str, Callable[[], str]]

PARTS: dict[str, Parts] = {
    "README.md": {"report": lambda: excerpt(DEMO), "explain": explained},
    "docs/captures.md": {"bounds": bounds.table},
    "docs/architecture.md": {"rooms": house.listing, "drawing": house.drawing},
    "docs/tables.md": {"unfilled": unfilled, "tables": table_page, "note kinds": note_kinds},
    "docs/fields.md": {"fields": field_page},
    "docs/outcomes.md": {"words": verdict_words, "rules": rules, "score": lab_page.score},
    "docs/findings.md": {"rules": finding_rules, "causes": causes},
    "lab/README.md": {"counts": lab_page.counts},
    "docs/figures.md": {"figures": figure_page, "anytime": anytime, "compiled": compiled},
    "sample_captures/README.md": {
        path.name: (lambda name=path.name: excerpt(name))  # type: ignore[misc]
        for path in sorted((ROOT / "sample_captures").glob("*.pcap*"))
    },
}


def filled(text: str, parts: Parts) -> str:
    r"""Fill the generated parts of a page anew.

    >>> filled("<!-- tlspcap: sum -->\nold\n<!-- end -->\n", {"sum": lambda: "1 + 1 = 2"})
    '<!-- tlspcap: sum -->\n1 + 1 = 2\n<!-- end -->\n'
    """
    return PART.sub(lambda part: f"{part[1]}{parts[part['name']]()}\n{part[3]}", text)


def names(text: str) -> list[str]:
    """Give the names of the generated parts of a page, in order."""
    return [part["name"] for part in PART.finditer(text)]


def main() -> None:
    """Write every page and golden file that is made from the code."""
    for page, parts in PARTS.items():
        path = ROOT / page
        path.write_text(filled(path.read_text(), parts))
    GOLDEN.write_text(figures.describe_table())


if __name__ == "__main__":
    main()
