"""What upstream trackers import: validated, hashed at the edge, acknowledged by all replicas.

    with Publisher.connect("127.0.0.1:9092", "http://127.0.0.1:8080/apis/ccompat/v7") as publisher:
        publisher.publish("clicks", {"account_id": "acme", "click_id": "c-1", ...})
        publisher.flush()

Guarantee: at-least-once. `flush` returns only when Kafka has acknowledged everything published before it,
and raises DeliveryFailed otherwise; retries inside the client are idempotent, so that it does not double or
reorder a record. A record published twice by the caller is on the topic twice: consumers go by its id.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from confluent_kafka import KafkaException, Producer

from schemas.client.edge import conceal, conceal_columns
from schemas.client.registry import Registry
from schemas.client.writer import RecordWriter
from schemas.definitions import definition
from schemas.errors import BadRecord, DeliveryFailed, DeliveryPending, InvalidRecords, PublisherBroken
from schemas.retries import Headers
from schemas.topics import TOPICS, topics
from schemas.validation import DAY_MS, EventTimeBounds

__all__ = ["Publisher"]

#: A caller's clock is not the broker's; consumers apply the deployment's own bounds.
DEFAULT_BOUNDS = EventTimeBounds(max_age_ms=1100 * DAY_MS, max_ahead_ms=3_600_000)
#: As large as the largest topic takes, dead letters included.
MAX_MESSAGE_BYTES = max(topic.max_message_bytes for topic in TOPICS.values())
#: Few enough that encoding a table does not double its memory.
ROWS_AT_ONCE = 20_000


class Publisher:
    """Publishes records of the contract. Use it as a context manager; not to be shared between threads."""

    def __init__(
        self,
        kafka: Mapping[str, Any],
        registry: Registry,
        *,
        prefix: str = "",
        bounds: EventTimeBounds | None = DEFAULT_BOUNDS,
        default_country: str | None = None,
    ) -> None:
        """`kafka` are librdkafka client settings; `default_country` completes phone numbers without one."""
        self._producer = Producer(
            {
                "linger.ms": 20,
                "compression.type": "lz4",
                "queue.buffering.max.kbytes": 256 << 10,
                **kafka,
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.max.bytes": MAX_MESSAGE_BYTES,
                "delivery.report.only.error": True,
            }
        )
        self._registry = registry
        self._topics = topics(prefix)
        self._bounds = bounds
        self._default_country = default_country
        self._writers: dict[str, RecordWriter] = {}
        self._schema_ids: dict[str, int] = {}
        self._failures: list[str] = []
        self._fatal = ""
        #: Values that could not be normalised and were left out, by field.
        self.dropped_fields: Counter[str] = Counter()

    @classmethod
    def connect(cls, bootstrap_servers: str, registry_url: str, **options: Any) -> Self:
        """A publisher for a broker and a registry without authentication."""
        return cls({"bootstrap.servers": bootstrap_servers}, Registry(registry_url), **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.flush()
        else:
            self._producer.purge()

    def publish(self, topic: str, record: Mapping[str, Any]) -> None:
        """Publish one record: `topic` is a contract name such as "clicks".

        Times are aware datetimes or milliseconds since the epoch. Raises InvalidRecords.
        """
        self.publish_records(topic, [record])

    def publish_records(self, topic: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Publish records, all of them or, where one is invalid, none. Raises InvalidRecords."""
        dropped: Counter[str] = Counter()
        batch, bad = self._check(topic, records, dropped)
        if bad:
            raise InvalidRecords(bad)
        self.dropped_fields += dropped
        self.publish_batch(topic, batch)

    def publish_table(self, topic: str, table: pa.Table) -> None:
        """Publish a table, column by column: the fast way. Raises InvalidRecords, and then sends nothing.

        Columns are the schema's, optional ones may be missing, and the clear ones of schemas.client.edge
        are hashed. Columns may be of any Arrow type that casts without loss; times without a zone are UTC.
        """
        writer = self._writer(topic)
        dropped: Counter[str] = Counter()
        concealed = conceal_columns(table, writer.known, self._default_country, dropped)
        batches, bad = [], []
        for start in range(0, concealed.num_rows, ROWS_AT_ONCE):
            batch, refused = writer.from_table(concealed.slice(start, ROWS_AT_ONCE), dropped)
            batches.append(batch)
            bad += [replace(found, row=found.row + start) for found in refused]
        if bad:
            raise InvalidRecords(bad)
        self.dropped_fields += dropped
        for batch in batches:
            self.publish_batch(topic, batch)

    def publish_batch(self, topic: str, batch: pa.RecordBatch) -> None:
        """Publish a batch that has exactly the schema's columns, without checking its values."""
        writer = self._writer(topic)
        for key, message in zip(writer.keys(batch), writer.encode(batch), strict=True):
            self._produce(writer.topic.name, key, message)

    def validate(self, topic: str, records: Sequence[Mapping[str, Any]]) -> list[BadRecord]:
        """What `publish_records` would refuse, one entry a bad record, without sending any."""
        _, bad = self._check(topic, records, Counter())
        return bad

    def send(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Hand an already framed value to Kafka under the contract name `topic`."""
        self._produce(self.name(topic), key, value, headers)

    def name(self, topic: str) -> str:
        """What Kafka calls this topic of the contract."""
        return self._topics[topic].name

    def flush(self, timeout_s: float = 60.0) -> None:
        """Wait until everything is acknowledged. Raises DeliveryFailed, naming the first reasons.

        DeliveryPending, a DeliveryFailed, says that nothing has failed yet but time is up; flush again to wait on.
        """
        left = self._producer.flush(timeout_s)
        failures, self._failures = self._failures, []
        if self._fatal:
            raise PublisherBroken(self._fatal)
        if failures:
            raise DeliveryFailed("; ".join(failures[:3]) + (" ..." if len(failures) > 3 else ""))
        if left:
            raise DeliveryPending(f"{left} records were not acknowledged within {timeout_s:g} s")

    def schema_id(self, topic: str) -> int:
        """The id records of this topic are written with. Raises RegistryUnavailable, ContractError."""
        if topic not in self._schema_ids:
            found = self._topics[topic]
            self._schema_ids[topic] = self._registry.schema_id(found.subject, definition(found.schema))
        return self._schema_ids[topic]

    def _writer(self, topic: str) -> RecordWriter:
        if topic not in self._writers:
            found = self._topics[topic]
            schema_id = self.schema_id(topic)
            self._writers[topic] = RecordWriter(found, definition(found.schema), schema_id, self._bounds)
        return self._writers[topic]

    def _check(
        self, topic: str, records: Sequence[Mapping[str, Any]], dropped: Counter[str]
    ) -> tuple[pa.RecordBatch, list[BadRecord]]:
        writer = self._writer(topic)
        concealed = [conceal(record, writer.known, self._default_country, dropped) for record in records]
        return writer.from_records(concealed, dropped)

    def _produce(self, name: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        while True:
            try:
                self._producer.produce(name, value, key, headers=list(headers), on_delivery=self._on_failure)
                return
            except BufferError:  # the queue is full: let the client drain it
                self._producer.poll(0.05)
            except KafkaException as error:
                reason = f"{name}: {error.args[0].str()}"
                raise (PublisherBroken if error.args[0].fatal() else DeliveryFailed)(reason) from error

    def _on_failure(self, error: Any, message: Any) -> None:
        if error is not None:
            if error.fatal():
                self._fatal = error.str()
            self._failures.append(f"{message.topic()}: {error.str()}")
