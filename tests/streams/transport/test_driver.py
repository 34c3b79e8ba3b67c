"""The batch lane against a real broker."""

import asyncio
import uuid
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import faust
import pytest
from confluent_kafka import Consumer as PlainConsumer
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from faust.types import TP

from streams.admin import RecordsGone
from streams.app import ChunkSchema, create_app, work_through
from streams.settings import Settings
from streams.transport import driver
from streams.transport.chunk import Abandoned, Chunk
from streams.transport.fetched import MAX_CHUNK_BYTES, MAX_CHUNK_RECORDS

TIMEOUT_S = 60
UNREADABLE = b"\xff\xfe"  # as the name of a header


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
            while not condition() and app.crash_reason is None:
                await asyncio.sleep(0.05)
    finally:
        await app.stop()


def lane(
    settings: Settings, source: Source, work: Callable[[Chunk], Any], topic_ids: Mapping[str, str] | None = None
) -> faust.App:
    """An app that calls `work` with each chunk."""
    app = create_app("lane", settings, topic_ids=topic_ids or {})

    @app.agent(app.topic(source.name, schema=ChunkSchema()))
    async def agent(stream: Any) -> None:
        async def worked_on(chunk: Chunk) -> None:
            if asyncio.iscoroutine(result := work(chunk)):
                await result

        await work_through(stream, worked_on)

    return app


def forgetful(settings: Settings, source: Source, work: Callable[[Chunk], Any]) -> faust.App:
    """The same, but a chunk is finished only where `work` says so: the next is begun all the same."""
    app = create_app("lane", settings)

    @app.agent(app.topic(source.name, schema=ChunkSchema()))
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            if event.value.begin() and work(event.value):
                event.value.finish()
                event.ack()

    return app


@pytest.fixture(autouse=True)
def brief_revokes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "REVOKE_BUDGET_S", 2.0)


def test_every_record_once_and_in_order_and_the_end_is_committed(settings: Settings) -> None:
    source = Source(settings, partitions=2)
    source.publish(12_000)
    seen: dict[int, list[int]] = {0: [], 1: []}
    chunks: list[Chunk] = []

    def work(chunk: Chunk) -> None:
        chunks.append(chunk)
        seen[chunk.partition] += [int(record.value) for record in chunk.records]

    def is_done() -> bool:
        return sum(map(len, seen.values())) == 12_000 and all(chunk.is_finished for chunk in chunks)

    asyncio.run(run_until(lane(settings, source, work), is_done))
    assert seen == {0: list(range(0, 12_000, 2)), 1: list(range(1, 12_000, 2))}
    assert source.committed(settings.group("lane")) == 12_000
    assert len(chunks) < 100


def test_partitions_are_worked_on_together_and_each_in_order(settings: Settings) -> None:
    source = Source(settings, partitions=2)
    source.publish(12_000)
    seen: dict[int, list[int]] = {0: [], 1: []}
    at_work: set[int] = set()
    both_at_work = asyncio.Event()

    async def work(chunk: Chunk) -> None:
        assert chunk.partition not in at_work
        at_work.add(chunk.partition)
        if len(at_work) == 2:
            both_at_work.set()
        await both_at_work.wait()  # for ever, were there only one at a time
        await asyncio.sleep(0)
        seen[chunk.partition] += [int(record.value) for record in chunk.records]
        at_work.remove(chunk.partition)

    asyncio.run(run_until(lane(settings, source, work), lambda: sum(map(len, seen.values())) == 12_000))
    assert seen == {0: list(range(0, 12_000, 2)), 1: list(range(1, 12_000, 2))}
    assert source.committed(settings.group("lane")) == 12_000


def test_of_chunks_at_work_together_one_that_raises_ends_all_uncommitted(settings: Settings) -> None:
    source = Source(settings, partitions=2)
    source.publish(10)
    begun: list[Chunk] = []

    async def work(chunk: Chunk) -> None:
        begun.append(chunk)
        while len(begun) < 2:
            await asyncio.sleep(0.01)
        if chunk is begun[0]:
            raise ZeroDivisionError
        await asyncio.Event().wait()

    app = lane(settings, source, work)
    asyncio.run(run_until(app, lambda: False))
    assert isinstance(app.crash_reason, ZeroDivisionError)
    assert [chunk.is_abandoned for chunk in begun] == [True, True]
    assert source.committed(settings.group("lane")) == 0


