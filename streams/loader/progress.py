"""load_progress: how far each partition is loaded, by the loader's own account."""

from collections.abc import Collection, Mapping

from sinks.clickhouse.client import ClickHouse

__all__ = ["forget_beyond", "loaded_until"]


def loaded_until(clickhouse: ClickHouse, topic_ids: Collection[str]) -> dict[tuple[str, int], int]:
    """Where the loaded records of these topics end, by topic id and partition. Raises Unavailable, Refused."""
    ids = ", ".join(f"'{topic_id}'" for topic_id in topic_ids)
    found = clickhouse.query(
        "SELECT topic_id, partition, max(end_offset) AS end_offset FROM load_progress "
        f"WHERE topic_id IN ({ids}) GROUP BY topic_id, partition"
    )
    return {(row["topic_id"], row["partition"]): row["end_offset"] for row in found.to_pylist()}


def forget_beyond(clickhouse: ClickHouse, topic_id: str, log_ends: Mapping[int, int]) -> None:
    """Forget what was loaded from behind the log's end, where other records will be. Raises Unavailable, Refused."""
    beyond = [f"(partition = {number} AND end_offset > {end})" for number, end in log_ends.items()]
    if beyond and clickhouse.command("EXISTS TABLE load_progress"):
        clickhouse.command(f"DELETE FROM load_progress WHERE topic_id = '{topic_id}' AND ({' OR '.join(beyond)})")
