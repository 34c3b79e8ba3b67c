"""How an account's budget is best split over its ads, without regard to limits."""

from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.draws import best_shares, draw_returns
from processors.decisions.evidence.delay import matured
from processors.decisions.evidence.posterior import Posterior
from processors.decisions.evidence.saturation import effective
from processors.decisions.evidence.statistics import Statistics, observed_lags
from processors.decisions.lookahead import candidates, worths
from processors.decisions.settings import PolicySettings
from processors.decisions.steps import Steps, priced

__all__ = ["Split", "split_of"]


class Split(NamedTuple):
    """shares: of the budget, shape (ads,), sums to one. propensity: share of draws in which each ad is best, or its
    average share where returns saturate. returns: the draws, shape (draws, ads)."""

    shares: Floats
    propensity: Floats
    returns: Floats


def split_of(
    posterior: Posterior,
    statistics: Statistics,
    budget: float,
    before: Floats,
    settings: PolicySettings,
    rng: np.random.Generator,
) -> Split:
    """The candidate that the lookahead values most.

    budget: of the account and day. before: budgets in force as shares of `budget`, shape (ads,).
    """
    returns = draw_returns(posterior, settings.draws, rng)
    noise = rng.standard_normal(returns.shape)
    propensity: Floats = best_shares(returns, posterior.exponent)
    steps = priced(candidates(propensity, posterior.mean, posterior.exponent), before, settings)
    mean, variance = posterior.mean, posterior.variance
    learned, pending = _exposures(posterior, statistics, budget, settings.block_d)
    worth = worths(
        steps.splits,
        returns,
        noise,
        mean**2 / variance,
        mean / variance,
        pending,
        learned,
        posterior.dispersion,
        posterior.exponent,
        float(settings.block_d),
        settings.horizon_d if settings.reset_loss <= 0 else settings.reset_horizon_d,
    ) - _lost(steps, mean, posterior.exponent, settings)
    best = int(worth.argmax())
    if settings.hysteresis > 0 and worth[best] <= worth[steps.stay] * (1 + settings.hysteresis):
        best = steps.stay
    shares = steps.splits[best]
    return Split(shares / shares.sum(), propensity, returns)


def _exposures(posterior: Posterior, statistics: Statistics, budget: float, block: int) -> tuple[Floats, Floats]:
    """What matures within the block: of a day's whole budget each day, and of what is spent already; shape (ads,)."""
    worth = posterior.values.mean
    whole = float(effective(np.array([budget]), posterior.exponent, posterior.usual)[0])
    learned = whole * matured(posterior.delay, np.arange(1.0, block + 1)).sum() / worth
    seen = observed_lags(statistics)
    due = matured(posterior.delay, seen + block) - matured(posterior.delay, seen)
    spent = effective(statistics.spend, posterior.exponent, posterior.usual)
    return learned, (spent * due).sum(axis=1) / worth


def _lost(steps: Steps, mean: Floats, exponent: float, settings: PolicySettings) -> Floats:
    """Value that resets take, of each split; shape (candidates,)."""
    days = min(settings.reset_days, settings.block_d)
    lost: Floats = settings.reset_loss * days * (steps.resets * steps.splits**exponent * mean).sum(axis=1)
    return lost
