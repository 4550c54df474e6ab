"""The `trend` command: the nights of a store side by side."""

import argparse
import shutil

from tlspcap.commands import shared

PURPOSE = "the nights of a store side by side"

WIDEST = 120  # columns


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `trend`."""
    parser.add_argument("--store", required=True, metavar="DIR", help="folder of the store")
    parser.add_argument("--days", type=int, default=14, metavar="N", help="nights to show (%(default)s)")
    parser.add_argument("--by", default="server", metavar="COL", help="column to tell apart by (%(default)s)")
    parser.add_argument("--server", metavar="ADDR[:PORT]", help="only this server")
    for kind, what in (("html", "one HTML file, figures inside"), ("json", "JSON"), ("md", "Markdown")):
        parser.add_argument(f"--{kind}", metavar="OUT", help=f"write it as {what}; - is standard output")
    parser.add_argument("--quiet", action="store_true", help="no text where files are asked for")
    parser.add_argument("--version", metavar="VERSION", help='only this version, e.g. "TLS 1.2"')


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    import tlspcap
    from tlspcap.errors import ArgumentError
    from tlspcap.nightly.side_by_side import report_of
    from tlspcap.report import terminal
    from tlspcap.schema import HANDSHAKES

    if arguments.by != "server" and arguments.by not in HANDSHAKES.names:
        raise ArgumentError(f"by: there is no column {arguments.by!r}")
    store = tlspcap.open_store(arguments.store).select(server=arguments.server, version=arguments.version)
    found = tlspcap.trend(store, arguments.days, arguments.by)
    wanted = {kind: out for kind in ("html", "json", "md") if (out := getattr(arguments, kind)) is not None}
    for kind, out in wanted.items():
        with shared.output(out) as file:
            file.write(found.render(kind).encode())
    if "-" not in wanted.values() and not (arguments.quiet and wanted):
        width = min(shutil.get_terminal_size((100, 24)).columns, WIDEST)
        text = terminal.render(report_of(found), width, colour=shared.wants_colour(), encoding=shared.encoding())
        shared.say(text)
    return shared.DONE
