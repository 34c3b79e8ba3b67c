from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.learning.examples import Clicks, Examples, chance, due, slope

AGES = [100, 300, 1_000]
NEVER = 2**62


def _share(age: np.ndarray) -> np.ndarray:
    return 1 - np.exp(-age / 300)


def _clicks(seed: int, count: int) -> Clicks:
    rng = np.random.default_rng(seed)
    clicked = np.sort(rng.integers(0, 2_000, count))
    converted = np.where(rng.random(count) < 0.5, clicked + rng.integers(0, 1_200, count), NEVER)
    return Clicks(np.arange(count, dtype=np.int32)[:, None], clicked, converted)


@given(
    z=st.floats(-6, 6),
    converted=st.sampled_from([0.0, 1.0]),
    before=st.floats(0, 0.9),
    more=st.floats(0.05, 1),
)
def test_the_slope_is_the_likelihoods(z: float, converted: float, before: float, more: float) -> None:
    matured = min(before + more, 0.999)
    look = Examples(np.zeros((1, 1), np.int32), *(np.array([value]) for value in (converted, before, matured)))

    def loss(log_odds: float) -> float:
        probability = np.array([1 / (1 + np.exp(-log_odds))])
        found = chance(probability, look.matured_before, look.matured)[0]
        return -np.log(found if converted else 1 - found)

    numeric = (loss(z + 1e-5) - loss(z - 1e-5)) / 2e-5
    assert slope(np.array([1 / (1 + np.exp(-z))]), look)[0] == pytest.approx(numeric, abs=1e-5)


def test_a_final_outcome_is_logistic_regression() -> None:
    found = slope(np.array([0.2, 0.2]), Examples.final(np.zeros((2, 1), np.int32), [0, 1]))
    assert found == pytest.approx([0.2, -0.8])


@given(p=st.floats(0.01, 0.95))
def test_looks_at_a_click_multiply_to_all_that_is_known_of_it(p: float) -> None:
    shares = np.array([0.0, 0.3, 0.7, 0.9])
    steps = chance(np.full(3, p), shares[:-1], shares[1:])
    assert np.prod(1 - steps) == pytest.approx(1 - 0.9 * p)
    assert (1 - steps[0]) * steps[1] == pytest.approx(0.4 * p)


@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(0, 4_000), max_size=5))
@settings(max_examples=60, deadline=None)
def test_any_split_of_time_gives_the_same_looks(seed: int, cuts: list[int]) -> None:
    clicks = _clicks(seed, 30)
    times = [-1, *sorted(cuts), 4_000]
    whole = due(clicks, AGES, _share, -1, 4_000)
    parts = [due(clicks, AGES, _share, start, end) for start, end in pairwise(times)]
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.then(part)
    assert all(np.array_equal(one, other) for one, other in zip(whole, joined, strict=True))


def test_a_click_is_looked_at_until_it_has_converted() -> None:
    clicks = Clicks(np.array([[1], [2]], np.int32), np.array([0, 50]), np.array([250, NEVER]))
    found = due(clicks, AGES, _share, -1, 400)
    assert found.places[:, 0].tolist() == [1, 2, 1, 2]
    assert found.converted.tolist() == [0, 0, 1, 0]
    assert found.matured_before.tolist() == pytest.approx([0, 0, *_share(np.array([100.0, 100.0]))])


def test_learning_from_looks_is_unbiased_before_anything_is_final() -> None:
    """By maximum likelihood on young clicks, half of whose conversions are still on the way."""
    rng = np.random.default_rng(1)
    count, p = 40_000, 0.2
    ever, delay = rng.random(count) < p, rng.exponential(300, count) + 1
    converted = np.where(ever, delay.astype(np.int64), NEVER)
    clicks = Clicks(np.zeros((count, 1), np.int32), np.zeros(count, np.int64), converted)
    looks = due(clicks, AGES[:1], _share, -1, 100)
    z = 0.0
    for _ in range(200):
        z -= 5 * slope(np.full(len(looks.converted), 1 / (1 + np.exp(-z))), looks).mean()
    assert 1 / (1 + np.exp(-z)) == pytest.approx(p, abs=0.01)
    assert looks.converted.mean() < 0.4 * p
