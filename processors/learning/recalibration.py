"""What a model's predictions have to be multiplied by to agree with what came of them lately.

Ratios of outcomes to predictions over several memories: short ones follow a shift by themselves and are noisy, long
ones are neither. Where a CUSUM finds that the ratio has changed all of them begin anew with what came since. The
mixture decides which to go by.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from processors.drift.cusum import PoissonCUSUM
from processors.learning.examples import Floats

__all__ = ["MEMORIES", "Recalibration"]

#: Events after which an outcome counts a third.
MEMORIES = (20_000.0, 5_000.0, 1_500.0)
#: Conversions that a ratio of one is worth.
WORTH = 1.0
#: A false alarm costs a ratio's precision for a while and no more, so that alarms can be had cheaper than where budgets
#: hang on them.
CHART = {"ratio": 1.5, "threshold": 2.0, "guard": 0.0, "warm_up": 20.0}
#: A probability is at most this.
MOST = 0.95


@dataclass(slots=True)
class Recalibration:
    """Changed in place by `learn`. sums: shape (2, memories): converted, predicted."""

    sums: Floats = field(default_factory=lambda: np.zeros((2, len(MEMORIES))))
    chart: PoissonCUSUM = field(default_factory=lambda: PoissonCUSUM(**CHART))

    def ratios(self) -> Floats:
        """What each memory multiplies with, and last what the chart does."""
        converted, predicted = np.append(self.sums, np.array(self.chart.learned)[:, None], axis=1)
        found: Floats = (WORTH + converted) / (WORTH + predicted)
        return found

    def apply(self, probability: Floats) -> Floats:
        """Recalibrated predictions, shape (ratios, events)."""
        found: Floats = np.minimum(self.ratios()[:, None] * probability, MOST)
        return found

    def learn(self, converted: Floats, predicted: Floats) -> bool:
        """Outcomes of a mini-batch and what was predicted of them, before any ratio; returns whether all began anew."""
        decay = np.exp(-len(converted) / np.array(MEMORIES))
        seen = np.array([converted.sum(), predicted.sum()])
        self.sums = self.sums * decay + seen[:, None]
        self.chart.update(seen[0], seen[1])
        if self.chart.drift_detected:
            self.sums[:] = np.array(self.chart.learned)[:, None]
        return self.chart.drift_detected

    def state(self) -> list[float]:
        """All that was learned, for `restore`."""
        return [*self.sums.ravel().tolist(), *self.chart.state()]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what another has learned."""
        self.sums = np.array(state[: self.sums.size]).reshape(self.sums.shape)
        self.chart.restore(state[self.sums.size :])
