"""`spendloop identity`: who is taken for the same person, and taking it apart."""

from datetime import UTC, datetime

import click
from rich.table import Table

from streams.cli.output import moment, plain, print_table
from streams.settings import load_settings

__all__ = ["identity"]


@click.group()
def identity() -> None:
    """Who is taken for the same person. IDENTIFIER is FIELD=VALUE, such as visitor_id=v-1 or email=jo@example.com."""


@identity.command()
@click.argument("account")
@click.argument("identifier")
def show(account: str, identifier: str) -> None:
    """The person who has IDENTIFIER, the links that say so, and those that were refused or taken back."""
    from streams.clickhouse import connect
    from streams.identity import neighbourhood, parse_identifier

    asked = parse_identifier(identifier)
    with connect(load_settings()) as clickhouse:
        found = neighbourhood(clickhouse, account, asked)
    for name in sorted(map(str, found.person)):
        click.echo(plain(name).plain)
    table = Table("seen together", "first", "second", "")
    for fact in found.links:
        table.add_row(moment(fact.link.event_ms), *_names(fact.link.first, fact.link.second), "")
    for link in found.refused:
        table.add_row(moment(link.event_ms), *_names(link.first, link.second), "refused: two people")
    for fact in found.removed:
        table.add_row(moment(fact.link.event_ms), *_names(fact.link.first, fact.link.second), "taken back until then")
    print_table(table)


@identity.command()
@click.argument("account")
@click.argument("first")
@click.argument("second")
def unlink(account: str, first: str, second: str) -> None:
    """Say that FIRST and SECOND are not the same person's.

    What joined them until today does not count any more; conversions that are not too old are attributed anew. Seen
    together again tomorrow, they are the same person's again.
    """
    from streams import identity as graph

    names = graph.parse_identifier(first), graph.parse_identifier(second)
    graph.unlink(load_settings(), account, *names, datetime.now(UTC))
    click.echo("taken apart; the attribution role works on it next")


def _names(*names: str) -> list[str]:
    from streams.identity import named

    return [plain(str(named(name))).plain for name in names]
