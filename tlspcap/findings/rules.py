"""The rules in the order in which they are asked: those that know most of a failure first.

A failed handshake is explained by the first rule that names it in a finding of severity error (see `Case.open`).
Each rule says in its docstring what it finds; docs/findings.md is made from that.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tlspcap.findings.case import Case
from tlspcap.findings.general import unexplained_failure
from tlspcap.findings.model import Finding

Ask = Callable[[Case], Iterator[Finding]]


class Rule(NamedTuple):
    """One rule, and where what it knows is written down."""

    ask: Ask
    source: str

    @property
    def id(self) -> str:
        """Its name, which is the `id` of its findings."""
        return self.ask.__name__


RULES = (
    # Failures of which no more than the ending is known: always last
    Rule(unexplained_failure, "tlspcap"),
)
