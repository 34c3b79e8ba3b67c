"""Clicks that an identifier says are the conversion's, or its buyer's. They come first, and nothing contradicts them.

A click id names the click. A hashed e-mail address, phone number or external id names the person: which of the
person's clicks led to the conversion is another question.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import WINDOW_MS, Ints, Pairs
from processors.matching.evidence import MISSING, Evidence, Hashes

__all__ = ["CLICK_IDS", "PERSON_IDS", "IdentifierMatches", "identifier_matches", "same_person"]

#: Identifiers of a click, and of a person, the surest first.
CLICK_IDS = ("click_id", "fbclid")
PERSON_IDS = ("email", "phone", "external_id")
#: Of a person's clicks the newest count.
MOST_CLICKS = 20


class IdentifierMatches(NamedTuple):
    """What identifiers say of each conversion.

    layer: shape (conversions,), the position in CLICK_IDS + PERSON_IDS of what matched, -1 where nothing did.
    pairs: the clicks of it, in the 30 days before: one for a click id, all of the person's for the others.
    """

    layer: npt.NDArray[np.int64]
    pairs: Pairs


def identifier_matches(conversions: Evidence, clicks: Evidence) -> IdentifierMatches:
    """The clicks before each conversion that share its surest identifier; a person's with all they are known by."""
    layer = np.full(len(conversions.event_ms), -1)
    found: list[Pairs] = []
    for position, name in enumerate(CLICK_IDS + PERSON_IDS):
        asked = np.flatnonzero(layer < 0)
        pairs = _before(_joined(getattr(conversions, name), asked, getattr(clicks, name)), conversions, clicks)
        if name in PERSON_IDS:
            pairs = _before(same_person(pairs, clicks), conversions, clicks)
        pairs = _newest(pairs, clicks, 1 if name in CLICK_IDS else MOST_CLICKS)
        layer[pairs.conversion] = position
        found.append(pairs)
    return IdentifierMatches(layer, Pairs(*(np.concatenate(rows) for rows in zip(*found, strict=True))))


def same_person(pairs: Pairs, clicks: Evidence) -> Pairs:
    """The pairs, and those with further clicks of the browsers that made the clicks."""
    further = _joined(clicks.visitor, pairs.click, clicks.visitor)
    # `further` pairs clicks with clicks: each conversion of the one gets the other.
    order = np.argsort(pairs.click, kind="stable")
    low = np.searchsorted(pairs.click[order], further.conversion, "left")
    high = np.searchsorted(pairs.click[order], further.conversion, "right")
    place = _ranges(low, high)
    return _distinct(
        np.concatenate([pairs.conversion, pairs.conversion[order][place]]),
        np.concatenate([pairs.click, np.repeat(further.click, high - low)]),
        len(clicks.event_ms),
    )


def _joined(asked_values: Hashes, asked: Ints, values: Hashes) -> Pairs:
    """Rows `asked` with the rows whose value is the same."""
    asked = np.unique(asked)
    order = np.argsort(values, kind="stable")
    wanted = asked_values[asked]
    low = np.searchsorted(values[order], wanted, "left")
    high = np.where(wanted == MISSING, low, np.searchsorted(values[order], wanted, "right"))
    return Pairs(np.repeat(asked, high - low), order[_ranges(low, high)])


def _before(pairs: Pairs, conversions: Evidence, clicks: Evidence) -> Pairs:
    gap_ms = conversions.event_ms[pairs.conversion] - clicks.event_ms[pairs.click]
    chosen = (gap_ms >= 0) & (gap_ms <= WINDOW_MS)
    return Pairs(pairs.conversion[chosen], pairs.click[chosen])


def _newest(pairs: Pairs, clicks: Evidence, most: int) -> Pairs:
    """Of the clicks of each conversion those that came last."""
    order = np.lexsort((clicks.click_id[pairs.click], clicks.event_ms[pairs.click], pairs.conversion))
    conversion, click = pairs.conversion[order], pairs.click[order]
    behind = np.searchsorted(conversion, conversion, "right") - np.arange(len(order))
    return Pairs(conversion[behind <= most], click[behind <= most])


def _distinct(conversion: Ints, click: Ints, width: int) -> Pairs:
    return Pairs(*np.divmod(np.unique(conversion * max(1, width) + click), max(1, width)))


def _ranges(low: Ints, high: Ints) -> Ints:
    """low[0], ..., high[0] - 1, low[1], ...

    >>> _ranges(np.array([3, 7]), np.array([5, 8])).tolist()
    [3, 4, 7]
    """
    count = high - low
    places: Ints = np.arange(int(count.sum())) + np.repeat(low - (np.cumsum(count) - count), count)
    return places
