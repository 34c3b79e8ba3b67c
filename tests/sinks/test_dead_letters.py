import io
import os
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest
from confluent_kafka import Consumer, TopicPartition

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import definition, parse
from schemas.errors import BadRecord
from schemas.retries import Origin, to_headers
from schemas.topics import DEAD_LETTER_ROLES, dead_letter_topic, retry_topic
from sinks.dead_letters import DeadLetters, RawRecord
from streams.admin import registry
from streams.settings import Settings

ROLE = "attribution"
BAD = BadRecord(3, "undecodable", "not a record of schema 9", 9, "acme")


@pytest.fixture(scope="module")
def publisher(shared_deployment: Settings) -> Iterator[Publisher]:
    client = registry(shared_deployment)
    with Publisher(shared_deployment.kafka.client(), client, prefix=shared_deployment.namespace) as publisher:
        yield publisher
    client.close()


def letters(settings: Settings, role: str = ROLE) -> list[tuple[bytes, dict[str, Any]]]:
    """All there are, with their keys."""
    topic = dead_letter_topic(role, settings.namespace).name
    options = {"group.id": "unused", "enable.partition.eof": True, "fetch.message.max.bytes": 8 << 20}
    consumer = Consumer({**settings.kafka.client(), **options})
    partitions = [TopicPartition(topic, number, 0) for number in range(settings.kafka.partitions)]
    consumer.assign(partitions)
    found, ended = [], 0
    while ended < len(partitions):
        message = consumer.poll(30)
        assert message is not None
        if message.error():
            ended += 1
            continue
        body = io.BytesIO(message.value()[wire.HEADER_BYTES :])
        letter = fastavro.schemaless_reader(body, parse(definition("dead-letters").text), None)
        found.append((message.key(), letter))
    consumer.close()
    return found


def put(publisher: Publisher, record: RawRecord, bad: BadRecord = BAD, role: str = ROLE) -> None:
    DeadLetters(publisher, role).put("eu.clicks", "topic-id", 2, record, bad)
    publisher.flush()


def letter_of(settings: Settings, offset: int) -> dict[str, Any]:
    [letter] = [letter for _, letter in letters(settings) if letter["offset"] == offset]
    return letter


