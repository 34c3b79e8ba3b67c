"""What the Kafka clients do by themselves: the ceiling of everything else."""

import asyncio
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from confluent_kafka import Consumer, KafkaException

from tests.bench.subjects.process import Job, Stopwatch, main

FETCH_BYTES = 8 << 20
POLL_RECORDS = 10_000


def confluent(job: Job, stopwatch: Stopwatch) -> None:
    """`consume` in a loop, looking at nothing but errors."""
    consumer = Consumer(
        {
            "bootstrap.servers": job.servers,
            "group.id": job.group,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": FETCH_BYTES,
            "queued.max.messages.kbytes": 64 << 10,
            "fetch.queue.backoff.ms": 10,
        }
    )
    consumer.subscribe([job.topic], on_assign=lambda consumer, partitions: stopwatch.start())
    while not stopwatch.is_over:
        records = consumer.consume(POLL_RECORDS, 0.1)
        for record in records:
            if record.error():
                raise KafkaException(record.error())
        if records:
            stopwatch.add(len(records))
    consumer.close()


def aiokafka(job: Job, stopwatch: Stopwatch) -> None:
    """`getmany` in a loop."""
    asyncio.run(_aiokafka(job, stopwatch))


async def _aiokafka(job: Job, stopwatch: Stopwatch) -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=job.servers,
        group_id=job.group,
        auto_offset_reset="earliest",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    consumer.subscribe([job.topic], listener=_Assigned(stopwatch))
    await consumer.start()
    while not stopwatch.is_over:
        by_partition = await consumer.getmany(timeout_ms=1_000)
        for records in by_partition.values():
            stopwatch.add(len(records))
    await consumer.stop()


class _Assigned(ConsumerRebalanceListener):
    def __init__(self, stopwatch: Stopwatch) -> None:
        self._stopwatch = stopwatch

    async def on_partitions_assigned(self, assigned: Any) -> None:
        self._stopwatch.start()

    async def on_partitions_revoked(self, revoked: Any) -> None:
        pass


if __name__ == "__main__":
    main({"confluent": confluent, "aiokafka": aiokafka})
