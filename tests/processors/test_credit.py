from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.attribution.credit import BY_POSITION, shares_by_model, split_micros, time_decay

INT64 = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def offsets_of(counts: list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts)))


def pieces(flat: np.ndarray, counts: list[int]) -> list[list]:
    return [part.tolist() for part in np.split(flat, offsets_of(counts)[1:-1])]


HALF_LIFE_S = 600.0
#: In an order that never changes: consumers may read the first entry.
NAMES = ["first", "last", "linear", "position_based", "time_decay", "last_non_direct"]


class Touched(NamedTuple):
    """One conversion's touchpoints: when each was, whether it was direct."""

    event_ms: list[int]
    is_direct: list[bool]


TOUCHED = st.integers(1, 12).flatmap(
    lambda n: st.builds(
        Touched,
        st.lists(st.integers(0, 10 * int(HALF_LIFE_S) * 1000), min_size=n, max_size=n).map(sorted),
        st.lists(st.booleans(), min_size=n, max_size=n),
    )
)
MANY = st.lists(TOUCHED, min_size=1, max_size=8)


def shares_of(touched: list[Touched]) -> dict[str, np.ndarray]:
    counts = [len(item.event_ms) for item in touched]
    event_ms = np.array([at for item in touched for at in item.event_ms], np.int64)
    is_direct = np.array([flag for item in touched for flag in item.is_direct], np.bool_)
    return shares_by_model(offsets_of(counts), event_ms, is_direct, HALF_LIFE_S)


def one(n: int, position: int) -> list[Fraction]:
    return [Fraction(number == position % n) for number in range(n)]


def naive(model: str, touched: Touched) -> list[Fraction]:
    """The definition, of one conversion, in fractions; of time_decay as near as a float comes to it."""
    n = len(touched.event_ms)
    if model == "position_based":
        by_length = {1: [Fraction(1)], 2: [Fraction(1, 2)] * 2}
        return by_length.get(n, [Fraction(2, 5), *[Fraction(1, 5 * max(n - 2, 1))] * (n - 2), Fraction(2, 5)])
    if model == "time_decay":
        weights = [Fraction(2.0 ** (at / 1000 / HALF_LIFE_S)) for at in touched.event_ms]
        total = sum(weights)
        return [weight / total for weight in weights]
    if model == "last_non_direct":
        return one(n, max((at for at, flag in enumerate(touched.is_direct) if not flag), default=-1))
    return {"first": one(n, 0), "last": one(n, -1), "linear": [Fraction(1, n)] * n}[model]


@given(touched=MANY)
def test_models_are_what_they_are_called(touched: list[Touched]) -> None:
    counts = [len(item.event_ms) for item in touched]
    by_model = shares_of(touched)
    assert list(by_model) == NAMES
    for model, shares in by_model.items():
        for part, item in zip(pieces(shares, counts), touched, strict=True):
            assert part == pytest.approx([float(share) for share in naive(model, item)], rel=1e-12)
            assert abs(sum(part) - 1) < 1e-12


@pytest.mark.parametrize("model", BY_POSITION)
def test_a_conversions_shares_are_the_same_in_any_company(model: str) -> None:
    alone = [BY_POSITION[model](np.array([0, n])).tolist() for n in (1, 2, 3, 9)]
    assert pieces(BY_POSITION[model](offsets_of([1, 2, 3, 9])), [1, 2, 3, 9]) == alone


def test_time_decay_of_touchpoints_far_apart_leaves_all_to_the_newest() -> None:
    year_ms = 365 * 86_400_000
    assert time_decay(np.array([0, 2]), np.array([0, year_ms]), 60).tolist() == [0.0, 1.0]
    assert time_decay(np.array([0, 2]), np.array([-year_ms, -year_ms]), 60).tolist() == [0.5, 0.5]


def test_no_conversions() -> None:
    nothing = np.array([], np.int64)
    for shares in shares_by_model(np.array([0]), nothing, nothing.astype(np.bool_), HALF_LIFE_S).values():
        assert shares.tolist() == []
        assert split_micros(nothing, shares, np.array([0])).tolist() == []


@settings(deadline=None)
@given(st.data())
def test_value_is_conserved_and_no_part_is_a_micro_off(data: st.DataObject) -> None:
    touched = data.draw(MANY)
    values = data.draw(st.lists(INT64, min_size=len(touched), max_size=len(touched)))
    counts = [len(item.event_ms) for item in touched]
    for model, shares in shares_of(touched).items():
        parts = pieces(split_micros(np.array(values, np.int64), shares, offsets_of(counts)), counts)
        for value, part, item in zip(values, parts, touched, strict=True):
            # A float says 40 % and powers of two only nearly.
            slack = 1 + (abs(Fraction(value)) / 2**48 if model in ("position_based", "time_decay") else 0)
            assert sum(part) == value
            assert all(abs(got - value * share) < slack for got, share in zip(part, naive(model, item), strict=True))


@given(st.data())
def test_any_shares_conserve_any_value(data: st.DataObject) -> None:
    counts = data.draw(COUNTS)
    values = data.draw(st.lists(INT64, min_size=len(counts), max_size=len(counts)))
    weights = [data.draw(st.lists(st.floats(1e-3, 1), min_size=n, max_size=n)) for n in counts]
    shares = [np.array(part) / sum(part) for part in weights]
    offsets = offsets_of(counts)
    parts = pieces(split_micros(np.array(values, np.int64), np.concatenate(shares), offsets), counts)
    for value, part, share in zip(values, parts, shares, strict=True):
        total = sum(Fraction(s) for s in share.tolist())
        assert sum(part) == value
        # A share is rounded to 2^-53 on the way: that much of the value, and less than a micro.
        slack = 1 + abs(Fraction(value)) / 2**52
        assert all(abs(got - value * Fraction(s) / total) < slack for got, s in zip(part, share.tolist(), strict=True))


def test_the_largest_remainder_is_rounded_up_and_the_older_among_equals() -> None:
    offsets = np.array([0, 3, 6])
    shares = np.array([0.25, 0.5, 0.25, 0.1, 0.1, 0.8])
    assert split_micros(np.array([2, 8]), shares, offsets).tolist() == [1, 1, 0, 1, 1, 6]
