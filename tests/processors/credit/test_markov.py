import itertools
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.credit import markov as module
from processors.credit.errors import UnusableCounts
from processors.credit.markov import MAX_ORDER, markov, removal_effects
from processors.credit.paths import PathCounts
from tests.processors.credit.journeys import JOURNEYS, Journeys, counts_of, journeys, real_paths
from tests.processors.credit.mta import attribution_by_mta, conversion_rate_by_mta

START, CONVERSION, VALUE = ("start",), "conversion", "value"
ORDERS = range(1, MAX_ORDER + 1)


def brings(found: list[Journeys], order: int, removed: str | None = None) -> tuple[Fraction, Fraction]:
    """Conversions and value a journey of the chain brings where one channel is removed, by eliminating its states.

    Edges are followed from state to state until only those from the start to the ends are left.
    """
    edges: defaultdict[tuple, defaultdict[tuple | str, Fraction]] = defaultdict(lambda: defaultdict(Fraction))
    departures: defaultdict[tuple, int] = defaultdict(int)
    for path, conversions, value_micros, nulls in found:
        states = [START] + [path[max(0, end - order) : end] for end in range(1, len(path) + 1)]
        for state in states:
            departures[state] += conversions + nulls
        for one, other in itertools.pairwise(states):
            edges[one][other] += conversions + nulls
        edges[states[-1]][CONVERSION] += conversions
        edges[states[-1]][VALUE] += value_micros
    chain = {
        one: {
            other: Fraction(count) / departures[one]
            for other, count in following.items()
            if count and not (isinstance(other, tuple) and other[-1] == removed)
        }
        for one, following in edges.items()
        if departures[one]
    }
    for state in [state for state in chain if state != START]:
        following = chain.pop(state)
        stays = following.pop(state, Fraction(0))
        for others in chain.values():
            if comes := others.pop(state, None):
                for other, goes in following.items():
                    others[other] = others.get(other, Fraction(0)) + comes * goes / (1 - stays)
    ends = chain.get(START, {})
    return ends.get(CONVERSION, Fraction(0)), ends.get(VALUE, Fraction(0))


def by_brute_force(found: list[Journeys], order: int) -> dict[str, tuple[Fraction, Fraction]]:
    """Conversions and value by channel, in proportion to what its removal loses."""
    channels = sorted({channel for item in found if item.conversions + item.nulls for channel in item.path})
    whole = brings(found, order)
    lost = {channel: [a - b for a, b in zip(whole, brings(found, order, channel), strict=True)] for channel in channels}
    totals = [sum(item.conversions for item in found), sum(item.value_micros for item in found)]
    sums = [sum(loss[kind] for loss in lost.values()) for kind in (0, 1)]
    return {
        channel: tuple(
            total * loss / every if every else Fraction(0)
            for total, loss, every in zip(totals, losses, sums, strict=True)
        )
        for channel, losses in lost.items()
    }


@pytest.mark.parametrize("order", ORDERS)
@given(found=JOURNEYS)
@settings(deadline=None)
def test_credit_is_that_of_a_chain_solved_in_fractions(order: int, found: list[Journeys]) -> None:
    credit = markov(counts_of(found), order)
    expected = by_brute_force(found, order)
    assert list(credit.channels) == list(expected)
    for channel, conversions, value in zip(*credit, strict=True):
        assert conversions == pytest.approx(float(expected[channel][0]), rel=1e-9, abs=1e-9)
        assert value == pytest.approx(float(expected[channel][1]), rel=1e-9, abs=1)


@pytest.mark.parametrize("order", ORDERS)
@given(found=JOURNEYS)
@settings(deadline=None)
def test_removal_effects_are_what_removal_loses(order: int, found: list[Journeys]) -> None:
    effects = removal_effects(counts_of(found), order)
    whole, _ = brings(found, order)
    if whole == 0:
        assert effects == {}
    for channel, effect in effects.items():
        assert effect == pytest.approx(float(1 - brings(found, order, channel)[0] / whole), rel=1e-9, abs=1e-9)


@given(found=JOURNEYS)
@settings(deadline=None)
def test_the_chain_converts_as_often_as_the_journeys(found: list[Journeys]) -> None:
    total = sum(item.conversions + item.nulls for item in found)
    for order in ORDERS:
        whole, value = brings(found, order)
        assert whole * total == sum(item.conversions for item in found)
        assert value * total == sum(item.value_micros for item in found)


@given(found=st.lists(journeys(steps=3), min_size=1, max_size=6))
@settings(deadline=None)
def test_a_chain_that_remembers_whole_paths_counts_those_a_channel_is_on(found: list[Journeys]) -> None:
    """No path is longer than the order: then the conversions that go through a channel are those that were seen to."""
    total = sum(item.conversions for item in found)
    for channel, effect in removal_effects(counts_of(found), 3).items():
        assert effect == pytest.approx(sum(item.conversions for item in found if channel in item.path) / total)


@given(found=JOURNEYS, data=st.data())
@settings(deadline=None)
def test_repeats_in_a_row_change_nothing_at_order_one(found: list[Journeys], data: st.DataObject) -> None:
    repeats = st.integers(1, 4)
    repeated = [
        item._replace(path=tuple(channel for channel in item.path for _ in range(data.draw(repeats)))) for item in found
    ]
    one, other = markov(counts_of(found)), markov(counts_of(repeated))
    assert one.channels == other.channels
    assert other.conversions == pytest.approx(one.conversions, rel=1e-9, abs=1e-9)


