import numpy as np
import pytest

from processors.pipeline_value.histories import LOST, OPEN, WON, Deal, stays
from processors.pipeline_value.pooling import learn
from processors.pipeline_value.sums import DAY_MS, Sums, sums_of
from tests.evaluate.pipeline import STAGES, YEAR_MS, Tenant, tenant


def _sums(one: Tenant) -> Sums:
    won = [deal.amount_micros for deal in one.deals if deal.outcome == WON]
    return sums_of(stays(one.deals, YEAR_MS), len(STAGES), won)


def test_open_deals_have_not_lost() -> None:
    """Winning takes a day, losing forty; of deals that came of late only the won ones are closed."""
    rng = np.random.default_rng(1)
    deals = []
    for start in rng.uniform(0, 100, 4_000):
        is_won = rng.random() < 0.3
        closed = start + rng.exponential(1 if is_won else 40)
        outcome = (WON if is_won else LOST) if closed <= 100 else OPEN
        deals.append(Deal([(0, int(start * DAY_MS))], outcome, int(closed * DAY_MS) if closed <= 100 else None))
    [values] = learn([sums_of(stays(deals, 100 * DAY_MS), 1, [10**9])])
    closed_only = np.mean([deal.outcome == WON for deal in deals if deal.outcome != OPEN])
    assert closed_only > 0.36
    assert values.win[0, 0] == pytest.approx(0.3, abs=0.025)
    assert values.time_factor(0, 20 * DAY_MS) < 0.1


def test_a_tenant_with_few_deals_is_drawn_to_its_niche() -> None:
    rng = np.random.default_rng(2)
    large = [_sums(tenant(rng, 800)) for _ in range(8)]
    nothing = Sums.nothing(len(STAGES))
    *known, unknown = learn([*large, nothing])
    wins = [values.win[0, 0] for values in known]
    assert min(wins) < unknown.win[0, 0] < max(wins)
    assert unknown.deal_micros == round(sum(s.won_micros for s in large) / sum(s.wins for s in large))
    assert len({round(win, 4) for win in wins}) == 8


def test_tenants_that_do_not_differ_are_one() -> None:
    one = _sums(tenant(np.random.default_rng(3), 500))
    values = learn([one] * 5)
    assert all(value.deal_micros == pytest.approx(one.won_micros / one.wins, rel=1e-6) for value in values)


def test_where_nothing_was_won_nothing_is_worth_anything() -> None:
    [values] = learn([Sums.nothing(2)])
    assert (values.micros(0), values.micros(1, DAY_MS)) == (0, 0)
    assert learn([]) == []


def test_stage_values_agree_with_the_truth_summed_over_a_niche() -> None:
    """A smaller run of `python -m tests.evaluate pipeline_value`."""
    estimated, true = np.zeros(len(STAGES)), np.zeros(len(STAGES))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        tenants = [tenant(rng, 400) for _ in range(8)]
        for one, values in zip(tenants, learn([_sums(one) for one in tenants]), strict=True):
            entered = np.array([sum(stage in dict(deal.entered) for deal in one.deals) for stage in range(len(STAGES))])
            estimated += entered * values.win[:, 0] * values.deal_micros / 1e6
            true += entered * one.win * one.value
    assert estimated / true == pytest.approx(np.ones(len(STAGES)), abs=0.1)
