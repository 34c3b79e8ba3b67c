"""Faust's Kafka transport with chunks of records in place of records: `broker="batch://host:9092"`.

Stock Faust makes four asyncio tasks a message, commits over an unacknowledged message at the head of a
partition (its public issue #606), and takes what it fetched before a rebalance for a gap in the log. Here:

1. One event is one chunk of one partition, with the position before and after its fetch.
2. A partition begins where the role says (`App.starting_points`), else at its commit, else at the log's beginning.
   What is committed is taken there first, back or forth.
3. A chunk is delivered only in the generation it was fetched in, and only if it begins where the last one ended;
   otherwise the partition is sought there. Where the log begins behind that, the worker stops: records are gone.
4. Chunks are finished in any order and committed in theirs: the committed offset is the end of the last chunk
   with no unfinished one before it. Faust's acknowledgement alone finishes nothing: it also comes for what a
   stream skips during a rebalance.
5. Whenever Faust empties its queues, at a rebalance above all, every chunk that is not finished is abandoned, and
   the partition begins anew. A revoke lets what is being worked on finish for `REVOKE_BUDGET_S`, commits, and
   abandons the rest; what is finished later is not committed.
6. A partition has at most two chunks in memory, besides one fetch; it is not asked for more until one is finished.

It subclasses internals of faust-streaming and aiokafka, which pyproject.toml therefore pins.

Guarantee: at-least-once (delivery.md, rule 1).
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, ClassVar

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.errors import CommitFailedError, ConsumerStoppedError
from aiokafka.structs import OffsetAndMetadata
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode.utils.futures import notify

from streams.admin import RecordsGone
from streams.liveness import REVOKE_BUDGET_S
from streams.transport.chunk import Chunk
from streams.transport.fetched import FetchedRecords, Taken, UnreadableBatch
from streams.transport.progress import Progress
from streams.transport.unreadable import read_range

__all__ = ["Consumer", "Transport"]

FETCH_TIMEOUT_S = 1.0
#: While a partition waits for room, the others are asked no longer than this before it is looked at again.
CROWDED_FETCH_TIMEOUT_S = 0.05


class ConsumerThread(stock.AIOKafkaConsumerThread):  # type: ignore[misc]
    """The thread that talks to Kafka: fetches chunks together with the positions they lie between."""

    def __post_init__(self) -> None:
        super().__post_init__()
        #: Positions [from, to) passed without a record, an aborted transaction for instance: part of the next chunk.
        self._passed: dict[TP, tuple[int, int]] = {}

    def _create_consumer(self, loop: Any) -> Any:
        consumer = super()._create_consumer(loop)
        # What a publisher's transaction took back has not happened; the loader's client does not see it either.
        consumer._isolation_level = "read_committed"
        return consumer

    async def on_thread_stop(self) -> None:
        """Close the client. The cancellation of a fetch that waits for its next attempt, in an outage, gets out of it.

        Faust would go on to wait a minute for the thread.
        """
        with suppress(asyncio.CancelledError):
            await super().on_thread_stop()

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit with the topic's id beside each offset (delivery.md, rule 8). False where the group has moved on."""
        now = time.monotonic()
        ours = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
        self.tp_last_committed_at.update(dict.fromkeys(ours, now))
        notes = {
            stock.TopicPartition(*tp): OffsetAndMetadata(offset, _note(self.app.topic_ids.get(tp.topic, "")))
            for tp, offset in ours.items()
        }
        try:
            await self._ensure_consumer().commit(notes)
        except CommitFailedError as error:
            self.log.warning("Kafka does not take a commit: %s", error)
            return False
        except Exception as error:
            await self.crash(error)
            return False
        return True

    def passed(self, tp: TP) -> tuple[int, int]:
        """Positions [from, to) passed without a record after the last chunk; none where they are the same."""
        return self._passed.get(tp, (-1, -1))

    def heard_ms(self, tp: TP) -> int:
        """When the partition's log was last asked for, ms since 1970; 0 where that is not known."""
        with suppress(AssertionError):  # it may be lost at any moment
            return int(self._ensure_consumer().last_poll_timestamp(tp) or 0)
        return 0

    def check_errors(self) -> None:
        """Raises what ended the membership of the group, which otherwise only a fetch tells."""
        self._ensure_consumer()._coordinator.check_errors()

    async def _fetch_records(
        self,
        consumer: Any,
        active_partitions: Any,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Mapping[TP, Chunk]:
        """At most one chunk of each of the partitions; none after `timeout` seconds without a record."""
        fetcher = consumer._fetcher
        deadline = time.monotonic() + (timeout or 0)
        with fetcher._subscriptions.fetch_context():
            while self.consumer.flow_active:
                consumer._coordinator.check_errors()  # as the client does: what ends its membership, above all
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError
                if fetcher._subscriptions.reassignment_in_progress:
                    break  # fetched for an assignment that ends; the next one begins at what is committed
                if chunks := await self._take(consumer, active_partitions):
                    return chunks
                if not await _more_fetched(fetcher, deadline - time.monotonic()):
                    break
        return {}

    async def _take(self, consumer: Any, partitions: Any) -> Mapping[TP, Chunk]:
        """A chunk of each partition that has one fetched."""
        fetcher = consumer._fetcher
        chunks: dict[TP, Chunk] = {}
        for tp in [tp for tp in fetcher._records if tp in partitions]:
            fetched = fetcher._records.get(tp)
            if type(fetched) is not FetchResult:
                if chunks:
                    break  # the error is for the next call
                del fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)
                if fetched is not None:
                    fetched.check_raise()
            elif chunk := await self._chunk(consumer, tp, fetched):
                chunks[TP(tp.topic, tp.partition)] = chunk
        return chunks

    async def _chunk(self, consumer: Any, tp: Any, fetched: FetchResult) -> Chunk | None:
        if not fetched.has_more() or not fetched.check_assignment(tp):
            self._let_go(consumer, tp, fetched)
            return None
        if not isinstance(fetched._partition_records, FetchedRecords):
            fetched._partition_records = FetchedRecords(fetched._partition_records)
        records = fetched._partition_records
        state = fetched._assignment.state_value(tp)
        # Read before anything is awaited: records, positions and generation belong together.
        generation, start = consumer._coordinator.generation, state.position
        try:
            taken = records.take()
        except UnreadableBatch as batch:
            found = await self._read_otherwise(tp, batch)
            if found is None or state.position != start:
                self._let_go(consumer, tp, fetched)  # fetched again, and read again
                return None
            taken = found
        state.consumed_to(taken.end)
        if records.is_exhausted:
            self._let_go(consumer, tp, fetched)
        passed_from, passed_to = self._passed.pop(tp, (start, start))
        if passed_to == start:
            start = passed_from
        if not taken.records:
            self._passed[tp] = (start, taken.end)
            return None
        return Chunk(
            tp.topic, tp.partition, start, taken.end, generation, taken.records, taken.values, taken.size_bytes
        )

    def _let_go(self, consumer: Any, tp: Any, fetched: FetchResult) -> None:
        """Make room for the next fetch of a partition, unless that is there already."""
        if consumer._fetcher._records.get(tp) is fetched:
            del consumer._fetcher._records[tp]
            consumer._fetcher._notify(consumer._fetcher._wait_consume_future)

    async def _read_otherwise(self, tp: Any, batch: UnreadableBatch) -> Taken | None:
        """A batch that aiokafka cannot read; None where Kafka does not answer in time."""
        self.log.warning("%s/%d: reading %s again for the sake of a header", tp.topic, tp.partition, batch)
        found = await asyncio.to_thread(read_range, self.app.kafka, tp.topic, tp.partition, batch.start, batch.end)
        if found is None:
            return None
        values = [record.value for record in found]
        return Taken(found, values, sum(map(len, filter(None, values))), batch.end)


