"""Logistic regression on hashed features, with a variance to each weight.

Each weight is a Gaussian whose precision grows by the curvature of every event it takes part in, so that what is seen
often moves little and what is new moves much; events are taken in mini-batches, all gradients at the weights before.
Forgetting multiplies precisions: it widens what is believed and leaves every prediction as it is.

Chapelle, Li: An empirical evaluation of Thompson sampling, algorithm 3. NIPS 2011.
"""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from processors.learning.examples import Examples, Floats, slope
from processors.learning.features import PLACES, Places

__all__ = ["Regression"]

#: Log odds beyond these are as good as never and always.
MOST_LOG_ODDS = 15.0


@dataclass(slots=True)
class Regression:
    """Changed in place by `learn` and `widen`.

    base_rate: where it starts from, between 0 and 1. precision: of a weight of which nothing is known; 1 over its
    variance. step: part of a Newton step that is taken, since features that come together all take it.
    """

    base_rate: float
    precision: float = 10.0
    step: float = 0.5
    places: int = PLACES
    weights: Floats = field(init=False, repr=False)
    precisions: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.weights = np.zeros(self.places)
        self.precisions = np.full(self.places, self.precision)

    def predict(self, places: Places) -> Floats:
        """Probabilities that clicks ever convert, shape (events,)."""
        start = np.log(self.base_rate / (1 - self.base_rate))
        log_odds = np.clip(start + self.weights[places].sum(axis=1), -MOST_LOG_ODDS, MOST_LOG_ODDS)
        found: Floats = 1 / (1 + np.exp(-log_odds))
        return found

    def learn(self, examples: Examples, probability: Floats) -> None:
        """One step on a mini-batch, to explain what differs from the probabilities that were served of it."""
        by_event = slope(probability, examples)
        curvature = probability * (1 - probability) * (examples.matured - examples.matured_before)
        used, where = np.unique(examples.places, return_inverse=True)
        columns = examples.places.shape[1]
        gradient = np.bincount(where.ravel(), np.repeat(by_event, columns), len(used))
        self.precisions[used] += np.bincount(where.ravel(), np.repeat(curvature, columns), len(used))
        self.weights[used] -= self.step * gradient / self.precisions[used]

    def widen(self, factor: float, places: npt.NDArray[np.integer] | None = None) -> None:
        """Let evidence so far count `factor` of what it does, 0 to 1, at some places or all; never below the start.

        Predictions stay; the next events move them more, until there are as many again.
        """
        where = slice(None) if places is None else np.unique(places)
        self.precisions[where] = np.maximum(self.precisions[where] * factor, self.precision)
