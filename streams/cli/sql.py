"""`spendloop sql "..."`: a question to ClickHouse."""

import sys
from typing import Any

import click
import pyarrow as pa
import pyarrow.csv
from rich.console import Console
from rich.table import Table

from streams.clickhouse import connect
from streams.settings import load_settings

__all__ = ["sql"]

MAX_TABLE_ROWS = 1_000


@click.command()
@click.argument("query")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "arrow"]),
    default="table",
    show_default=True,
)
def sql(query: str, form: str) -> None:
    """Run QUERY and print its result; json is one object a line, arrow an IPC stream."""
    with connect(load_settings()) as clickhouse:
        found = clickhouse.query(query)
    PRINTERS[form](found)


def _print_table(found: pa.Table) -> None:
    table = Table(*found.column_names)
    for row in found.slice(0, MAX_TABLE_ROWS).to_pylist():
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    Console().print(table)
    if found.num_rows > MAX_TABLE_ROWS:
        click.echo(f"{found.num_rows - MAX_TABLE_ROWS} more rows; --format csv prints all", err=True)


def _print_json(found: pa.Table) -> None:
    import json

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


PRINTERS = {"table": _print_table, "json": _print_json, "csv": _print_csv, "arrow": _print_arrow}
