"""The `compare` command: what changed between two captures, with the evidence that it is no chance."""

import argparse
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

from tlspcap.commands import shared

if TYPE_CHECKING:
    from tlspcap.report import Report

PURPOSE = "what changed between two captures, with evidence"

WIDEST = 100  # columns, as in a report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `compare`."""
    parser.add_argument("before", metavar="BEFORE", help="capture, pattern or folder")
    parser.add_argument("after", metavar="AFTER", help="the one to compare it with")
    parser.add_argument("--path", action="store_true", help="they are two sides of one path: join their handshakes")
    shared.reading_arguments(parser)
    for kind, what in (("html", "one HTML file, figures inside"), ("json", "JSON"), ("md", "Markdown")):
        parser.add_argument(f"--{kind}", metavar="OUT", help=f"write it as {what}; - is standard output")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    import tlspcap
    from tlspcap.report import comparison, paths

    how = {**shared.how(arguments), "tables": ["handshakes"]}
    captures = [tlspcap.read(source, **how) for source in (arguments.before, arguments.after)]
    if arguments.path:
        joined = paths.report_of(tlspcap.paths(*captures))
        _write(arguments, joined, lambda kind: comparison.rendered(joined, kind, "tlspcap.paths"))
    else:
        found = tlspcap.compare(*captures)
        _write(arguments, comparison.report_of(found), lambda kind: comparison.render(found, kind))
    return max(shared.complain_of(capture.unreadable) for capture in captures)


def _write(arguments: argparse.Namespace, report: "Report", render: "Callable[[str], str]") -> None:
    """Write the files that were asked for, and print it unless that is not wanted."""
    from tlspcap.report import terminal

    wanted = {kind: out for kind in ("html", "json", "md") if (out := getattr(arguments, kind)) is not None}
    for kind, out in wanted.items():
        with shared.output(out) as file:
            file.write(render(kind).encode())
    if "-" not in wanted.values() and not (arguments.quiet and wanted):
        width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
        shared.say(terminal.render(report, width, colour=shared.wants_colour(), encoding=shared.encoding()))
