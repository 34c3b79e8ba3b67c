"""A world like a team's own account, from what its ads have spent and brought."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from processors.decisions.compiled import Floats
from processors.decisions.evidence.prior import Hyperprior, prior_of
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["AdsError", "world_like"]

#: Ads that spent less say nothing; fewer of them than this make no world.
LEAST_ADS = 3
#: Returns that a world draws its ads from, by ad of the export.
DRAWS = 20


class AdsError(ValueError):
    """The ads describe no world; the message says why."""


def world_like(
    world: DecisionWorld, spend: npt.ArrayLike, conversions: npt.ArrayLike, rng: np.random.Generator
) -> DecisionWorld:
    """The world with returns drawn from the posterior of each ad's, and the account's own cost per conversion.

    spend: units of currency; conversions: of the same time; shape (ads,). An ad that spent nothing is left out. A
    conversion is worth what one costs, so that the account as a whole returns what it spends: shares of the oracle do
    not depend on it. Raises AdsError where there are too few ads or no conversions.
    """
    paid, counted = _columns(spend, conversions)
    cost = float(paid.sum() / counted.sum())
    exposure = paid / cost
    usual = Hyperprior(shape=1.7, mean=1.0, shape_sigma=0.5, mean_sigma=0.6)
    prior = prior_of(counted, exposure, usual)
    shapes, rates = prior.shape + counted, prior.rate + exposure
    returns = rng.gamma(np.repeat(shapes, DRAWS)) / np.repeat(rates, DRAWS)
    return replace(world, returns=tuple(returns.tolist()), value=cost)


def _columns(spend: npt.ArrayLike, conversions: npt.ArrayLike) -> tuple[Floats, Floats]:
    paid, counted = np.asarray(spend, np.float64), np.asarray(conversions, np.float64)
    wrong = ~(np.isfinite(paid) & np.isfinite(counted) & (paid >= 0) & (counted >= 0))
    if wrong.any():
        raise AdsError(f"row {int(wrong.argmax()) + 1}: spend and conversions are numbers that are not negative")
    some = paid > 0
    if some.sum() < LEAST_ADS:
        raise AdsError(f"{int(some.sum())} ads spent anything; at least {LEAST_ADS} are needed")
    if counted[some].sum() <= 0:
        raise AdsError("none of the ads that spent anything has a conversion")
    return paid[some], counted[some]
