"""The `trend` command: the nights of a store side by side."""

import argparse

from tlspcap.commands import shared

PURPOSE = "the nights of a store side by side"

MOST = 20  # rows of a list


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `trend`."""
    parser.add_argument("--store", required=True, metavar="DIR", help="folder of the store")
    parser.add_argument("--days", type=int, default=14, metavar="N", help="nights to show (%(default)s)")
    parser.add_argument("--by", default="server", metavar="COL", help="column to tell apart by (%(default)s)")
    parser.add_argument("--server", metavar="ADDR[:PORT]", help="only this server")
    parser.add_argument("--version", metavar="VERSION", help='only this version, e.g. "TLS 1.2"')


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    import tlspcap
    from tlspcap.errors import ArgumentError
    from tlspcap.escape import encodable, printable
    from tlspcap.nightly.nights import last_nights
    from tlspcap.nightly.trend import trend
    from tlspcap.schema import HANDSHAKES

    if arguments.by != "server" and arguments.by not in HANDSHAKES.names:
        raise ArgumentError(f"by: there is no column {arguments.by!r}")
    store = tlspcap.open_store(arguments.store).select(server=arguments.server, version=arguments.version)
    for name, frame in trend(last_nights(store, arguments.days), arguments.by).items():
        shown = frame.drop(columns="effective", errors="ignore")
        if name != "nights":
            shown = shown.head(MOST)
        text = shown.to_string(index=False, float_format=lambda number: f"{number:.3g}") if len(frame) else "none"
        more = f"\n… {len(frame) - len(shown)} more" if len(frame) > len(shown) else ""
        lines = "\n".join(printable(line) for line in f"{text}{more}".splitlines())
        shared.say(encodable(f"{name.replace('_', ' ').capitalize()}\n{lines}\n\n", shared.encoding()))
    return shared.DONE
