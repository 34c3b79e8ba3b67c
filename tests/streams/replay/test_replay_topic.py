"""Records of a topic between two times, to a role again."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from schemas.retries import Origin, to_headers
from schemas.topics import topics
from streams.admin import topic_ids
from streams.roles import ROLES, Role
from streams.settings import Settings
from tests.schemas.client.topic import Tail
from tests.streams.replay.commands import done, spendloop
from tests.streams.replay.test_replay_dead_letters import NOW, click, load, new_loader, publish, rows

WHEN = ("--from", "2026-01-01T00:00:00Z", "--to", "2026-01-02T00:00:00Z")


def now() -> str:
    """The moment, with other ones around it."""
    time.sleep(0.02)
    moment = datetime.now(UTC).isoformat()
    time.sleep(0.02)
    return moment


def produce(settings: Settings, partition: int, value: str, headers: Sequence[tuple[str, Any]] = ()) -> None:
    producer = Producer(settings.kafka.client())
    name = topics(settings.namespace)["clicks"].name
    producer.produce(name, value.encode(), key=f"key of {value}".encode(), partition=partition, headers=list(headers))
    assert producer.flush(30) == 0


def test_what_lies_between_is_published_with_its_origin(deployment: Settings) -> None:
    published = Tail(deployment, "clicks")
    produce(deployment, 0, "before")
    start = now()
    produce(deployment, 0, "a", [("own", b"x"), ("spendloop-attempt", b"7")])
    produce(deployment, 2, "b")
    end = now()
    produce(deployment, 2, "after")
    retries, arguments = Tail(deployment, "attribution.retry"), ("--from", start, "--to", end, "--role", "attribution")
    assert "2 records of clicks from 20" in done("replay", "clicks", *arguments, "--dry-run")
    assert spendloop("replay", "clicks", *arguments).exit_code == 1  # nobody to ask
    assert retries.read() == []

    assert "2 records published to attribution.retry" in done("replay", "clicks", *arguments, "--yes")
    name = topics(deployment.namespace)["clicks"].name
    topic_id = topic_ids(deployment.kafka.client(), [name])[name]
    found = {record.value(): record for record in retries.read()}
    originals = {record.value(): record for record in published.read()}
    assert found.keys() == {b"a", b"b"}
    for value, partition, offset, own in ((b"a", 0, 1, [("own", b"x")]), (b"b", 2, 0, [])):
        origin = Origin(name, topic_id, partition, offset, originals[value].timestamp()[1], 1)
        assert found[value].headers() == [*own, *to_headers(origin)]
        assert found[value].key() == originals[value].key()


def test_a_record_of_another_time_among_them_is_left_out(deployment: Settings) -> None:
    """A broker's clock may go back when another leads the partition."""
    name = topics(deployment.namespace)["clicks"].name
    entry = ConfigEntry("message.timestamp.type", "CreateTime", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, name, incremental_configs=[entry])
    admin = AdminClient(deployment.kafka.client())
    admin.incremental_alter_configs([resource])[resource].result(30)
    producer, begin_ms = Producer(deployment.kafka.client()), int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
    for value, after_ms in (("in", 5), ("before", -5), ("in too", 6)):
        producer.produce(name, value.encode(), partition=0, timestamp=begin_ms + after_ms)
    assert producer.flush(30) == 0
    retries = Tail(deployment, "loader.retry")
    done("replay", "clicks", *WHEN, "--role", "loader", "--yes")
    assert sorted(record.value() for record in retries.read()) == [b"in", b"in too"]


def test_until_now_where_no_end_is_given(deployment: Settings) -> None:
    start = now()
    produce(deployment, 1, "a")
    now()
    assert "1 records published" in done("replay", "clicks", "--from", start, "--role", "loader", "--yes")


def test_nothing_lies_between(deployment: Settings) -> None:
    produce(deployment, 1, "a")
    assert "0 records of clicks" in done("replay", "clicks", *WHEN, "--role", "loader")


def test_rows_that_are_there_stay_as_they_are(deployment: Settings) -> None:
    start = now()
    publish(deployment, "clicks", [click(f"c{number}", "acme", NOW) for number in range(50)])
    load(new_loader())
    before = rows(deployment, "clicks", "click_id")
    assert len(before) == 50
    done("replay", "clicks", "--from", start, "--role", "loader", "--yes")
    load(new_loader())
    assert rows(deployment, "clicks", "click_id") == before


def test_what_retention_removed_is_mentioned(deployment: Settings) -> None:
    start = now()
    for value in ("a", "b"):
        produce(deployment, 3, value)
    gone = TopicPartition(topics(deployment.namespace)["clicks"].name, 3, 1)
    admin = AdminClient(deployment.kafka.client())
    admin.delete_records([gone])[gone].result(30)
    said = done("replay", "clicks", "--from", start, "--role", "loader", "--dry-run")
    assert "lost its older records to retention, perhaps some of these: partitions 3" in said
    assert "1 records of clicks" in said


def test_what_is_larger_than_a_message_may_be_is_left_out(deployment: Settings) -> None:
    """Kafka's limit is on compressed batches."""
    start = now()
    producer = Producer({**deployment.kafka.client(), "compression.type": "zstd", "message.max.bytes": 8 << 20})
    producer.produce(topics(deployment.namespace)["clicks"].name, b"v" * 5_000_000)
    producer.produce(topics(deployment.namespace)["clicks"].name, b"small")
    assert producer.flush(30) == 0
    now()
    result = spendloop("replay", "clicks", "--from", start, "--role", "loader", "--yes")
    assert result.exit_code == 0
    assert "1 records published" in result.stdout
    assert "1 are larger than a message may be" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clicks", *WHEN], "Missing option '--role'"),
        (["clicks", "--role", "loader"], "Missing option '--from'"),
        (["clicks", *WHEN, "--role", "nobody"], "'nobody' is none of attribution, loader"),
        (["klicks", *WHEN, "--role", "loader"], "'klicks' is not one of"),
        (["loader.retry", *WHEN, "--role", "loader"], "is not one of"),
        (["ad-performance", *WHEN, "--role", "attribution"], "attribution does not read ad-performance; it reads cl"),
        (["clicks", *WHEN[:3], "2025-01-01T00:00:00Z", "--role", "loader"], "is not before 2025-01-01T00:00:00Z"),
        (["clicks", "--from", "2199-01-01T00:00Z", "--to", "2199-01-02T00:00Z", "--role", "loader"], "in the future"),
        (["clicks", "--from", "01/02/2026", "--role", "loader"], "not a time in ISO 8601"),
    ],
)
def test_nonsense_is_explained(settings: Settings, arguments: list[str], said: str) -> None:
    result = spendloop("replay", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


def test_a_role_that_adds_up_is_rebuilt_instead(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROLES, "learning", Role("learning", "worker learning", ("crm-events",), repeats=False))
    result = spendloop("replay", "crm-events", *WHEN, "--role", "learning")
    assert result.exit_code == 2
    assert "spendloop rebuild learning" in " ".join(result.stderr.split())
