"""Clicks and conversions like the demo's, sparse records of about 100 bytes when framed; and as browsers send them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from processors.simulation.parameters import World
from processors.simulation.tables import tables_of
from processors.simulation.world import simulate
from streams.demo.journeys import AggregatedPath, expand

#: 2.4 clicks a visitor.
PATHS = (
    ("alpha",),
    ("eta", "beta"),
    ("iota", "eta"),
    ("alpha", "iota", "eta"),
    ("beta", "alpha", "eta", "iota"),
)
CLICKS_A_ROUND = sum(map(len, PATHS))


def journeys(clicks: int, conversions: int) -> tuple[pa.Table, pa.Table]:
    """So many clicks, and conversions of some of their visitors, each in the order of their times.

    Clicks of a visitor are an hour apart, with other people's between them, as they are on a live topic.
    """
    visitors = -(-clicks // CLICKS_A_ROUND)
    converting = conversions // len(PATHS)
    paths = [AggregatedPath(path, converting, converting * 25_000_000, visitors - converting) for path in PATHS]
    tables = expand(paths, datetime.now(UTC).date() - timedelta(days=1))
    ordered = [table.sort_by("event_time").combine_chunks() for table in tables]
    return ordered[0].slice(0, clicks), ordered[1].slice(0, conversions)


def market(clicks: int) -> tuple[pa.Table, pa.Table]:
    """So many clicks with addresses and devices, of a simulated market whose month has just ended; no conversions."""
    world = World()
    some = replace(world.scaled(clicks / world.clicks), start=datetime.now(UTC).date() - timedelta(days=31))
    table = tables_of(simulate(some, 1), 1).clicks
    return table, journeys(0, 0)[1]
