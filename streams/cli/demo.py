"""`spendloop demo`."""

import click
from rich.console import Console

from streams.demo.run import run_demo

__all__ = ["demo"]

NEXT = """
The stack stays up. Try next:
  spendloop sql "SELECT * FROM credit_by_channel ORDER BY model, conversions DESC"
  spendloop sql "SELECT * FROM journeys WHERE conversions > 0 LIMIT 5"
  spendloop sql "SELECT * FROM freshness"
  spendloop status
  spendloop down
(spendloop is in .venv/bin)"""


@click.command()
@click.pass_context
def demo(ctx: click.Context) -> None:
    """Real journeys through the whole pipeline, compared with the reference; writes build/demo.json."""
    matches = run_demo(Console())
    click.echo(NEXT)
    ctx.exit(0 if matches else 1)
