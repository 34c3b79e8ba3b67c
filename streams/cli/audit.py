"""`spendloop audit import FILE`: what somebody has found out about conversions."""

from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from schemas.client.publisher import Publisher
from streams.admin import registry
from streams.cli.publish import form_of, print_bad_rows
from streams.files import FORMATS, check_file, publish_file
from streams.matching.audit_files import audit_rows
from streams.matching.audits import AUDITS
from streams.settings import load_settings

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """What was found out about conversions, which confidences are calibrated by."""


@audit.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--account", "account_id", help="Whose conversions they are, where FILE does not say so.")
@click.option(
    "--format", "form", type=click.Choice(sorted(set(FORMATS.values()))), help="Default: by the file's ending."
)
@click.option("--reject", type=click.Path(dir_okay=False, path_type=Path), help="Set bad rows aside in this file.")
@click.option("--dry-run", is_flag=True, help="Check the rows and publish nothing.")
@click.pass_context
def import_audits(
    ctx: click.Context, file: Path, account_id: str | None, form: str | None, reject: Path | None, dry_run: bool
) -> None:
    """Publish the audits in FILE: conversion_id, ad_id (empty where no ad led to it), and optionally person.

    `person` is a click_id or visitor_id that is known to be the buyer's. Audit conversions drawn at random, those that
    no ad led to included: what is found out only of some kinds of conversions calibrates wrongly. The last word on a
    conversion counts. Then run `spendloop learn matching --again`.
    """
    form = form_of(file, form)
    settings = load_settings()
    rows = audit_rows(account_id)
    client = registry(settings)
    with (
        Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher,
        Progress(console=Console(stderr=True)) as progress,
    ):
        if dry_run:
            count, bad = check_file(publisher, AUDITS, file, form, progress, rows)
        else:
            result = publish_file(publisher, AUDITS, file, form, reject, progress, rows)
            count, bad = result.published, result.bad
    client.close()
    print_bad_rows(file, bad)
    said = f"{count} audits {'could be ' if dry_run else ''}imported"
    click.echo(said + (f", {len(bad)} rows are bad" if bad else ""))
    ctx.exit(1 if bad and (reject is None or dry_run) else 0)
