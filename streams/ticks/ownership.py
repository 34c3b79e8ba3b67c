"""Which accounts are this process's: those whose records go to a partition of the output that it owns."""

import logging
import time
from collections.abc import Callable, Sequence

from aiokafka.partitioner import murmur2
from confluent_kafka import Consumer, TopicPartition

from streams.liveness import FENCED_MEMBER, SESSION_TIMEOUT_S, MemberFenced
from streams.settings import KafkaSettings

__all__ = ["Ownership", "Stopping", "partition_of"]

MAX_POLL_INTERVAL_MS = 600_000
#: How often a wait looks whether to go on.
TICK_S = 0.5

log = logging.getLogger(__name__)


class Stopping(Exception):
    """The role was told to stop while it waited."""


class Ownership:
    """A member of a consumer group that shares out the partitions of a topic, and fetches nothing of them.

    partitions: those of this process, as of the last `wait`.
    """

    def __init__(self, kafka: KafkaSettings, group: str, topic: str, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop
        self._consumer = Consumer(
            {
                **kafka.client(),
                **({"group.instance.id": kafka.group_instance_id} if kafka.group_instance_id else {}),
                "group.id": group,
                "session.timeout.ms": int(SESSION_TIMEOUT_S * 1000),
                "max.poll.interval.ms": MAX_POLL_INTERVAL_MS,
                "enable.auto.commit": False,
            }
        )
        self.partitions: frozenset[int] = frozenset()
        self._consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def wait(self, wait_s: float) -> None:
        """Stay in the group for so long; partitions may come and go. Raises Stopping, MemberFenced."""
        deadline = time.monotonic() + wait_s
        while True:
            left = deadline - time.monotonic()
            message = self._consumer.poll(max(0.0, min(left, TICK_S)))
            if message is not None and (error := message.error()) is not None and error.code() in FENCED_MEMBER:
                raise MemberFenced(error)
            if self._should_stop():
                raise Stopping
            if left <= TICK_S:
                return

    def leave(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _on_assign(self, consumer: Consumer, assigned: Sequence[TopicPartition]) -> None:
        consumer.assign(assigned)
        consumer.pause(assigned)
        self.partitions = frozenset(tp.partition for tp in assigned)

    def _on_revoke(self, consumer: Consumer, revoked: Sequence[TopicPartition]) -> None:
        self.partitions = frozenset()


def partition_of(key: str, partitions: int) -> int:
    """Where every producer of the project puts a key: the Java client's murmur2.

    >>> partition_of("acme", 4)
    0
    """
    number: int = murmur2(key.encode()) & 0x7FFFFFFF
    return number % partitions
