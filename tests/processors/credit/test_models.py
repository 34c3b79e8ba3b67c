from collections import defaultdict
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.credit.channels import ChannelCredit
from processors.credit.models import MODELS, credit_channels
from tests.processors.credit.journeys import JOURNEYS, Journeys, counts_of, journeys, real_paths
from tests.processors.credit.mta import attribution_by_mta

#: Published figures of the real paths: conversions by first, last and linear touch.
PUBLISHED = {
    "first": {"alpha": 6308, "iota": 4606, "eta": 3164, "beta": 2831},
    "last": {"alpha": 8447, "iota": 3355, "eta": 4167, "beta": 989},
    "linear": {"alpha": 7574.7, "iota": 3857.1, "eta": 3540.0, "beta": 2083.5},
}
DIRECT = {"d"}


def credit(found: list[Journeys], model: str, order: int = 1) -> ChannelCredit:
    return credit_channels(counts_of(found), model, order, DIRECT)


def naive(path: tuple[str, ...], model: str) -> list[Fraction]:
    n = len(path)
    if model == "last_non_direct":
        last = max((place for place, channel in enumerate(path) if channel not in DIRECT), default=n - 1)
        return [Fraction(place == last) for place in range(n)]
    if model == "position_based" and n > 2:
        return [Fraction(2, 5), *[Fraction(1, 5 * (n - 2))] * (n - 2), Fraction(2, 5)]
    by_model = {
        "first": [Fraction(place == 0) for place in range(n)],
        "last": [Fraction(place == n - 1) for place in range(n)],
    }
    return by_model.get(model, [Fraction(1, n)] * n)


@pytest.mark.parametrize("model", ["first", "last", "linear", "position_based", "last_non_direct"])
@given(found=JOURNEYS)
@settings(deadline=None)
def test_rules_are_those_of_single_conversions(model: str, found: list[Journeys]) -> None:
    expected: defaultdict[str, list[Fraction]] = defaultdict(lambda: [Fraction(0), Fraction(0)])
    for item in found:
        for channel, share in zip(item.path, naive(item.path, model), strict=True):
            expected[channel][0] += item.conversions * share
            expected[channel][1] += item.value_micros * share
    for channel, conversions, value in zip(*credit(found, model), strict=True):
        assert conversions == pytest.approx(float(expected[channel][0]), rel=1e-12, abs=1e-12)
        assert abs(value - expected[channel][1]) < 5 * len(found) + 1  # of each path's touchpoints


@pytest.mark.parametrize("model", MODELS)
@given(found=JOURNEYS)
@settings(deadline=None)
def test_totals_are_conserved(model: str, found: list[Journeys]) -> None:
    channels, conversions, value_micros = credit(found, model)
    assert list(channels) == sorted(
        {channel for item in found if item.conversions + item.nulls for channel in item.path}
    )
    assert conversions.sum() == pytest.approx(sum(item.conversions for item in found), abs=1e-9)
    assert value_micros.sum() == sum(item.value_micros for item in found)
    assert (conversions >= 0).all()


@pytest.mark.parametrize("model", MODELS)
@given(found=JOURNEYS, order=st.sampled_from([1, 2, 3]), data=st.data())
@settings(deadline=None)
def test_the_order_of_updates_does_not_show_to_the_last_bit(
    model: str, found: list[Journeys], order: int, data: st.DataObject
) -> None:
    one, other = credit(found, model, order), credit(data.draw(st.permutations(found)), model, order)
    assert one.conversions.tobytes() == other.conversions.tobytes()
    assert one.value_micros.tobytes() == other.value_micros.tobytes()


@pytest.mark.parametrize("model", PUBLISHED)
def test_real_paths_are_credited_as_published(model: str) -> None:
    channels, conversions, value_micros = credit_channels(real_paths(), model, 1, DIRECT)
    credited = dict(zip(channels, conversions.tolist(), strict=True))
    assert {channel: round(credited[channel], 1) for channel in PUBLISHED[model]} == PUBLISHED[model]
    assert conversions.sum() == pytest.approx(19_785, abs=1e-9)
    assert int(value_micros.sum()) == 74_802_971_582


@pytest.mark.parametrize(
    ("model", "its_name", "options"),
    [
        ("first", "first_touch", {}),
        ("last", "last_touch", {}),
        ("linear", "linear", {"share": "proportional"}),
        ("position_based", "position_based", {}),
    ],
)
@given(found=st.lists(journeys("abc", 4), min_size=1, max_size=5))
@settings(deadline=None, max_examples=20)
def test_mta_agrees_where_it_takes_paths_as_they_are(
    model: str, its_name: str, options: dict[str, str], found: list[Journeys]
) -> None:
    credited = {channel: count for channel, count in zip(*credit(found, model)[:2], strict=True) if count}
    by_mta = {channel: count for channel, count in attribution_by_mta(found, its_name, **options).items() if count}
    assert by_mta == pytest.approx(credited, abs=1e-9)


def test_mta_takes_repeats_out_first_and_its_linear_then_is_of_channels() -> None:
    """Linear gives the same to each touchpoint. Two of three are a's: two thirds, as nobody else would call linear.

    To divide equally among channels, however often each was met, is what the Shapley value does.
    """
    found = [Journeys(("a", "a", "b"), 3, 0, 0)]
    assert credit(found, "linear").conversions.tolist() == pytest.approx([2, 1])
    for options in ({"share": "same"}, {"share": "proportional", "allow_loops": False}):
        assert attribution_by_mta(found, "linear", **options) == {"a": 1.5, "b": 1.5}
    assert credit(found, "shapley").conversions.tolist() == [1.5, 1.5]


def test_mta_s_time_decay_knows_no_times() -> None:
    """It counts channels off, one, two, three; ours halves by the clock, which paths do not have."""
    found = [Journeys(("a", "b", "c"), 6, 0, 0)]
    assert attribution_by_mta(found, "time_decay") == pytest.approx({"a": 1, "b": 2, "c": 3})
    assert "time_decay" not in MODELS
