"""Ads are stopped for what they return, not for conversions that are still on their way."""

import numpy as np

from processors.decisions.evidence.posterior import posterior_of
from processors.decisions.verdicts import Thresholds, by_fixed_rules, by_loss
from tests.processors.decisions.accounts import BACKGROUND, statistics_of

SPEND = np.full(3, 100.0)


def test_an_ad_whose_conversions_are_still_to_come_is_stopped_by_fixed_rules_only() -> None:
    slow = statistics_of(np.full((3, 3), 1.5), 100.0, seed=3)
    assert by_fixed_rules(slow, kill=1.0).count("kill") > 0
    assert by_loss(posterior_of(slow, BACKGROUND), SPEND, Thresholds()).verdict.count("kill") == 0


def test_a_loser_is_stopped_and_a_winner_grown() -> None:
    known = statistics_of(np.repeat(np.array([[0.2], [1.2], [3.5]]), 20, axis=1), 100.0)
    verdicts = by_loss(posterior_of(known, BACKGROUND), SPEND, Thresholds())
    assert verdicts.verdict == ["kill", "keep", "scale"]
    assert verdicts.below_kill[0] > 0.95
    assert verdicts.above_target[2] > 0.95


def test_where_returns_saturate_the_next_money_decides_whether_an_ad_grows() -> None:
    known = statistics_of(np.full((3, 20), 2.6), 100.0)
    linear, saturated = (
        by_loss(posterior_of(known, BACKGROUND, exponent=exponent), SPEND, Thresholds(target=2.0)).verdict
        for exponent in (1.0, 0.6)
    )
    assert "scale" in linear
    assert "scale" not in saturated


def test_young_ads_that_have_spent_little_are_left_alone_by_fixed_rules() -> None:
    young = statistics_of(np.full((3, 1), 0.0), 90.0)
    assert by_fixed_rules(young, least_spend=50.0) == ["keep"] * 3
    assert by_fixed_rules(statistics_of(np.full((3, 3), 0.0), 90.0)) == ["kill"] * 3
