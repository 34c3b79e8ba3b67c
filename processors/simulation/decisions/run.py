"""One account's days in a market: a policy splits the budget each midnight by what has been seen."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.statistics import Statistics
from processors.simulation.decisions.market import Market, oracle
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["Policy", "Run", "run"]

#: Statistics so far and the split of the day before, to the split of the day to come; shape (ads,), sums to one.
Policy = Callable[[Statistics, Floats], Floats]


class Run(NamedTuple):
    """splits: shape (days, ads). earned, possible: value per daily budget as expected of the splits, and of the
    oracle's; shape (days,). resets: how many ad-days began one. statistics: all that will have been seen in the end."""

    splits: Floats
    earned: Floats
    possible: Floats
    resets: int
    statistics: Statistics

    @property
    def share(self) -> float:
        """Of what the oracle earns."""
        return float(self.earned.sum() / self.possible.sum())


def run(world: DecisionWorld, market: Market, policy: Policy, rng: np.random.Generator) -> Run:
    """The days one by one. `rng` draws what is left to chance once a split is made."""
    days, ads = world.days, world.ads
    by_lag = np.diff(market.delay, prepend=0.0)
    spend, splits, earned = np.zeros((ads, days)), np.zeros((days, ads)), np.zeros(days)
    truth, seen = np.zeros((ads, days, days)), np.zeros((ads, days, days))
    value_truth, value_seen = np.zeros((ads, days, days)), np.zeros((ads, days, days))
    split, losing, resets = np.full(ads, 1 / ads), np.zeros(ads, np.int64), 0
    for day in range(days):
        past = np.arange(day)
        seen[:, past, day - 1 - past] = truth[:, past, day - 1 - past]
        value_seen[:, past, day - 1 - past] = value_truth[:, past, day - 1 - past]
        known = Statistics(spend[:, :day], seen[:, :day], value_seen[:, :day], float(day))
        before, split = split, policy(known, split) if day else split
        rises = (split > (1 + world.reset_rise) * before) & (day > 0) & (world.reset_loss > 0)
        resets += int(rises.sum())
        losing = np.where(rises, world.reset_days, np.maximum(losing - 1, 0))
        factor = np.where(losing > 0, 1 - world.reset_loss, 1.0)
        expected = market.returns[day] * factor * split**world.saturation
        earned[day], splits[day], spend[:, day] = expected.sum(), split, split * world.daily_budget
        counts = rng.poisson(expected * market.luck[day] * world.daily_budget / world.value)
        truth[:, day] = rng.multinomial(counts, by_lag)
        value_truth[:, day] = _values(world, truth[:, day], rng)
    statistics = Statistics(spend, truth, value_truth, float(2 * days))
    return Run(splits, earned, oracle(world, market), resets, statistics)


def _values(world: DecisionWorld, counts: Floats, rng: np.random.Generator) -> Floats:
    if world.value_cv <= 0:
        return counts * world.value
    shape = world.value_cv**-2
    return rng.gamma(np.maximum(counts, 1e-9) * shape, world.value / shape) * (counts > 0)
