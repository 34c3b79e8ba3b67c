"""`spendloop publish TOPIC FILE`: CSV, JSON lines or Parquet onto a topic."""

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.progress import Progress

from schemas.client.publisher import Publisher
from schemas.topics import TOPICS
from streams.admin import registry
from streams.files import FORMATS, BadRow, publish_file
from streams.settings import load_settings

__all__ = ["form_of", "print_bad_rows", "publish"]

INPUTS = [name for name in TOPICS if TOPICS[name].event_time]
MAX_ERRORS_SHOWN = 20


@click.command()
@click.argument("topic", type=click.Choice(INPUTS))
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--format", "form", type=click.Choice(sorted(set(FORMATS.values()))), help="Default: by the file's ending."
)
@click.option("--reject", type=click.Path(dir_okay=False, path_type=Path), help="Set bad rows aside in this file.")
@click.option("--country", help="ISO 3166 code that completes phone numbers without one.")
@click.pass_context
def publish(
    ctx: click.Context, topic: str, file: Path, form: str | None, reject: Path | None, country: str | None
) -> None:
    """Publish the rows of FILE to TOPIC.

    Without --reject a file with a bad row is not published at all. E-mail addresses, phone numbers and other
    direct identifiers may be given in the clear (columns email, phone, external_id, ...): they are hashed here.
    """
    form = form_of(file, form)
    settings = load_settings()
    client = registry(settings)
    console = Console(stderr=True)
    bounds = settings.event_time_bounds(topic)
    with (
        Publisher(
            settings.kafka.client(), client, prefix=settings.namespace, bounds=bounds, default_country=country
        ) as publisher,
        Progress(console=console) as progress,
    ):
        result = publish_file(publisher, topic, file, form, reject, progress)
    client.close()
    print_bad_rows(file, result.bad)
    for field, count in publisher.dropped_fields.items():
        click.echo(f"{count} values of {field} could not be normalised and were left out", err=True)
    click.echo(f"{result.published} rows published to {topic}" + (f", {len(result.bad)} bad" if result.bad else ""))
    ctx.exit(1 if result.bad and reject is None else 0)


def form_of(file: Path, form: str | None) -> str:
    """The format that was given, or that the file's ending says."""
    if found := form or FORMATS.get(file.suffix.lstrip(".")):
        return found
    raise click.UsageError(f"what is {file.name}? Give --format {'|'.join(sorted(set(FORMATS.values())))}")


def print_bad_rows(file: Path, bad: Sequence[BadRow]) -> None:
    """Say where rows are bad and why, of the first of them."""
    for row in bad[:MAX_ERRORS_SHOWN]:
        click.echo(f"{file} {row.place}: {row.message}", err=True)
    if len(bad) > MAX_ERRORS_SHOWN:
        click.echo(f"... and {len(bad) - MAX_ERRORS_SHOWN} more bad rows", err=True)
