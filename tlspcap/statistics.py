"""Statistics of proportions and medians: intervals, exact tests, corrections, and how many more would tell.

Plain functions of arrays. They take observations to be independent; who calls them says where they are not. Every
random draw is seeded, so that two runs give one result. scipy is imported by the functions that need it.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Z_95 = 1.959963984540054  # the normal distribution's 97.5 % quantile: two-sided 95 %
Z_80 = 0.8416212335729143  # its 80 % quantile: the power of a planned comparison
SEED = 20_130_917
RESAMPLES = 4_000
DEALS = 999
FEWEST_FOR_MEDIAN = 10  # below, intervals of bootstrapped medians hold their level badly
_AS_LIKELY = 1 + 1e-7  # tables within rounding of the observed one's probability are as likely as it


# -- one proportion ---------------------------------------------------------------------------------------------


def wilson(ratio: Floats, base: Floats, critical: Floats | float = Z_95) -> tuple[Floats, Floats]:
    """Bound proportions by Wilson's score interval.

    Args:
        ratio: observed proportions, 0 to 1.
        base: on how many observations each rests; need not be whole, as an effective number is not.
        critical: the two-sided critical value; the default gives 95 %.

    Returns:
        Lower and upper bounds, float64, within 0 to 1 and around `ratio`; NaN where the base is 0 or NaN.

    Example:
        >>> import numpy as np
        >>> low, high = wilson(np.array([81 / 263]), np.array([263.0]))
        >>> print(f"{low[0]:.4f} to {high[0]:.4f}")
        0.2553 to 0.3662
    """
    n = np.where(base > 0, base, np.nan)
    square = np.square(critical)
    centre = (ratio * n + square / 2) / (n + square)
    half = critical / (n + square) * np.sqrt(ratio * (1 - ratio) * n + square / 4)
    # In exact arithmetic the bounds enclose the ratio and touch 0 and 1 there; rounding must not undo that.
    return np.clip(np.minimum(centre - half, ratio), 0, 1), np.clip(np.maximum(centre + half, ratio), 0, 1)


def student_t_95(degrees: int) -> float:
    """Return the two-sided 95 % critical value of Student's t; NaN without a degree of freedom.

    One and two degrees have closed forms; beyond, the normal quantile's expansion in 1/degrees (Abramowitz and
    Stegun 26.7.5) is within 0.1 %.

    Example:
        >>> [round(student_t_95(degrees), 2) for degrees in (1, 2, 10)]
        [12.71, 4.3, 2.23]
    """
    if degrees < 1:
        return math.nan
    if degrees == 1:
        return math.tan(math.pi * 0.475)
    if degrees == 2:
        return 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025))
    z, v = Z_95, float(degrees)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return sum(term / v**power for power, term in enumerate(terms))




# -- two proportions --------------------------------------------------------------------------------------------


def newcombe(first: Floats, first_base: Floats, second: Floats, second_base: Floats) -> tuple[Floats, Floats]:
    """Bound the difference `second - first` of two independent proportions, with 95 % confidence.

    R. G. Newcombe, Stat. Med. 17 (1998) 873-890, method 10: the distances from both Wilson intervals, squared and
    added. It keeps within -1 to 1 and holds its level with few observations, where the textbook's interval does not.

    Args:
        first: observed proportions, 0 to 1.
        first_base: on how many observations each rests.
        second: the proportions to compare them with.
        second_base: their bases.

    Returns:
        Lower and upper bounds of the difference, float64; NaN where a base is 0 or NaN.

    Example:
        >>> import numpy as np
        >>> low, high = newcombe(np.array([48 / 80]), np.array([80.0]), np.array([56 / 70]), np.array([70.0]))
        >>> print(f"{low[0]:.4f} to {high[0]:.4f}")
        0.0524 to 0.3339
    """
    (low_1, high_1), (low_2, high_2) = wilson(first, first_base), wilson(second, second_base)
    difference = second - first
    below = np.sqrt(np.square(second - low_2) + np.square(high_1 - first))
    above = np.sqrt(np.square(high_2 - second) + np.square(first - low_1))
    return difference - below, difference + above


def fisher_exact(first: int, first_base: int, second: int, second_base: int) -> float:
    """Test whether two groups of observations show something equally often; return the two-sided p-value.

    R. A. Fisher's exact test: with both bases and the total fixed, the probability of all tables that are no more
    likely than the one observed. The probabilities follow from one another by a ratio of four whole numbers, so that
    no factorial is needed; they are added up from logarithms, since most are too small for a float.

    Example:
        >>> round(fisher_exact(3, 10, 0, 10), 4), round(fisher_exact(8, 10, 1, 6), 4)
        (0.2105, 0.035)
    """
    total = first + second
    lowest, highest = max(0, total - second_base), min(first_base, total)
    if lowest >= highest:
        return 1.0
    k = np.arange(lowest, highest, dtype=np.float64)
    steps = np.log(first_base - k) + np.log(total - k) - np.log(k + 1) - np.log(second_base - total + k + 1)
    logs = np.concatenate([[0.0], np.cumsum(steps)])
    likelihood = np.exp(logs - logs.max())
    observed = likelihood[first - lowest]
    extreme = likelihood[likelihood <= observed * _AS_LIKELY].sum()
    return min(1.0, float(extreme / likelihood.sum()))


def holm(p_values: ArrayLike) -> Floats:
    """Correct p-values for that many were tried, so that the chance of any false alarm stays within the level.

    S. Holm, Scand. J. Stat. 6 (1979) 65-70. It holds whatever the tests have to do with one another.

    Example:
        >>> holm([0.01, 0.04, 0.03]).round(3).tolist()
        [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * (len(values) - np.arange(len(values))))
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def sample_size(first: float, second: float) -> float:
    """Tell how many observations each of two groups needs to tell their proportions apart.

    For a two-sided test at 5 % that finds the difference four times in five (80 % power). The formula with continuity
    correction (J. T. Casagrande, M. C. Pike, P. G. Smith, Biometrics 34, 1978, 483-486; J. L. Fleiss, Statistical
    Methods for Rates and Proportions, 3.2), which comes close to what Fisher's exact test needs.

    Returns:
        A whole number as float; inf where the proportions are equal, or one is NaN.

    Example:
        >>> sample_size(0.3, 0.0), sample_size(0.02, 0.04)
        (28.0, 1239.0)
    """
    gap = abs(first - second)
    if not gap or math.isnan(gap):
        return math.inf
    mean = (first + second) / 2
    spread = first * (1 - first) + second * (1 - second)
    plain = (Z_95 * math.sqrt(2 * mean * (1 - mean)) + Z_80 * math.sqrt(spread)) ** 2 / gap**2
    return float(math.ceil(plain / 4 * (1 + math.sqrt(1 + 4 / (plain * gap))) ** 2))


