"""How many conversions spend days will have had in the end, with an interval, while most are still on the way."""

from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.delay import matured
from processors.decisions.evidence.posterior import Posterior
from processors.decisions.evidence.saturation import effective
from processors.decisions.evidence.statistics import Statistics, observed_lags

__all__ = ["Forecast", "forecast_of"]

#: Of the interval: half of what lies outside it.
TAIL = 0.025


class Forecast(NamedTuple):
    """Matured conversions of a spend day, all ads; expected, and a 95 % interval. Shape (days,)."""

    expected: Floats
    low: Floats
    high: Floats


def forecast_of(statistics: Statistics, posterior: Posterior, returns: Floats, rng: np.random.Generator) -> Forecast:
    """The forecast of each spend day of cleaned statistics.

    returns: draws from the posterior, shape (draws, ads). A day's luck is learned from what it has shown so far, as
    far as days scatter more than chance.
    """
    seen = statistics.conversions.sum(axis=2)
    share = matured(posterior.delay, observed_lags(statistics))
    whole = effective(statistics.spend, posterior.exponent, posterior.usual) / posterior.values.mean[:, None]
    spread = max(posterior.dispersion, 1e-6)
    expected = returns[:, :, None] * whole
    luck = (1 / spread + seen) / (1 / spread + expected * share)
    due = rng.poisson(expected * (1 - share) * luck).sum(axis=1)
    total = seen.sum(axis=0) + due
    low, high = np.quantile(total, (TAIL, 1 - TAIL), axis=0)
    mean = seen.sum(axis=0) + (expected * (1 - share) * luck).mean(axis=0).sum(axis=0)
    return Forecast(mean, low, high)
