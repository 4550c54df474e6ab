"""Cohort contrast: what goes with failures and slowness, what may be chance, and what is never claimed."""

import json

import numpy as np
import pandas as pd
import pytest
from frames import START, Row, established, failed, handshakes, intermittent, unknown

import tlspcap
from tlspcap.cohorts import ATTRIBUTES, NO_NAME, OVER, cohorts
from tlspcap.errors import ArgumentError
from tlspcap.report import build, contrast, terminal
from tlspcap.report import json as as_json
from tlspcap.report.model import Mood


def one(table: pd.DataFrame, attribute: str, value: str) -> "pd.Series[object]":
    """Give the only contrast of that value."""
    found = table[(table["attribute"] == attribute) & (table["value"] == value)]
    assert len(found) == 1, table[["attribute", "value"]]
    return found.iloc[0]


def rows(count: int, share: float, **columns: object) -> list[Row]:
    """Describe `count` handshakes of which the first `share` failed."""
    return [failed(**columns) if i < round(share * count) else established(**columns) for i in range(count)]  # type: ignore[arg-type]


# -- what is found ----------------------------------------------------------------------------------------------


def test_the_first_story_is_told_with_its_doubt() -> None:
    """All failures are TLS 1.2, and that may be chance: so it is said, with what would tell."""
    cap = tlspcap.read("sample_captures/intermittent-alert.pcap")
    assert cap.contrast().sentences == [
        "All 3 failures offer TLS 1.2 at most: 3 of 10 such handshakes failed, 0 of 10 that offer TLS 1.3 at most; "
        "p = 0.21 even before correction for the 3 contrasts tried: this may be chance; about 28 more handshakes of "
        "each kind would tell, at 80 % power."
    ]
    assert cap.contrast().said[0].mood is Mood.DOUBT
    assert cap.contrast("slow").table.iloc[0][["attribute", "value"]].tolist() == ["offered_version_max", "TLS 1.2"]


def test_what_is_no_chance_is_said_with_its_interval() -> None:
    """A difference that corrected chance does not explain is told with its interval, base and clients."""
    clients = {"client_ip": "192.0.2.1"}, {"client_ip": "192.0.2.2"}, {"client_ip": "192.0.2.3"}
    table = handshakes(*[rows(40, 0.3, version="TLS 1.2", **who) + rows(40, 0.0, version="TLS 1.3", **who)
                         for who in clients])  # fmt: skip
    said = contrast.contrast(table).said[0]
    assert said.text == (
        "All 36 failures offer TLS 1.2 at most: 36 of 120 such handshakes failed, 0 of 120 that offer TLS 1.3 at most; "
        "a difference of +22 to +39 points (95 % interval); p < 0.0001, < 0.0001 after correction for the 4 contrasts "
        "tried."
    )
    assert said.details[0] == "seen at 3 of 3 clients, against 0 of 3"
    assert said.mood is Mood.BAD


def test_one_clients_trouble_is_not_blamed_on_what_it_has() -> None:
    """Where one client in a retry loop makes the difference, what it shares with others is told with that doubt."""
    loop = rows(60, 1.0, client_ip="192.0.2.66", ja4="t12d_a")
    others = [
        row for n in range(20) for row in rows(6, 0.0, client_ip=f"192.0.2.{n}", ja4="t12d_a" if n < 8 else "t12d_b")
    ]
    table = contrast.contrast(handshakes(loop, others))
    ja4 = next(said for said in table.said if "client stack" in said.text)
    assert "but without the client 192.0.2.66 the difference is +0 points: it may be that client" in ja4.text
    assert ja4.mood is Mood.DOUBT
    assert "come from the client 192.0.2.66" in table.sentences[0]


def test_servers_behind_one_name_are_compared_with_each_other() -> None:
    """A bad server behind a name is found among the servers of that name, whatever those of other names do."""

    def pool(name: str, *shares: float) -> list[Row]:
        return [row | {"client_ip": f"192.0.2.{i % 7}"} for n, share in enumerate(shares, 1)
                for i, row in enumerate(rows(30, share, sni=name, server_ip=f"198.51.100.{n}"))]  # fmt: skip

    table = cohorts(handshakes(pool("a.example", 0.0, 0.5, 0.0), pool("b.example", 0.1, 0.1, 0.1)))
    found = table[(table["attribute"] == "server_of_name") & (table["within"] == "a.example")].iloc[0]
    assert found[["value", "cases", "base", "other_cases", "other_base"]].tolist() == [
        "198.51.100.2:443",
        15,
        30,
        0,
        60,
    ]
    said = contrast.contrast(handshakes(pool("a.example", 0.0, 0.5, 0.0), pool("b.example", 0.1, 0.1, 0.1)))
    assert any("go to 198.51.100.2:443 for a.example" in sentence for sentence in said.sentences)


