"""The demo's data: 10,000 aggregated paths of the PyPI package `mta`, laid out as the journeys they stand for."""

import csv
import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import pyarrow as pa

from streams.demo.errors import DemoFailed

__all__ = ["ACCOUNT", "AggregatedPath", "anchor_day", "expand", "read_paths"]

ACCOUNT = "demo"
CURRENCY = "EUR"
HOUR_MS = 3_600_000
#: Journeys begin over this many days and have up to 89 clicks an hour apart: all of them end before the anchor, and
#: none begins so long ago that a conversion would be too late to be attributed anew when its clicks arrive.
SPREAD_DAYS = 10


@dataclass(frozen=True, slots=True)
class AggregatedPath:
    """A sequence of channels, how many journeys took it and converted, what those were worth, how many did not."""

    channels: Sequence[str]
    conversions: int
    value_micros: int
    nulls: int


def read_paths() -> list[AggregatedPath]:
    """The paths in the file's order. Raises DemoFailed where the package is not installed."""
    try:
        file = distribution("mta").locate_file("mta/data/data.csv.gz")
    except PackageNotFoundError:
        raise DemoFailed("the demo's data is in the package `mta`: install spendloop[local]") from None
    with gzip.open(str(file), "rt") as lines:
        return [
            AggregatedPath(
                row["path"].split(" > "),
                int(row["total_conversions"]),
                round(float(row["total_conversion_value"]) * 1_000_000),
                int(row["total_null"]),
            )
            for row in csv.DictReader(lines)
        ]


def anchor_day(directory: Path) -> date:
    """The day the journeys end on: chosen once and kept, so that every run publishes the same records."""
    file = directory / "demo-day"
    if not file.exists():
        directory.mkdir(parents=True, exist_ok=True)
        file.write_text((datetime.now(UTC).date() - timedelta(days=1)).isoformat())
    return date.fromisoformat(file.read_text().strip())


def expand(paths: Sequence[AggregatedPath], anchor: date) -> tuple[pa.Table, pa.Table]:
    """Clicks and conversions of every journey, as tables of the contract.

    Ids come from the row number and the number of the journey in it, since paths repeat. A row's value is
    divided over its conversions by largest remainder: the first ones get the micro that is left.
    """
    lengths = np.array([len(path.channels) for path in paths])
    converting = np.array([path.conversions for path in paths])
    journeys = converting + np.array([path.nulls for path in paths])

    row = np.repeat(np.arange(len(paths)), journeys)
    number = np.arange(len(row)) - np.repeat(np.cumsum(journeys) - journeys, journeys)
    visitor = np.char.add(np.char.add(np.char.mod("v%d", row), "-"), number.astype(str))
    anchor_ms = int(datetime(anchor.year, anchor.month, anchor.day, tzinfo=UTC).timestamp() * 1000)
    # Spread evenly, by a stride that has no factor in common with the number of minutes.
    start_ms = (
        anchor_ms - (4 + SPREAD_DAYS) * 24 * HOUR_MS + (np.arange(len(row)) * 7919 % (SPREAD_DAYS * 24 * 60)) * 60_000
    )

    length = lengths[row]
    journey = np.repeat(np.arange(len(row)), length)
    step = np.arange(len(journey)) - np.repeat(np.cumsum(length) - length, length)
    first_channel = np.cumsum(lengths) - lengths
    channels = np.array([channel for path in paths for channel in path.channels])
    clicks = _table(
        visitor[journey],
        start_ms[journey] + step * HOUR_MS,
        click_id=np.char.add(np.char.add(visitor[journey], "-"), step.astype(str)),
        channel=channels[first_channel[row[journey]] + step],
        campaign_id=np.char.add("campaign-", channels[first_channel[row[journey]] + step]),
    )

    converts = number < converting[row]
    value = np.array([path.value_micros for path in paths])[row[converts]]
    count = converting[row[converts]]
    conversions = _table(
        visitor[converts],
        start_ms[converts] + length[converts] * HOUR_MS,
        conversion_id=np.char.add("c", visitor[converts]),
        event_name=np.full(int(converts.sum()), "Purchase"),
        value_micros=value // count + (number[converts] < value % count),
        currency=np.full(int(converts.sum()), CURRENCY),
    )
    return clicks, conversions


def _table(visitor: np.ndarray, event_ms: np.ndarray, **columns: np.ndarray) -> pa.Table:
    rows = len(visitor)
    return pa.table(
        {
            "account_id": pa.array(np.full(rows, ACCOUNT)),
            "visitor_id": pa.array(visitor),
            "event_time": pa.array(event_ms, pa.timestamp("ms")),
            "consent": pa.array(np.full(rows, "granted")),
            "limited_data_use": pa.array(np.zeros(rows, np.bool_)),
            **{name: pa.array(values) for name, values in columns.items()},
        }
    )
