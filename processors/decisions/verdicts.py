"""Whether an ad should be stopped or grown: by what a wrong step is expected to cost, or by fixed rules.

An ad is stopped where keeping it is expected to lose many times what stopping it is expected to forgo: its return may
still turn out well, and conversions are on the way, which the posterior knows. It is grown where the return of the
next money, too, is above the target with enough certainty.
"""

from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.posterior import Posterior
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.gamma import probability_below, shortfall

__all__ = ["KEEP", "KILL", "SCALE", "Thresholds", "Verdicts", "by_fixed_rules", "by_loss"]

KEEP, KILL, SCALE = "keep", "kill", "scale"


class Thresholds(NamedTuple):
    """Returns are value per spend.

    kill: below it an ad loses money. target: above it an ad is to grow. kill_odds: how many times as costly keeping
    has to be. scale_certainty: probability of being above the target.
    """

    kill: float = 1.0
    target: float = 2.0
    kill_odds: float = 150.0
    scale_certainty: float = 0.8


class Verdicts(NamedTuple):
    """verdict: KEEP, KILL or SCALE of each ad. below_kill, above_target: probabilities; shape (ads,)."""

    verdict: list[str]
    below_kill: Floats
    above_target: Floats


def by_loss(posterior: Posterior, spend: Floats, thresholds: Thresholds) -> Verdicts:
    """By expected loss. spend: of each ad a day, as decided, units of currency; shape (ads,)."""
    average = marginal = np.ones(len(spend))
    if posterior.exponent < 1:
        # An ad that spends nothing is judged as if it spent what is usual.
        relative = np.where(spend > 0, spend, posterior.usual) / posterior.usual
        average = np.power(relative, posterior.exponent - 1)
        marginal = posterior.exponent * average
    weights, posterior = posterior.established, posterior.widened
    mixture = weights, posterior.shapes, posterior.rates
    mean = (weights * posterior.shapes / posterior.rates).sum(axis=1)
    kill = thresholds.kill / average
    kept = shortfall(*mixture, kill) * average
    forgone = kept + (mean - kill) * average
    below_kill = probability_below(*mixture, kill)
    above_target = 1 - probability_below(*mixture, thresholds.target / average)
    next_above = 1 - probability_below(*mixture, thresholds.target / marginal)
    is_kill = kept > thresholds.kill_odds * np.maximum(forgone, 0.0)
    is_scale = next_above > thresholds.scale_certainty
    names = np.where(is_kill, KILL, np.where(is_scale, SCALE, KEEP))
    return Verdicts(names.tolist(), below_kill, above_target)


def by_fixed_rules(
    statistics: Statistics,
    kill: float = 0.5,
    scale: float = 3.0,
    least_spend: float = 200.0,
    ignorance_d: float = 2.0,
    ignorance_spend: float = 100.0,
) -> list[str]:
    """By the return seen so far, whatever is still on the way: the rules that are usual, to be compared with.

    An ad younger than `ignorance_d` days that has spent less than `ignorance_spend` is left alone.

    >>> poor = Statistics(np.array([[250.0]]), np.zeros((1, 1, 1)), np.zeros((1, 1, 1)), now=1.0)
    >>> by_fixed_rules(poor)
    ['kill']
    """
    spend = statistics.spend.sum(axis=1)
    returns = statistics.value.sum(axis=(1, 2)) / np.maximum(spend, 1e-9)
    first = np.where(spend > 0, (statistics.spend > 0).argmax(axis=1), statistics.now)
    young = (statistics.now - first < ignorance_d) & (spend < ignorance_spend)
    is_kill = ~young & (spend >= least_spend) & (returns < kill)
    is_scale = ~young & (spend > 0) & (returns >= scale)
    names: list[str] = np.where(is_kill, KILL, np.where(is_scale, SCALE, KEEP)).tolist()
    return names
