"""The report as Markdown, for a ticket or a wiki page."""

from tlspcap import words
from tlspcap.escape import markdown as text
from tlspcap.report import cells
from tlspcap.report.model import Grid, Kind, Report, Section, Sentence


def render(report: Report) -> str:
    r"""Write the report as Markdown: headings, lists, tables, and display filters as code.

    >>> from tlspcap.report.model import Report, Sentence
    >>> print(render(Report(Sentence("All 3 succeeded."), ("a|b.pcap",), {}, ())), end="")
    # TLS handshakes in a\|b.pcap
    <BLANKLINE>
    **All 3 succeeded.**
    """
    blocks = [f"# TLS handshakes in {text(words.listed(list(report.sources)))}", f"**{text(report.headline.text)}**"]
    blocks += [text(line) for line in report.headline.details]
    for section in report.sections:
        blocks += _section(section)
    return "\n\n".join(blocks) + "\n"


def _section(section: Section) -> list[str]:
    blocks = [f"## {text(section.title)}"]
    if section.sentences:
        blocks.append("\n".join(line for sentence in section.sentences for line in _sentence(sentence)))
    for grid in section.grids:
        blocks += [text(grid.caption), _grid(grid)]
        blocks += [text(grid.footnote)] if grid.footnote else []
    return blocks


def _sentence(sentence: Sentence) -> list[str]:
    lines = [f"- {text(sentence.text)}", *(f"  - {text(line)}" for line in sentence.details)]
    many = len(sentence.filters) > 1
    return lines + [f"  - {f'in {text(f.capture)}: ' if many else ''}`{f.expression}`" for f in sentence.filters]


def _grid(grid: Grid) -> str:
    head = " | ".join(text(column.caption) for column in grid.columns)
    rule = " | ".join("---" if column.kind is Kind.TEXT else "---:" for column in grid.columns)
    rows = [
        " | ".join(text(cells.show(cell, column.kind)) for cell, column in zip(row, grid.columns, strict=True))
        for row in grid.rows
    ]
    return "\n".join(f"| {line} |" for line in (head, rule, *rows))
