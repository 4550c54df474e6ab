"""Cohort contrast in words: what goes with the failures, or with slowness, and how far the numbers carry that."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from tlspcap import cohorts, words
from tlspcap.report.model import Cell, Column, Grid, Kind, Mood, Section, Sentence, Telling

Row: TypeAlias = "pd.Series[Any]"

NO_SIGN = 0.5  # p-value beyond which a contrast is not worth telling
MOST_TOLD = 3  # contrasts told in words, where they are no chance
MOST_LISTED = 5  # contrasts listed in a report
LEAST_LEFT = 0.5  # of a difference that must be left without the client with the most cases
MOST_NEEDED = 1_000_000  # more handshakes of each kind than this nobody will wait for

# What is said of handshakes that have a value.
_DEEDS = {
    "offered_version_max": "offer {} at most",
    "negotiated_version": "settle on {}",
    "cipher": "use {}",
    "group": "use the group {}",
    "server": "go to {}",
    "server_of_name": "go to {}",
    "sni": "ask for {}",
    "ja4": "come from the client stack {}",
    "client_ip": "come from the client {}",
    "hour": "begin in the hour from {} UTC",
    "hello_size": "have a ClientHello {}",
}
_SPECIAL = {
    ("sni", cohorts.NO_NAME): "send no server name",
    ("resumption", "none"): "take up no earlier session",
    ("resumption", "declined"): "offer an earlier session and are declined",
    ("resumption", "session_id"): "resume a session by its id",
    ("resumption", "ticket"): "resume a session by ticket",
    ("resumption", "psk"): "resume a session by PSK",
}
# The plural of a case, and what became of it.
_NOUNS = {"failed": ("failure", "failed"), "slow": ("slow handshake", "were slow")}


@dataclass(frozen=True)
class Contrast(Telling):
    """What goes with failures, or with slowness: sentences, and the table that they are made from."""

    outcome: str
    said: tuple[Sentence, ...]
    table: pd.DataFrame

    def __repr__(self) -> str:
        """Say it in words, as a notebook shows it."""
        lines = [line for sentence in self.said for line in (sentence.text, *(f"  {d}" for d in sentence.details))]
        return "\n".join(lines)


def contrast(handshakes: pd.DataFrame, outcome: str = "failed", limit: float | None = None) -> Contrast:
    """Say which attribute goes with the failures, or with slowness, and whether that may be chance.

    Every value of version, cipher, group, server, server behind one name, name asked for, client stack (JA4),
    resumption, size of the ClientHello, hour and client address is compared with the handshakes that have another
    one, by Fisher's exact test with Holm's correction for all that were tried. What goes together need not be cause
    and effect: it says where to look.

    Args:
        handshakes: a handshakes table, or any rows of it.
        outcome: "failed", among all whose outcome is known, or "slow", among the established.
        limit: duration in ms beyond which a handshake is slow; the slowest quarter without one.

    Returns:
        A Contrast: `sentences`, and `table` with a row per contrast, the least probable first. Its columns are
        described at `tlspcap.cohorts.cohorts`.

    Raises:
        ArgumentError: there is no such outcome to contrast, or a column that this needs is missing.

    Example:
        >>> import tlspcap
        >>> cap = tlspcap.read("sample_captures/intermittent-alert.pcap")
        >>> print(contrast(cap.handshakes).sentences[0])
        All 3 failures offer TLS 1.2 at most: 3 of 10 such handshakes failed, 0 of 10 that offer TLS 1.3 at most;
        p = 0.21 even before correction for the 3 contrasts tried: this may be chance; about 28 more handshakes of each
        kind would tell, at 80 % power.
    """
    chosen = cohorts.cases(handshakes, outcome, limit)
    table = cohorts.cohorts(handshakes, outcome, limit)
    why_not = _nothing_to_tell(chosen, table, outcome)
    if why_not:
        return Contrast(outcome, (Sentence(why_not),), table)
    if table["p"].iloc[0] > NO_SIGN:
        return Contrast(outcome, (_no_sign(table, chosen, outcome),), table)
    firm = [row for _, row in table[table["p_holm"] <= cohorts.LEVEL].iterrows()]
    told = firm[:MOST_TOLD] or [table.iloc[0]]
    return Contrast(outcome, tuple(_sentence(row, table, handshakes, chosen, outcome) for row in told), table)


def section(handshakes: pd.DataFrame) -> Section:
    """Make the part of a report that says what goes with the failures; empty where none failed, or nothing differs."""
    found = contrast(handshakes)
    if not found.table["cases"].any() and not found.table["other_cases"].any():
        return Section("contrast", "What goes with the failures")
    rows = tuple(_cells(row) for _, row in found.table.head(MOST_LISTED).iterrows())
    columns = (
        Column("deed", "handshakes that"), Column("failed", "failed", Kind.OF),
        Column("other_failed", "of the others", Kind.OF, base="other_base"),
        Column("difference", "difference", Kind.POINTS), Column("p", "p", Kind.CHANCE),
        Column("p_holm", "corrected", Kind.CHANCE),
    )  # fmt: skip
    caption = f"The least probable of {words.count(len(found.table), 'contrast')}; difference with 95 % interval."
    worth_it = len(found.table) > 1 and (found.table["p_holm"] <= cohorts.LEVEL).any()
    grids = (Grid("contrasts", caption, columns, rows),) if worth_it else ()
    return Section("contrast", "What goes with the failures", found.said, grids)


def _cells(row: Row) -> tuple[Cell, ...]:
    return (
        words.wire(_deed(row["attribute"], row["value"]), 60),
        (int(row["cases"]), int(row["base"])), (int(row["other_cases"]), int(row["other_base"])),
        (float(row["ci_low"]), float(row["ci_high"])), float(row["p"]), float(row["p_holm"]),
    )  # fmt: skip


def _nothing_to_tell(chosen: cohorts.Cases, table: pd.DataFrame, outcome: str) -> str:
    """Say why there is nothing to contrast; nothing where there is something."""
    base, count = int(chosen.is_decided.sum()), int(chosen.is_case.sum())
    verb = _NOUNS[outcome][1]
    if not base:
        return f"Of no handshake is it known whether it {'was slow' if outcome == 'slow' else verb}."
    if not count:
        return f"None of {words.count(base, 'handshake')} {verb}: there is nothing to contrast."
    if count == base:
        return f"All {words.count(base, 'handshake')} {verb}: there is none to contrast them with."
    if table.empty:
        return f"{count:,} of {words.count(base, 'handshake')} {verb}, and in nothing that is looked at do they differ."
    return ""


def _no_sign(table: pd.DataFrame, chosen: cohorts.Cases, outcome: str) -> Sentence:
    """Say that nothing goes with the cases, and what was closest to it."""
    row = table.iloc[0]
    nouns = words.count(int(chosen.is_case.sum()), _NOUNS[outcome][0])
    closest = f"the least probable of {words.count(len(table), 'contrast')} tried has {words.chance(row['p'])}"
    return Sentence(f"Nothing was found that goes with the {nouns}; {closest}: "
                    f"{_both_arms(row, outcome, f'of those that {_deed_of(row)}')}.")  # fmt: skip


def _sentence(row: Row, table: pd.DataFrame, handshakes: pd.DataFrame, chosen: cohorts.Cases, outcome: str) -> Sentence:
    """Say one contrast: the counts, the difference, whether it may be chance, and what would tell."""
    chance = row["p_holm"] > cohorts.LEVEL
    caveat = "" if chance else _caveat(row)
    text = f"{_who(row, outcome)}: {_both_arms(row, outcome)}; {_verdict(row, len(table), chance)}{caveat}."
    if outcome == "slow":
        text = f"{text} {_by_how_much(row, handshakes, chosen)}"
    return Sentence(text, Mood.DOUBT if chance or caveat else Mood.BAD, tuple(_details(row)), data=_data(row))


def _who(row: Row, outcome: str) -> str:
    """Say how many of the cases have the value, e.g. "All 3 failures offer TLS 1.2 at most"."""
    cases, total = int(row["cases"]), int(row["cases"] + row["other_cases"])
    nouns = words.count(total, _NOUNS[outcome][0])
    if not cases:
        share = f"Not one of {nouns} is among those that"
    elif cases < total:
        share = f"{cases:,} of {nouns} {'is' if cases == 1 else 'are'} among those that"
    else:
        share = f"The one {_NOUNS[outcome][0]} is among those that" if total == 1 else f"All {nouns}"
    return f"{share} {_deed_of(row)}"


def _both_arms(row: Row, outcome: str, such: str = "such handshakes") -> str:
    verb = _NOUNS[outcome][1]
    others = "of the others"
    if not words.missing(row["other_value"]):
        others = f"that {_deed(row['attribute'], row['other_value'])}"
    here, there = (f"{row[f'{arm}cases']:,} of {row[f'{arm}base']:,}" for arm in ("", "other_"))
    return f"{here} {such} {verb}, {there} {others}"


def _verdict(row: Row, tried: int, chance: bool) -> str:
    """Say whether the difference may be chance, and if so what would tell."""
    p = words.chance(row["p"])
    contrasts = "" if tried == 1 else f" for the {tried:,} contrasts tried"
    if not chance:
        bounds = words.points(row["ci_low"], row["ci_high"])
        corrected = f", {words.chance(row['p_holm'], name=False)} after correction{contrasts}" if contrasts else ""
        return f"a difference of {bounds} (95 % interval); {p}{corrected}"
    if row["p"] > cohorts.LEVEL:
        said = f"{p} even before correction{contrasts}" if contrasts else p
    else:
        said = f"{p}, but {words.chance(row['p_holm'], name=False)} after correction{contrasts}"
    return f"{said}: this may be chance{_would_tell(row['needed'])}"


def _would_tell(needed: float) -> str:
    if not np.isfinite(needed):
        return ""
    if needed > MOST_NEEDED:
        return f"; more than {MOST_NEEDED:,} handshakes of each kind would be needed to tell"
    return f"; about {needed:,.0f} more handshakes of each kind would tell, at 80 % power"


def _caveat(row: Row) -> str:
    """Say where it may be some clients' trouble: without the main one, or counted client by client, little is left."""
    if words.missing(row["without_client"]):
        return ""
    return _caveat_of_one(row) or _caveat_of_few(row)


