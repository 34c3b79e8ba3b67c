"""What totals are estimated from: whole numbers by ad, by ad and day, and of the account, which add up and come apart.

A conversion's contribution can be subtracted again when a newer version of it takes its place, and the order of
arrival leaves no trace: sums are of integers, shares in millionths.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from processors.totals.observations import CLASSES
from processors.totals.replicates import REPLICATES

__all__ = [
    "ACCOUNT_SUMS",
    "AD_SUMS",
    "CLICK_SUMS",
    "DAY_SUMS",
    "MICRO",
    "SURE",
    "Account",
    "Ad",
    "Clicks",
    "Day",
    "State",
]

Ints = npt.NDArray[np.int64]
Key = TypeVar("Key")

#: Shares are kept in millionths of a conversion.
MICRO = 1_000_000
#: Evidence is sure of a conversion where its shares in all ads together are this much, millionths.
SURE = 800_000


class Ad(IntEnum):
    """Sums of an ad, millionths of a conversion.

    CLICK: matched by click id. BLIND: of these the ones the person's identifiers find, too; BLIND_RIGHT: what they
    give to the right ad; BLIND_WRONG: what they give to this ad where another was right.
    PERSON: by the person's identifiers alone. SQUARED: squares of the evidence's shares in open conversions, which no
    identifier matches. EVIDENCE and those after: these shares, by device class.
    """

    CLICK = 0
    BLIND = 1
    BLIND_RIGHT = 2
    BLIND_WRONG = 3
    PERSON = 4
    SQUARED = 5
    EVIDENCE = 6


class Day(IntEnum):
    """Sums of an ad and day: conversions by identifiers and by evidence, millionths, and their worth, micros."""

    DETERMINISTIC = 0
    EVIDENCE = 1
    DETERMINISTIC_VALUE = 2
    EVIDENCE_VALUE = 3


class Clicks(IntEnum):
    """Clicks of an ad: all, and those that carry an identifier of the person."""

    ALL = 0
    LOGGED_IN = 1


class Account(IntEnum):
    """Sums of an account, millionths of a conversion.

    ALL: conversions; VALUE: what they are worth, micros. OPEN: no identifier matches; WITHHELD: only the person's
    identifiers do, and the evidence was asked. Of both, MASS: the evidence's shares; SURE: conversions of which it is
    sure; PLACEBO: of which it was asked what it makes of the clicks after, too; BEFORE: of these sure; AFTER: sure by
    the clicks after. OPEN_UNREACHED: that a click which was not found is the cause. WITHHELD_RIGHT: what the evidence
    gives to the ads the identifiers name. KNOCKED_OUT: asked without the household's clicks; KNOCKED_OUT_SURE: and
    sure nevertheless. ASKED and those after: shares in clicks of WITHHELD, by device class; after them REACHED: in
    those which the evidence could have found.
    """

    ALL = 0
    VALUE = 1
    OPEN = 2
    OPEN_MASS = 3
    OPEN_SURE = 4
    OPEN_PLACEBO = 5
    OPEN_BEFORE = 6
    OPEN_AFTER = 7
    OPEN_UNREACHED = 8
    WITHHELD = 9
    WITHHELD_MASS = 10
    WITHHELD_SURE = 11
    WITHHELD_PLACEBO = 12
    WITHHELD_BEFORE = 13
    WITHHELD_AFTER = 14
    WITHHELD_RIGHT = 15
    KNOCKED_OUT = 16
    KNOCKED_OUT_SURE = 17
    ASKED = 18
    REACHED = ASKED + len(CLASSES)


AD_SUMS = Ad.EVIDENCE + len(CLASSES)
DAY_SUMS = len(Day)
CLICK_SUMS = len(Clicks)
ACCOUNT_SUMS = Account.REACHED + len(CLASSES)


def _nothing() -> Ints:
    return np.zeros((ACCOUNT_SUMS, 1 + REPLICATES), np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """Sums of an account's conversions. States add up; what is all zero has no entry.

    ads: by ad id, shape (AD_SUMS, 1 + replicates): the sums, and what each bootstrap replicate makes of them.
    days: by ad id and day, shape (DAY_SUMS,). clicks: by ad id, shape (CLICK_SUMS,).
    account: shape (ACCOUNT_SUMS, 1 + replicates).
    """

    ads: Mapping[str, Ints] = field(default_factory=dict)
    days: Mapping[tuple[str, int], Ints] = field(default_factory=dict)
    clicks: Mapping[str, Ints] = field(default_factory=dict)
    account: Ints = field(default_factory=_nothing)

    def plus(self, other: "State") -> "State":
        """The sums of both together."""
        return self._with(other, 1)

    def minus(self, other: "State") -> "State":
        """The sums without what the other has contributed."""
        return self._with(other, -1)

    def _with(self, other: "State", sign: int) -> "State":
        return State(
            ads=_sum(self.ads, other.ads, sign),
            days=_sum(self.days, other.days, sign),
            clicks=_sum(self.clicks, other.clicks, sign),
            account=self.account + sign * other.account,
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, State)
            and np.array_equal(self.account, other.account)
            and _equal(self.ads, other.ads)
            and _equal(self.days, other.days)
            and _equal(self.clicks, other.clicks)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def nbytes(self) -> int:
        """Bytes of its sums, keys left out."""
        arrays = [*self.ads.values(), *self.days.values(), *self.clicks.values(), self.account]
        return sum(array.nbytes for array in arrays)


def _sum(one: Mapping[Key, Ints], other: Mapping[Key, Ints], sign: int) -> dict[Key, Ints]:
    together = dict(one)
    for key, sums in other.items():
        total = together[key] + sign * sums if key in together else sign * sums
        if total.any():
            together[key] = total
        else:
            together.pop(key, None)
    return together


def _equal(one: Mapping[Key, Ints], other: Mapping[Key, Ints]) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(sums, other[key]) for key, sums in one.items())
