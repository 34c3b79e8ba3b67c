"""`spendloop dlt list|show|replay ROLE`: what a role could not process, and its second chance."""

import os
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc
from rich.progress import Progress
from rich.table import Table

from schemas import wire
from schemas.topics import TOPICS, retry_topic
from streams.admin import topic_ids
from streams.cli.output import error_console, moment, plain, print_table
from streams.cli.parameters import Moment, RoleName
from streams.cli.replay import ask, dry_run_option, rate_option, retrying, yes_option
from streams.replay.letters import Letter, Letters, Selection, counts
from streams.settings import Settings, load_settings

__all__ = ["dlt"]

OBSTACLES = {
    "cut": "cut: their key, value or headers are not all there",
    "no origin": "without an origin: something other than `replay` put them on the retry topic",
}

role_argument = click.argument("role", type=RoleName())


def selecting(command: Callable[..., None]) -> Callable[..., None]:
    """Options that say which letters are meant, given to the command as one Selection."""

    @click.option("--error", "errors", multiple=True, metavar="ERROR", help="Of this error class. May be repeated.")
    @click.option("--account", "accounts", multiple=True, metavar="ACCOUNT", help="Of this account. May be repeated.")
    @click.option(
        "--topic",
        "topics",
        multiple=True,
        type=click.Choice(list(TOPICS)),
        metavar="TOPIC",
        help="From this topic. May be repeated.",
    )
    @click.option("--from", "from_ms", type=Moment(), help="That failed at this time or later: 2026-03-01T14:00:00Z.")
    @click.option("--to", "to_ms", type=Moment(), help="That failed before this time.")
    @wraps(command)
    def with_selection(
        *, errors: Any, accounts: Any, topics: Any, from_ms: int | None, to_ms: int | None, **others: Any
    ) -> None:
        if from_ms is not None and to_ms is not None and from_ms >= to_ms:
            raise click.UsageError("--from is not before --to: nothing lies between them")
        command(selection=Selection(errors, accounts, topics, from_ms, to_ms), **others)

    return with_selection


@click.group()
def dlt() -> None:
    """Look at dead letters, and have them processed again."""


@dlt.command("list")
@role_argument
@selecting
def list_letters(role: str, selection: Selection) -> None:
    """Count the dead letters of ROLE by error, topic and account."""
    with Letters(load_settings(), role) as letters:
        index = selection.of(_index(letters))
    _print_counts(index)
    attempts = pc.max(index["attempt"]).as_py()
    again = f", of which {pc.sum(pc.greater(index['attempt'], 1)).as_py()} failed again" if (attempts or 0) > 1 else ""
    click.echo(f"{index.num_rows} dead letters of {role}{again}")
    _print_obstacles(index)


@dlt.command("show")
@role_argument
@click.argument("dead_letter_id", required=False)
@selecting
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="The newest so many.")
@click.option(
    "--raw",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the original value of DEAD_LETTER_ID to this file, which must be new. It may hold personal data.",
)
def show(role: str, dead_letter_id: str | None, selection: Selection, limit: int, raw: Path | None) -> None:
    """Say of dead letters of ROLE where each came from and what was wrong; never what is in them.

    Without DEAD_LETTER_ID the newest are shown.
    """
    if raw is not None and dead_letter_id is None:
        raise click.UsageError("--raw writes one original: give its DEAD_LETTER_ID")
    settings = load_settings()
    with Letters(settings, role) as letters:
        index = selection.of(_index(letters))
        if dead_letter_id is not None:
            index = index.filter(pc.equal(index["dead_letter_id"], dead_letter_id))
            if index.num_rows == 0:
                raise click.ClickException(f"there is no dead letter {dead_letter_id} of {role}")
        newest = index.sort_by([("written_ms", "descending")]).slice(0, limit)
        shown = sorted(letters.fetch(newest), key=lambda letter: -letter.written_ms)
    for letter in shown:
        print_table(_described(letter, settings))
    if index.num_rows > len(shown):
        click.echo(f"{index.num_rows - len(shown)} more; --limit shows them", err=True)
    if raw is not None:
        for letter in shown:
            _write(letter, raw)


