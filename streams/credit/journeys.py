"""An account's journeys as ClickHouse has them, and how far it has read the topics they come from."""

from collections.abc import Mapping
from typing import NamedTuple

from processors.credit.journeys import Journeys, PathOutcome, count_journeys
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.path_counts import Period, path_counts
from streams.settings import Settings

__all__ = ["SOURCES", "Cut", "period_until", "read_cut", "read_journeys"]

DAY_MS = 86_400_000
#: The topics whose tables journeys are counted from.
SOURCES = ("clicks", "attributed-conversions")


class Cut(NamedTuple):
    """A partition of which all records before `end_offset` are loaded."""

    topic: str
    topic_id: str
    partition: int
    end_offset: int


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


def read_cut(clickhouse: ClickHouse, topic_ids: Mapping[str, str]) -> list[Cut]:
    """How far SOURCES are loaded, by partition. `topic_ids` are Kafka's, by contract. Raises Unavailable, Refused."""
    ids = ", ".join(f"'{topic_ids[contract]}'" for contract in SOURCES)
    found = clickhouse.query(
        "SELECT toString(topic) AS topic, toString(topic_id) AS topic_id, partition, max(end_offset) AS end_offset "
        f"FROM load_progress WHERE topic_id IN ({ids}) "
        "GROUP BY topic, topic_id, partition ORDER BY topic, partition"
    )
    return [Cut(**row) for row in found.to_pylist()]
