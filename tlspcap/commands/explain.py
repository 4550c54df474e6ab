"""The `explain` command: one handshake, step by step, in words."""

import argparse
from typing import TYPE_CHECKING

from tlspcap.commands import shared

if TYPE_CHECKING:
    from tlspcap.capture import Capture

PURPOSE = "one handshake, step by step, in words"

MOST_EXPLAINED = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    shared.files_argument(parser)
    shared.reading_arguments(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--stream", type=int, metavar="N", help="Wireshark's number of the conversation (tcp.stream)")
    which.add_argument("--handshake", type=int, metavar="N", help="row number in the handshakes table")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from tlspcap.escape import encodable

    capture, code = shared.read(arguments, None)
    if arguments.handshake is not None:
        told = capture.explain(arguments.handshake)
    elif arguments.stream is not None:
        told = _explain_stream(capture, arguments.stream)
    else:
        told = _explain_failures(capture)
    shared.say(encodable(told, shared.encoding()))
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
    from tlspcap.findings.evidence import phrase
    from tlspcap.report.causes import causes, failures_of

    kinds = causes(failures_of(capture.handshakes))
    if not kinds:
        return "No handshake failed. Choose one to explain with --stream or --handshake.\n"
    told = []
    for i, rows in enumerate(kinds[:MOST_EXPLAINED], start=1):
        told.append(f"{i} of {len(kinds)}: the first of {len(rows):,} with {phrase(rows)}\n")
        told.append(capture.explain(int(rows.index[0])))
    return "\n".join(told)
