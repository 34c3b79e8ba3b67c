"""How common the values of a kind are: what many share says little, and what a crowd shares says nothing.

A crowd is more than 25 devices an address and day, or 100 in the window. Source: PostHog's identity matching, whose
limits these are.
"""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from processors.matching.evidence import MISSING, Evidence, Hashes, combine

__all__ = [
    "DEVICES_AN_ADDRESS",
    "DEVICES_AN_ADDRESS_DAY",
    "ListTally",
    "Mask",
    "Tally",
    "day_keys",
    "devices_of",
    "find",
]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

DEVICES_AN_ADDRESS_DAY = 25
DEVICES_AN_ADDRESS = 100


class Tally(Protocol):
    """How common keys of one kind are. Each method answers with an array of its keys' shape."""

    def clicks(self, keys: Hashes) -> Ints:
        """How many clicks have each key."""

    def is_crowd(self, keys: Hashes) -> Mask:
        """Whether more than DEVICES_AN_ADDRESS devices have each key."""

    def is_crowded_day(self, keys: Hashes, days: Ints) -> Mask:
        """Whether more than DEVICES_AN_ADDRESS_DAY devices have each key on that day (UTC, days since 1970)."""


class ListTally:
    """Counts of lists of clicks by key."""

    def __init__(self, keys: Hashes, codes: Ints, days: Ints, devices: Hashes) -> None:
        """`keys` are ascending; `codes`, `days` and `devices` have a row a click, `codes` its position in `keys`."""
        self._keys = keys
        self._clicks: Ints = np.append(np.bincount(codes, minlength=len(keys)), 0)
        self._devices: Ints = np.append(np.bincount(codes, _is_first(codes, devices), len(keys)), 0)
        self._key_days, place = np.unique(day_keys(keys[codes], days), return_inverse=True)
        self._on_day: Ints = np.append(np.bincount(place, _is_first(place, devices), len(self._key_days)), 0)

    def clicks(self, keys: Hashes) -> Ints:
        """As Tally says."""
        return self._clicks[find(self._keys, keys)]

    def is_crowd(self, keys: Hashes) -> Mask:
        """As Tally says."""
        return np.greater(self._devices[find(self._keys, keys)], DEVICES_AN_ADDRESS)

    def is_crowded_day(self, keys: Hashes, days: Ints) -> Mask:
        """As Tally says."""
        devices = self._on_day[find(self._key_days, day_keys(keys, days))]
        return np.greater(devices, DEVICES_AN_ADDRESS_DAY)


def find(ascending: Hashes, keys: Hashes) -> Ints:
    """Where each key is among those in ascending order; their number where it is not.

    >>> find(np.array([3, 7], np.uint64), np.array([7, 5, 3], np.uint64)).tolist()
    [1, 2, 0]
    """
    if not len(ascending):
        return np.zeros(len(keys), np.int64)
    place = np.minimum(np.searchsorted(ascending, keys), len(ascending) - 1)
    return np.where(ascending[place] == keys, place, len(ascending))


def devices_of(clicks: Evidence) -> Hashes:
    """What tells the devices of clicks apart: the visitor, else the click itself."""
    return np.where(clicks.visitor == MISSING, clicks.click_id, clicks.visitor)


def day_keys(keys: Hashes, days: Ints) -> Hashes:
    """Keys of a kind on a day."""
    return combine(keys, days.astype(np.uint64))


def _is_first(groups: Ints, devices: Hashes) -> Mask:
    """Whether a row is the first of its device in its group."""
    first = np.unique(combine(groups.astype(np.uint64), devices), return_index=True)[1]
    flags = np.zeros(len(groups), np.bool_)
    flags[first] = True
    return flags
