"""The `spendloop` command. Exit codes: 0 done, 1 failed, 2 wrong usage or settings."""

import sys

import click

from streams.cli.audit import audit
from streams.cli.check import check
from streams.cli.credit import credit
from streams.cli.demo import demo
from streams.cli.dlt import dlt
from streams.cli.errors import explain
from streams.cli.holdout import holdout
from streams.cli.identity import identity
from streams.cli.learn import learn
from streams.cli.publish import publish
from streams.cli.rebuild import rebuild
from streams.cli.replay import replay
from streams.cli.roles import load, worker
from streams.cli.simulate import simulate
from streams.cli.sql import sql
from streams.cli.stack import down, status, up
from streams.cli.topics import topics

__all__ = ["cli", "main"]


class ExplainingGroup(click.Group):
    """Says what was wrong and what to do, and keeps stack traces for what nobody foresaw."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            found = explain(error)
            if found is None:
                raise
            message, code = found
            click.echo(f"spendloop: {message}", err=True)
            sys.exit(code)


@click.group(cls=ExplainingGroup, context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """Closes the loop on ad spend: clicks and conversions in, attributed revenue out."""


COMMANDS = (
    *(up, down, status, demo, check),
    *(topics, publish, worker, load, dlt, replay, rebuild, identity, learn, audit, holdout),
    *(sql, credit, simulate),
)
for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Entry point of `python -m streams.cli.main`."""
    cli(prog_name="spendloop")


if __name__ == "__main__":
    main()
