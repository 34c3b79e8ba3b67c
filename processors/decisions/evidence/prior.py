"""What ads of this account are like before they have shown anything: a Gamma distribution, found as they run.

The likeliest shape and mean of all the account's ads (negative-binomial marginal), with what accounts like it are
known to be as a prior of its own: ten ads alone do not tell a shape.
"""

import math
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats, compiled

__all__ = ["GENERIC", "Hyperprior", "Prior", "prior_of"]

#: The grid: factors of the usual shape and mean.
SHAPES = np.exp(np.linspace(math.log(0.35), math.log(3.0), 9))
MEANS = np.exp(np.linspace(math.log(0.1), math.log(10.0), 41))


class Prior(NamedTuple):
    """Gamma distribution of ads' returns."""

    shape: float
    mean: float

    @property
    def rate(self) -> float:
        """Its rate: exposure that the prior is worth."""
        return self.shape / self.mean


class Hyperprior(NamedTuple):
    """Shape and mean that accounts usually have, and how much their logarithms scatter."""

    shape: float
    mean: float
    shape_sigma: float
    mean_sigma: float


#: Of accounts of which nothing is known: mean return 1.15, coefficient of variation .77.
GENERIC = Hyperprior(shape=1.7, mean=1.15, shape_sigma=0.35, mean_sigma=0.6)


def prior_of(conversions: Floats, exposure: Floats, usual: Hyperprior = GENERIC) -> Prior:
    """The likeliest prior. conversions, exposure: of each ad, shape (ads,).

    >>> few = prior_of(np.array([0.0]), np.array([0.0]))
    >>> round(few.shape, 2), round(few.mean, 2)
    (1.7, 1.15)
    """
    scores = _scores(conversions, exposure, usual.shape * SHAPES, usual.mean * MEANS)
    scores -= 0.5 * (np.log(SHAPES)[:, None] / usual.shape_sigma) ** 2
    scores -= 0.5 * (np.log(MEANS)[None, :] / usual.mean_sigma) ** 2
    if not (conversions.any() or exposure.any()):
        return Prior(usual.shape, usual.mean)
    weights = np.exp(scores - scores.max())
    weights /= weights.sum()
    return Prior(
        float(usual.shape * math.exp((weights.sum(axis=1) * np.log(SHAPES)).sum())),
        float(usual.mean * math.exp((weights.sum(axis=0) * np.log(MEANS)).sum())),
    )


@compiled
def _scores(conversions: Floats, exposure: Floats, shapes: Floats, means: Floats) -> Floats:
    scores = np.zeros((len(shapes), len(means)))
    for ad in range(len(conversions)):
        if exposure[ad] <= 0.0:
            continue
        for row in range(len(shapes)):
            shape = shapes[row]
            count = shape + conversions[ad]
            constant = math.lgamma(count) - math.lgamma(shape)
            for column in range(len(means)):
                rate = shape / means[column]
                scores[row, column] += constant + shape * math.log(rate) - count * math.log(rate + exposure[ad])
    return scores
