"""Records into tables as the loader does it."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

from schemas.definitions import arrow_schema, definition, from_records
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import table_name, to_rows


@cache
def columns_of(database: str, clickhouse: ClickHouse, topic: str) -> frozenset[str]:
    sql = (
        "SELECT name FROM system.columns WHERE default_kind IN ('', 'DEFAULT') "
        f"AND database = '{database}' AND table = '{table_name(topic)}'"
    )
    return frozenset(clickhouse.query(sql).column("name").to_pylist())


def load(
    clickhouse: ClickHouse,
    topic: str,
    records: Sequence[Mapping[str, Any]],
    token: str,
    ingest_ms: Sequence[int] | None = None,
    partition: int = 0,
) -> None:
    """Insert records, completed with the contract's defaults, at offsets from 0."""
    contract = definition(topic)
    batch = from_records([{**contract.defaults, **record} for record in records], arrow_schema(contract.text))
    count = len(records)
    times = np.array(ingest_ms if ingest_ms is not None else [0] * count, np.int64)
    columns = columns_of(clickhouse.database, clickhouse, topic)
    rows = to_rows(batch, columns, partition, np.arange(count), times)
    clickhouse.insert(table_name(topic), rows, token)
