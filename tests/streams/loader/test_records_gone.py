"""Where Kafka has removed records that were not loaded, the loader stops and says so; it never skips in silence."""

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from schemas.topics import topics
from streams.admin import RecordsGone
from streams.loader.loader import Loader
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
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
from tests.streams.loader.proxies import through


def remove_before(settings: Settings, offset: int) -> None:
    """What retention does: all records of the clicks before this offset go."""
    name = topics(settings.namespace)["clicks"].name
    partitions = [TopicPartition(name, number, offset) for number in range(settings.kafka.partitions)]
    admin = AdminClient(settings.kafka.client())
    for future in admin.delete_records(partitions).values():
        future.result()


def require_stopped(settings: Settings, lost: str) -> None:
    loader = Loader(settings, RoleMetrics(CollectorRegistry()))
    with pytest.raises(RecordsGone, match=rf"clicks, partition \d: {lost}.*`spendloop topics accept`"):
        loader.run(lambda: False)


def forget_commits(settings: Settings) -> None:
    admin, group = AdminClient(settings.kafka.client()), settings.group("loader")
    admin.delete_consumer_groups([group])[group].result()


def ends(settings: Settings) -> int:
    """How many records each partition has at least."""
    with Offsets(settings) as offsets:
        return min(offsets.ends("clicks").values())


@pytest.mark.parametrize("with_commits", [True, False])
def test_removed_before_they_were_loaded(deployment: Settings, with_commits: bool) -> None:
    """By the commit, and, where that has expired, by load_progress."""
    publish(deployment, 0, 100)
    load_until_caught_up(deployment)
    if not with_commits:
        forget_commits(deployment)
    publish(deployment, 100, 300)
    remove_before(deployment, ends(deployment))
    require_stopped(deployment, r"the records from \d+ to \d+ are gone: retention")
    assert loaded(deployment) == ids(*range(100))


def test_removed_while_it_waited(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(deployment, 0, 100)
    with through(Gate, deployment.clickhouse.url) as gate:
        monkeypatch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{gate.address}")
        monkeypatch.setenv("SPENDLOOP_LOADER__FLUSH_INTERVAL_S", "0.1")
        with pytest.raises(RecordsGone, match=r"the records from \d+ to \d+ are gone"):
            fall_behind_retention(deployment, gate)


def fall_behind_retention(settings: Settings, gate: Gate) -> None:
    """Records go while a loader behind the gate waits for ClickHouse. Raises what the loader stops with."""
    with running(load_settings()) as loader:
        wait_for(lambda: is_caught_up(settings))
        gate.shut()
        publish(settings, 100, 300)
        wait_for(lambda: loader.metric("waiting_for_dependency", stage="insert"))
        publish(settings, 400, 300)
        remove_before(settings, ends(settings))
        gate.open()
        wait_for(loader.has_stopped)


def test_a_loader_that_never_loaded_begins_where_the_log_begins(deployment: Settings) -> None:
    publish(deployment, 0, 400)
    remove_before(deployment, 20)
    load_until_caught_up(deployment)
    assert len(loaded(deployment)) == 400 - 20 * deployment.kafka.partitions
