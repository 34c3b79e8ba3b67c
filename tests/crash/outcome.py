"""What a comparison of source and target finds."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field

from confluent_kafka import Consumer, Message, TopicPartition

from schemas.topics import topics
from streams.settings import Settings

__all__ = ["Found", "read_topic"]

POLL_RECORDS = 20_000
POLL_S = 30.0
EXAMPLES = 5


@dataclass
class Found:
    """sent: what should be there once. found: of that, what is there exactly as it should be.

    missing, doubled: what is not there, or not whole; what is there more than once, or should not be.
    repeated: records that came again and count once, which shows that something was worked on again.
    dead_lettered: dead letters by id. to_dead_letter: how many there should be, each of which counts as found.
    """

    sent: int = 0
    found: int = 0
    missing: int = 0
    doubled: int = 0
    repeated: int = 0
    dead_lettered: int = 0
    to_dead_letter: int = 0
    examples: list[str] = field(default_factory=list)

    def lacks(self, what: str, count: int = 1) -> None:
        self.missing += count
        self._example(f"missing: {what}")

    def exceeds(self, what: str, count: int = 1) -> None:
        self.doubled += count
        self._example(f"doubled: {what}")

    def hold_against(self, wanted: Mapping[Hashable, int], got: Mapping[Hashable, int], what: str) -> None:
        """Counts of things, thing by thing."""
        for thing in wanted.keys() | got.keys():
            difference = got.get(thing, 0) - wanted.get(thing, 0)
            if difference < 0:
                self.lacks(f"{what} {thing}", -difference)
            elif difference > 0:
                self.exceeds(f"{what} {thing}", difference)

    def _example(self, text: str) -> None:
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)


def read_topic(settings: Settings, contract: str) -> list[Message]:
    """All records of a topic, but for those of transactions that were taken back."""
    name = topics(settings.namespace)[contract].name
    consumer = Consumer(
        {
            **settings.kafka.client(),
            "group.id": "crash",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
        }
    )
    partitions = [TopicPartition(name, number, 0) for number in range(settings.kafka.partitions)]
    ends = {tp.partition: consumer.get_watermark_offsets(tp, POLL_S)[1] for tp in partitions}
    consumer.assign([tp for tp in partitions if ends[tp.partition]])
    left = {number for number, end in ends.items() if end}
    found: list[Message] = []
    while left:
        messages = consumer.consume(POLL_RECORDS, 1.0)
        for message in messages:
            if message.error():
                raise OSError(message.error().str())
        found += messages
        left -= {tp.partition for tp in consumer.position(consumer.assignment()) if tp.offset >= ends[tp.partition]}
    consumer.close()
    return found