def _caveat_of_few(row: Row) -> str:
    p = row["p_by_client"]
    if words.missing(p) or p <= cohorts.LEVEL or row["clients"] + row["other_clients"] == 2:
        return ""
    return f"; but each client's handshakes taken as one, {words.chance(p)}: it may be what these clients are"


def _caveat_of_one(row: Row) -> str:
    client, left = words.wire(row["without_client"]), row["difference_without_client"]
    if words.missing(left):
        if row["clients"] + row["other_clients"] == 2 and row["case_clients"] + row["other_case_clients"] == 2:
            return ""
        return f"; but without the client {client} there is nothing to compare: it may be that client"
    if left * np.sign(row["difference"]) >= LEAST_LEFT * abs(row["difference"]):
        return ""
    return f"; but without the client {client} the difference is {100 * left:+.0f} points: it may be that client"


def _by_how_much(row: Row, handshakes: pd.DataFrame, chosen: cohorts.Cases) -> str:
    """Say what slow means, and how far the medians lie apart."""
    difference, low, high = cohorts.slower_by(handshakes, row, chosen)
    slow = f"Slow is more than {words.milliseconds(chosen.limit)} ms"
    if np.isnan(low):
        return f"{slow}; the medians are {words.milliseconds(difference)} ms apart."
    bounds = f"{words.milliseconds(low)} to {words.milliseconds(high)}"
    return f"{slow}; the medians are {words.milliseconds(difference)} ms apart (95 % interval {bounds})."


