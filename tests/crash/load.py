"""Journeys whose outcome is known: clicks, conversions and deals, and what attribution has to make of them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import pairwise
from time import time
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["FORBIDDEN", "LOOKBACK_MS", "Journeys", "Piece", "journeys"]

DAY_MS = 86_400_000
#: The setting's default.
LOOKBACK_MS = 30 * DAY_MS
#: Clicks reach further back than any conversion looks, and beyond the conversions: a part of them counts for none.
CLICKS_MS, CONVERSIONS_MS = 45 * DAY_MS, 8 * DAY_MS
CLICKS_SHARE = 0.8
#: Conversions that remember a click, which may be another visitor's.
REMEMBERING_SHARE = 0.1
#: Of a deal one event remembers the click, and each knows the visitor or does not.
EVENTS_A_DEAL = 3
KNOWING_SHARE = 0.5
HOUR_MS = DAY_MS // 24
#: How far apart, in shares of the load, the records of a visitor are published.
JITTER = 0.01
PIECE_ROWS = 1_500
CHANNELS = ("search", "social", "video", "mail")
#: A channel that a table may refuse.
FORBIDDEN = "forbidden"


class Piece(NamedTuple):
    """Records that are published together: rows of a topic."""

    contract: str
    table: pa.Table


class Journeys(NamedTuple):
    """`pieces` in the order to publish them; the tables are what is in them, each record once."""

    pieces: Sequence[Piece]
    clicks: pa.Table
    conversions: pa.Table
    crm_events: pa.Table

    @property
    def events(self) -> int:
        return sum(piece.table.num_rows for piece in self.pieces)

    def touchpoints(self) -> dict[str, tuple[str, ...]]:
        """By conversion: the clicks of its visitor, and of the one whose click it remembers, oldest first.

        All inside its window: a remembered click that is not leads to nobody.
        """
        names = ("conversion_id", "visitor_id", "click_id", "event_time")
        return self._paths(_rows(self.conversions, *names))

    def deals(self) -> dict[str, tuple[str, ...]]:
        """The same by deal, with what its events together say of the visitor, the click and the end of the window."""
        found: dict[str, tuple[Any, Any, Any, int]] = {}
        names = ("deal_id", "visitor_id", "click_id", "lead_created_time", "event_time")
        for deal_id, visitor, click_id, created_ms, event_ms in _rows(self.crm_events, *names):
            _, known, remembered, end_ms = found.get(deal_id, (deal_id, None, None, event_ms))
            end_ms = created_ms or min(end_ms, event_ms)
            found[deal_id] = (deal_id, visitor or known, click_id or remembered, end_ms)
        return self._paths(list(found.values()))

    def _paths(self, rows: Sequence[tuple[Any, ...]]) -> dict[str, tuple[str, ...]]:
        """Of each id, visitor, remembered click and end of the window, ms, the clicks that led there."""
        by_visitor: defaultdict[str, list[tuple[int, str]]] = defaultdict(list)
        by_id: dict[str, tuple[int, str]] = {}
        for visitor, click_id, event_ms in _rows(self.clicks, "visitor_id", "click_id", "event_time"):
            by_id[click_id] = (event_ms, visitor)
            by_visitor[visitor].append((event_ms, click_id))
        found = {}
        for own_id, visitor, click_id, end_ms in rows:
            remembered_ms, other = by_id[click_id] if click_id else (0, visitor)
            is_inside = end_ms - LOOKBACK_MS <= remembered_ms <= end_ms
            known = {*by_visitor.get(visitor, ()), *(by_visitor[other] if is_inside else ())}
            inside = (touch for touch in known if end_ms - LOOKBACK_MS <= touch[0] <= end_ms)
            found[own_id] = tuple(click_id for _, click_id in sorted(inside))
        return found


@cache
def journeys(events: int, seed: int, repeats: float = 0.0, forbidden: float = 0.0, deals: float = 0.0) -> Journeys:
    """So many records; of them the share `repeats` are published again, and of clicks `forbidden` refused by a table.
    The share `deals` of them are CRM events.

    Records of a visitor are published close together, in any order: a conversion comes before its clicks as often as
    after them.
    """
    random = np.random.default_rng(seed)
    distinct = round(events / (1 + repeats))
    deal_count = round(distinct * deals / EVENTS_A_DEAL)
    others = distinct - deal_count * EVENTS_A_DEAL
    count = round(others * CLICKS_SHARE)
    visitors = others - count
    now_ms = int(time() * 1000) - DAY_MS // 24

    click_visitor = random.integers(0, visitors, count)
    channels = np.array(CHANNELS)[random.integers(0, len(CHANNELS), count)]
    clicks = _table(
        click_visitor,
        now_ms - random.integers(0, CLICKS_MS, count),
        click_id=_ids("k", np.arange(count)),
        channel=pa.array(np.where(random.random(count) < forbidden, FORBIDDEN, channels)),
    )
    conversion_visitor = random.integers(0, visitors, visitors)
    remembered = pa.array(random.integers(0, count, visitors), mask=random.random(visitors) >= REMEMBERING_SHARE)
    conversions = _table(
        conversion_visitor,
        now_ms - random.integers(0, CONVERSIONS_MS, visitors),
        conversion_id=_ids("c", np.arange(visitors)),
        event_name=pa.array(["Purchase"] * visitors),
        value_micros=pa.array(random.integers(1, 10**9, visitors)),
        currency=pa.array(["EUR"] * visitors),
        click_id=clicks.column("click_id").combine_chunks().take(remembered),
    )
    event_visitor, crm_events = _crm_events(deal_count, visitors, clicks, now_ms, random)
    places = random.random(visitors)
    published = [
        (contract, table, places[visitor] + random.normal(0, JITTER, len(visitor)))
        for contract, table, visitor in (
            ("clicks", clicks, click_visitor),
            ("conversions", conversions, conversion_visitor),
            *([("crm-events", crm_events, event_visitor)] if deal_count else ()),
        )
    ]
    pieces = _pieces([_with_repeats(*topic, repeats, random) for topic in published], events, random)
    return Journeys(pieces, clicks, conversions, crm_events)


def _crm_events(
    deals: int, visitors: int, clicks: pa.Table, now_ms: int, random: np.random.Generator
) -> tuple[npt.NDArray[np.int64], pa.Table]:
    """Events of deals, with their visitors: each a lead, of which some say when it was created, and stages after it."""
    deal = np.repeat(np.arange(deals), EVENTS_A_DEAL)
    stage = np.tile(np.arange(EVENTS_A_DEAL), deals)
    visitor = random.integers(0, max(1, visitors), deals)[deal]
    lead_ms = (now_ms - DAY_MS - random.integers(0, CONVERSIONS_MS, deals))[deal]
    remembers = (random.random(deals) < REMEMBERING_SHARE)[deal] & (
        stage == random.integers(0, EVENTS_A_DEAL, deals)[deal]
    )
    remembered = pa.array(random.integers(0, clicks.num_rows, len(deal)), mask=~remembers)
    table = _table(
        visitor,
        lead_ms + stage * HOUR_MS,
        event_id=_ids("e", np.arange(len(deal))),
        portal_id=pa.array(["p"] * len(deal)),
        deal_id=_ids("d", deal),
        to_stage=_ids("s", stage),
        lead_created_time=pa.array(
            lead_ms - HOUR_MS, pa.timestamp("ms"), mask=(deal % 2 == 0) | (stage != EVENTS_A_DEAL - 1)
        ),
        click_id=clicks.column("click_id").combine_chunks().take(remembered),
    )
    place = table.schema.get_field_index("visitor_id")
    is_unknown = pa.array(random.random(len(deal)) >= KNOWING_SHARE)
    known = pc.if_else(is_unknown, pa.scalar(None, pa.string()), table.column("visitor_id"))
    return visitor, table.set_column(place, "visitor_id", known)


def _with_repeats(
    contract: str, table: pa.Table, places: npt.NDArray[np.float64], share: float, random: np.random.Generator
) -> tuple[str, pa.Table, npt.NDArray[np.float64]]:
    again = random.permutation(len(places))[: round(len(places) * share)]
    later = places[again] + random.exponential(JITTER * 5, len(again))
    return contract, pa.concat_tables([table, table.take(pa.array(again))]), np.concatenate([places, later])


def _pieces(
    topics: Sequence[tuple[str, pa.Table, npt.NDArray[np.float64]]], events: int, random: np.random.Generator
) -> list[Piece]:
    """Cut at the same places in all topics, the topics of a cut in any order."""
    cuts = np.linspace(0, 1, max(2, events // PIECE_ROWS))[1:-1]
    by_topic = []
    for contract, table, places in topics:
        order = np.argsort(places, kind="stable")
        bounds = [0, *np.searchsorted(places[order], cuts).tolist(), len(order)]
        inside = table.take(pa.array(order))
        by_topic.append([Piece(contract, inside.slice(a, b - a)) for a, b in pairwise(bounds)])
    together = zip(*by_topic, strict=True)
    shuffled = [pieces[n] for pieces in together for n in random.permutation(len(pieces))]
    return [piece for piece in shuffled if piece.table.num_rows]


def _table(visitor: npt.NDArray[np.int64], event_ms: npt.NDArray[np.int64], **columns: pa.Array) -> pa.Table:
    rows = len(visitor)
    return pa.table(
        {
            "account_id": pa.array(["crash"] * rows),
            "visitor_id": _ids("v", visitor),
            "event_time": pa.array(event_ms, pa.timestamp("ms")),
            "consent": pa.array(["granted"] * rows),
            "limited_data_use": pa.array(np.zeros(rows, np.bool_)),
            **columns,
        }
    )


def _ids(kind: str, numbers: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array([f"{kind}{number}" for number in numbers.tolist()])


def _rows(table: pa.Table, *names: str) -> Sequence[tuple[Any, ...]]:
    columns: Mapping[str, pa.ChunkedArray] = {name: table.column(name) for name in names}
    return list(
        zip(
            *(
                (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
                for column in columns.values()
            ),
            strict=True,
        )
    )
