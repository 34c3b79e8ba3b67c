"""How far a topic reaches and how far a role has come."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.topics import Topic, topics
from sinks.errors import Unavailable
from streams.admin import TopicRecreated
from streams.loader.blocks import CommitNote
from streams.settings import Settings

__all__ = ["Commit", "Offsets", "patiently", "require_commits_of"]

TIMEOUT_S = 30.0
RETRY_S = 0.2
#: What a broker says shortly after its start, or a topic's; the client does not count these among the retriable ones.
SETTLING = (
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
)


class Commit(NamedTuple):
    """What a group has committed for a partition: the offset, None where nothing, and the text beside it."""

    offset: int | None
    metadata: str


class Offsets:
    """Asks Kafka for the ends of topics and the commits of groups."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics = topics(settings.namespace)
        self._consumers: dict[str, Consumer] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def ends(self, contract: str) -> dict[int, int]:
        """Offset after the newest record, by partition."""
        return {partition: end for partition, (_, end) in self.bounds(contract).items()}

    def bounds(self, contract: str) -> dict[int, tuple[int, int]]:
        """Offset of the oldest record and offset after the newest, by partition."""
        consumer = self._consumer("loader")

        def bounds(tp: TopicPartition) -> tuple[int, int]:
            low, high = patiently(lambda: consumer.get_watermark_offsets(tp, TIMEOUT_S))
            return low, high

        return {tp.partition: bounds(tp) for tp in self._partitions(consumer, contract)}

    def committed(self, role: str, contract: str) -> dict[int, int]:
        """What the role's group has committed, by partition; nothing committed counts as zero."""
        return {partition: commit.offset or 0 for partition, commit in self.commits(role, contract).items()}

    def commits(self, role: str, contract: str) -> dict[int, Commit]:
        """The commits of the role's group, by partition."""
        consumer = self._consumer(role)
        partitions = self._partitions(consumer, contract)
        found = patiently(lambda: consumer.committed(partitions, TIMEOUT_S))
        return {tp.partition: Commit(tp.offset if tp.offset >= 0 else None, tp.metadata or "") for tp in found}

    def close(self) -> None:
        """Close the clients."""
        for consumer in self._consumers.values():
            consumer.close()

    def _consumer(self, role: str) -> Consumer:
        if role not in self._consumers:
            conf = {**self._settings.kafka.client(), "group.id": self._settings.group(role)}
            self._consumers[role] = Consumer(conf)
        return self._consumers[role]

    def _partitions(self, consumer: Consumer, contract: str) -> list[TopicPartition]:
        name = self._topics[contract].name
        numbers = patiently(lambda: consumer.list_topics(name, TIMEOUT_S)).topics[name].partitions
        return [TopicPartition(name, number) for number in sorted(numbers)]


def require_commits_of(
    offsets: Offsets, role: str, topics: Iterable[Topic], topic_ids: Mapping[str, str], group: str
) -> None:
    """Raises TopicRecreated where a commit of the role was made for another topic of the same name."""
    for topic in topics:
        for commit in offsets.commits(role, topic.contract).values():
            note = CommitNote.read(commit.metadata)
            if note is not None and note.topic_id != topic_ids[topic.name]:
                raise TopicRecreated(topic.name, note.topic_id, topic_ids[topic.name], group)


def patiently(question: Callable[[], Any]) -> Any:
    """The answer, asked again while the broker is still settling who coordinates what. Raises Unavailable."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return question()
        except KafkaException as error:
            settling = error.args[0].retriable() or error.args[0].code() in SETTLING
            if not settling or time.monotonic() > deadline:
                raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
            time.sleep(RETRY_S)