@pytest.mark.parametrize(
    ("column", "bad", "good", "attribute", "value"),
    [
        ("client_hello_length", 1_800, 500, "hello_size", OVER),
        ("time", START + pd.Timedelta("21:30:00"), START, "hour", "23:00 to 00:00"),
        ("sni", None, "a.example", "sni", NO_NAME),
        ("sni", "b.example", "a.example", "sni", "b.example"),
        ("ja4", "t13d_a", "t13d_b", "ja4", "t13d_a"),
        ("client_ip", "192.0.2.1", "192.0.2.2", "client_ip", "192.0.2.1"),
        ("server_port", 8443, 443, "server", "198.51.100.1:8443"),
    ],
)  # fmt: skip
def test_every_attribute_is_looked_at(column: str, bad: object, good: object, attribute: str, value: str) -> None:
    """Failures that go with one value of an attribute are found there."""
    when = {"time": pd.Timestamp("2026-11-03 04:10", tz="UTC"), "client_random": "00"}
    table = cohorts(handshakes(rows(12, 0.9, **{**when, column: bad}), rows(12, 0.1, **{**when, column: good})))
    found = one(table, attribute, value)
    assert found["p_holm"] < 0.05
    assert found["cases"] == 11


def test_what_only_the_answer_tells_counts_only_where_it_came() -> None:
    """A failure before the ServerHello has no cipher, group or chosen version, and counts for none of them."""
    early = [failed("TLS 1.3") for _ in range(20)]
    table = cohorts(handshakes(early, rows(20, 0.0, version="TLS 1.2"), rows(20, 0.0, version="TLS 1.3")))
    assert not table["attribute"].isin(["negotiated_version", "cipher", "group", "resumption"]).any() or (
        table[table["attribute"].isin(["negotiated_version", "cipher"])]["cases"].max() == 0
    )


def test_values_that_mean_the_same_handshakes_are_one_test() -> None:
    """Attributes that divide the handshakes alike are tried once, and named together."""
    table = cohorts(
        handshakes(
            rows(20, 0.5, version="TLS 1.2", ja4="a", sni="x"), rows(20, 0.0, version="TLS 1.3", ja4="b", sni="y")
        )
    )
    found = one(table, "offered_version_max", "TLS 1.2")
    assert found["same_as"] == "sni=x; ja4=a"
    assert not (table["attribute"] == "ja4").any()


def test_unknown_outcomes_are_counted_beside_and_never_in() -> None:
    """Handshakes of unknown outcome change only the counts of unknown ones."""
    known = [rows(10, 0.5, version="TLS 1.2"), rows(10, 0.0, version="TLS 1.3")]
    plain, more = cohorts(handshakes(*known)), cohorts(handshakes(*known, [unknown("TLS 1.2")] * 7))
    counts = more[["unknown", "other_unknown"]].iloc[0].tolist()
    assert counts == [7, 0]
    pd.testing.assert_frame_equal(plain.drop(columns="unknown"), more.drop(columns="unknown"))


# -- what is not --------------------------------------------------------------------------------------------------


def test_without_failures_or_successes_there_is_nothing_to_contrast() -> None:
    """It is said in a sentence why there is nothing."""
    assert contrast.contrast(handshakes()).sentences == ["Of no handshake is it known whether it failed."]
    assert contrast.contrast(handshakes(rows(5, 0.0))).sentences == [
        "None of 5 handshakes failed: there is nothing to contrast."
    ]
    assert contrast.contrast(handshakes(rows(5, 1.0))).sentences == [
        "All 5 handshakes failed: there is none to contrast them with."
    ]
    assert contrast.contrast(handshakes(rows(5, 0.4))).sentences == [
        "2 of 5 handshakes failed, and in nothing that is looked at do they differ."
    ]
    assert contrast.contrast(handshakes(rows(5, 0.4)), "slow").sentences[0].startswith("None of 3 handshakes")


def random_night(seed: int, by_client: bool = False) -> pd.DataFrame:
    """Make 240 handshakes of 12 clients that fail by chance alone, or, `by_client`, each as often as it is broken."""
    random = np.random.default_rng(seed)
    rows: list[Row] = []
    share = np.where(random.random(12) < 0.2, 0.6, 0.02) if by_client else np.full(12, 0.12)
    stack, version = random.integers(0, 3, 12), random.choice(["TLS 1.2", "TLS 1.3"], 12)
    for client in random.integers(0, 12, 240):
        bad = random.random() < share[client]
        made = failed(version[client]) if bad else established(version[client])
        where = {"client_ip": f"192.0.2.{client}", "ja4": f"t13d_{stack[client]}", "client_hello_length": 500,
                 "server_ip": f"198.51.100.{random.integers(1, 5)}", "sni": f"{random.integers(0, 3)}.example",
                 "time": START + pd.Timedelta(hours=int(random.integers(0, 24)))}  # fmt: skip
        rows.append(made | where)
    return handshakes(rows)


def test_chance_alone_is_seldom_taken_for_more() -> None:
    """Where nothing goes with failing, at most 5 % of captures (and chance's share) are said to show something."""
    nights = 60
    alarms = sum(cohorts(random_night(seed))["p_holm"].min() <= 0.05 for seed in range(nights))
    assert alarms <= 0.05 * nights + 2 * np.sqrt(0.05 * 0.95 * nights)


