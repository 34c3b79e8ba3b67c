import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_value.sums import AGES_MS
from processors.pipeline_value.win_probability import destinations, win_probability

AGES = len(AGES_MS)


def _rates(seed: int, stages: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.gamma(0.5, 0.1, (stages, AGES, stages + 2))


@given(seed=st.integers(0, 2**32 - 1), stages=st.integers(1, 5))
@settings(max_examples=60, deadline=None)
def test_all_deals_go_somewhere_and_all_chances_are_chances(seed: int, stages: int) -> None:
    rates = _rates(seed, stages)
    assert destinations(rates).sum(axis=-1) == pytest.approx(1)
    won = win_probability(rates)
    assert ((won >= 0) & (won <= 1)).all()
    swapped = rates[..., [*range(stages), stages + 1, stages]]
    assert won + win_probability(swapped) == pytest.approx(1)


def test_it_is_what_a_simulation_of_the_rates_finds() -> None:
    rates = np.zeros((1, AGES, 3))
    rates[0, :3] = [0.0, 0.3, 0.05]
    rates[0, 3:] = [0.0, 0.02, 0.1]
    rng = np.random.default_rng(1)
    won = 0
    for _ in range(20_000):
        age, days = 0, 0.0
        while True:
            total = rates[0, age].sum()
            days += rng.exponential(1 / total)
            end = AGES_MS[age + 1] / 86_400_000 if age + 1 < AGES else np.inf
            if days < end:
                won += rng.random() < rates[0, age, 1] / total
                break
            age, days = age + 1, end
    assert win_probability(rates)[0, 0] == pytest.approx(won / 20_000, abs=0.012)


def test_a_circle_of_stages_is_solved() -> None:
    rates = np.zeros((2, AGES, 4))
    rates[0, :, 1], rates[0, :, 3] = 0.3, 0.1
    rates[1, :, 0], rates[1, :, 2] = 0.1, 0.1
    # a = 3/4 b, b = a/2 + 1/2
    assert win_probability(rates)[:, 0] == pytest.approx([0.6, 0.8])


def test_a_stage_that_nobody_has_left_wins_nothing() -> None:
    assert not win_probability(np.zeros((2, AGES, 4))).any()
    circle = np.zeros((2, AGES, 4))
    circle[0, :, 1] = circle[1, :, 0] = 1.0
    assert win_probability(circle)[:, 0] == pytest.approx([0, 0], abs=1e-6)
