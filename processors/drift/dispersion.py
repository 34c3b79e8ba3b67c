"""By how much a rate differs from bucket to bucket beyond chance: weekdays, auctions, what else is on that day.

Estimated from neighbouring buckets of a series, which slow changes hardly touch, pooled over the series: of counts c, d
in exposures e, f the square of c f - d e has, beyond what Poisson counts give it, 2 * dispersion * (the rate's square)
* (e f)^2.
"""

import numpy as np

from processors.drift.likelihood import Floats

__all__ = ["PRIOR", "dispersion"]

#: Variance of the rate relative to its square, before anything is seen; worth so many pairs of buckets.
PRIOR, PRIOR_PAIRS = 0.03, 5.0
#: A pair that differs by more standard deviations than this is a change, not noise; it counts as if by this many.
MOST_DEVIATIONS = 3.0
#: Exposure below this is none.
LEAST = 1e-9


def dispersion(count: Floats, exposure: Floats) -> float:
    """Variance of the rate from bucket to bucket relative to its square, by the moments; at least zero.

    count, exposure: shape (buckets, series).

    >>> rng = np.random.default_rng(1)
    >>> rate = rng.gamma(1 / 0.09, 0.09, (30, 50))
    >>> round(dispersion(rng.poisson(40 * rate), np.full((30, 50), 40.0)), 2)
    0.08
    """
    count, exposure = np.asarray(count, np.float64), np.asarray(exposure, np.float64)
    c, d, e, f = count[1:], count[:-1], exposure[1:], exposure[:-1]
    is_pair = (e > LEAST) & (f > LEAST)
    c, d, e, f = c[is_pair], d[is_pair], e[is_pair], f[is_pair]
    square = (c * f - d * e) ** 2 / (e * f)
    by_chance = c + d
    scale = 2 * c * d
    square = np.minimum(square, MOST_DEVIATIONS**2 * (by_chance + PRIOR * scale))
    prior = PRIOR_PAIRS * max(float(scale.mean()), 1.0) if len(scale) else 1.0
    return max(float(((square - by_chance).sum() + PRIOR * prior) / (scale.sum() + prior)), 0.0)
