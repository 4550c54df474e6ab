"""The `table` command: one table as CSV, JSON lines or Parquet."""

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from tlspcap.commands import shared
from tlspcap.workers import processes, started_ahead

if TYPE_CHECKING:
    import pandas as pd

PURPOSE = "one table as CSV, JSON lines or Parquet"

TABLES = (
    "handshakes", "records", "messages", "alerts", "certificates", "notes", "hellos", "certificate_requests",
)  # fmt: skip
FORMATS = ("csv", "jsonl", "parquet")
ROWS = 10_000  # handshakes whose rows are in memory at once while a table is written


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `table`."""
    shared.files_argument(parser)
    shared.reading_arguments(parser)
    parser.add_argument("--table", choices=TABLES, default="handshakes", help="which table (%(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="(%(default)s)")
    parser.add_argument("-o", "--output", default="-", metavar="OUT", help="file to write (standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    if arguments.format == "parquet" and arguments.output == "-" and sys.stdout.isatty():
        return shared.complain("Parquet is no text for a terminal; name a file with -o", shared.USAGE)
    with started_ahead(processes(arguments.files, arguments.jobs) - 1):
        return _write_csv(arguments) if arguments.format == "csv" else _write_frames(arguments)


def _write_csv(arguments: argparse.Namespace) -> int:
    """Write lines as they come, without pandas, whose import takes longer than a small capture."""
    from tlspcap import capture, lines

    codes = [shared.DONE]
    pieces = capture.scan_csv(arguments.files, arguments.table, ROWS, **shared.how(arguments))
    first = next(pieces)  # what cannot be read at all leaves the output alone
    with shared.output(arguments.output) as file:
        file.write(lines.header(arguments.table).encode())
        for piece in chain([first], pieces):
            file.writelines(line.encode() for line in piece.lines)
            codes.append(shared.complain_of(piece.unreadable))
    return max(codes)


def _write_frames(arguments: argparse.Namespace) -> int:
    import tlspcap
    from tlspcap import export, schema, tables

    codes = [shared.DONE]

    def frames() -> Iterator["pd.DataFrame"]:
        for capture in tlspcap.scan(arguments.files, ROWS, tables=[arguments.table], **shared.how(arguments)):
            yield getattr(capture, arguments.table)
            codes.append(shared.complain_of(capture.unreadable))

    table = schema.TABLES[arguments.table]
    pieces = iter([tables.together(table, frames())]) if table.key else frames()
    first = next(pieces)  # what cannot be read at all leaves the output alone
    with shared.output(arguments.output) as file:
        export.write(chain([first], pieces), arguments.format, file)
    return max(codes)
