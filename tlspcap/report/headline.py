"""The first sentence of a report: what is most worth knowing, true, with its base, and where to look."""

import pandas as pd

from tlspcap import words
from tlspcap.failures import failure_ratio
from tlspcap.findings.evidence import phrase
from tlspcap.report import causes
from tlspcap.report.model import Mood, Sentence
from tlspcap.tls.verdict import Completeness

NOTHING_FOUND = ("no_tls", "tls_without_hello")  # kinds of notes that say what was there instead of handshakes
MOST_GROUPS = 3  # with more groups than this the sentence gives the total and names the worst


def headline(handshakes: pd.DataFrame, by: list[str], notes: pd.DataFrame | None = None) -> Sentence:
    """Say in one sentence whether handshakes failed, how many of how many, with what and by whose hand."""
    if handshakes.empty:
        return _nothing(notes)
    failed = causes.failures_of(handshakes)
    unknown = int((handshakes["outcome"] == "unknown").sum())
    known = len(handshakes) - unknown
    if not known:
        return _undecided(handshakes)
    if failed.empty:
        return _all_well(handshakes, known, unknown)
    ratios = failure_ratio(handshakes, by=by)
    who = _each_group(ratios) if len(ratios) <= MOST_GROUPS else _total_and_worst(handshakes, ratios)
    more = f"; {unknown:,} more with unknown outcome" if unknown else ""
    return Sentence(f"{who}; {_main_cause(failed, handshakes['capture'].nunique() > 1)}{more}.", Mood.BAD)


def group_name(key: object) -> str:
    """Name a group by its value or values."""
    values = key if isinstance(key, tuple) else (key,)
    return ", ".join(words.NOT_SEEN if words.missing(value) else words.wire(value, 40) for value in values)


def _nothing(notes: pd.DataFrame | None) -> Sentence:
    """Say that there was nothing, and what was there instead."""
    found = [] if notes is None else notes.loc[notes["kind"].isin(NOTHING_FOUND), "detail"].to_list()
    details = tuple(words.wire(detail, 300).removeprefix("no TLS handshake found; ") for detail in found)
    return Sentence("No TLS handshake was found in this capture.", Mood.DOUBT, details)


def _undecided(handshakes: pd.DataFrame) -> Sentence:
    lacks = words.LACKS[_commonest(handshakes["completeness"])]
    total = words.count(len(handshakes), "handshake")
    return Sentence(f"{total}, and the capture tells of none how it ended; most often: {lacks}.", Mood.DOUBT)


def _all_well(handshakes: pd.DataFrame, known: int, unknown: int) -> Sentence:
    ratio = failure_ratio(handshakes, by=None).iloc[0]
    bound = f"0 of {known:,} failed, 95 % interval {words.interval(ratio['ci_low'], ratio['ci_high'])}"
    if not unknown:
        all_of_them = "The one handshake" if known == 1 else f"All {known:,} handshakes"
        return Sentence(f"{all_of_them} succeeded ({bound}).", Mood.GOOD)
    rest = handshakes[handshakes["outcome"] == "unknown"]
    lacks = words.LACKS[_commonest(rest["completeness"])]
    why = "" if lacks == words.LACKS[Completeness.COMPLETE] else f", most often because {lacks}"
    return Sentence(f"No handshake failed ({bound}); {unknown:,} more with unknown outcome{why}.", Mood.DOUBT)


def _each_group(ratios: pd.DataFrame) -> str:
    """Say every group, those with failures first; groups of which nothing is known say nothing."""
    rows = [(group_name(key), row) for key, row in ratios.iterrows() if row["failed"] + row["established"]]
    rows.sort(key=lambda item: item[1]["failed"] == 0)  # stable: else in the table's order
    first, *others = rows
    return ", ".join(
        [
            f"{first[0]}: {_ratio(first[1], ' handshakes failed', '95 % interval ')}",
            *(f"{name}: {_ratio(row, ' failed')}" for name, row in others),
        ]
    )


def _total_and_worst(handshakes: pd.DataFrame, ratios: pd.DataFrame) -> str:
    total = failure_ratio(handshakes, by=None).iloc[0]
    worst = ratios.sort_values("ci_low", ascending=False, kind="stable").iloc[0]  # the one most surely high
    most = f"highest in {group_name(worst.name)} ({_of_base(worst)})"
    return f"{_ratio(total, ' handshakes failed', '95 % interval ')}, {most}"


def _ratio(row: "pd.Series[float]", failed: str, interval: str = "") -> str:
    bounds = words.interval(row["ci_low"], row["ci_high"])
    return f"{_of_base(row)}{failed} ({words.percent(row['failure_ratio'])}, {interval}{bounds})"


def _of_base(row: "pd.Series[float]") -> str:
    return f"{row['failed']:,.0f} of {row['failed'] + row['established']:,.0f}"


def _main_cause(failed: pd.DataFrame, name_file: bool) -> str:
    rows = causes.causes(failed)[0]
    if len(failed) == 1:
        share = "the one failure"
    elif len(rows) == len(failed):
        share = "both" if len(rows) == 2 else f"all {len(rows):,}"
    else:
        share = f"most often ({len(rows):,} of {len(failed):,})"
    return f"{share}: {phrase(rows)} (e.g. {causes.place(rows.iloc[0], name_file)})"


def _commonest(completeness: "pd.Series[str]") -> Completeness:
    counts = completeness.value_counts()
    return Completeness(str(counts.index[0])) if len(counts) else Completeness.COMPLETE
