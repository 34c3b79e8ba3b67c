"""chdb behind the few things ClickHouse's HTTP interface asks of a server."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any
from urllib.parse import urlencode

from chdb.state.sqlitelike import Connection

from deploy.local.clickhouse_server.statement import DataInsert, result_format, split_insert

__all__ = ["Engine", "Query", "QueryError", "Result"]

MEGABYTE = 1 << 20

# What a server has by default and the library does not, and the memory a laptop can spare: an analyst's query
# that needs more fails by itself before it takes what the inserts need.
ENGINE_SETTINGS = {
    "implicit_select": 0,
    "allow_introspection_functions": 0,
    "max_memory_usage": 2048 * MEGABYTE,
    "max_server_memory_usage": 4096 * MEGABYTE,
    "mark_cache_size": 256 * MEGABYTE,
    "primary_index_cache_size": 256 * MEGABYTE,
    "index_mark_cache_size": 64 * MEGABYTE,
    "compiled_expression_cache_size": 64 * MEGABYTE,
}

_SETTING_NAME = re.compile(r"[A-Za-z_]\w*")
# The name stands in the last parentheses after a full stop; others are part of the text.
_CODE = re.compile(r"Code: (\d+)\. DB::.*\. \(([A-Z0-9_]+)\)", re.DOTALL)


@dataclass(frozen=True)
class Query:
    """One request: statement and insert data in `text`, with what holds for it alone."""

    text: bytes
    database: str | None
    settings: Mapping[str, str]
    parameters: Mapping[str, str]
    """Values of `{name:Type}` in the statement."""
    default_format: str


@dataclass(frozen=True)
class Result:
    """What a query returned; `format` is None if it returns no rows by its nature."""

    body: bytes
    format: str | None
    summary: Mapping[str, int]


class QueryError(Exception):
    """ClickHouse refused: its text, its numeric code and the code's name."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        found = _CODE.search(text)
        self.code = int(found[1]) if found else 1001
        self.name = found[2] if found else "STD_EXCEPTION"


class Engine:
    """The engine over one data path, of which a process can have one and a path can have one.

    Thread-safe: every query runs on a connection of its own, so that none waits for another and settings and
    the current database end with it. Opening one takes about a millisecond.
    """

    def __init__(self, path: Path) -> None:
        self._source = f"{path}?{urlencode(ENGINE_SETTINGS)}"
        # The engine lives while any connection is open.
        self._anchor = Connection(self._source)
        facts = self._anchor.query("SELECT version(), timezone()", "TSV").bytes().decode()
        version, self.timezone = facts.split()
        self._version = f"(version {version})"

    def execute(self, query: Query) -> Result:
        """Run one query to its end. Raises QueryError."""
        connection = Connection(self._source)
        try:
            return self._execute(connection, query)
        # chdb raises RuntimeError itself and a subclass of Exception, both with ClickHouse's text.
        except Exception as error:
            raise QueryError(self._clickhouse_text(error)) from error
        finally:
            connection.close()

    def cancel_reads(self) -> None:
        """End the SELECT queries that run; their callers get QUERY_WAS_CANCELLED."""
        self._anchor.query("KILL QUERY WHERE query_kind = 'Select' SYNC", "Null")

    def close(self) -> None:
        """Close the data path; other connections must be done."""
        self._anchor.close()

    def _execute(self, connection: Connection, query: Query) -> Result:
        if query.database:
            connection.query(f"USE {_quoted(query.database, '`')}", "Null")
        if query.settings:
            connection.query(f"SET {_assignments(query.settings)}", "Null")
        insert = split_insert(query.text)
        return _insert(connection, insert) if insert else _run(connection, query)

    def _clickhouse_text(self, error: Exception) -> str:
        message = str(error)
        text = message[max(message.find("Code: "), 0) :].strip()
        return text if "(version " in text else f"{text} {self._version}"


def _insert(connection: Connection, insert: DataInsert) -> Result:
    """By way of a file: chdb's streaming insert reports success for rows that a constraint or a view refuses."""
    with NamedTemporaryFile() as file:
        file.write(insert.data)
        file.flush()
        done = connection.query(insert.from_file(file.name), "Null")
    return Result(b"", None, _summary(done))


def _run(connection: Connection, query: Query) -> Result:
    result = connection.query(query.text, query.default_format, params=dict(query.parameters))
    return Result(result.bytes(), result_format(query.text, query.default_format), _summary(result))


def _summary(result: Any) -> dict[str, int]:
    return {
        "read_rows": result.storage_rows_read(),
        "read_bytes": result.storage_bytes_read(),
        "written_rows": result.rows_written(),
        "written_bytes": result.bytes_written(),
        "result_rows": result.rows_read(),
        "result_bytes": result.bytes_read(),
        "elapsed_ns": int(result.elapsed() * 1e9),
    }


def _assignments(settings: Mapping[str, str]) -> str:
    for name in settings:
        if not _SETTING_NAME.fullmatch(name):
            raise ValueError(f"Code: 115. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)")
    return ", ".join(f"{name} = {_quoted(value, chr(39))}" for name, value in settings.items())


def _quoted(text: str, quote: str) -> str:
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    return f"{quote}{escaped}{quote}"
