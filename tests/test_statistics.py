"""The statistics: against scipy, statsmodels and published examples, and on data made up without any difference."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats import multitest, proportion

from tlspcap.statistics import (
    fisher_exact,
    holm,
    median_difference,
    newcombe,
    permuted_by_cluster,
    sample_size,
    student_t_95,
    wilson,
)

fourfold = st.tuples(st.integers(1, 400), st.floats(0, 1), st.integers(1, 400), st.floats(0, 1)).map(
    lambda drawn: (round(drawn[0] * drawn[1]), drawn[0], round(drawn[2] * drawn[3]), drawn[2])
)


# -- one proportion ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failed_count", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_equals_the_published_examples(failed_count: int, n: int, low: float, high: float) -> None:
    """Wilson's interval equals method 3 of Newcombe, Stat. Med. 17 (1998), table I, to its four digits."""
    bounds = wilson(np.array([failed_count / n]), np.array([float(n)]))
    assert [round(float(bound[0]), 4) for bound in bounds] == [low, high]


@given(st.integers(1, 10**9), st.floats(0, 1), st.integers(2, 1000))
def test_wilson_encloses_the_ratio_and_narrows_with_the_base(n: int, share: float, times: int) -> None:
    """The interval lies in 0 to 1, holds the ratio, and is narrower when the same ratio rests on more handshakes."""
    ratio = np.full(2, round(share * n) / n)
    low, high = wilson(ratio, np.array([float(n), float(n) * times]))
    assert (low >= 0).all()
    assert (low <= ratio).all()
    assert (ratio <= high).all()
    assert (high <= 1).all()
    assert high[1] - low[1] < high[0] - low[0]


@given(st.integers(1, 1000), st.floats(0, 1))
def test_wilson_does_not_care_what_is_called_failure(n: int, share: float) -> None:
    """The interval of the share of successes mirrors that of the share of failures."""
    ratio, base = np.array([round(share * n) / n]), np.array([float(n)])
    low, high = wilson(ratio, base)
    mirrored_low, mirrored_high = wilson(1 - ratio, base)
    np.testing.assert_allclose([low, high], [1 - mirrored_high, 1 - mirrored_low], atol=1e-12)


@pytest.mark.parametrize(
    ("degrees", "critical"), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (5, 2.571), (10, 2.228), (100, 1.984)]
)
def test_critical_values_equal_the_tables_of_student_t(degrees: int, critical: float) -> None:
    """The two-sided 95 % critical values equal the printed tables within a thousandth of their size."""
    assert student_t_95(degrees) == pytest.approx(critical, rel=1.1e-3)


# -- Fisher's exact test ----------------------------------------------------------------------------------------


@given(fourfold)
def test_fishers_test_equals_scipys(counts: tuple[int, int, int, int]) -> None:
    """The two-sided p-value equals that of scipy, on any fourfold table."""
    first, first_base, second, second_base = counts
    table = [[first, first_base - first], [second, second_base - second]]
    assert fisher_exact(*counts) == pytest.approx(stats.fisher_exact(table).pvalue, rel=1e-9, abs=1e-300)


def test_fishers_test_equals_the_tea_tasting() -> None:
    """R. A. Fisher, The Design of Experiments (1935), chapter 2: 3 of 4 cups right, one-sided 17 of 70."""
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(2 * 17 / 70)


@given(fourfold)
def test_fishers_test_does_not_care_about_names(counts: tuple[int, int, int, int]) -> None:
    """Which group comes first, and what is called a case, changes nothing."""
    first, base, second, other = counts
    told = fisher_exact(first, base, second, other)
    assert 0 < told <= 1
    assert fisher_exact(second, other, first, base) == pytest.approx(told)
    assert fisher_exact(base - first, base, other - second, other) == pytest.approx(told)


def test_fishers_test_stands_large_counts() -> None:
    """A million of each kind are tested without overflow, and a p-value too small for a float is 0 or tiny."""
    assert fisher_exact(20_000, 1_000_000, 20_000, 1_000_000) == pytest.approx(1.0)
    assert 0 <= fisher_exact(40_000, 1_000_000, 20_000, 1_000_000) < 1e-300
    assert fisher_exact(20_400, 1_000_000, 20_000, 1_000_000) == pytest.approx(
        stats.fisher_exact([[20_400, 979_600], [20_000, 980_000]]).pvalue, rel=1e-6
    )