@pytest.mark.parametrize("first", [0, 500])
def test_clients_that_are_broken_by_chance_seldom_blame_what_they_have(first: int) -> None:
    """Where failures are the clients' own, at most 5 % of captures (and chance's share) firmly blame anything else."""
    nights = 20
    firm = [
        any(said.mood is Mood.BAD and said.data["attribute"] != "client_ip" for said in told.said if said.data)
        for told in (contrast.contrast(random_night(first + seed, by_client=True)) for seed in range(nights))
    ]
    assert sum(firm) <= 0.05 * nights + 2 * np.sqrt(0.05 * 0.95 * nights)


def test_a_few_clients_are_said_to_be_few() -> None:
    """Two of four clients with a stack fail often, none of four without: that may be these two, and is said to."""
    pool = [
        row for n in range(8)
        for row in rows(40, 0.5 if n < 2 else 0.0, client_ip=f"192.0.2.{n}", ja4="t13d_a" if n < 4 else "t13d_b")
    ]  # fmt: skip
    told = contrast.contrast(handshakes(pool))
    ja4 = next(said for said in told.said if "client stack" in said.text)
    assert "but each client's handshakes taken as one, p = " in ja4.text
    assert ja4.text.endswith("it may be what these clients are.")
    assert ja4.mood is Mood.DOUBT


def test_two_runs_give_one_report() -> None:
    """The same table gives the same contrasts and words, and the order of its rows makes no difference."""
    night = random_night(7, by_client=True)
    told = contrast.contrast(night)
    assert told.sentences == contrast.contrast(night).sentences
    shuffled = cohorts(night.sample(frac=1, random_state=1))
    order = ["attribute", "value", "within"]
    first, second = (found.sort_values(order, ignore_index=True) for found in (told.table, shuffled))
    pd.testing.assert_frame_equal(first.drop(columns="same_as"), second.drop(columns="same_as"))


def test_rare_values_are_not_tried_where_others_can_tell() -> None:
    """A value too rare to differ, whatever became of its handshakes, does not count against the others."""
    table = cohorts(handshakes(rows(40, 0.5, version="TLS 1.2"), rows(40, 0.0, version="TLS 1.3"),
                               rows(1, 0.0, sni="rare.example", version="TLS 1.3")))  # fmt: skip
    assert "rare.example" not in set(table["value"])


def test_wrong_arguments_are_said_to_be() -> None:
    """An outcome that cannot be contrasted, or a missing column, is the caller's error."""
    with pytest.raises(ArgumentError, match="cannot contrast 'fialed'; did you mean 'failed'"):
        cohorts(intermittent(), "fialed")
    with pytest.raises(ArgumentError, match="no column 'ja4'"):
        cohorts(intermittent().drop(columns="ja4"))


# -- slow ones ----------------------------------------------------------------------------------------------------


def test_slow_handshakes_are_contrasted_with_the_medians() -> None:
    """A server that takes three times as long is found, with how far the medians lie apart."""
    slow = [established(server_ip="198.51.100.9", handshake_ms=60.0 + i % 7) for i in range(20)]
    quick = [established(handshake_ms=20.0 + i % 7) for i in range(40)]
    said = contrast.contrast(handshakes(slow, quick), "slow", limit=40.0).sentences[0]
    assert said.startswith("All 20 slow handshakes go to 198.51.100.9:443: 20 of 20 such handshakes were slow, 0 of 40")
    assert "Slow is more than 40.0 ms; the medians are 40.0 ms apart (95 % interval" in said


# -- in a report --------------------------------------------------------------------------------------------------


def test_the_report_has_it_in_every_form() -> None:
    """The section says it in words on the terminal and in JSON, and lists the contrasts where one is firm."""
    bad = rows(60, 0.5, version="TLS 1.2", sni="a\x1b[2J.example")
    night = handshakes(bad, rows(60, 0.0, version="TLS 1.3"), rows(60, 0.1, version="TLS 1.3", client_ip="192.0.2.9"))
    report = build({"handshakes": night})
    text = terminal.render(report)
    assert "What goes with the failures" in text
    assert "\x1b" not in text
    sections = {section["key"]: section for section in json.loads(as_json.render(report))["sections"]}
    row = sections["contrast"]["tables"][0]["rows"][0]
    assert (row["failed"], row["base"], row["other_failed"], row["other_base"]) == (30, 60, 6, 120)
    assert sections["contrast"]["sentences"][0]["data"]["p_holm"] < 1e-6


def test_a_report_without_failures_has_no_contrast() -> None:
    """Where no handshake failed the section is left out."""
    assert "contrast" not in {section.key for section in build({"handshakes": handshakes(rows(5, 0.0))}).sections}


def test_every_attribute_has_its_words() -> None:
    """Each attribute that is tried can be said in words."""
    for attribute in ATTRIBUTES:
        assert contrast._deed(attribute, "none")
