"""The report as JSON, for programs. Its shape is stable: `schema_version` grows when a key goes or changes its meaning.

::

    schema          "tlspcap.report"
    schema_version  1
    sources         [file name, …]
    facts           {handshakes, established, failed, unknown, probable, clients, servers, first, last, seconds}
    headline        sentence
    sections        [{key, title, sentences: [sentence, …], tables: [table, …]}, …]
                    keys: findings, failures, causes, contrast, latency, lacking

    A comparison has the schema "tlspcap.comparison", no facts, and the sections compared, failures, latency, changes.

    sentence        {text, mood: plain|good|bad|doubt, details: [text, …], filters: [{capture, filter}, …], data: {…}}
    table           {key, caption, columns: [{key, caption, unit}, …], rows: [{column key: value}, …]}

The `data` of a finding holds its id, severity, advice, causes, handshakes (ids), frames and streams.

Ratios and shares are 0 to 1, durations ms, times ISO 8601 in UTC, what is unknown is null. A count of a base is two
columns (`failed`, `base`), an interval too (`ci_low`, `ci_high`). The `data` of a cause holds its count, failure_side,
failure_phase, failure_mechanism, alert, alert_code, certainty, version, servers, clients, example and reason.
"""

import json
from collections.abc import Iterator

from tlspcap.report.model import Cell, Column, Grid, Kind, Report, Section, Sentence

SCHEMA = "tlspcap.report"
SCHEMA_VERSION = 1


def render(report: Report, schema: str = SCHEMA) -> str:
    """Write the report as JSON text, in ASCII so that no terminal or log can be upset by it.

    >>> from tlspcap.report.model import Report, Sentence
    >>> json.loads(render(Report(Sentence("All 3 succeeded."), ("a.pcap",), {}, ())))["headline"]["text"]
    'All 3 succeeded.'
    """
    shape = {
        "schema": schema,
        "schema_version": SCHEMA_VERSION,
        "sources": list(report.sources),
        "facts": dict(report.facts),
        "headline": _sentence(report.headline),
        "sections": [_section(section) for section in report.sections],
    }
    return json.dumps(shape, indent=1, allow_nan=False) + "\n"


def _section(section: Section) -> dict[str, object]:
    return {
        "key": section.key,
        "title": section.title,
        "sentences": [_sentence(sentence) for sentence in section.sentences],
        "tables": [_grid(grid) for grid in section.grids],
    }


def _sentence(sentence: Sentence) -> dict[str, object]:
    return {
        "text": sentence.text,
        "mood": sentence.mood.value,
        "details": list(sentence.details),
        "filters": [{"capture": f.capture, "filter": f.expression} for f in sentence.filters],
        "data": dict(sentence.data),
    }


def _grid(grid: Grid) -> dict[str, object]:
    columns = [
        {"key": key, "caption": column.caption, "unit": column.unit} for column in grid.columns for key in _keys(column)
    ]
    rows = [dict(_cells(grid.columns, row)) for row in grid.rows]
    return {"key": grid.key, "caption": grid.caption, "columns": columns, "rows": rows}


def _keys(column: Column) -> tuple[str, ...]:
    """Name the columns of a pair apart, as the DataFrames do."""
    if column.kind is Kind.OF:
        return (column.key, column.base)
    return ("ci_low", "ci_high") if column.kind in (Kind.INTERVAL, Kind.POINTS) else (column.key,)


def _cells(columns: tuple[Column, ...], row: tuple[Cell, ...]) -> Iterator[tuple[str, Cell]]:
    for column, value in zip(columns, row, strict=True):
        keys = _keys(column)
        values = value if isinstance(value, tuple) else (value,) * len(keys)
        yield from zip(keys, values, strict=True)
