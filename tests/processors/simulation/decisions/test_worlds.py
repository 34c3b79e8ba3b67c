"""Simulated accounts: what is seen when, what policies make of them, and that the truth can be told."""

from dataclasses import replace

import numpy as np
import pytest

from processors.decisions.evidence.statistics import Statistics, cleaned
from processors.simulation.decisions.calibrate import AdsError, world_like
from processors.simulation.decisions.calibration import coverage_of, maturity_of, seen_at
from processors.simulation.decisions.kill_curve import curves_of, stops
from processors.simulation.decisions.market import Market, delay_shape, market_of, oracle
from processors.simulation.decisions.policies import POLICIES, ours
from processors.simulation.decisions.run import run
from processors.simulation.decisions.score import play, score_of
from processors.simulation.decisions.worlds import CONDITIONS, DELAYS, DRIFTS, WORLDS, DecisionWorld

A = WORLDS["A"]


def market(world: DecisionWorld, seed: int = 1) -> Market:
    return market_of(world, np.random.default_rng([seed, 1]))


def mean_share(world: DecisionWorld, policy: str, seeds: range = range(6000, 6012)) -> float:
    return score_of(list(play(world, POLICIES[policy], seeds))).share


@pytest.mark.parametrize("drift", DRIFTS)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_nobody_does_better_than_the_oracle(drift: str, condition: str) -> None:
    world = replace(A, drift=drift, **CONDITIONS[condition])
    known = market(world)
    rng = np.random.default_rng(2)

    def random(statistics: Statistics, _: np.ndarray) -> np.ndarray:
        return rng.dirichlet(np.full(world.ads, 0.2))

    found = run(world, known, random, rng)
    assert (found.earned <= oracle(world, known) * (1 + 1e-9)).all()


def test_the_oracle_of_a_saturated_world_is_the_best_of_many_splits() -> None:
    world = replace(A, saturation=0.8)
    known = market(world)
    splits = np.random.default_rng(3).dirichlet(np.full(world.ads, 0.3), 20_000)
    best = (known.returns[0] * splits**0.8).sum(axis=1).max()
    assert best <= oracle(world, known)[0]
    assert best > 0.97 * oracle(world, known)[0]


@pytest.mark.parametrize("shape", [shape for shape in DELAYS if shape != "two-speed"])
def test_half_of_the_conversions_are_seen_after_the_median(shape: str) -> None:
    shares = delay_shape(replace(A, delay=shape, delay_median_d=6.0, days=120))
    assert (np.diff(shares) >= 0).all()
    assert shares[-1] == pytest.approx(1)
    assert shares[4] < 0.5 < shares[13]


def test_most_of_two_speeds_are_fast_and_few_lie_between() -> None:
    shares = delay_shape(replace(A, delay="two-speed", delay_median_d=6.0, days=120))
    assert shares[5] == pytest.approx(0.56, abs=0.03)
    assert shares[8] - shares[5] < 0.08


def test_a_policy_sees_no_conversion_before_its_day() -> None:
    ends = []

    def watching(statistics: Statistics, split: np.ndarray) -> np.ndarray:
        assert cleaned(statistics)[1] == (0, 0, 0)
        ends.append(statistics.conversions.sum())
        return split

    found = run(A, market(A), watching, np.random.default_rng(4))
    for day, seen in enumerate(ends, start=1):
        assert seen == seen_at(found.statistics, day).conversions.sum()
    assert ends[-1] < found.statistics.conversions.sum()


def test_the_best_ad_falls_and_another_rises_where_drift_is_abrupt() -> None:
    known = market(replace(A, drift="abrupt"))
    assert known.changed == 30
    before, after = known.returns[29], known.returns[30]
    assert (before != after).sum() == 2
    assert after[before.argmax()] == pytest.approx(0.35 * before.max())
    assert after.max() == pytest.approx(0.9 * before.max())


def test_a_rise_is_followed_by_days_with_less() -> None:
    world = replace(A, reset_loss=0.2, days=8)
    known = market(world)

    def step(statistics: Statistics, split: np.ndarray) -> np.ndarray:
        return np.full(10, 0.1) if statistics.now < 3 else np.array([0.55] + [0.05] * 9)

    found = run(world, known, step, np.random.default_rng(5))
    assert found.resets == 1
    full = (known.returns * found.splits).sum(axis=1)
    lost = 0.2 * known.returns[:, 0] * found.splits[:, 0]
    assert (full - found.earned)[2:8] == pytest.approx([0, lost[3], lost[4], lost[5], 0, 0])


def test_ours_beats_the_simple_policies() -> None:
    world = replace(A, drift="abrupt")
    shares = {policy: mean_share(world, policy) for policy in POLICIES}
    assert max(shares, key=shares.__getitem__) == "ours"
    assert 0.38 < shares["uniform"] < 0.52
    assert shares["ours"] > shares["delay-corrected Thompson"] + 0.05


def test_every_policy_meets_the_same_market_and_a_seed_gives_the_same_run() -> None:
    once, again = (list(play(A, ours, range(6000, 6002))) for _ in range(2))
    assert once == again


def test_fixed_rules_stop_good_ads_whose_conversions_are_late_and_expected_loss_does_not() -> None:
    world = replace(A, days=30)
    ours_, fixed = curves_of(stops(world, range(6000, 6010)))
    assert fixed.fair > 0.25
    assert ours_.fair < 0.12
    assert ours_.losers > 0.8


def test_intervals_and_forecasts_hold_what_they_promise() -> None:
    [week] = coverage_of(replace(A, days=12), range(6000, 6020), [7])
    assert 0.9 < week.covered < 0.99
    forecast = maturity_of(WORLDS["B"], range(6000, 6020))
    assert forecast.error < 0.15
    assert forecast.error < 1.3 * forecast.least_error
    assert forecast.covered > 0.85


def test_a_world_like_an_export_has_its_returns() -> None:
    rng = np.random.default_rng(6)
    true = rng.gamma(2.0, 0.5, 300)
    spend = np.full(300, 2000.0)
    like = world_like(A, spend, rng.poisson(true * spend / 40.0), rng)
    assert like.value == pytest.approx(40.0 / true.mean(), rel=0.05)
    assert np.std(like.returns) / np.mean(like.returns) == pytest.approx(true.std() / true.mean(), rel=0.1)


@pytest.mark.parametrize(
    ("spend", "conversions", "message"),
    [
        ([1.0, -2.0, 3.0], [0, 1, 1], "row 2"),
        ([1.0, 0.0, 3.0], [0, 1, 1], "2 ads spent anything"),
        ([1.0, 2.0, 3.0], [0, 0, 0], "none of the ads"),
    ],
)
def test_an_export_that_describes_no_world_is_refused(spend: list, conversions: list, message: str) -> None:
    with pytest.raises(AdsError, match=message):
        world_like(A, spend, conversions, np.random.default_rng(1))
