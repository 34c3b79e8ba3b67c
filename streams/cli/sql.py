"""`spendloop sql "..."`: a question to ClickHouse."""

import click

from streams.cli.output import print_result
from streams.cli.parameters import format_option
from streams.clickhouse import connect
from streams.settings import load_settings

__all__ = ["sql"]


@click.command()
@click.argument("query")
@format_option
def sql(query: str, form: str) -> None:
    """Run QUERY and print its result; json is one object a line, arrow an IPC stream."""
    with connect(load_settings()) as clickhouse:
        found = clickhouse.query(query)
    print_result(found, form)