def test_what_is_at_work_while_all_partitions_begin_again_ends_first_and_counts_for_nothing(settings: Settings) -> None:
    """As where Redis has forgotten, which one chunk finds out while others go on."""
    source = Source(settings, partitions=2)
    source.publish(12_000)
    first: dict[int, Chunk] = {}
    seen: dict[int, list[int]] = {0: [], 1: []}
    at_work: set[int] = set()

    async def work(chunk: Chunk) -> None:
        assert chunk.partition not in at_work
        at_work.add(chunk.partition)
        if chunk.partition in first:
            seen[chunk.partition] += [int(record.value) for record in chunk.records]
        else:
            first[chunk.partition] = chunk
            await find_out_that_all_begin_again(chunk)
        at_work.remove(chunk.partition)

    async def find_out_that_all_begin_again(chunk: Chunk) -> None:
        while len(first) < 2:
            await asyncio.sleep(0.01)
        if chunk.partition == 0:
            app.consumer.rewind()
            at_work.remove(chunk.partition)
            raise Abandoned("forgotten")
        await asyncio.sleep(0.3)

    app = lane(settings, source, work)
    group = settings.group("lane")
    asyncio.run(run_until(app, lambda: sum(map(len, seen.values())) >= 12_000 and source.committed(group) == 12_000))
    assert seen == {0: list(range(0, 12_000, 2)), 1: list(range(1, 12_000, 2))}
    assert [chunk.is_abandoned for chunk in first.values()] == [True, True]


def test_what_is_committed_beside_the_offset_is_read_as_it_is(settings: Settings) -> None:
    """librdkafka reads a text without a zero at its end on into whatever lies behind it in memory."""
    source, topic_id = Source(settings), "pQ_1-abcdefghijklmnopq"
    source.publish(10)
    app = lane(settings, source, lambda chunk: None, {source.name: topic_id})
    asyncio.run(run_until(app, lambda: source.committed(settings.group("lane")) == 10))
    found = set()
    for _ in range(100):
        consumer = PlainConsumer({**settings.kafka.client(), "group.id": settings.group("lane")})
        litter = [b"\xff" * (22 + n % 20) for n in range(1_000)]
        del litter
        found |= {consumer.committed([TopicPartition(source.name, 0)], 30)[0].metadata for _ in range(10)}
        consumer.close()
    assert found == {topic_id}


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


def test_nothing_is_committed_over_an_unfinished_chunk(settings: Settings) -> None:
    """Stock Faust commits over the first message of a partition when the second is acknowledged."""
    source = Source(settings)
    source.publish(2 * MAX_CHUNK_RECORDS)
    sizes: list[int] = []

    def work(chunk: Chunk) -> bool:
        sizes.append(len(chunk.records))
        return len(sizes) > 1

    asyncio.run(run_until(forgetful(settings, source, work), lambda: len(sizes) > 1))
    assert source.committed(settings.group("lane")) == 0


def test_what_was_not_finished_is_delivered_again(settings: Settings) -> None:
    source = Source(settings)
    source.publish(2_000)
    first: list[int] = []
    again: list[int] = []

    def forget(chunk: Chunk) -> bool:
        first.extend(record.offset for record in chunk.records)
        return False

    asyncio.run(run_until(forgetful(settings, source, forget), lambda: len(first) > 0))
    asyncio.run(
        run_until(
            lane(settings, source, lambda chunk: again.extend(record.offset for record in chunk.records)),
            lambda: len(again) == 2_000,
        )
    )
    assert again == list(range(2_000))


def test_a_commit_beyond_where_a_partition_begins_is_taken_back_first(settings: Settings) -> None:
    """A worker that died in between would leave what is worked on again to nobody."""
    source, group = Source(settings), settings.group("lane")
    source.publish(10)
    asyncio.run(run_until(lane(settings, source, lambda chunk: None), lambda: source.committed(group) == 10))
    seen: list[int] = []

    async def work(chunk: Chunk) -> None:
        assert await asyncio.to_thread(source.committed, group) == 4
        seen.extend(record.offset for record in chunk.records)

    async def at_four(committed: Mapping[TP, int | None], log_starts: Mapping[TP, int]) -> Mapping[TP, int]:
        return dict.fromkeys(committed, 4)

    app = lane(settings, source, work)
    app.starting_points = at_four
    asyncio.run(run_until(app, lambda: bool(seen) and source.committed(group) == 10))
    assert seen == [4, 5, 6, 7, 8, 9]


