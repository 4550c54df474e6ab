"""Failure ratios: counts, intervals, their order, and who failed whom."""

import numpy as np
import pandas as pd
import pytest
from frames import START, established, failed, handshakes, intermittent, unknown
from hypothesis import given, settings
from hypothesis import strategies as st

from tlspcap import schema
from tlspcap.errors import ArgumentError
from tlspcap.failures import failure_ratio, failures, unknowns
from tlspcap.statistics import student_t_95, wilson

COUNTS = ["n", "established", "failed", "unknown", "clients"]
RATIOS = ["failure_ratio", "ci_low", "ci_high"]


def night(rows: list[tuple[str | None, str, str]]) -> pd.DataFrame:
    """Build the few columns that a failure ratio reads, with their contract dtypes."""
    frame = pd.DataFrame(rows, columns=["version", "outcome", "client_ip"])
    return frame.astype({name: schema.HANDSHAKES[name].pandas_dtype for name in frame.columns})


rows_of_a_night = st.lists(
    st.tuples(
        st.sampled_from(["TLS 1.0", "TLS 1.2", "TLS 1.3", "TLS 1.3 draft 23", "0x7e01", None]),
        st.sampled_from(["established", "failed", "unknown"]),
        st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::3"]),
    ),
    max_size=40,
)


def test_the_first_story_is_told_in_numbers() -> None:
    """TLS 1.2 fails 3 of 10 with its interval, TLS 1.3 fails 0 of 10, in that order."""
    table = failure_ratio(intermittent())
    assert list(table.index) == ["TLS 1.2", "TLS 1.3"]
    assert table[COUNTS].to_numpy().tolist() == [[10, 7, 3, 0, 1], [10, 10, 0, 0, 1]]
    assert table[RATIOS].round(4).to_numpy().tolist() == [[0.3, 0.1078, 0.6032], [0.0, 0.0, 0.2775]]


def test_unknown_is_counted_beside_the_ratio_and_never_in_it() -> None:
    """Handshakes of unknown outcome change n and unknown only; where nothing was decided the ratio is NaN."""
    table = failure_ratio(handshakes(failed(), established(), unknown(), unknown("TLS 1.3")))
    assert table.loc["TLS 1.2", COUNTS].tolist() == [3, 1, 1, 1, 1]
    assert table.loc["TLS 1.2", "failure_ratio"] == 0.5
    assert table.loc["TLS 1.3", RATIOS].isna().all()


def test_versions_come_in_order_of_version() -> None:
    """Drafts stand between TLS 1.2 and 1.3, unknown codes by their number, and a missing version last."""
    versions = ["TLS 1.3", None, "TLS 1.0", "SSL 2.0", "0x7e01", "TLS 1.3 draft 28", "TLS 1.2", "TLS 1.3 draft 18"]
    table = failure_ratio(handshakes([established("TLS 1.2") | {"version": version} for version in versions]))
    assert list(table.index[:-1]) == [
        "SSL 2.0", "TLS 1.0", "TLS 1.2", "TLS 1.3 draft 18", "TLS 1.3 draft 28", "TLS 1.3", "0x7e01",
    ]  # fmt: skip
    assert pd.isna(table.index[-1])


def test_categories_come_in_the_order_of_their_list() -> None:
    """A category is ordered as the contract lists it, with NA as a row of its own at the end."""
    table = failure_ratio(
        handshakes(established(), failed(failure_side="server"), failed(failure_side="client")), "failure_side"
    )
    assert [str(side) for side in table.index] == ["client", "server", "nan"]
    assert table["n"].tolist() == [1, 1, 1]


def test_other_columns_come_with_the_most_failures_first() -> None:
    """Free values are ordered by failures, then by rows, then by value."""
    rows = [failed(sni="b"), failed(sni="b"), failed(sni="a"), established(sni="a"), established(sni="d"),
            established(sni="c"), failed(sni=None)]  # fmt: skip
    order = list(failure_ratio(handshakes(rows), "sni").index)
    assert [str(sni) for sni in order] == ["b", "a", "<NA>", "c", "d"]


def test_several_columns_nest() -> None:
    """With several columns the first decides, and the next orders the rows within it."""
    rows = [established("TLS 1.3", sni="good"), failed("TLS 1.3", sni="bad"), established("TLS 1.0", sni="bad")]
    table = failure_ratio(handshakes(rows), ["sni", "version"])
    assert list(table.index) == [("bad", "TLS 1.0"), ("bad", "TLS 1.3"), ("good", "TLS 1.3")]
    assert table.index.names == ["sni", "version"]


def test_no_column_gives_one_row() -> None:
    """by=None sums everything up in a row called all."""
    table = failure_ratio(intermittent(), by=None)
    assert list(table.index) == ["all"]
    assert table[COUNTS].to_numpy().tolist() == [[20, 17, 3, 0, 1]]


