"""How many journeys took each path: all that credit of channels is computed from."""

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.credit.errors import UnusableCounts

__all__ = ["Counts", "PathCounts", "Paths"]

Int64s = npt.NDArray[np.int64]
Path = tuple[str, ...]

#: Above these a float does not hold a count, nor an int64 a value.
MAX_JOURNEYS, MAX_VALUE_MICROS = 2**53, 2**63 - 1


class Counts(NamedTuple):
    """Journeys of one path: conversions, their value together, and how many did not convert."""

    conversions: int
    value_micros: int
    nulls: int


class Paths(NamedTuple):
    """Counts as columns: the paths laid end to end, in the order of their channels.

    channels: all there are, sorted.
    steps: shape (steps,), a channel's position in `channels` for each touchpoint, oldest first.
    offsets: shape (paths + 1,), where each path begins in `steps`.
    conversions, value_micros, nulls: shape (paths,), none below zero but a value.
    """

    channels: tuple[str, ...]
    steps: Int64s
    offsets: Int64s
    conversions: Int64s
    value_micros: Int64s
    nulls: Int64s

    @property
    def journeys(self) -> Int64s:
        """Shape (paths,): those that converted and those that did not."""
        return self.conversions + self.nulls


class PathCounts:
    """Of one account, by path: conversions, their value, and journeys that did not convert.

    A path is the channels of a journey's touchpoints, oldest first. Counts are integers that are added and removed,
    so neither the order of updates nor the parts they are merged from show in the result. A conversion that is
    revised is removed as it was and added as it is; what is removed may come first.

    >>> counts = PathCounts()
    >>> counts.add(("search", "social"), conversions=2, value_micros=30_000_000, nulls=5)
    >>> counts.remove(("search", "social"), conversions=1, value_micros=10_000_000)
    >>> counts.items()
    [(('search', 'social'), Counts(conversions=1, value_micros=20000000, nulls=5))]
    """

    def __init__(self) -> None:
        self._counts: dict[Path, list[int]] = {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PathCounts) and self._counts == other._counts

    def add(self, path: Sequence[str], conversions: int = 0, value_micros: int = 0, nulls: int = 0) -> None:
        """Add journeys of a path. Raises ValueError where it has no touchpoint."""
        key = tuple(path)
        if not key:
            raise ValueError("a journey without a touchpoint has no path")
        counts = self._counts.setdefault(key, [0, 0, 0])
        counts[0] += conversions
        counts[1] += value_micros
        counts[2] += nulls
        if not any(counts):
            del self._counts[key]

    def remove(self, path: Sequence[str], conversions: int = 0, value_micros: int = 0, nulls: int = 0) -> None:
        """Take back what was added, or is going to be. Raises ValueError where the path has no touchpoint."""
        self.add(path, -conversions, -value_micros, -nulls)

    def merge(self, other: "PathCounts") -> None:
        """Add all that another holds."""
        for path, counts in other._counts.items():
            self.add(path, *counts)

    def items(self) -> list[tuple[Path, Counts]]:
        """Paths with their counts, in the order of their channels, none whose counts are all zero."""
        return [(path, Counts(*self._counts[path])) for path in self._paths()]

    def coalitions(self) -> "PathCounts":
        """The same journeys by which channels they met, sorted, whatever the order and however often.

        >>> counts = PathCounts()
        >>> counts.add(("b", "a", "b"), nulls=1)
        >>> counts.add(("a", "b"), nulls=1)
        >>> counts.coalitions().items()
        [(('a', 'b'), Counts(conversions=0, value_micros=0, nulls=2))]
        """
        found = PathCounts()
        for path, counts in self._counts.items():
            found.add(sorted(set(path)), *counts)
        return found

    def columns(self) -> Paths:
        """Everything as columns. Raises UnusableCounts where they are not the counts of any journeys."""
        paths = self._paths()
        flat = list(chain.from_iterable(paths))
        channels = sorted(set(flat))
        positions = {channel: position for position, channel in enumerate(channels)}
        conversions, value_micros, nulls = self._columns_of_counts(paths)
        return Paths(
            tuple(channels),
            np.fromiter(map(positions.__getitem__, flat), np.int64, len(flat)),
            np.concatenate(([0], np.cumsum([len(path) for path in paths], dtype=np.int64))),
            conversions,
            value_micros,
            nulls,
        )

    def _paths(self) -> list[Path]:
        # Joined, they are compared at once; the paths themselves only where a channel holds what joins them.
        return [path for _, path in sorted(("\0".join(path), path) for path in self._counts)]

    def _columns_of_counts(self, paths: Sequence[Path]) -> Int64s:
        """Shape (3, paths): conversions, value_micros, nulls."""
        held = [self._counts[path] for path in paths]
        for path, (conversions, value_micros, nulls) in zip(paths, held, strict=True):
            if conversions < 0 or nulls < 0:
                raise UnusableCounts(f"{' > '.join(path)}: more journeys were removed than added")
            if value_micros and not conversions:
                raise UnusableCounts(f"{' > '.join(path)}: worth {value_micros} micros without a conversion")
        if sum(conversions + nulls for conversions, _, nulls in held) > MAX_JOURNEYS:
            raise UnusableCounts(f"there are more than {MAX_JOURNEYS} journeys")
        if sum(abs(value_micros) for _, value_micros, _ in held) > MAX_VALUE_MICROS:
            raise UnusableCounts(f"values add up to more than {MAX_VALUE_MICROS} micros")
        return np.array(held, np.int64).reshape(-1, 3).T
