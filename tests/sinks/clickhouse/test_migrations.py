import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrations import Migration, MigrationError, apply, statements
from sinks.errors import Refused

FIRST = Migration("0001_a.sql", "CREATE TABLE IF NOT EXISTS a (n Int64 COMMENT 'one; of many') ENGINE = Log;\n")
SECOND = Migration("0002_b.sql", "-- b; and more\nCREATE TABLE IF NOT EXISTS b AS a;\n\n-- the end;\n")

CREATED = re.compile(r"^CREATE (?:OR REPLACE )?(?:TABLE|VIEW|MATERIALIZED VIEW) (?:IF NOT EXISTS )?(\w+)", re.MULTILINE)


def table_names(clickhouse: ClickHouse) -> list[str]:
    found = clickhouse.query("SHOW TABLES").column("name").to_pylist()
    return sorted(found)


def test_each_is_applied_once_in_the_order_of_names(clickhouse: ClickHouse) -> None:
    assert apply(clickhouse, [SECOND, FIRST]) == ["0001_a.sql", "0002_b.sql"]
    assert table_names(clickhouse) == ["a", "b", "schema_migrations"]
    clickhouse.command("DROP TABLE b")
    assert apply(clickhouse, [FIRST, SECOND]) == []
    assert table_names(clickhouse) == ["a", "schema_migrations"]


def test_what_is_new_is_added(clickhouse: ClickHouse) -> None:
    apply(clickhouse, [FIRST])
    assert apply(clickhouse, [FIRST, SECOND]) == ["0002_b.sql"]


def test_a_changed_file_is_refused_and_nothing_after_it_applied(clickhouse: ClickHouse) -> None:
    apply(clickhouse, [FIRST])
    changed = FIRST._replace(sql=FIRST.sql + " ")
    with pytest.raises(MigrationError, match=r"0001_a\.sql was changed after it had been applied"):
        apply(clickhouse, [changed, SECOND])
    assert table_names(clickhouse) == ["a", "schema_migrations"]


def test_one_that_fails_is_tried_again(clickhouse: ClickHouse) -> None:
    broken = SECOND._replace(sql="CREATE TABLE IF NOT EXISTS b AS a; CREATE TABLE c AS nothing;")
    with pytest.raises(Refused):
        apply(clickhouse, [FIRST, broken])
    assert apply(clickhouse, [FIRST, SECOND]) == ["0002_b.sql"]


def test_two_at_once_do_no_harm(clickhouse_url: str, clickhouse: ClickHouse, ddl: list[Migration]) -> None:
    def migrate() -> list[str]:
        with ClickHouse(clickhouse_url, database=clickhouse.database) as connection:
            return apply(connection, ddl)

    with ThreadPoolExecutor(3) as threads:
        done = [run.result() for run in [threads.submit(migrate) for _ in range(3)]]
    assert set().union(*done) == {migration.name for migration in ddl}
    assert apply(clickhouse, ddl) == []
    known = clickhouse.query("SELECT name FROM schema_migrations FINAL ORDER BY name").column("name").to_pylist()
    assert known == sorted(migration.name for migration in ddl)


def test_every_statement_of_ours_may_be_repeated(clickhouse: ClickHouse, ddl: list[Migration]) -> None:
    """A loader that dies between two statements begins the file again."""
    for _ in range(2):
        for migration in sorted(ddl):
            for statement in statements(migration.sql):
                clickhouse.command(statement)
    named = {name for migration in ddl for name in CREATED.findall(migration.sql)}
    assert set(table_names(clickhouse)) == named


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("", []),
        (" \n;;\n ; ", []),
        ("-- only; a comment", []),
        ("/* one;\ntwo; */;", []),
        ("SELECT 1", ["SELECT 1"]),
        ("SELECT 1;SELECT 2;", ["SELECT 1", "SELECT 2"]),
        ("SELECT ';'; SELECT 2", ["SELECT ';'", " SELECT 2"]),
        ("SELECT 'it''s; one'; x", ["SELECT 'it''s; one'", " x"]),
        (r"SELECT 'a\';b'; x", [r"SELECT 'a\';b'", " x"]),
        ('SELECT "a;b", `c;d`; x', ['SELECT "a;b", `c;d`', " x"]),
        ("SELECT 1 -- it's; one\n+ 1; x", ["SELECT 1 -- it's; one\n+ 1", " x"]),
        ("SELECT 1 /* it's; \n one */ + 1; x", ["SELECT 1 /* it's; \n one */ + 1", " x"]),
        ("SELECT 3 - 1 / 2; x", ["SELECT 3 - 1 / 2", " x"]),
    ],
)
def test_statements(sql: str, expected: list[str]) -> None:
    assert statements(sql) == expected
