"""The `explain` command: the findings in full, or one handshake step by step, in words."""

import argparse
from typing import TYPE_CHECKING

from tlspcap.commands import shared

if TYPE_CHECKING:
    from tlspcap.capture import Capture

PURPOSE = "what is wrong and what to change, or one handshake step by step, in words"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `explain`."""
    shared.files_argument(parser)
    shared.reading_arguments(parser)
    shared.ca_argument(parser)
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
        told = _explain_findings(capture, arguments.ca)
    shared.say(encodable(told, shared.encoding()))
    return code


def _explain_stream(capture: "Capture", stream: int) -> str:
    from tlspcap.errors import ArgumentError

    handshakes = capture.handshakes
    found = handshakes.index[handshakes["stream"] == stream]
    if not len(found):
        raise ArgumentError(f"stream {stream} holds no TLS handshake; `table` lists those that do")
    return "\n".join(capture.explain(int(number)) for number in found)


def _explain_findings(capture: "Capture", ca: str | None) -> str:
    """Tell the findings in full, then the first handshake that failed by the first of them."""
    from tlspcap import findings
    from tlspcap.report import diagnosis

    found = findings.find(capture.tables, ca)
    if not found:
        return "Nothing was found to be wrong. Choose a handshake to explain with --stream or --handshake.\n"
    told = diagnosis.in_full(found)
    if not found[0].handshakes:
        return told
    ids = capture.handshakes["id"]
    number = int(ids.index[ids == found[0].handshakes[0]][0])
    return f"{told}\nThe first handshake of finding 1, step by step:\n\n{capture.explain(number)}"
