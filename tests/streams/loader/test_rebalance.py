"""Partitions that move while a block is under way, and processes that come back after they were given up."""

import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import topics
from sinks.clickhouse.migrations import apply
from streams.admin import topic_ids
from streams.clickhouse import connect, migrations
from streams.liveness import MemberFenced
from streams.loader.blocks import CommitNote
from streams.loader.loader import Loader
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
from tests.integration.roles import Role
from tests.schemas.client.gate import Gate
from tests.streams.loader.loading import (
    ids,
    is_caught_up,
    load_until_caught_up,
    loaded,
    publish,
    running,
    wait_for,
)
from tests.streams.loader.proxies import Holding, through


@pytest.fixture
def gated(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Settings, Gate]]:
    """The settings of a loader whose ClickHouse is behind an open gate, and the gate."""
    with through(Gate, deployment.clickhouse.url) as gate:
        monkeypatch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{gate.address}")
        yield load_settings(), gate


def shut_after_clicks(loader: Loader, gate: Gate) -> None:
    """After its first insert of clicks ClickHouse goes away for this loader."""
    original = loader._insert

    def insert(topic: str, block: Any, table: str, *rest: Any) -> None:
        original(topic, block, table, *rest)
        if table == "clicks":
            loader._insert = original  # type: ignore[method-assign]
            gate.shut()

    loader._insert = insert  # type: ignore[method-assign]


