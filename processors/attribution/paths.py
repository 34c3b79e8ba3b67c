"""Which touchpoints lie before conversions: for all conversions of a chunk at once, as columns."""

from collections.abc import Collection, Container, Mapping, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.attribution.facts import (
    ConversionContent,
    Retention,
    Touchpoint,
    choose_conversion,
    read_contents,
    read_touchpoints,
)
from processors.deals.facts import DealEvent, choose_deal, is_deal, read_events
from schemas.facts import HeldConversion, HeldEntries, Identifier

__all__ = ["Cases", "Paths", "Touchpoints", "is_overfull"]

Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Cases:
    """Conversions and deals as they are held, a row each: contents, what they come to, where touchpoints may lie."""

    def __init__(self, conversions: Sequence[HeldConversion], retention: Retention) -> None:
        self.conversions = conversions
        self.contents: list[Sequence[ConversionContent | DealEvent]] = []
        self.chosen: list[ConversionContent] = []
        for held in conversions:
            contents, chosen = _contents_of(held, retention)
            self.contents.append(contents)
            self.chosen.append(chosen)
        self.lookback_s = [retention.lookback_of(held.account_id) for held in conversions]
        self.event_ms: Ints = np.array([content.event_ms for content in self.chosen], np.int64)
        self.earliest_ms: Ints = self.event_ms - np.array(self.lookback_s, np.int64) * 1000
        self.latest_ingest_ms: Ints = self.event_ms + retention.lateness_s * 1000
        self._retention = retention

    def is_frozen(self, row: int, now_ms: int) -> bool:
        """Whether it came before, and so long ago that its window may no longer be held whole."""
        return self.chosen[row].ingest_ms < now_ms and now_ms > self.latest_ingest_ms[row]

    def buckets(self, row: int) -> Container[int]:
        """Where touchpoints may lie: of all contents together, so that a correction never takes anything away."""
        account_id = self.conversions[row].account_id
        return _union([self._retention.touchpoint_buckets(account_id, event_ms) for event_ms in self._events(row)])

    def link_buckets(self, row: int) -> Container[int]:
        """Where links may lie."""
        return _union([self._retention.link_buckets(event_ms) for event_ms in self._events(row)])

    def ask_for(self, case: Ints, event_ms: Ints) -> Flags:
        """Whether touchpoints lie where the conversions look for them; `case` is ascending."""
        first, last = self._retention.touchpoint_span(self.earliest_ms, self.event_ms)
        bucket = self._retention.bucket_of(event_ms)
        found: Flags = (first[case] <= bucket) & (bucket <= last[case])
        for row, contents in enumerate(self.contents):
            if len(contents) > 1:
                buckets, own = self.buckets(row), slice(*np.searchsorted(case, [row, row + 1]))
                found[own] = [number in buckets for number in bucket[own].tolist()]
        return found

    def _events(self, row: int) -> Collection[int]:
        return {content.event_ms for content in self.contents[row]}


def _contents_of(
    held: HeldConversion, retention: Retention
) -> tuple[Sequence[ConversionContent | DealEvent], ConversionContent]:
    """All contents, and what they come to."""
    if is_deal(held.conversion_id):
        events = read_events(held.contents)
        return events, choose_deal(events, retention)
    contents = read_contents(held.contents)
    return contents, choose_conversion(contents, retention)


def _union(ranges: Sequence[range]) -> Container[int]:
    return ranges[0] if len(ranges) == 1 else set(chain.from_iterable(ranges))


