"""Which ads a rule stops, by what they truly return, where all spend the same every day and are judged daily."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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

__all__ = ["KillCurve", "kill_curve"]

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


def kill_curve(world: DecisionWorld, seeds: Iterable[int], thresholds: Thresholds | None = None) -> list[KillCurve]:
    """Of expected loss, and of the fixed rules. A stopped ad spends nothing more and is not judged again."""
    thresholds = thresholds or Thresholds()
    returns: list[Floats] = []
    spent: Mapping[str, list[Floats]] = {"expected loss": [], "fixed rules": []}
    for seed in seeds:
        market = market_of(world, np.random.default_rng([seed, 1]))
        statistics = run(world, market, uniform, np.random.default_rng([seed, 2])).statistics
        returns.append(market.returns[0])
        for rule, days in spent.items():
            stopped = _stopped(world, statistics, rule == "fixed rules", thresholds)
            days.append(stopped * world.daily_budget / world.ads)
    true = np.concatenate(returns)
    return [_curve(rule, true, np.concatenate(found)) for rule, found in spent.items()]


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


def _curve(rule: str, returns: Floats, spend: Floats) -> KillCurve:
    stopped, losers = np.isfinite(spend), returns < LOSER
    cost = spend[stopped & losers]
    return KillCurve(
        rule=rule,
        good=_share(stopped, returns >= GOOD),
        fair=_share(stopped, returns >= FAIR),
        losers=_share(stopped, losers),
        spend=float(np.median(cost)) if len(cost) else None,
        ads=len(returns),
    )


def _share(part: Mask, whole: Mask) -> float:
    return round(float(part[whole].mean()), 4) if whole.any() else float("nan")
