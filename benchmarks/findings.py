"""Show what findings and contrasts cost once a capture is read.

    python benchmarks/findings.py CAPTURE [--times N]

Prints the CPU time of each, the least of N runs, in seconds, and on how many handshakes. Reading is not in it.
"""

import argparse
import gc
import time
from collections.abc import Callable

import tlspcap
from tlspcap import findings


def least(run: Callable[[], object], times: int) -> float:
    """CPU seconds of the fastest of some runs."""
    best = float("inf")
    for _ in range(times):
        gc.collect()
        before = time.process_time()
        run()
        best = min(best, time.process_time() - before)
    return best


def measure(capture: str, times: int) -> None:
    """Read the capture, and print what each step costs beyond that."""
    read = tlspcap.read(capture, progress=False)
    steps = {
        "findings": lambda: findings.table(findings.find(read.tables)),
        "contrast of failures": lambda: tlspcap.contrast(read.handshakes),
        "contrast of slow ones": lambda: tlspcap.contrast(read.handshakes, "slow"),
    }
    failed = int((read.handshakes["outcome"] == "failed").sum())
    print(f"{len(read.handshakes):,} handshakes, {failed:,} failed, {len(read.findings)} findings")
    for name, run in steps.items():
        print(f"{name:22} {least(run, times):6.2f} s")


def main() -> None:
    """Parse the arguments, and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("capture")
    parser.add_argument("--times", type=int, default=5, metavar="N", help="runs of each step (%(default)s)")
    arguments = parser.parse_args()
    measure(arguments.capture, arguments.times)


if __name__ == "__main__":
    main()
