"""Clicks of ads whose true conversion probabilities are known, as the online learner sees them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.learning.features import Places, hashed

__all__ = ["ADS", "COLUMNS", "DAY_MS", "Market", "Stream"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DAY_MS = 86_400_000
#: Values of each feature, and how much they differ in log odds (standard deviation).
VALUES: Mapping[str, tuple[int, float]] = {
    "ad_id": (300, 0.5), "adset_id": (100, 0.2), "campaign_id": (30, 0.3), "creative_id": (120, 0.3),
    "placement": (8, 0.3), "device": (3, 0.4), "os": (5, 0.1), "browser": (7, 0.1), "country": (12, 0.3),
    "region": (60, 0.1), "hour": (24, 0.15), "weekday": (7, 0.1), "audience": (25, 0.3), "age": (6, 0.2),
    "gender": (3, 0.1), "language": (10, 0.1), "landing_page": (20, 0.3), "referrer": (40, 0.1),
    "connection": (4, 0.05), "returning": (2, 0.5),
}  # fmt: skip
COLUMNS = len(VALUES)
ADS = VALUES["ad_id"][0]
#: How unevenly clicks fall on values: the share of the n-th is in proportion to n to the power of less this.
UNEVEN = 0.7


class Stream(NamedTuple):
    """Clicks in the order of their times: values by column, their places, true probability, outcome, times in ms."""

    values: Mapping[str, Ints]
    places: Places
    probability: Floats
    converted: Floats
    clicked_ms: Ints
    delay_ms: Ints


class Market:
    """A market drawn once, of which any number of clicks can be drawn."""

    def __init__(self, rng: np.random.Generator, rate: float = 0.03) -> None:
        self._rng = rng
        self._effects = {name: rng.normal(0, spread, count) for name, (count, spread) in VALUES.items()}
        self._start = np.log(rate / (1 - rate)) - sum(spread**2 for _, spread in VALUES.values()) / 2
        self._names = {
            name: pa.array([f"{name}-{value}" for value in range(count)]) for name, (count, _) in VALUES.items()
        }

    def clicks(self, count: int, factor: float = 1.0, first_ms: int = 0, a_day: int = 50_000, ads: int = ADS) -> Stream:
        """Clicks on the first `ads` ads, whose odds of converting are `factor` times what they were."""
        values = {name: self._draw(count, ads if name == "ad_id" else of) for name, (of, _) in VALUES.items()}
        log_odds = self._start + np.log(factor) + sum(self._effects[name][values[name]] for name in VALUES)
        probability = 1 / (1 + np.exp(-log_odds))
        columns = {name: self._names[name].take(pa.array(values[name])) for name in VALUES}
        return Stream(
            values=values,
            places=hashed(columns),
            probability=probability,
            converted=(self._rng.random(count) < probability).astype(np.float64),
            clicked_ms=first_ms + np.arange(count) * DAY_MS // a_day,
            delay_ms=(DAY_MS * np.exp(self._rng.normal(0, 1, count))).astype(np.int64),
        )

    def _draw(self, count: int, of: int) -> Ints:
        shares = np.arange(1, of + 1) ** -UNEVEN
        return self._rng.choice(of, count, p=shares / shares.sum())
