"""Rates of ads: what each shows by itself, drawn to what a regression over all of them expects of it.

A rate of few trials is mostly noise; the regression's is mostly bias. By how much ads differ beyond chance decides how
much each counts: empirical Bayes with the moments of the beta-binomial.
Source: Casella, An Introduction to Empirical Bayes Data Analysis, 1985.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["Rates", "drawn_to", "regression", "shrunk"]

Floats = npt.NDArray[np.float64]

#: A rate is between these: what is divided by it stays finite.
LOWEST, HIGHEST = 0.005, 0.995
#: Trials that the expectation is worth at most, and at least.
MOST_TRIALS, FEWEST_TRIALS = 1e6, 5.0

Rates = Floats


def regression(successes: Floats, trials: Floats, feature: Floats) -> Rates:
    """The rates that a line over the feature expects, weighted by trials.

    successes, trials: shape (ads, replicates). feature: shape (ads,). Returns shape (ads, replicates).

    >>> rates = regression(np.array([[10.0], [30.0]]), np.array([[100.0], [100.0]]), np.array([0.1, 0.3]))
    >>> rates.round(3).tolist()
    [[0.1], [0.3]]
    """
    total = np.maximum(trials.sum(axis=0), 1e-9)
    rate = successes.sum(axis=0) / total
    centred = feature[:, None] - (trials * feature[:, None]).sum(axis=0) / total
    spread = (trials * centred**2).sum(axis=0)
    together = (centred * (successes - trials * rate)).sum(axis=0)
    slope = np.where(spread > 1e-9 * total, together / np.maximum(spread, 1e-12), 0)
    expected: Rates = np.clip(rate + slope * centred, LOWEST, HIGHEST)
    return expected


def drawn_to(expected: Rates, successes: Floats, trials: Floats) -> float:
    """How many trials the expectation is worth, from by how much more than by chance ads differ from it.

    All of shape (ads,). Where they differ no more than by chance, MOST_TRIALS.

    >>> drawn_to(np.full(3, 0.5), np.array([50.0, 51.0, 49.0]), np.full(3, 100.0))
    1000000.0
    """
    chance = expected * (1 - expected)
    excess = ((successes - trials * expected) ** 2 / np.maximum(trials, 1.0) - chance).sum()
    variance = excess / max(float((np.maximum(trials - 1, 0)).sum()), 1.0)
    usual = float((trials * chance).sum() / max(float(trials.sum()), 1.0))
    if variance <= 0:
        return MOST_TRIALS
    return float(np.clip(usual / variance - 1, FEWEST_TRIALS, MOST_TRIALS))


def shrunk(successes: Floats, trials: Floats, expected: Rates) -> tuple[Rates, float]:
    """The rates by replicate, and how many trials the expectation is worth; shapes (ads, replicates).

    What the expectation is worth is decided by the first column, the sums themselves.
    """
    worth = drawn_to(expected[:, 0], successes[:, 0], trials[:, 0])
    return np.clip((successes + worth * expected) / (trials + worth), LOWEST, HIGHEST), worth