def _details(row: Row) -> list[str]:
    """Say what the counts rest on: clients, outcomes left out, and what means the same handshakes."""
    here, there = (f"{row[f'{arm}case_clients']:,} of {row[f'{arm}clients']:,}" for arm in ("", "other_"))
    unknown = row["unknown"], row["other_unknown"]
    left_out = f"; outcome unknown, left out: {unknown[0]:,} and {unknown[1]:,}" if any(unknown) else ""
    lines = [f"seen at {here} clients, against {there}{left_out}"]
    if not words.missing(row["same_as"]):
        same = [part.split("=", 1) for part in row["same_as"].split("; ")]
        said = words.listed([_deed(*part) for part in same], 3)
        lines.append(f"the very same handshakes {said}: this capture cannot tell these apart")
    return lines


def _deed_of(row: Row) -> str:
    deed = _deed(row["attribute"], row["value"])
    return deed if words.missing(row["within"]) else f"{deed} for {words.wire(row['within'], 60)}"


def _deed(attribute: str, value: object) -> str:
    special = _SPECIAL.get((attribute, str(value)))
    return special or _DEEDS[attribute].format(words.wire(value, 60))


def _data(row: Row) -> Mapping[str, object]:
    """Give the numbers of a contrast for programs."""
    told = {str(name): None if words.missing(value) else value for name, value in row.items()}
    return {name: _plain(value) for name, value in told.items()}


def _plain(value: Any) -> object:
    """Give a number as Python's own; JSON has none for infinity."""
    plain = value.item() if isinstance(value, np.generic) else value
    return None if plain == np.inf else plain
