"""`spendloop audit import FILE`: what somebody has found out about conversions."""

from pathlib import Path

import click

from streams.cli.imports import import_file, import_options
from streams.matching.audit_files import audit_rows
from streams.matching.audits import AUDITS

__all__ = ["audit"]


@click.group()
def audit() -> None:
    """What was found out about conversions, which confidences are calibrated by."""


@audit.command("import")
@import_options
@click.option("--account", "account_id", help="Whose conversions they are, where FILE does not say so.")
def import_audits(file: Path, account_id: str | None, form: str | None, reject: Path | None, dry_run: bool) -> None:
    """Publish the audits in FILE: conversion_id, ad_id (empty where no ad led to it), and optionally person.

    `person` is a click_id or visitor_id that is known to be the buyer's. Audit conversions drawn at random, those that
    no ad led to included: what is found out only of some kinds of conversions calibrates wrongly. The last word on a
    conversion counts. Then run `spendloop learn matching --again`.
    """
    import_file(AUDITS, "audits", audit_rows(account_id), file, form, reject, dry_run)
