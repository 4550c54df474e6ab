"""The `check` command: a gate for cron over the last night of a store."""

import argparse

from tlspcap.commands import shared

PURPOSE = "judge the last night of a store: a gate for cron"

GATE_FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `check`."""
    parser.add_argument("--store", required=True, metavar="DIR", help="folder of the store")
    parser.add_argument("--date", metavar="DATE", help="the night (UTC date) to judge (default: the last one)")
    parser.add_argument("--server", metavar="ADDR[:PORT]", help="only this server")
    parser.add_argument("--max-failure-ratio", type=float, metavar="R", help="of any server, 0 to 1")
    parser.add_argument("--max-p95-ms", type=float, metavar="MS", help="within which 95 %% of handshakes must be done")
    parser.add_argument("--min-certificate-days", type=float, metavar="N", help="that leaves must still be valid")
    parser.add_argument("--min-handshakes", type=int, default=20, metavar="N", help="of a server, to judge it "
                        "(%(default)s)")  # fmt: skip
    parser.add_argument("--regression", action="store_true", help="compare with the four weeks before")
    parser.add_argument("--max-age-days", type=float, metavar="N", help="since the last night ended: finds that "
                        "captures or batch stopped")  # fmt: skip
    parser.add_argument("--prometheus", metavar="FILE", help="write the night for the textfile collector")


def run(arguments: argparse.Namespace) -> int:
    """Run the command; return the exit code: 1 where a limit was not kept."""
    import tlspcap
    from tlspcap.escape import encodable, printable
    from tlspcap.nightly import prometheus
    from tlspcap.nightly.check import Limits, check
    from tlspcap.nightly.nights import nights

    store = tlspcap.open_store(arguments.store).select(server=arguments.server, until=arguments.date)
    limits = Limits(arguments.max_failure_ratio, arguments.max_p95_ms, arguments.min_certificate_days,
                    arguments.min_handshakes, arguments.regression, arguments.max_age_days)  # fmt: skip
    breaches = check(store, limits, arguments.date)
    for breach in breaches:
        shared.say(encodable(printable(breach.sentence), shared.encoding()) + "\n")
    if arguments.prometheus:
        date = store.dates[-1]
        prometheus.write(arguments.prometheus, prometheus.text(nights(store, dates=[date]), date, breaches))
    return GATE_FAILED if breaches else shared.DONE
