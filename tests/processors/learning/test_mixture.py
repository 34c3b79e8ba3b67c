import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.learning.mixture import FURTHEST, mix, share


@given(seed=st.integers(0, 2**32 - 1), experts=st.integers(1, 5), events=st.integers(0, 80), cut=st.integers(0, 80))
def test_the_loss_is_at_most_any_experts_and_the_log_of_their_number(
    seed: int, experts: int, events: int, cut: int
) -> None:
    rng = np.random.default_rng(seed)
    chances = rng.beta(0.5, 0.5, (experts, events)).clip(1e-4, 1 - 1e-4)
    converted = (rng.random(events) < 0.5).astype(float)
    first, between = mix(np.zeros(experts), chances[:, :cut], converted[:cut])
    second, _ = mix(between, chances[:, cut:], converted[cut:])
    mixed = np.concatenate([first, second])

    def loss(predicted: np.ndarray) -> np.ndarray:
        return -np.log(np.where(converted > 0, predicted, 1 - predicted)).sum(axis=-1)

    assert loss(mixed) <= loss(chances).min() + np.log(experts) + events * np.exp(-FURTHEST) * experts + 1e-9


@given(weights=st.lists(st.floats(-50, 0), min_size=1, max_size=6), part=st.floats(0, 1))
def test_shares_sum_to_one_and_none_is_lost_for_good(weights: list[float], part: float) -> None:
    shared = np.exp(share(np.array(weights), part))
    assert np.isclose(shared.sum(), 1)
    assert (shared >= part / len(weights) - 1e-12).all()
