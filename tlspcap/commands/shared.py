"""What the commands share: exit codes, arguments of all that read captures, input, output and complaints."""

import argparse
import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

from tlspcap.workers import processes, started_ahead

if TYPE_CHECKING:
    from tlspcap.capture import Capture

DONE, USAGE, UNREADABLE, INTERRUPTED = 0, 2, 3, 130


def files_argument(parser: argparse.ArgumentParser) -> None:
    """Add the names of the captures that are one input."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="capture, pattern or folder; - is standard input")


def reading_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what every command that reads captures lets choose: how they are read, and which handshakes count."""
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and no text where files are asked for")
    silence = "seconds of silence that count as no answer (%(default)g)"
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help=silence)
    parser.add_argument("--keylog", metavar="F", help="key log (SSLKEYLOGFILE): open what TLS seals of handshakes")
    parser.add_argument("--no-embedded-secrets", action="store_true", help="leave key logs inside of captures unused")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes to use (default: what pays)")
    choose = parser.add_argument_group("only handshakes that match")
    choose.add_argument("--host", metavar="IP", help="address of the client or the server")
    choose.add_argument("--port", type=int, metavar="N", help="port of the client or the server")
    choose.add_argument("--sni", metavar="NAME", help="name asked for; * and ? match as in file names")
    choose.add_argument("--since", metavar="TIME", help="from this time on, e.g. 2026-11-03T02:00 (UTC)")
    choose.add_argument("--until", metavar="TIME", help="before this time")


def ca_argument(parser: argparse.ArgumentParser) -> None:
    """Add the trusted roots that chains are verified against."""
    told = "verify the servers' chains, at capture time, against these roots (PEM or DER; system: this machine's)"
    parser.add_argument("--ca", metavar="FILE", help=told)


def read(arguments: argparse.Namespace, tables: list[str] | None) -> tuple["Capture", int]:
    """Read all files as one input; those that cannot be read are complained of and left out, if others can."""
    import tlspcap

    with started_ahead(processes(arguments.files, arguments.jobs) - 1):
        capture = tlspcap.read(arguments.files, tables=tables, **how(arguments))
    return capture, complain_of(capture.unreadable)


def how(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that `read` and `scan` share."""
    import tlspcap

    select = tlspcap.Selection(
        host=arguments.host, port=arguments.port, sni=arguments.sni, since=arguments.since, until=arguments.until
    )
    progress = False if arguments.quiet else None  # None: where standard error is a terminal
    return {
        "keylog": arguments.keylog,
        "embedded_secrets": not arguments.no_embedded_secrets,
        "timeout": arguments.timeout,
        "select": select,
        "jobs": arguments.jobs,
        "skip_unreadable": True,
        "progress": progress,
    }


def complain_of(unreadable: Iterable[Exception]) -> int:
    """Complain of the captures that were left out; return the exit code."""
    code = DONE
    for error in unreadable:
        code = complain(error, UNREADABLE)
    return code


@contextlib.contextmanager
def output(name: str) -> Iterator[IO[bytes]]:
    """Open a file to write, or standard output for "-"."""
    if name == "-":
        yield sys.stdout.buffer
    else:
        with open(name, "wb") as file:
            yield file


def say(text: str) -> None:
    """Print text that already fits the terminal's encoding."""
    sys.stdout.write(text)


def complain(error: object, code: int) -> int:
    """Say what went wrong in one line, free of control characters, and return the exit code."""
    from tlspcap.escape import encodable, printable

    print(encodable(printable(f"tlspcap: {error}"), sys.stderr.encoding or "ascii"), file=sys.stderr)
    return code


def encoding() -> str:
    """Name the encoding of standard output."""
    return sys.stdout.encoding or "ascii"


def wants_colour() -> bool:
    """Tell whether standard output is a terminal that shows colours and whose user wants them (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def abandon_stdout() -> None:
    """Point standard output nowhere, so that the interpreter's last flush does not complain of the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
