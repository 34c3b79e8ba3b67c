"""A rebalance while ClickHouse is away: the partitions that went and came back are loaded on."""

import time

import pytest
from confluent_kafka import Consumer

from schemas.topics import topics
from sinks.clickhouse.tables import LOADED
from streams.settings import Settings, load_settings
from tests.schemas.client.gate import gate_to
from tests.streams.loader.loading import TIMEOUT_S, ids, is_caught_up, loaded, publish, running, wait_for


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
        with running(load_settings()) as loader:
            publish(deployment, 0, 400)
            wait_for(lambda: is_caught_up(deployment))
            gate.shut()
            publish(deployment, 400, 400)
            wait_for(lambda: loader.metric("errors_total", stage="insert"))
            assert hold_partitions_for_a_moment(deployment) > 0
            publish(deployment, 800, 400)
            gate.open()
            wait_for(lambda: is_caught_up(deployment))
    assert loaded(deployment) == ids(*range(1200))
