"""What the commands that import a file of facts have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import Progress

from schemas.client.publisher import Publisher
from streams.admin import registry
from streams.cli.publish import form_of, print_bad_rows
from streams.files import FORMATS, RowReader, check_file, publish_file
from streams.settings import load_settings

__all__ = ["import_file", "import_options"]


def import_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """FILE, and how it is read."""
    for option in (
        click.option("--dry-run", is_flag=True, help="Check the rows and publish nothing."),
        click.option(
            "--reject", type=click.Path(dir_okay=False, path_type=Path), help="Set bad rows aside in this file."
        ),
        click.option(
            "--format", "form", type=click.Choice(sorted(set(FORMATS.values()))), help="Default: by the file's ending."
        ),
        click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path)),
    ):
        command = option(command)
    return command


def import_file(
    topic: str, what: str, rows: RowReader, file: Path, form: str | None, reject: Path | None, dry_run: bool
) -> None:
    """Publish the rows of a file, bad ones said by their places. Exits with 1 where there are bad ones that stay."""
    form = form_of(file, form)
    settings = load_settings()
    client = registry(settings)
    with (
        Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher,
        Progress(console=Console(stderr=True)) as progress,
    ):
        if dry_run:
            count, bad = check_file(publisher, topic, file, form, progress, rows)
        else:
            result = publish_file(publisher, topic, file, form, reject, progress, rows)
            count, bad = result.published, result.bad
    client.close()
    print_bad_rows(file, bad)
    said = f"{count} {what} {'could be ' if dry_run else ''}imported"
    click.echo(said + (f", {len(bad)} rows are bad" if bad else ""))
    click.get_current_context().exit(1 if bad and (reject is None or dry_run) else 0)
