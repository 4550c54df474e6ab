"""The `report` command: what failed, who ended it and why, and how long it took."""

import argparse
import shutil

from tlspcap.commands import shared

PURPOSE = "what failed, who ended it and why, and how long it took"

WIDEST = 100  # columns; longer lines are hard to read however wide the terminal


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `report`."""
    shared.files_argument(parser)
    shared.reading_arguments(parser)
    shared.ca_argument(parser)
    parser.add_argument("--by", default="version", metavar="COL[,COL]", help="columns to group by (%(default)s)")
    for kind, what in (("html", "one HTML file, figures inside"), ("json", "JSON"), ("md", "Markdown")):
        parser.add_argument(f"--{kind}", metavar="OUT", help=f"write the report as {what}; - is standard output")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from tlspcap.report import build, saving

    capture, code = shared.read(arguments, None)
    by = [name.strip() for name in arguments.by.split(",") if name.strip()]
    tables = capture.tables
    report = build(tables, by, [file.name for file in capture.files], arguments.ca)
    wanted = {kind: out for kind in ("html", "json", "md") if (out := getattr(arguments, kind)) is not None}
    for kind, out in wanted.items():
        text = saving.RENDERERS[f".{kind}"](report, tables)
        with shared.output(out) as file:
            file.write(text.encode())
    if "-" not in wanted.values() and not (arguments.quiet and wanted):
        from tlspcap.report import terminal

        width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
        shared.say(terminal.render(report, width, colour=shared.wants_colour(), encoding=shared.encoding()))
    return code
