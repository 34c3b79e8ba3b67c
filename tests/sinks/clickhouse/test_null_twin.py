import pyarrow as pa
import pytest

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.null_twin import NullTwin
from sinks.errors import Refused

TABLE = (
    "CREATE TABLE t (n Int64, twice Int64 MATERIALIZED n * 2, CONSTRAINT small CHECK twice < 10) "
    "ENGINE = ReplacingMergeTree PARTITION BY n % 2 ORDER BY n"
)


@pytest.fixture
def twin(clickhouse: ClickHouse) -> NullTwin:
    clickhouse.command(TABLE)
    twin = NullTwin(clickhouse, "t", "topic-id_-1-2-3")
    twin.create()
    return twin


def rows(*numbers: int) -> pa.Table:
    return pa.table({"n": pa.array(numbers, pa.int64())})


def names(clickhouse: ClickHouse) -> list[str]:
    return sorted(clickhouse.query("SHOW TABLES").column("name").to_pylist())


def test_it_refuses_what_the_table_refuses_and_keeps_nothing(clickhouse: ClickHouse, twin: NullTwin) -> None:
    twin.insert(rows(1, 4))
    with pytest.raises(Refused, match="VIOLATED_CONSTRAINT"):
        twin.insert(rows(1, 5))
    for table in ("t", twin.name):
        assert clickhouse.query(f"SELECT count() AS n FROM {table}").to_pylist() == [{"n": 0}]


def test_it_is_made_anew_as_the_table_is_now_and_leaves_nothing(clickhouse: ClickHouse, twin: NullTwin) -> None:
    clickhouse.command("ALTER TABLE t DROP CONSTRAINT small")
    again = NullTwin(clickhouse, "t", "topic-id_-1-2-3")
    again.create()
    again.insert(rows(5))
    assert names(clickhouse) == sorted(["t", twin.name])
    again.drop()
    again.drop()
    assert names(clickhouse) == ["t"]


def test_each_block_has_its_own_that_says_what_it_is(clickhouse: ClickHouse, twin: NullTwin) -> None:
    other = NullTwin(clickhouse, "t", "topic-id_-1-2-4")
    other.create()
    twin.drop()
    other.insert(rows(1))
    found = clickhouse.query(f"SELECT comment FROM system.tables WHERE name = '{other.name}'")
    assert "may be dropped" in found.column("comment")[0].as_py()
