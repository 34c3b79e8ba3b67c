"""A rebalance while ClickHouse is away: the partitions that went and came back are loaded on."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from confluent_kafka import Consumer
from prometheus_client import CollectorRegistry

from schemas.client.publisher import Publisher
from schemas.topics import topics
from sinks.clickhouse.tables import LOADED
from streams.admin import registry
from streams.clickhouse import connect
from streams.loader.loader import Loader
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
from tests.schemas.client.gate import gate_to

TIMEOUT_S = 90


def publish(settings: Settings, first: int, count: int) -> None:
    now = datetime.now(UTC)
    fixed = {"account_id": "acme", "event_time": now, "consent": "granted", "limited_data_use": False}
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records(
            "clicks",
            [fixed | {"click_id": f"c{number}", "visitor_id": f"v{number}"} for number in range(first, first + count)],
        )


def hold_partitions_for_a_moment(settings: Settings) -> int:
    """Join the group, take a share of the partitions, and leave. Returns how many it was."""
    conf = {**settings.kafka.client(), "group.id": settings.group("loader"), "enable.auto.commit": False}
    member = Consumer(conf)
    member.subscribe([topics(settings.namespace)[name].name for name in LOADED])
    deadline = time.monotonic() + TIMEOUT_S
    while not member.assignment() and time.monotonic() < deadline:
        member.poll(0.2)
    share = len(member.assignment())
    member.close()
    return share


def test_partitions_that_went_and_came_back_during_an_outage_are_loaded(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    direct = deployment.clickhouse.url
    with gate_to(direct.removeprefix("http://")) as gate:
        gate.open()
        monkeypatch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{gate.address}")
        collected = CollectorRegistry()
        loader = Loader(load_settings(), RoleMetrics(collected))
        stop = threading.Event()
        running = threading.Thread(target=loader.run, args=(stop.is_set,))
        running.start()
        try:
            with Offsets(deployment) as offsets:
                publish(deployment, 0, 400)
                wait_for(lambda: offsets.committed("loader", "clicks") == offsets.ends("clicks"))
                gate.shut()
                publish(deployment, 400, 400)
                wait_for(lambda: bool(collected.get_sample_value("errors_total", {"stage": "insert"})))
                assert hold_partitions_for_a_moment(deployment) > 0
                publish(deployment, 800, 400)
                gate.open()
                wait_for(lambda: offsets.committed("loader", "clicks") == offsets.ends("clicks"))
        finally:
            stop.set()
            running.join(TIMEOUT_S)
    with connect(deployment) as clickhouse:
        found = clickhouse.query("SELECT click_id FROM clicks").column("click_id").to_pylist()
    assert sorted(found) == sorted(f"c{number}" for number in range(1200))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
