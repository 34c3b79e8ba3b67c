"""Which ads a rule stops, by what they truly return, where all spend the same every day and are judged daily."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats, Mask
from processors.decisions.evidence.posterior import Background, posterior_of
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.verdicts import KILL, Thresholds, by_fixed_rules, by_loss
from processors.simulation.decisions.baselines import uniform
from processors.simulation.decisions.calibration import seen_at
from processors.simulation.decisions.market import market_of
from processors.simulation.decisions.run import run
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["RULES", "KillCurve", "Stop", "curves_of", "stops"]

FIXED = "fixed rules"
RULES = ("expected loss", FIXED)
GOOD, FAIR, LOSER = 2.0, 1.0, 0.5


@dataclass(frozen=True, slots=True)
class KillCurve:
    """Shares stopped of ads that return at least GOOD, at least FAIR, and less than LOSER; what the latter had spent
    when they were, median; how many ads there were."""

    rule: str
    good: float
    fair: float
    losers: float
    spend: float | None
    ads: int


class Stop(NamedTuple):
    """An ad under a rule: what it truly returns, and what it had spent when it was stopped, None where it was not."""

    rule: str
    returns: float
    spend: float | None


def stops(world: DecisionWorld, seeds: Iterable[int], thresholds: Thresholds | None = None) -> Iterator[Stop]:
    """Every ad under each of RULES. A stopped ad spends nothing more and is not judged again."""
    daily = world.daily_budget / world.ads
    for seed in seeds:
        market = market_of(world, np.random.default_rng([seed, 1]))
        statistics = run(world, market, uniform, np.random.default_rng([seed, 2])).statistics
        for rule in RULES:
            days = _stopped(world, statistics, rule == FIXED, thresholds or Thresholds())
            for day, returns in zip(days.tolist(), market.returns[0].tolist(), strict=True):
                yield Stop(rule, returns, None if math.isinf(day) else day * daily)


def curves_of(found: Iterable[Stop]) -> list[KillCurve]:
    """A curve a rule."""
    ads = list(found)
    return [_curve(rule, [one for one in ads if one.rule == rule]) for rule in RULES]


def _stopped(world: DecisionWorld, statistics: Statistics, is_fixed: bool, thresholds: Thresholds) -> Floats:
    """Day on which each ad is stopped, infinity where it is not."""
    stopped = np.full(world.ads, np.inf)
    background = Background.generic(world.days, world.value)
    even = np.full(world.ads, world.daily_budget / world.ads)
    for day in range(1, world.days + 1):
        known = seen_at(statistics, day)
        active = np.arange(day)[None, :] < stopped[:, None]
        known = Statistics(
            known.spend * active, known.conversions * active[:, :, None], known.value * active[:, :, None], known.now
        )
        names = (
            by_fixed_rules(known) if is_fixed else by_loss(posterior_of(known, background), even, thresholds).verdict
        )
        stopped = np.where((np.array(names) == KILL) & np.isinf(stopped), day, stopped)
    return stopped


def _curve(rule: str, ads: Sequence[Stop]) -> KillCurve:
    returns = np.array([one.returns for one in ads])
    stopped = np.array([one.spend is not None for one in ads], np.bool_)
    cost = [one.spend for one in ads if one.spend is not None and one.returns < LOSER]
    return KillCurve(
        rule=rule,
        good=_share(stopped, returns >= GOOD),
        fair=_share(stopped, returns >= FAIR),
        losers=_share(stopped, returns < LOSER),
        spend=float(np.median(cost)) if cost else None,
        ads=len(ads),
    )


def _share(part: Mask, whole: Mask) -> float:
    return round(float(part[whole].mean()), 4) if whole.any() else float("nan")
