"""Policies that others use, to be compared with: even, fixed rules, greedy, Thompson with and without delays."""

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.draws import best_shares
from processors.decisions.evidence.delay import matured
from processors.decisions.evidence.prior import GENERIC
from processors.decisions.evidence.statistics import Statistics, observed_lags
from processors.simulation.decisions.run import Policy
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["corrected_thompson", "fixed_rules", "greedy", "naive_thompson", "uniform"]

KILL, SCALE, KILL_SPEND = 0.5, 3.0, 200.0
IGNORANCE_D, IGNORANCE_SPEND = 2, 100.0
DRAWS = 400


def uniform(statistics: Statistics, _: Floats) -> Floats:
    """Every ad the same."""
    ads = len(statistics.spend)
    return np.full(ads, 1 / ads)


def fixed_rules(statistics: Statistics, before: Floats) -> Floats:
    """Scores up to a return of SCALE in a softmax; an ad below KILL after KILL_SPEND is out for good."""
    spend = statistics.spend.sum(axis=1)
    seen = statistics.value.sum(axis=(1, 2)) / np.maximum(spend, 1e-9)
    young = (statistics.now < IGNORANCE_D) & (spend < IGNORANCE_SPEND)
    killed = (before <= 0) | (~young & (spend >= KILL_SPEND) & (seen < KILL))
    if killed.all():
        killed = before <= 0
        killed[np.argmax(np.where(killed, -1.0, seen))] = False
        killed |= np.arange(len(seen)) != np.argmax(np.where(killed, -1.0, seen))
    weights = np.where(killed, 0.0, np.exp(np.minimum(seen / SCALE, 1.0)))
    split: Floats = weights / weights.sum()
    return split


def greedy(statistics: Statistics, _: Floats) -> Floats:
    """Nine tenths to the ad with the best return seen, the rest evenly."""
    ads = len(statistics.spend)
    returns = (statistics.value.sum(axis=(1, 2)) + GENERIC.mean) / (statistics.spend.sum(axis=1) + 1.0)
    split: Floats = np.full(ads, 0.1 / ads) + 0.9 * (np.arange(ads) == returns.argmax())
    return split


def naive_thompson(world: DecisionWorld, rng: np.random.Generator) -> Policy:
    """Thompson sampling that takes a click without a conversion for one that will never have any."""
    return _thompson(world, np.ones(world.days), rng)


def corrected_thompson(world: DecisionWorld, delay: Floats, rng: np.random.Generator) -> Policy:
    """Thompson sampling that is told the delay, and counts spend as far as it has matured."""
    return _thompson(world, delay, rng)


def _thompson(world: DecisionWorld, delay: Floats, rng: np.random.Generator) -> Policy:
    def split(statistics: Statistics, _: Floats) -> Floats:
        exposure = (statistics.spend * matured(delay, observed_lags(statistics))).sum(axis=1) / world.value
        shapes = GENERIC.shape + statistics.conversions.sum(axis=(1, 2))
        rates = GENERIC.shape / GENERIC.mean + exposure
        shares: Floats = best_shares(rng.standard_gamma(shapes, (DRAWS, len(shapes))) / rates, 1.0)
        return shares

    return split
