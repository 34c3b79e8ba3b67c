"""The loader: every topic into its ClickHouse table, each record once."""

import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from schemas.client.publisher import Publisher
from schemas.codec import Decoder
from schemas.errors import BadRecord
from schemas.topics import Topic, retry_topic, topics
from sinks.clickhouse.migrations import apply
from sinks.clickhouse.tables import LOADED, table_name, to_rows
from sinks.dead_letters import DeadLetters, RawRecord
from sinks.errors import Unavailable
from streams.admin import TopicRecreated, registry, require_same_topics, topic_ids
from streams.clickhouse import connect, migrations
from streams.loader.blocks import Block, CommitNote, Range
from streams.loader.retries import decode_retries
from streams.metrics import RoleMetrics
from streams.patience import Patience
from streams.replay.origins import headers_of
from streams.settings import Settings

__all__ = ["ROLE", "Loader"]

ROLE = "loader"
POLL_RECORDS = 10_000
POLL_S = 0.1
TOPIC_CHECK_S = 30.0
#: For so long the partitions of a loader that died wait for another.
SESSION_TIMEOUT_MS = 15_000
#: The group has moved on without us: whoever owns the partition now repeats the block under its token.
FENCED = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError.FENCED_INSTANCE_ID,
    KafkaError._ASSIGNMENT_LOST,
)

log = logging.getLogger(__name__)


class _PartitionLost(Exception):
    """The partition was taken away while one of its blocks was being loaded."""