@dlt.command("replay")
@role_argument
@selecting
@dry_run_option
@rate_option
@yes_option
def replay(role: str, selection: Selection, dry_run: bool, rate: float, yes: bool) -> None:
    """Give dead letters of ROLE to it again, on its retry topic.

    Prints what would be replayed and asks before it does so. To process a record again changes nothing where it
    had been processed: a replay that was broken off may be repeated.
    """
    settings = load_settings()
    topic_ids(settings.kafka.client(), [retry_topic(role, settings.namespace).name])
    with Letters(settings, role) as letters:
        index = selection.of(_index(letters))
        chosen = index.filter(pc.is_null(index["obstacle"]))
        _print_counts(chosen)
        _print_obstacles(index)
        click.echo(f"{chosen.num_rows} dead letters of {role} to replay")
        if dry_run or not chosen.num_rows:
            return
        ask(chosen.num_rows, role, rate, yes)
        with retrying(settings, role, rate, chosen.num_rows) as (retries, advance):
            retries.letters(letters.fetch(chosen), advance)
    click.echo(f"{retries.published} records published to {role}.retry; what fails again is a later attempt")


def _index(letters: Letters) -> pa.Table:
    with Progress(console=error_console(), transient=True) as progress:
        task = progress.add_task("reading dead letters", total=letters.size)
        index = letters.index(lambda count: progress.advance(task, count))
    if letters.unreadable:
        click.echo(f"{letters.unreadable} records on the topic are no dead letters and are left out", err=True)
    return index


def _print_counts(index: pa.Table) -> None:
    if not index.num_rows:
        return
    table = Table("letters", "error", "topic", "account", "oldest", "newest")
    for row in counts(index, ["error_class", "topic", "account_id"]).to_pylist():
        times = (moment(row["written_ms_min"]), moment(row["written_ms_max"]))
        names = (plain(row[column]) for column in ("error_class", "topic", "account_id"))
        table.add_row(str(row["count_all"]), *names, *times)
    print_table(table)


def _print_obstacles(index: pa.Table) -> None:
    for row in counts(index.filter(pc.is_valid(index["obstacle"])), ["obstacle"]).to_pylist():
        click.echo(f"{row['count_all']} cannot be replayed, being {OBSTACLES[row['obstacle']]}")


def _described(letter: Letter, settings: Settings) -> Table:
    fields = letter.fields
    [schema_id] = wire.schema_ids([fields["value"]]).tolist()
    header_bytes = sum(len(name.encode()) + len(value or b"") for name, value in letter.headers)
    place = f"{fields['topic'].removeprefix(settings.namespace)}/{fields['partition']} offset {fields['offset']}"
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, text in (
        ("dead letter", fields["dead_letter_id"]),
        ("error", fields["error_class"]),
        ("message", fields["error_message"]),
        ("from", f"{place}, taken by Kafka at {moment(fields['record_time'])}"),
        ("failed", f"at {moment(letter.written_ms)}, attempt {fields['attempt']}"),
        ("account", fields["account_id"] or "not known"),
        ("schema id", "none" if schema_id == wire.UNFRAMED else str(schema_id)),
        ("key", _length(fields["key"])),
        ("value", _length(fields["value"])),
        ("headers", f"{len(letter.headers)} of {header_bytes} bytes"),
        ("replay", f"not possible: {letter.obstacle}" if letter.obstacle else "possible"),
        ("", ""),
    ):
        table.add_row(name, plain(text))
    return table


def _length(content: bytes | None) -> str:
    return "none" if content is None else f"{len(content)} bytes"


def _write(letter: Letter, file: Path) -> None:
    """The original's value, readable for its owner alone."""
    value = letter.fields["value"]
    if value is None:
        raise click.ClickException("the record has no value: there is nothing to write")
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise click.FileError(str(file), error.strerror) from error
    with os.fdopen(descriptor, "wb") as output:
        output.write(value)
    click.echo(f"{len(value)} bytes written to {file}")
