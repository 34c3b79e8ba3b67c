"""Stage values of many tenants at once: what each shows by itself, drawn to what its niche shows.

How many deals the niche is worth to a tenant is decided by how much tenants differ beyond chance: for the way on from a
stage by the marginal likelihood of the beta-binomial, for the value of a deal by Bühlmann's credibility.

Casella: An introduction to empirical Bayes data analysis (1985). Bühlmann, Gisler: A course in credibility theory
(2005).
"""

from collections.abc import Sequence
from math import lgamma

import numpy as np

from processors.pipeline_value.sums import DAY_MS, Sums
from processors.pipeline_value.values import StageValues
from processors.pipeline_value.win_probability import Floats, win_probability

__all__ = ["learn"]

#: Deals that a niche may be worth to a tenant.
WORTHS = (2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0)
#: Deals that a stage's rate over all ages is worth to that at each age.
AGES_WORTH = 1.0
#: Deals that equal chances of all ways out are worth where a whole niche has not seen any.
UNSEEN = 0.5


def learn(tenants: Sequence[Sums]) -> list[StageValues]:
    """The values of each tenant of a niche, whose pipelines have the same stages.

    Where nobody has won a deal yet, all are zero.
    """
    if not tenants:
        return []
    exits = np.stack([sums.exits for sums in tenants]).astype(np.float64)
    exposure = np.stack([sums.exposure_ms for sums in tenants]) / DAY_MS
    prior_exits, prior_exposure = _niche(exits.sum(axis=0), exposure.sum(axis=0))
    worth = _worth(exits, prior_exits)[:, None]
    pooled = exits + worth[..., None] * prior_exits
    exposed = exposure + worth * prior_exposure
    win = win_probability(pooled / np.maximum(exposed, 1e-300)[..., None])
    return [StageValues(one, round(value)) for one, value in zip(win, _deal_values(tenants), strict=True)]


def _niche(exits: Floats, exposure: Floats) -> tuple[Floats, Floats]:
    """What one deal of the niche adds to exits and exposure of a stage and age."""
    stages = len(exits)
    by_way = exits.sum(axis=1) + UNSEEN / (stages + 2)
    rate = by_way / np.maximum(exposure.sum(axis=1), 1.0)[:, None]
    total = rate.sum(axis=1)[:, None]
    exits = exits + AGES_WORTH * (rate / total)[:, None]
    exposure = exposure + AGES_WORTH / total
    deals = exits.sum(axis=(1, 2))
    return exits / deals[:, None, None], exposure / deals[:, None]


def _worth(exits: Floats, prior_exits: Floats) -> Floats:
    """By stage, how many deals the niche is worth: as makes the tenants' lost and not lost deals most likely."""
    lost, left = exits[..., -1].sum(axis=2), exits.sum(axis=(2, 3))
    share = prior_exits[..., -1].sum(axis=1)
    return np.array([_likeliest(lost[:, n], left[:, n], float(share[n])) for n in range(len(share))])


def _likeliest(lost: Floats, left: Floats, share: float) -> float:
    def likelihood(worth: float) -> float:
        a, b = worth * share, worth * (1 - share)
        return sum(_log_beta(a + x, b + n - x) - _log_beta(a, b) for x, n in zip(lost, left, strict=True))

    return max(WORTHS, key=likelihood)


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _deal_values(tenants: Sequence[Sums]) -> Floats:
    """What a deal is won for, in micros, by tenant."""
    wins = np.array([sums.wins for sums in tenants], np.float64)
    won = np.array([sums.won_micros for sums in tenants], np.float64)
    if not wins.any():
        return np.zeros(len(tenants))
    mean, niche = won / np.maximum(wins, 1), won.sum() / wins.sum()
    squares = sum(sums.won_squares for sums in tenants) * 1e12
    within = max(squares - float((wins * mean**2).sum()), 0.0) / max(float(np.maximum(wins - 1, 0).sum()), 1.0)
    spread = float((wins * (mean - niche) ** 2).sum()) - within * (np.count_nonzero(wins) - 1)
    between = spread / max(float(wins.sum() - (wins**2).sum() / wins.sum()), 1.0)
    # Where tenants differ no more than by chance each has the niche's value.
    credibility = wins * between / (wins * between + within) if between > 0 else np.zeros(len(wins))
    found: Floats = niche + credibility * (mean - niche)
    return found
