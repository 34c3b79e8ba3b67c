"""The incomplete gamma function against sums it is known to be."""

import math

import numpy as np
import pytest

from processors.decisions.gamma import below, shortfall


@pytest.mark.parametrize("shape", [1, 2, 5, 40, 300])
@pytest.mark.parametrize("part", [0.2, 0.9, 1.0, 1.1, 2.5])
def test_of_whole_shapes_it_is_a_poisson_tail(shape: int, part: float) -> None:
    x = part * shape
    tail = 1 - sum(math.exp(count * math.log(x) - x - math.lgamma(count + 1)) for count in range(shape))
    assert below(float(shape), x) == pytest.approx(tail, abs=1e-10)


def test_large_shapes_are_as_the_normal_says() -> None:
    assert below(4999.0, 4999.0) == pytest.approx(below(5001.0, 5001.0), abs=1e-4)
    assert below(1e8, 1e8) == pytest.approx(0.5, abs=1e-3)
    assert below(1e8, 0.0) == 0.0


def test_a_shortfall_is_what_draws_fall_short_by() -> None:
    draws = np.random.default_rng(1).gamma(3.0, 0.5, 200_000)
    found = shortfall(np.ones((1, 1)), np.full((1, 1), 3.0), np.full((1, 1), 2.0), np.array([1.2]))
    assert found[0] == pytest.approx(np.maximum(1.2 - draws, 0).mean(), abs=3e-3)
