"""`spendloop topics apply|accept`: topics and schemas as the contract says, and going on with a topic created anew."""

import click
from rich.console import Console
from rich.table import Table

from streams import accept as acceptance
from streams.admin import apply_topics
from streams.cli.output import plain, print_table
from streams.cli.parameters import RoleName
from streams.roles import ROLES, Role
from streams.settings import load_settings

__all__ = ["topics"]


@click.group()
def topics() -> None:
    """Create topics, register schemas, go on with a topic that was created anew."""


@topics.command("apply")
def apply() -> None:
    """Create what is missing; refuse what would break readers or move keys. May be repeated."""
    table = Table("topic", "partitions", "", "new schema versions")
    for item in apply_topics(load_settings()):
        table.add_row(item.topic, str(item.partitions), "created" if item.created else "", str(item.new_versions or ""))
    Console().print(table)


@topics.command("accept")
@click.argument("topic", type=click.Choice(sorted({name for role in ROLES.values() for name in role.reads})))
@click.option("--role", "role_name", type=RoleName(), help="Only this role.  [default: every role that reads TOPIC]")
@click.option("--yes", is_flag=True, help="Do not ask.")
def accept(topic: str, role_name: str | None, yes: bool) -> None:
    """Go on with TOPIC where a role cannot: it was created anew, or retention removed what was not yet processed.

    Says what is lost, and lets the role begin at the oldest record. Every process of the role has to be stopped.
    """
    roles = _readers(topic, role_name)
    settings = load_settings()
    acceptance.require_stopped(settings, roles)
    found = acceptance.standings(settings, topic, roles)
    table = Table("role", "partition", topic)
    for item in found:
        table.add_row(item.role.name, str(item.partition), plain(item.says))
    print_table(table)
    if all(item.start is None for item in found):
        click.echo("every partition goes on where it was: there is nothing to accept")
        return
    if not yes:
        click.confirm("Go on like this?", abort=True)
    acceptance.accept(settings, topic, found)
    commands = ", ".join(f"`spendloop {role.command}`" for role in roles)
    click.echo(f"accepted; start {commands} again")


def _readers(topic: str, role_name: str | None) -> list[Role]:
    if role_name is None:
        return [role for role in ROLES.values() if topic in role.reads]
    role = ROLES[role_name]
    if topic not in role.reads:
        raise click.UsageError(f"{role.name} does not read {topic}; it reads {', '.join(role.reads)}")
    return [role]
