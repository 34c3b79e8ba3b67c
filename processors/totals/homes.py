"""Which addresses are homes: those of few clicks, counted as all clicks of an account pass."""

import numpy as np

from processors.matching.evidence import MISSING, Evidence, Hashes
from processors.matching.tally import find

__all__ = ["Homes", "homes_of"]

#: An address of so many clicks in 30 days at most is a household's.
HOUSEHOLD_CLICKS = 30


class Homes:
    """Counts the clicks at some addresses."""

    def __init__(self, asked: Hashes) -> None:
        """`asked` are the addresses there is anything to know of; each may be there more than once."""
        self._asked = np.unique(asked[asked != MISSING])
        self._clicks = np.zeros(len(self._asked) + 1, np.int64)

    def add(self, addresses: Hashes) -> None:
        """Count clicks at these addresses."""
        self._clicks += np.bincount(find(self._asked, addresses), minlength=len(self._clicks))

    def found(self) -> Hashes:
        """The homes among them, ascending.

        >>> homes = Homes(np.array([7, 3, 3], np.uint64))
        >>> homes.add(np.array([3] * 31 + [7, 9], np.uint64))
        >>> homes.found().tolist()
        [7]
        """
        return self._asked[self._clicks[:-1] <= HOUSEHOLD_CLICKS]


def homes_of(clicks: Evidence) -> Hashes:
    """The homes that clicks were made at, where these are all of the account."""
    homes = Homes(clicks.ip)
    homes.add(clicks.ip)
    return homes.found()
