"""Parts of a topic that have an end, read without belonging to a group."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Self

from confluent_kafka import Consumer, KafkaError, TopicPartition

from sinks.errors import Unavailable
from streams.offsets import patiently
from streams.settings import Settings

__all__ = ["Span", "TopicReader"]

TIMEOUT_S = 30.0
POLL_S = 0.2
#: As many of the largest records as may be in memory at once.
BATCH_RECORDS = 64


class Span(NamedTuple):
    """Offsets [start, end) of one partition."""

    start: int
    end: int

    @property
    def size(self) -> int:
        """Offsets in it: as many records, or fewer where Kafka keeps some for itself."""
        return max(self.end - self.start, 0)


class TopicReader:
    """Reads a topic as it is when the reader is asked: what arrives afterwards is left out.

    What a publisher's transaction took back, or has not yet committed, is not there (read_committed).
    Every method raises Unavailable where Kafka does not answer.
    """

    def __init__(self, settings: Settings, name: str) -> None:
        """`name` is what Kafka calls the topic, which must be there."""
        self._name = name
        self._consumer = Consumer(
            {
                **settings.kafka.client(),
                "group.id": settings.group("reader"),  # the client asks for one; nothing is ever committed under it
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "fetch.message.max.bytes": 8 << 20,
                "queued.max.messages.kbytes": 64 << 10,
            }
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def everything(self) -> dict[int, Span]:
        """All there is now, by partition."""
        return {tp.partition: self._span(tp) for tp in self._partitions(0)}

    def between(self, from_ms: int, to_ms: int) -> dict[int, Span]:
        """From the first record of each partition that is not older than `from_ms` to the first not older than `to_ms`.

        Times are Kafka's, in milliseconds.
        """
        starts, ends, spans = self._at(from_ms), self._at(to_ms), {}
        for partition, (_, high) in self.everything().items():
            start, end = (at[partition] if at[partition] >= 0 else high for at in (starts, ends))
            spans[partition] = Span(start, max(start, end))
        return spans

    def read(self, spans: Mapping[int, Span]) -> Iterator[Sequence[Any]]:
        """The records of these spans, a few at a time, those of a partition in order."""
        ends = {partition: span.end for partition, span in spans.items() if span.size}
        assigned = [TopicPartition(self._name, partition, spans[partition].start) for partition in ends]
        self._consumer.assign(assigned)
        self._consumer.resume(assigned)  # a pause outlives the assignment it was made in
        heard_at, said = time.monotonic(), "nothing more came"
        while ends:
            records: list[Any] = []
            for message in self._consumer.consume(BATCH_RECORDS, POLL_S):
                if (error := message.error()) is None:
                    records += self._take(message, ends)
                elif error.code() == KafkaError._PARTITION_EOF:
                    ends.pop(message.partition(), None)
                else:
                    said = error.str()
            if records:
                yield records
                heard_at = time.monotonic()  # whoever reads takes as long as it takes
            elif ends and time.monotonic() - heard_at > TIMEOUT_S:
                raise Unavailable(f"{self._name} could not be read to its end: {said}")
        self._consumer.unassign()

    def _take(self, message: Any, ends: dict[int, int]) -> Sequence[Any]:
        """The message, if it is before its partition's end; the partition is done with where that is reached."""
        partition, offset = message.partition(), message.offset()
        end = ends.get(partition)
        if end is None:
            return ()
        if offset + 1 >= end:
            del ends[partition]
            self._consumer.pause([TopicPartition(self._name, partition)])
        return (message,) if offset < end else ()

    def _partitions(self, at: int) -> list[TopicPartition]:
        known = patiently(lambda: self._consumer.list_topics(self._name, TIMEOUT_S)).topics[self._name]
        return [TopicPartition(self._name, number, at) for number in sorted(known.partitions)]

    def _span(self, partition: TopicPartition) -> Span:
        return Span(*patiently(lambda: self._consumer.get_watermark_offsets(partition, TIMEOUT_S)))

    def _at(self, time_ms: int) -> dict[int, int]:
        """The first offset of each partition at or after that time; below zero where there is none."""
        partitions = self._partitions(time_ms)
        found = patiently(lambda: self._consumer.offsets_for_times(partitions, TIMEOUT_S))
        return {tp.partition: tp.offset for tp in found}
