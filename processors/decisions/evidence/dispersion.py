"""Days that scatter more than chance: an ad's day counts for less, the more of its scatter is not chance.

A cell with matured exposure e and local rate m has a count whose variance is e·m + σ²·(e·m)²: it enters with the
weight 1 / (1 + σ²·e·m), so that an uncommonly good day of a large ad is no proof of change.
"""

import numpy as np

from processors.decisions.compiled import Floats, compiled

__all__ = ["dispersion_of", "weights_of"]

#: Days to each side that a local rate is taken from.
REACH = 3
#: σ² of an account of which nothing is known, and the information it is worth.
USUAL, WORTH = 0.03, 4.0
GREATEST = 1.0
STEPS = 3


@compiled
def local_rates(conversions: Floats, exposure: Floats, mean: float) -> Floats:
    """Rate around each cell without the cell itself, drawn to `mean` by one expected conversion; shape (ads, days)."""
    ads, days = conversions.shape
    rates = np.empty((ads, days))
    for ad in range(ads):
        for day in range(days):
            count, base = 1.0, 1.0 / mean
            for other in range(max(0, day - REACH), min(days, day + REACH + 1)):
                if other != day:
                    count += conversions[ad, other]
                    base += exposure[ad, other]
            rates[ad, day] = count / base
    return rates


@compiled
def dispersion_of(conversions: Floats, exposure: Floats, rates: Floats) -> float:
    """σ², from what consecutive days of one ad differ by, pooled over ads.

    conversions, exposure, rates: shape (ads, days). Of a pair, (c1·e2 - c2·e1)² over its expectation by chance alone
    is 1 + 2·σ²·h, h the harmonic mean of the expected counts, halved; a regression weighted by its information.
    Pairs far off are cut: they are changes, not scatter.
    """
    ads, days = conversions.shape
    found = USUAL
    for _ in range(STEPS):
        above, below = WORTH * USUAL, WORTH
        for ad in range(ads):
            for day in range(1, days):
                first, second = exposure[ad, day - 1], exposure[ad, day]
                if first <= 0.0 or second <= 0.0:
                    continue
                rate = 0.5 * (rates[ad, day - 1] + rates[ad, day])
                half = rate * first * second / (first + second)
                if half < 0.25:
                    continue
                off = conversions[ad, day - 1] * second - conversions[ad, day] * first
                usual = 1.0 + 2.0 * found * half
                ratio = min(off * off / (rate * first * second * (first + second)), 9.0 * usual)
                weight = 1.0 / (2.0 * usual * usual)
                above += weight * 2.0 * half * (ratio - 1.0)
                below += weight * 4.0 * half * half
        found = min(max(above / below, 0.0), GREATEST)
    return found


def weights_of(exposure: Floats, rates: Floats, dispersion: float) -> Floats:
    """What each cell counts for, between 0 and 1; shape (ads, days).

    >>> weights_of(np.array([[50.0]]), np.array([[1.0]]), 0.02).tolist()
    [[0.5]]
    """
    return 1.0 / (1.0 + dispersion * exposure * rates)
