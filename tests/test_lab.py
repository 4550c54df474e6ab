"""Verdicts on the lab's captures, against what both endpoints of every connection said of it."""

from functools import cache

import lab_score
import pandas as pd
import pytest


@cache
def joined() -> pd.DataFrame:
    """Read every capture of the lab once, joined with the truth."""
    return lab_score.joined(lab_score.CAPTURES)


def test_every_connection_of_the_lab_is_a_row() -> None:
    """Each connection with a ClientHello has exactly one row; plain HTTP on a TLS port has none."""
    both = joined()
    assert len(both) == len(lab_score.truth(lab_score.CAPTURES))
    handshake = both["outcome_true"].notna()
    assert set(both.loc[handshake, "row"].astype(str)) == {"both"}
    assert set(both.loc[~handshake, "row"].astype(str)) == {"left_only"}


def test_the_lab_is_as_large_and_as_mixed_as_it_claims() -> None:
    """At least 500 connections, of ten stacks as clients and as servers, in TLS 1.0 to 1.3, of either outcome."""
    known = lab_score.truth(lab_score.CAPTURES)
    assert len(known) >= 500
    assert known["client_stack"].map(lab_score.family).nunique() >= 10
    assert known["server_stack"].map(lab_score.family).nunique() >= 10
    assert set(known["version"].dropna()) == {"TLS 1.0", "TLS 1.1", "TLS 1.2", "TLS 1.3"}
    assert known["outcome"].value_counts().min() >= 200


def test_no_verdict_contradicts_the_endpoints() -> None:
    """No handshake that failed is called established, and none that succeeded failed."""
    both = joined()
    said, true = both["outcome"].astype("object"), both["outcome_true"]
    false = both[said.isin(["established", "failed"]) & (said != true)]
    columns = ["capture", "stream", "scenario", "client_stack", "outcome", "reason"]
    assert false.empty, false[columns].to_string()


def test_few_verdicts_stay_open() -> None:
    """The verdict is unknown for less than 5 % of the lab's connections, of which no packet is missing."""
    both = joined()
    assert (both["outcome"] == "unknown").sum() < 0.05 * both["outcome_true"].notna().sum()


@pytest.mark.parametrize("what", ["side", "mechanism", "alert", "phase"])
def test_failures_are_told_as_the_endpoints_tell_them(what: str) -> None:
    """Who refused, how, with which alert and at which step is what the endpoints say in at least 95 of 100 failures."""
    right, wrong = lab_score.checked(joined(), what)
    assert len(right) + len(wrong) >= 500
    assert len(right) >= 0.95 * (len(right) + len(wrong))
