"""Which clicks may be a conversion's: inverted lists of clicks by what they say of who was there.

A list is looked up by a key of 64 bits and read from its newest click before the conversion backwards, a few clicks
deep. That is all it takes, so that a store that keeps the newest clicks of each key can answer the same question.

Addresses that too many share say nothing by themselves: more than 25 devices an address and day, or 100 in the
window. They still count together with the device. Source: PostHog's identity matching, whose limits these are.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.evidence import MISSING, Evidence, Hashes, combine, hash_text

__all__ = [
    "COUNTLESS",
    "LOOKUPS",
    "MOST_CLICKS",
    "ClickIndex",
    "Counts",
    "Lists",
    "Lookup",
    "Pairs",
    "evidence_keys",
    "nearest",
]

Ints = npt.NDArray[np.int64]

#: More clicks in the window than this are not counted, nor is anything read: so a store may forget the key's clicks.
MOST_CLICKS = 500
COUNTLESS = 10_000

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WINDOW_MS = 30 * DAY_MS
DEVICES_AN_ADDRESS_DAY = 25
DEVICES_AN_ADDRESS = 100
#: Of a conversion's candidates, those found by the strongest evidence are kept, and of these the nearest in time.
MAX_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Lookup:
    """A kind of list: the columns its key is made of, how many of its newest clicks are read.

    capped: nothing is read where more devices share the key than the module's limits allow.
    most: nor where more clicks of the window have it.
    """

    columns: tuple[str, ...]
    depth: int
    capped: bool = False
    most: int = MOST_CLICKS


#: The strongest evidence first.
LOOKUPS: Mapping[str, Lookup] = {
    "ip_device": Lookup(("ip", "device"), 8),
    "ip": Lookup(("ip",), 20, capped=True),
    "block_device": Lookup(("block", "device"), 8),
    "device": Lookup(("device",), 10),
    "block": Lookup(("block",), 10, capped=True),
}


class Pairs(NamedTuple):
    """Conversions and clicks that share evidence, as rows of the two, by conversion. Shape (pairs,)."""

    conversion: Ints
    click: Ints


class Counts(NamedTuple):
    """How many clicks of the last 30 days share a conversion's value of each kind. Shape (conversions,).

    COUNTLESS where there are more than MOST_CLICKS; of a fingerprint where there are so many of its device.
    """

    ip: Ints
    block: Ints
    fingerprint: Ints
    device: Ints


def evidence_keys(evidence: Evidence, columns: tuple[str, ...]) -> Hashes:
    """The keys of a kind of list, shape (rows,): MISSING where one of the columns is. Of one site, and of no other."""
    values = [getattr(evidence, name) for name in columns]
    keys = combine(evidence.site, hash_text(" ".join(columns)), *values)
    return np.where(np.any([value == MISSING for value in values], axis=0), MISSING, keys)


class ClickIndex:
    """The clicks of a tenant under the keys of `LOOKUPS`."""

    def __init__(self, clicks: Evidence) -> None:
        """`clicks` are those of the last 30 days: how common a value is, is how many of them have it."""
        self.clicks = clicks
        kinds = {name: lookup.columns for name, lookup in LOOKUPS.items()} | {name: (name,) for name in Counts._fields}
        self._lists = {name: Lists(clicks, columns) for name, columns in kinds.items()}

    def candidates(self, conversions: Evidence) -> Pairs:
        """The clicks before each conversion that share evidence with it."""
        return self._pairs(conversions, before=True)

    def placebos(self, conversions: Evidence) -> Pairs:
        """The clicks after each conversion, found in the same way: none of them can have caused it."""
        return self._pairs(conversions, before=False)

    def counts(self, conversions: Evidence) -> Counts:
        """How common the values of each conversion are."""
        found = {name: self._lists[name].sizes(conversions) for name in Counts._fields}
        found = {name: np.where(sizes > MOST_CLICKS, COUNTLESS, sizes) for name, sizes in found.items()}
        found["fingerprint"] = np.where(found["device"] == COUNTLESS, COUNTLESS, found["fingerprint"])
        return Counts(**found)

    def _pairs(self, conversions: Evidence, before: bool) -> Pairs:
        found = [self._lists[name].read(conversions, lookup, before) for name, lookup in LOOKUPS.items()]
        conversion, click = (np.concatenate(rows) for rows in zip(*found, strict=True))
        strength = np.repeat(np.arange(len(found)), [len(rows) for rows, _ in found])
        gap_ms = np.abs(conversions.event_ms[conversion] - self.clicks.event_ms[click])
        return nearest(conversion, click, strength, gap_ms, self.clicks.click_id)


def nearest(conversion: Ints, click: Ints, strength: Ints, gap_ms: Ints, click_id: Hashes) -> Pairs:
    """Of each conversion's clicks those found by the strongest evidence, and of these the nearest in time; each once.

    strength: number of the lookup, the strongest first. click_id: of the clicks that `click` are rows of.
    """
    order = np.lexsort((strength, click, conversion))
    conversion, click, strength, gap_ms = conversion[order], click[order], strength[order], gap_ms[order]
    again = (np.diff(conversion, prepend=-1) == 0) & (np.diff(click, prepend=-1) == 0)
    conversion, click, strength, gap_ms = conversion[~again], click[~again], strength[~again], gap_ms[~again]
    order = np.lexsort((click_id[click], gap_ms, strength, conversion))
    conversion, click = conversion[order], click[order]
    rank = np.arange(len(order)) - np.searchsorted(conversion, conversion, "left")
    return Pairs(conversion[rank < MAX_CANDIDATES], click[rank < MAX_CANDIDATES])


class Lists:
    """The lists of one kind, end to end: clicks by key, oldest first."""

    def __init__(self, clicks: Evidence, columns: tuple[str, ...]) -> None:
        keys = evidence_keys(clicks, columns)
        self._columns = columns
        rows = np.flatnonzero(keys != MISSING)
        order = np.lexsort((clicks.click_id[rows], clicks.event_ms[rows], keys[rows]))
        self._rows = rows[order]
        self._keys, codes = np.unique(keys[self._rows], return_inverse=True)
        first_ms = int(clicks.event_ms.min()) if len(clicks.event_ms) else 0
        self._full_ms = first_ms + WINDOW_MS
        self._begin_ms = first_ms - WINDOW_MS
        times = clicks.event_ms[self._rows] - self._begin_ms
        self._width = int(times.max(initial=0)) + 4 * WINDOW_MS
        self._places = codes * self._width + times
        visitors = np.where(clicks.visitor == MISSING, clicks.click_id, clicks.visitor)[self._rows]
        days = np.unique(codes * self._width + times // DAY_MS, return_inverse=True)[1]
        self._devices = np.append(np.bincount(codes, _is_first(codes, visitors)), 0)
        self._crowded = np.bincount(days, _is_first(days, visitors))[days] > DEVICES_AN_ADDRESS_DAY

    def sizes(self, conversions: Evidence) -> Ints:
        """How many clicks of the 30 days before each conversion have its key; of the first 30 days for earlier ones."""
        later = conversions._replace(event_ms=np.maximum(conversions.event_ms, self._full_ms))
        low, high = self.spans(later, before=True)
        return high - low

    def _codes(self, conversions: Evidence) -> Ints:
        """The number of each conversion's list; the last, which is empty, where there is none."""
        keys = evidence_keys(conversions, self._columns)
        codes = np.minimum(np.searchsorted(self._keys, keys), max(0, len(self._keys) - 1))
        return np.where(self._keys[codes] == keys, codes, len(self._keys)) if len(self._keys) else codes

    def spans(self, conversions: Evidence, before: bool) -> tuple[Ints, Ints]:
        """From where to where in the lists the clicks of each conversion's window lie."""
        times = np.clip(conversions.event_ms - self._begin_ms, WINDOW_MS, self._width - 2 * WINDOW_MS)
        at = self._codes(conversions) * self._width + times
        first, last = (at - WINDOW_MS, at) if before else (at + 1, at + WINDOW_MS)
        return np.searchsorted(self._places, first, "left"), np.searchsorted(self._places, last, "right")

    def read(self, conversions: Evidence, lookup: Lookup, before: bool) -> tuple[Ints, Ints]:
        """Rows of conversions and of the clicks read for them: those nearest in time."""
        low, high = self.spans(conversions, before)
        count = np.minimum(high - low, lookup.depth)
        codes = self._codes(conversions)
        count[self.sizes(conversions) > lookup.most] = 0
        if lookup.capped:
            count[self._devices[codes] > DEVICES_AN_ADDRESS] = 0
        start = high - count if before else low
        conversion = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(conversion)) + np.repeat(start - (np.cumsum(count) - count), count)
        if lookup.capped:
            quiet = ~self._crowded[place]
            conversion, place = conversion[quiet], place[quiet]
        return conversion, self._rows[place]


def _is_first(groups: Ints, visitors: Hashes) -> npt.NDArray[np.bool_]:
    """Whether a row is the first of its visitor in its group."""
    first = np.unique(combine(groups.astype(np.uint64), visitors), return_index=True)[1]
    flags = np.zeros(len(groups), np.bool_)
    flags[first] = True
    return flags