@pytest.mark.parametrize("by", ["version", None, ["version", "sni"], "outcome", "client_port", "hello_retry", "time"])
@pytest.mark.parametrize("by_client", [False, True])
def test_no_handshakes_give_an_empty_table_of_the_same_types(by: str | list[str] | None, by_client: bool) -> None:
    """An empty frame gives an empty result whose counts are int64 and whose ratios are float64."""
    full, empty = (failure_ratio(frame, by, by_client) for frame in (intermittent(), handshakes()))
    assert len(empty) == 0
    assert len(full) > 0
    assert empty.dtypes.equals(full.dtypes)
    assert set(empty[COUNTS].dtypes) == {np.dtype("int64")}
    assert set(empty[RATIOS].dtypes) == {np.dtype("float64")}


@settings(max_examples=20, deadline=None)
@given(rows_of_a_night, st.randoms(use_true_random=False), st.booleans())
def test_the_order_of_the_rows_does_not_matter(rows: list[tuple[str | None, str, str]], random, by_client) -> None:
    """A shuffled table gives the same result."""
    shuffled = random.sample(rows, len(rows))
    for by in ("version", "client_ip", ["client_ip", "version"], None):
        pd.testing.assert_frame_equal(
            failure_ratio(night(rows), by, by_client), failure_ratio(night(shuffled), by, by_client)
        )


@settings(max_examples=25, deadline=None)
@given(rows_of_a_night, rows_of_a_night)
def test_counts_of_joined_tables_add_up(first, second) -> None:
    """Two tables put together give the sums of their counts, and every row is counted once."""
    joined = failure_ratio(night(first + second))
    apart = pd.concat([failure_ratio(night(rows)) for rows in (first, second)])
    columns = ["n", "established", "failed", "unknown"]
    for version in joined.index:
        same = apart.index.isna() if pd.isna(version) else apart.index == version
        row = joined.index.isna() if pd.isna(version) else joined.index == version
        assert apart.loc[same, columns].sum().tolist() == joined.loc[row, columns].iloc[0].tolist()
    assert joined["n"].sum() == len(first) + len(second)
    assert (joined[columns[1:]].sum(axis=1) == joined["n"]).all()


@settings(max_examples=40, deadline=None)
@given(rows_of_a_night, st.booleans())
def test_an_interval_holds_its_ratio_or_is_missing(rows, by_client) -> None:
    """Whatever the rows, the bounds enclose the ratio; they are missing only without a base or a second client."""
    table = failure_ratio(night(rows), by_client=by_client)
    told = table["ci_low"].notna()
    assert (table["ci_low"] <= table["failure_ratio"])[told].all()
    assert (table["failure_ratio"] <= table["ci_high"])[told].all()
    assert told.equals(table["ci_high"].notna())
    if not by_client:
        assert told.equals(table["failed"] + table["established"] > 0)


def test_one_client_carries_no_clustered_interval() -> None:
    """With a single client nothing is known of how clients differ, so there is no interval; the ratio stays."""
    table = failure_ratio(intermittent(), by_client=True)
    assert table["failure_ratio"].tolist() == [0.3, 0.0]
    assert table[["ci_low", "ci_high"]].isna().all(axis=None)


def test_a_retry_loop_widens_the_clustered_interval() -> None:
    """One client that fails 90 times among 30 that succeed leaves the plain interval narrow, the clustered one wide."""
    rows: list[tuple[str | None, str, str]] = [("TLS 1.2", "failed", "192.0.2.66")] * 90
    rows += [("TLS 1.2", "established", f"192.0.2.{i}") for i in range(30) for _ in range(3)]
    plain, clustered = (failure_ratio(night(rows), by_client=flag).iloc[0] for flag in (False, True))
    assert plain["ci_high"] - plain["ci_low"] < 0.15
    assert clustered["ci_high"] - clustered["ci_low"] > 0.7


def test_repeating_every_handshake_tells_nothing_new() -> None:
    """Ten copies of every handshake narrow the plain interval but leave the clustered one as it was."""
    rows: list[tuple[str | None, str, str]] = [
        ("TLS 1.2", "failed" if i % 5 == 0 else "established", f"192.0.2.{i}") for i in range(50)
    ]
    once, often = (failure_ratio(night(rows * times), by_client=True).iloc[0] for times in (1, 10))
    assert often[RATIOS].tolist() == pytest.approx(once[RATIOS].tolist(), rel=1e-9)
    assert failure_ratio(night(rows * 10)).iloc[0]["ci_high"] < once["ci_high"] - 0.05


