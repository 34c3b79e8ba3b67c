"""The batch lane against a real broker."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import faust
from confluent_kafka import Consumer as PlainConsumer
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from hypothesis import given
from hypothesis import strategies as st

from streams.app import ChunkSchema, create_app
from streams.settings import Settings
from streams.transport.chunk import Chunk
from streams.transport.driver import MAX_CHUNK_RECORDS, _pieces

TIMEOUT_S = 60


class FakeRecord:
    def __init__(self, offset: int) -> None:
        self.offset = offset


@given(st.integers(1, 3 * MAX_CHUNK_RECORDS), st.integers(0, 3), st.integers(1, 3))
def test_pieces_begin_where_their_neighbours_end(count: int, gap_before: int, gap_after: int) -> None:
    records = [FakeRecord(100 + gap_before + 2 * n) for n in range(count)]
    whole = Chunk("t", 0, 100, records[-1].offset + gap_after, 1, records)
    pieces = list(_pieces(whole))
    assert [record for piece in pieces for record in piece.records] == records
    assert pieces[0].start == whole.start
    assert pieces[-1].end == whole.end
    assert [piece.start for piece in pieces[1:]] == [piece.end for piece in pieces[:-1]]
    assert all(len(piece.records) <= MAX_CHUNK_RECORDS for piece in pieces)


class Source:
    """A topic of a test's own."""

    def __init__(self, settings: Settings, partitions: int = 1) -> None:
        self.settings = settings
        self.name = f"lane-{uuid.uuid4().hex[:8]}"
        self.partitions = partitions
        admin = AdminClient(settings.kafka.client())
        admin.create_topics([NewTopic(self.name, partitions, 1)])[self.name].result()

    def publish(self, count: int) -> None:
        producer = Producer(self.settings.kafka.client())
        self._produce(producer, b"", count)
        assert producer.flush(30) == 0

    def publish_in_transaction(self, prefix: bytes, count: int, *, commit: bool) -> None:
        producer = Producer({**self.settings.kafka.client(), "transactional.id": self.name})
        producer.init_transactions()
        producer.begin_transaction()
        self._produce(producer, prefix, count)
        producer.flush(30)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()

    def _produce(self, producer: Producer, prefix: bytes, count: int) -> None:
        for number in range(count):
            producer.produce(self.name, prefix + str(number).encode(), partition=number % self.partitions)

    def committed(self, group: str) -> int:
        consumer = PlainConsumer({**self.settings.kafka.client(), "group.id": group})
        found = consumer.committed([TopicPartition(self.name, n) for n in range(self.partitions)], 30)
        consumer.close()
        return sum(max(tp.offset, 0) for tp in found)


async def run_until(app: faust.App, condition: Callable[[], bool]) -> None:
    """Run the app as a worker does until the condition holds, and stop it cleanly."""
    await app.start()
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await asyncio.sleep(0.05)
    finally:
        await app.stop()


def lane(settings: Settings, source: Source, work: Callable[[Chunk], Any]) -> faust.App:
    app = create_app("lane", settings)

    @app.agent(app.topic(source.name, schema=ChunkSchema()))
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            if work(event.value) is not False:
                event.value.finish()
                event.ack()

    return app


def test_every_record_once_and_in_order_and_the_end_is_committed(settings: Settings) -> None:
    source = Source(settings, partitions=2)
    source.publish(12_000)
    seen: dict[int, list[int]] = {0: [], 1: []}
    chunks: list[Chunk] = []

    def work(chunk: Chunk) -> None:
        chunks.append(chunk)
        seen[chunk.partition] += [int(record.value) for record in chunk.records]

    asyncio.run(run_until(lane(settings, source, work), lambda: sum(map(len, seen.values())) == 12_000))
    assert seen == {0: list(range(0, 12_000, 2)), 1: list(range(1, 12_000, 2))}
    assert source.committed(settings.group("lane")) == 12_000
    assert len(chunks) < 100


def test_transactions_are_taken_as_they_ended(settings: Settings) -> None:
    source = Source(settings)
    for prefix, commit in ((b"a", True), (b"b", False), (b"c", True)):
        source.publish_in_transaction(prefix, 10, commit=commit)
    ranges: list[tuple[int, int]] = []
    values: list[bytes] = []

    def work(chunk: Chunk) -> None:
        ranges.append((chunk.start, chunk.end))
        values.extend(record.value for record in chunk.records)

    asyncio.run(run_until(lane(settings, source, work), lambda: len(values) == 20))
    assert {value[:1] for value in values} == {b"a", b"c"}
    # What is not delivered, markers and aborted records, lies inside the ranges.
    assert ranges[0][0] == 0
    assert [start for start, _ in ranges[1:]] == [end for _, end in ranges[:-1]]
    assert source.committed(settings.group("lane")) == ranges[-1][1]


def test_nothing_is_committed_over_an_unacknowledged_chunk(settings: Settings) -> None:
    """Stock Faust commits over the first message of a partition when the second is acknowledged."""
    source = Source(settings)
    source.publish(3 * MAX_CHUNK_RECORDS)
    sizes: list[int] = []

    def work(chunk: Chunk) -> bool:
        sizes.append(len(chunk.records))
        return len(sizes) > 1

    app = lane(settings, source, work)
    app.conf.stream_wait_empty = False
    asyncio.run(run_until(app, lambda: sum(sizes) == 3 * MAX_CHUNK_RECORDS))
    assert len(sizes) > 1
    assert source.committed(settings.group("lane")) == 0


def test_what_was_not_acknowledged_is_delivered_again(settings: Settings) -> None:
    source = Source(settings)
    source.publish(2_000)
    first: list[int] = []
    again: list[int] = []

    def fail(chunk: Chunk) -> bool:
        first.extend(record.offset for record in chunk.records)
        return False

    app = lane(settings, source, fail)
    app.conf.stream_wait_empty = False
    asyncio.run(run_until(app, lambda: len(first) > 0))
    asyncio.run(
        run_until(
            lane(settings, source, lambda chunk: again.extend(record.offset for record in chunk.records)),
            lambda: len(again) == 2_000,
        )
    )
    assert again == list(range(2_000))


def test_an_agent_that_raises_stops_the_worker_uncommitted(settings: Settings) -> None:
    source = Source(settings)
    source.publish(10)
    app = lane(settings, source, lambda chunk: 1 / 0)
    asyncio.run(run_until(app, lambda: app.crash_reason is not None))
    assert isinstance(app.crash_reason, ZeroDivisionError)
    assert source.committed(settings.group("lane")) == 0
