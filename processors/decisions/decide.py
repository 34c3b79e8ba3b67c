"""All decisions of an ad account at a tick: from sums and limits to budgets, and what there is to say of each.

The same statistics, limits, settings and seed give the same bytes.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats, Ints
from processors.decisions.draws import draw_returns, interval
from processors.decisions.evidence.posterior import Background, Posterior, posterior_of
from processors.decisions.evidence.statistics import Repairs, Statistics, cleaned
from processors.decisions.limits import Limits, allocate
from processors.decisions.reasons import reasons_of
from processors.decisions.settings import PolicySettings
from processors.decisions.split import split_of
from processors.decisions.verdicts import Thresholds, by_loss

__all__ = ["Decisions", "decide"]


class Decisions(NamedTuple):
    """A row an ad; arrays of shape (ads,). Returns are value per spend at the budget decided, of clicks of the day to
    come once their conversions have matured.

    budget, previous: minor units a day. propensity: share of draws in which the ad is best, or its average share where
    returns saturate. below_kill, above_target: probabilities. expected, low, high: return and its 95 % interval.
    verdict: keep, kill or scale. bound: the limit that decided the budget, or empty. reason: a sentence.
    repairs: how much of the statistics could not be.
    """

    budget: Ints
    previous: Ints
    propensity: Floats
    below_kill: Floats
    above_target: Floats
    expected: Floats
    low: Floats
    high: Floats
    verdict: Sequence[str]
    bound: Sequence[str]
    reason: Sequence[str]
    repairs: Repairs


def decide(
    statistics: Statistics,
    limits: Limits,
    background: Background,
    seed: Sequence[int] | int,
    settings: PolicySettings = PolicySettings(),  # noqa: B008 (frozen)
    thresholds: Thresholds = Thresholds(),  # noqa: B008 (immutable)
    exponent: float = 1.0,
    minor: float = 0.01,
) -> Decisions:
    """The decisions. An account without ads has none.

    background: of accounts like this one; its delay has as many lags as the statistics. seed: of the tick. exponent: of
    saturation, as `learned_exponent` found it last. minor: units of currency in a minor unit. Raises ValueError where
    shapes do not fit each other.
    """
    known, repairs = cleaned(statistics)
    _check(known, limits, background)
    rng = np.random.default_rng(seed)
    if not len(limits.previous):
        empty, none = np.zeros(0), np.zeros(0, np.int64)
        return Decisions(none, none, *(empty,) * 6, [], [], [], repairs)
    posterior = posterior_of(known, background, exponent, settings.hazard, settings.coupling)
    # Of the budget there is now: where that has grown, every ad is below its share.
    before = np.maximum(limits.previous, 0) / max(limits.account, 1)
    if not before.any():
        before = np.full(len(before), 1 / len(before))
    split = split_of(posterior, known, limits.account * minor, before, settings, rng)
    allocation = allocate(split.shares, limits, settings.smallest_change)
    spend: Floats = allocation.budgets.astype(np.float64) * minor
    verdicts = by_loss(posterior, spend, thresholds)
    low, high = interval(draw_returns(posterior.widened, settings.draws, rng) * _saturated(posterior, spend))
    expected = posterior.mean * _saturated(posterior, spend)
    reasons = reasons_of(allocation, limits.previous, split, verdicts, expected, thresholds)
    return Decisions(
        allocation.budgets,
        limits.previous,
        split.propensity,
        verdicts.below_kill,
        verdicts.above_target,
        expected,
        low,
        high,
        verdicts.verdict,
        allocation.bound,
        reasons,
        repairs,
    )


def _check(known: Statistics, limits: Limits, background: Background) -> None:
    ads, _, lags = known.conversions.shape
    wrong = [
        f"{name} of {len(part)} ads"
        for name, part in limits._asdict().items()
        if isinstance(part, np.ndarray) and len(part) != ads
    ]
    if wrong:
        raise ValueError(f"{', '.join(wrong)}; statistics of {ads}")
    if len(background.delay) != lags:
        raise ValueError(f"a delay of {len(background.delay)} lags; statistics of {lags}")


def _saturated(posterior: Posterior, spend: Floats) -> Floats:
    """What is left of a return at this spend; an ad without budget is shown as if it spent what is usual."""
    if posterior.exponent >= 1:
        return np.ones(len(spend))
    relative = np.where(spend > 0, spend, posterior.usual) / posterior.usual
    found: Floats = np.power(relative, posterior.exponent - 1)
    return found
