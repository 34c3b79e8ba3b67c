import numpy as np
import pytest

from processors.drift.dispersion import PRIOR, dispersion


@pytest.mark.parametrize("variance", [0.0, 0.04, 0.09])
@pytest.mark.parametrize("mean", [10, 100])
def test_it_is_found_at_any_size(variance: float, mean: int) -> None:
    rng = np.random.default_rng(1)
    rate = rng.gamma(1 / variance, variance, (60, 200)) if variance else np.ones((60, 200))
    assert dispersion(rng.poisson(mean * rate), np.full(rate.shape, mean)) == pytest.approx(variance, abs=0.012)


def test_a_change_is_not_noise() -> None:
    count = np.random.default_rng(1).poisson(np.where(np.arange(30)[:, None] < 15, 200, 50), (30, 20))
    assert dispersion(count, np.ones(count.shape)) < 0.03


def test_nothing_known_is_the_prior() -> None:
    assert dispersion(np.zeros((0, 3)), np.zeros((0, 3))) == PRIOR
    assert dispersion(np.zeros((5, 3)), np.zeros((5, 3))) == PRIOR
