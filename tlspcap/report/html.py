"""The report as one HTML file: figures inside, nothing loaded; legible on a phone, on paper and in the dark."""

from collections.abc import Sequence
from pathlib import Path

from tlspcap import words
from tlspcap.report import cells
from tlspcap.report.figures import Figure
from tlspcap.report.model import Kind, Report

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

    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["show"] = cells.show
    environment.filters["listed"] = lambda names: words.listed(list(names))
    environment.tests["number"] = lambda column: column.kind is not Kind.TEXT
    environment.globals.update(most=MOST_ROWS, moment=words.moment, span=words.span)
    by_section = {section.key: [f for f in figures if f.section == section.key] for section in report.sections}
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(report=report, figures=by_section)
