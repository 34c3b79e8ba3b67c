"""An empty copy of a table to try rows on: it refuses what the table's definition refuses, and keeps nothing."""

import hashlib

import pyarrow as pa

from sinks.clickhouse.client import ClickHouse

__all__ = ["NullTwin"]

COMMENT = "of the loader, which tries rows of a refused block on it: holds nothing, may be dropped"


class NullTwin:
    """The Null-engine twin of `table` for the block of this token, of which there is one, also after a crash.

    Columns, defaults, materialized columns and constraints are the table's. What is attached to the table (views,
    projections) and what only its engine does (keys, partitions) is not there.
    """

    def __init__(self, clickhouse: ClickHouse, table: str, token: str) -> None:
        self._clickhouse = clickhouse
        self._table = table
        self._token = token
        self.name = f"{table}_null_twin_{hashlib.sha256(token.encode()).hexdigest()[:16]}"

    def create(self) -> None:
        """Make it as the table is now. Raises Unavailable, Refused."""
        self._clickhouse.command(
            f"CREATE OR REPLACE TABLE {self.name} AS {self._table} ENGINE = Null COMMENT '{COMMENT}'"
        )

    def insert(self, rows: pa.Table) -> None:
        """Try rows. Raises Unavailable, Refused."""
        self._clickhouse.insert(self.name, rows, self._token)

    def drop(self) -> None:
        """Leave nothing behind. Raises Unavailable, Refused."""
        self._clickhouse.command(f"DROP TABLE IF EXISTS {self.name}")
