"""Whether a role's memory stays what it was: millions of clicks through one attribution worker.

The topic holds the same clicks over and over, so that what is stored in Redis does not grow, only what is read.
"""

import statistics
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.bench.subjects.watching import SERIES_S
from tests.bench.testbed import Testbed
from tests.bench.throughput import Subject, execute, only_clicks

__all__ = ["per_million", "run"]

MILLION = 1_000_000
SUBJECT = Subject(
    "memory",
    "clicks -> index",
    ("roles", "attribution"),
    "replay",
    size="replayed",
    role="attribution",
    prepare=only_clicks("replay"),
)


def run(bed: Testbed, console: Console) -> Iterator[dict[str, Any]]:
    """Print a line a million, and hand them on for the report."""
    [result] = execute(SUBJECT, bed, watch="memory")
    rows = per_million(result["watched"])
    console.print(_table(rows))
    yield {
        "subject": SUBJECT.title,
        "events": result["count"],
        "distinct_events": bed.sizes.replay,
        "sampled_every_s": SERIES_S,
        "peak_rss_mb": result["peak_rss_mb"],
        "per_million": rows,
    }


def per_million(series: Sequence[tuple[int, float]]) -> list[dict[str, float]]:
    """First, median, last and greatest of the megabytes held while each million was worked on.

    >>> per_million([(10, 90.0), (20, 100.0), (30, 110.0), (2_000_001, 105.0)])[0]
    {'million': 1, 'samples': 3, 'first_mb': 90.0, 'median_mb': 100.0, 'last_mb': 110.0, 'max_mb': 110.0}
    """
    rows = []
    for million, points in groupby(series, lambda point: max(point[0] - 1, 0) // MILLION + 1):
        held = [megabytes for _, megabytes in points]
        rows.append(
            {
                "million": million,
                "samples": len(held),
                "first_mb": held[0],
                "median_mb": statistics.median(held),
                "last_mb": held[-1],
                "max_mb": max(held),
            }
        )
    return rows


def _table(rows: Sequence[dict[str, float]]) -> Table:
    table = Table(*(name.replace("_", " ") for name in rows[0]), title="memory held, by million of clicks")
    for row in rows:
        table.add_row(*(f"{value:,.0f}" for value in row.values()))
    return table
