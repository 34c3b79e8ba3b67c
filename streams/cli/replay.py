"""`spendloop replay TOPIC`: records of a topic to a role again. What replaying has in common with dead letters, too."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.progress import Progress

from schemas.client.publisher import Publisher
from schemas.topics import retry_topic, topics
from streams.admin import registry, topic_ids
from streams.cli.output import error_console, moment
from streams.cli.parameters import Moment, Rate, RoleName
from streams.replay.publishing import RetryPublisher
from streams.replay.reading import Span, TopicReader
from streams.roles import ROLES, Role
from streams.settings import Settings, load_settings

__all__ = ["ask", "dry_run_option", "rate_option", "replay", "retrying", "yes_option"]

dry_run_option = click.option("--dry-run", is_flag=True, help="Only count.")
rate_option = click.option(
    "--rate", type=Rate(), default="1000/s", show_default=True, help="Records published a second, at most."
)
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")


@click.command()
@click.argument("topic", type=click.Choice(sorted({name for role in ROLES.values() for name in role.inputs})))
@click.option("--from", "from_ms", type=Moment(), required=True, help="Records of this time or later.")
@click.option("--to", "to_ms", type=Moment(), help="Records before this time.  [default: now]")
@click.option("--role", "role_name", type=RoleName(), required=True, help="Who is given them.")
@dry_run_option
@rate_option
@yes_option
def replay(topic: str, from_ms: int, to_ms: int | None, role_name: str, dry_run: bool, rate: float, yes: bool) -> None:
    """Give records of TOPIC to a role again, on its retry topic.

    Times are when Kafka took the records, in ISO 8601 with their zone. To process a record again changes nothing: a
    replay that was broken off may be repeated.
    """
    role, now_ms = ROLES[role_name], int(time.time() * 1000)
    to_ms = now_ms if to_ms is None else to_ms
    _require_sense(role, topic, from_ms, to_ms, now_ms)
    settings = load_settings()
    name = topics(settings.namespace)[topic].name
    topic_id = topic_ids(settings.kafka.client(), [name, retry_topic(role.name, settings.namespace).name])[name]
    with TopicReader(settings, name) as reader:
        spans = reader.between(from_ms, to_ms)
        count = sum(span.size for span in spans.values())
        _say_what_is_gone(topic, reader.everything(), spans)
        click.echo(f"{count} records of {topic} from {moment(from_ms)} to {moment(to_ms)}")
        if dry_run or not count:
            return
        ask(count, role.name, rate, yes)
        with retrying(settings, role.name, rate, count) as (retries, advance):
            retries.records(topic_id, reader.read(spans), lambda time_ms: from_ms <= time_ms < to_ms, advance)
    if retries.too_large:
        click.echo(f"{retries.too_large} are larger than a message may be and were left out", err=True)
    click.echo(f"{retries.published} records published to {role.name}.retry")


def ask(count: int, role: str, rate: float, yes: bool) -> None:
    """Have it confirmed, unless `yes`. Raises Abort."""
    if not yes:
        click.confirm(f"Publish {count} records to {role}.retry, in about {count / rate:.0f} s?", abort=True)


@contextmanager
def retrying(
    settings: Settings, role: str, rate: float, total: int
) -> Iterator[tuple[RetryPublisher, Callable[[int], None]]]:
    """A publisher of retries, and what is told how many of `total` are done."""
    client = registry(settings)
    try:
        with (
            Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher,
            Progress(console=error_console()) as progress,
        ):
            task = progress.add_task(f"publishing to {role}.retry", total=total)
            yield RetryPublisher(publisher, role, rate), lambda count: progress.advance(task, count)
    finally:
        client.close()


def _require_sense(role: Role, topic: str, from_ms: int, to_ms: int, now_ms: int) -> None:
    if not role.repeats:
        raise click.UsageError(
            f"{role.name} adds up what it reads: a record given to it again would count twice. "
            f"Run `spendloop rebuild {role.name}`, which begins anew."
        )
    if topic not in role.inputs:
        raise click.UsageError(f"{role.name} does not read {topic}; it reads {', '.join(role.inputs)}")
    if from_ms >= to_ms:
        raise click.UsageError(f"{moment(from_ms)} is not before {moment(to_ms)}: nothing lies between them")
    if from_ms > now_ms:
        raise click.UsageError(f"{moment(from_ms)} is in the future")


def _say_what_is_gone(topic: str, everything: dict[int, Span], spans: dict[int, Span]) -> None:
    gone = [partition for partition, (low, _) in everything.items() if low and spans[partition].start == low]
    if gone:
        partitions = ", ".join(map(str, gone))
        click.echo(f"{topic} has lost its older records to retention, perhaps some of these: partitions {partitions}")
