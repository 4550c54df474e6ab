"""The `batch` command: every new capture of some folders into the nightly store."""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tlspcap.commands import shared

if TYPE_CHECKING:
    from tlspcap.nightly.runner import Summary, Tell

PURPOSE = "every new capture into a store, night after night"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `batch`."""
    parser.add_argument("places", nargs="+", metavar="DIR", help="folder with captures, gone through to the bottom; "
                        "also s3://BUCKET/PATH and the like")  # fmt: skip
    parser.add_argument("--store", required=True, metavar="DIR", help="folder of the store; made if it is not there")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes to use (default: as many as cores); with "
                        "--scheduler, of each worker for one unit of work (default: 1)")  # fmt: skip
    parser.add_argument("--scheduler", metavar="ADDR", help="have the workers of a Dask cluster do it: tcp://HOST:8786")
    parser.add_argument("--since", metavar="DATE", help="leave captures alone that begin before (UTC)")
    parser.add_argument("--move-done", metavar="DIR", help="move captures there once their rows are in the store")
    parser.add_argument("--json", metavar="OUT", help="write what was done as JSON; - is standard output")
    parser.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds of silence that count as "
                        "no answer (%(default)g)")  # fmt: skip
    parser.add_argument("--keylog", metavar="F", help="key log (SSLKEYLOGFILE): open what TLS seals of handshakes")
    parser.add_argument("--no-embedded-secrets", action="store_true", help="leave key logs inside of captures unused")
    parser.add_argument("--quiet", action="store_true", help="say nothing but what went wrong")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code."""
    from tlspcap.nightly.runner import batch
    from tlspcap.nightly.work import Settings

    settings = Settings(
        timeout=arguments.timeout, keylog=arguments.keylog, embedded_secrets=not arguments.no_embedded_secrets
    )
    with _progress(arguments.quiet) as tell:
        done = batch(
            arguments.places, arguments.store, jobs=arguments.jobs, since=_nanoseconds(arguments.since),
            move_done=arguments.move_done, settings=settings, tell=tell, scheduler=arguments.scheduler,
        )  # fmt: skip
    for name, why in (done.unreadable | done.failed).items():
        shared.complain(why if why.startswith(name) else f"{name}: {why}", shared.UNREADABLE)
    if arguments.json:
        with shared.output(arguments.json) as out:
            out.write((json.dumps(done.as_dict(), indent=2) + "\n").encode())
    if not arguments.quiet and arguments.json != "-":
        shared.say(_sentence(done))
    return shared.DONE if done.is_whole else shared.UNREADABLE


def _sentence(done: "Summary") -> str:
    rate = f" ({done.bytes / 1e6 / done.seconds:,.1f} MB/s)" if done.bytes and done.seconds else ""
    parts = [f"{done.captures:,} new captures, {done.bytes / 1e6:,.1f} MB in {done.seconds:,.1f} s{rate}",
             f"{done.handshakes:,} handshakes", f"{done.known:,} captures were in the store already"]  # fmt: skip
    parts += [f"{done.waiting:,} of them wait for the capture that goes on"] if done.waiting else []
    parts += [f"{len(done.unreadable):,} cannot be read"] if done.unreadable else []
    parts += [f"{len(done.failed):,} failed and will be tried again"] if done.failed else []
    parts += [f"{done.moved:,} moved"] if done.moved else []
    return "; ".join(parts) + "\n"


def _nanoseconds(date: str | None) -> int | None:
    import pandas as pd

    from tlspcap.errors import ArgumentError

    if date is None:
        return None
    try:
        stamp = pd.Timestamp(date)
        return int((stamp.tz_localize("UTC") if stamp.tzinfo is None else stamp).as_unit("ns").value)
    except (ValueError, TypeError):
        raise ArgumentError(f"since: {date!r} is no date; try 2026-11-03") from None


@contextmanager
def _progress(quiet: bool) -> Iterator["Tell | None"]:
    """Show files, bytes, rate and time left on standard error, where that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
               TimeRemainingColumn())  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def tell(done: "Summary", count: int) -> None:
            bar.update(task, total=done.total, advance=count, description=f"{done.captures:,} files")

        yield tell
