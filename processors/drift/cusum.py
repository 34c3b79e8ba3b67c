"""Two-sided CUSUM of one stream, with River's interface: `update(x)`, then `drift_detected`.

The same chart as scan.py, one event at a time. The defaults find a rate of 2 % that halves or doubles in fewer events
than any of River's detectors that raises as few false alarms (docs/drift.md).

Page: Continuous inspection schemes, Biometrika 41 (1954). Hawkins: Self-starting CUSUM charts, The Statistician 36
(1987).
"""

from abc import abstractmethod
from collections.abc import Sequence
from math import exp, log, sqrt

from river.base import DriftDetector

from processors.drift.scan import CHART

__all__ = ["BernoulliCUSUM", "PoissonCUSUM"]

#: A rate after the change is less than one.
MOST = 0.999


class _Side:
    """One direction: its statistic, and the (count, exposure) that are sure and in doubt."""

    __slots__ = ("doubt", "doubt_exposure", "ratio", "statistic", "sure", "sure_exposure", "towards")

    def __init__(self, ratio: float) -> None:
        self.ratio = ratio
        self.towards = 1.0 if ratio > 1 else -1.0
        self.restore([0.0] * 5)

    def trust(self, count: float, exposure: float) -> None:
        """Let the usual rate rest on these as well."""
        self.sure += count
        self.sure_exposure += exposure

    def forget_doubt(self) -> None:
        """Nothing is in doubt."""
        self.doubt = self.doubt_exposure = 0.0

    def state(self) -> list[float]:
        """In the order in which `restore` takes it."""
        return [self.statistic, self.sure, self.sure_exposure, self.doubt, self.doubt_exposure]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what another has learned."""
        self.statistic, self.sure, self.sure_exposure, self.doubt, self.doubt_exposure = state


class _CUSUM(DriftDetector):
    """What is common to both likelihoods."""

    def __init__(self, ratio: float, threshold: float, guard: float, warm_up: float, trial: float) -> None:
        super().__init__()
        self.ratio, self.threshold, self.guard, self.warm_up, self.trial = ratio, threshold, guard, warm_up, trial
        self._sides = (_Side(ratio), _Side(1 / ratio))
        self._suspect = 0
        self._trial = self._trial_exposure = 0.0

    @property
    def direction(self) -> int:
        """1 where the last update found the rate to have risen, -1 to have fallen, 0 where it found nothing."""
        return self._direction if self._drift_detected else 0

    @property
    def rate(self) -> float:
        """The usual rate, or after an alarm that of what came since the change; 0 where nothing has been seen."""
        events, exposure = self.learned
        return events / exposure if exposure else 0.0

    @property
    def learned(self) -> tuple[float, float]:
        """Events and exposure that `rate` rests on."""
        if self._suspect:
            return self._trial, self._trial_exposure
        one, other = self._sides
        return (one.sure + other.sure) / 2, (one.sure_exposure + other.sure_exposure) / 2

    def state(self) -> list[float]:
        """All that was learned, for `restore`."""
        by_side = [value for side in self._sides for value in side.state()]
        return [*by_side, float(self._suspect), self._trial, self._trial_exposure]

    def restore(self, state: Sequence[float]) -> None:
        """Go on from what another of the same settings has learned."""
        *by_side, suspect, self._trial, self._trial_exposure = state
        half = len(by_side) // 2
        for side, part in zip(self._sides, (by_side[:half], by_side[half:]), strict=True):
            side.restore(part)
        self._suspect = int(suspect)
        self._drift_detected = False

    def _observe(self, count: float, exposure: float) -> None:
        usual_rate = sum(side.sure / side.sure_exposure if side.sure_exposure else 0.0 for side in self._sides) / 2
        for side in self._sides:
            side.doubt += count
            side.doubt_exposure += exposure
            if side.sure >= self.warm_up:
                usual = side.sure / side.sure_exposure * exp(side.towards * self.guard / sqrt(side.sure))
                side.statistic = max(side.statistic + self._gain(count, exposure, usual, side.ratio), 0.0)
            else:
                side.statistic = 0.0
        self._trial += count
        self._trial_exposure += exposure
        greatest = max(self._sides, key=lambda side: side.statistic)
        self._drift_detected = greatest.statistic >= self.threshold
        if self._drift_detected:
            self._try(greatest)
        elif self._suspect and self._trial_exposure * usual_rate >= self.trial:
            self._acquit()
        for side in self._sides:
            if side.statistic == 0:
                if not self._suspect:
                    side.trust(side.doubt, side.doubt_exposure)
                side.forget_doubt()

    def _try(self, found: _Side) -> None:
        """Put an alarm on trial; one that is confirmed is what the usual rate is learned anew from."""
        self._direction = int(found.towards)
        is_confirmed = self._suspect == self._direction
        if not is_confirmed:
            self._trial, self._trial_exposure = found.doubt, found.doubt_exposure
        self._suspect = 0 if is_confirmed else self._direction
        for side in self._sides:
            sure = (self._trial, self._trial_exposure) if is_confirmed else (side.sure, side.sure_exposure)
            side.restore([0.0, *sure, 0.0, 0.0])

    def _acquit(self) -> None:
        """Nothing has confirmed the alarm: what came since is as sure as what was before."""
        self._suspect = 0
        for side in self._sides:
            side.trust(self._trial, self._trial_exposure)
            side.forget_doubt()

    @abstractmethod
    def _gain(self, count: float, exposure: float, usual: float, ratio: float) -> float: ...


class BernoulliCUSUM(_CUSUM):
    """Of events that are a success or not, such as clicks that convert.

    ratio, threshold, guard, warm_up, trial: as in `Chart`.

    >>> import random
    >>> rng, detector = random.Random(1), BernoulliCUSUM()
    >>> for event in range(40_000):
    ...     detector.update(rng.random() < (0.02 if event < 20_000 else 0.01))
    ...     if detector.drift_detected:
    ...         print(event, detector.direction)
    21763 -1
    24427 -1
    25754 -1
    """

    def __init__(
        self,
        ratio: float = CHART.ratio,
        threshold: float = CHART.threshold,
        guard: float = CHART.guard,
        warm_up: float = CHART.warm_up,
        trial: float = CHART.trial,
    ) -> None:
        super().__init__(ratio, threshold, guard, warm_up, trial)

    def update(self, x: float) -> None:
        """Take one event: 1 or True for a success, else 0."""
        self._observe(float(x), 1.0)

    def _gain(self, count: float, exposure: float, usual: float, ratio: float) -> float:
        before = min(usual, MOST)
        after = min(usual * ratio, MOST)
        return count * log(after / before) + (exposure - count) * log((1 - after) / (1 - before))


class PoissonCUSUM(_CUSUM):
    """Of counts in an exposure, such as conversions by money spent.

    ratio, threshold, guard, warm_up, trial: as in `Chart`.

    >>> detector = PoissonCUSUM()
    >>> for count in [5] * 20 + [11] * 4:
    ...     detector.update(count)
    >>> detector.drift_detected, detector.direction
    (True, 1)
    """

    def __init__(
        self,
        ratio: float = CHART.ratio,
        threshold: float = CHART.threshold,
        guard: float = CHART.guard,
        warm_up: float = CHART.warm_up,
        trial: float = CHART.trial,
    ) -> None:
        super().__init__(ratio, threshold, guard, warm_up, trial)

    def update(self, x: float, exposure: float = 1.0) -> None:
        """Take the count of one exposure, which is not negative."""
        self._observe(float(x), exposure)

    def _gain(self, count: float, exposure: float, usual: float, ratio: float) -> float:
        return count * log(ratio) - (ratio - 1) * usual * exposure
