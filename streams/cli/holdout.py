"""`spendloop holdout import FILE`: what hold-out tests have found."""

from pathlib import Path

import click

from streams.cli.imports import import_file, import_options
from streams.totals.holdout_files import holdout_rows
from streams.totals.holdouts import HOLDOUTS

__all__ = ["holdout"]


@click.group()
def holdout() -> None:
    """What hold-out tests have found, which the incremental part of totals is told by."""


@holdout.command("import")
@import_options
@click.option("--account", "account_id", help="Whose tests they are, where FILE does not say so.")
def import_holdouts(file: Path, account_id: str | None, form: str | None, reject: Path | None, dry_run: bool) -> None:
    """Publish the tests in FILE: scope, scope_id, test, from_day, to_day, incremental_share, low, high.

    `scope` is account, campaign or ad, and `scope_id` the campaign or ad. `incremental_share` is how many conversions
    are incremental for each that is attributed, with its 95 % interval from `low` to `high`. The narrowest test of an
    ad counts, and of several the one that ended last; the last word on a test, by its name, replaces earlier ones.
    """
    import_file(HOLDOUTS, "hold-out tests", holdout_rows(account_id), file, form, reject, dry_run)
