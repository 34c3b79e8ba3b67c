"""Examples of a small market, quickly drawn."""

import numpy as np

from processors.learning.examples import Examples
from processors.learning.features import PLACES

COLUMNS = 3


def examples(seed: int, count: int, rate: float = 0.1) -> Examples:
    """Looks of all kinds: final ones, young ones, second ones."""
    rng = np.random.default_rng(seed)
    values = rng.integers(0, 20, (count, COLUMNS))
    log_odds = np.log(rate / (1 - rate)) + (values % 5 - 2).sum(axis=1) * 0.3
    matured_before = rng.choice([0.0, 0.3], count)
    matured = rng.choice([0.6, 1.0], count)
    ever = 1 / (1 + np.exp(-log_odds))
    chance = ever * (matured - matured_before) / (1 - ever * matured_before)
    places = (values * 7919 + np.arange(COLUMNS) * 104729).astype(np.int32) % PLACES
    return Examples(places.astype(np.int32), (rng.random(count) < chance).astype(float), matured_before, matured)
