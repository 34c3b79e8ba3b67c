"""Puts records that cannot be processed where a person finds them, with their original bytes.

Guarantee (delivery.md, rule 12): the dead letter is acknowledged by Kafka before its record is, and its id is
(role, topic id, partition, offset) of the original, so that putting it there twice makes one dead letter, and
a retry that fails makes a later attempt of the same one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import definition, encode, parse
from schemas.errors import BadRecord, NotARetry
from schemas.retries import Headers, Origin, foreign, origin_of

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
    headers: Headers


class DeadLetters:
    """The dead letters of one role."""

    def __init__(self, publisher: Publisher, role: str) -> None:
        self._publisher = publisher
        self._role = role
        self._topic = f"{role}.dlt"
        self._retry_topic = publisher.name(f"{role}.retry")
        self._parsed = parse(definition("dead-letters").text)

    def put(self, topic: str, topic_id: str, partition: int, record: RawRecord, bad: BadRecord) -> None:
        """Hand one record to the producer; it is there for certain after the publisher's `flush`.

        For a record of the role's retry topic the letter says where that came from, not that it came from there.
        """
        origin, headers = self._origin(topic, topic_id, partition, record)
        letter_id = f"{self._role}:{origin.topic_id}:{origin.partition}:{origin.offset}"
        key, value, headers, cuts = _cut(record.key, record.value, headers)
        letter: dict[str, Any] = {
            "dead_letter_id": letter_id,
            "role": self._role,
            "topic": origin.topic,
            "topic_id": origin.topic_id,
            "partition": origin.partition,
            "offset": origin.offset,
            "record_time": origin.time_ms,
            "error_class": bad.error,
            "error_message": _message(bad.message, cuts),
            "schema_id": bad.schema_id,
            "account_id": bad.account_id,
            "attempt": origin.attempt,
            "key": key,
            "value": value,
            "headers": [{"key": name, "value": value} for name, value in headers],
            "is_cut": bool(cuts),
        }
        schema_id = self._publisher.schema_id(self._topic)
        framed = wire.frame(schema_id, encode(self._parsed, letter))
        self._publisher.send(self._topic, letter_id.encode(), framed)

    def _origin(self, topic: str, topic_id: str, partition: int, record: RawRecord) -> tuple[Origin, Headers]:
        """Where the record was first, and the headers it had there."""
        if topic == self._retry_topic:
            try:
                return origin_of(record.headers), foreign(record.headers)
            except NotARetry:  # the letter says so, and is about this record
                pass
        return Origin(topic, topic_id, partition, record.offset, record.timestamp_ms, attempt=1), record.headers


def _cut(
    key: bytes | None, value: bytes | None, headers: Headers
) -> tuple[bytes | None, bytes | None, Headers, Sequence[str]]:
    """Key, value and headers that fit into what a letter's topic takes, and what had to be left out for it.

    The limit of a topic is on compressed batches: a record may be larger than any topic takes uncompressed.
    """
    cuts = []
    size = sum(len(name) + len(content or b"") for name, content in headers)
    if size + len(key or b"") > MAX_KEY_AND_HEADERS_BYTES:
        key, headers = (key or b"")[:MAX_CUT_KEY_BYTES], []
        cuts.append(f" (headers left out, key cut: {size} bytes of headers)")
    if value is not None and len(value) > MAX_VALUE_BYTES:
        cuts.append(f" (value cut: it had {len(value)} bytes)")
        value = value[:MAX_VALUE_BYTES]
    return key, value, headers, cuts


def _message(message: str, cuts: Sequence[str]) -> str:
    suffix = "".join(cuts)
    return message.encode()[: MAX_MESSAGE_BYTES - len(suffix)].decode(errors="ignore") + suffix
