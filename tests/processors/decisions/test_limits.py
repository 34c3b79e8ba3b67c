"""Budgets to the minor unit, and every limit held, in whatever account."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.decisions.limits import MOST_EDITS, Limits, allocate

AMOUNTS = st.integers(0, 10**7)


@st.composite
def accounts(draw: st.DrawFn) -> tuple[np.ndarray, Limits, float]:
    ads = draw(st.integers(1, 12))

    def column(values: st.SearchStrategy) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=ads, max_size=ads)))

    shares = column(st.one_of(st.floats(0, 1), st.just(0.0), st.floats(0, 1e-300)))
    least = column(st.one_of(st.just(0), st.integers(0, 10**5)))
    limits = Limits(
        account=draw(AMOUNTS),
        previous=column(AMOUNTS),
        least=least,
        most=least + column(st.one_of(st.just(10**12), AMOUNTS)),
        edits=column(st.integers(0, MOST_EDITS + 1)),
        own=column(st.integers(0, 10**5)),
        kept=draw(st.sampled_from((0.0, 0.5, 0.9, 1.0))),
        is_stopped=draw(st.integers(0, 9)) == 0,
    )
    return shares, limits, draw(st.sampled_from((0.0, 0.02, 0.2)))


@settings(max_examples=10_000, deadline=None)
@given(accounts())
def test_every_limit_holds_and_budgets_sum_to_the_minor_unit(account: tuple[np.ndarray, Limits, float]) -> None:
    shares, limits, smallest = account
    budgets, bound = allocate(shares, limits, smallest)
    assert len(bound) == len(budgets)
    if limits.is_stopped:
        assert budgets.tolist() == limits.previous.tolist()
        return
    fixed = limits.edits >= MOST_EDITS
    assert (budgets[fixed] == limits.previous[fixed]).all()
    free, own = ~fixed, np.ceil(limits.kept * limits.own).astype(int)
    assert (budgets[free] >= 0).all()
    assert (budgets[free] <= limits.most[free]).all()
    floor = np.minimum(np.maximum(limits.least, own), limits.most)
    paid = budgets[free] > 0
    assert (budgets[free][paid] >= floor[free][paid]).all()
    stuck, most = int(limits.previous[fixed].sum()), int(limits.most[free].sum())
    if stuck + int(floor[free].sum()) <= limits.account:
        assert (budgets[free] >= floor[free]).all()
        assert budgets.sum() == min(limits.account, stuck + most)
    else:
        assert budgets.sum() <= max(limits.account, stuck)


def limits_of(previous: list[int], **changes: object) -> Limits:
    ads = len(previous)
    usual = Limits(
        account=sum(previous),
        previous=np.array(previous),
        least=np.zeros(ads, np.int64),
        most=np.full(ads, 10**9),
        edits=np.zeros(ads, np.int64),
        own=np.zeros(ads, np.int64),
    )
    return usual._replace(**changes)


def test_a_share_is_what_it_says_where_nothing_binds() -> None:
    budgets, bound = allocate(np.array([0.25, 0.75]), limits_of([500, 501]), 0.0)
    assert budgets.tolist() == [250, 751]
    assert bound == ["", ""]


def test_a_budget_edited_four_times_in_the_hour_stays_and_the_others_make_up_for_it() -> None:
    limits = limits_of([600, 200, 200], edits=np.array([4, 0, 0]))
    budgets, bound = allocate(np.array([0.0, 0.5, 0.5]), limits, 0.0)
    assert budgets.tolist() == [600, 200, 200]
    assert bound[0] == "edits an hour"


def test_small_changes_are_not_made() -> None:
    budgets, bound = allocate(np.array([0.505, 0.295, 0.2]), limits_of([500, 300, 200]), 0.02)
    assert budgets.tolist() == [500, 300, 200]
    assert bound[0] == "change too small"


def test_nothing_gets_less_than_its_part_of_the_advertisers_own_split() -> None:
    limits = limits_of([500, 500], own=np.array([500, 500]), kept=0.8)
    budgets, bound = allocate(np.array([1.0, 0.0]), limits, 0.0)
    assert budgets.tolist() == [600, 400]
    assert bound[1] == "share of your own split"


def test_where_least_budgets_cannot_all_be_paid_the_smallest_shares_get_nothing() -> None:
    limits = limits_of([300, 300, 300], account=700, least=np.array([300, 300, 300]))
    budgets, bound = allocate(np.array([0.2, 0.5, 0.3]), limits, 0.0)
    assert budgets[0] == 0
    assert budgets.sum() == 700
    assert bound[0] == "account budget"


def test_the_kill_switch_keeps_everything() -> None:
    budgets, bound = allocate(np.array([1.0, 0.0]), limits_of([1, 9], is_stopped=True), 0.0)
    assert budgets.tolist() == [1, 9]
    assert set(bound) == {"kill switch"}
