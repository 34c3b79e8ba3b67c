"""What commands print: results, tables, times, and text that came from somebody's records."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import click
import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["RESULT_FORMATS", "error_console", "moment", "plain", "print_result", "print_table"]

#: Where no terminal has to hold it, a line is as long as it has to be.
PIPE_WIDTH = 500
MAX_TABLE_ROWS = 1_000


def print_table(table: Table) -> None:
    """Print a table to the standard output, whole where that is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(table)


def error_console() -> Console:
    """For progress, which is not part of the answer."""
    return Console(stderr=True)


def moment(time_ms: int) -> str:
    """A time in UTC, to the second.

    >>> moment(1_750_000_000_123)
    '2025-06-15T15:06:40Z'
    """
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(text: str | None) -> Text:
    """Text as it is: neither markup nor anything a terminal would obey.

    >>> plain("[red]a\\x1b[2J")
    <text '[red]a�[2J' [] ''>
    """
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text or ""))


def print_result(found: pa.Table, form: str) -> None:
    """Print a result in one of RESULT_FORMATS."""
    _PRINTERS[form](found)


def _print_as_table(found: pa.Table) -> None:
    table = Table(*found.column_names)
    for row in found.slice(0, MAX_TABLE_ROWS).to_pylist():
        table.add_row(*("" if value is None else plain(str(value)) for value in row.values()))
    print_table(table)
    if found.num_rows > MAX_TABLE_ROWS:
        click.echo(f"{found.num_rows - MAX_TABLE_ROWS} more rows; --format csv prints all", err=True)


def _print_json(found: pa.Table) -> None:
    for row in found.to_pylist():
        click.echo(json.dumps(row, default=str, ensure_ascii=False))


def _print_csv(found: pa.Table) -> None:
    flat: list[Any] = [
        column.cast(pa.string())
        if not pa.types.is_nested(column.type)
        else pa.array([str(v) for v in column.to_pylist()])
        for column in found.columns
    ]
    pa.csv.write_csv(pa.table(flat, names=found.column_names), sys.stdout.buffer)


def _print_arrow(found: pa.Table) -> None:
    with pa.ipc.new_stream(sys.stdout.buffer, found.schema) as stream:
        stream.write_table(found)


_PRINTERS = {"table": _print_as_table, "json": _print_json, "csv": _print_csv, "arrow": _print_arrow}
RESULT_FORMATS = tuple(_PRINTERS)
