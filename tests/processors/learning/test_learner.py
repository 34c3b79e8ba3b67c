import zlib

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.learning.errors import UnusableSnapshot
from processors.learning.examples import Examples
from processors.learning.learner import MINI_BATCH, Cut, Learner
from tests.processors.learning.streams import COLUMNS, examples

CUT = Cut("topic", 3, 1_234)


def _learned(found: Examples, cuts: list[int]) -> Learner:
    learner = Learner(0.1, COLUMNS)
    for start, end in zip([0, *cuts], [*cuts, len(found.converted)], strict=True):
        learner.learn(found.rows(start, end))
    return learner


@given(seed=st.integers(0, 99), count=st.integers(0, 1_500), data=st.data())
@settings(max_examples=30, deadline=None)
def test_any_split_of_a_batch_is_the_same_state(seed: int, count: int, data: st.DataObject) -> None:
    found = examples(seed, count)
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=6)))
    assert _learned(found, cuts).snapshot(CUT) == _learned(found, []).snapshot(CUT)


@given(seed=st.integers(0, 99), cut=st.integers(0, 1_500))
@settings(max_examples=20, deadline=None)
def test_what_is_restored_goes_on_as_if_it_had_never_stopped(seed: int, cut: int) -> None:
    found = examples(seed, 1_500)
    learner = _learned(found.rows(0, cut), [])
    restored, at = Learner.restore(learner.snapshot(CUT))
    assert at == CUT
    for one in (learner, restored):
        one.learn(found.rows(cut))
    assert learner.snapshot(CUT) == restored.snapshot(CUT)
    assert np.array_equal(learner.predict(found.places), restored.predict(found.places))


@given(
    seed=st.integers(0, 10_000),
    rate=st.floats(0.001, 0.9),
    wrong=st.sampled_from(["as it is", "flipped", "random", "alternating"]),
)
@settings(max_examples=40, deadline=None)
def test_no_stream_is_learned_to_ones_harm(seed: int, rate: float, wrong: str) -> None:
    """The guarantee: log-loss of a run at most that of the rate it began with, and .011 nats in all."""
    found = examples(seed, 8 * MINI_BATCH, rate)
    rng = np.random.default_rng(seed)
    turns = {
        "as it is": found.converted,
        "flipped": np.where(np.arange(len(found.converted)) < 1_000, found.converted, 1 - found.converted),
        "random": (rng.random(len(found.converted)) < 0.1).astype(float),
        "alternating": (np.arange(len(found.converted)) // 300 % 2).astype(float),
    }
    progress = _learned(found._replace(converted=turns[wrong]), []).progress
    assert progress.loss <= progress.unlearned_loss + 0.0101


def test_it_learns_what_features_say() -> None:
    found = examples(1, 40_000)
    learner = _learned(found, [])
    assert learner.progress.normalised_entropy < 0.97
    assert learner.progress.calibration == pytest.approx(1, abs=0.03)


def test_a_shift_of_all_rates_is_followed() -> None:
    learner = _learned(examples(1, 20_000, 0.2), [])
    shifted = examples(2, 6_000, 0.05)
    learner.learn(shifted.rows(0, 2_048))
    before = learner.progress.minus(type(learner.progress)())
    learner.learn(shifted.rows(2_048))
    assert learner.progress.minus(before).calibration == pytest.approx(1, abs=0.12)


def test_widening_leaves_every_prediction_and_moves_the_next_ones_more() -> None:
    found = examples(3, 20_480)
    plain, widened = (_learned(found, []) for _ in range(2))
    widened.widen(0.2)
    assert np.array_equal(plain.predict(found.places), widened.predict(found.places))
    later = examples(4, MINI_BATCH, 0.5)
    moved = []
    for learner in (plain, widened):
        before = learner.regression.weights.copy()
        learner.learn(later)
        moved.append(np.abs(learner.regression.weights - before).sum())
    assert moved[1] > 2 * moved[0]


def test_widening_again_and_again_stops_at_the_start() -> None:
    learner = _learned(examples(3, 5_120), [])
    for _ in range(100):
        learner.widen(0.2)
    assert (learner.regression.precisions == learner.regression.precision).all()


@pytest.mark.parametrize(
    "data", [b"", b"nothing", zlib.compress(msgpack.packb({"format": 99})), zlib.compress(msgpack.packb([1]))]
)
def test_what_is_no_snapshot_is_refused(data: bytes) -> None:
    with pytest.raises(UnusableSnapshot):
        Learner.restore(data)
