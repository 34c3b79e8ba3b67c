"""Faust as it comes, set for throughput: an agent that takes event after event."""

import asyncio
from typing import Any

import faust

from tests.bench.subjects.process import Job, Stopwatch, main

#: Where Faust's own buffer stalls the consumer otherwise (its issue #173).
PRODUCER_BUFFER = 10_000


def read(job: Job, stopwatch: Stopwatch) -> None:
    """Count the events."""
    app = _app(job)

    @app.agent(_topic(app, job.topic))
    async def count(stream: Any) -> None:
        seen = 0
        async for _ in stream:
            seen += 1
            if seen == job.events:
                stopwatch.add(seen)

    asyncio.run(run_app(app, stopwatch))


def produce(job: Job, stopwatch: Stopwatch) -> None:
    """Send each event on, under its key."""
    app = _app(job)
    output = _topic(app, job.output)

    @app.agent(_topic(app, job.topic))
    async def forward(stream: Any) -> None:
        app.producer.buffer.max_messages = PRODUCER_BUFFER
        seen = 0
        async for event in stream.events():
            await output.send(key=event.key, value=event.value)
            seen += 1
            if seen == job.events:
                await app.producer.flush()
                stopwatch.add(seen)

    asyncio.run(run_app(app, stopwatch))


def _app(job: Job) -> faust.App:
    return faust.App(
        job.group,
        broker=f"kafka://{job.servers}",
        broker_commit_every=1_000_000,
        broker_max_poll_records=None,
        consumer_auto_offset_reset="earliest",
        consumer_max_fetch_size=8 << 20,
        cython_optimizations=True,
        datadir=job.directory,
        producer_compression_type="lz4",
        producer_linger=0.2,
        producer_max_batch_size=256 << 10,
        stream_buffer_maxsize=16_384,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )


def _topic(app: faust.App, name: str) -> Any:
    return app.topic(name, key_type=bytes, key_serializer="raw", value_type=bytes, value_serializer="raw")


async def run_app(app: faust.App, stopwatch: Stopwatch) -> None:
    """Run an app until the stopwatch is over. The stopwatch starts when the app begins to fetch."""

    @app.on_rebalance_complete.connect(weak=False)
    async def start(sender: Any, **arguments: Any) -> None:
        stopwatch.start()

    await app.start()
    while not stopwatch.is_over:
        if app.crash_reason:
            raise app.crash_reason
        await asyncio.sleep(0.05)
    await app.stop()


if __name__ == "__main__":
    main({"read": read, "produce": produce})
