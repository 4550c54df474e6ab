"""Is this night out of line with those before? A test that takes nights to differ, as healthy ones do.

A night's value (the failure ratio on the arcsine scale, the logarithm of the median duration) varies by chance within
the night, the more the fewer independent handshakes it rests on, and between nights. The nights before are a
random-effects model: y = level + weekday + night's own deviation (variance τ², DerSimonian and Laird, Control. Clin.
Trials 7, 1986, as for meta-regression) + chance within the night (known variance). The present night is compared with
what that predicts of it, by Student's t; only getting worse counts. Handshakes of one client are alike, so chance
within the night is taken from the variance between clients: a client in a retry loop counts for little.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tlspcap.statistics import Floats, Ints

FEWEST_NIGHTS = 7  # before, to say anything
WEEKDAYS_FROM = 21  # nights before, from which weekdays have levels of their own
TINY = 1e-300  # in place of the weight of a level that no night has, by which nothing is divided that counts
FEWEST = 20  # independent handshakes of a night, to be judged or to count as a night before


@dataclass(frozen=True)
class Series:
    """One measure of one server, night by night in order, the present one last."""

    values: Floats  # on the scale on which they vary evenly
    variances: Floats  # of chance within each night
    weekdays: Ints  # of each night, from 0
    nights: Ints  # the number of each night among those of the table

    def kept(self, some: NDArray[np.bool_]) -> "Series":
        """The nights that can be judged."""
        return Series(self.values[some], self.variances[some], self.weekdays[some], self.nights[some])


@dataclass(frozen=True)
class Verdict:
    """What the test says."""

    expected: float  # on the scale of the values
    p_value: float  # chance of a healthy night to be at least that much worse
    nights: int  # that were taken together


def of_failures(ratio: Floats, effective: Floats, weekdays: Ints, nights: Ints) -> Series:
    """The failure ratio of nights, on the arcsine scale, where its variance depends on the base alone."""
    with np.errstate(invalid="ignore"):  # nights in which nothing was decided are not kept
        values = np.arcsin(np.sqrt((ratio * effective + 0.375) / (effective + 0.75)))  # F. J. Anscombe, Biometrika 1948
    return Series(values, 1 / (4 * effective + 2), weekdays, nights).kept(effective >= FEWEST)


def of_durations(median: Floats, count: Ints, weekdays: Ints, nights: Ints) -> Series:
    """The median duration of nights, as a logarithm."""
    some = (count >= FEWEST) & (median > 0)
    values = np.log(median, out=np.zeros(len(median)), where=some)
    return Series(values, np.full(len(values), 1e-6), weekdays, nights).kept(some)


def judge(series: Series, nights: int = 1) -> Verdict | None:
    """Compare the last nights, taken together, with those before; None where those are too few."""
    y, v = series.values[:-nights], series.variances[:-nights]
    if len(y) < FEWEST_NIGHTS:
        return None
    levels = _levels(series.weekdays, len(y))
    before, count = levels[: len(y)], int(levels.max()) + 1
    spread = _between(before, count, y, v)
    weights = 1 / (v + spread)
    total = np.maximum(np.bincount(before, weights, count), TINY)
    last = 1 / (series.variances[-nights:] + spread + TINY)  # so that a night of few clients' retries counts for little
    asked = np.bincount(levels[len(y) :], last, count) / last.sum()  # how much each level weighs in the last nights
    expected = float(asked @ (np.bincount(before, weights * y, count) / total))
    present = float(last @ series.values[-nights:] / last.sum())
    chance = float(1 / last.sum() + np.square(asked) @ (1 / total))
    t = (present - expected) / math.sqrt(chance)
    return Verdict(expected, student_t_above(t, len(y) - _distinct(before)), nights)


def _levels(weekdays: Ints, before: int) -> Ints:
    """Give each night its level: its weekday's, if the nights before show each at least three times; else all one."""
    seen = np.bincount(weekdays[:before], minlength=7)
    if before < WEEKDAYS_FROM or seen[weekdays].min() < 3:
        return np.zeros(len(weekdays), np.int64)
    return weekdays


def _between(levels: Ints, count: int, y: Floats, v: Floats) -> float:
    """The variance between nights: what their deviations from their levels exceed chance by (method of moments)."""
    weights = 1 / v
    total = np.maximum(np.bincount(levels, weights, count), TINY)
    residuals = y - (np.bincount(levels, weights * y, count) / total)[levels]
    excess = float(weights @ np.square(residuals)) - (len(y) - _distinct(levels))
    scale = float(weights.sum() - (np.bincount(levels, np.square(weights), count) / total).sum())
    return max(0.0, excess / scale)


def _distinct(levels: Ints) -> int:
    return int(np.count_nonzero(np.bincount(levels)))


def student_t_above(t: float, degrees: int) -> float:
    """Chance that Student's t with whole degrees of freedom exceeds `t` (Abramowitz and Stegun 26.7.3 and 26.7.4).

    >>> round(student_t_above(2.0, 10), 4), round(student_t_above(-1.0, 1), 4)
    (0.0367, 0.75)
    """
    angle = math.atan2(t, math.sqrt(degrees))
    cosine = math.cos(angle) ** 2
    odd = degrees % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for power in range(1 if odd else 0, degrees - 1, 2):
        total += term
        term *= cosine * (power + 1) / (power + 2)
    within = 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
    return min(1.0, max(0.0, (1 - within) / 2))
