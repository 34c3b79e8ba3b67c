"""`spendloop check`: are the settings sound, and is everything there that they name?"""

import asyncio
from collections.abc import Callable

import click
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from rich.console import Console

from schemas.topics import topics
from sinks.errors import Unavailable
from sinks.redis.attribution_store import AttributionStore
from streams.admin import registry, topic_ids
from streams.clickhouse import connect
from streams.settings import Settings, load_settings

__all__ = ["check"]

TIMEOUT_S = 10.0


@click.command()
@click.pass_context
def check(ctx: click.Context) -> None:
    """Print the settings with secrets masked, and test every connection."""
    console = Console(highlight=False)
    settings = load_settings()
    console.print_json(settings.model_dump_json())
    console.print(f"settings {settings.fingerprint()}")
    failed = sum(not _report(console, name, test, settings) for name, test in CHECKS.items())
    ctx.exit(1 if failed else 0)


def _report(console: Console, name: str, test: Callable[[Settings], str], settings: Settings) -> bool:
    try:
        console.print(f"[green]ok[/green]     {name}: {test(settings)}")
    except Exception as error:  # whatever it is, it is the answer to the question
        console.print(f"[red]failed[/red] {name}: {error}")
        return False
    return True


def _kafka(settings: Settings) -> str:
    try:
        metadata = AdminClient(settings.kafka.client()).list_topics(timeout=TIMEOUT_S)
    except KafkaException as error:
        raise Unavailable(f"{settings.kafka.bootstrap_servers} does not answer: {error.args[0].str()}") from error
    return f"{len(metadata.brokers)} brokers at {settings.kafka.bootstrap_servers}"


def _topics(settings: Settings) -> str:
    names = [topic.name for topic in topics(settings.namespace).values()]
    return f"all {len(topic_ids(settings.kafka.client(), names))} are there"


def _registry(settings: Settings) -> str:
    client = registry(settings)
    client.ping()
    return settings.registry.url


def _redis(settings: Settings) -> str:
    async def ping() -> None:
        store = AttributionStore(settings.redis.url.get_secret_value())
        try:
            await store.ping()
        finally:
            await store.close()

    asyncio.run(ping())
    return "answers"


def _clickhouse(settings: Settings) -> str:
    with connect(settings) as clickhouse:
        version = clickhouse.query("SELECT version() AS version").column("version")[0].as_py()
    return f"version {version}, database {settings.clickhouse.database}"


CHECKS: dict[str, Callable[[Settings], str]] = {
    "kafka": _kafka,
    "topics": _topics,
    "registry": _registry,
    "redis": _redis,
    "clickhouse": _clickhouse,
}
