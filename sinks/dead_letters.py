"""Puts records that cannot be processed where a person finds them, with their original bytes.

Guarantee (delivery.md, rule 12): the dead letter is acknowledged by Kafka before its record is, and its id is
(role, topic id, partition, offset), so that putting it there twice makes one dead letter.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import definition, encode, parse
from schemas.errors import BadRecord

__all__ = ["DeadLetters", "RawRecord"]

#: As the schema bounds it.
MAX_MESSAGE_BYTES = 2048


#: Together less than the 4 MiB a dead-letter topic takes.
MAX_VALUE_BYTES = 3 << 20
MAX_KEY_AND_HEADERS_BYTES = 768 << 10
MAX_CUT_KEY_BYTES = 1 << 10


class RawRecord(NamedTuple):
    """A record as Kafka gave it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]


class DeadLetters:
    """The dead letters of one role."""

    def __init__(self, publisher: Publisher, role: str) -> None:
        self._publisher = publisher
        self._role = role
        self._topic = f"{role}.dlt"
        self._parsed = parse(definition("dead-letters").text)

    def put(self, topic: str, topic_id: str, partition: int, record: RawRecord, bad: BadRecord) -> None:
        """Hand one record to the producer; it is there for certain after the publisher's `flush`."""
        letter_id = f"{self._role}:{topic_id}:{partition}:{record.offset}"
        letter: dict[str, Any] = {
            "dead_letter_id": letter_id,
            "role": self._role,
            "topic": topic,
            "topic_id": topic_id,
            "partition": partition,
            "offset": record.offset,
            "record_time": record.timestamp_ms,
            "error_class": bad.error,
            "error_message": bad.message.encode()[:MAX_MESSAGE_BYTES].decode(errors="ignore"),
            "schema_id": bad.schema_id,
            "account_id": bad.account_id,
            "attempt": 1,
            "key": record.key,
            "value": record.value,
            "headers": [{"key": name, "value": value} for name, value in record.headers],
        }
        _cut(letter)
        schema_id = self._publisher.schema_id(self._topic)
        value = wire.frame(schema_id, encode(self._parsed, letter))
        self._publisher.send(self._topic, letter_id.encode(), value)


def _cut(letter: dict[str, Any]) -> None:
    """Keep the letter below what its topic takes, and say so in it.

    The limit of a topic is on compressed batches: a record may be larger than any topic takes uncompressed.
    """
    size = sum(len(header["key"]) + len(header["value"] or b"") for header in letter["headers"])
    if size + len(letter["key"] or b"") > MAX_KEY_AND_HEADERS_BYTES:
        letter["key"], letter["headers"] = (letter["key"] or b"")[:MAX_CUT_KEY_BYTES], []
        letter["error_message"] += f" (headers left out, key cut: {size} bytes of headers)"
    if len(letter["value"] or b"") > MAX_VALUE_BYTES:
        letter["error_message"] += f" (value cut: it had {len(letter['value'])} bytes)"
        letter["value"] = letter["value"][:MAX_VALUE_BYTES]
