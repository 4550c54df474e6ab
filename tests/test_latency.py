"""Durations: quantiles by group, what was left out, and the split by side."""

import numpy as np
import pandas as pd
import pytest
from frames import established, failed, handshakes, intermittent, unknown
from hypothesis import given, settings
from hypothesis import strategies as st

from tlspcap.errors import ArgumentError
from tlspcap.failures import failure_ratio
from tlspcap.latency import MEASURES, latency, split

durations = st.lists(
    st.tuples(st.sampled_from(["TLS 1.2", "TLS 1.3"]), st.floats(0, 1e6) | st.just(float("nan"))),
    min_size=1, max_size=120,
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(durations)
def test_quantiles_equal_numpy(rows: list[tuple[str, float]]) -> None:
    """Per group, n, mean, quantiles and maximum equal numpy's over the values that are there."""
    frame = pd.DataFrame(rows, columns=["version", "handshake_ms"]).assign(outcome="established")
    table = latency(frame, "version", measures=["handshake_ms"])
    for version, group in frame.groupby("version"):
        row, values = table.loc[(version, "handshake_ms")], group["handshake_ms"].dropna().to_numpy()
        assert (row["n"], row["excluded"]) == (len(values), len(group) - len(values))
        for name, q, needed in (("p50", 50, 2), ("p90", 90, 10), ("p95", 95, 20), ("p99", 99, 100)):
            wanted = np.percentile(values, q) if len(values) >= needed else np.nan
            np.testing.assert_allclose(row[name], wanted, rtol=1e-9, atol=1e-9)
        if len(values):
            np.testing.assert_allclose([row["mean"], row["max"]], [values.mean(), values.max()], rtol=1e-9)


@pytest.mark.parametrize(("quantile", "needed"), [("p50", 2), ("p90", 10), ("p95", 20), ("p99", 100)])
def test_a_quantile_needs_as_many_handshakes_as_it_cuts_off(quantile: str, needed: int) -> None:
    """A quantile q is told from 1/(1-q) handshakes on, and is NaN with one fewer."""
    for n, told in ((needed - 1, False), (needed, True)):
        frame = pd.DataFrame({"outcome": ["established"] * n, "handshake_ms": np.arange(float(n))})
        assert latency(frame, measures=["handshake_ms"])[quantile].notna().item() == told


def test_established_handshakes_only_unless_told_otherwise() -> None:
    """Failed and unknown handshakes are left out and counted as excluded; outcome=None takes all that have a value."""
    table = handshakes(established(handshake_ms=20.0), failed(handshake_ms=2.0), unknown())
    assert latency(table).loc["handshake_ms", ["n", "excluded", "max"]].tolist() == [1, 2, 20.0]
    assert latency(table, outcome="failed").loc["handshake_ms", ["n", "excluded", "max"]].tolist() == [1, 2, 2.0]
    assert latency(table, outcome=None).loc["handshake_ms", ["n", "excluded", "mean"]].tolist() == [2, 1, 11.0]


def test_every_measure_has_a_row_in_every_group() -> None:
    """Without by the index is the measure; with by it is (by, measure), groups ordered as in failure_ratio."""
    table = intermittent()
    assert list(latency(table).index) == list(MEASURES)
    for by in ("version", "sni", "failure_side", ["server_ip", "version"]):
        grouped = latency(table, by)
        assert grouped.index.names == [*([by] if isinstance(by, str) else by), "measure"]
        groups = grouped.index.droplevel("measure")
        expected = failure_ratio(table, by).index
        assert [str(value) for value in groups[:: len(MEASURES)]] == [str(value) for value in expected]
        assert list(grouped.index.get_level_values("measure")[: len(MEASURES)]) == list(MEASURES)


def test_a_group_without_a_value_is_still_shown() -> None:
    """A group of which nothing could be measured has n = 0, its rows as excluded, and NaN."""
    row = latency(handshakes(unknown("TLS 1.0"), established()), "version").loc[("TLS 1.0", "handshake_ms")]
    assert row[["n", "excluded"]].tolist() == [0, 1]
    assert row[["mean", "p50", "max"]].isna().all()


@pytest.mark.parametrize("by", [None, "version", ["version", "sni"]])
@pytest.mark.parametrize("measure", [latency, split])
def test_no_handshakes_give_an_empty_table_of_the_same_types(by, measure) -> None:
    """An empty frame gives an empty result with the dtypes and index names of a full one."""
    full, empty = measure(intermittent(), by), measure(handshakes(), by)
    assert len(empty) == 0
    assert empty.dtypes.equals(full.dtypes)
    assert empty.index.names == full.index.names
    assert full.dtypes[["n", "excluded"]].tolist() == [np.dtype("int64")] * 2


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.floats(0, 1e4)] * 3), min_size=1, max_size=30))
def test_the_split_adds_up(parts: list[tuple[float, float, float]]) -> None:
    """The three mean durations add up to the mean of handshake_ms, and the three mean shares to one."""
    frame = pd.DataFrame(parts, columns=["client_ms", "server_ms", "transfer_ms"]).assign(outcome="established")
    table, total = split(frame), frame[["client_ms", "server_ms", "transfer_ms"]].sum(axis=1)
    assert list(table.index) == ["client", "server", "transfer"]
    assert (table["n"] + table["excluded"] == len(frame)).all()
    if (total > 0).any():
        assert table["mean"].sum() == pytest.approx(total[total > 0].mean())
        assert table["share_mean"].sum() == pytest.approx(1)
    else:
        assert table["share_mean"].isna().all()


def test_the_split_leaves_out_what_has_no_parts() -> None:
    """A handshake with an unknown part, or that took no time, is excluded from all three parts."""
    instant = established(client_ms=0.0, server_ms=0.0, transfer_ms=0.0)
    table = split(handshakes(established(), established(), established(server_ms=None), instant, failed()))
    assert table[["n", "excluded"]].to_numpy().tolist() == [[2, 3]] * 3
    assert table["p50"].tolist() == [8.0, 12.0, 4.0]
    assert table["share_p50"].tolist() == pytest.approx([8 / 24, 12 / 24, 4 / 24])


def test_wrong_arguments_are_refused_by_name() -> None:
    """An unknown measure, outcome or column raises ArgumentError that says what would have been right."""
    table = intermittent()
    with pytest.raises(ArgumentError, match="no measure 'handshake'; did you mean 'handshake_ms'"):
        latency(table, measures=["handshake"])
    with pytest.raises(ArgumentError, match="no measure asked for"):
        latency(table, measures=[])
    with pytest.raises(ArgumentError, match="no outcome 'success'; outcomes are established, failed, unknown"):
        latency(table, outcome="success")
    with pytest.raises(ArgumentError, match="did you mean 'version'"):
        split(table, by="versions")
