"""How far ClickHouse has read topics."""

from collections.abc import Mapping
from typing import NamedTuple

from sinks.clickhouse.client import ClickHouse

__all__ = ["Cut", "read_cut"]


class Cut(NamedTuple):
    """A partition of which all records before `end_offset` are loaded."""

    topic: str
    topic_id: str
    partition: int
    end_offset: int


def read_cut(clickhouse: ClickHouse, topic_ids: Mapping[str, str]) -> list[Cut]:
    """How far these topics are loaded, by partition. `topic_ids` are Kafka's, by contract.

    Raises Unavailable, Refused.
    """
    ids = ", ".join(f"'{topic_id}'" for topic_id in topic_ids.values())
    found = clickhouse.query(
        "SELECT toString(topic) AS topic, toString(topic_id) AS topic_id, partition, max(end_offset) AS end_offset "
        f"FROM load_progress WHERE topic_id IN ({ids}) "
        "GROUP BY topic, topic_id, partition ORDER BY topic, partition"
    )
    return [Cut(**row) for row in found.to_pylist()]
