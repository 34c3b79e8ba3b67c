"""Of all clicks of a tenant those that some conversions can be matched with, found as the clicks pass.

A lesson reads the clicks nearest to each conversion under each of its keys, a few deep, and those that identifiers
lead to. A click that is farther than so many others is never read, however many follow: that bounds what is kept. How
common a value is, is counted by a census of all clicks. A lesson from the excerpt is the lesson from all of them.

Clicks that lead to a conversion only by way of another click of the same browser, which shows the buyer's hashed
e-mail address, are known when that one has passed. They are found in a second pass, by visitor.
"""

from typing import NamedTuple

import numpy as np

from processors.matching.candidates import LOOKUPS, ClickIndex, Ints, Lists, Lookup
from processors.matching.census import ClickCensus, keys_of
from processors.matching.deterministic import CLICK_IDS, PERSON_IDS, identifier_matches
from processors.matching.evidence import MISSING, Evidence, Hashes, together
from processors.matching.tally import Mask

__all__ = ["Excerpt", "Sight"]

#: Clicks that may wait to be sifted, at least.
WAITING = 300_000
#: Of the clicks that share an identifier with a conversion the newest before it: nobody clicks as often in a month.
MOST_BY_IDENTIFIER = 100


class Sight(NamedTuple):
    """Clicks as far as a lesson sees them; `ads` are hashes of their ads, MISSING where there is none."""

    clicks: Evidence
    ads: Hashes

    def rows(self, chosen: Mask | Ints) -> "Sight":
        """Some of the rows."""
        return Sight(self.clicks.rows(chosen), self.ads[chosen])


class Excerpt:
    """The clicks that matter to some conversions: first `add` all, then `add_of_visitors` those it asks for."""

    def __init__(self, conversions: Evidence) -> None:
        self.conversions = conversions
        self.census = ClickCensus(conversions)
        self._identifiers = {
            name: np.unique(values[values != MISSING])
            for name in CLICK_IDS + PERSON_IDS
            if len(values := getattr(conversions, name))
        }
        self._kept: list[Sight] = []
        self._waiting, self._sifted = 0, 0

    def add(self, sight: Sight) -> None:
        """Look through clicks of the first pass."""
        keys = keys_of(sight.clicks)
        self.census.add(sight.clicks, keys)
        wanted = np.zeros(len(sight.ads), np.bool_)
        for name, lookup in LOOKUPS.items():
            wanted |= self.census.tally(name).may_be_read(keys[name], lookup.most)
        for name, values in self._identifiers.items():
            wanted |= np.isin(getattr(sight.clicks, name), values)
        self._keep(sight.rows(wanted))

    @property
    def visitors(self) -> Hashes:
        """Whose clicks there may be more of that matter, ascending."""
        self._sift()
        clicks = self._all.clicks
        found = clicks.visitor[identifier_matches(self._blind, clicks).pairs.click]
        visitors: Hashes = np.unique(found[found != MISSING])
        return visitors

    def add_of_visitors(self, sight: Sight) -> None:
        """Take clicks of `visitors`; those that are there already may be among them."""
        self._keep(sight)

    @property
    def sight(self) -> Sight:
        """The clicks of `index`."""
        self._sift()
        return self._all

    def index(self) -> tuple[ClickIndex, Ints]:
        """The clicks under their keys, and the number of each click's ad, -1 where there is none."""
        self._sift()
        clicks, ads = self._all
        return ClickIndex(clicks, self.census), np.unique(np.append(ads, MISSING), return_inverse=True)[1][:-1] - 1

    @property
    def _all(self) -> Sight:
        return self._kept[0] if self._kept else Sight(self.conversions.rows(slice(0)), np.zeros(0, np.uint64))

    @property
    def _blind(self) -> Evidence:
        """The conversions without what they know of their clicks."""
        nothing = np.zeros_like(self.conversions.site)
        return self.conversions._replace(click_id=nothing, fbclid=nothing)

    def _keep(self, sight: Sight) -> None:
        if len(sight.ads):
            self._kept.append(sight)
            self._waiting += len(sight.ads)
        if self._waiting > max(WAITING, self._sifted):
            self._sift()

    def _sift(self) -> None:
        """Drop what is read by nobody, and what is there twice."""
        if not self._waiting:
            return
        parts = self._kept
        sight = Sight(together([part.clicks for part in parts]), np.concatenate([part.ads for part in parts]))
        order = np.lexsort((sight.ads, sight.clicks.visitor, sight.clicks.event_ms, sight.clicks.click_id))
        sight = sight.rows(order)
        sight = sight.rows(np.unique(sight.clicks.click_id, return_index=True)[1])
        sight = sight.rows(self._is_read(sight.clicks))
        self._kept, self._waiting, self._sifted = [sight], 0, len(sight.ads)

    def _is_read(self, clicks: Evidence) -> Mask:
        read = np.zeros(len(clicks.event_ms), np.bool_)
        for name, lookup in LOOKUPS.items():
            lists = Lists(clicks, lookup.columns, self.census.tally(name))
            for before in (True, False):
                read[lists.read(self.conversions, Lookup(lookup.columns, lookup.depth), before)[1]] = True
        anywhere, conversions = (
            events._replace(site=np.zeros_like(events.site)) for events in (clicks, self.conversions)
        )
        for name in self._identifiers:
            lists, lookup = Lists(anywhere, (name,)), Lookup((name,), MOST_BY_IDENTIFIER)
            read[lists.read(conversions, lookup, before=True)[1]] = True
        read[identifier_matches(self._blind, clicks).pairs.click] = True
        return read
