"""The mutation suite: whatever is done to a sample capture, an answer stays what it was or says that it is not known.

TLSPCAP_MUTATIONS=all takes every conversation of every sample and every mutant, which takes minutes; else it is one
conversation of each kind, some mutants of each mutation, and one sample for those that only pack the same packets in
another way. docs/mutations.py makes the table of docs/mutations.md by the same suite.
"""

import os
from pathlib import Path

import mutants
import mutation_suite as suite
import pytest

EVERYTHING = os.environ.get("TLSPCAP_MUTATIONS") == "all"
MUTANTS = 1 << 30 if EVERYTHING else 6  # of a mutation
OF_BOTH_FAMILIES = suite.SAMPLES / "old-app.pcap"  # IPv4 and IPv6
CASES = [
    pytest.param(mutation, path, id=f"{mutation.name}, {path.stem}")
    for mutation in suite.MUTATIONS
    for path in suite.CAPTURES
    if path == OF_BOTH_FAMILIES or not (mutation.ipv6_only or (mutation.repacks and not EVERYTHING))
]


@pytest.mark.parametrize(("mutation", "path"), CASES)
def test_no_mutant_gets_a_false_answer(mutation: suite.Mutation, path: Path) -> None:
    """Outcome, side, mechanism, alert, version, cipher and SNI are true, or NA and unknown for a true reason."""
    parts = suite.recording(path) if EVERYTHING else suite.one_of_each_kind(path)
    counts = suite.tally(mutation, path, parts, MUTANTS)
    assert not [word for word in counts if word.startswith("false")]
    if not mutation.lacks:
        assert set(counts) == {"equal"}


def test_mutants_hold_what_they_claim() -> None:
    """The writers write what dpkt reads: a mutation of nothing gives the packets of the sample."""
    path = suite.CAPTURES[0]
    packets = mutants.read_packets(path)
    assert mutants.merged(suite.recording(path).values()) == packets
    assert mutants.pcap(packets) == path.read_bytes()


def test_a_false_answer_would_be_seen() -> None:
    """The comparison calls false what is false: another outcome, a wrong detail, a wrong reason for an unknown."""
    path = suite.CAPTURES[0]
    key, true = next((key, said) for key, said in suite.truth(path).items() if said)
    drop = next(mutation for mutation in suite.MUTATIONS if mutation.change is mutants.drop_data)
    unknown = true._replace(outcome="unknown", version=None)
    cases = {
        "equal": [(true, "complete")],
        "less": [(true._replace(cipher=None), "gap")],
        "unknown": [(unknown, "gap")],
        "none": [],
        "false": [(true._replace(outcome="failed"), "gap")],
    }
    assert {suite.compare(path, key, got, drop).partition(":")[0]: got for got in cases.values()} == cases
    for wrong in ([(true._replace(version="SSL 3.0"), "gap")], [(unknown, "complete")], [(true, "complete")] * 2):
        assert suite.compare(path, key, wrong, drop).startswith("false")
