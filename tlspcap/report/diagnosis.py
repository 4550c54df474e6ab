"""The findings as a section of the report: what is wrong, what speaks for it, and what to change."""

import textwrap
from collections.abc import Sequence

from tlspcap.findings import Finding, Severity
from tlspcap.report.model import Filter, Mood, Section, Sentence

MOODS = {Severity.ERROR: Mood.BAD, Severity.WARNING: Mood.DOUBT, Severity.INFO: Mood.PLAIN}


def section(findings: Sequence[Finding]) -> Section:
    """Make the section of all findings, worst first; an empty one where there are none."""
    return Section("findings", "Findings", tuple(_sentence(one) for one in findings))


def _sentence(one: Finding) -> Sentence:
    return Sentence(
        f"{one.severity.capitalize()}: {one.title}.",
        MOODS[one.severity],
        details=(*one.detail, f"What to do: {one.advice}"),
        filters=tuple(Filter(capture, expression) for capture, expression in one.filters),
        data={
            "id": one.id, "severity": one.severity.value, "advice": one.advice, "causes": [str(c) for c in one.causes],
            "handshakes": list(one.handshakes), "frames": list(one.frames), "streams": list(one.streams),
        },
    )  # fmt: skip


def first_sentence(findings: Sequence[Finding], ratio: Sentence) -> Sentence:
    """Begin the report with the diagnosis, where there is one, and go on with how many failed of how many."""
    if not findings or findings[0].severity is not Severity.ERROR:
        return ratio
    first = findings[0]
    return Sentence(f"{first.title}.", Mood.BAD, (ratio.text, *ratio.details))


def in_full(findings: Sequence[Finding]) -> str:
    """Tell findings in plain text, each with all that belongs to it."""
    return "\n\n".join("\n".join(_lines(number, one)) for number, one in enumerate(findings, 1)) + "\n"


def _lines(number: int, one: Finding) -> list[str]:
    def wrapped(text: str, indent: str) -> list[str]:
        return textwrap.wrap(
            text, 80, initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
        )

    lines = wrapped(f"{number}. {one.severity.capitalize()}: {one.title}. [{one.id}]", "")
    for text in (*one.detail, f"What to do: {one.advice}"):
        lines += wrapped(text, "   ")
    return [*lines, *(f"   Filter for {capture}: {expression}" for capture, expression in one.filters)]
