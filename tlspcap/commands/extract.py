"""The `extract` command: the packets of chosen handshakes as a capture of their own."""

import argparse
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING

from tlspcap.commands import shared

if TYPE_CHECKING:
    import pandas as pd

PURPOSE = "the packets of chosen handshakes, as a capture"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `extract`."""
    shared.files_argument(parser)
    shared.reading_arguments(parser)
    which = parser.add_argument_group("which handshakes; with several of these, those that fit all")
    which.add_argument("--failed", action="store_true", help="those that failed")
    which.add_argument("--stream", type=int, metavar="N", help="Wireshark's number of the conversation (tcp.stream)")
    which.add_argument("--server", metavar="ADDR[:PORT]", help="those with this server")
    which.add_argument("--finding", metavar="ID", help="those of a finding, by its name, as the report gives it")
    which.add_argument("--handshake", type=int, metavar="N", help="row number in the handshakes table")
    anonymous = "replace addresses and names by others, and blank what is said"
    parser.add_argument("--anonymize", action="store_true", help=anonymous)
    parser.add_argument("-o", "--output", default="-", metavar="OUT", help="file to write (standard output)")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    import tlspcap
    from tlspcap.errors import ArgumentError

    if "-" in arguments.files:
        raise ArgumentError("extract reads its input twice, and standard input comes once: save it to a file first")
    if arguments.output == "-" and sys.stdout.isatty():
        raise ArgumentError("a capture is no text for a terminal; name a file with -o")
    capture, code = shared.read(arguments, ["handshakes"] if arguments.finding is None else None)
    rows = _chosen(capture.handshakes, arguments)
    if arguments.finding is not None:
        rows = rows[rows["id"].isin(_found(capture.findings, arguments.finding))]
    if rows.empty:
        shared.complain("no handshake fits; nothing was written", code)
        return code
    output = sys.stdout.buffer if arguments.output == "-" else arguments.output
    done = tlspcap.extract(
        arguments.files, handshakes=rows, output=output, anonymize=arguments.anonymize, skip_unreadable=True
    )
    if arguments.output != "-" and not arguments.quiet:
        shared.say(f"{arguments.output}: {done}\n")
    return code


def _chosen(rows: "pd.DataFrame", arguments: argparse.Namespace) -> "pd.DataFrame":
    """Return the rows that fit everything that was asked for."""
    from tlspcap.errors import ArgumentError

    asked = (arguments.stream, arguments.server, arguments.finding, arguments.handshake)
    if not arguments.failed and all(value is None for value in asked):
        raise ArgumentError("say which handshakes: --failed, --stream, --server, --finding or --handshake")
    if arguments.failed:
        rows = rows[rows["outcome"] == "failed"]
    if arguments.stream is not None:
        rows = rows[rows["stream"] == arguments.stream]
    if arguments.server is not None:
        address, port = _server(arguments.server)
        rows = rows[(rows["server_ip"] == address) & ((rows["server_port"] == port) | (port == 0))]
    if arguments.handshake is not None:
        rows = rows[rows.index == arguments.handshake]
    return rows


def _found(findings: "pd.DataFrame", name: str) -> list[str]:
    """Return the ids of the handshakes of the findings that a rule made."""
    from tlspcap.errors import ArgumentError

    mine = findings[findings["id"] == name]
    if mine.empty:
        there = ", ".join(findings["id"].drop_duplicates()) or "none at all"
        raise ArgumentError(f"finding: there is none called {name!r} here; there is: {there}")
    return [one for ids in mine["handshakes"] for one in ids]


def _server(text: str) -> tuple[str, int]:
    """Read ADDR, ADDR:PORT or [ADDR]:PORT; port 0 stands for any."""
    from tlspcap.errors import ArgumentError

    host, port = text, ""
    if text.startswith("[") or text.count(":") == 1:
        host, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "")
    try:
        return str(ip_address(host.strip("[]"))), int(port or 0)
    except ValueError:
        hint = "give an IP address, with a port as in 192.0.2.1:443 or [2001:db8::1]:443"
        raise ArgumentError(f"server: {text!r} is no address; {hint}") from None
