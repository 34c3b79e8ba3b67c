"""The partitions a loader owns: where each begins, and what was taken from it and is not loaded yet.

The callbacks of a rebalance only note what came and went, so that they never keep the group waiting. Where a
partition begins is found out by `begin`, outside of them, polling while it waits.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from schemas.topics import Topic
from sinks.errors import Unavailable
from streams.admin import RecordsGone, TopicRecreated
from streams.liveness import FENCED_MEMBER, SESSION_TIMEOUT_S, MemberFenced
from streams.loader.blocks import Block, CommitNote, Range
from streams.metrics import RoleMetrics
from streams.offsets import SETTLING
from streams.patience import Patience
from streams.settings import KafkaSettings

__all__ = ["PartitionLost", "Partitions", "Stopping"]

Key = tuple[str, int]
Loaded = Mapping[tuple[str, int], int]

POLL_RECORDS = 10_000
#: Longer than any one step takes without polling: an insert, the longest, is given up after a fifth of it.
MAX_POLL_INTERVAL_MS = 300_000
ANSWER_S = 10.0
#: How often a wait looks whether to go on.
TICK_S = 0.5
LAG_EVERY_S = 1.0
#: The group has moved on without us: whoever owns the partition now repeats the block under its token.
FENCED = (
    KafkaError.ILLEGAL_GENERATION,
    KafkaError.UNKNOWN_MEMBER_ID,
    KafkaError.REBALANCE_IN_PROGRESS,
    KafkaError._ASSIGNMENT_LOST,
)

#: What passes and the client does not count among the retriable errors.
PASSING = (
    *SETTLING,
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError._WAIT_COORD,
)

log = logging.getLogger(__name__)


class PartitionLost(Exception):
    """The partition was taken away while one of its blocks was being loaded."""


class Stopping(Exception):
    """The loader was told to stop while it waited."""


class Partitions:
    """What this member of the group owns.

    blocks: by topic and partition, once it is known where they begin.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        group: str,
        topics: Mapping[str, Topic],
        topic_ids: Mapping[str, str],
        loaded_until: Callable[[], Loaded],
        metrics: RoleMetrics,
    ) -> None:
        """`loaded_until` says how far load_progress goes, by topic id and partition."""
        self._group = group
        self._topics = topics
        self._topic_ids = topic_ids
        self._loaded_until = loaded_until
        self._metrics = metrics
        self._patience = Patience(metrics)
        self._consumer = Consumer(_consumer_settings(kafka, group))
        self._should_stop: Callable[[], bool] = lambda: False
        self._assigned: list[TopicPartition] = []
        self._next_lag = 0.0
        self.blocks: dict[Key, Block] = {}
        self.polled_at = time.monotonic()

    def join(self, should_stop: Callable[[], bool]) -> None:
        """Join the group. From here on waits end with Stopping once `should_stop`."""
        self._should_stop = should_stop
        self._consumer.subscribe(
            list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def leave(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def begin(self) -> None:
        """Fetch what was assigned from where it begins. Waits while nobody can say where that is.

        Raises TopicRecreated, RecordsGone, Stopping.
        """
        if not self._assigned:
            return
        blocks = self._patience.wait_for_blocking("assign", self._first_blocks, self.stay_in_group)
        self._assigned = []
        self.blocks = blocks
        for (name, number), block in blocks.items():
            self._metrics.commit_age.labels(self._topics[name].contract, str(number)).set_function(block.commit_age)
        starts = [TopicPartition(name, number, block.start) for (name, number), block in blocks.items()]
        self._consumer.assign(starts)
        # A pause outlives the assignment it was made in.
        self._consumer.resume(starts)

    def poll(self, wait_s: float) -> None:
        """Take what there is, for at most so long. Raises RecordsGone, MemberFenced."""
        messages = self._consumer.consume(POLL_RECORDS, wait_s)
        self.polled_at = now = time.monotonic()
        if any(map(Message.error, messages)):
            messages = [message for message in messages if not self._is_error(message)]
        for key, run in _runs(messages):
            block = self.blocks.get(key)
            # Where there is none, it was taken away after the fetch.
            if block is not None:
                block.extend(run, now)

    def stay_in_group(self, wait_s: float) -> None:
        """Wait, polling, so that Kafka does not take us for dead; nothing is fetched meanwhile. Raises Stopping."""
        deadline = time.monotonic() + wait_s
        self._consumer.pause(self._consumer.assignment())
        try:
            while True:
                left = deadline - time.monotonic()
                self.poll(max(0.0, min(left, TICK_S)))
                if self._should_stop():
                    raise Stopping
                if left <= TICK_S:
                    return
        finally:
            # Of what is ours now: a rebalance in between may have changed that.
            self._consumer.resume(self._consumer.assignment())

    def commit(self, topic: str, block: Range, offset: int, note: CommitNote) -> None:
        """Commit a position of the block's partition. Raises PartitionLost, MemberFenced, Unavailable."""
        position = TopicPartition(topic, block.partition, offset, note.text())
        try:
            self._consumer.commit(offsets=[position], asynchronous=False)
        except KafkaException as error:
            if error.args[0].code() in FENCED:
                raise PartitionLost from error
            raise _explained(error.args[0]) from error

    def observe_lag(self) -> None:
        """Records between what is loaded and the end of the log."""
        if time.monotonic() < self._next_lag:
            return
        self._next_lag = time.monotonic() + LAG_EVERY_S
        self._metrics.lag.clear()  # of partitions that are somebody else's now
        for (topic, partition), block in self.blocks.items():
            _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, partition), cached=True)
            gauge = self._metrics.lag.labels(self._topics[topic].contract, str(partition))
            gauge.set(max(end - block.start, 0))

    def _on_assign(self, consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        self._assigned = list(assigned)
        consumer.assign([])  # nothing is fetched before it is known from where

    def _on_revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        """Forget the partitions. What was not committed is loaded by their new owner."""
        self._assigned = []
        self.blocks = {}
        self._metrics.commit_age.clear()

    def _is_error(self, message: Message) -> bool:
        """Whether it stands for an error, which is reported. Raises what does not pass."""
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            key = (message.topic(), message.partition())
            log_start, log_end = (self._ends([key], which)[key] for which in (OFFSET_BEGINNING, OFFSET_END))
            raise RecordsGone(*key, message.offset(), log_start, log_end)
        if error.code() in FENCED_MEMBER:
            raise MemberFenced(error)
        self._metrics.errors.labels("consume").inc()
        log.warning("%s", error)
        return True

    def _first_blocks(self) -> dict[Key, Block]:
        """Where what is assigned begins. Raises Unavailable, TopicRecreated, RecordsGone."""
        if not self._assigned:
            return {}
        log_starts = self._ends([(tp.topic, tp.partition) for tp in self._assigned], OFFSET_BEGINNING)
        loaded = self._loaded_until()
        committed = _answer(lambda: self._consumer.committed(self._assigned, timeout=ANSWER_S))
        blocks = {(tp.topic, tp.partition): self._first_block(tp, log_starts, loaded) for tp in committed}
        self._commit_starts(blocks, committed)
        return blocks

    def _commit_starts(self, blocks: Mapping[Key, Block], committed: Sequence[TopicPartition]) -> None:
        """Commit what is loaded and was not committed: where nothing more comes, nothing else would ever say so."""
        behind = [
            TopicPartition(tp.topic, tp.partition, block.start, CommitNote(block.topic_id).text())
            for tp in committed
            if (block := blocks[tp.topic, tp.partition]).start > max(tp.offset, 0)
        ]
        if not behind:
            return
        try:
            self._consumer.commit(offsets=behind, asynchronous=False)
        except KafkaException as error:
            # Where the group has moved on, whoever owns them now does the same.
            if error.args[0].code() not in FENCED:
                raise _explained(error.args[0]) from error

    def _first_block(self, committed: TopicPartition, log_starts: Mapping[Key, int], loaded: Loaded) -> Block:
        """Where a partition begins: at its commit, or at what load_progress says where that is further.

        load_progress is further where the end of a block was not committed any more, where the commit has expired,
        and where the commit of a process that was thought dead came late and took the group's back.
        """
        topic, partition = committed.topic, committed.partition
        topic_id, log_start = self._topic_ids[topic], log_starts[topic, partition]
        note = CommitNote.read(committed.metadata)
        if note is not None and note.topic_id != topic_id:
            raise TopicRecreated(topic, note.topic_id, topic_id, self._group)
        done = loaded.get((topic_id, partition), 0)
        if committed.offset == OFFSET_INVALID:
            start, pending_end = done or log_start, None
        elif note is not None and note.pending_end is not None and done <= committed.offset:
            start, pending_end = committed.offset, note.pending_end
        else:
            start, pending_end = max(committed.offset, done), None
        if start < log_start:
            raise RecordsGone(topic, partition, start, log_start)
        return Block(topic_id, partition, start, pending_end)

    def _ends(self, keys: Sequence[Key], which: int) -> dict[Key, int]:
        """Where the log of each begins, or ends."""
        asked = [TopicPartition(topic, partition, which) for topic, partition in keys]
        # In Kafka's protocol, beginning and end are times.
        found = _answer(lambda: self._consumer.offsets_for_times(asked, timeout=ANSWER_S))
        return {(tp.topic, tp.partition): tp.offset for tp in found}


def _consumer_settings(kafka: KafkaSettings, group: str) -> dict[str, Any]:
    return {
        **kafka.client(),
        **({"group.instance.id": kafka.group_instance_id} if kafka.group_instance_id else {}),
        "group.id": group,
        "session.timeout.ms": int(SESSION_TIMEOUT_S * 1000),
        "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # Never begin elsewhere than where it was left: what retention removed is not skipped in silence.
        "auto.offset.reset": "error",
        "fetch.message.max.bytes": 8 << 20,
        # With what one poll drains, the bound on what is fetched ahead, whatever the number of partitions.
        "queued.max.messages.kbytes": 64 << 10,
    }


def _answer(question: Callable[[], list[TopicPartition]]) -> list[TopicPartition]:
    """What Kafka says of partitions. Raises Unavailable, KafkaException."""
    try:
        found = question()
    except KafkaException as error:
        raise _explained(error.args[0]) from error
    for tp in found:
        if tp.error is not None:
            raise _explained(tp.error)
    return found


def _explained(error: KafkaError) -> Exception:
    """Unavailable for what passes, MemberFenced or the client's own exception for what does not."""
    if error.code() in FENCED_MEMBER:
        return MemberFenced(error)
    if error.retriable() or error.code() in PASSING:
        return Unavailable(f"Kafka does not answer: {error.str()}")
    failed: Exception = KafkaException(error)
    return failed


def _runs(messages: Sequence[Message]) -> Iterator[tuple[Key, Sequence[Message]]]:
    """The messages cut where the partition changes."""
    if not messages:
        return
    topics, numbers = list(map(Message.topic, messages)), list(map(Message.partition, messages))
    if topics.count(topics[0]) == numbers.count(numbers[0]) == len(messages):
        yield (topics[0], numbers[0]), messages
        return
    first = 0
    for key, run in groupby(zip(topics, numbers, strict=True)):
        end = first + sum(1 for _ in run)
        yield key, messages[first:end]
        first = end
