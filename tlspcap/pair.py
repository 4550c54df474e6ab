"""Two inputs side by side: captures, paths or handshakes tables, read where they need to be, and compared."""

from collections.abc import Iterable
from typing import Any

import pandas as pd

from tlspcap.capture import Capture, read
from tlspcap.report.comparison import Comparison, compared
from tlspcap.report.paths import Paths, told
from tlspcap.wire.files import CaptureInput

Input = Capture | pd.DataFrame | CaptureInput | Iterable[CaptureInput]


def compare(before: Input, after: Input, **how: Any) -> Comparison:
    """Compare two captures: failures and durations with the evidence that it is no chance, and what is new or gone.

    Ratios are compared by Fisher's exact test and Newcombe's interval, medians by the bootstrap (seeded: two runs give
    one result), over all handshakes and by version and server that both captures have. Handshakes are taken to be
    independent.

    Args:
        before: a Capture, what `read` takes, or a handshakes table.
        after: the one to compare it with.
        **how: arguments of `read`, for what has to be read.

    Returns:
        A Comparison: `sentences`, `tables` (failures, latency, changes), `plot()` and `report(path)`.

    Raises:
        CaptureError: an input could not be read at all.
        ArgumentError: an argument makes no sense, or a table lacks a column that this needs.

    Example:
        >>> import tlspcap
        >>> found = tlspcap.compare(
        ...     "sample_captures/intermittent-alert.pcap", "sample_captures/intermittent-alert-after.pcap"
        ... )
        >>> found.sentences[-1]
        'Gone: client stack t12d150700_d68b136fe8d9_e7e480e5a997 (3 of 10 failed); version TLS 1.2 (3 of 10 failed);
        cipher TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384; certificate ...; alert internal_error (3 of 3 failed).'
    """
    (first, first_name), (second, second_name) = _handshakes(before, "before", how), _handshakes(after, "after", how)
    return compared(first, second, (first_name, second_name))


def paths(first: Input, second: Input, **how: Any) -> Paths:
    """Join two captures of one path, such as both sides of a load balancer: what became of handshakes in between.

    They are joined by client random, so that other addresses behind NAT or a load balancer do no harm. A device that
    ends TLS makes handshakes of its own, of which none is found on the other side.

    Args:
        first: a Capture, what `read` takes, or a handshakes table.
        second: the same path, captured elsewhere at the same time.
        **how: arguments of `read`, for what has to be read.

    Returns:
        Paths: `sentences`, and `table` with a row per handshake, whose columns `tlspcap.both_ends.joined` describes:
        seen where, altered in what, ended by whom, and the times between the two points. The difference of the two
        clocks is not known; what is said of times says whether it is in it.

    Raises:
        CaptureError: an input could not be read at all.
        ArgumentError: an argument makes no sense, or a table lacks a column that this needs.

    Example:
        >>> import tlspcap
        >>> name = "sample_captures/old-app.pcap"
        >>> tlspcap.paths(name, name).sentences[0]
        '39 handshakes seen at both points, none at one only.'
    """
    (one, one_name), (other, other_name) = _handshakes(first, "first", how), _handshakes(second, "second", how)
    return told(one, other, (one_name, other_name))


def _handshakes(source: Input, name: str, how: dict[str, Any]) -> tuple[pd.DataFrame, str]:
    """Give the handshakes of an input, and what to call it."""
    if isinstance(source, pd.DataFrame):
        return source, name
    capture = source if isinstance(source, Capture) else read(source, **{"tables": ["handshakes"], **how})
    files = [file.name for file in capture.files]
    return capture.handshakes, files[0] if len(files) == 1 else f"{name} ({len(files):,} files)"
