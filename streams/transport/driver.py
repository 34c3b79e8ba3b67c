"""Faust's Kafka transport with chunks of records in place of records: `broker="batch://host:9092"`.

Stock Faust makes four asyncio tasks a message, commits over an unacknowledged message at the head of a
partition (its public issue #606), and takes what it fetched before a rebalance for a gap in the log. Here:

1. One event is one chunk of one partition, with the position before and after its fetch.
2. A chunk is delivered only in the generation it was fetched in, and only if it begins where the last one ended;
   otherwise the partition is sought there. Nothing is skipped because it was dropped on the way.
3. Chunks are finished in any order and committed in theirs: the committed offset is the end of the last chunk
   with no unfinished one before it. Faust's acknowledgement alone finishes nothing: it also comes for what a
   stream skips during a rebalance.
4. What is finished after the partition was revoked is not committed.

It subclasses internals of faust-streaming and aiokafka, which pyproject.toml therefore pins.

Guarantee: at-least-once (delivery.md, rule 1).
"""

from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, ClassVar

from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.utils.futures import notify

from streams.transport.chunk import Chunk

__all__ = ["Consumer", "Transport"]

#: Bounds what one event holds in memory and how long a script of the state store runs.
MAX_CHUNK_RECORDS = 5_000
FETCH_TIMEOUT_S = 1.0


class ConsumerThread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to Kafka: fetches records together with the positions they lie between."""

    def _create_consumer(self, loop: Any) -> Any:
        consumer = super()._create_consumer(loop)
        # What a publisher's transaction took back has not happened; the loader's client does not see it either.
        consumer._isolation_level = "read_committed"
        return consumer

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Mapping[TP, Chunk]:
        if not self.consumer.flow_active:
            return {}
        fetcher = consumer._fetcher
        if consumer._closed or fetcher._closed:
            raise ConsumerStoppedError
        positions = _positions(consumer)
        with fetcher._subscriptions.fetch_context():
            fetched = await fetcher.fetched_records(active_partitions, timeout=timeout, max_records=max_records)
        if fetcher._subscriptions.reassignment_in_progress:
            return {}  # fetched for an assignment that ends; the next one begins at what is committed
        # No await from here on: records, positions and generation belong together.
        generation = consumer._coordinator.generation
        states = consumer._subscription.subscription.assignment
        return {
            TP(tp.topic, tp.partition): _chunk(tp, records, positions.get(tp), states.state_value(tp), generation)
            for tp, records in fetched.items()
            if records
        }


def _positions(consumer: Any) -> dict[Any, int | None]:
    assignment = consumer._subscription.subscription.assignment
    return {tp: assignment.state_value(tp)._position for tp in assignment.tps} if assignment else {}


def _chunk(tp: Any, records: Sequence[Any], before: int | None, state: Any, generation: int) -> Chunk:
    first = records[0].offset
    # The position read before the fetch is void where a seek or a rebalance happened during it.
    start = before if before is not None and before <= first else first
    return Chunk(tp.topic, tp.partition, start, state.position, generation, records)


class Consumer(stock.Consumer):  # type: ignore[misc]
    """Delivers chunks and commits them in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Chunks delivered and not yet committed, by partition, oldest first.
        self._in_flight: defaultdict[TP, deque[Chunk]] = defaultdict(deque)
        #: Where the next chunk of a partition has to begin.
        self._next_start: dict[TP, int] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                chunks, _ = await self._wait_next_records(FETCH_TIMEOUT_S)
                await self.sleep(0)
                for tp, chunk in (chunks or {}).items():
                    await self._deliver(tp, chunk)
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise

    async def _deliver(self, tp: TP, fetched: Chunk) -> None:
        for chunk in _pieces(fetched):
            if not self.flow_active:
                await self.wait(self.can_resume_flow)
            expected = await self._expected_start(tp)
            if self.should_stop or not self.flow_active or chunk.generation != self.app.consumer_generation_id:
                return
            if chunk.start != expected:
                self.log.info("%s: fetched from %s instead of %s, seeking there", tp, chunk.start, expected)
                await self.seek(tp, expected)
                return
            message = self._message(tp, chunk)
            self._in_flight[tp].append(chunk)
            self._next_start[tp] = chunk.end
            await self.callback(message)

    async def _expected_start(self, tp: TP) -> int:
        """The end of the last chunk; after a rebalance what was committed, or the beginning where nothing was."""
        if tp not in self._next_start:
            committed: int | None = self._read_offset[tp]
            self._next_start[tp] = committed if committed is not None else (await self.earliest_offsets(tp))[tp]
        return self._next_start[tp]

    def _message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        last = chunk.records[-1]
        return ConsumerMessage(
            chunk.topic,
            chunk.partition,
            chunk.end - 1,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            chunk,
            None,
            tp=tp,
            generation_id=chunk.generation,
        )

    def lags(self) -> dict[TP, int]:
        """Records between the end of the last chunk delivered and the end of the log, by partition."""
        lags = {}
        for tp, start in self._next_start.items():
            # The thread may lose a partition at any moment, and then asserts that it has it.
            with suppress(AssertionError):
                end = self.highwater(tp)
                if end is not None:
                    lags[tp] = max(end - start, 0)
        return lags

    def ack(self, message: ConsumerMessage) -> bool:
        """Note that Faust is done with a message. What is committed goes by `Chunk.finish`."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self._in_flight if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        queue = self._in_flight[tp]
        committable: int | None = None
        while queue and queue[0].is_finished:
            committable = queue.popleft().end
        return committable

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what is being worked on, then forget what was delivered."""
        await super().on_partitions_revoked(revoked)
        self._in_flight.clear()
        self._next_start.clear()


class Transport(stock.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the consumer above."""

    Consumer: ClassVar[type] = Consumer


def _pieces(chunk: Chunk) -> Iterator[Chunk]:
    """The chunk in pieces of bounded length that begin and end where their neighbours do."""
    starts = range(0, len(chunk.records), MAX_CHUNK_RECORDS)
    for number, first in enumerate(starts):
        records = chunk.records[first : first + MAX_CHUNK_RECORDS]
        is_last = number == len(starts) - 1
        yield Chunk(
            chunk.topic,
            chunk.partition,
            chunk.start if number == 0 else records[0].offset,
            chunk.end if is_last else chunk.records[first + MAX_CHUNK_RECORDS].offset,
            chunk.generation,
            records,
        )
