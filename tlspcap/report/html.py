"""The report as one HTML file: figures inside, nothing loaded from anywhere, legible on a phone, on paper, in the dark."""

from collections.abc import Sequence
from pathlib import Path

from tlspcap.report import words
from tlspcap.report.figures import Figure
from tlspcap.report.model import Cell, Kind, Report

TEMPLATE = Path(__file__).with_name("report.html.j2")
MOST_ROWS = 12  # of a table or list shown at once; the rest unfolds


def render(report: Report, figures: Sequence[Figure] = ()) -> str:
    """Fill the template; every text is escaped by Jinja2, only figures are taken as markup.

    >>> from tlspcap.report.model import Report, Sentence
    >>> page = render(Report(Sentence("<script>"), ("a.pcap",), {}, ()))
    >>> "&lt;script&gt;" in page and "<script>" not in page
    True
    """
    import jinja2

    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["show"] = words.show
    environment.filters["listed"] = lambda names: words.listed(list(names))
    environment.tests["number"] = lambda column: column.kind is not Kind.TEXT
    environment.globals.update(
        most=MOST_ROWS, moment=words.moment, span=words.span, count=words.count, bar=interval_bar, Kind=Kind
    )
    by_section = {section.key: [f for f in figures if f.section == section.key] for section in report.sections}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=report, figures=by_section)


def interval_bar(row: tuple[Cell, ...], kinds: Sequence[Kind]) -> dict[str, float] | None:
    """Place a ratio and its interval on a bar, in percent of its width; None where there is none to draw.

    >>> interval_bar((0.3, (0.1, 0.6)), (Kind.RATIO, Kind.INTERVAL))
    {'left': 10.0, 'width': 50.0, 'point': 30.0}
    """
    bounds = next((cell for cell, kind in zip(row, kinds, strict=True) if kind is Kind.INTERVAL), None)
    ratio = next((cell for cell, kind in zip(row, kinds, strict=True) if kind is Kind.RATIO), None)
    if not isinstance(bounds, tuple) or not isinstance(ratio, float):
        return None
    low, high = bounds
    return {"left": round(low * 100, 2), "width": round((high - low) * 100, 2), "point": round(ratio * 100, 2)}
