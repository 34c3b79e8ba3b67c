"""A second opinion on a model's drift: ADWIN on its log-loss, which sees what no rate shows.

Where a model's features change their meaning while the overall rate stays, no CUSUM of rates finds anything, but the
loss rises. The opinion is worth asking for, not acting on alone: at 2 % ADWIN needs three times as many events as a
CUSUM does (docs/drift.md).

Bifet, Gavaldà: Learning from time-changing data with adaptive windowing. SIAM International Conference on Data Mining
(2007).
"""

from math import log

from river.base import DriftDetector
from river.drift import ADWIN

__all__ = ["LossDrift"]

#: A prediction is between this and one less this: what is surprising beyond it is no more surprising.
LEAST = 1e-6


class LossDrift(DriftDetector):
    """Alarms where the log-loss of predictions rises; a loss that falls is learned and no alarm.

    delta: of ADWIN.

    >>> import random
    >>> rng, detector = random.Random(1), LossDrift()
    >>> for event in range(20_000):
    ...     detector.observe(0.1, rng.random() < (0.1 if event < 10_000 else 0.2))
    ...     if detector.drift_detected:
    ...         print(event)
    10143
    """

    def __init__(self, delta: float = 0.002) -> None:
        super().__init__()
        self.delta = delta
        self._adwin = ADWIN(delta=delta)  # type: ignore[no-untyped-call]

    def observe(self, predicted: float, is_success: bool) -> None:
        """Take a prediction and what came of it."""
        probability = min(max(predicted, LEAST), 1 - LEAST)
        self.update(-log(probability if is_success else 1 - probability))

    def update(self, x: float) -> None:
        """Take one event's loss."""
        before = float(self._adwin.estimation)
        self._adwin.update(x)  # type: ignore[no-untyped-call]
        self._drift_detected = bool(self._adwin.drift_detected and self._adwin.estimation > before)
