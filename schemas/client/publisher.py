"""What upstream trackers import: validated, hashed at the edge, acknowledged by all replicas.

    with Publisher.connect("127.0.0.1:9092", "http://127.0.0.1:8081") as publisher:
        publisher.publish("clicks", {"account_id": "acme", "click_id": "c-1", ...})
        publisher.flush()

Guarantee: at-least-once. `flush` returns only when Kafka has acknowledged everything published before it,
and raises DeliveryFailed otherwise; retries inside the client are idempotent, so that it does not double or
reorder a record. A record published twice by the caller is on the topic twice: consumers go by its id.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from confluent_kafka import KafkaException, Producer

from schemas.client.edge import CLEAR_FIELDS, URL_FIELDS, conceal
from schemas.client.registry import Registry
from schemas.client.writer import RecordWriter
from schemas.definitions import definition
from schemas.errors import BadRecord, DeliveryFailed, DeliveryPending, PublisherBroken
from schemas.topics import topics
from schemas.validation import DAY_MS, EventTimeBounds

__all__ = ["Publisher"]

#: A caller's clock is not the broker's; consumers apply the deployment's own bounds.
DEFAULT_BOUNDS = EventTimeBounds(max_age_ms=1100 * DAY_MS, max_ahead_ms=3_600_000)
#: As large as the largest topic takes, dead letters included.
MAX_MESSAGE_BYTES = 4 << 20


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
        writer = self._writer(topic)
        concealed = [conceal(record, writer.known, self._default_country, self.dropped_fields) for record in records]
        self._send(writer, writer.to_batch(concealed))

    def publish_table(self, topic: str, table: pa.Table) -> None:
        """Publish a table, column by column: the fast way. Raises InvalidRecords, and then sends nothing.

        Columns are the schema's, optional ones may be missing, and the clear ones of schemas.client.edge
        are hashed. String and time columns may be of any Arrow type that casts without loss.
        """
        writer = self._writer(topic)
        concealed = _conceal_columns(table, writer.known, self._default_country, self.dropped_fields)
        batches = [writer.from_table(piece) for piece in _pieces(concealed)]
        for batch in batches:
            writer.require_valid(batch)
        for batch in batches:
            self._send(writer, batch, validate=False)

    def publish_batch(self, topic: str, batch: pa.RecordBatch) -> None:
        """Publish a batch that has exactly the schema's columns, without checking its values again."""
        self._send(self._writer(topic), batch, validate=False)

    def validate(self, topic: str, records: Sequence[Mapping[str, Any]]) -> list[BadRecord]:
        """What `publish_records` would refuse, record by record, without sending any."""
        writer = self._writer(topic)
        ignored: Counter[str] = Counter()
        concealed = [conceal(record, writer.known, self._default_country, ignored) for record in records]
        if not writer.problems(concealed):
            return []
        found = ((row, writer.problems([record])) for row, record in enumerate(concealed))
        return [BadRecord(row, bad[0].error, bad[0].message) for row, bad in found if bad]

    def send(self, topic: str, key: bytes, value: bytes) -> None:
        """Hand an already framed value to Kafka under the contract name `topic`."""
        self._produce(self._topics[topic].name, key, value)

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

    def _send(self, writer: RecordWriter, batch: pa.RecordBatch, *, validate: bool = True) -> None:
        if validate:
            writer.require_valid(batch)
        name = writer.topic.name
        for key, body in zip(writer.keys(batch), writer.encode(batch), strict=True):
            self._produce(name, key, body)

    def _produce(self, name: str, key: bytes | None, value: bytes) -> None:
        while True:
            try:
                self._producer.produce(name, value, key, on_delivery=self._on_failure)
                return
            except BufferError:  # the queue is full: let the client drain it
                self._producer.poll(0.05)
            except KafkaException as error:
                raise DeliveryFailed(f"{name}: {error}") from error

    def _on_failure(self, error: Any, message: Any) -> None:
        if error is not None:
            if error.fatal():
                self._fatal = error.str()
            self._failures.append(f"{message.topic()}: {error.str()}")


def _pieces(table: pa.Table, rows: int = 20_000) -> Iterable[pa.Table]:
    """Slices small enough that encoding one does not double the memory of the whole."""
    return (table.slice(start, rows) for start in range(0, table.num_rows, rows))


def _conceal_columns(
    table: pa.Table, known: frozenset[str], default_country: str | None, dropped: Counter[str]
) -> pa.Table:
    """`conceal`, for the columns it concerns: each distinct row of them once."""
    concerned = [name for name in table.column_names if name in CLEAR_FIELDS or name in URL_FIELDS]
    if not concerned:
        return table
    rest = table.drop_columns(concerned)
    extra = ["user_data_sha256"] if "user_data_sha256" in rest.column_names else []
    rows = [
        conceal(record, known, default_country, dropped)
        for record in table.select(concerned + extra).to_pylist(maps_as_pydicts="lossy")
    ]
    produced = sorted({name for row in rows for name in row})
    for name in produced:
        is_map = name == "user_data_sha256"
        values = [list((row.get(name) or {}).items()) if is_map else row.get(name) for row in rows]
        column = pa.array(values, pa.map_(pa.string(), pa.string()) if is_map else pa.string())
        if name in rest.column_names:
            rest = rest.set_column(rest.column_names.index(name), name, column)
        else:
            rest = rest.append_column(name, column)
    return rest
