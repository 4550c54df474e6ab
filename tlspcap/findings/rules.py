"""The rules in the order in which they are asked: those that know most of a failure first.

A failed handshake is explained by the first rule that names it in a finding of severity error (see `Case.open`).
Each rule says in its docstring what it finds; docs/findings.md is made from that.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from tlspcap.findings.agreement import name_unknown, no_common_protocol, nothing_in_common
from tlspcap.findings.case import Case
from tlspcap.findings.certificate_rules import (
    certificate_expired,
    certificate_expires_soon,
    certificate_name_mismatch,
    certificate_not_yet_valid,
    certificate_self_signed,
    weak_certificate,
)
from tlspcap.findings.chain_rules import (
    certificate_varies,
    chain_out_of_order,
    chain_over_initial_window,
    issuer_not_sent,
    missing_intermediate,
    needless_certificates,
    root_sent,
    untrusted_chain,
)
from tlspcap.findings.effort_rules import hello_retry_usual, resumption_declined, slow_server, tickets_not_shared
from tlspcap.findings.general import client_left, no_answer, unexplained_failure
from tlspcap.findings.intermittent import intermittent_failure, large_hello_lost
from tlspcap.findings.model import Finding
from tlspcap.findings.refused import client_certificate_refused, server_certificate_refused
from tlspcap.findings.versions import no_common_version
from tlspcap.findings.weak_rules import (
    insecure_renegotiation,
    no_forward_secrecy,
    old_version,
    small_dh_group,
    weak_cipher,
)
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
    # What a server's certificate and its chain show: whether a client that refused them had a reason
    Rule(missing_intermediate, "RFC 8446 4.4.2, RFC 5246 7.4.2"),
    Rule(certificate_self_signed, "RFC 5280 6.1"),
    Rule(issuer_not_sent, "RFC 5280 4.2.2.1"),
    Rule(certificate_expired, "RFC 5280 4.1.2.5"),
    Rule(certificate_not_yet_valid, "RFC 5280 4.1.2.5"),
    Rule(certificate_name_mismatch, "RFC 9525 6"),
    Rule(untrusted_chain, "RFC 5280 6"),
    Rule(chain_out_of_order, "RFC 5246 7.4.2, RFC 8446 4.4.2"),
    Rule(weak_certificate, "RFC 9325 4.5, RFC 9155"),
    # Weak settings that some clients refuse
    Rule(small_dh_group, "RFC 7919, RFC 9325 4.1"),
    Rule(insecure_renegotiation, "RFC 5746"),
    # Certificates refused
    Rule(server_certificate_refused, "RFC 8446 4.4.2.4, 6.2"),
    Rule(client_certificate_refused, "RFC 8446 4.3.2, 4.4.2.4; RFC 5246 7.4.6"),
    # Hellos refused or lost; what the same server did with equal or smaller ones tells them apart
    Rule(large_hello_lost, "RFC 9293 3.7.1"),
    Rule(nothing_in_common, "RFC 8446 4.1.1; RFC 5246 7.4.1.3"),
    Rule(intermittent_failure, "tlspcap"),
    # Failures of which no more than the ending is known: last of them
    Rule(no_answer, "tlspcap"),
    Rule(client_left, "tlspcap"),
    Rule(unexplained_failure, "tlspcap"),
    # What nobody failed by: lints
    Rule(weak_cipher, "RFC 9325 4.1, RFC 7465"),
    Rule(old_version, "RFC 8996, RFC 7568, RFC 6176"),
    Rule(no_forward_secrecy, "RFC 9325 4.1"),
    Rule(certificate_expires_soon, "RFC 5280 4.1.2.5"),
    Rule(certificate_varies, "tlspcap"),
    Rule(needless_certificates, "RFC 5246 7.4.2"),
    Rule(root_sent, "RFC 8446 4.4.2"),
    Rule(chain_over_initial_window, "RFC 6928 2"),
    Rule(tickets_not_shared, "RFC 5077 5.5, RFC 8446 4.6.1"),
    Rule(resumption_declined, "RFC 8446 2.2, RFC 5077 3.1"),
    Rule(hello_retry_usual, "RFC 8446 4.1.4"),
    Rule(slow_server, "tlspcap"),
)