def permuted_by_cluster(cases: Ints, base: Ints, is_first: NDArray[np.bool_], seed: int = SEED) -> float:
    """Test whether clusters of two kinds show something equally often, each cluster taken as a whole.

    What is observed again and again of one cluster (handshakes of one client) is no independent evidence. The kinds
    are dealt out anew to the clusters, and the p-value is the share of deals whose ratios lie as far apart.

    Args:
        cases: of each cluster, how often it was observed to show it.
        base: how often it was observed.
        is_first: whether it is of the first kind.
        seed: of the random draws.

    Returns:
        The two-sided p-value of 999 deals (B. Phipson, G. K. Smyth, Stat. Appl. Genet. Mol. Biol. 9, 2010, 39).

    Example:
        >>> import numpy as np
        >>> permuted_by_cluster(np.array([30, 0, 0, 0]), np.array([40] * 4), np.array([True, True, False, False]))
        1.0
    """
    order = np.lexsort([is_first, cases, base])  # so that it makes no difference in which order they were seen
    cases, base, is_first = cases[order], base[order], is_first[order]
    dealt = np.tile(is_first, (DEALS + 1, 1))
    dealt[1:] = np.random.default_rng(seed).permuted(dealt[1:], axis=1)  # the first deal is what was observed
    counts = [dealt @ cases, dealt @ base]
    apart = np.abs(counts[0] / counts[1] - (cases.sum() - counts[0]) / (base.sum() - counts[1]))
    return float(np.mean(apart >= apart[0] / _AS_LIKELY))


# -- two medians ------------------------------------------------------------------------------------------------


def median_difference(first: Floats, second: Floats, seed: int = SEED) -> tuple[float, float, float]:
    """Give the difference of medians `second - first` with its 95 % interval, by the bootstrap.

    The percentile bootstrap (B. Efron, Ann. Stat. 7, 1979). A median of a resample is the value at a random rank, and
    how that rank is distributed is known, so that a rank is drawn in place of as many values as there are.

    Args:
        first: observed values, in any order, none NaN.
        second: those to compare them with.
        seed: of the random draws.

    Returns:
        The difference (NaN where a side is empty), and both ends of the interval (NaN where a side has fewer than 10).

    Example:
        >>> import numpy as np
        >>> ten = np.arange(10.0)
        >>> median_difference(ten, ten + 100)
        (100.0, 96.0, 104.0)
    """
    if not len(first) or not len(second):
        return math.nan, math.nan, math.nan
    difference = float(np.median(second) - np.median(first))
    if min(len(first), len(second)) < FEWEST_FOR_MEDIAN:
        return difference, math.nan, math.nan
    random = np.random.default_rng(seed)
    draws = _resampled_medians(np.sort(second), random) - _resampled_medians(np.sort(first), random)
    low, high = np.quantile(draws, [0.025, 0.975])
    return difference, float(low), float(high)


def _resampled_medians(values: Floats, random: np.random.Generator) -> Floats:
    """Draw medians of resamples of the sorted `values`.

    A resample of n is n uniform draws, each giving the value at the rank it falls on. The k-th smallest of n uniform
    draws is Beta(k, n - k + 1), and the next one is the smallest of n - k draws from there on (H. A. David, Order
    Statistics, 2.5).
    """
    n = len(values)
    k = (n + 1) // 2
    lower = random.beta(k, n - k + 1, RESAMPLES)
    upper = lower if n % 2 else 1 - (1 - lower) * random.random(RESAMPLES) ** (1 / (n - k))

    def at(place: Floats) -> Floats:
        return values[np.minimum((place * n).astype(np.int64), n - 1)]

    return (at(lower) + at(upper)) / 2
