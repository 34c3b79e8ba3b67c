"""The endpoint finds where a statement ends and its data begins."""

import doctest

import pytest

from deploy.local.clickhouse_server import statement, status


def test_the_examples_hold() -> None:
    assert doctest.testmod(statement).failed == 0
    assert doctest.testmod(status).failed == 0


@pytest.mark.parametrize(
    ("text", "before", "form", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\x00\x01", ("INSERT INTO t ", ""), "Native", b"\x00\x01"),
        (b"insert into t format CSV 1,2", ("insert into t ", ""), "CSV", b"1,2"),
        (b"INSERT INTO t FORMAT Arrow\r\n\n", ("INSERT INTO t ", ""), "Arrow", b"\n"),
        (b"INSERT INTO t FORMAT TSV", ("INSERT INTO t ", ""), "TSV", b""),
        (
            b'-- from FORMAT x\n/* SELECT */ INSERT INTO t (`values`, "from") FORMAT TSV\nSELECT',
            None,
            "TSV",
            b"SELECT",
        ),
        (
            b"INSERT INTO t SETTINGS log_comment='a FORMAT b' FORMAT TSV\n1",
            ("INSERT INTO t ", "SETTINGS log_comment='a FORMAT b' "),
            "TSV",
            b"1",
        ),
    ],
)
def test_inserts_with_data(text: bytes, before: tuple[str, str] | None, form: str, data: bytes) -> None:
    insert = statement.split_insert(text)
    assert insert is not None
    assert (insert.format, bytes(insert.data)) == (form, data)
    assert before is None or (insert.target, insert.settings) == before


@pytest.mark.parametrize(
    "text",
    [
        b"SELECT 'INSERT INTO t FORMAT CSV'",
        b"INSERT INTO t VALUES (1)",
        b"INSERT INTO t SELECT 1 FORMAT CSV",
        b"INSERT INTO t FROM INFILE 'x' FORMAT CSV",
        b"",
    ],
)
def test_statements_without_data(text: bytes) -> None:
    assert statement.split_insert(text) is None


@pytest.mark.parametrize(
    ("text", "form"),
    [
        (b"SELECT 1", "TSV"),
        (b"(SELECT 1) UNION ALL SELECT 2\n FORMAT Native", "Native"),
        (b"SELECT 1 FORMAT JSON SETTINGS max_threads = 1;", "JSON"),
        (b"SHOW TABLES", "TSV"),
        (b"ALTER TABLE t DROP COLUMN a", None),
        (b"INSERT INTO t SELECT 1", None),
    ],
)
def test_result_format(text: bytes, form: str | None) -> None:
    assert statement.result_format(text, "TSV") == form
