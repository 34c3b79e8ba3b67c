"""How common the values of some conversions are among all clicks, counted as these pass: what is kept has a bound."""

from collections.abc import Mapping

import numpy as np

from processors.matching.candidates import DAY_MS, KINDS, LOOKUPS, Ints, evidence_keys
from processors.matching.evidence import MISSING, Evidence, Hashes, combine
from processors.matching.tally import (
    DEVICES_AN_ADDRESS,
    DEVICES_AN_ADDRESS_DAY,
    Mask,
    day_keys,
    devices_of,
    find,
)

__all__ = ["ClickCensus", "Crowds", "KeyTally", "keys_of"]

#: Pairs that may wait to be counted: looking through them one by one would cost more.
WAITING = 100_000


class ClickCensus:
    """The census of all clicks, as far as it concerns some conversions. A click that comes twice counts twice."""

    def __init__(self, conversions: Evidence) -> None:
        self.clicks = 0
        self.end_ms = 0
        self._languages: dict[int, int] = {}
        capped = {name for name, lookup in LOOKUPS.items() if lookup.capped}
        self._tallies = {name: KeyTally(keys, name in capped) for name, keys in keys_of(conversions).items()}

    def add(self, clicks: Evidence, keys: Mapping[str, Hashes]) -> None:
        """Count clicks, of which `keys_of` says these keys."""
        self.clicks += len(clicks.event_ms)
        self.end_ms = max(self.end_ms, int(clicks.event_ms.max(initial=0)))
        for language, count in zip(*np.unique(clicks.language, return_counts=True), strict=True):
            self._languages[int(language)] = self._languages.get(int(language), 0) + int(count)
        days, devices = clicks.event_ms // DAY_MS, devices_of(clicks)
        for name, tally in self._tallies.items():
            tally.add(keys[name], days, devices)

    @property
    def languages(self) -> tuple[Hashes, Ints]:
        """As Census says."""
        counted = sorted(self._languages.items())
        values, counts = (np.array([pair[side] for pair in counted], kind) for side, kind in ((0, "u8"), (1, "i8")))
        return values, counts

    def tally(self, kind: str) -> "KeyTally":
        """As Census says."""
        return self._tallies[kind]


class KeyTally:
    """Counts of the clicks that have one of some keys."""

    def __init__(self, keys: Hashes, capped: bool) -> None:
        """Crowds are counted where they are `capped`."""
        self._keys = np.unique(keys[keys != MISSING])
        self._clicks = np.zeros(len(self._keys) + 1, np.int64)
        self._capped = capped
        self._crowds, self._crowded_days = Crowds(DEVICES_AN_ADDRESS), Crowds(DEVICES_AN_ADDRESS_DAY)

    def add(self, keys: Hashes, days: Ints, devices: Hashes) -> None:
        """Count clicks with these keys, on these days, by these devices. Shape (clicks,) each."""
        place = find(self._keys, keys)
        mine = place < len(self._keys)
        self._clicks += np.bincount(place[mine], minlength=len(self._clicks))
        if self._capped:
            keys, days, devices = keys[mine], days[mine], devices[mine]
            self._crowds.add(keys, devices)
            few = ~self._crowds.seen(keys)  # of the others nothing is read, whatever the day
            self._crowded_days.add(day_keys(keys, days)[few], devices[few])

    def clicks(self, keys: Hashes) -> Ints:
        """As Tally says."""
        return self._clicks[find(self._keys, keys)]

    def is_crowd(self, keys: Hashes) -> Mask:
        """As Tally says."""
        return self._crowds.holds(keys)

    def is_crowded_day(self, keys: Hashes, days: Ints) -> Mask:
        """As Tally says."""
        return self._crowded_days.holds(day_keys(keys, days))

    def may_be_read(self, keys: Hashes, most: int) -> Mask:
        """Keys that are asked for, and are not known by now to be too common: a crowd, or in more than `most` clicks.

        `most`: 0 for no limit.
        """
        place = find(self._keys, keys)
        asked = place < len(self._keys)
        if most:
            asked &= self._clicks[place] <= most
        return asked & ~self._crowds.seen(keys)


class Crowds:
    """Which groups have more than `limit` different members. Of each at most so many are remembered, and one more."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._crowds = np.zeros(0, np.uint64)
        self._groups, self._pairs = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self._new: list[tuple[Hashes, Hashes]] = []
        self._waiting = 0

    def add(self, groups: Hashes, members: Hashes) -> None:
        """Members of groups, of shape (n,) both."""
        few = ~self.seen(groups)
        self._new.append((groups[few], combine(groups[few], members[few])))
        self._waiting += int(few.sum())
        if self._waiting > max(WAITING, len(self._groups)):
            self._count()

    def seen(self, groups: Hashes) -> Mask:
        """Groups that were found to be crowds; others may be without having been counted yet."""
        return np.less(find(self._crowds, groups), len(self._crowds))

    def holds(self, groups: Hashes) -> Mask:
        """Which groups are crowds."""
        self._count()
        return self.seen(groups)

    def _count(self) -> None:
        if not self._new:
            return
        groups = np.concatenate([self._groups, *(groups for groups, _ in self._new)])
        pairs, first = np.unique(np.concatenate([self._pairs, *(pairs for _, pairs in self._new)]), return_index=True)
        groups = groups[first]
        values, counts = np.unique(groups, return_counts=True)
        crowds = values[counts > self._limit]
        self._crowds = np.union1d(self._crowds, crowds)
        few = ~self.seen(groups)
        self._groups, self._pairs = groups[few], pairs[few]
        self._new, self._waiting = [], 0


def keys_of(events: Evidence) -> dict[str, Hashes]:
    """The keys of every kind, shape (rows,) each."""
    return {name: evidence_keys(events, columns) for name, columns in KINDS.items()}
