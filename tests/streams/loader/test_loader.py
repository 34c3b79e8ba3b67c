"""The loader against the real broker and engine, stopped at each point of a block and started again."""

import contextlib
import time
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import CollectorRegistry

from schemas.topics import topics
from streams.admin import TopicError, TopicRecreated, topic_ids
from streams.clickhouse import connect
from streams.loader.blocks import CommitNote
from streams.loader.loader import Loader
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
from tests.streams.loader.loading import (
    TIMEOUT_S,
    Crash,
    CrashingLoader,
    ids,
    load_until_caught_up,
    loaded,
    publish,
)


def is_clicks(topic: str, block: Any, table: str, *rest: Any) -> bool:
    return table == "clicks"


def is_progress(topic: str, block: Any, table: str, *rest: Any) -> bool:
    return table == "load_progress"


def is_pending(topic: str, block: Any, offset: int, note: Any) -> bool:
    return note.pending_end is not None


def is_done(topic: str, block: Any, offset: int, note: Any) -> bool:
    return note.pending_end is None


WINDOWS = {
    "decoded, nothing committed": ("_commit", True, is_pending),
    "pending committed, not inserted": ("_insert", True, is_clicks),
    "inserted, progress not recorded": ("_insert", False, is_clicks),
    "progress recorded, end not committed": ("_insert", False, is_progress),
    "end not committed": ("_commit", True, is_done),
    "end committed": ("_commit", False, is_done),
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_crash_neither_loses_nor_doubles_a_row(deployment: Settings, window: str) -> None:
    step, before, when = WINDOWS[window]
    publish(deployment, 0, 400)
    loader = CrashingLoader(deployment, step, before, when)
    with pytest.raises(Crash):
        loader.run(lambda: False)
    # What arrives in between would move the ends of the blocks.
    publish(deployment, 400, 300)
    load_until_caught_up(deployment)
    assert loaded(deployment) == ids(*range(700))


def test_a_crash_after_which_nothing_more_comes_leaves_nothing_uncommitted(deployment: Settings) -> None:
    publish(deployment, 0, 400)
    with pytest.raises(Crash):
        CrashingLoader(deployment, *WINDOWS["progress recorded, end not committed"]).run(lambda: False)
    load_until_caught_up(deployment)
    assert loaded(deployment) == ids(*range(400))


def test_small_blocks(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_LOADER__BLOCK_ROWS", "7")
    publish(deployment, 0, 100)
    load_until_caught_up(load_settings())
    assert loaded(deployment) == ids(*range(100))


def test_where_commits_are_gone_it_goes_on_where_the_table_ends(deployment: Settings) -> None:
    publish(deployment, 0, 50)
    load_until_caught_up(deployment)
    group = deployment.group("loader")
    admin = AdminClient(deployment.kafka.client())
    admin.delete_consumer_groups([group])[group].result()
    publish(deployment, 50, 50)
    load_until_caught_up(deployment)
    assert loaded(deployment) == ids(*range(100))


def recreate(settings: Settings, name: str) -> None:
    """Delete the topic and create another under its name, which is free a moment later."""
    conf = settings.kafka.client()
    old = topic_ids(conf, [name])[name]
    admin = AdminClient(conf)
    admin.delete_topics([name])[name].result()
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(KafkaException):
            admin.create_topics([NewTopic(name, settings.kafka.partitions, 1)])[name].result()
        with contextlib.suppress(TopicError):
            if topic_ids(conf, [name])[name] != old:
                return
    raise AssertionError(f"{name} could not be created anew")


def test_a_topic_created_anew_is_loaded_from_its_beginning(deployment: Settings) -> None:
    """Kafka forgets the commits of a deleted topic; the tokens of the old one must not swallow the new one's."""
    publish(deployment, 0, 50)
    load_until_caught_up(deployment)
    recreate(deployment, topics(deployment.namespace)["clicks"].name)
    publish(deployment, 100, 50)
    load_until_caught_up(deployment)
    assert loaded(deployment) == ids(*range(50), *range(100, 150))


def test_a_commit_for_another_topic_id_stops_it(deployment: Settings) -> None:
    publish(deployment, 0, 50)
    name = topics(deployment.namespace)["clicks"].name
    consumer = Consumer({**deployment.kafka.client(), "group.id": deployment.group("loader")})
    note = CommitNote("the-topic-before").text()
    consumer.commit(offsets=[TopicPartition(name, 0, 10, note)], asynchronous=False)
    consumer.close()
    loader = Loader(deployment, RoleMetrics(CollectorRegistry()))
    with pytest.raises(TopicRecreated, match="created anew"):
        loader.run(lambda: False)


def test_a_topic_created_anew_under_a_running_loader_stops_it(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.loader.loader.TOPIC_CHECK_S", 0.0)
    loader = Loader(deployment, RoleMetrics(CollectorRegistry()))
    recreate(deployment, topics(deployment.namespace)["clicks"].name)
    with pytest.raises(TopicRecreated, match="created anew"):
        loader.run(lambda: False)


def test_freshness_says_how_far_it_is(deployment: Settings) -> None:
    publish(deployment, 0, 40)
    load_until_caught_up(deployment)
    with connect(deployment) as clickhouse:
        rows = clickhouse.query("SELECT * FROM freshness WHERE topic = 'clicks'").to_pylist()
    with Offsets(deployment) as offsets:
        ends = {partition: end for partition, end in offsets.ends("clicks").items() if end}
    assert {row["partition"]: row["end_offset"] for row in rows} == ends
    assert all(0 <= row["load_delay_s"] < TIMEOUT_S for row in rows)
