"""Which clicks may be a conversion's: inverted lists of clicks by what they say of who was there.

A list is looked up by a key of 64 bits and read from its newest click before the conversion backwards, a few clicks
deep. That is all it takes, so that a store that keeps the newest clicks of each key can answer the same question.

Addresses that too many share say nothing by themselves. They still count together with the device.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from processors.matching.evidence import MISSING, Evidence, Hashes, combine, hash_text
from processors.matching.tally import ListTally, Tally, devices_of, find

__all__ = [
    "COUNTLESS",
    "KINDS",
    "LOOKUPS",
    "MOST_CLICKS",
    "Census",
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
#: Of a conversion's candidates, those found by the strongest evidence are kept, and of these the nearest in time.
MAX_CANDIDATES = 20


@dataclass(frozen=True, slots=True)
class Lookup:
    """A kind of list: the columns its key is made of, how many of its newest clicks are read.

    capped: nothing is read where a crowd shares the key, nor what is of a day on which one did.
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


#: Every kind of key that something is found or counted by.
KINDS: Mapping[str, tuple[str, ...]] = {name: lookup.columns for name, lookup in LOOKUPS.items()} | {
    name: (name,) for name in Counts._fields
}


class Census(Protocol):
    """What there is to know of all clicks where an index holds only some of them."""

    @property
    def end_ms(self) -> int:
        """Event time of the newest."""

    @property
    def languages(self) -> tuple[Hashes, Ints]:
        """The languages there are, and how many clicks are in each; MISSING counts those that do not say."""

    def tally(self, kind: str) -> Tally:
        """How common keys of one of KINDS are."""


def evidence_keys(evidence: Evidence, columns: tuple[str, ...]) -> Hashes:
    """The keys of a kind of list, shape (rows,): MISSING where one of the columns is. Of one site, and of no other."""
    values = [getattr(evidence, name) for name in columns]
    keys = combine(evidence.site, hash_text(" ".join(columns)), *values)
    return np.where(np.any([value == MISSING for value in values], axis=0), MISSING, keys)


class ClickIndex:
    """The clicks of a tenant under the keys of `LOOKUPS`."""

    def __init__(self, clicks: Evidence, census: Census | None = None) -> None:
        """`clicks` are those of the last 30 days: how common a value is, is how many of them have it.

        Where they are only those that matter to some conversions, `census` knows how many there are.
        """
        self.clicks = clicks
        self._census = census
        self._lists = {
            name: Lists(clicks, columns, census.tally(name) if census else None) for name, columns in KINDS.items()
        }

    @property
    def end_ms(self) -> int:
        """Event time of the newest click, milliseconds."""
        return self._census.end_ms if self._census else int(self.clicks.event_ms.max(initial=0))

    @property
    def languages(self) -> tuple[Hashes, Ints]:
        """The languages there are, and how many clicks are in each; MISSING counts those that do not say."""
        if self._census:
            return self._census.languages
        values, counts = np.unique(self.clicks.language, return_counts=True)
        return values, counts

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

    def __init__(self, clicks: Evidence, columns: tuple[str, ...], tally: Tally | None = None) -> None:
        keys = evidence_keys(clicks, columns)
        self._columns = columns
        rows = np.flatnonzero(keys != MISSING)
        order = np.lexsort((clicks.click_id[rows], clicks.event_ms[rows], keys[rows]))
        self._rows = rows[order]
        self._keys, codes = np.unique(keys[self._rows], return_inverse=True)
        event_ms = clicks.event_ms[self._rows]
        first_ms = int(clicks.event_ms.min()) if len(clicks.event_ms) else 0
        self._full_ms = first_ms + WINDOW_MS
        self._begin_ms = first_ms - 2 * WINDOW_MS
        times = event_ms - self._begin_ms
        self._width = int(times.max(initial=0)) + 4 * WINDOW_MS
        self._places = codes * self._width + times
        self._census = tally
        self._tally = tally or ListTally(self._keys, codes, event_ms // DAY_MS, devices_of(clicks)[self._rows])

    def sizes(self, conversions: Evidence) -> Ints:
        """How many clicks of the 30 days before each conversion have its key; of the first 30 days for earlier ones."""
        if self._census:
            return self._census.clicks(evidence_keys(conversions, self._columns))
        later = conversions._replace(event_ms=np.maximum(conversions.event_ms, self._full_ms))
        low, high = self.spans(later, before=True)
        return high - low

    def spans(self, conversions: Evidence, before: bool) -> tuple[Ints, Ints]:
        """From where to where in the lists the clicks of each conversion's window lie."""
        # Who came so long before the first click, or after the last, that no window reaches it comes just so long.
        times = np.clip(conversions.event_ms - self._begin_ms, WINDOW_MS - 1, self._width - 2 * WINDOW_MS)
        at = find(self._keys, evidence_keys(conversions, self._columns)) * self._width + times
        first, last = (at - WINDOW_MS, at) if before else (at + 1, at + WINDOW_MS)
        return np.searchsorted(self._places, first, "left"), np.searchsorted(self._places, last, "right")

    def read(self, conversions: Evidence, lookup: Lookup, before: bool) -> tuple[Ints, Ints]:
        """Rows of conversions and of the clicks read for them: those nearest in time."""
        low, high = self.spans(conversions, before)
        count = np.minimum(high - low, lookup.depth)
        keys = evidence_keys(conversions, self._columns)
        count[self.sizes(conversions) > lookup.most] = 0
        if lookup.capped:
            count[self._tally.is_crowd(keys)] = 0
        start = high - count if before else low
        conversion = np.repeat(np.arange(len(count)), count)
        place = np.arange(len(conversion)) + np.repeat(start - (np.cumsum(count) - count), count)
        if lookup.capped:
            code, time = np.divmod(self._places[place], self._width)
            quiet = ~self._tally.is_crowded_day(self._keys[code], (time + self._begin_ms) // DAY_MS)
            conversion, place = conversion[quiet], place[quiet]
        return conversion, self._rows[place]
