"""How long conversions take: what part of a spend day's conversions has been seen by now.

Young clicks have not had the time for long delays, so delays seen are too short. The reverse hazard, the share of lag
a among lags up to a, is free of that when it is counted only over spend days that are old enough for a.
Source: Lagakos, Barraj, De Gruttola, Nonparametric analysis of truncated survival data, Biometrika 1988.
"""

import math

import numpy as np

from processors.decisions.compiled import Floats, compiled
from processors.decisions.evidence.statistics import Statistics, observed_lags

__all__ = ["PSEUDO_CONVERSIONS", "delay_of", "lognormal_delay", "matured"]

#: Conversions that the generic delay is worth.
PSEUDO_CONVERSIONS = 20.0
#: Parts of a day over which the moment of the click is averaged.
PARTS = 24


def lognormal_delay(median_d: float, sigma: float, lags: int) -> Floats:
    """Share of conversions by lag up to each one, of clicks at any time of their day; shape (lags,), the last is 1.

    median_d: days. sigma: of the delay's logarithm.

    >>> lognormal_delay(2.0, 1.0, 4).round(2).tolist()
    [0.13, 0.54, 0.82, 1.0]
    """
    ends = np.arange(1, lags + 1)[:, None] - (np.arange(PARTS) + 0.5)[None, :] / PARTS
    normal = np.vectorize(math.erf)((np.log(ends) - math.log(median_d)) / (sigma * math.sqrt(2)))
    cumulated: Floats = ((1 + normal) / 2).mean(axis=1)
    shares: Floats = cumulated / cumulated[-1]
    return shares


def delay_of(statistics: Statistics, generic: Floats, worth: float = PSEUDO_CONVERSIONS) -> Floats:
    """Share of the conversions by lag up to each one; shape (lags,), it rises to 1.

    statistics: cleaned. generic: the same of accounts like this one, worth that many conversions of its own.
    """
    by_lag = statistics.conversions.sum(axis=0)
    return _reverse_hazard(by_lag, np.floor(observed_lags(statistics)), np.asarray(generic, np.float64), worth)


@compiled
def _reverse_hazard(by_lag: Floats, whole_lags: Floats, generic: Floats, worth: float) -> Floats:
    days, lags = by_lag.shape
    at, up_to = np.zeros(lags), np.zeros(lags)
    for day in range(days):
        seen = 0.0
        for lag in range(min(lags, int(whole_lags[day]))):
            seen += by_lag[day, lag]
            at[lag] += by_lag[day, lag]
            up_to[lag] += seen
    cumulated = np.ones(lags)
    for lag in range(lags - 1, 0, -1):
        share = generic[lag] - generic[lag - 1]
        hazard = (at[lag] + worth * share) / max(up_to[lag] + worth * generic[lag], 1e-12)
        cumulated[lag - 1] = cumulated[lag] * (1.0 - hazard)
    return cumulated


def matured(delay: Floats, observed: Floats) -> Floats:
    """Share of a spend day's conversions seen after so many lags, of which the last may be a part; same shape.

    >>> matured(np.array([0.5, 1.0]), np.array([0.0, 0.5, 1.0, 1.5, 9.0])).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    return np.interp(observed, np.arange(len(delay) + 1), np.concatenate(([0.0], delay)))
