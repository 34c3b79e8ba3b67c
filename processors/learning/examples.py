"""What is known of clicks by some age, as something to learn from before it is final.

A click is looked at when it reaches each of a few ages. By then the share F(age) of the conversions that are ever to
come has come. Between two looks the click converts with probability p (F_after - F_before) / (1 - p F_before), given
that it had not before, where p is the probability that it ever does. The product over the looks of a click is the
likelihood of all that is known of it, so that nothing is wrong with learning from the young ones: no click is taken
for lost because its conversion is still on the way.

Chapelle: Modeling delayed feedback in display advertising. KDD 2014, with F given instead of learned along.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.learning.features import Places

__all__ = ["Clicks", "Examples", "Floats", "chance", "due", "slope"]

Floats = npt.NDArray[np.float64]
#: Shares of conversions that have come by ages in milliseconds, non-decreasing, at most 1.
Maturity = Callable[[Floats], Floats]


class Examples(NamedTuple):
    """Looks at clicks, in the order in which they are learned from; all of length n.

    places: shape (n, columns). converted: 1 where the click converted between the two looks, else 0. matured_before,
    matured: F at the look before (0 at the first) and at this one. 0 and 1 are a click whose outcome is final.
    """

    places: Places
    converted: Floats
    matured_before: Floats
    matured: Floats

    def rows(self, start: int, end: int | None = None) -> "Examples":
        """Those from `start` to `end`."""
        of = slice(start, end)
        return Examples(self.places[of], self.converted[of], self.matured_before[of], self.matured[of])

    def then(self, later: "Examples") -> "Examples":
        """These, and then the later ones."""
        return Examples(
            np.concatenate([self.places, later.places]),
            np.concatenate([self.converted, later.converted]),
            np.concatenate([self.matured_before, later.matured_before]),
            np.concatenate([self.matured, later.matured]),
        )

    @classmethod
    def final(cls, places: Places, converted: npt.ArrayLike) -> "Examples":
        """Of clicks whose outcome is final."""
        outcome = np.asarray(converted, np.float64)
        return cls(places, outcome, np.zeros(len(outcome)), np.ones(len(outcome)))


class Clicks(NamedTuple):
    """Clicks in the order of their events: places, times and, where one has converted, conversion times, in ms.

    converted_ms: above any time where the click has not converted.
    """

    places: Places
    clicked_ms: npt.NDArray[np.int64]
    converted_ms: npt.NDArray[np.int64]


def due(clicks: Clicks, ages_ms: Sequence[int], maturity: Maturity, after_ms: int, until_ms: int) -> Examples:
    """The looks that fall in (after_ms, until_ms], oldest first; a click that has converted is looked at no more.

    ages_ms: ages at which clicks are looked at, ascending.
    """
    ages = np.array([0, *ages_ms], np.int64)
    shares = np.concatenate([[0.0], maturity(ages[1:].astype(np.float64))])
    delay = clicks.converted_ms - clicks.clicked_ms
    looks = clicks.clicked_ms[:, None] + ages[1:]
    is_due = (looks > after_ms) & (looks <= until_ms) & (delay[:, None] > ages[:-1])
    row, look = np.nonzero(is_due)
    order = np.lexsort((row, looks[row, look]))
    row, look = row[order], look[order]
    converted = (delay[row] <= ages[look + 1]).astype(np.float64)
    return Examples(clicks.places[row], converted, shares[look], shares[look + 1])


def chance(probability: Floats, matured_before: Floats, matured: Floats) -> Floats:
    """Of a click that ever converts with `probability` doing so between two looks, where it had not before."""
    found: Floats = probability * (matured - matured_before) / (1 - probability * matured_before)
    return found


def slope(probability: Floats, examples: Examples) -> Floats:
    """Of each example's negative log likelihood by the log odds of ever converting.

    With a final outcome it is that of logistic regression, probability - converted.
    """
    spread = probability * (1 - probability)
    before = spread * examples.matured_before / (1 - probability * examples.matured_before)
    unconverted = spread * examples.matured / np.maximum(1 - probability * examples.matured, 1e-12)
    return np.where(examples.converted > 0, probability - 1, unconverted) - before
