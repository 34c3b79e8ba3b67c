from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.credit.errors import UnusableCounts
from processors.credit.paths import MAX_JOURNEYS, MAX_VALUE_MICROS, PathCounts
from tests.processors.credit.journeys import JOURNEYS, Journeys, counts_of


@given(found=JOURNEYS, removed=JOURNEYS, data=st.data())
@settings(deadline=None)
def test_neither_order_nor_parts_show(found: list[Journeys], removed: list[Journeys], data: st.DataObject) -> None:
    """Some journeys are counted and removed again, in any order, in parts that are merged."""
    updates = [(item, 1) for item in [*found, *removed]] + [(item, -1) for item in removed]
    updates = data.draw(st.permutations(updates))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(updates)), max_size=3)))
    merged = PathCounts()
    for start, end in pairwise([0, *cuts, len(updates)]):
        part = PathCounts()
        for item, sign in updates[start:end]:
            (part.add if sign > 0 else part.remove)(*item)
        merged.merge(part)
    assert merged == counts_of(found)
    assert merged.items() == counts_of(found).items()
    assert [column.tolist() for column in merged.columns()[1:]] == [
        column.tolist() for column in counts_of(found).columns()[1:]
    ]


@given(found=JOURNEYS)
@settings(deadline=None)
def test_columns_are_the_counts(found: list[Journeys]) -> None:
    expected: Counter[tuple[str, ...]] = Counter()
    for item in found:
        expected[item.path] += item.conversions + item.nulls
    columns = counts_of(found).columns()
    got = {}
    for number, (start, end) in enumerate(pairwise(columns.offsets.tolist())):
        got[tuple(columns.channels[step] for step in columns.steps[start:end])] = int(columns.journeys[number])
    assert got == {path: count for path, count in expected.items() if count}
    assert columns.conversions.sum() == sum(item.conversions for item in found)
    assert columns.value_micros.sum() == sum(item.value_micros for item in found)
    assert list(columns.channels) == sorted({channel for path in got for channel in path})


def test_a_revised_conversion_is_removed_as_it_was_and_added_as_it_is() -> None:
    counts = PathCounts()
    counts.add("ab", nulls=1)
    counts.remove("ab", nulls=1)
    counts.add("ab", conversions=1, value_micros=5)
    counts.remove("ab", conversions=1, value_micros=5)
    counts.add("abc", conversions=1, value_micros=7)
    assert counts.items() == [(("a", "b", "c"), (1, 7, 0))]


def test_paths_are_told_apart_whatever_their_channels_hold() -> None:
    paths = [("a\0b",), ("a", "b"), ("a > b",), ("ab",), ("a", "", "b")]
    for order in (paths, paths[::-1]):
        counts = counts_of(Journeys(path, 0, 0, 1) for path in order)
        assert [path for path, _ in counts.items()] == [paths[4], *sorted(paths[:2]), paths[2], paths[3]]


def test_coalitions_are_sets() -> None:
    counts = counts_of(Journeys(tuple(path), 1, 2, 3) for path in ("ab", "ba", "abab", "aab", "a"))
    assert counts.coalitions().items() == [(("a",), (1, 2, 3)), (("a", "b"), (4, 8, 12))]


@pytest.mark.parametrize(
    ("counted", "message"),
    [
        (Journeys(("a", "b"), -1, 0, 5), "a > b: more journeys were removed"),
        (Journeys(("a",), 1, 0, -1), "more journeys were removed"),
        (Journeys(("a",), 0, 7, 1), "a: worth 7 micros without a conversion"),
        (Journeys(("a",), MAX_JOURNEYS, 0, 1), "journeys"),
        (Journeys(("a",), 1, MAX_VALUE_MICROS + 1, 0), "values add up"),
        (Journeys(("a",), 1, -MAX_VALUE_MICROS - 1, 0), "values add up"),
    ],
)
def test_counts_of_no_journeys_are_refused(counted: Journeys, message: str) -> None:
    with pytest.raises(UnusableCounts, match=message):
        counts_of([counted]).columns()


def test_a_path_has_a_touchpoint() -> None:
    with pytest.raises(ValueError, match="without a touchpoint"):
        PathCounts().add((), conversions=1)
