"""What a deal is worth while it is open: the probability that it is won, times what a deal is won for."""

from dataclasses import dataclass

import numpy as np

from processors.pipeline_value.sums import AGES_MS
from processors.pipeline_value.win_probability import Floats

__all__ = ["StageValues"]


@dataclass(frozen=True, slots=True, eq=False)
class StageValues:
    """Of a tenant's pipeline.

    win: shape (stages, ages), the probability that a deal is won which has been in the stage for AGES_MS. deal_micros:
    what a deal is won for, on average.

    >>> values = StageValues(np.array([[0.2] * 4 + [0.1] * 4]), 1_000_000_000)
    >>> values.micros(0), values.micros(0, 20 * 86_400_000), values.time_factor(0, 20 * 86_400_000)
    (200000000, 100000000, 0.5)
    """

    win: Floats
    deal_micros: int

    def micros(self, stage: int, age_ms: int = 0) -> int:
        """The value of a deal that has been in a stage for a while, whole micros."""
        return round(self.win_probability(stage, age_ms) * self.deal_micros)

    def win_probability(self, stage: int, age_ms: int = 0) -> float:
        """Of a deal that has been in a stage for a while, between AGES_MS along a line."""
        return float(np.interp(age_ms, AGES_MS, self.win[stage]))

    def time_factor(self, stage: int, age_ms: int) -> float:
        """The value after a while in a stage over that of a deal that has just entered it."""
        entered = self.win_probability(stage)
        return self.win_probability(stage, age_ms) / entered if entered else 0.0