class Touchpoints:
    """All contents of touchpoints that are held for a chunk, each once, a row each.

    under: the rows under each identifier. click: equal where the click_id is, and in their order. order: of the
    contents of one click_id the greatest counts.
    """

    def __init__(self, held: Mapping[Identifier, HeldEntries]) -> None:
        contents = sorted({content for item in held.values() for content in item.contents})
        row_of = {content: row for row, content in enumerate(contents)}
        self.under = {name: [row_of[content] for content in item.contents] for name, item in held.items()}
        self.overfull = {name: item.overfull for name, item in held.items() if item.overfull}
        self.rows = read_touchpoints(contents)
        self.event_ms: Ints = np.array([touch.event_ms for touch in self.rows], np.int64)
        self.ingest_ms: Ints = np.array([touch.ingest_ms for touch in self.rows], np.int64)
        click_ids = pa.array([touch.click_id for touch in self.rows], pa.string())
        self.click: Ints = pc.rank(click_ids, tiebreaker="dense").to_numpy().astype(np.int64)
        versions = np.array([touch.source_version for touch in self.rows], np.int64)
        self.order: Ints = np.argsort(np.lexsort((self.ingest_ms, versions)))  # stable: equals stay as contents are


class Paths:
    """The touchpoints of each conversion: those under one of its identifiers where it looks for them.

    There are none under an identifier that says nothing, nor those that were read along for other conversions.
    """

    def __init__(self, cases: Cases, touchpoints: Touchpoints) -> None:
        self._cases, self._touchpoints = cases, touchpoints
        case, touch = self._pairs()
        kept = cases.ask_for(case, touchpoints.event_ms[touch])
        case, touch = case[kept], touch[kept]
        #: How many contents each conversion has. They only become more until it is frozen.
        self.held = np.bincount(case, minlength=len(cases.chosen)).tolist()
        # Too late is too late whenever it is read, or the result would depend on what was read first.
        kept = touchpoints.ingest_ms[touch] <= cases.latest_ingest_ms[case]
        self._case, self._touch = case[kept], touch[kept]

    def inside(self) -> list[list[Touchpoint]]:
        """Of each conversion all contents in its window."""
        return self._lists(self._in_window(np.arange(len(self._case))))

    def counting(self) -> list[list[Touchpoint]]:
        """Of each conversion the touchpoints that count, one a click_id, if in its window; as choose_touchpoints."""
        found = self._touchpoints
        order = np.lexsort((found.order[self._touch], found.click[self._touch], self._case))
        case, click = self._case[order], found.click[self._touch[order]]
        is_last = (np.diff(case, append=-1) != 0) | (np.diff(click, append=-1) != 0)
        pairs = self._in_window(order[is_last])
        touch = self._touch[pairs]
        return self._lists(pairs[np.lexsort((found.click[touch], found.event_ms[touch], self._case[pairs]))])

    def _pairs(self) -> tuple[Ints, Ints]:
        """Conversions and rows of touchpoints, by conversion, each once."""
        under, overfull = self._touchpoints.under, self._touchpoints.overfull
        touch: list[int] = []
        counts = []
        for row, conversion in enumerate(self._cases.conversions):
            before = len(touch)
            for name in conversion.reached:
                identifier = conversion.account_id, name
                if identifier in overfull and is_overfull(overfull, identifier, self._cases.buckets(row)):
                    continue
                touch += under.get(identifier, ())
            counts.append(len(touch) - before)
        size = max(1, len(self._touchpoints.rows))
        case = np.repeat(np.arange(len(counts)), counts)
        case, rows = np.divmod(np.unique(case * size + np.array(touch, np.int64)), size)
        return case, rows

    def _in_window(self, pairs: Ints) -> Ints:
        case, event_ms = self._case[pairs], self._touchpoints.event_ms[self._touch[pairs]]
        cases = self._cases
        return pairs[(cases.earliest_ms[case] <= event_ms) & (event_ms <= cases.event_ms[case])]

    def _lists(self, pairs: Ints) -> list[list[Touchpoint]]:
        """The touchpoints of pairs that are in the order of conversions."""
        rows = self._touchpoints.rows
        found = [rows[row] for row in self._touch[pairs].tolist()]
        ends = np.searchsorted(self._case[pairs], np.arange(len(self._cases.chosen)), "right").tolist()
        return [found[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def is_overfull(
    overfull: Mapping[Identifier, Collection[int]], identifier: Identifier, buckets: Container[int]
) -> bool:
    """Whether an identifier says nothing: there are too many entries in one of the buckets."""
    return any(bucket in buckets for bucket in overfull.get(identifier, ()))
