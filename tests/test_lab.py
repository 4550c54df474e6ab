"""Verdicts on the lab's captures, against what both endpoints of every connection said of it."""

import lab_score
import pytest
from lab_score import joined

# The verdict stays open where the server, behind the client's Finished, showed nothing that one can read
NOTHING_SHOWN = r"the client (closed|reset) the connection behind the client's Finished, before the server showed"
ALERT_OR_CLOSE = r"behind the client's Finished the server sent one sealed record as short as an alert"
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
    open_ones = lab_score.wrong(joined(keys=keys))
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
