"""Decisions of whole accounts: good ads get the money, and nothing that evidence can be makes a budget wild."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from processors.decisions.decide import Decisions, decide
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.settings import PolicySettings
from tests.processors.decisions.accounts import BACKGROUND, LAGS, VALUE, limits_of, statistics_of

RETURNS = np.repeat(np.array([[0.3], [1.0], [2.5]]), 20, axis=1)


def decided(statistics: Statistics, **changes: object) -> Decisions:
    ads = len(statistics.spend)
    return decide(statistics, limits_of(ads), BACKGROUND, seed=[7, 1], **changes)


def test_the_best_ad_gets_the_money_and_says_why() -> None:
    decisions = decided(statistics_of(RETURNS, 200.0))
    assert decisions.budget.argmax() == 2
    assert decisions.budget[2] > 90_000
    assert decisions.budget.sum() == 100_000
    assert decisions.verdict[0] == "kill"
    assert decisions.verdict[2] == "scale"
    assert (decisions.low <= decisions.expected).all()
    assert (decisions.expected <= decisions.high).all()
    assert decisions.reason[0].startswith("Stopped: expected to return 0.")
    assert "stop it" in decisions.reason[0]


def test_the_same_statistics_and_seed_give_the_same_bytes() -> None:
    first, second = (decided(statistics_of(RETURNS, 200.0)) for _ in range(2))
    for one, other in zip(first[:8], second[:8], strict=True):
        assert one.tobytes() == other.tobytes()
    assert first[8:] == second[8:]


def test_an_account_of_which_nothing_is_known_is_not_thrown_at_one_ad() -> None:
    ads = 10
    decisions = decided(Statistics(np.zeros((ads, 0)), np.zeros((ads, 0, LAGS)), np.zeros((ads, 0, LAGS)), 0.0))
    assert decisions.budget.sum() == 100_000
    assert (decisions.expected > 0).all()


def test_an_account_without_ads_has_no_decisions() -> None:
    decisions = decided(Statistics(np.zeros((0, 3)), np.zeros((0, 3, LAGS)), np.zeros((0, 3, LAGS)), 3.0))
    assert len(decisions.budget) == len(decisions.reason) == 0


def test_an_ad_that_appears_later_is_tried() -> None:
    old = statistics_of(np.repeat(np.array([[1.0], [0.5]]), 20, axis=1), 200.0)
    new = np.zeros((1, 20))
    known = Statistics(
        np.vstack([old.spend, new]),
        np.concatenate([old.conversions, np.zeros((1, 20, LAGS))]),
        np.concatenate([old.value, np.zeros((1, 20, LAGS))]),
        old.now,
    )
    decisions = decided(known)
    assert decisions.budget[2] > 10_000
    assert decisions.high[2] - decisions.low[2] > decisions.high[0] - decisions.low[0]


def test_spend_that_is_restated_is_simply_what_is_known_now() -> None:
    known = statistics_of(RETURNS, 200.0)
    lowered = known._replace(spend=known.spend * np.array([[0.5], [1.0], [1.0]]))
    before, after = decided(known), decided(lowered)
    assert after.expected[0] == pytest.approx(2 * before.expected[0], rel=0.25)
    assert after.expected[1] == pytest.approx(before.expected[1], rel=0.1)


def test_what_cannot_be_is_left_out_and_counted() -> None:
    known = statistics_of(RETURNS, 200.0)
    spend, conversions = known.spend.copy(), known.conversions.copy()
    spend[0, 3] = -1e9
    spend[1, 4] = np.nan
    conversions[2, 5, 0] = -7
    conversions[2, -1, LAGS - 1] = 1000
    decisions = decided(known._replace(spend=spend, conversions=conversions))
    assert decisions.repairs.impossible == 3
    assert decisions.repairs.unpaid > 0
    assert decisions.repairs.future == 1
    assert decisions.budget.argmax() == 2
    assert decisions.expected[2] < 5


def test_shapes_that_do_not_fit_are_named() -> None:
    known = statistics_of(RETURNS, 200.0)
    with pytest.raises(ValueError, match="previous of 2 ads"):
        decide(known, limits_of(2), BACKGROUND, seed=1)


def test_a_reset_that_has_a_price_makes_for_fewer_steep_rises() -> None:
    known = statistics_of(np.repeat(np.array([[1.0], [1.05], [1.1]]), 20, axis=1), 200.0)
    free, priced = (decided(known, settings=PolicySettings(reset_loss=loss)) for loss in (0.0, 0.9))
    steep = [int((one.budget > 1.2 * one.previous + 1).sum()) for one in (free, priced)]
    assert steep[0] > 0
    assert steep[1] == 0


def test_no_step_is_greater_than_the_cap() -> None:
    decisions = decided(statistics_of(RETURNS, 200.0), settings=PolicySettings(step_cap=0.2))
    assert (np.abs(decisions.budget - decisions.previous) <= 0.2 * decisions.previous + 1).all()


ANYTHING = st.one_of(st.floats(), st.floats(0, 1e4), st.just(0.0))


@settings(max_examples=300, deadline=None)
@given(st.data(), st.integers(1, 4), st.integers(0, 5), st.floats(-2, 9))
def test_whatever_the_evidence_budgets_sum_and_figures_are_finite(
    data: st.DataObject, ads: int, days: int, now: float
) -> None:
    spend = data.draw(arrays.arrays(float, (ads, days), elements=ANYTHING))
    conversions = data.draw(arrays.arrays(float, (ads, days, LAGS), elements=ANYTHING, fill=st.just(0.0)))
    value = data.draw(st.sampled_from((VALUE, 0.0, -1.0, 1e12)))
    with np.errstate(all="ignore"):
        known = Statistics(spend, conversions, conversions * value, now)
    decisions = decided(known)
    assert decisions.budget.sum() == 100_000
    assert (decisions.budget >= 0).all()
    for figures in decisions[2:8]:
        assert np.isfinite(figures).all()


@settings(max_examples=200, deadline=None)
@given(
    account=st.integers(0, 10**7),
    previous=st.lists(st.integers(0, 10**6), min_size=3, max_size=3),
    hysteresis=st.sampled_from((0.0, 0.01)),
    reset_loss=st.sampled_from((0.0, 0.3)),
    step_cap=st.sampled_from((None, 0.2)),
    exponent=st.sampled_from((1.0, 0.7)),
)
def test_whatever_the_budget_and_the_settings_budgets_sum(
    account: int, previous: list[int], hysteresis: float, reset_loss: float, step_cap: float | None, exponent: float
) -> None:
    limits = limits_of(3)._replace(account=account, previous=np.array(previous))
    chosen = PolicySettings(hysteresis=hysteresis, reset_loss=reset_loss, step_cap=step_cap)
    decisions = decide(statistics_of(RETURNS, 200.0), limits, BACKGROUND, 1, settings=chosen, exponent=exponent)
    assert decisions.budget.sum() == account
    assert (decisions.budget >= 0).all()
    assert np.isfinite(np.stack(decisions[2:8])).all()
