"""How numbers and the words of a verdict are said to people: the same in every report and in `explain`."""

import math

import pandas as pd

from tlspcap.escape import clip, printable
from tlspcap.tls.verdict import Completeness, Mechanism, Party, Phase

TIMES = "×"  # noqa: RUF001 - a multiplication sign
UNKNOWN = "–"  # noqa: RUF001 - a dash stands where there is no value, or too few to carry one
NOT_SEEN = "(not seen)"  # a group of rows that lack the value

STEPS = {
    Phase.CLIENT_HELLO: "after the ClientHello",
    Phase.SERVER_HELLO: "after the ServerHello",
    Phase.SERVER_CERTIFICATE: "at the server's certificate",
    Phase.KEY_EXCHANGE: "in the key exchange",
    Phase.CLIENT_AUTH: "at client authentication",
    Phase.FINISHED: "at the Finished",
}
LACKS = {
    Completeness.COMPLETE: "nothing is missing",
    Completeness.GAP: "packets inside the handshake are missing",
    Completeness.ONE_SIDED: "only one direction was captured",
    Completeness.MID_STREAM: "the capture began after the connection",
    Completeness.CUT_OFF: "the capture ended before the handshake did",
    Completeness.SNAPLEN: "packets were cut short when they were captured",
}
# What is said of each way to fail, before and after the name of who did it.
_DEEDS = {
    Mechanism.ALERT: ("an alert", "sent by"),
    Mechanism.HIDDEN_ALERT: ("encrypted alert", "sent by"),
    Mechanism.RESET: ("connection reset", "by"),
    Mechanism.CLOSE: ("connection closed", "by"),
    Mechanism.TIMEOUT: ("no answer", "from"),
    Mechanism.NOT_TLS: ("an answer that is not TLS", "from"),
    Mechanism.VIOLATION: ("bytes that are no TLS record", "sent by"),
}


def missing(value: object) -> bool:
    """Tell whether a table's cell holds no value (None, NaN, NA, NaT)."""
    return value is None or bool(pd.isna(value))  # type: ignore[call-overload]


def wire(value: object, limit: int = 80) -> str:
    """Text that came from the wire or a file name: visible characters only, and not too long."""
    return UNKNOWN if missing(value) else clip(printable(str(value)), limit)


def percent(ratio: float | None, sign: bool = True) -> str:
    """Say a ratio in percent; never 0 or 100 unless it is exactly that.

    >>> [percent(r) for r in (0, 0.0004, 0.034, 0.3, 0.9999, 1)]
    ['0 %', '<0.1 %', '3.4 %', '30 %', '>99.9 %', '100 %']
    """
    if ratio is None or math.isnan(ratio):
        return UNKNOWN
    hundred = ratio * 100
    if 0 < hundred < 0.1:
        text = "<0.1"
    elif 99.9 < hundred < 100:
        text = ">99.9"
    elif 0 < hundred < 9.95 or 99.5 <= hundred < 100:
        text = f"{hundred:.1f}"
    else:
        text = f"{hundred:.0f}"
    return f"{text} %" if sign else text


def interval(low: float | None, high: float | None) -> str:
    """Say an interval of a ratio in percent.

    >>> interval(0.1078, 0.6032)
    '11 to 60 %'
    """
    if low is None or math.isnan(low) or high is None or math.isnan(high):
        return UNKNOWN
    return f"{percent(low, sign=False)} to {percent(high)}"


def points(low: float | None, high: float | None) -> str:
    """Say an interval of a difference of ratios, in percentage points.

    >>> points(-0.0376, 0.6032)
    '-4 to +60 points'
    """
    if low is None or math.isnan(low) or high is None or math.isnan(high):
        return UNKNOWN
    return f"{_signed(low)} to {_signed(high)} points"


def _signed(share: float) -> str:
    """Say a share in points with its sign, small ones with a digit behind the point."""
    return f"{100 * share:+.0f}" if abs(share) >= 0.0095 or not share else f"{100 * share:+.1f}"


def chance(p: float, name: bool = True) -> str:
    """Say a p-value with two digits; below a ten-thousandth only that it is.

    >>> chance(0.2105), chance(0.0312, name=False), chance(1e-9)
    ('p = 0.21', '0.031', 'p < 0.0001')
    """
    if p < 0.0001:
        return f"{'p ' if name else ''}< 0.0001"
    return f"{'p = ' if name else ''}{p:.2g}"


def milliseconds(value: float | None) -> str:
    """Say a duration with about three digits.

    >>> [milliseconds(v) for v in (0.0123, 1.234, 56.78, 1234.5, float("nan"))]
    ['0.012', '1.23', '56.8', '1,234', '–']
    """
    if value is None or math.isnan(value):
        return UNKNOWN
    size = abs(value)
    digits = 3 if size < 0.1 else 2 if size < 10 else 1 if size < 100 else 0
    return f"{value:,.{digits}f}"


def moment(iso: str) -> str:
    """Say a date and time in UTC (hence the Z), to the second.

    >>> moment("2026-11-03T02:00:00.123456789+00:00")
    '2026-11-03 02:00:00Z'
    """
    return f"{iso[:10]} {iso[11:19]}Z"


def span(seconds: float) -> str:
    """Say how long something lasted.

    >>> [span(s) for s in (0.25, 12.3, 754, 86400)]
    ['0.25 s', '12.3 s', '12 min 34 s', '24 h 0 min']
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def count(number: int, noun: str, plural: str = "") -> str:
    """Say a number of things.

    >>> count(1, "client"), count(20000, "handshake"), count(2, "entry", "entries")
    ('1 client', '20,000 handshakes', '2 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def address(ip: object, port: object) -> str:
    """Say an address and port; IPv6 in brackets.

    >>> address("203.0.113.10", 443), address("2001:db8::1", 443)
    ('203.0.113.10:443', '[2001:db8::1]:443')
    """
    host = wire(ip)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listed(names: list[str], limit: int = 3) -> str:
    """Say the first few of many names.

    >>> listed(["a", "b", "c", "d", "e"], 2)
    'a, b and 3 more'
    """
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit:,} more"


def what_happened(mechanism: object, alert: object, code: object, certainty: object) -> str:
    """Name the alert, or the other way in which a handshake ended; what is inferred is said to be.

    >>> what_happened("alert", "internal_error", 80, "certain")
    'internal_error (80)'
    >>> what_happened("hidden_alert", None, None, "probable")
    'encrypted alert (probable)'
    """
    if not missing(alert):
        what = f"{wire(alert)} ({code})"
    else:
        what = "an ending that is not known" if missing(mechanism) else _DEEDS[Mechanism(str(mechanism))][0]
    return f"{what} (probable)" if certainty == "probable" else what


def who_did_it(mechanism: object, side: object, clients: str, servers: str) -> str:
    """Name who ended it; `clients` and `servers` are already in words ("client 10.0.0.5", "3 servers")."""
    if side == Party.NETWORK:
        return f"lost between the {clients} and the {servers}"
    verb = "by" if missing(mechanism) else _DEEDS[Mechanism(str(mechanism))][1]
    if side == Party.SERVER:
        return f"{verb} the {servers}"
    if side == Party.CLIENT:
        return f"{verb} the {clients} {'to' if verb == 'sent by' else 'of'} the {servers}"
    return f"between the {clients} and the {servers}"


def step(phase: object) -> str:
    """Say at which step of the handshake it happened."""
    return "at a step that is not known" if missing(phase) else STEPS[Phase(str(phase))]
