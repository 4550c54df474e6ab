"""The command line: parse arguments, call the library, print. Nothing is decided here.

Exit codes: 0 done, 1 a gate failed (`check`), 2 wrong usage or an output that cannot be written, 3 an input could not
be read at all (the others are still reported), 130 interrupted. Errors are one line on standard error. Whatever takes
long to import is imported by the command that needs it, so that `--help` answers at once.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from tlspcap.commands import batch, check, compare, explain, extract, report, shared, table, trend
from tlspcap.workers import FEW_THREADS

COMMANDS = {
    "report": report, "table": table, "explain": explain, "compare": compare, "extract": extract, "batch": batch,
    "trend": trend, "check": check,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the arguments after the program's name; None takes those of the process.

    >>> main(["explain", "no-such-file.pcap"])
    3
    """
    arguments = _parser().parse_args(argv)
    os.environ.update({**FEW_THREADS, **os.environ})  # before numpy is loaded
    from tlspcap.errors import ArgumentError, CaptureError, TlspcapError

    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        shared.abandon_stdout()
        return shared.DONE
    except KeyboardInterrupt:
        return shared.INTERRUPTED
    except CaptureError as error:
        return shared.complain(error, shared.UNREADABLE)
    except (ArgumentError, TlspcapError) as error:
        return shared.complain(error, shared.USAGE)
    except OSError as error:  # inputs raise CaptureError, so this is an output
        return shared.complain(
            f"cannot write: {error.filename or 'output'}: {error.strerror}; try another place", shared.USAGE
        )
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tlspcap",
        description="Say of every TLS handshake in a packet capture whether it succeeded, who ended it and why, "
        "and how long each part took. Nothing is ever sent.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        purpose = command.PURPOSE
        one = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
        one.set_defaults(run=command.run)
        command.add_arguments(one)
    return parser


class _Version(argparse.Action):
    """Print the version; the package is imported only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from tlspcap import __version__

        shared.say(f"tlspcap {__version__}\n")
        parser.exit(shared.DONE)
