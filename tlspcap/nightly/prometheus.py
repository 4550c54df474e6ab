"""The last night as a file for the textfile collector of Prometheus' node exporter.

The text format (prometheus.io/docs/instrumenting/exposition_formats) as the collector takes it: no time stamps of
samples, each metric once with its help and type. A file that is not written any more keeps its last values, so when it
was written, and when the night ended, are metrics too: an alert on their age finds a job that stopped.
"""

import contextlib
import os
import time
from collections import Counter
from pathlib import Path

import pandas as pd

from tlspcap.nightly.check import MEASURES, Breach, night_end

GAUGES = (
    ("handshakes", "n", "TLS handshakes of the night"),
    ("handshakes_established", "established", "Established ones of them"),
    ("handshakes_failed", "failed", "Failed ones of them"),
    ("handshakes_unknown", "unknown", "Those of them of which the capture does not tell"),
    ("clients", "clients", "Distinct client addresses"),
    ("failure_ratio", "failure_ratio", "Failed by failed and established"),
    ("handshake_p50_ms", "p50", "Median duration of established handshakes in ms"),
    ("handshake_p95_ms", "p95", "95 % of established handshakes are done within, in ms"),
)


def text(night: pd.DataFrame, date: str, breaches: list[Breach], now: float | None = None) -> str:
    """Write a night in the text format.

    Args:
        night: its rows, one per server (see `nights.summary`).
        date: of the night.
        breaches: what `check` found.
        now: seconds since 1970; the present without.

    Example:
        >>> lines = text(pd.DataFrame(columns=["server", *(column for _, column, _ in GAUGES)]), "2026-11-03", [], 0.0)
        >>> [line for line in lines.splitlines() if line.startswith("tlspcap_night_end")]
        ['tlspcap_night_end_timestamp_seconds 1793750400']
    """
    lines: list[str] = []
    for name, column, meaning in GAUGES:
        rows = night[night[column].notna()]
        values = {_labels(server=row["server"]): row[column] for row in rows.to_dict("records")}
        lines += _metric(name, meaning, values)
    counts = Counter(breach.measure for breach in breaches)
    lines += _metric("breaches", "What check found by measure", {_labels(measure=m): counts[m] for m in MEASURES})
    lines += _metric("night_end_timestamp_seconds", "When the night that was judged ended", {"": night_end(date)})
    moment = time.time() if now is None else now
    lines += _metric("check_timestamp_seconds", "When check wrote this", {"": round(moment)})
    return "\n".join(lines) + "\n"


def write(path: str | Path, content: str) -> None:
    """Put a file in its place at once: the collector sees the whole old one or the whole new one.

    Until then it has a name that the collector, which reads `*.prom`, leaves alone.
    """
    waiting = f"{path}.{os.getpid()}"
    try:
        with open(waiting, "w", encoding="utf-8") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(waiting, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(waiting)
        raise


def _metric(name: str, meaning: str, values: dict[str, float]) -> list[str]:
    full = f"tlspcap_{name}"
    samples = [f"{full}{labels} {_number(value)}" for labels, value in values.items()]
    return [f"# HELP {full} {meaning}", f"# TYPE {full} gauge", *samples]


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _labels(**labels: object) -> str:
    return "{" + ",".join(f'{name}="{_escaped(str(value))}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
