"""The mutation suite on the lab's captures: packets lost, late, doubled or cut make a verdict unknown, never false.

TLSPCAP_MUTATIONS=all takes every capture of the lab with every mutation; else each mutation has one of them.
"""

import io
import os
import random
from collections.abc import Iterator
from pathlib import Path

import lab_score
import mutants
import mutation_suite as suite
import pandas as pd
import pytest

from tlspcap.spread import read_tables

EVERYTHING = os.environ.get("TLSPCAP_MUTATIONS") == "all"
CAPTURES = sorted(lab_score.CAPTURES.glob("*.pcap"))
PLACES = 12  # a change of one packet is made at one of so many, the first of a conversation
MUTATIONS = [mutation for mutation in suite.MUTATIONS if mutation.change is not None and mutation.times == 1]


def cases() -> Iterator[object]:
    """Each mutation with each capture, or with one, at a place that a fixed seed chooses."""
    dice = random.Random(suite.mutants.SEED)
    for at, mutation in enumerate(MUTATIONS):
        for path in CAPTURES if EVERYTHING else [CAPTURES[at % len(CAPTURES)]]:
            numbers = range(PLACES) if mutation.numbers is suite.EACH else mutation.numbers
            number = dice.choice(list(numbers))
            yield pytest.param(mutation, path, number, id=f"{mutation.name} {number}, {path.stem}")


def outcomes(packets: list[mutants.Packet], name: str) -> pd.DataFrame:
    """The verdicts on a changed capture, joined with the truth by ports."""
    table = read_tables(io.BytesIO(mutants.pcap(packets)), tables=("handshakes",)).frames["handshakes"]
    known = lab_score.truth(lab_score.CAPTURES)
    ports = ["client_port", "server_port"]
    return known[known["capture"] == name].merge(table, on=ports, suffixes=("_true", ""))


@pytest.mark.parametrize(("mutation", "path", "number"), list(cases()))
def test_no_mutant_of_the_lab_gets_a_false_verdict(mutation: suite.Mutation, path: Path, number: int) -> None:
    """No failed handshake is called established and no established one failed, whatever is done to the packets."""
    assert mutation.change is not None
    parts = mutants.conversations(mutants.read_packets(path))
    both = outcomes(mutants.merged(mutation.change(part, number) for part in parts.values()), path.name)
    said = both["outcome"].astype("object")
    false = both[said.isin(["established", "failed"]) & (said != both["outcome_true"])]
    columns = ["stream", "scenario", "client_stack", "negotiated_version", "outcome_true", "outcome", "reason"]
    assert false.empty, false[columns].to_string()


def test_a_capture_of_the_lab_that_nothing_was_done_to_has_all_its_rows() -> None:
    """Without a change, every handshake of the truth is found by its ports; some changes leave none at all."""
    path = CAPTURES[0]
    rows = outcomes(mutants.read_packets(path), path.name)
    known = lab_score.truth(lab_score.CAPTURES)
    assert len(rows) >= (known["capture"] == path.name).sum() > 0
