"""Journeys with values in several currencies."""

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.credit.journeys import PathOutcome, count_journeys, credit_journeys
from processors.credit.models import MODELS, credit_channels
from processors.credit.paths import PathCounts

PATHS = st.lists(st.sampled_from(["", "a", "b", "c"]), min_size=1, max_size=4).map(tuple)


@st.composite
def outcomes(draw: st.DrawFn) -> PathOutcome:
    conversions = draw(st.integers(0, 5))
    valued = draw(st.integers(0, conversions))
    value = draw(st.integers(-(10**15), 10**15)) if valued else 0
    return PathOutcome(
        draw(PATHS), draw(st.sampled_from(["EUR", "USD", ""])), conversions, valued, value, draw(st.integers(0, 9))
    )


@given(st.lists(outcomes(), max_size=12))
@settings(max_examples=40)
@pytest.mark.parametrize(("model", "order"), [*((model, 1) for model in MODELS), ("markov", 2), ("markov", 3)])
def test_credit_is_that_of_the_counts_and_each_value_is_conserved(
    model: str, order: int, found: Sequence[PathOutcome]
) -> None:
    counts, totals = PathCounts(), {item.currency: 0 for item in found if item.valued}
    for item in found:
        counts.add(item.path, item.conversions, nulls=item.nulls)
        if item.valued:
            totals[item.currency] += item.value_micros
    expected = credit_channels(counts, model, order, {""})
    credit = credit_journeys(count_journeys(found), model, order, {""})
    assert credit.channels == expected.channels
    assert credit.conversions.tolist() == expected.conversions.tolist()
    assert {currency: sum(micros.tolist()) for currency, micros in credit.value_micros.items()} == totals
    assert list(credit.value_micros) == sorted(totals)


def test_currencies_do_not_add_up() -> None:
    outcome = PathOutcome(("a",), "EUR", 1, 1, 70, 0)
    credit = credit_journeys(
        count_journeys([outcome, outcome._replace(path=("b",), currency="USD", value_micros=30)]), "last", 1, ()
    )
    assert {currency: micros.tolist() for currency, micros in credit.value_micros.items()} == {
        "EUR": [70, 0],
        "USD": [0, 30],
    }
    assert credit.conversions.tolist() == [1.0, 1.0]