def test_partitions_move_while_blocks_are_buffered(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_LOADER__FLUSH_INTERVAL_S", "6")
    slow = load_settings()
    with running(slow) as first:
        publish(deployment, 0, 400)
        wait_for(lambda: first.metric("commit_age_seconds", topic="clicks", partition="0"), "taking records")
        with running(slow) as second:
            publish(deployment, 400, 400)  # or it might come too late for any
            wait_for(lambda: is_caught_up(deployment))
            if not second.metric("sent_events_total", target="clicks"):
                publish(deployment, 800, 400)
                wait_for(lambda: second.metric("sent_events_total", target="clicks"), "a share of the second")
                wait_for(lambda: is_caught_up(deployment))
    found = loaded(deployment)
    assert found in (ids(*range(800)), ids(*range(1200)))


def test_partitions_move_while_a_block_is_pending(gated: tuple[Settings, Gate], deployment: Settings) -> None:
    behind_gate, gate = gated
    with running(behind_gate) as first:
        publish(deployment, 0, 400)
        wait_for(lambda: is_caught_up(deployment))
        gate.shut()
        publish(deployment, 400, 400)
        wait_for(lambda: first.metric("waiting_for_dependency", stage="insert"), "an insert that waits")
        with running(deployment) as second:
            wait_for(lambda: second.metric("sent_events_total", target="clicks"), "a share of the second")
            gate.open()
            wait_for(lambda: is_caught_up(deployment))
    assert loaded(deployment) == ids(*range(800))


def test_partitions_move_when_a_block_is_inserted_and_not_committed(
    gated: tuple[Settings, Gate], deployment: Settings
) -> None:
    behind_gate, gate = gated
    publish(deployment, 0, 400)
    with running(behind_gate, lambda loader: shut_after_clicks(loader, gate)) as first:
        wait_for(lambda: first.metric("waiting_for_dependency", stage="insert"), "progress that waits")
        assert 0 < len(loaded(deployment)) < 400
        with running(deployment) as second:
            wait_for(lambda: second.metric("sent_events_total", target="clicks"), "a share of the second")
            publish(deployment, 400, 100)
            gate.open()
            wait_for(lambda: is_caught_up(deployment))
    assert loaded(deployment) == ids(*range(500))


def test_a_member_that_waits_for_clickhouse_at_its_assignment_does_not_hold_up_the_group(
    gated: tuple[Settings, Gate], deployment: Settings
) -> None:
    behind_gate, gate = gated
    publish(deployment, 0, 400)
    with running(behind_gate, lambda loader: gate.shut()) as first:
        wait_for(lambda: first.metric("waiting_for_dependency", stage="assign"), "an assignment that waits")
        with running(deployment) as second:
            wait_for(lambda: second.metric("sent_events_total", target="clicks"), "a share of the second")
            assert first.metric("waiting_for_dependency", stage="assign")
            gate.open()
            wait_for(lambda: is_caught_up(deployment))
    assert loaded(deployment) == ids(*range(400))


def test_it_can_be_stopped_while_it_waits(gated: tuple[Settings, Gate], deployment: Settings) -> None:
    behind_gate, gate = gated
    publish(deployment, 0, 400)
    with running(behind_gate, lambda loader: shut_after_clicks(loader, gate)) as loader:
        wait_for(lambda: loader.metric("waiting_for_dependency", stage="insert"), "progress that waits")
        assert loader.metric("commit_age_seconds", topic="clicks", partition="0") >= 0
    load_until_caught_up(deployment)
    assert loaded(deployment) == ids(*range(400))


def test_a_process_that_was_given_up_comes_back_with_its_insert_and_its_commit(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Stopped for longer than the session lasts, with its insert under way, it finds its block loaded by another."""
    with connect(deployment) as clickhouse:
        apply(clickhouse, migrations())
    with through(Holding, deployment.clickhouse.url) as proxy:
        with monkeypatch.context() as patch:
            patch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{proxy.address}")
            zombie = Role("loader", tmp_path / "zombie.log")
        try:
            publish(deployment, 0, 400)
            assert proxy.held.wait(60), "it never inserted"
            os.kill(zombie.process.pid, signal.SIGSTOP)
            with running(deployment):
                publish(deployment, 400, 400)
                wait_for(lambda: is_caught_up(deployment), "another took over")
                assert loaded(deployment) == ids(*range(800))
                before = committed(deployment)
                proxy.released.set()
                os.kill(zombie.process.pid, signal.SIGCONT)
                wait_for(lambda: "was taken away during a block" in zombie.log.read_text(), "its commit was fenced")
                assert committed(deployment) == before
                publish(deployment, 800, 400)
                wait_for(lambda: is_caught_up(deployment))
            zombie.require_running()
        finally:
            os.kill(zombie.process.pid, signal.SIGCONT)
            zombie.stop()
    assert loaded(deployment) == ids(*range(1200))


def test_a_static_member_is_back_without_a_rebalance(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streams.loader.partitions.SESSION_TIMEOUT_S", 120.0)  # however long the restart takes here
    with monkeypatch.context() as patch:
        patch.setenv("SPENDLOOP_KAFKA__GROUP_INSTANCE_ID", "first")
        static = load_settings()
    revoked: list[int] = []
    with running(deployment, lambda loader: note_revokes(loader, revoked)) as other:
        with running(static) as first:
            wait_for(lambda: "first" in members_with_partitions(deployment), "a share of the static member")
            publish(deployment, 0, 400)
            wait_for(lambda: is_caught_up(deployment))
            assert first.metric("sent_events_total", target="clicks")
        before = list(revoked)
        publish(deployment, 400, 400)
        assert "first" in members_with_partitions(deployment)
        with running(static) as first:
            wait_for(lambda: is_caught_up(deployment))
            assert first.metric("sent_events_total", target="clicks")
        assert revoked == before
        assert not other.has_stopped()
    assert loaded(deployment) == ids(*range(800))


def test_a_static_member_whose_name_another_takes_says_so_and_stops(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDLOOP_KAFKA__GROUP_INSTANCE_ID", "first")
    static = load_settings()

    def work_until_another_comes() -> None:
        with running(static) as first:
            wait_for(lambda: "first" in members_with_partitions(deployment), "a share of the static member")
            with running(static) as second:
                wait_for(first.has_stopped)
                publish(deployment, 0, 400)
                wait_for(lambda: is_caught_up(deployment))
                assert not second.has_stopped()

    with pytest.raises(MemberFenced, match="group_instance_id"):
        work_until_another_comes()
    assert loaded(deployment) == ids(*range(400))


def note_revokes(loader: Loader, revoked: list[int]) -> None:
    original = loader._partitions._on_revoke

    def on_revoke(consumer: Consumer, partitions: Sequence[TopicPartition]) -> None:
        revoked.append(len(partitions))
        original(consumer, partitions)

    loader._partitions._on_revoke = on_revoke  # type: ignore[method-assign]


def members_with_partitions(settings: Settings) -> set[str | None]:
    """Of the loader's group, by the name of their own; None for those without."""
    group = settings.group("loader")
    admin = AdminClient(settings.kafka.client())
    found = admin.describe_consumer_groups([group])[group].result()
    return {member.group_instance_id for member in found.members if member.assignment.topic_partitions}


def committed(settings: Settings) -> dict[int, int]:
    with Offsets(settings) as offsets:
        return offsets.committed("loader", "clicks")


@pytest.mark.parametrize("pending_end", [None, 7, 150])
def test_a_commit_that_came_late_and_took_the_group_back_doubles_nothing(
    deployment: Settings, pending_end: int | None
) -> None:
    """As of a process that was given up, when nobody else is in the group and Kafka lets it.

    Its block may have ended before what is loaded, or behind it.
    """
    publish(deployment, 0, 400)
    load_until_caught_up(deployment)
    name = topics(deployment.namespace)["clicks"].name
    text = CommitNote(topic_ids(deployment.kafka.client(), [name])[name], pending_end).text()
    consumer = Consumer({**deployment.kafka.client(), "group.id": deployment.group("loader")})
    late = [TopicPartition(name, partition, 5, text) for partition in range(deployment.kafka.partitions)]
    consumer.commit(offsets=late, asynchronous=False)
    consumer.close()
    publish(deployment, 400, 100)
    load_until_caught_up(deployment)
    assert loaded(deployment) == ids(*range(500))
