from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.attribution.credit import MODELS, split_micros

INT64 = st.integers(-(2**63), 2**63 - 1)
COUNTS = st.lists(st.integers(1, 12), min_size=1, max_size=8)


def offsets_of(counts: list[int]) -> np.ndarray:
    return np.concatenate(([0], np.cumsum(counts)))


def pieces(flat: np.ndarray, counts: list[int]) -> list[list]:
    return [part.tolist() for part in np.split(flat, offsets_of(counts)[1:-1])]


NAIVE = {
    "first": lambda n: [1.0] + [0.0] * (n - 1),
    "last": lambda n: [0.0] * (n - 1) + [1.0],
    "linear": lambda n: [1 / n] * n,
}


@pytest.mark.parametrize("model", MODELS)
@given(counts=COUNTS)
def test_models_are_what_they_are_called(model: str, counts: list[int]) -> None:
    shares = pieces(MODELS[model](offsets_of(counts)), counts)
    assert shares == [NAIVE[model](n) for n in counts]
    assert all(abs(sum(part) - 1) < 1e-12 for part in shares)


def test_no_conversions() -> None:
    for model in MODELS.values():
        shares = model(np.array([0]))
        assert shares.tolist() == []
        assert split_micros(np.array([], np.int64), shares, np.array([0])).tolist() == []


@pytest.mark.parametrize("model", MODELS)
@given(st.data())
def test_value_is_conserved_and_no_part_is_a_micro_off(model: str, data: st.DataObject) -> None:
    counts = data.draw(COUNTS)
    values = data.draw(st.lists(INT64, min_size=len(counts), max_size=len(counts)))
    offsets = offsets_of(counts)
    parts = pieces(split_micros(np.array(values, np.int64), MODELS[model](offsets), offsets), counts)
    for value, part in zip(values, parts, strict=True):
        exact = {"first": [1], "last": [1], "linear": [Fraction(1, len(part))] * len(part)}[model]
        padding = [0] * (len(part) - len(exact))
        exact = exact + padding if model == "first" else padding + exact
        assert sum(part) == value
        assert all(abs(got - value * share) < 1 for got, share in zip(part, exact, strict=True))


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
