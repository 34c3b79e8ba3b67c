"""Small sets of paths, and the real ones."""

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

from hypothesis import strategies as st

from processors.credit.paths import PathCounts
from streams.demo.journeys import read_paths


class Journeys(NamedTuple):
    """What is counted of one path."""

    path: tuple[str, ...]
    conversions: int
    value_micros: int
    nulls: int


def journeys(channels: str = "abcd", steps: int = 5) -> st.SearchStrategy[Journeys]:
    """Of a path that may hold a channel several times, in a row or not; without a conversion there is no value."""
    return st.builds(
        lambda path, conversions, value, nulls: Journeys(tuple(path), conversions, conversions and value, nulls),
        st.lists(st.sampled_from(channels), min_size=1, max_size=steps),
        st.integers(0, 3),
        st.integers(0, 10**9),
        st.integers(0, 3),
    )


JOURNEYS = st.lists(journeys(), max_size=6)


def counts_of(found: Iterable[Journeys]) -> PathCounts:
    counts = PathCounts()
    for item in found:
        counts.add(*item)
    return counts


@cache
def real_paths() -> PathCounts:
    """The 10,000 lines of the package `mta`. Not to be changed."""
    return counts_of(Journeys(tuple(p.channels), p.conversions, p.value_micros, p.nulls) for p in read_paths())
