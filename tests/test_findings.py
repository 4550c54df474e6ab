"""Findings: the first names the cause, each carries its evidence, and healthy captures have none of severity error."""

import pandas as pd
from frames import established, failed, handshakes, intermittent

from tlspcap import findings, schema
from tlspcap.findings import Finding, Severity
from tlspcap.findings.causes import MEANING, Cause
from tlspcap.findings.rules import RULES


def find(*rows: dict[str, object]) -> list[Finding]:
    """Return the findings on handshakes of these rows."""
    return findings.find({"handshakes": handshakes(*rows)})


def test_every_failure_is_explained_once() -> None:
    """Each failed handshake is in exactly one finding of severity error, and no other handshake is."""
    table = intermittent()
    errors = [one for one in findings.find({"handshakes": table}) if one.severity is Severity.ERROR]
    explained = [number for one in errors for number in one.handshakes]
    assert sorted(explained) == sorted(table.loc[table["outcome"] == "failed", "id"])


def test_findings_come_worst_first() -> None:
    """Errors come first, and among them the one that explains most failures."""
    rows = [failed(alert="bad_certificate"), *[failed(alert="handshake_failure", server_ip="192.0.2.99")] * 3]
    first, second = (one for one in find(*rows, established()) if one.severity is Severity.ERROR)
    assert (len(first.handshakes), len(second.handshakes)) == (3, 1)


def test_a_finding_names_where_to_look() -> None:
    """The filter shows exactly the conversations of the finding, and the example is one of them."""
    first = findings.find({"handshakes": intermittent()})[0]
    assert first.filters == (("night.pcap", "tcp.stream in {2, 5, 9}"),)
    assert first.frames == (28, 64, 112)
    assert "stream 2, frame 28 of night.pcap" in first.detail[-1]


def test_the_findings_table_keeps_its_schema() -> None:
    """The table has the declared columns and dtypes, with findings and without."""
    for found in (findings.find({"handshakes": intermittent()}), []):
        table = findings.table(found)
        assert table.dtypes.to_dict() == {
            c.name: pd.api.types.pandas_dtype(c.pandas_dtype) for c in schema.FINDINGS.columns
        }
        assert len(table) == len(found)


def test_every_rule_says_what_it_finds() -> None:
    """Rules have distinct names, a docstring that says what they find, and a source; every cause has a meaning."""
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert all(rule.ask.__doc__ and rule.source for rule in RULES)
    assert set(MEANING) == set(Cause)


def test_text_from_the_wire_is_harmless_in_findings() -> None:
    """Control characters in names from the wire are shown as codes."""
    (one,) = find(failed(alert=None, reason="answered \x1b[2J"))
    assert "\x1b" not in "".join((one.title, *one.detail, one.advice))
