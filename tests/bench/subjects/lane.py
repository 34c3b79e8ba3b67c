"""The batch lane: an agent that takes chunk after chunk."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import faust
import numpy as np

from schemas.client.publisher import Publisher
from schemas.codec import Decoder
from schemas.topics import topics
from streams.admin import registry
from streams.app import ChunkSchema, create_app
from streams.settings import load_settings
from streams.transport.chunk import Chunk
from tests.bench.subjects.process import Job, Stopwatch, main
from tests.bench.subjects.stock_faust import run_app

ROLE = "lane"


def read(job: Job, stopwatch: Stopwatch) -> None:
    """Count the records."""

    async def count(chunk: Chunk) -> None:
        pass  # the stopwatch does

    _run_lane(job, stopwatch, count)


def decode(job: Job, stopwatch: Stopwatch) -> None:
    """Decode and check clicks, as a role does."""
    settings = load_settings()
    topic = topics(settings.namespace)["clicks"]
    decoder = Decoder(topic, registry(settings), settings.event_time_bounds("clicks"))

    async def work(chunk: Chunk) -> None:
        values = [record.value for record in chunk.records]
        times = np.fromiter((record.timestamp for record in chunk.records), np.int64, len(values))
        decoded = await asyncio.to_thread(decoder.decode, values, times)
        assert len(decoded.rows) == len(values)

    _run_lane(job, stopwatch, work)


def produce(job: Job, stopwatch: Stopwatch) -> None:
    """Send each record on, under its key; Kafka has acknowledged a chunk before it is finished."""
    settings = load_settings()
    publisher = Publisher(settings.kafka.client(), registry(settings), prefix=job.output.removesuffix("clicks"))

    def forward(chunk: Chunk) -> None:
        for record in chunk.records:
            publisher.send("clicks", record.key, record.value)
        publisher.flush()

    async def work(chunk: Chunk) -> None:
        await asyncio.to_thread(forward, chunk)

    _run_lane(job, stopwatch, work)


def _run_lane(job: Job, stopwatch: Stopwatch, work: Callable[[Chunk], Awaitable[None]]) -> None:
    app = create_app(ROLE, load_settings())

    @app.agent(app.topic(job.topic, schema=ChunkSchema()))
    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            await work(event.value)
            event.value.finish()
            event.ack()

    run_until_over(app, job.topic, stopwatch)


def run_until_over(app: faust.App, topic: str, stopwatch: Stopwatch) -> None:
    """Run an app of the lane as a worker does; the topic's records of finished chunks are done.

    A role may read what it writes itself, which is more work and not more records.
    """
    finish = Chunk.finish

    def counted(chunk: Chunk) -> None:
        records = len(chunk.records) if chunk.topic == topic else 0
        finish(chunk)
        stopwatch.add(records)

    Chunk.finish = counted
    asyncio.run(run_app(app, stopwatch))


if __name__ == "__main__":
    main({"read": read, "decode": decode, "produce": produce})