def test_a_partition_that_begins_behind_its_commit_is_committed_there(settings: Settings) -> None:
    """Nothing more is to come: nothing else would ever say that what lies before is dealt with."""
    source = Source(settings)
    source.publish(10)
    seen: list[Chunk] = []
    app = lane(settings, source, seen.append)

    async def at_the_end(committed: Mapping[TP, int | None], log_starts: Mapping[TP, int]) -> Mapping[TP, int]:
        return dict.fromkeys(committed, 10)

    app.starting_points = at_the_end
    asyncio.run(run_until(app, lambda: source.committed(settings.group("lane")) == 10))
    assert source.committed(settings.group("lane")) == 10
    assert seen == []


def test_what_faust_empties_out_of_its_queues_comes_again_in_order(settings: Settings) -> None:
    """Faust may resume the flow twice in one generation, and each time throws away what waits in its queues."""
    source = Source(settings)
    source.publish(40_000)
    seen: list[int] = []

    async def work(chunk: Chunk) -> None:
        seen.extend(record.offset for record in chunk.records)
        if len(seen) in (5_000, 15_000):
            await asyncio.sleep(0.3)  # others wait in the queue
            app.flow_control.resume()
            app.consumer.resume_flow()

    app = lane(settings, source, work)
    asyncio.run(run_until(app, lambda: len(seen) >= 40_000 and source.committed(settings.group("lane")) == 40_000))
    assert sorted(set(seen)) == list(range(40_000))
    steps = [later - earlier for earlier, later in pairwise(seen)]
    assert all(step == 1 or step <= 0 for step in steps)  # never forward over something


def test_memory_is_bounded_by_bytes(settings: Settings) -> None:
    source = Source(settings)
    producer = Producer(settings.kafka.client())
    for _ in range(30):
        producer.produce(source.name, b"x" * 900_000)
    producer.flush(30)
    sizes: list[int] = []
    in_flight: list[int] = []

    async def work(chunk: Chunk) -> None:
        sizes.append(chunk.size_bytes)
        await asyncio.sleep(0.05)
        in_flight.append(sum(not chunk.is_finished for chunk in app.consumer._progress[TP(source.name, 0)]._chunks))

    app = lane(settings, source, work)
    asyncio.run(run_until(app, lambda: sum(sizes) == 30 * 900_000))
    assert max(sizes) < MAX_CHUNK_BYTES + 250 * 900_000
    assert len(sizes) > 1
    assert max(in_flight) <= 2


def test_a_revoke_waits_no_longer_than_its_budget_and_commits_nothing_past_it(settings: Settings) -> None:
    source = Source(settings, partitions=2)
    source.publish(1_000)
    begun: list[Chunk] = []
    seen: list[int] = []

    async def hang(chunk: Chunk) -> None:
        begun.append(chunk)
        while True:  # as in an outage
            await asyncio.sleep(0.1)
            chunk.require_current()

    async def scenario() -> None:
        stuck = lane(settings, source, hang)
        await stuck.start()
        async with asyncio.timeout(TIMEOUT_S):
            while not begun:
                await asyncio.sleep(0.05)
        other = lane(settings, source, lambda chunk: seen.extend(int(value or b"") for value in chunk.values))
        await other.start()
        async with asyncio.timeout(TIMEOUT_S):
            while not begun[0].is_abandoned or not seen:
                await asyncio.sleep(0.05)
        await stuck.stop()
        async with asyncio.timeout(TIMEOUT_S):
            while sorted(set(seen)) != list(range(1_000)):
                await asyncio.sleep(0.05)
        await other.stop()

    asyncio.run(scenario())
    assert source.committed(settings.group("lane")) == 1_000


def test_records_that_retention_removed_stop_the_worker(settings: Settings) -> None:
    source = Source(settings)
    source.publish(100)
    commit(settings, source, 40)
    admin = AdminClient(settings.kafka.client())
    admin.delete_records([TopicPartition(source.name, 0, 60)])[TopicPartition(source.name, 0)].result()
    app = lane(settings, source, lambda chunk: None)
    asyncio.run(run_until(app, lambda: False))
    assert isinstance(app.crash_reason, RecordsGone)
    assert "from 40 to 59" in str(app.crash_reason)
    assert source.committed(settings.group("lane")) == 40


