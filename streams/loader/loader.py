"""The loader: every topic into its ClickHouse table, each record once."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from confluent_kafka import Message

from schemas.client.publisher import Publisher
from schemas.codec import Decoder
from schemas.errors import BadRecord
from schemas.topics import Topic, retry_topic, topics
from sinks.clickhouse.migrations import apply
from sinks.clickhouse.null_twin import NullTwin
from sinks.clickhouse.tables import LOADED, table_name, to_rows
from sinks.dead_letters import DeadLetters, RawRecord
from sinks.errors import Refused, Unavailable
from streams.admin import registry, require_same_topics, topic_ids
from streams.clickhouse import connect, migrations
from streams.collector import spare_the_collector
from streams.liveness import DELIVERY_TIMEOUT_S
from streams.loader.blocks import CommitNote, Limits, Range
from streams.loader.partitions import PartitionLost, Partitions, Stopping
from streams.loader.progress import loaded_until
from streams.loader.refused import refused_rows
from streams.loader.retries import decode_retries
from streams.metrics import RoleMetrics
from streams.patience import Patience
from streams.replay.origins import headers_of
from streams.settings import Settings

__all__ = ["ROLE", "Loader"]

ROLE = "loader"
POLL_S = 0.1
TOPIC_CHECK_S = 10.0
#: A step that takes long asks for the group's news first: well below the longest time between two polls.
POLL_EVERY_S = 5.0
#: An insert without an answer is repeated. So long a rebalance may wait for a loader that is in one.
INSERT_TIMEOUT_S = 60.0
REFUSED = "refused_by_clickhouse"

Int64s = npt.NDArray[np.int64]

log = logging.getLogger(__name__)


class _Rows(NamedTuple):
    """The good records of a block that go into one table, as rows, with the position in the block of each."""

    contract: str
    table: pa.Table
    positions: Int64s
    token: str


class Loader:
    """Loads blocks of each partition, one after the other.

    1. Decode the block; what cannot be decoded goes to the dead letters, acknowledged.
    2. Commit the block's start with its end in the metadata: from here on it may have landed.
    3. Insert it under the token (topic id, partition, start, end). Where ClickHouse refuses it, find the rows it
       refuses on a Null-engine twin of the table, put their records to the dead letters, acknowledged, and insert
       the others under the same token; where it is not the rows, stop.
    4. Record the progress in load_progress.
    5. Commit its end.

    A partition that is assigned with a pending end in its commit begins with exactly that block, under the same
    token, which ClickHouse drops if it did land. Where a commit has expired, load_progress says where to begin.

    A block of the retry topic may hold records of several topics: each topic's are inserted on their own, with the
    place and ingest time of the originals, so that a row replaces the same one where it was loaded before.

    Memory: of each partition the records of at most one block and one poll are held, since a block that is due goes
    out before the next poll, and nothing is fetched while one waits.

    Guarantee: effectively once per record; delivery.md, rules 6, 8 and 12.
    """

    def __init__(self, settings: Settings, metrics: RoleMetrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._patience = Patience(metrics)
        section = settings.loader
        self._limits = Limits(section.block_rows, section.block_bytes, section.flush_interval_s)
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
        producer = settings.kafka.client() | {"delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000)}
        self._publisher = Publisher(producer, self._registry, prefix=settings.namespace)
        self._dead_letters = DeadLetters(self._publisher, ROLE)
        self._clickhouse = connect(settings, INSERT_TIMEOUT_S)
        apply(self._clickhouse, migrations())
        self._columns = {name: self._columns_of(self._topics[name]) for name in self._decoders}
        self._next_topic_check = 0.0
        self._partitions = Partitions(
            settings.kafka, settings.group(ROLE), self._topics, self._topic_ids, self._loaded_until, metrics
        )

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Load until `should_stop`. Raises what is unexpected, with nothing committed past it."""
        self._partitions.join(should_stop)
        spare_the_collector()
        try:
            while not should_stop():
                self._require_same_topics()
                self._partitions.begin()
                self._partitions.poll(POLL_S)
                self._load_due()
                self._partitions.observe_lag()
        except Stopping:
            log.info("stopped while waiting; what is not committed is loaded at the next start")
        finally:
            self._partitions.leave()
            self._clickhouse.close()
            self._registry.close()

    def _require_same_topics(self) -> None:
        """Every so often: a topic created anew under a running loader has offsets that were used before."""
        if time.monotonic() < self._next_topic_check:
            return
        conf, group = self._settings.kafka.client(), self._settings.group(ROLE)
        self._patience.wait_for_blocking(
            "topics", lambda: require_same_topics(conf, self._topic_ids, group), self._partitions.stay_in_group
        )
        self._next_topic_check = time.monotonic() + TOPIC_CHECK_S

    def _load_due(self) -> None:
        blocks = self._partitions.blocks
        for key, block in list(blocks.items()):
            # A rebalance during one block's wait takes away, or begins anew, all of the others.
            while self._partitions.blocks.get(key) is block and (due := block.take(self._limits, time.monotonic())):
                try:
                    self._load(key[0], *due)
                    block.committed()
                except PartitionLost:
                    log.info("%s/%d was taken away during a block; its new owner repeats it", *key)
                    if self._partitions.blocks.get(key) is block:
                        del self._partitions.blocks[key]

    def _load(self, topic: str, block: Range, records: Sequence[Message]) -> None:
        if not records:  # a repeat of a range that has none any more
            self._commit(topic, block, block.end, CommitNote(block.topic_id))
            return
        began = time.perf_counter()
        ingest_ms = np.fromiter(map(itemgetter(1), map(Message.timestamp, records)), np.int64, len(records))
        if topic == self._retry_topic.name:
            inserts = self._decode_retries(topic, block, records)
        else:
            inserts = [self._decode(topic, block, records, ingest_ms)]
        self._commit(topic, block, block.start, CommitNote(block.topic_id, block.end))
        for rows in inserts:
            if rows.table.num_rows:
                self._insert_or_refuse(topic, block, records, rows)
        progress = self._progress(topic, block, int(ingest_ms.max()))
        self._insert(topic, block, "load_progress", progress, f"{block.token}-progress")
        self._commit(topic, block, block.end, CommitNote(block.topic_id))
        loaded = sum(rows.table.num_rows for rows in inserts)
        self._observe(topic, block, records, loaded, time.perf_counter() - began)

    def _decode(self, topic: str, block: Range, records: Sequence[Message], ingest_ms: Int64s) -> _Rows:
        values, decoder = list(map(Message.value, records)), self._decoders[topic]
        decoded = self._wait(topic, block, "decode", lambda: decoder.decode(values, ingest_ms))
        if decoded.bad:
            self._bury(topic, block, records, decoded.bad)
        self._metrics.observe_decoded(self._topics[topic], block.partition, decoded, ingest_ms)
        offsets, kept = _offsets(records), decoded.rows
        table = to_rows(decoded.batch, self._columns[topic], block.partition, offsets[kept], ingest_ms[kept])
        return _Rows(self._topics[topic].contract, table, kept, block.token)

    def _decode_retries(self, topic: str, block: Range, records: Sequence[Message]) -> list[_Rows]:
        messages, headers = list(map(Message.value, records)), list(map(headers_of, records))
        parts, bad = self._wait(
            topic, block, "decode", lambda: decode_retries(messages, headers, self._decoders, self._columns)
        )
        if bad:
            self._bury(topic, block, records, bad)
        inserts = []
        for part in parts:
            contract = self._topics[part.topic].contract
            for field, count in part.decoded.dropped_fields.items():
                self._metrics.dropped_fields.labels(contract, field).inc(count)
            token = f"{block.token}-{table_name(contract)}"
            inserts.append(_Rows(contract, part.rows, part.positions, token))
        return inserts

    def _insert_or_refuse(self, topic: str, block: Range, records: Sequence[Message], rows: _Rows) -> None:
        """Insert the rows, without those that ClickHouse refuses, which go to the dead letters first.

        Raises BlockRefused where it is not the rows.
        """
        table = table_name(rows.contract)
        try:
            self._insert(topic, block, table, rows.table, rows.token)
        except Refused as refusal:
            log.warning("%s: a block of %d rows is refused: %s", topic, rows.table.num_rows, refusal)
            refused = self._refused_rows(topic, block, rows, refusal)
        else:
            return
        bad = [BadRecord(int(rows.positions[row]), REFUSED, str(why)) for row, why in sorted(refused.items())]
        self._bury(topic, block, records, bad)
        keep = np.ones(rows.table.num_rows, np.bool_)
        keep[list(refused)] = False
        good = rows.table.filter(pa.array(keep))
        if good.num_rows:
            self._insert(topic, block, table, good, rows.token)

    def _refused_rows(self, topic: str, block: Range, rows: _Rows, refusal: Refused) -> Mapping[int, Refused]:
        twin = NullTwin(self._clickhouse, table_name(rows.contract), rows.token)
        self._wait(topic, block, "refused", twin.create)
        try:
            return refused_rows(
                rows.table, refusal, lambda part: self._wait(topic, block, "refused", lambda: twin.insert(part))
            )
        finally:
            try:
                twin.drop()
            except (Unavailable, Refused) as error:
                log.warning("%s stays behind, empty: %s", twin.name, error)

    def _bury(self, topic: str, block: Range, records: Sequence[Message], bad: Sequence[BadRecord]) -> None:
        """Put records to the dead letters, acknowledged."""

        def put() -> None:
            for item in bad:
                record = records[item.row]
                raw = RawRecord(
                    record.offset(), record.timestamp()[1], record.key(), record.value(), headers_of(record)
                )
                self._dead_letters.put(topic, block.topic_id, block.partition, raw, item)
            self._publisher.flush()

        self._wait(topic, block, "dead_letters", put)
        for item in bad:
            self._metrics.discarded.labels(self._topics[topic].contract, item.error).inc()
        log.warning("%s: %d records to the dead letters", topic, len(bad))

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
        self._wait(topic, block, "commit", lambda: self._partitions.commit(topic, block, offset, note))

    def _wait(self, topic: str, block: Range, stage: str, step: Callable[[], Any]) -> Any:
        """`step`, repeated while its dependency is down, for as long as the partition is ours."""
        key = (topic, block.partition)
        ours = self._partitions.blocks.get(key)

        def keep_alive(delay_s: float) -> None:
            self._partitions.stay_in_group(delay_s)
            if self._partitions.blocks.get(key) is not ours:
                raise PartitionLost

        if time.monotonic() - self._partitions.polled_at > POLL_EVERY_S:
            keep_alive(0.0)
        began = time.perf_counter()
        try:
            return self._patience.wait_for_blocking(stage, step, keep_alive)
        finally:
            self._metrics.batch_duration.labels(stage).observe(time.perf_counter() - began)

    def _loaded_until(self) -> Mapping[tuple[str, int], int]:
        return loaded_until(self._clickhouse, self._topic_ids.values())

    def _observe(self, topic: str, block: Range, records: Sequence[Message], rows: int, seconds: float) -> None:
        contract, newest_ingest_ms = self._topics[topic].contract, records[-1].timestamp()[1]
        self._metrics.observe_received(contract, block.partition, len(records), newest_ingest_ms)
        self._metrics.batch_duration.labels("block").observe(seconds)
        log.debug("%s: %d rows of %d records, [%d, %d)", topic, rows, len(records), block.start, block.end)

    def _columns_of(self, topic: Topic) -> frozenset[str]:
        found = self._clickhouse.query(
            "SELECT name FROM system.columns WHERE default_kind IN ('', 'DEFAULT') "
            f"AND database = '{self._clickhouse.database}' AND table = '{table_name(topic.contract)}'"
        )
        return frozenset(found.column("name").to_pylist())


def _offsets(records: Sequence[Message]) -> Int64s:
    """The offsets of consecutive records of a partition, which only grow."""
    first, last = records[0].offset(), records[-1].offset()
    if last - first == len(records) - 1:
        return np.arange(first, last + 1, dtype=np.int64)
    return np.fromiter(map(Message.offset, records), np.int64, len(records))
