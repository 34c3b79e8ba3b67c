"""A change is found once, of what it is of."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.drift.hierarchy import Change, changes

DAYS, ADS, SHIFT = 30, 24, 18
CAMPAIGN = np.arange(ADS) // 6


def _found(seed: int, changed: np.ndarray, ratio: float, conversions: float = 20.0) -> list[Change]:
    rng = np.random.default_rng(seed)
    rate = np.full((DAYS, ADS), 0.02)
    rate[SHIFT:, changed] *= ratio
    clicks = rng.poisson(conversions / 0.02, (DAYS, ADS))
    return changes(rng.binomial(clicks, rate), clicks, CAMPAIGN)


@pytest.mark.parametrize("ratio", [0.5, 1.8])
@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_all_ads_is_one(seed: int, ratio: float) -> None:
    [change] = _found(seed, np.arange(ADS), ratio)
    assert (change.level, change.direction, change.began) == ("account", 1 if ratio > 1 else -1, SHIFT)


@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_a_campaign_is_the_campaigns(seed: int) -> None:
    [change] = _found(seed, CAMPAIGN == 2, 0.5)
    assert (change.level, change.node, change.direction) == ("campaign", 2, -1)


@pytest.mark.parametrize("seed", range(5))
def test_a_change_of_an_ad_is_the_ads(seed: int) -> None:
    [change] = _found(seed, np.array([7]), 0.4)
    assert (change.level, change.node, change.direction) == ("ad", 7, -1)


def test_small_ads_show_only_together() -> None:
    levels = {change.level for change in _found(1, np.arange(ADS), 0.4, conversions=1.0)}
    assert levels == {"account"}


def test_money_that_moves_between_ads_is_no_change() -> None:
    rng = np.random.default_rng(1)
    rate = np.linspace(0.01, 0.05, ADS)
    share = np.where(np.arange(DAYS)[:, None] < SHIFT, rate / rate.sum(), rate[::-1] / rate.sum())
    clicks = rng.poisson(20_000 * share)
    counts = rng.binomial(clicks, rate)
    assert counts[SHIFT:].sum() / clicks[SHIFT:].sum() < 0.85 * counts[:SHIFT].sum() / clicks[:SHIFT].sum()
    assert changes(counts, clicks, CAMPAIGN) == []


@given(seed=st.integers(0, 2**32 - 1), order=st.permutations(range(ADS)))
@settings(max_examples=15, deadline=None)
def test_the_order_of_ads_does_not_show(seed: int, order: list[int]) -> None:
    rng = np.random.default_rng(seed)
    clicks = rng.poisson(800, (DAYS, ADS))
    rate = np.full((DAYS, ADS), 0.02)
    rate[SHIFT:, rng.integers(ADS)] *= 0.3
    counts = rng.binomial(clicks, rate)
    plain = changes(counts, clicks, CAMPAIGN)
    shuffled = changes(counts[:, order], clicks[:, order], CAMPAIGN[order])

    def named(found: list[Change], of: list[int]) -> set[tuple[str, int, int, int]]:
        return {(c.level, of[c.node] if c.level == "ad" else c.node, c.began, c.direction) for c in found}

    assert named(plain, list(range(ADS))) == named(shuffled, list(order))


@given(
    seed=st.integers(0, 2**32 - 1),
    days=st.integers(0, 8),
    ads=st.integers(1, 4),
    scale=st.sampled_from([0, 0.01, 1, 1e6]),
)
@settings(max_examples=60, deadline=None)
def test_any_counts_come_to_an_end(seed: int, days: int, ads: int, scale: float) -> None:
    """Conversions before spend, ads without either, jumps by orders of magnitude."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(scale * rng.gamma(0.3, 5, (days, ads)))
    exposure = rng.gamma(0.3, 100, (days, ads)) * rng.integers(0, 2, (days, ads))
    for change in changes(counts, exposure, rng.integers(0, 2, ads)):
        assert change.began <= change.detected < days
        assert np.isfinite([change.evidence().log_odds, change.evidence().ratio]).all()
