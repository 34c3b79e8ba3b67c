"""Clicks into the loader's topics, loaders that die where a test says, and what is there afterwards."""

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import definition, parse
from schemas.topics import dead_letter_topic
from streams.admin import registry
from streams.clickhouse import connect
from streams.loader.loader import ROLE, Loader
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.settings import Settings

TIMEOUT_S = 60


class Crash(Exception):
    """Stands for the process dying here."""


class CrashingLoader(Loader):
    """Dies before or after the call of a step for which `when` says so."""

    def __init__(self, settings: Settings, step: str, before: bool, when: Callable[..., bool]) -> None:
        super().__init__(settings, RoleMetrics(CollectorRegistry()))
        original = getattr(self, step)

        def dying(*args: Any) -> Any:
            if not when(*args):
                return original(*args)
            if not before:
                original(*args)
            raise Crash

        setattr(self, step, dying)


def publish(settings: Settings, first: int, count: int, **values: Any) -> None:
    """Clicks c<first> and on; `values` of all of them."""
    publish_clicks(settings, [{"click_id": f"c{number}", **values} for number in range(first, first + count)])


def publish_clicks(settings: Settings, clicks: Sequence[dict[str, Any]]) -> None:
    """Clicks that need only say what is theirs; the visitor, and so the partition, goes by the click."""
    common = {
        "account_id": "acme",
        "event_time": datetime.now(UTC) - timedelta(minutes=5),
        "consent": "granted",
        "limited_data_use": False,
    }
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records("clicks", [{**common, "visitor_id": f"v{c['click_id']}", **c} for c in clicks])


def load_until_caught_up(settings: Settings) -> None:
    loader = Loader(settings, RoleMetrics(CollectorRegistry()))
    timer = threading.Event()
    threading.Timer(TIMEOUT_S, timer.set).start()
    with Offsets(settings) as offsets:
        ends = offsets.ends("clicks")
        loader.run(lambda: timer.is_set() or offsets.committed("loader", "clicks") == ends)
        assert offsets.committed("loader", "clicks") == ends


class AtWork:
    """A loader in a thread."""

    def __init__(self, work: Future[None], metrics: CollectorRegistry) -> None:
        self._work = work
        self._metrics = metrics

    def metric(self, name: str, **labels: str) -> float:
        """The value of one of its metrics; zero where there is none."""
        return self._metrics.get_sample_value(name, labels) or 0.0

    def has_stopped(self) -> bool:
        return self._work.done()


@contextmanager
def running(settings: Settings, prepare: Callable[[Loader], None] = lambda loader: None) -> Iterator[AtWork]:
    """A loader at work. Raises at the end what it has stopped with, and fails where it does not stop as told."""
    metrics = CollectorRegistry()
    loader = Loader(settings, RoleMetrics(metrics))
    prepare(loader)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        work = pool.submit(loader.run, stop.is_set)
        try:
            yield AtWork(work, metrics)
        finally:
            stop.set()
        work.result(TIMEOUT_S)


def wait_for(condition: Callable[[], Any], what: str = "it") -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.1)


def is_caught_up(settings: Settings) -> bool:
    with Offsets(settings) as offsets:
        return offsets.committed("loader", "clicks") == offsets.ends("clicks")


def loaded(settings: Settings) -> list[str]:
    """Every row there is, without FINAL: a doubled row shows."""
    with connect(settings) as clickhouse:
        return sorted(clickhouse.query("SELECT click_id FROM clicks").column("click_id").to_pylist())


def ids(*numbers: int) -> list[str]:
    """The click ids of these numbers, sorted as they are loaded."""
    return sorted(f"c{number}" for number in numbers)


def command(settings: Settings, sql: str) -> None:
    """A statement by somebody else who uses the database."""
    with connect(settings) as clickhouse:
        clickhouse.command(sql)


def dead_letters(settings: Settings) -> list[dict[str, Any]]:
    """The loader's, one an id."""
    topic = dead_letter_topic(ROLE, settings.namespace).name
    options = {"group.id": "unused", "enable.partition.eof": True, "fetch.message.max.bytes": 8 << 20}
    consumer = Consumer({**settings.kafka.client(), **options})
    partitions = [TopicPartition(topic, number, 0) for number in range(settings.kafka.partitions)]
    consumer.assign(partitions)
    found, ended = {}, 0
    schema = parse(definition("dead-letters").text)
    while ended < len(partitions):
        message = consumer.poll(30)
        assert message is not None
        if message.error():
            ended += 1
            continue
        letter: Any = fastavro.schemaless_reader(io.BytesIO(message.value()[wire.HEADER_BYTES :]), schema, None)
        found[letter["dead_letter_id"]] = letter
    consumer.close()
    return list(found.values())