@pytest.mark.parametrize(("share", "base", "other"), [(0.3, 10, 10), (0.05, 40, 200), (0.5, 100, 30), (0.02, 500, 500)])
def test_fishers_test_keeps_its_level_where_nothing_differs(share: float, base: int, other: int) -> None:
    """Where both groups fail equally often, at most 5 % of the tests say otherwise; summed over all that can happen."""
    wrong = sum(
        stats.binom.pmf(a, base, share) * stats.binom.pmf(b, other, share)
        for a in range(base + 1) if stats.binom.pmf(a, base, share) > 1e-9
        for b in range(other + 1) if stats.binom.pmf(b, other, share) > 1e-9 and fisher_exact(a, base, b, other) <= 0.05
    )  # fmt: skip
    assert 0 < wrong <= 0.05


# -- many tests -------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_holms_correction_equals_statsmodels(p_values: list[float]) -> None:
    """The corrected p-values are those of statsmodels."""
    expected = multitest.multipletests(p_values, method="holm")[1]
    np.testing.assert_allclose(holm(p_values), expected, atol=1e-12)


def test_holms_correction_keeps_its_level() -> None:
    """Of 2,000 families of 20 tests without any difference, at most 5 % (and chance's share) raise any alarm."""
    p_values = np.random.default_rng(1).random((2_000, 20))
    alarms = np.mean([(holm(family) <= 0.05).any() for family in p_values])
    assert 0.03 < alarms <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 2_000)


# -- differences of ratios --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 20, 0.6791, 1.0),
        (10, 10, 0, 10, 0.6075, 1.0),
        (5, 56, 0, 29, -0.0381, 0.1926),
        (0, 10, 0, 20, -0.1611, 0.2775),
    ],
)
def test_newcombes_interval_equals_the_published_examples(
    a: int, m: int, b: int, n: int, low: float, high: float
) -> None:
    """The interval equals method 10 of Newcombe, Stat. Med. 17 (1998) 873, table II, to its four digits."""
    found = newcombe(np.array([b / n]), np.array([float(n)]), np.array([a / m]), np.array([float(m)]))
    assert [round(float(bound[0]), 4) for bound in found] == [low, high]


@given(fourfold)
def test_newcombes_interval_equals_statsmodels(counts: tuple[int, int, int, int]) -> None:
    """Both ends equal those of statsmodels."""
    first, base, second, other = counts
    expected = proportion.confint_proportions_2indep(second, other, first, base, method="newcomb", compare="diff")
    arrays = [np.array([value]) for value in (first / base, float(base), second / other, float(other))]
    np.testing.assert_allclose([float(bound[0]) for bound in newcombe(*arrays)], expected, atol=1e-9)


@pytest.mark.parametrize(
    ("first", "second", "base"), [(0.1, 0.1, 30), (0.02, 0.3, 50), (0.0, 0.05, 100), (0.5, 0.5, 15)]
)
def test_newcombes_interval_holds_its_level(first: float, second: float, base: int) -> None:
    """Over all that can happen, the interval holds the true difference in about 95 % of the cases."""
    counts = np.arange(base + 1)
    a, b = (grid.ravel() for grid in np.meshgrid(counts, counts))
    chances = stats.binom.pmf(a, base, first) * stats.binom.pmf(b, base, second)
    n = np.full(len(a), float(base))
    low, high = newcombe(a / base, n, b / base, n)
    covered = chances[(low <= second - first + 1e-12) & (second - first - 1e-12 <= high)].sum()
    assert covered > 0.93


# -- how many would tell ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "second"), [(0.3, 0.0), (0.02, 0.1), (0.5, 0.7), (0.01, 0.05)])
def test_as_many_as_are_said_to_tell_do_tell(first: float, second: float) -> None:
    """With so many of each kind, Fisher's exact test finds the difference in about 80 % of the cases."""
    n = int(sample_size(first, second))
    counts = np.arange(n + 1)
    chances = [stats.binom.pmf(counts, n, share) for share in (first, second)]
    power = sum(
        chances[0][a] * chances[1][b]
        for a in counts[chances[0] > 1e-6] for b in counts[chances[1] > 1e-6]
        if fisher_exact(int(a), n, int(b), n) <= 0.05
    )  # fmt: skip
    assert 0.77 < power < 0.9


