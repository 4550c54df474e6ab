"""The rules in the order in which they are asked: those that know most of a failure first.

A failed handshake is explained by the first rule that names it in a finding of severity error (see `Case.open`).
Each rule says in its docstring what it finds; docs/findings.md is made from that.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tlspcap.findings.agreement import name_unknown, no_common_protocol, nothing_in_common
from tlspcap.findings.case import Case
from tlspcap.findings.general import client_left, no_answer, unexplained_failure
from tlspcap.findings.intermittent import intermittent_failure, large_hello_lost
from tlspcap.findings.model import Finding
from tlspcap.findings.refused import client_certificate_refused, server_certificate_refused
from tlspcap.findings.versions import no_common_version
from tlspcap.findings.wrong_port import http_on_tls_port, starttls_refused, tls_to_plain_port

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
    # No TLS on one side
    Rule(tls_to_plain_port, "RFC 8446 5.1"),
    Rule(http_on_tls_port, "RFC 9110 4.2.2"),
    Rule(starttls_refused, "RFC 3207 4"),
    # Nothing in common
    Rule(no_common_version, "RFC 8446 4.2.1, 6.2; RFC 5246 E.1"),
    Rule(name_unknown, "RFC 6066 3"),
    Rule(no_common_protocol, "RFC 7301 3.2"),
    # Certificates refused
    Rule(server_certificate_refused, "RFC 8446 4.4.2.4, 6.2"),
    Rule(client_certificate_refused, "RFC 8446 4.3.2, 4.4.2.4; RFC 5246 7.4.6"),
    # Hellos refused or lost; what the same server did with equal or smaller ones tells them apart
    Rule(large_hello_lost, "RFC 9293 3.7.1"),
    Rule(nothing_in_common, "RFC 8446 4.1.1; RFC 5246 7.4.1.3"),
    Rule(intermittent_failure, "tlspcap"),
    # Failures of which no more than the ending is known: always last
    Rule(no_answer, "tlspcap"),
    Rule(client_left, "tlspcap"),
    Rule(unexplained_failure, "tlspcap"),
)
