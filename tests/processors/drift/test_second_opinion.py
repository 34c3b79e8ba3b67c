import random

from river.base import DriftDetector

from processors.drift.second_opinion import LossDrift


def _alarms(rates: list[tuple[int, float, float]]) -> int:
    rng, detector, found = random.Random(2), LossDrift(), 0
    for events, predicted, rate in rates:
        for _ in range(events):
            detector.observe(predicted, rng.random() < rate)
            found += detector.drift_detected
    return found


def test_a_loss_that_rises_is_an_alarm_and_one_that_falls_is_not() -> None:
    assert isinstance(LossDrift(), DriftDetector)
    assert _alarms([(10_000, 0.1, 0.1), (10_000, 0.1, 0.3)]) >= 1
    assert _alarms([(10_000, 0.5, 0.1), (10_000, 0.1, 0.1)]) == 0


def test_a_prediction_of_nothing_is_finite() -> None:
    assert _alarms([(10, 0.0, 1.0), (10, 1.0, 0.0)]) == 0