def test_repeats_in_a_row_take_up_the_memory_of_later_orders() -> None:
    """After two clicks on a, a chain of order two does not know what was before them."""
    found = [Journeys(("a", "a"), 0, 0, 1), Journeys(("b", "a", "a"), 1, 0, 0)]
    once = [Journeys(("a",), 0, 0, 1), Journeys(("b", "a"), 1, 0, 0)]
    assert removal_effects(counts_of(once), 2) == pytest.approx({"a": 1, "b": 1})
    assert removal_effects(counts_of(found), 2) == pytest.approx({"a": 1, "b": 1 / 2})
    assert removal_effects(counts_of(found), 3) == pytest.approx({"a": 1, "b": 1})


def test_journeys_that_do_not_convert_count() -> None:
    """They lower what a channel converts and raise how often the chain comes by it: it may well gain by them."""
    converting = [Journeys(("a",), 10, 0, 0), Journeys(("b",), 10, 0, 0), Journeys(("a", "b"), 10, 0, 0)]
    assert removal_effects(counts_of(converting)) == pytest.approx({"a": 2 / 3, "b": 2 / 3})
    # Of 80 journeys 20 begin with a, of which 10 go on to b; of 70 that come to b 20 convert.
    without_a, without_b = 60 / 80 * 20 / 70, 20 / 80 * 10 / 20
    expected = {"a": 1 - without_a / (30 / 80), "b": 1 - without_b / (30 / 80)}
    counts = counts_of([*converting, Journeys(("b",), 0, 0, 50)])
    assert removal_effects(counts) == pytest.approx(expected)
    assert markov(counts).conversions.tolist() == pytest.approx([30 * 9 / 23, 30 * 14 / 23])


def test_value_goes_to_the_channels_of_valuable_journeys() -> None:
    credit = markov(counts_of([Journeys(("a",), 1, 9_000_000, 0), Journeys(("b",), 1, 1_000_000, 0)]))
    assert credit.conversions == pytest.approx([1, 1])
    assert credit.value_micros.tolist() == [9_000_000, 1_000_000]


@pytest.mark.parametrize(
    ("values", "credited"),
    [
        ((-5, 9), (0, 4)),  # what a would lose, no channel has to give
        ((-5, -4), (-4, -5)),  # of two halves of minus nine, the larger remainder is the older's
        ((5, -5), (0, 0)),
    ],
)
def test_refunds(values: tuple[int, int], credited: tuple[int, int]) -> None:
    credit = markov(counts_of([Journeys(("a",), 1, values[0], 0), Journeys(("b",), 1, values[1], 0)]))
    assert credit.conversions == pytest.approx([1, 1])
    assert tuple(credit.value_micros) == credited


@pytest.mark.parametrize("order", ORDERS)
def test_real_paths_conserve_their_totals(order: int) -> None:
    credit = markov(real_paths(), order)
    assert credit.conversions.sum() == pytest.approx(19_785, abs=1e-9)
    assert int(credit.value_micros.sum()) == 74_802_971_582


def test_real_paths_are_credited_as_channel_attribution_does() -> None:
    """Its figures are of a simulation, and differ by 3 to 5 % from one run to the next."""
    credit = dict(zip(*markov(real_paths())[:2], strict=True))
    simulated = {"alpha": 5357, "iota": 3795, "eta": 3346, "beta": 2550}
    assert {channel: credit[channel] for channel in simulated} == pytest.approx(simulated, rel=0.05)


def test_mta_sums_over_the_paths_that_were_seen_and_not_over_those_of_the_chain() -> None:
    """A chain that was learnt from them takes others as well: a > b > a is none of these, and converts, too.

    All of the chain's journeys together convert as often as the real ones did, every second time. Without a, what is
    left is b alone, which a quarter of the journeys begin with and a third of them convert at.
    """
    found = [Journeys(tuple("ab"), 1, 0, 0), Journeys(tuple("ba"), 1, 0, 0), Journeys(("a",), 0, 0, 1)]
    found.append(Journeys(("b",), 0, 0, 1))
    assert brings(found, 1) == (Fraction(1, 2), 0)
    without_a = Fraction(1, 2) * Fraction(1, 3)
    assert brings(found, 1, "a") == (without_a, 0)
    assert removal_effects(counts_of(found)) == pytest.approx({"a": 2 / 3, "b": 2 / 3})
    assert conversion_rate_by_mta(found) == pytest.approx(1 / 9)
    assert attribution_by_mta(found, "markov") == {"a": 1.0, "b": 1.0}


@pytest.mark.parametrize("order", [0, 4, -1])
def test_orders_there_are(order: int) -> None:
    for counts in (PathCounts(), counts_of([Journeys(("a",), 1, 0, 0)])):
        with pytest.raises(ValueError, match="none of 1 to 3"):
            markov(counts, order)


def test_nothing_to_credit() -> None:
    assert [len(column) for column in markov(PathCounts())] == [0, 0, 0]
    credit = markov(counts_of([Journeys(("a", "b"), 0, 0, 4)]), 2)
    assert [credit.conversions.tolist(), credit.value_micros.tolist()] == [[0, 0], [0, 0]]
    assert removal_effects(PathCounts()) == {}


def test_more_states_than_can_be_solved_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STATES", 3)
    counts = counts_of([Journeys(tuple("abcd"), 1, 0, 0)])
    with pytest.raises(UnusableCounts, match="order 1 over 4 channels has 4 states, more than 3: take a lower order"):
        markov(counts)


def test_many_channels() -> None:
    """No states are mistaken for others: each journey keeps to channels of its own."""
    names = [f"channel-{number}" for number in range(600)]
    found = [Journeys(tuple(names[start : start + 3]), 1, 1, 0) for start in range(0, 600, 3)]
    for order in ORDERS:
        assert markov(counts_of(found), order).conversions == pytest.approx(np.full(600, 1 / 3))