def test_clients_with_one_handshake_each_change_little() -> None:
    """Where every handshake has its own client, clustering gives nearly the plain interval."""
    rows: list[tuple[str | None, str, str]] = [
        ("TLS 1.2", "failed" if i % 4 == 0 else "established", f"10.0.{i // 250}.{i % 250}") for i in range(400)
    ]
    plain, clustered = (failure_ratio(night(rows), by_client=flag).iloc[0] for flag in (False, True))
    assert clustered[RATIOS].tolist() == pytest.approx(plain[RATIOS].tolist(), abs=0.002)


def test_where_nothing_failed_clients_count_and_not_handshakes() -> None:
    """0 of 1000 handshakes from 5 clients says no more than 0 of 5 independent ones, at Student's t."""
    rows: list[tuple[str | None, str, str]] = [
        ("TLS 1.2", "established", f"192.0.2.{i}") for i in range(5) for _ in range(200)
    ]
    row = failure_ratio(night(rows), by_client=True).iloc[0]
    _, high = wilson(np.array([0.0]), np.array([5.0]), student_t_95(4))
    assert row["ci_low"] == 0
    assert row["ci_high"] == pytest.approx(float(high[0]))


def test_clustered_intervals_hold_their_level_where_plain_ones_do_not() -> None:
    """Over 400 simulated nights of 25 unlike clients, the clustered interval holds the truth in at least 93 %."""
    random = np.random.default_rng(7)
    nights, clients, each, truth = 400, 25, 20, 0.2
    of_client = random.beta(truth * 2, (1 - truth) * 2, (nights, clients))  # within-client correlation 1/3
    is_failed = random.random((nights, clients, each)) < of_client[:, :, None]
    number, client, _ = np.indices(is_failed.shape)
    frame = pd.DataFrame({"night": number.ravel(), "client_ip": client.ravel()})
    frame["outcome"] = np.where(is_failed.ravel(), "failed", "established")

    def coverage(by_client: bool) -> float:
        table = failure_ratio(frame, "night", by_client)
        return float(((table["ci_low"] <= truth) & (truth <= table["ci_high"])).mean())

    assert coverage(by_client=True) >= 0.93
    assert coverage(by_client=False) < 0.75


def test_a_wrong_column_names_the_nearest() -> None:
    """A misspelt column raises ArgumentError that names the column meant; so does a frame without outcomes."""
    with pytest.raises(ArgumentError, match="no column 'server_pi'; did you mean 'server_ip'"):
        failure_ratio(intermittent(), by="server_pi")
    with pytest.raises(ArgumentError, match="no column 'outcome'"):
        failure_ratio(intermittent().drop(columns="outcome"))
    with pytest.raises(ArgumentError, match="DataFrame is needed, not list"):
        failure_ratio([])  # type: ignore[arg-type]


def test_plain_text_outcomes_count_as_well() -> None:
    """A table that lost its categories, as after concatenation with another tool's, gives the same result."""
    table = intermittent()
    pd.testing.assert_frame_equal(failure_ratio(table.astype({"outcome": "string"})), failure_ratio(table))


def test_failures_say_who_failed_whom_with_what() -> None:
    """Failures are counted by server, side, step, mechanism, alert, certainty and version, the most frequent first."""
    table = failures(handshakes(
        failed(alert="protocol_version", version="TLS 1.0", server_ip="2001:db8::1", server_port=8443),
        failed(time=START + pd.Timedelta(minutes=9), frame=900), failed(stream=5, frame=50), established(), unknown(),
        failed(alert=None, client_ip="192.0.2.77", certainty="probable"),
    ))  # fmt: skip
    assert table["server"].tolist() == ["198.51.100.1:443", "[2001:db8::1]:8443", "198.51.100.1:443"]
    assert table["n"].tolist() == [2, 1, 1]
    assert table["failure_mechanism"].tolist() == ["alert", "alert", "reset"]
    assert table["alert_code"].tolist()[:2] == [80, 70]
    first = table.iloc[0]
    assert (first["handshake"], first["stream"], first["frame"], first["clients"]) == (2, 5, 50, 1)
    assert first["reason"] == "the server sent a fatal internal_error after the ClientHello"


def test_unknowns_say_what_the_capture_lacks() -> None:
    """Unknown outcomes are counted by completeness and reason, with an example to look at."""
    table = unknowns(
        handshakes(unknown(), unknown(completeness="gap", reason="bytes are missing"), unknown(), failed())
    )
    assert table[["completeness", "n", "handshake"]].to_numpy().tolist() == [["cut_off", 2, 0], ["gap", 1, 1]]


@pytest.mark.parametrize("tally", [failures, unknowns])
def test_no_failures_give_an_empty_table_of_the_same_types(tally) -> None:
    """Without such handshakes the result is empty and has the dtypes of a full one."""
    full, empty = tally(handshakes(failed(), unknown())), tally(handshakes())
    assert (len(full), len(empty)) == (1, 0)
    assert empty.dtypes.equals(full.dtypes)
