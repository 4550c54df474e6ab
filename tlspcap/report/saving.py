"""Write a report to a file; the suffix of its name says as what."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from tlspcap.errors import ArgumentError
from tlspcap.report import figures, html, json, markdown
from tlspcap.report.model import Report
from tlspcap.report.sections import build

Tables = Mapping[str, pd.DataFrame]


def save(
    tables: Tables, path: str | Path, by: str | Sequence[str] = "version", sources: Sequence[str] = (),
    ca: str | Path | None = None,
) -> None:  # fmt: skip
    """Write the report of a capture's tables to `path`: .html (or .htm), .md or .json by its suffix.

    Raises:
        ArgumentError: the suffix is none of these, `by` names no column, or the roots `ca` cannot be read.

    >>> save({}, "night.pdf")
    Traceback (most recent call last):
    tlspcap.errors.ArgumentError: cannot write a report as '.pdf': use .html, .md or .json
    """
    suffix = Path(path).suffix.lower()
    if suffix not in RENDERERS:
        raise ArgumentError(f"cannot write a report as {suffix!r}: use .html, .md or .json")
    text = RENDERERS[suffix](build(tables, by, sources, ca), tables)
    Path(path).write_text(text, encoding="utf-8")


def as_html(report: Report, tables: Tables) -> str:
    """Render with figures, which are drawn from the tables."""
    return html.render(report, figures.draw(tables, report.by))


RENDERERS: dict[str, Callable[[Report, Tables], str]] = {
    ".html": as_html,
    ".htm": as_html,
    ".md": lambda report, _: markdown.render(report),
    ".json": lambda report, _: json.render(report),
}
