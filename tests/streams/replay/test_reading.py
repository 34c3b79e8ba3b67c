"""What a reader takes for the whole of a topic, and for the part of it between two times."""

import time
from collections.abc import Iterator

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import retry_topic
from streams.replay.reading import Span, TopicReader
from streams.settings import Settings


@pytest.fixture
def reader(deployment: Settings) -> Iterator[TopicReader]:
    with TopicReader(deployment, name(deployment)) as reader:
        yield reader


def name(settings: Settings) -> str:
    return retry_topic("loader", settings.namespace).name


def produce(settings: Settings, partition: int, *values: str, commit: bool | None = None) -> None:
    """As a transaction that is committed or taken back, where `commit` says so."""
    conf = {**settings.kafka.client(), "linger.ms": 0}
    if commit is None:
        producer = Producer(conf)
    else:
        producer = Producer({**conf, "transactional.id": f"{settings.namespace}{values[0]}"})
        producer.init_transactions(30)
        producer.begin_transaction()
    for value in values:
        producer.produce(name(settings), value.encode(), partition=partition)
    assert producer.flush(30) == 0
    if commit is not None:
        (producer.commit_transaction if commit else producer.abort_transaction)(30)


def values(reader: TopicReader, spans: dict[int, Span]) -> list[str]:
    return sorted(record.value().decode() for records in reader.read(spans) for record in records)


def test_everything_and_no_more(deployment: Settings, reader: TopicReader) -> None:
    produce(deployment, 0, *(f"a{n}" for n in range(150)))
    produce(deployment, 2, "b")
    spans = reader.everything()
    assert {partition: span.size for partition, span in spans.items()} == {0: 150, 1: 0, 2: 1, 3: 0}
    produce(deployment, 0, "late")
    produce(deployment, 1, "late")
    assert values(reader, spans) == sorted([*(f"a{n}" for n in range(150)), "b"])
    assert values(reader, reader.everything()).count("late") == 2


def test_an_empty_topic(reader: TopicReader) -> None:
    assert values(reader, reader.everything()) == []


def test_it_ends_where_kafka_keeps_the_last_offsets_for_itself(deployment: Settings, reader: TopicReader) -> None:
    produce(deployment, 0, "good", commit=True)
    produce(deployment, 0, "taken back", commit=False)
    deadline = time.monotonic() + 30
    while reader.everything()[0].size < 4:  # the marker is written after the transaction's end is acknowledged
        assert time.monotonic() < deadline
    assert values(reader, reader.everything()) == ["good"]


def test_between_two_times(deployment: Settings, reader: TopicReader) -> None:
    moments = []
    for value in ("before", "during", "after"):
        moments.append(int(time.time() * 1000))
        produce(deployment, 0, value)
        produce(deployment, 1, value)
        time.sleep(0.02)
    later = int(time.time() * 1000) + 60_000
    assert values(reader, reader.between(moments[1], moments[2])) == ["during", "during"]
    assert values(reader, reader.between(0, moments[1])) == ["before", "before"]
    assert values(reader, reader.between(moments[2], later)) == ["after", "after"]
    assert values(reader, reader.between(later, later + 1)) == []
    assert values(reader, reader.between(0, later)) == sorted(["before", "during", "after"] * 2)


def test_what_retention_removed_is_not_waited_for(deployment: Settings, reader: TopicReader) -> None:
    produce(deployment, 0, "a", "b", "c")
    spans = reader.everything()
    gone = TopicPartition(name(deployment), 0, 2)
    admin = AdminClient(deployment.kafka.client())
    admin.delete_records([gone])[gone].result(30)
    assert values(reader, spans) == ["c"]
    assert reader.everything()[0] == Span(2, 3)
