"""`spendloop learn matching`: what probabilistic matching knows of each tenant, learned anew."""

import time

import click

from streams.cli.output import plain
from streams.settings import load_settings

__all__ = ["learn"]


@click.group()
def learn() -> None:
    """Learn models from what has happened. To be run on a cadence."""


@learn.command()
@click.option("--account", "accounts", multiple=True, metavar="ACCOUNT", help="Of this account. May be repeated.")
@click.option("--all", "everybody", is_flag=True, help="Of every account that has conversions.")
@click.option("--days", type=click.IntRange(1, 30), help="From so many days.  [default: matching.learn_from_d]")
@click.option("--again", is_flag=True, help="Also what was learned a few hours ago, as after an import of audits.")
@click.option("--dry-run", is_flag=True, help="Learn and say what was learned, and publish nothing.")
def matching(accounts: tuple[str, ...], everybody: bool, days: int | None, again: bool, dry_run: bool) -> None:
    """Learn how clicks and conversions without an identifier are matched, and publish the models.

    A conversion that arrives some minutes later is matched by the new model. Run it once a day; one that was broken
    off is run again. An account with too little to learn from has no model, which is said and is no failure.
    """
    from streams.matching.learn import Request, learn_matching

    if bool(accounts) == everybody:
        raise click.UsageError("say whose: --account ACCOUNT, or --all")
    settings = load_settings()
    request = Request(
        accounts=None if everybody else accounts,
        days=days or settings.matching.learn_from_d,
        is_dry=dry_run,
        again=again,
    )
    count = 0
    for outcome in learn_matching(settings, request, lambda: int(time.time() * 1000)):
        click.echo(f"{plain(outcome.account_id).plain}: {outcome.says}" if outcome.account_id else outcome.says)
        count += bool(outcome.account_id)
    if not count:
        click.echo("no conversions in this time: there is nobody to learn")
