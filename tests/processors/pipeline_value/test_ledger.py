"""Entries of a deal add up to what it is worth, and to nothing once it is lost."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.pipeline_value.histories import LOST, WON, Deal
from processors.pipeline_value.ledger import Held, entries, worth
from processors.pipeline_value.sums import AGES_MS, DAY_MS
from processors.pipeline_value.values import StageValues
from tests.processors.pipeline_value.deals import NOW_MS, STAGES, deals


def _values(seed: int) -> StageValues:
    rng = np.random.default_rng(seed)
    return StageValues(rng.random((STAGES, len(AGES_MS))), int(rng.integers(0, 10**12)))


def _entered(
    steps: list[tuple[int, int, Deal, int]], held: dict[str, Held], totals: Counter[str]
) -> tuple[dict[str, Held], Counter[str]]:
    """What is held after (deal, version, what is known of it, seed of the values) in turn, and the sums of entries."""
    for deal, version, known, seed in steps:
        for entry in entries(held, {f"d{deal}": (version, known)}, _values(seed), NOW_MS):
            totals[entry.deal_id] += entry.change_micros
            held[entry.deal_id] = entry.held
    return held, totals


STEPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), deals(), st.integers(0, 3)), max_size=12)


@given(steps=STEPS)
@settings(max_examples=100, deadline=None)
def test_entries_add_up_to_what_is_held(steps: list[tuple[int, int, Deal, int]]) -> None:
    held, totals = _entered(steps, {}, Counter())
    assert {deal: total for deal, total in totals.items() if total} == {
        deal: one.micros for deal, one in held.items() if one.micros
    }


@given(steps=STEPS)
@settings(max_examples=100, deadline=None)
def test_a_lost_deal_takes_out_all_it_had_brought(steps: list[tuple[int, int, Deal, int]]) -> None:
    """Whatever stages it went through, and however often stages were valued anew meanwhile."""
    held, totals = _entered(steps, {}, Counter())
    lost = [(int(deal[1:]), 99, Deal([], LOST, NOW_MS), 7) for deal in held]
    held, totals = _entered(lost, held, totals)
    assert not any(totals.values())
    assert not any(one.micros for one in held.values())


@given(known=deals(), seed=st.integers(0, 9))
def test_what_is_repeated_or_older_enters_nothing(known: Deal, seed: int) -> None:
    [entry] = entries({}, {"d": (3, known)}, _values(seed), NOW_MS)
    held = {"d": entry.held}
    assert entries(held, {"d": (3, known)}, _values(seed), NOW_MS) == []
    assert entries(held, {"d": (2, Deal([], LOST, 0))}, _values(seed), NOW_MS) == []


def test_a_deal_is_worth_its_stage_while_open_and_its_amount_when_won() -> None:
    values = StageValues(np.array([[0.5] * 8, [0.8] * 4 + [0.2] * 4]), 1_000_000_000)
    entered = [(0, 0), (1, DAY_MS)]
    assert worth(Deal(entered[:1]), values, DAY_MS) == 500_000_000
    assert worth(Deal(entered), values, DAY_MS) == 800_000_000
    assert worth(Deal(entered), values, 100 * DAY_MS) == 200_000_000
    assert worth(Deal(entered, WON, 2 * DAY_MS, 7_000_001), values, 3 * DAY_MS) == 7_000_001
    assert worth(Deal(entered, WON, 2 * DAY_MS), values, 3 * DAY_MS) == 1_000_000_000
    assert worth(Deal([]), values, 0) == 0