class Loader:
    """Loads blocks of each partition, one after the other.

    1. Decode the block; what cannot be decoded goes to the dead letters, acknowledged.
    2. Commit the block's start with its end in the metadata: from here on it may have landed.
    3. Insert it under the token (topic id, partition, start, end).
    4. Record the progress in load_progress.
    5. Commit its end.

    A partition that is assigned with a pending end in its commit begins with exactly that block, under the same
    token, which ClickHouse drops if it did land. Where a commit has expired, load_progress says where to begin.

    A block of the retry topic may hold records of several topics: each topic's are inserted on their own, with the
    place and ingest time of the originals, so that a row replaces the same one where it was loaded before.

    Guarantee: effectively once per record; delivery.md, rules 6, 8 and 12.
    """

    def __init__(self, settings: Settings, metrics: RoleMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._patience = Patience(metrics)
        names = topics(settings.namespace)
        self._retry_topic = retry_topic(ROLE, settings.namespace)
        read = [*(names[contract] for contract in LOADED), self._retry_topic]
        self._topics: dict[str, Topic] = {topic.name: topic for topic in read}
        self._topic_ids = topic_ids(settings.kafka.client(), list(self._topics))
        self._registry = registry(settings)
        self._decoders = {
            name: Decoder(topic, self._registry, settings.event_time_bounds(topic.contract))
            for name, topic in self._topics.items()
            if topic.schema
        }
        self._publisher = Publisher(settings.kafka.client(), self._registry, prefix=settings.namespace)
        self._dead_letters = DeadLetters(self._publisher, ROLE)
        self._clickhouse = connect(settings)
        apply(self._clickhouse, migrations())
        self._columns = {name: self._columns_of(self._topics[name]) for name in self._decoders}
        self._blocks: dict[tuple[str, int], Block] = {}
        self._next_topic_check = 0.0
        self._consumer = Consumer(
            {
                **settings.kafka.client(),
                "group.id": settings.group(ROLE),
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "session.timeout.ms": SESSION_TIMEOUT_MS,
                "fetch.message.max.bytes": 8 << 20,
                "queued.max.messages.kbytes": 64 << 10,
            }
        )

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Load until `should_stop`. Raises what is unexpected, with nothing committed past it."""
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        try:
            while not should_stop():
                self._require_same_topics()
                self._take(self._consumer.consume(POLL_RECORDS, POLL_S))
                self._load_due()
                self._observe_lag()
        finally:
            self._consumer.close()
            self._clickhouse.close()
            self._registry.close()

    def _require_same_topics(self) -> None:
        """Every so often: a topic created anew under a running loader has offsets that were used before."""
        if time.monotonic() < self._next_topic_check:
            return
        conf, group = self._settings.kafka.client(), self._settings.group(ROLE)
        self._patience.wait_for_blocking(
            "topics", lambda: require_same_topics(conf, self._topic_ids, group), self._stay_in_group
        )
        self._next_topic_check = time.monotonic() + TOPIC_CHECK_S

    def _take(self, records: Sequence[Any]) -> None:
        now = time.monotonic()
        for record in records:
            if record.error():
                if record.error().fatal():
                    raise KafkaException(record.error())
                self._metrics.errors.labels("consume").inc()
                log.warning("%s", record.error())
                continue
            block = self._blocks.get((record.topic(), record.partition()))
            if block is not None:
                block.add(record, now)

    def _load_due(self) -> None:
        section = self._settings.loader
        for key, block in list(self._blocks.items()):
            # A rebalance during one block's wait may have taken away, or begun anew, any of the others.
            while self._blocks.get(key) is block and (
                due := block.take(section.block_rows, section.flush_interval_s, time.monotonic())
            ):
                try:
                    self._load(key[0], *due)
                except _PartitionLost:
                    log.info("%s/%d was taken away during a block; its new owner repeats it", *key)
                    if self._blocks.get(key) is block:
                        del self._blocks[key]

    def _load(self, topic: str, block: Range, records: Sequence[Any]) -> None:
        if not records:  # a repeat whose records retention has removed
            self._commit(topic, block, block.end, CommitNote(block.topic_id))
            return
        began = time.perf_counter()
        if topic == self._retry_topic.name:
            inserts, ingest_ms = self._decode_retries(topic, block, records)
        else:
            rows, ingest_ms = self._decode(topic, block, records)
            inserts = [(table_name(self._topics[topic].contract), rows, block.token)]
        self._commit(topic, block, block.start, CommitNote(block.topic_id, block.end))
        for table, rows, token in inserts:
            if rows.num_rows:
                self._insert(topic, block, table, rows, token)
        self._insert(topic, block, "load_progress", self._progress(topic, block, ingest_ms), f"{block.token}-progress")
        self._commit(topic, block, block.end, CommitNote(block.topic_id))
        loaded = sum(rows.num_rows for _, rows, _ in inserts)
        self._observe(topic, block, records, loaded, time.perf_counter() - began)

    def _decode(self, topic: str, block: Range, records: Sequence[Any]) -> tuple[pa.Table, int]:
        """Rows for the table, and the newest ingest time in milliseconds."""
        values = [record.value() for record in records]
        times = np.fromiter((record.timestamp()[1] for record in records), np.int64, len(records))
        decoder = self._decoders[topic]
        decoded = self._wait(topic, block, "decode", lambda: decoder.decode(values, times))
        self._discard(topic, block, records, decoded.bad)
        self._metrics.observe_decoded(self._topics[topic], block.partition, decoded, times)
        offsets = np.fromiter((record.offset() for record in records), np.int64, len(records))
        rows = to_rows(decoded.batch, self._columns[topic], block.partition, offsets[decoded.rows], times[decoded.rows])
        return rows, int(times.max())

    def _decode_retries(
        self, topic: str, block: Range, records: Sequence[Any]
    ) -> tuple[list[tuple[str, pa.Table, str]], int]:
        """(table, rows, token) for each topic the records come from, and the newest ingest time of the retries."""
        messages, headers = [record.value() for record in records], [headers_of(record) for record in records]
        parts, bad = self._wait(
            topic, block, "decode", lambda: decode_retries(messages, headers, self._decoders, self._columns)
        )
        self._discard(topic, block, records, bad)
        inserts = []
        for part in parts:
            contract = self._topics[part.topic].contract
            for field, count in part.decoded.dropped_fields.items():
                self._metrics.dropped_fields.labels(contract, field).inc(count)
            table = table_name(contract)
            inserts.append((table, part.rows, f"{block.token}-{table}"))
        return inserts, max(record.timestamp()[1] for record in records)

    def _discard(self, topic: str, block: Range, records: Sequence[Any], bad: Sequence[BadRecord]) -> None:
        if not bad:
            return
        self._wait(topic, block, "dead_letters", lambda: self._bury(topic, block, records, bad))
        for item in bad:
            self._metrics.discarded.labels(self._topics[topic].contract, item.error).inc()
        log.warning("%s: %d records to the dead letters", topic, len(bad))

    def _bury(self, topic: str, block: Range, records: Sequence[Any], bad: Sequence[BadRecord]) -> None:
        for item in bad:
            record = records[item.row]
            raw = RawRecord(record.offset(), record.timestamp()[1], record.key(), record.value(), headers_of(record))
            self._dead_letters.put(topic, block.topic_id, block.partition, raw, item)
        self._publisher.flush()

    def _insert(self, topic: str, block: Range, table: str, rows: pa.Table, token: str) -> None:
        self._wait(topic, block, "insert", lambda: self._clickhouse.insert(table, rows, token))
        if table != "load_progress":
            self._metrics.sent.labels(table).inc(rows.num_rows)

    def _progress(self, topic: str, block: Range, newest_ingest_ms: int) -> pa.Table:
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        return pa.table(
            {
                "topic": [self._topics[topic].contract],
                "topic_id": [block.topic_id],
                "partition": pa.array([block.partition], pa.int32()),
                "end_offset": [block.end],
                "newest_ingest_time": pa.array([newest_ingest_ms], pa.timestamp("ms")),
                "loaded_at": pa.array([now_ms], pa.timestamp("ms")),
            }
        )

    def _commit(self, topic: str, block: Range, offset: int, note: CommitNote) -> None:
        position = TopicPartition(topic, block.partition, offset, note.text())

        def commit() -> None:
            try:
                self._consumer.commit(offsets=[position], asynchronous=False)
            except KafkaException as error:
                code = error.args[0].code()
                if code in FENCED:
                    raise _PartitionLost from error
                if error.args[0].retriable() or code in (KafkaError._TIMED_OUT, KafkaError._TRANSPORT):
                    raise Unavailable(f"Kafka does not take the commit: {error.args[0].str()}") from error
                raise

        self._wait(topic, block, "commit", commit)

    def _wait(self, topic: str, block: Range, stage: str, step: Callable[[], Any]) -> Any:
        """`step`, repeated while its dependency is down, for as long as the partition is ours."""
        began = time.perf_counter()
        key = (topic, block.partition)
        ours = self._blocks.get(key)

        def keep_alive(delay_s: float) -> None:
            self._stay_in_group(delay_s)
            if self._blocks.get(key) is not ours:
                raise _PartitionLost

        try:
            return self._patience.wait_for_blocking(stage, step, keep_alive)
        finally:
            self._metrics.batch_duration.labels(stage).observe(time.perf_counter() - began)

    def _stay_in_group(self, delay_s: float) -> None:
        """Wait, polling, so that Kafka does not take us for dead; nothing is fetched meanwhile."""
        assigned = self._consumer.assignment()
        self._consumer.pause(assigned)
        try:
            self._take(self._consumer.consume(POLL_RECORDS, delay_s))
        finally:
            # Of what is ours now: a rebalance in between may have changed that.
            self._consumer.resume(self._consumer.assignment())

    def _on_assign(self, consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        if not assigned:
            return
        committed = self._patience.wait_for_blocking("assign", lambda: _committed(consumer, assigned))
        for tp in committed:
            self._blocks[tp.topic, tp.partition] = self._first_block(tp)
        starts = [TopicPartition(name, number, block.start) for (name, number), block in self._blocks.items()]
        consumer.assign(starts)
        # A pause outlives the assignment it was made in.
        consumer.resume(starts)

    def _first_block(self, committed: TopicPartition) -> Block:
        """Where a partition begins: at its commit, else at what load_progress says, else at the beginning."""
        topic_id = self._topic_ids[committed.topic]
        if committed.offset == OFFSET_INVALID:
            return Block(topic_id, committed.partition, self._loaded_until(committed, topic_id))
        note = CommitNote.read(committed.metadata)
        if note is not None and note.topic_id != topic_id:
            raise TopicRecreated(committed.topic, note.topic_id, topic_id, self._settings.group(ROLE))
        return Block(topic_id, committed.partition, committed.offset, note.pending_end if note else None)

    def _loaded_until(self, partition: TopicPartition, topic_id: str) -> int:
        sql = (
            "SELECT max(end_offset) AS end_offset FROM load_progress "
            f"WHERE topic_id = '{topic_id}' AND partition = {partition.partition}"
        )
        found = self._patience.wait_for_blocking("assign", lambda: self._clickhouse.query(sql))
        low, _ = self._consumer.get_watermark_offsets(partition, timeout=30)
        return max(int(found.column("end_offset")[0].as_py() or 0), int(low))

    def _on_revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        """Forget the partitions. What was not committed is loaded by their new owner."""
        for tp in revoked:
            self._blocks.pop((tp.topic, tp.partition), None)

    def _observe_lag(self) -> None:
        self._metrics.lag.clear()  # of partitions that are somebody else's now
        for (topic, partition), block in self._blocks.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            gauge = self._metrics.lag.labels(self._topics[topic].contract, str(partition))
            gauge.set(max(end - block.start, 0))

    def _observe(self, topic: str, block: Range, records: Sequence[Any], rows: int, seconds: float) -> None:
        contract, newest_ingest_ms = self._topics[topic].contract, records[-1].timestamp()[1]
        self._metrics.observe_received(contract, block.partition, len(records), newest_ingest_ms)
        self._metrics.batch_duration.labels("block").observe(seconds)
        log.debug("%s: %d rows of %d records, [%d, %d)", topic, rows, len(records), block.start, block.end)

    def _columns_of(self, topic: Topic) -> frozenset[str]:
        found = self._clickhouse.query(
            "SELECT name FROM system.columns WHERE default_kind = '' "
            f"AND database = '{self._clickhouse.database}' AND table = '{table_name(topic.contract)}'"
        )
        return frozenset(found.column("name").to_pylist())


def _committed(consumer: Consumer, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
    try:
        found: list[TopicPartition] = consumer.committed(list(partitions), timeout=30)
    except KafkaException as error:
        raise Unavailable(f"Kafka does not say what is committed: {error.args[0].str()}") from error
    return found