HEADERS = [
    ("text", b"a"),
    ("binary", bytes(range(256))),
    ("absent", None),
    ("empty", b""),
    ("text", b"twice"),
    ("", b"x"),
]
RECORDS = {
    "all of it": RawRecord(10, 1_750_000_000_123, b"\x00key\xff", bytes(range(256)), HEADERS),
    "nothing": RawRecord(11, 0, None, None, []),
    "empty": RawRecord(12, 0, b"", b"", ()),
    "as large as a topic takes": RawRecord(13, 1, b"k", os.urandom(2 << 20), HEADERS),
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_the_original_comes_back_exactly(publisher: Publisher, shared_deployment: Settings, record: RawRecord) -> None:
    put(publisher, record)
    letter = letter_of(shared_deployment, record.offset)
    assert (letter["key"], letter["value"]) == (record.key, record.value)
    assert [(header["key"], header["value"]) for header in letter["headers"]] == list(record.headers)
    assert letter["record_time"].timestamp() * 1000 == record.timestamp_ms


def test_where_it_was_and_what_was_wrong(publisher: Publisher, shared_deployment: Settings) -> None:
    put(publisher, RawRecord(20, 1, b"k", b"v", []))
    letter = letter_of(shared_deployment, 20)
    told = {name: letter[name] for name in ("role", "topic", "topic_id", "partition", "offset", "attempt")}
    assert told == {
        "role": ROLE,
        "topic": "eu.clicks",
        "topic_id": "topic-id",
        "partition": 2,
        "offset": 20,
        "attempt": 1,
    }
    assert (letter["error_class"], letter["error_message"]) == (BAD.error, BAD.message)
    assert (letter["schema_id"], letter["account_id"]) == (9, "acme")


def test_the_same_record_makes_the_same_letter(publisher: Publisher, shared_deployment: Settings) -> None:
    record = RawRecord(30, 1, b"k", b"v", [])
    for _ in range(2):
        put(publisher, record)
    put(publisher, record._replace(offset=31))
    found = [item for item in letters(shared_deployment) if item[1]["offset"] in (30, 31)]
    assert sorted(letter["dead_letter_id"] for _, letter in found) == [
        "attribution:topic-id:2:30",
        "attribution:topic-id:2:30",
        "attribution:topic-id:2:31",
    ]
    assert all(key == letter["dead_letter_id"].encode() for key, letter in found)


def test_a_long_message_is_cut_to_what_the_contract_takes(publisher: Publisher, shared_deployment: Settings) -> None:
    put(publisher, RawRecord(40, 1, None, None, []), BadRecord(0, "undecodable", "x" + "é" * 2048))
    assert letter_of(shared_deployment, 40)["error_message"] == "x" + "é" * 1023


@pytest.mark.parametrize("role", DEAD_LETTER_ROLES)
def test_every_role_has_letters_of_its_own(publisher: Publisher, shared_deployment: Settings, role: str) -> None:
    put(publisher, RawRecord(50, 1, b"k", role.encode(), []), role=role)
    [letter] = [letter for _, letter in letters(shared_deployment, role) if letter["offset"] == 50]
    assert (letter["role"], letter["value"]) == (role, role.encode())


def test_what_no_topic_takes_is_cut_and_said_to_be(publisher: Publisher, shared_deployment: Settings) -> None:
    """Kafka's limit is on compressed batches: an original may be larger than any topic takes uncompressed."""
    put(publisher, RawRecord(601, 1, b"k" * 2_000_000, b"v" * 6_000_000, [("h", b"x" * 1_000_000)]))
    letter = letter_of(shared_deployment, 601)
    assert letter["value"] == b"v" * (3 << 20)
    assert letter["key"] == b"k" * 1024
    assert letter["headers"] == []
    assert letter["is_cut"]
    assert "value cut: it had 6000000 bytes" in letter["error_message"]
    assert "1000001 bytes of headers" in letter["error_message"]


def test_what_was_cut_is_said_however_long_the_message_is(publisher: Publisher, shared_deployment: Settings) -> None:
    put(publisher, RawRecord(602, 1, None, b"v" * 4_000_000, []), BadRecord(0, "undecodable", "x" * 4096))
    message = letter_of(shared_deployment, 602)["error_message"]
    assert len(message) == 2048
    assert message.endswith("x (value cut: it had 4000000 bytes)")


ORIGIN = Origin("eu.clicks", "first-topic-id", 3, 700, 1_750_000_000_123, 4)


def test_a_retry_that_fails_is_a_later_attempt_of_the_letter_of_its_origin(
    publisher: Publisher, shared_deployment: Settings
) -> None:
    record = RawRecord(5, 1_760_000_000_000, b"k", b"v", [*HEADERS, *to_headers(ORIGIN)])
    topic = retry_topic(ROLE, shared_deployment.namespace).name
    DeadLetters(publisher, ROLE).put(topic, "retry-topic-id", 1, record, BAD)
    publisher.flush()
    letter = letter_of(shared_deployment, 700)
    assert letter["dead_letter_id"] == f"{ROLE}:first-topic-id:3:700"
    told = (letter["topic"], letter["topic_id"], letter["partition"], letter["attempt"])
    assert told == ("eu.clicks", "first-topic-id", 3, 4)
    assert letter["record_time"].timestamp() * 1000 == 1_750_000_000_123
    assert (letter["key"], letter["value"]) == (b"k", b"v")
    assert [(header["key"], header["value"]) for header in letter["headers"]] == HEADERS


def test_a_record_on_the_retry_topic_that_is_no_retry_is_a_letter_of_that_topic(
    publisher: Publisher, shared_deployment: Settings
) -> None:
    spoilt = [header for header in to_headers(ORIGIN) if header[0] != "spendloop-attempt"]
    topic = retry_topic(ROLE, shared_deployment.namespace).name
    DeadLetters(publisher, ROLE).put(topic, "retry-topic-id", 1, RawRecord(800, 1, b"k", b"v", spoilt), BAD)
    publisher.flush()
    letter = letter_of(shared_deployment, 800)
    assert letter["dead_letter_id"] == f"{ROLE}:retry-topic-id:1:800"
    assert (letter["topic"], letter["attempt"]) == (topic, 1)
    assert [(header["key"], header["value"]) for header in letter["headers"]] == spoilt


def test_a_source_record_cannot_pass_for_a_retry(publisher: Publisher, shared_deployment: Settings) -> None:
    put(publisher, RawRecord(900, 1, b"k", b"v", to_headers(ORIGIN)))
    letter = letter_of(shared_deployment, 900)
    assert letter["dead_letter_id"] == f"{ROLE}:topic-id:2:900"
    assert letter["attempt"] == 1
