"""What is learned of an account: delays, prior, scatter, changes, saturation, values."""

import numpy as np
import pytest

from processors.decisions.evidence.changes import segments_of
from processors.decisions.evidence.delay import delay_of, lognormal_delay, matured
from processors.decisions.evidence.dispersion import dispersion_of, local_rates
from processors.decisions.evidence.posterior import learned_exponent, posterior_of
from processors.decisions.evidence.prior import Prior, prior_of
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.evidence.values import values_of
from tests.processors.decisions.accounts import BACKGROUND, LAGS, VALUE, statistics_of

PRIOR = Prior(1.7, 1.15)


def test_delays_are_learned_though_young_spend_shows_only_short_ones() -> None:
    slow = lognormal_delay(5.0, 1.0, LAGS)
    known = statistics_of(np.full((10, 20), 1.5), 2000.0, median_d=5.0)
    naive = known.conversions.sum(axis=(0, 1)).cumsum() / known.conversions.sum()
    learned = delay_of(known, BACKGROUND.delay)
    assert np.abs(naive - slow).max() > 0.1
    assert np.abs(learned - slow).max() < 0.03


def test_without_conversions_the_delay_is_the_generic_one() -> None:
    assert delay_of(statistics_of(np.zeros((2, 5)), 100.0), BACKGROUND.delay) == pytest.approx(BACKGROUND.delay)


def test_maturity_rises_with_age_within_the_day_too() -> None:
    shares = matured(BACKGROUND.delay, np.linspace(0, LAGS + 3, 200))
    assert (np.diff(shares) >= 0).all()
    assert shares[0] == 0
    assert shares[-1] == 1


@pytest.mark.parametrize(("shape", "mean"), [(1.0, 0.5), (4.0, 2.0)])
def test_a_prior_is_found_where_ads_are_many(shape: float, mean: float) -> None:
    rng = np.random.default_rng(1)
    exposure = np.full(500, 40.0)
    found = prior_of(rng.poisson(rng.gamma(shape, mean / shape, 500) * exposure).astype(float), exposure)
    assert found.mean == pytest.approx(mean, rel=0.12)
    assert found.shape == pytest.approx(shape, rel=0.3)


@pytest.mark.parametrize("scatter", [0.0, 0.3])
def test_scatter_beyond_chance_is_told_from_chance(scatter: float) -> None:
    rng = np.random.default_rng(2)
    luck = rng.gamma(scatter**-2, scatter**2, (10, 40)) if scatter else np.ones((10, 40))
    exposure = np.full((10, 40), 30.0)
    counts = rng.poisson(exposure * luck).astype(float)
    found = dispersion_of(counts, exposure, local_rates(counts, exposure, 1.0))
    assert found == pytest.approx(scatter**2, abs=0.03)


def test_a_change_is_dated_and_what_was_before_it_forgotten() -> None:
    counts = np.array([[40.0] * 15 + [10.0] * 5])
    segments = segments_of(counts, np.full((1, 20), 20.0), PRIOR)
    assert segments.weights[0, 15] > 0.9
    assert segments.weights.sum(axis=1) == pytest.approx([1.0])
    assert segments.conversions[0, 15] == 50


def test_an_ad_that_does_not_change_is_not_said_to() -> None:
    counts = np.random.default_rng(3).poisson(20.0, (5, 60)).astype(float)
    segments = segments_of(counts, np.full((5, 60), 20.0), PRIOR)
    assert (segments.weights[:, 0] > 0.7).all()


def test_others_that_change_on_a_day_make_a_change_on_it_likelier() -> None:
    doubtful = [20.0] * 15 + [15.0] * 3
    exposure = np.full((2, 18), 20.0)
    together = segments_of(np.array([doubtful, [40.0] * 15 + [5.0] * 3]), exposure, PRIOR)
    alone = segments_of(np.array([doubtful, [40.0] * 18]), exposure, PRIOR)
    assert together.weights[0, 15] > 5 * alone.weights[0, 15]


def test_a_hundred_ads_that_do_not_change_do_not_make_each_other_doubtful() -> None:
    counts = np.random.default_rng(4).poisson(20.0, (100, 30)).astype(float)
    segments = segments_of(counts, np.full((100, 30), 20.0), PRIOR)
    assert np.median(segments.weights[:, 0]) > 0.8


@pytest.mark.parametrize("true", [0.6, 1.0])
def test_saturation_is_told_from_none(true: float) -> None:
    rng = np.random.default_rng(5)
    spend = np.repeat(rng.choice([100.0, 400.0, 1600.0], (10, 10)), 2, axis=1)
    counts = rng.poisson(1.5 * spend**true * 400 ** (1 - true) / VALUE)
    conversions = np.zeros((10, 20, LAGS))
    conversions[:, :, 0] = counts
    known = Statistics(spend, conversions, conversions * VALUE, now=40.0)
    assert learned_exponent(known, BACKGROUND) == pytest.approx(true, abs=0.08)


def test_values_of_ads_are_drawn_together_the_more_they_scatter() -> None:
    rng = np.random.default_rng(6)
    counts = np.zeros((4, 30, LAGS))
    counts[:, :, 0] = 3
    means = np.array([30.0, 30.0, 60.0, 60.0])
    even = values_of(Statistics(np.ones((4, 30)), counts, counts * means[:, None, None], 30.0), VALUE)
    assert even.mean == pytest.approx(means, rel=0.02)
    wild = rng.pareto(1.5, counts.shape) * counts * 20
    drawn = values_of(Statistics(np.ones((4, 30)), counts, wild, 30.0), VALUE)
    own = wild.sum(axis=(1, 2)) / counts.sum(axis=(1, 2))
    assert np.ptp(drawn.mean) < 0.7 * np.ptp(own)


def test_means_and_variances_of_the_posterior_are_those_of_its_draws() -> None:
    from processors.decisions.draws import draw_returns

    known = statistics_of(np.repeat(np.array([[0.5], [2.0]]), 15, axis=1), 100.0)
    posterior = posterior_of(known, BACKGROUND)
    draws = draw_returns(posterior, 100_000, np.random.default_rng(7))
    assert draws.mean(axis=0) == pytest.approx(posterior.mean, rel=0.02)
    assert draws.var(axis=0) == pytest.approx(posterior.variance, rel=0.06)
