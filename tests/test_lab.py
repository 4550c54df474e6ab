"""Verdicts on the lab's captures, against what both endpoints of every connection said of it."""

import re

import lab_score
import pandas as pd
import pytest
from lab_score import joined

from tlspcap.explain import explain
from tlspcap.tls.verdict import Phase
from tlspcap.words import STEPS

# The verdict stays open where the server, behind the client's Finished, showed nothing that one can read
NOTHING_SHOWN = r"the client (closed|reset) the connection behind the client's Finished, before the server showed"
ALERT_OR_CLOSE = r"behind the client's Finished the server sent one sealed record as short as an alert"
# What was seen of each way to fail, as far as all sentences about it have it in common
SEEN = {
    "alert": "sent", "hidden_alert": "sealed record as short as an alert", "reset": "reset the connection",
    "close": "closed", "timeout": "s of capture time", "not_tls": "something that is not TLS",
}  # fmt: skip
WAYS = pytest.mark.parametrize("keys", [False, True], ids=["keyless", "with keys"])


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


@WAYS
def test_no_verdict_contradicts_the_endpoints(keys: bool) -> None:
    """No handshake that failed is called established, and none that succeeded failed."""
    both = joined(keys=keys)
    false = both[lab_score.verdict_kinds(both).isin(["false established", "false failed"])]
    columns = ["capture", "stream", "scenario", "client_stack", "outcome", "reason"]
    assert false.empty, false[columns].to_string()


def test_few_verdicts_stay_open() -> None:
    """The verdict is unknown for less than 5 % of the lab's connections, of which no packet is missing."""
    both = joined()
    assert (both["outcome"] == "unknown").sum() < 0.05 * both["outcome_true"].notna().sum()


@WAYS
def test_verdicts_stay_open_only_where_two_readings_fit(keys: bool) -> None:
    """What is unknown is a client that left behind its Finished; with keys, only where the server showed nothing."""
    both = joined(keys=keys)
    open_ones = both[both["outcome"] == "unknown"]
    answerless = NOTHING_SHOWN if keys else f"{NOTHING_SHOWN}|{ALERT_OR_CLOSE}"
    assert open_ones["reason"].str.match(answerless).all()
    assert set(open_ones["negotiated_version"]) <= {"TLS 1.3"}


def test_keys_take_no_right_verdict_away() -> None:
    """Each connection whose keys are there and that is judged right without them is judged right with them."""
    left = [set(map(tuple, lab_score.wrong(joined(keys=keys))[lab_score.KEY].to_numpy())) for keys in (False, True)]
    assert left[1] <= left[0]


@WAYS
@pytest.mark.parametrize("what", ["side", "mechanism", "alert", "phase"])
def test_failures_are_told_as_the_endpoints_tell_them(what: str, keys: bool) -> None:
    """Who refused, how, with which alert and at which step is what the endpoints say in at least 99 of 100 failures."""
    right, wrong = lab_score.checked(joined(keys=keys), what)
    assert len(right) + len(wrong) >= (300 if keys else 500)
    assert len(right) >= 0.99 * (len(right) + len(wrong))


def test_keys_leave_no_alert_without_a_name() -> None:
    """Of the connections whose keys are there, every alert that an endpoint tells of has its name."""
    both = joined(keys=True)
    assert lab_score.hidden_alerts(both) == 0
    assert not (both["failure_mechanism"] == "hidden_alert").any()


@WAYS
def test_what_is_inferred_is_said_to_be(keys: bool) -> None:
    """The reason of every verdict that is only probable says that it was inferred, and no other says so."""
    judged = joined(keys=keys).dropna(subset="certainty")
    said = judged["reason"].str.contains("inferred", regex=False)
    silent = judged[said != (judged["certainty"] == "probable")]
    assert silent.empty, silent["reason"].value_counts().to_string()


@WAYS
def test_explain_says_at_once_who_refused_whom(keys: bool) -> None:
    """The first sentence about a failure names who ended it, with whom, at which step, and what was seen of it."""
    both = joined(keys=keys)
    known = both[(both["outcome_true"] == "failed") & (both["outcome"] == "failed") & both["side"].notna()]
    sorts = ["scenario", "true_version", "side", "mechanism", "certainty"]
    for number in known.groupby(sorts, dropna=False, observed=True).head(1).index:
        row = both.loc[number]
        sentence = " ".join(explain(number, {"handshakes": both}).split("\n\n")[0].split())
        other = "client" if row["side"] == "server" else "server"
        assert re.match(rf"Failed [^:;]+: the {row['side']} [^:;]+ the {other}; .*\.$", sentence), sentence
        assert pd.isna(row["phase"]) or sentence.startswith(f"Failed {STEPS[Phase(row['phase'])]}: "), sentence
        assert SEEN[row["failure_mechanism"]] in sentence, sentence
        assert pd.isna(row["alert"]) or f"it sent {row['alert']} ({row['alert_code']})" in sentence, sentence
        assert ("inferred" in sentence) == (row["certainty"] == "probable"), sentence
