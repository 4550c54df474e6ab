"""python -m fuzz TARGET [libFuzzer options and files]: fuzz one target, or run the inputs given through it.

Without a target, name them all.
"""

import importlib
import operator
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from fuzz.target import TARGETS

FOLDER = Path(".fuzz")  # inputs that reach new code, kept for the next time; and those that broke a promise
LIMITS = ("-timeout=10", "-rss_limit_mb=1024")  # seconds for one input; memory for all


def main() -> None:
    """Fuzz the target that the command line names."""
    name, *options = sys.argv[1:] or [""]
    if name in TARGETS:
        fuzz(name, options)
    elif name:
        sys.exit(f"no target {name}; there are {', '.join(TARGETS)}")
    print(*TARGETS, sep="\n")


def fuzz(name: str, options: list[str]) -> None:
    """Fuzz one target until libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["tlspcap"]):
        target = importlib.import_module(f"fuzz.{name}")
    FOLDER.mkdir(exist_ok=True)
    given = any(Path(option).exists() for option in options)
    corpus = [] if given else [str(_corpus(name, target.seeds()))]
    limits = [*LIMITS, f"-max_len={target.LONGEST}", f"-artifact_prefix={FOLDER}/{name}-"]
    atheris.Setup([sys.argv[0], *limits, *options, *corpus], _first(_trace_plain_values_only, target.check))
    atheris.Fuzz()


def _first(prepare: Callable[[], None], check: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Make ready at the first input: `atheris.Fuzz` takes its own tracers into use when it begins."""
    waiting = [prepare]

    def checked(data: bytes) -> None:
        if waiting:
            waiting.pop()()
        check(data)

    return checked


def _trace_plain_values_only() -> None:
    """Keep the comparison of arrays from the fuzzer, which learns nothing of it and leaks the result (3.0.0)."""
    import atheris

    trace, plain = atheris._trace_cmp, (int, bytes, str)
    compare = (operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge)  # as dis.cmp_op

    def traced(left: object, right: object, operation: int, *where: object) -> object:
        if isinstance(left, plain) and isinstance(right, plain):
            return trace(left, right, operation, *where)
        return compare[operation](left, right)

    atheris._trace_cmp = traced


def _corpus(name: str, seeds: list[bytes]) -> Path:
    """Write the seeds where libFuzzer keeps what it finds worth keeping."""
    folder = FOLDER / name
    folder.mkdir(exist_ok=True)
    for seed in seeds:
        (folder / sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return folder


main()
