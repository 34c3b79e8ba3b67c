import socket
import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

from deploy.local.processes import free_ports
from sinks.clickhouse.client import PASSING, ClickHouse
from sinks.errors import Refused, Unavailable

TABLE = "CREATE TABLE t (n Int64, day Date32) ENGINE = MergeTree ORDER BY n SETTINGS {}"
WINDOW = "non_replicated_deduplication_window = 100"


def rows(*numbers: int, day: int = 0) -> pa.Table:
    days = pa.array([day] * len(numbers), pa.int32()).cast(pa.date32())
    return pa.table({"n": pa.array(numbers, pa.int64()), "day": days})


def count(clickhouse: ClickHouse) -> int:
    found: int = clickhouse.query("SELECT count() AS n FROM t").column("n")[0].as_py()
    return found


def test_a_block_is_inserted_once_a_token(clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(WINDOW))
    clickhouse.insert("t", rows(1, 2), "one")
    clickhouse.insert("t", rows(1, 2), "one")
    assert count(clickhouse) == 2
    clickhouse.insert("t", rows(1, 2), "two")
    assert count(clickhouse) == 4


def test_a_token_holds_for_all_the_months_of_a_block(clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(WINDOW).replace("ORDER BY", "PARTITION BY toYYYYMM(day) ORDER BY"))
    block = pa.concat_tables([rows(month, day=31 * month) for month in range(12)])
    clickhouse.insert("t", block, "one")
    clickhouse.insert("t", block, "one")
    assert count(clickhouse) == 12


def test_queries_answer_in_arrow(clickhouse: ClickHouse) -> None:
    found = clickhouse.query("SELECT 1 AS a, 'x' AS b")
    assert (found.to_pylist(), found.schema.field("b").type) == ([{"a": 1, "b": "x"}], pa.string())


def test_the_database_is_made_once(clickhouse_url: str, clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(WINDOW))
    with ClickHouse(clickhouse_url, database=clickhouse.database) as again:
        assert count(again) == 0


def test_a_closed_port_is_an_outage() -> None:
    with pytest.raises(Unavailable, match="ClickHouse cannot serve now"):
        ClickHouse(f"http://127.0.0.1:{free_ports(1)[0]}", database="x")


def test_a_bad_statement_is_refused_in_the_servers_words(clickhouse: ClickHouse) -> None:
    with pytest.raises(Refused, match="ClickHouse refused: Syntax error") as caught:
        clickhouse.query("SELEC 1")
    assert "\n" not in str(caught.value)
    with pytest.raises(Refused, match="Unknown table expression identifier 'nowhere'"):
        clickhouse.query("SELECT * FROM nowhere")


def test_an_outage_in_the_servers_words(clickhouse: ClickHouse) -> None:
    with pytest.raises(Unavailable, match=r"cannot serve now: .*memory limit"):
        clickhouse.query("SELECT groupArray(number) FROM numbers(10000000) SETTINGS max_memory_usage = 1000000")


def test_too_many_parts_are_waited_out(clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(f"{WINDOW}, parts_to_delay_insert = 1, parts_to_throw_insert = 1"))
    clickhouse.command("SYSTEM STOP MERGES t")
    insert = "INSERT INTO t SETTINGS async_insert = 0 VALUES (1, 1)"
    clickhouse.command(insert)
    with pytest.raises(Unavailable, match="cannot serve now: Too many parts"):
        clickhouse.command(insert)


def test_what_is_waited_out_are_errors_that_clickhouse_has(clickhouse: ClickHouse) -> None:
    found = clickhouse.query("SELECT errorCodeToName(toInt32(number)) AS name FROM numbers(1200)")
    assert set(found.column("name").to_pylist()) >= PASSING


def test_a_block_is_one_part_whatever_its_size_also_where_it_is_empty(clickhouse: ClickHouse) -> None:
    """A token stands for a block as a whole only where ClickHouse does not cut it up."""
    clickhouse.command(TABLE.format(WINDOW))
    clickhouse.command("SYSTEM STOP MERGES t")
    many = pa.table({"n": range(1_200_000), "day": pa.array([0] * 1_200_000, pa.int32()).cast(pa.date32())})
    in_pieces = pa.concat_tables([many.slice(0, 400_000), many.slice(400_000)])
    assert in_pieces.column("n").num_chunks == 2
    clickhouse.insert("t", in_pieces, "one")
    clickhouse.insert("t", many.slice(0, 0), "two")
    parts = f"SELECT rows FROM system.parts WHERE database = '{clickhouse.database}' AND active"
    assert clickhouse.query(parts).column("rows").to_pylist() == [1_200_000]
    with pytest.raises(Refused, match="NO_SUCH_COLUMN_IN_TABLE"):
        clickhouse.insert("t", rows(1).append_column("more", pa.array([1])).slice(0, 0), "three")


def test_a_refusal_names_its_reason_and_the_view_it_comes_from(clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(WINDOW))
    clickhouse.command(
        "CREATE MATERIALIZED VIEW picky (n Int64) ENGINE = Null AS SELECT n FROM t WHERE NOT throwIf(n = 7, 'seven')"
    )
    with pytest.raises(Refused, match=rf"\(code 395\) in the view {clickhouse.database}\.picky$") as caught:
        clickhouse.insert("t", rows(7), "one")
    assert caught.value.reason == "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"


def test_a_repeated_block_reaches_a_view_once(clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(WINDOW))
    clickhouse.command(f"CREATE TABLE sums (n Int64) ENGINE = MergeTree ORDER BY n SETTINGS {WINDOW}")
    clickhouse.insert("t", rows(1, 2), "one")
    clickhouse.command("CREATE MATERIALIZED VIEW summing TO sums AS SELECT sum(n) AS n FROM t")
    for _ in range(3):
        clickhouse.insert("t", rows(1, 2), "one")
    assert count(clickhouse) == 2
    assert clickhouse.query("SELECT n FROM sums").to_pylist() == [{"n": 3}], "it did not have the block yet"


def test_a_refused_block_says_nothing_of_its_rows(clickhouse: ClickHouse) -> None:
    clickhouse.command(TABLE.format(WINDOW))
    with pytest.raises(Refused, match="VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE") as caught:
        clickhouse.insert("t", rows(1, day=2_123_456_789), "one")
    assert "2123456789" not in str(caught.value)
    # A traceback would print an original error with ours.
    assert caught.value.__suppress_context__
    with pytest.raises(Refused, match="NO_SUCH_COLUMN_IN_TABLE"):
        clickhouse.insert("t", rows(1).append_column("more", pa.array([1])), "two")


@pytest.fixture
def gateway() -> Iterator[str]:
    """A proxy whose server is away."""
    answer = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 7\r\nConnection: close\r\n\r\nnothing"
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(65_536)
                    connection.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_proxy_without_its_server_is_an_outage(gateway: str) -> None:
    with pytest.raises(Unavailable, match="502"):
        ClickHouse(gateway, database="x")
