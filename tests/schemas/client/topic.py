"""What is put on a topic from a moment on."""

from functools import partial
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from schemas.topics import topics
from streams.offsets import patiently
from streams.settings import Settings


class Tail:
    """The records of a topic that came after this was made."""

    def __init__(self, settings: Settings, contract: str) -> None:
        self._settings = settings
        self._name = topics(settings.namespace)[contract].name
        self._starts = self._ends()

    def read(self) -> list[Any]:
        """All there are at the moment, partition by partition."""
        ends = self._ends()
        behind = {partition for partition, end in ends.items() if end > self._starts[partition]}
        records = []
        consumer = self._consumer()
        try:
            consumer.assign([TopicPartition(self._name, partition, self._starts[partition]) for partition in behind])
            while behind:
                record = consumer.poll(30)
                assert record is not None
                assert not record.error(), record.error()
                records.append(record)
                if record.offset() == ends[record.partition()] - 1:
                    behind.remove(record.partition())
        finally:
            consumer.close()
        return sorted(records, key=lambda record: (record.partition(), record.offset()))

    def _ends(self) -> dict[int, int]:
        consumer = self._consumer()
        try:
            partitions = range(self._settings.kafka.partitions)
            return {
                partition: patiently(
                    partial(consumer.get_watermark_offsets, TopicPartition(self._name, partition), 30)
                )[1]
                for partition in partitions
            }
        finally:
            consumer.close()

    def _consumer(self) -> Consumer:
        conf = {"group.id": "reader", "enable.auto.commit": False, "fetch.wait.max.ms": 20}
        return Consumer({**self._settings.kafka.client(), **conf})