class Consumer(stock.Consumer):  # type: ignore[misc]
    """Delivers chunks and commits them in order."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        #: Empty until it is decided where the partitions begin.
        self._progress: dict[TP, Progress] = {}

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    # Fetching

    async def _drain_messages(self, fetcher: Any) -> None:
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)
                await self.sleep(0)
                if not self._progress:
                    await self._begin()
                await self._deliver_some()
        except self.consumer_stopped_errors:
            if not self.transport.app.should_stop:
                raise
        except Exception as error:
            # Faust would restart the fetcher, and with it what went wrong, for ever.
            self.log.error("%s", error)  # noqa: TRY400  # the reason is said once, by the worker's end
            await self.transport.app.crash(error)

    async def _begin(self) -> None:
        """Decide where each assigned partition begins, and seek there. Raises RecordsGone."""
        assigned = self.assignment()
        if not assigned:
            await self.sleep(FETCH_TIMEOUT_S)
            return
        generation = self.app.consumer_generation_id
        await self.maybe_wait_for_commit_to_finish()
        log_starts, log_ends = await self.earliest_offsets(*assigned), await self.highwaters(*assigned)
        committed = {tp: self._committed_offset[tp] for tp in assigned}
        starts = await self.app.begin(committed, log_starts)
        if not self._is_still(generation, assigned):
            return  # it took so long that it is no longer ours to decide
        for tp in assigned:
            _require_in_log(tp, starts[tp], log_starts[tp], log_ends[tp])
        did_commit = await self._commit_starts(
            {
                tp: starts[tp]
                for tp in assigned
                if starts[tp] != (log_starts[tp] if committed[tp] is None else committed[tp])
            }
        )
        if not (did_commit and self._is_still(generation, assigned)):
            return
        for tp in assigned:
            await self.seek(tp, starts[tp])
        self._progress = {tp: Progress(starts[tp]) for tp in assigned}

    async def _commit_starts(self, starts: Mapping[TP, int]) -> bool:
        """Commit where partitions begin elsewhere than at their commits; False where the group has moved on.

        Before them: who dies while they are worked on again may have moved the state on without having emitted; by
        the commits of before, nobody would emit it. Behind them: where nothing more is to come, nothing else would
        ever say that what lies between is dealt with.
        """
        if starts and not await self._commit(starts):
            return False
        self._committed_offset.update(starts)
        return True

    def _is_still(self, generation: int, assigned: set[TP]) -> bool:
        is_same = generation == self.app.consumer_generation_id and assigned == self.assignment()
        return bool(self.flow_active and is_same)

    async def _deliver_some(self) -> None:
        active = self._get_active_partitions()
        with_room = {tp for tp, progress in self._progress.items() if progress.has_room and tp in active}
        is_crowded = len(with_room) < len(self._progress)
        if not with_room:
            self._thread.check_errors()
            await self._wait_for_ack(timeout=CROWDED_FETCH_TIMEOUT_S)
            return
        timeout = CROWDED_FETCH_TIMEOUT_S if is_crowded else FETCH_TIMEOUT_S
        for tp, chunk in (await self._getmany(with_room, timeout)).items():
            await self._deliver(tp, chunk)

    async def _deliver(self, tp: TP, chunk: Chunk) -> None:
        progress = self._progress.get(tp)
        if progress is None or progress.is_given_up or not self._is_current(chunk):
            return
        if chunk.start != progress.next_start:
            log_start, log_end = (await self.earliest_offsets(tp))[tp], (await self.highwaters(tp))[tp]
            if self._is_current(chunk) and self._progress.get(tp) is progress:
                _require_in_log(tp, progress.next_start, log_start, log_end)
                self.log.info("%s: fetched from %s instead of %s, seeking there", tp, chunk.start, progress.next_start)
                await self.seek(tp, progress.next_start)
            return
        progress.deliver(chunk)
        await self.callback(self._message(tp, chunk))

    def _is_current(self, chunk: Chunk) -> bool:
        return bool(self.flow_active and chunk.generation == self.app.consumer_generation_id)

    def _message(self, tp: TP, chunk: Chunk) -> ConsumerMessage:
        last = chunk.records[-1]
        return ConsumerMessage(
            chunk.topic,
            chunk.partition,
            chunk.end - 1,
            last.timestamp / 1000.0,
            None,
            None,
            None,
            chunk,
            None,
            tp=tp,
            generation_id=chunk.generation,
        )

    async def _wait_for_ack(self, timeout: float) -> None:
        """Until a chunk is finished, at most `timeout` seconds."""
        finished = self._waiting_for_ack = asyncio.get_running_loop().create_future()
        with suppress(TimeoutError):
            await asyncio.wait_for(finished, timeout)

    # What is on its way

    def ack(self, message: ConsumerMessage) -> bool:
        """Note that Faust is done with a message. What is committed goes by `Chunk.finish`."""
        if message.acked:
            return False
        message.acked = True
        self._unacked_messages.discard(message)
        notify(self._waiting_for_ack)
        return True

    def rewind(self) -> None:
        """Abandon what is on its way, and begin every partition where the role says."""
        for progress in self._progress.values():
            progress.abandon()
        self._progress = {}

    def resume_flow(self) -> None:
        """Faust has just emptied its queues: what was in them has to come again."""
        self.rewind()
        super().resume_flow()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Finish and commit what is being worked on, then forget what was delivered."""
        await super().on_partitions_revoked(revoked)
        self.rewind()

    async def wait_empty(self) -> None:
        """Let what is being worked on finish, as long as the budget lasts, and commit it."""
        if self._stopped.is_set():
            return  # Faust asks a second time, when nobody works any more
        deadline = time.monotonic() + REVOKE_BUDGET_S
        for progress in self._progress.values():
            progress.abandon(waiting_only=True)  # they would be begun late, or, with Faust's queues empty, by nobody
        while time.monotonic() < deadline and not all(progress.is_idle for progress in self._progress.values()):
            await self._wait_for_ack(timeout=CROWDED_FETCH_TIMEOUT_S)
        # A task of its own: Faust takes a cancelled commit for one to be begun again.
        commit = asyncio.ensure_future(self.commit_and_end_transactions())
        await asyncio.wait([commit], timeout=max(deadline - time.monotonic(), 1.0))
        if not commit.done():
            self.log.warning("Kafka does not take the last commit; what it is for is worked on again")
        for progress in self._progress.values():
            progress.abandon()

    # Committing

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (tp for tp in self._progress if topics is None or tp in topics or tp.topic in topics)

    def _new_offset(self, tp: TP) -> int | None:
        progress = self._progress[tp]
        progress.committed(self._committed_offset[tp] or 0)  # worked on again after a rewind
        return progress.committable()

    async def _commit_offsets(self, offsets: Mapping[TP, int], start_new_transaction: bool = True) -> bool:
        before = {tp: self._committed_offset[tp] for tp in offsets}
        did_commit = bool(await super()._commit_offsets(offsets, start_new_transaction))
        if not did_commit:
            self._committed_offset.update(before)  # Faust notes it whatever came of it
        else:
            for tp, offset in offsets.items():
                if tp in self._progress:
                    self._progress[tp].committed(offset)
        return did_commit

    # Telling

    def lags(self) -> dict[TP, int]:
        """Records between the end of the last chunk delivered and the end of the log, by partition."""
        lags = {}
        for tp, progress in self._progress.items():
            # What was taken back at the end of the log is no record that is still to come.
            passed_from, passed_to = self._thread.passed(tp)
            start = passed_to if passed_from == progress.next_start else progress.next_start
            # The thread may lose a partition at any moment, and then asserts that it has it.
            with suppress(AssertionError):
                end = self.highwater(tp)
                if end is not None:
                    lags[tp] = max(end - start, 0)
        return lags

    def heard_ms(self) -> dict[TP, int]:
        """When Kafka last said how far each partition's log goes, ms since 1970; 0 where it has not yet."""
        return {tp: self._thread.heard_ms(tp) for tp in self._progress}

    def commit_ages(self) -> dict[TP, float]:
        """Seconds since the oldest record taken and not yet committed was taken, by partition; 0 where none is."""
        now = time.monotonic()
        taken = {tp: progress.oldest_taken_at for tp, progress in self._progress.items()}
        return {tp: now - at if at is not None else 0.0 for tp, at in taken.items()}


class Transport(stock.Transport):  # type: ignore[misc]
    """Faust's aiokafka transport with the consumer above."""

    Consumer: ClassVar[type] = Consumer


async def _more_fetched(fetcher: Any, timeout_s: float) -> bool:
    """Whether something was fetched before the time is up. Raises what the brokers forbid."""
    if timeout_s <= 0:
        return False
    waiter = fetcher._create_fetch_waiter()
    done, _ = await asyncio.wait([waiter], timeout=timeout_s)
    if not done:
        waiter.cancel()
        return False
    waiter.result()
    return True


def _note(topic_id: str) -> str:
    """As librdkafka commits it: with the zero that ends a string there. It reads on, over what it was given, to one."""
    return f"{topic_id}\0" if topic_id else ""


def _require_in_log(tp: TP, start: int, log_start: int, log_end: int) -> None:
    if not log_start <= start <= log_end:
        raise RecordsGone(tp.topic, tp.partition, start, log_start, log_end)
