import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.drift.likelihood import poisson_step
from processors.drift.scan import CHART, NOTHING, Prior, scan


def _drawn(seed: int, buckets: int = 60, series: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    exposure = rng.gamma(4, 25, (buckets, series))
    rate = rng.gamma(5, 0.05, series) * np.where(np.arange(buckets)[:, None] < rng.integers(0, buckets, series), 1, 0.4)
    return rng.poisson(rate * exposure), exposure


@given(seed=st.integers(0, 2**32 - 1), cut=st.integers(0, 60))
@settings(max_examples=40, deadline=None)
def test_what_comes_later_changes_nothing_that_was_found(seed: int, cut: int) -> None:
    count, exposure = _drawn(seed)
    whole, first = scan(count, exposure, poisson_step), scan(count[:cut], exposure[:cut], poisson_step)
    assert all(np.array_equal(one[:cut], other) for one, other in zip(whole, first, strict=True))


@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(5)))
@settings(max_examples=40, deadline=None)
def test_series_know_nothing_of_each_other(seed: int, order: list[int]) -> None:
    count, exposure = _drawn(seed)
    together = scan(count, exposure, poisson_step)
    for one in order:
        alone = scan(count[:, [one]], exposure[:, [one]], poisson_step)
        assert np.array_equal(together.alarm[:, [one]], alone.alarm)


def test_buckets_without_exposure_say_nothing() -> None:
    count, exposure = _drawn(1)
    gaps = [np.insert(part, [10, 20, 20], 0, axis=0) for part in (count, exposure)]
    assert scan(*gaps, poisson_step).alarm.sum() == scan(count, exposure, poisson_step).alarm.sum() != 0


def test_noise_that_is_known_hardly_raises_an_alarm() -> None:
    rng = np.random.default_rng(2)
    count = rng.poisson(100 * rng.gamma(1 / 0.25, 0.25, (200, 20)))
    exposure = np.ones(count.shape)
    plain, known = (scan(count, exposure, poisson_step, CHART, NOTHING, noise) for noise in (0.0, 0.25))
    assert (known.alarm != 0).sum() < (plain.alarm != 0).sum() / 20


def test_an_alarm_stays_open_until_the_new_rate_is_learned() -> None:
    found = scan([[40]] * 10 + [[12]] * 10, np.full((20, 1), 1000.0), poisson_step)
    raised = int(np.flatnonzero(found.alarm)[0])
    assert found.is_open[:, 0].nonzero()[0].tolist() == list(range(raised, raised + 5))
    assert 12 * 4 < 2 * CHART.warm_up <= 12 * 5


def test_a_prior_stands_in_for_what_the_series_has_not_shown() -> None:
    known = scan([[2]] * 3, np.ones((3, 1)), poisson_step, CHART, Prior(1_000.0, 100.0))
    assert known.usual[0, 0] == 10
    assert known.alarm[:, 0].tolist() == [0, -1, 0]


def test_nothing_is_found_in_nothing() -> None:
    assert scan(np.zeros((0, 3)), np.zeros((0, 3)), poisson_step).alarm.shape == (0, 3)
