"""Draws from the posterior: returns that each ad may have, and in how many of them it is the best."""

import numpy as np

from processors.decisions.compiled import Floats, compiled
from processors.decisions.evidence.posterior import Posterior

__all__ = ["best_shares", "draw_returns", "interval"]

#: Of a 95 % interval: half of what lies outside it.
TAIL = 0.025


def draw_returns(posterior: Posterior, count: int, rng: np.random.Generator) -> Floats:
    """Returns per effective spend; shape (count, ads)."""
    return _draw(posterior.weights, posterior.shapes, posterior.rates, count, rng)


@compiled
def _draw(weights: Floats, shapes: Floats, rates: Floats, count: int, rng: np.random.Generator) -> Floats:
    ads, components = weights.shape
    drawn = np.empty((count, ads))
    for ad in range(ads):
        cumulated = np.cumsum(weights[ad])
        for number in range(count):
            at = min(np.searchsorted(cumulated, rng.random() * cumulated[-1], side="right"), components - 1)
            drawn[number, ad] = rng.standard_gamma(shapes[ad, at]) / rates[ad, at]
    return drawn


@compiled
def best_shares(returns: Floats, exponent: float) -> Floats:
    """The split that is best, on average over the draws; shape (ads,), it sums to one.

    returns: shape (draws, ads). With exponent 1 all goes to the best ad of a draw, and the average is the probability
    of being best; below 1, a draw's split is the one with equal marginal returns.

    >>> best_shares(np.array([[1.0, 2.0], [3.0, 1.0]]), 1.0).tolist()
    [0.5, 0.5]
    >>> best_shares(np.array([[1.0, 2.0]]), 0.5).tolist()
    [0.2, 0.8]
    """
    count, ads = returns.shape
    shares = np.zeros(ads)
    for number in range(count):
        best = 0
        for ad in range(1, ads):
            if returns[number, ad] > returns[number, best]:
                best = ad
        if exponent >= 1.0:
            shares[best] += 1.0
            continue
        top, total = max(returns[number, best], 1e-300), 0.0
        for ad in range(ads):
            total += (returns[number, ad] / top) ** (1.0 / (1.0 - exponent))
        for ad in range(ads):
            shares[ad] += (returns[number, ad] / top) ** (1.0 / (1.0 - exponent)) / total
    split: Floats = shares / count
    return split


def interval(returns: Floats) -> tuple[Floats, Floats]:
    """Order statistics between which a further draw lies with 95 %; shape (ads,) each. returns: shape (draws, ads)."""
    ordered, draws = np.sort(returns, axis=0), len(returns)
    at = np.array([TAIL, 1 - TAIL]) * (draws + 1) - 1
    below = np.clip(np.floor(at).astype(np.int64), 0, draws - 2)
    part = np.clip(at - below, 0.0, 1.0)[:, None]
    low, high = (1 - part) * ordered[below] + part * ordered[below + 1]
    return low, high