def test_a_log_that_ends_before_the_commit_stops_the_worker(settings: Settings) -> None:
    """As after a disaster: to wait until it is long enough would be to skip what comes."""
    source = Source(settings)
    source.publish(20)
    commit(settings, source, 50)
    app = lane(settings, source, lambda chunk: None)
    asyncio.run(run_until(app, lambda: False))
    assert isinstance(app.crash_reason, RecordsGone)


def test_nothing_is_still_to_come_behind_what_was_taken_back(settings: Settings) -> None:
    """A partition that ends with an aborted transaction is as far as it goes: who waits for it would wait for ever."""
    source = Source(settings)
    source.publish_in_transaction(b"a", 10, commit=True)
    source.publish_in_transaction(b"b", 10, commit=False)
    values: list[bytes] = []
    app = lane(settings, source, lambda chunk: values.extend(record.value for record in chunk.records))
    asyncio.run(run_until(app, lambda: len(values) == 10 and list(app.consumer.lags().values()) == [0]))
    assert len(values) == 10
    assert app.crash_reason is None


def test_a_role_that_cannot_be_prepared_stops(settings: Settings) -> None:
    source = Source(settings)
    source.publish(10)
    values: list[bytes] = []
    app = lane(settings, source, lambda chunk: values.extend(record.value for record in chunk.records))

    async def prepare() -> None:
        await asyncio.sleep(0.1)
        raise RuntimeError("no such schema")

    app.prepare = prepare
    asyncio.run(run_until(app, lambda: False))
    assert str(app.crash_reason) == "no such schema"
    assert values == []


def test_an_aborted_transaction_larger_than_a_fetch_is_passed(settings: Settings) -> None:
    source = Source(settings)
    source.publish(3)
    producer = Producer({**settings.kafka.client(), "transactional.id": source.name, "message.max.bytes": 2_000_000})
    producer.init_transactions()
    producer.begin_transaction()
    for _ in range(30):
        producer.produce(source.name, b"x" * 950_000)
        producer.poll(0)
    assert producer.flush(30) == 0
    producer.abort_transaction()
    source.publish(4)
    chunks: list[Chunk] = []
    values: list[bytes | None] = []

    def work(chunk: Chunk) -> None:
        chunks.append(chunk)
        values.extend(chunk.values)

    app = lane(settings, source, work)
    asyncio.run(run_until(app, lambda: len(values) >= 7))
    assert values == [b"0", b"1", b"2", b"0", b"1", b"2", b"3"]
    assert [chunk.start for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]
    assert source.committed(settings.group("lane")) == chunks[-1].end


def commit(settings: Settings, source: Source, offset: int) -> None:
    consumer = PlainConsumer({**settings.kafka.client(), "group.id": settings.group("lane")})
    consumer.commit(offsets=[TopicPartition(source.name, 0, offset)], asynchronous=False)
    consumer.close()


def test_a_header_that_is_not_utf8_does_not_stop_the_lane(settings: Settings) -> None:
    source = Source(settings)
    producer = Producer(settings.kafka.client())
    for number in range(2_000):
        headers = [(UNREADABLE, b"x")] if number in (700, 1_200) else [("name", b"x")]
        producer.produce(source.name, str(number).encode(), key=b"k", headers=headers)
    assert producer.flush(30) == 0
    seen: list[int] = []
    app = lane(settings, source, lambda chunk: seen.extend(int(value or b"") for value in chunk.values))
    asyncio.run(run_until(app, lambda: len(seen) >= 2_000))
    assert seen == list(range(2_000))
    assert source.committed(settings.group("lane")) == 2_000


def test_an_agent_that_raises_stops_the_worker_uncommitted(settings: Settings) -> None:
    source = Source(settings)
    source.publish(10)
    app = lane(settings, source, lambda chunk: 1 / 0)
    asyncio.run(run_until(app, lambda: app.crash_reason is not None))
    assert isinstance(app.crash_reason, ZeroDivisionError)
    assert source.committed(settings.group("lane")) == 0
