import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.base import DriftDetector

from processors.drift.cusum import BernoulliCUSUM, PoissonCUSUM
from processors.drift.likelihood import bernoulli_step, poisson_step
from processors.drift.scan import scan


def _alarms(detector: DriftDetector, stream: list[int]) -> list[int]:
    found = []
    for value in stream:
        detector.update(value)
        found.append(detector.direction)
    return found


@pytest.mark.parametrize("detector", [BernoulliCUSUM(), PoissonCUSUM()])
def test_it_is_a_detector_as_river_has_them(detector: DriftDetector) -> None:
    assert isinstance(detector, DriftDetector)
    assert not detector.drift_detected
    assert isinstance(detector.clone(), type(detector))
    detector.update(1)
    assert detector.drift_detected is False


@given(
    rates=st.lists(st.tuples(st.floats(0.01, 0.9), st.integers(1, 400)), min_size=1, max_size=4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_one_by_one_finds_what_the_scan_of_columns_finds(rates: list[tuple[float, int]], seed: int) -> None:
    rng = np.random.default_rng(seed)
    events = np.concatenate([rng.random(size) < rate for rate, size in rates]).astype(int)
    counts = np.concatenate([rng.poisson(4 * rate, size) for rate, size in rates])
    for detector, stream, step in ((BernoulliCUSUM(), events, bernoulli_step), (PoissonCUSUM(), counts, poisson_step)):
        columns = scan(stream[:, None], np.ones((len(stream), 1)), step)
        assert _alarms(detector, stream.tolist()) == columns.alarm[:, 0].tolist()


@pytest.mark.parametrize(("after", "direction"), [(0.01, -1), (0.04, 1)])
def test_a_halved_and_a_doubled_rate_are_found_and_named(after: float, direction: int) -> None:
    rng = np.random.default_rng(3)
    events = (rng.random(30_000) < np.repeat([0.02, after], 15_000)).astype(int).tolist()
    found = _alarms(BernoulliCUSUM(), events)
    assert next(alarm for alarm in found if alarm) == direction
    assert not any(found[:15_000])


def test_after_an_alarm_that_is_confirmed_the_new_rate_is_the_usual_one() -> None:
    detector = BernoulliCUSUM()
    rng = np.random.default_rng(4)
    found = _alarms(detector, (rng.random(30_000) < np.repeat([0.02, 0.06], 15_000)).astype(int).tolist())
    assert [alarm for alarm in found if alarm] == [1, 1]
    assert detector.rate == pytest.approx(0.06, rel=0.1)


def test_a_rate_that_nothing_is_known_of_raises_no_alarm() -> None:
    assert not any(_alarms(BernoulliCUSUM(), [1] * 29 + [0] * 10))
    assert BernoulliCUSUM().rate == 0


def test_a_false_alarm_does_not_hide_the_change_that_comes_upon_it() -> None:
    rng = np.random.default_rng(6)
    usual, quiet, after = rng.random(20_000) < 0.02, np.zeros(500, bool), rng.random(15_000) < 0.01
    found = _alarms(
        BernoulliCUSUM(), np.concatenate([usual, quiet, rng.random(2_000) < 0.02, after]).astype(int).tolist()
    )
    raised = [position for position, alarm in enumerate(found) if alarm]
    assert 20_000 < raised[0] < 22_500
    assert raised[1] > 22_500
    assert found[raised[1]] == -1
