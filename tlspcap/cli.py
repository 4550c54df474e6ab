"""The command line: parse arguments, call the library, print. Nothing is decided here.

Exit codes: 0 done, 2 wrong usage or an output that cannot be written, 3 an input could not be read at all (the others
are still reported), 130 interrupted. Errors are one line on standard error. Whatever takes long to import is imported
by the command that needs it, so that `--help` answers at once.
"""

import argparse
import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tlspcap.capture import Capture

DONE, USAGE, UNREADABLE, INTERRUPTED = 0, 2, 3, 130
TABLES = (
    "handshakes", "records", "messages", "alerts", "certificates", "notes", "hellos", "certificate_requests",
)  # fmt: skip
FORMATS = ("csv", "jsonl", "parquet")
WIDEST = 100  # columns; longer lines are hard to read however wide the terminal
MOST_EXPLAINED = 5
ROWS = 10_000  # handshakes whose rows are in memory at once while a table is written


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Args:
        argv: the arguments after the program's name; None takes those of the process.

    >>> main(["explain", "no-such-file.pcap"])
    3
    """
    arguments = _parser().parse_args(argv)
    from tlspcap.errors import ArgumentError, CaptureError, TlspcapError

    try:
        code: int = arguments.run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        _abandon_stdout()
        return DONE
    except KeyboardInterrupt:
        return INTERRUPTED
    except CaptureError as error:
        return _complain(error, UNREADABLE)
    except (ArgumentError, TlspcapError) as error:
        return _complain(error, USAGE)
    except OSError as error:  # inputs raise CaptureError, so this is an output
        return _complain(f"cannot write: {error.filename or 'output'}: {error.strerror}; try another place", USAGE)
    return code


# -- arguments --------------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tlspcap",
        description="Say of every TLS handshake in a packet capture whether it succeeded, who ended it and why, "
        "and how long each part took. Nothing is ever sent.",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _report_arguments(_command(commands, "report", _report, "what failed, who ended it and why, and how long it took"))
    _table_arguments(_command(commands, "table", _table, "one table as CSV, JSON lines or Parquet"))
    _explain_arguments(_command(commands, "explain", _explain, "one handshake, step by step, in words"))
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], int],
    purpose: str,
) -> argparse.ArgumentParser:
    """Add a command with the arguments that all commands which read captures share."""
    parser = commands.add_parser(name, help=purpose, description=f"{purpose[0].upper()}{purpose[1:]}.")
    parser.set_defaults(run=run)
    parser.add_argument("files", nargs="+", metavar="FILE", help="capture, pattern or folder; - is standard input")
    parser.add_argument("--quiet", action="store_true", help="no progress bar, and no text where files are asked for")
    parser.add_argument(
        "--timeout",
        type=float,
        default=10.0,
        metavar="S",
        help="seconds of silence that count as no answer (%(default)g)",
    )
    parser.add_argument("--keylog", metavar="F", help="key log (SSLKEYLOGFILE): open what TLS seals of handshakes")
    parser.add_argument("--no-embedded-secrets", action="store_true", help="leave key logs inside of captures unused")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes to use (default: what pays)")
    choose = parser.add_argument_group("only handshakes that match")
    choose.add_argument("--host", metavar="IP", help="address of the client or the server")
    choose.add_argument("--port", type=int, metavar="N", help="port of the client or the server")
    choose.add_argument("--sni", metavar="NAME", help="name asked for; * and ? match as in file names")
    choose.add_argument("--since", metavar="TIME", help="from this time on, e.g. 2026-11-03T02:00 (UTC)")
    choose.add_argument("--until", metavar="TIME", help="before this time")
    return parser


def _report_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--by", default="version", metavar="COL[,COL]", help="columns to group by (%(default)s)")
    for kind, what in (("html", "one HTML file, figures inside"), ("json", "JSON"), ("md", "Markdown")):
        parser.add_argument(f"--{kind}", metavar="OUT", help=f"write the report as {what}; - is standard output")


def _table_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--table", choices=TABLES, default="handshakes", help="which table (%(default)s)")
    parser.add_argument("--format", choices=FORMATS, default="csv", help="(%(default)s)")
    parser.add_argument("-o", "--output", default="-", metavar="OUT", help="file to write (standard output)")


def _explain_arguments(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stream", type=int, metavar="N", help="Wireshark's number of the conversation (tcp.stream)")
    which.add_argument("--handshake", type=int, metavar="N", help="row number in the handshakes table")


# -- commands ---------------------------------------------------------------------------------------------------


def _report(arguments: argparse.Namespace) -> int:
    from tlspcap.report import build, saving

    capture, code = _read(arguments, None)
    by = [name.strip() for name in arguments.by.split(",") if name.strip()]
    tables = capture.tables
    report = build(tables, by, [file.name for file in capture.files])
    wanted = {kind: out for kind in ("html", "json", "md") if (out := getattr(arguments, kind)) is not None}
    for kind, out in wanted.items():
        text = saving.RENDERERS[f".{kind}"](report, tables)
        with _output(out) as file:
            file.write(text.encode())
    if "-" not in wanted.values() and not (arguments.quiet and wanted):
        from tlspcap.report import terminal

        width = min(shutil.get_terminal_size((80, 24)).columns, WIDEST)
        _say(terminal.render(report, width, colour=_wants_colour(), encoding=_encoding()))
    return code


def _table(arguments: argparse.Namespace) -> int:
    import tlspcap
    from tlspcap import export, schema, tables

    if arguments.format == "parquet" and arguments.output == "-" and sys.stdout.isatty():
        return _complain("Parquet is no text for a terminal; name a file with -o", USAGE)
    codes = [DONE]

    def frames() -> Iterator["pd.DataFrame"]:
        for capture in tlspcap.scan(arguments.files, ROWS, tables=[arguments.table], **_how(arguments)):
            yield getattr(capture, arguments.table)
            codes.append(_complain_of(capture))

    table = schema.TABLES[arguments.table]
    pieces = iter([tables.together(table, frames())]) if table.key else frames()
    first = next(pieces)  # what cannot be read at all leaves the output alone
    with _output(arguments.output) as file:
        export.write(chain([first], pieces), arguments.format, file)
    return max(codes)


def _explain(arguments: argparse.Namespace) -> int:
    from tlspcap.report.escape import encodable

    capture, code = _read(arguments, None)
    if arguments.handshake is not None:
        told = capture.explain(arguments.handshake)
    elif arguments.stream is not None:
        told = _explain_stream(capture, arguments.stream)
    else:
        told = _explain_failures(capture)
    _say(encodable(told, _encoding()))
    return code


def _explain_stream(capture: "Capture", stream: int) -> str:
    from tlspcap.errors import ArgumentError

    handshakes = capture.handshakes
    found = handshakes.index[handshakes["stream"] == stream]
    if not len(found):
        raise ArgumentError(f"stream {stream} holds no TLS handshake; `table` lists those that do")
    return "\n".join(capture.explain(int(number)) for number in found)


def _explain_failures(capture: "Capture") -> str:
    """Explain the first handshake of each way to fail, the most frequent first."""
    from tlspcap.report.causes import causes, failures_of, phrase

    kinds = causes(failures_of(capture.handshakes))
    if not kinds:
        return "No handshake failed. Choose one to explain with --stream or --handshake.\n"
    told = []
    for i, rows in enumerate(kinds[:MOST_EXPLAINED], start=1):
        told.append(f"{i} of {len(kinds)}: the first of {len(rows):,} with {phrase(rows)}\n")
        told.append(capture.explain(int(rows.index[0])))
    return "\n".join(told)


# -- input and output -------------------------------------------------------------------------------------------


def _read(arguments: argparse.Namespace, tables: list[str] | None) -> tuple["Capture", int]:
    """Read all files as one input; those that cannot be read are complained of and left out, if others can."""
    import tlspcap

    capture = tlspcap.read(arguments.files, tables=tables, **_how(arguments))
    return capture, _complain_of(capture)


def _how(arguments: argparse.Namespace) -> dict[str, Any]:
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


def _complain_of(capture: "Capture") -> int:
    """Complain of the captures that were left out; return the exit code."""
    for error in capture.unreadable:
        _complain(error, UNREADABLE)
    return UNREADABLE if capture.unreadable else DONE


@contextlib.contextmanager
def _output(name: str) -> Iterator[IO[bytes]]:
    """Open a file to write, or standard output for "-"."""
    if name == "-":
        yield sys.stdout.buffer
    else:
        with open(name, "wb") as file:
            yield file


def _say(text: str) -> None:
    """Print text that already fits the terminal's encoding."""
    sys.stdout.write(text)


def _complain(error: object, code: int) -> int:
    """Say what went wrong in one line, free of control characters, and return the exit code."""
    from tlspcap.report.escape import encodable, printable

    print(encodable(printable(f"tlspcap: {error}"), sys.stderr.encoding or "ascii"), file=sys.stderr)
    return code


def _encoding() -> str:
    return sys.stdout.encoding or "ascii"


def _wants_colour() -> bool:
    """Tell whether standard output is a terminal that shows colours and whose user wants them (no-color.org)."""
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def _abandon_stdout() -> None:
    """Point standard output nowhere, so that the interpreter's last flush does not complain of the closed pipe."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
