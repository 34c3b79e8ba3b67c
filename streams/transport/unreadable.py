"""Reads with librdkafka what aiokafka cannot: records that have a header whose name is not UTF-8."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from streams.replay.origins import headers_of

__all__ = ["PlainRecord", "plain", "read_range"]

TIMEOUT_S = 30.0
POLL_RECORDS, POLL_S = 1_000, 1.0


class PlainRecord(NamedTuple):
    """A record as aiokafka's own are. Headers are left out where one has a name that is not UTF-8."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


def read_range(kafka: Mapping[str, Any], topic: str, partition: int, start: int, end: int) -> list[PlainRecord] | None:
    """The committed records with offsets in [start, end), or None where they could not be had in time.

    `kafka` are settings of a librdkafka client. Blocks for up to half a minute.
    """
    consumer = Consumer({**kafka, "group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True})
    deadline = time.monotonic() + TIMEOUT_S
    records: list[PlainRecord] = []
    try:
        consumer.assign([TopicPartition(topic, partition, start)])
        while time.monotonic() < deadline:
            for message in consumer.consume(POLL_RECORDS, POLL_S):
                if message.error() is None and message.offset() < end:
                    records.append(plain(message))
                elif message.error() is None or message.error().code() == KafkaError._PARTITION_EOF:
                    return records
    finally:
        consumer.close()
    return None


def plain(message: Any) -> PlainRecord:
    """A message of librdkafka as aiokafka would give it."""
    return PlainRecord(message.offset(), message.timestamp()[1], message.key(), message.value(), headers_of(message))
