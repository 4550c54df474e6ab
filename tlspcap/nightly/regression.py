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
import pandas as pd

from tlspcap.statistics import Floats, Ints

FEWEST_NIGHTS = 7  # before, to say anything
WEEKDAYS_FROM = 21  # nights before, from which weekdays have levels of their own
FEWEST = 20  # independent handshakes of a night, to be judged or to count as a night before


@dataclass(frozen=True)
class Series:
    """One measure of one server, night by night in order, the present one last."""

    values: Floats  # on the scale on which they vary evenly
    variances: Floats  # of chance within each night
    dates: "pd.Series[str]"

    @property
    def last_date(self) -> str | None:
        """The date of the last night that can be judged."""
        return str(self.dates.iloc[-1]) if len(self.dates) else None

    @property
    def weekdays(self) -> Ints:
        """Of each night, from 0."""
        return np.asarray(pd.to_datetime(self.dates).dt.day_of_week, np.int64)


@dataclass(frozen=True)
class Verdict:
    """What the test says."""

    expected: float  # on the scale of the values
    p_value: float  # chance of a healthy night to be at least that much worse
    nights: int  # that were taken together


def of_failures(nights: pd.DataFrame) -> Series:
    """The failure ratio of nights, on the arcsine scale, where its variance depends on the base alone."""
    kept = nights[nights["effective"] >= FEWEST]
    effective, ratio = kept["effective"].to_numpy(np.float64), kept["failure_ratio"].to_numpy(np.float64)
    values = np.arcsin(np.sqrt((ratio * effective + 0.375) / (effective + 0.75)))  # F. J. Anscombe, Biometrika 35, 1948
    return Series(values, 1 / (4 * effective + 2), kept["date"])


def of_durations(nights: pd.DataFrame) -> Series:
    """The median duration of nights, as a logarithm."""
    kept = nights[(nights["established"] >= FEWEST) & (nights["p50"] > 0)]
    values = np.log(kept["p50"].to_numpy(np.float64))
    return Series(values, np.full(len(values), 1e-6), kept["date"])


def judge(series: Series, nights: int = 1) -> Verdict | None:
    """Compare the last nights, taken together, with those before; None where those are too few."""
    y, v = series.values[:-nights], series.variances[:-nights]
    if len(y) < FEWEST_NIGHTS:
        return None
    design = _design(series.weekdays, len(y))
    x, x0 = design[: len(y)], design[len(y) :].mean(axis=0)
    spread = _between(x, y, v)
    weights = 1 / (v + spread)
    covariance = np.linalg.pinv(x.T * weights @ x)
    expected = float(x0 @ covariance @ (x.T * weights @ y))
    chance = float(series.variances[-nights:].mean() + spread) / nights
    t = (float(series.values[-nights:].mean()) - expected) / math.sqrt(chance + float(x0 @ covariance @ x0))
    return Verdict(expected, student_t_above(t, len(y) - x.shape[1]), nights)


def _design(weekdays: Ints, before: int) -> Floats:
    """A column for each weekday that the nights before show at least three times; else one level for all."""
    seen = np.bincount(weekdays[:before], minlength=7)
    if before < WEEKDAYS_FROM or seen[np.unique(weekdays)].min() < 3:
        return np.ones((len(weekdays), 1))
    days = np.unique(weekdays)
    return np.asarray(weekdays[:, None] == days[None, :], np.float64)


def _between(x: Floats, y: Floats, v: Floats) -> float:
    """The variance between nights: what their deviations exceed chance by (method of moments)."""
    weights = 1 / v
    covariance = np.linalg.pinv(x.T * weights @ x)
    residuals = y - x @ (covariance @ (x.T * weights @ y))
    excess = float(weights @ np.square(residuals)) - (len(y) - x.shape[1])
    scale = float(weights.sum() - np.trace(covariance @ (x.T * np.square(weights) @ x)))
    return max(0.0, float(excess) / float(scale))


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
