"""`spendloop rebuild ROLE`: a role's state from nothing."""

import asyncio

import click
from rich.progress import Progress

from streams.settings import load_settings

__all__ = ["rebuild"]


@click.command()
@click.argument("role", type=click.Choice(["attribution"]))
@click.option("--yes", is_flag=True, help="Do not ask.")
def rebuild(role: str, yes: bool) -> None:
    """Forget the state of ROLE and build it anew from the topics it reads. Nothing is emitted.

    For a Redis that was lost or restored from an old copy. Every process of the role has to be stopped; it refuses to
    start until the rebuild has ended. One that was broken off is run again.
    """
    from streams.rebuild import rebuild_attribution

    settings = load_settings()
    if not yes:
        click.confirm(f"Forget what Redis holds of {role} and build it anew?", abort=True)
    with Progress(transient=True) as progress:
        task = progress.add_task(f"rebuilding {role}")
        done = asyncio.run(
            rebuild_attribution(
                settings, lambda count, total: progress.update(task, completed=count, total=max(total, 1))
            )
        )
    click.echo(
        f"{role}: {done.forgotten} keys forgotten, {done.records} records read, {done.bad} of them bad; "
        f"start `spendloop worker {role}` again"
    )
