"""Whether intervals hold what they promise: of an ad's true return, and of a spend day's matured conversions."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from processors.decisions.draws import draw_returns, interval
from processors.decisions.evidence.posterior import Background, posterior_of
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.forecast import forecast_of
from processors.simulation.decisions.baselines import uniform
from processors.simulation.decisions.market import market_of
from processors.simulation.decisions.run import run
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["Coverage", "Maturity", "coverage_of", "maturity_of", "seen_at"]

DRAWS = 1000
#: Days from the spend to the forecast, and the day on which it is made.
AGE_D, NOW_D = 3, 30


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of ads whose true return lies in its 95 % interval after so many days, and how many ads those are."""

    day: int
    covered: float
    ads: int


@dataclass(frozen=True, slots=True)
class Maturity:
    """Forecasts of all matured conversions of an account's spend day AGE_D days after it.

    error: mean of the absolute errors, shares of the truth (MAPE); bias: of all forecasts together; covered: share of
    truths in the 95 % interval; least_error: what is left to one who knows every rate and the delay.
    """

    days: int
    error: float
    bias: float
    covered: float
    least_error: float


def seen_at(statistics: Statistics, day: int) -> Statistics:
    """What had been seen at the midnight that begins this day."""
    seen = np.arange(day)[:, None] + np.arange(statistics.conversions.shape[2])[None, :] < day
    return Statistics(
        statistics.spend[:, :day], statistics.conversions[:, :day] * seen, statistics.value[:, :day] * seen, float(day)
    )


def coverage_of(world: DecisionWorld, seeds: Iterable[int], days: Iterable[int]) -> list[Coverage]:
    """Coverage by day, of accounts whose budget is split evenly."""
    covered: dict[int, list[bool]] = {day: [] for day in days}
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        market = market_of(world, rng)
        found = run(world, market, uniform, np.random.default_rng([seed, 2]))
        for day, inside in covered.items():
            known = seen_at(found.statistics, day)
            posterior = posterior_of(known, Background.generic(world.days, world.value))
            low, high = interval(draw_returns(posterior.widened, DRAWS, rng))
            inside += ((low <= market.returns[day]) & (market.returns[day] <= high)).tolist()
    return [Coverage(day, round(float(np.mean(inside)), 4), len(inside)) for day, inside in covered.items()]


def maturity_of(world: DecisionWorld, seeds: Iterable[int]) -> Maturity:
    """How good forecasts are, one an account."""
    expected, inside, truth, told = [], [], [], []
    for seed in seeds:
        rng = np.random.default_rng([seed, 1])
        market = market_of(world, rng)
        found = run(world, market, uniform, np.random.default_rng([seed, 2]))
        known, spent = seen_at(found.statistics, NOW_D), NOW_D - AGE_D
        posterior = posterior_of(known, Background.generic(world.days, world.value))
        forecast = forecast_of(known, posterior, draw_returns(posterior, DRAWS, rng), rng)
        total = float(found.statistics.conversions[:, spent].sum())
        due = (1 - market.delay[AGE_D - 1]) * market.returns[spent] * world.daily_budget / world.ads / world.value
        told.append(float(known.conversions[:, spent].sum() + due.sum()))
        expected.append(float(forecast.expected[spent]))
        inside.append(bool(forecast.low[spent] <= total <= forecast.high[spent]))
        truth.append(total)
    found_, true = np.array(expected), np.array(truth)
    some = true > 0
    return Maturity(
        days=len(true),
        error=round(float((np.abs(found_ - true)[some] / true[some]).mean()), 4),
        bias=round(float(found_.sum() / true.sum() - 1), 4),
        covered=round(float(np.mean(inside)), 4),
        least_error=round(float((np.abs(np.array(told) - true)[some] / true[some]).mean()), 4),
    )
