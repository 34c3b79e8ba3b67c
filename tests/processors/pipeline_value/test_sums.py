"""Sums forget in which order and in which batches deals were added, and what was taken out again."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_value.histories import LOST, OPEN, Deal, Stays, stays
from processors.pipeline_value.sums import DAY_MS, Sums, sums_of
from tests.processors.pipeline_value.deals import NOW_MS, STAGES, deals


def _sums(found: list[Deal]) -> Sums:
    amounts = [deal.amount_micros for deal in found if deal.amount_micros is not None]
    return sums_of(stays(found, NOW_MS), STAGES, amounts)


@given(found=st.lists(deals(), max_size=8), data=st.data())
@settings(max_examples=60, deadline=None)
def test_any_order_and_split_of_deals_gives_the_same_sums(found: list[Deal], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(found))
    cut = data.draw(st.integers(0, len(found)))
    assert _sums(shuffled[:cut]).plus(_sums(shuffled[cut:])) == _sums(found)
    assert _sums(found).plus(_sums(shuffled[:cut]), -1) == _sums(shuffled[cut:])


@given(found=st.lists(deals(), max_size=8))
@settings(max_examples=60, deadline=None)
def test_every_stay_is_counted_once_and_all_of_its_time(found: list[Deal]) -> None:
    rows, sums = stays(found, NOW_MS), _sums(found)
    assert sums.exits.sum() == (rows.to != OPEN).sum()
    assert sums.exposure_ms.sum() == rows.duration_ms.sum()


def test_an_open_deal_is_time_and_no_exit() -> None:
    sums = sums_of(stays([Deal([(0, 0)])], 5 * DAY_MS), 1)
    assert not sums.exits.any()
    assert (sums.exposure_ms[0, :4] // DAY_MS).tolist() == [1, 2, 2, 0]


def test_a_clock_that_went_back_is_no_time() -> None:
    found = stays([Deal([(0, 500), (1, 400)], LOST, 300)], 1_000)
    assert found.duration_ms.tolist() == [0, 0]
    assert sums_of(found, 2).exits.sum() == 2


def test_nothing_is_in_nothing() -> None:
    nothing = np.zeros(0, np.int64)
    assert sums_of(Stays(nothing, nothing, nothing), 3) == Sums.nothing(3)
    assert stays([], 0).stage.shape == (0,)
