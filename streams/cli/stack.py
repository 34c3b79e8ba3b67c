"""`spendloop up`, `down`, `status`: the local stack."""

from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from deploy.local.stack import LocalStack
from streams.cli.output import print_table
from streams.local import start_roles, start_servers
from streams.settings import stack_directory

__all__ = ["down", "status", "up"]


@click.command()
@click.option("--servers-only", is_flag=True, help="Leave the roles to be started by hand.")
def up(servers_only: bool) -> None:
    """Start Kafka, registry, Redis, ClickHouse and every role on this machine."""
    console = Console()
    stack = LocalStack(stack_directory())
    settings = start_servers(stack, lambda line: console.print(line, highlight=False))
    if not servers_only:
        start_roles(stack, settings)
    _show(stack)


@click.command()
@click.option("--wipe", is_flag=True, help="Forget the data, logs and ports, too.")
def down(wipe: bool) -> None:
    """Stop the roles and servers that `up` started; their data stays."""
    LocalStack(stack_directory()).down(wipe=wipe)
    click.echo("stopped" + (" and wiped" if wipe else ""))


@click.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show what runs, where, and where its data and logs are. Exits with 1 where something does not run."""
    healthy = _show(LocalStack(stack_directory()))
    ctx.exit(0 if healthy else 1)


def _show(stack: LocalStack) -> bool:
    table = Table("name", "health", "pid")
    table.add_column("address", no_wrap=True)  # to be copied
    for name in ("data", "log"):
        table.add_column(name, overflow="fold")
    statuses = stack.status()
    for item in statuses:
        cells = (item.name, item.health, item.pid, item.address, _short(item.data), _short(item.log))
        table.add_row(*("" if cell is None else str(cell) for cell in cells))
    print_table(table)
    return all(item.health in ("healthy", "running") for item in statuses)


def _short(path: Path | None) -> Path | None:
    """Relative to where the user stands, where it is below."""
    return path.relative_to(Path.cwd()) if path and path.is_relative_to(Path.cwd()) else path
