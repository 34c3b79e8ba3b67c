import itertools
import math
from collections import defaultdict
from collections.abc import Collection
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.credit.paths import PathCounts
from processors.credit.shapley import shapley
from tests.processors.credit.journeys import JOURNEYS, Journeys, counts_of, journeys, real_paths
from tests.processors.credit.mta import attribution_by_mta

#: What mta's Shapley over all coalitions credits the real paths with; that takes half a minute.
BY_MTA = {
    "alpha": 7627.9440,
    "beta": 1982.7393,
    "delta": 2.2929,
    "epsilon": 374.6774,
    "eta": 3613.6560,
    "gamma": 138.1857,
    "iota": 3505.0440,
    "kappa": 159.0571,
    "lambda": 987.7821,
    "mi": 2.6667,
    "theta": 1190.9631,
    "zeta": 199.9917,
}


def worth(found: Collection[Journeys], coalition: Collection[str]) -> tuple[int, int]:
    """Conversions and value of the journeys that met no other channel."""
    inside = [item for item in found if set(item.path) <= set(coalition)]
    return sum(item.conversions for item in inside), sum(item.value_micros for item in inside)


def by_permutations(found: Collection[Journeys]) -> dict[str, list[Fraction]]:
    """What each channel adds to those that joined before it, on average over all orders of joining."""
    channels = sorted({channel for item in found if item.conversions + item.nulls for channel in item.path})
    added: defaultdict[str, list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    orders = math.factorial(len(channels))
    for order in itertools.permutations(channels):
        for place, channel in enumerate(order):
            before, after = worth(found, order[:place]), worth(found, order[: place + 1])
            for kind in (0, 1):
                added[channel][kind] += Fraction(after[kind] - before[kind], orders)
    return dict(sorted(added.items()))


@given(found=JOURNEYS)
@settings(deadline=None)
def test_credit_is_what_channels_add_over_all_orders(found: list[Journeys]) -> None:
    credit = shapley(counts_of(found))
    expected = by_permutations(found)
    assert list(credit.channels) == list(expected)
    for channel, conversions, value in zip(*credit, strict=True):
        assert conversions == pytest.approx(float(expected[channel][0]), rel=1e-9, abs=1e-9)
        assert abs(value - expected[channel][1]) < len(found)  # each set of channels has its value rounded
    assert credit.value_micros.sum() == sum(item.value_micros for item in found)


@given(found=st.lists(journeys("abcdefghijklmnopq", 17), min_size=1, max_size=20))
@settings(deadline=None, max_examples=10)
def test_many_channels_are_as_exact_as_few(found: list[Journeys]) -> None:
    """Over all coalitions of up to 17 channels, each with its weight."""
    credit = shapley(counts_of(found))
    count = len(credit.channels)
    members = [{credit.channels.index(name) for name in item.path} for item in found if item.conversions + item.nulls]
    conversions = [item.conversions for item in found if item.conversions + item.nulls]
    coalitions = np.arange(2**count)
    worths = np.zeros(2**count)
    for channels, converted in zip(members, conversions, strict=True):
        bits = sum(1 << channel for channel in channels)
        worths[coalitions & bits == bits] += converted
    weights = np.array([1 / (count * math.comb(count - 1, size)) for size in range(count)])
    for channel, got in enumerate(credit.conversions):
        without = coalitions[coalitions & (1 << channel) == 0]
        added = worths[without | (1 << channel)] - worths[without]
        assert got == pytest.approx((added * weights[np.bitwise_count(without)]).sum(), rel=1e-9, abs=1e-9)


@given(found=st.lists(journeys("abc", 4), min_size=1, max_size=5))
@settings(deadline=None, max_examples=20)
def test_mta_agrees(found: list[Journeys]) -> None:
    """Whether it takes loops out or not: how often a channel was met is nothing to a coalition."""
    credit = dict(zip(*shapley(counts_of(found))[:2], strict=True))
    for allow_loops in (True, False):
        by_mta = attribution_by_mta(found, "shapley", allow_loops=allow_loops)
        assert {channel: by_mta[channel] for channel in credit} == pytest.approx(credit, abs=1e-9)


def test_mta_agrees_on_the_real_paths() -> None:
    credit = dict(zip(*shapley(real_paths())[:2], strict=True))
    assert {channel: round(conversions, 4) for channel, conversions in credit.items()} == BY_MTA


def test_real_paths_conserve_their_totals() -> None:
    credit = shapley(real_paths())
    assert credit.conversions.sum() == pytest.approx(19_785, abs=1e-9)
    assert int(credit.value_micros.sum()) == 74_802_971_582


@given(found=JOURNEYS, data=st.data())
@settings(deadline=None)
def test_neither_order_nor_repeats_nor_journeys_without_conversion_count(
    found: list[Journeys], data: st.DataObject
) -> None:
    credit = dict(zip(*shapley(counts_of(found))[:2], strict=True))
    other = shapley(
        counts_of(
            item._replace(path=tuple(data.draw(st.permutations(item.path))) + item.path[:1], nulls=item.nulls + 1)
            for item in found
        )
    )
    credited = {channel: conversions for channel, conversions in zip(*other[:2], strict=True) if conversions}
    assert credited == pytest.approx({channel: count for channel, count in credit.items() if count})


def test_nothing_to_credit() -> None:
    assert [len(column) for column in shapley(PathCounts())] == [0, 0, 0]
    assert shapley(counts_of([Journeys(("a", "b"), 0, 0, 4)])).conversions.tolist() == [0, 0]
