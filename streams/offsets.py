"""How far a topic reaches and how far a role has come."""

from typing import Self

from confluent_kafka import Consumer, TopicPartition

from schemas.topics import topics
from streams.settings import Settings

__all__ = ["Offsets"]

TIMEOUT_S = 30.0


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
        consumer = self._consumer("loader")
        return {
            tp.partition: consumer.get_watermark_offsets(tp, TIMEOUT_S)[1]
            for tp in self._partitions(consumer, contract)
        }

    def committed(self, role: str, contract: str) -> dict[int, int]:
        """What the role's group has committed, by partition; nothing committed counts as zero."""
        consumer = self._consumer(role)
        found = consumer.committed(self._partitions(consumer, contract), TIMEOUT_S)
        return {tp.partition: max(tp.offset, 0) for tp in found}

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
        numbers = consumer.list_topics(name, TIMEOUT_S).topics[name].partitions
        return [TopicPartition(name, number) for number in sorted(numbers)]
