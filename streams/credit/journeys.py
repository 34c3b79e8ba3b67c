"""An account's journeys as ClickHouse has them."""

from processors.credit.journeys import Journeys, PathOutcome, count_journeys
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.path_counts import Period, path_counts
from streams.settings import Settings

__all__ = ["SOURCES", "period_until", "read_journeys"]

DAY_MS = 86_400_000
#: The topics whose tables journeys are counted from.
SOURCES = ("clicks", "attributed-conversions")


def period_until(settings: Settings, until_ms: int) -> Period:
    """The period of the settings that ends at a time."""
    return Period(until_ms - settings.credit.period_d * DAY_MS, until_ms)


def read_journeys(
    clickhouse: ClickHouse, settings: Settings, account_id: str, event_name: str, period: Period
) -> Journeys:
    """The journeys of an account that ended in a period. Raises Unavailable, Refused."""
    lookback_s = settings.retention().lookback_of(account_id)
    found = path_counts(clickhouse, account_id, event_name, period, lookback_s)
    paths, currencies, *numbers = (column.to_pylist() for column in found.columns)
    return count_journeys(
        PathOutcome(tuple(path), currency, *map(int, counts))
        for path, currency, *counts in zip(paths, currencies, *numbers, strict=True)
    )
