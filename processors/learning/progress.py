"""Progressive validation: every event is predicted before it is learned from, so that all of them are a test."""

from dataclasses import dataclass, fields
from math import log

import numpy as np

from processors.learning.examples import Floats

__all__ = ["Progress"]


@dataclass(slots=True)
class Progress:
    """Sums over the looks at clicks so far: how many, conversions, predicted ones, log-loss in nats, and the loss of
    what was known before anything was learned.
    """

    looks: float = 0.0
    conversions: float = 0.0
    predicted: float = 0.0
    loss: float = 0.0
    unlearned_loss: float = 0.0

    def add(self, mixed: Floats, unlearned: Floats, converted: Floats) -> None:
        """Chances that were predicted, those without learning, and what came of them."""
        self.looks += len(converted)
        self.conversions += float(converted.sum())
        self.predicted += float(mixed.sum())
        self.loss += _loss(mixed, converted)
        self.unlearned_loss += _loss(unlearned, converted)

    @property
    def calibration(self) -> float:
        """Predicted conversions over those that came; nan where none came."""
        return self.predicted / self.conversions if self.conversions else float("nan")

    @property
    def normalised_entropy(self) -> float:
        """Log-loss over that of predicting the overall rate: below one where something was learned.

        He et al.: Practical lessons from predicting clicks on ads at Facebook. ADKDD 2014.
        """
        rate = self.conversions / self.looks if self.looks else 0.0
        if not 0 < rate < 1:
            return float("nan")
        return self.loss / (-self.looks * (rate * log(rate) + (1 - rate) * log(1 - rate)))

    def state(self) -> list[float]:
        """The sums, in the order of the fields."""
        return [getattr(self, one.name) for one in fields(self)]

    def minus(self, earlier: "Progress") -> "Progress":
        """What was added since an earlier state."""
        return Progress(*(now - before for now, before in zip(self.state(), earlier.state(), strict=True)))


def _loss(chances: Floats, converted: Floats) -> float:
    return -float(np.log(np.where(converted > 0, chances, 1 - chances)).sum())