def test_nothing_tells_a_difference_that_is_none() -> None:
    """Equal ratios need infinitely many; certain ones need few."""
    assert sample_size(0.2, 0.2) == math.inf
    assert sample_size(0.0, 1.0) < 10


# -- observations that hang together ----------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [([9, 0, 1, 0, 7], 2), ([5, 6, 7, 8, 0, 0, 1, 0], 4), ([1, 1, 1, 1, 1, 1], 3)])
def test_clusters_are_tested_as_scipy_permutes_them(counts: tuple[list[int], int]) -> None:
    """The p-value is that of scipy's permutation of the same clusters, but for the chance of 999 deals."""
    cases, first = np.array(counts[0]), counts[1]
    base, is_first = np.full(len(cases), 10), np.arange(len(cases)) < first
    exact = stats.permutation_test(
        (cases[:first], cases[first:]), lambda a, b: abs(a.mean() - b.mean()), alternative="greater"
    ).pvalue
    assert permuted_by_cluster(cases, base, is_first) == pytest.approx(exact, abs=0.05)


def test_clusters_keep_their_level() -> None:
    """Of 400 draws of clusters that differ among themselves and not by kind, at most 5 % (and a bit) say so."""
    random = np.random.default_rng(21)
    base, is_first = np.full(12, 40), np.arange(12) < 5
    alarms = sum(
        permuted_by_cluster(random.binomial(40, random.beta(0.3, 1, 12)), base, is_first) <= 0.05 for _ in range(400)
    )
    assert alarms <= 0.05 * 400 + 2 * math.sqrt(0.05 * 0.95 * 400)


# -- medians ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [11, 12, 60, 61])
def test_the_bootstrap_equals_one_that_draws_whole_resamples(size: int) -> None:
    """Drawing only the rank of the median gives the interval that scipy gets from whole resamples."""
    values = np.random.default_rng(size).lognormal(3, 0.5, (2, size))
    difference, low, high = median_difference(values[0], values[1])
    whole = stats.bootstrap(
        (values[0], values[1]), lambda a, b, axis: np.median(b, axis=axis) - np.median(a, axis=axis),
        n_resamples=4_000, method="percentile", rng=np.random.default_rng(2), batch=500,
    ).confidence_interval  # fmt: skip
    assert difference == pytest.approx(float(np.median(values[1]) - np.median(values[0])))
    width = whole.high - whole.low
    assert [low, high] == pytest.approx([whole.low, whole.high], abs=0.12 * width)


def test_the_bootstrap_is_seeded() -> None:
    """Two calls give one result; the order of the values makes no difference, another seed a small one."""
    first, second = np.random.default_rng(3).lognormal(3, 0.4, (2, 40))
    told = median_difference(first, second)
    assert told == median_difference(first[::-1], np.sort(second))
    assert told != median_difference(first, second, seed=1)
    assert told[0] == median_difference(first, second, seed=1)[0]


@pytest.mark.parametrize("size", [10, 50])
def test_the_bootstrap_holds_its_level(size: int) -> None:
    """Without a difference, the interval misses 0 in about 5 % of 1,000 draws, and never in more than 8 %."""
    random = np.random.default_rng(size)
    missed = 0
    for _ in range(1_000):
        first, second = random.lognormal(3, 0.5, (2, size))
        _, low, high = median_difference(first, second)
        missed += not low <= 0 <= high
    assert missed <= 80


def test_too_few_carry_no_interval() -> None:
    """With fewer than ten on a side there is a difference and no interval; with none there is neither."""
    difference, low, high = median_difference(np.arange(9.0), np.arange(20.0))
    assert difference == 5.5
    assert math.isnan(low)
    assert math.isnan(high)
    assert all(map(math.isnan, median_difference(np.array([]), np.arange(20.0))))
