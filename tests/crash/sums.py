"""A fenced consumer of the tests' own on the batch lane: for each record an output, flushed, then the sums it adds to.

Guarantee: effectively once per record; delivery.md, rules 1, 2 (sums) and 3.
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import faust
import numpy as np
from faust.types import TP
from prometheus_client import CollectorRegistry

from schemas.client.publisher import Publisher
from schemas.codec import Decoded, Decoder
from schemas.spans import Partition, Span
from schemas.topics import topics
from sinks.redis.fences import StateBehind
from sinks.redis.sums import Contribution, Sums
from streams.admin import registry, topic_ids
from streams.app import App, ChunkSchema, create_app, work_through
from streams.liveness import DELIVERY_TIMEOUT_S
from streams.logs import logging_config
from streams.metrics import RoleMetrics
from streams.patience import Patience
from streams.settings import Settings, load_settings
from streams.starting_points import begin_behind_fences, start_of_sums
from streams.threads import to_its_end
from streams.transport import fetched
from streams.transport.chunk import Abandoned, Chunk

__all__ = ["OUTPUT", "ROLE", "SOURCES", "FencedConsumer", "output_id", "sums_of", "work"]

ROLE = "sums"
SOURCES = {"clicks": "click_id", "conversions": "conversion_id"}
#: Nothing else of the deployment writes it.
OUTPUT = "attributed-conversions"
NEVER = 4_102_444_800


def output_id(topic: str, partition: int, offset: int) -> bytes:
    """Under which an output counts once."""
    return f"{topic}/{partition}/{offset}".encode()


def sums_of(settings: Settings) -> Sums:
    return Sums(settings.redis.url.get_secret_value(), ROLE, prefix=f"sl:2:{{s0}}:{settings.namespace}")


class FencedConsumer:
    """What the agents do with a chunk.

    1. Produce one output for each record, and flush.
    2. Add to the sums under the fence.
    3. Only then the agent finishes the chunk.
    """

    def __init__(self, settings: Settings, rewind: Callable[[], None]) -> None:
        names = topics(settings.namespace)
        self._rewind = rewind
        self._patience = Patience(RoleMetrics(CollectorRegistry()))
        schemas = registry(settings)
        producer = {**settings.kafka.client(), "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000)}
        self._publisher = Publisher(producer, schemas, prefix=settings.namespace)
        self._producing = asyncio.Lock()
        self._decoders = {names[source].name: Decoder(names[source], schemas) for source in SOURCES}
        self.topic_ids = topic_ids(settings.kafka.client(), list(self._decoders))
        self._sums = sums_of(settings)
        self._ids = {names[source].name: field for source, field in SOURCES.items()}

    async def starting_points(
        self, committed: Mapping[TP, int | None], log_starts: Mapping[TP, int]
    ) -> Mapping[TP, int]:
        partitions = {tp: Partition(self.topic_ids[tp.topic], tp.partition) for tp in committed}
        return await self._patience.wait_for(
            "fences",
            lambda: begin_behind_fences(self._sums.fences, partitions, committed, log_starts, start_of_sums),
        )

    async def work(self, chunk: Chunk) -> None:
        """Work on a chunk; when it returns, the chunk may be finished."""
        await self._produce(chunk)
        await self._add(chunk)

    async def _produce(self, chunk: Chunk) -> None:
        def produce() -> None:
            for record in chunk.records:
                key = output_id(chunk.topic, chunk.partition, record.offset)
                self._publisher.send(OUTPUT, key, record.value)
            self._publisher.flush()

        async with self._producing:  # a flush reports the failures of everybody's records
            await self._patience.wait_for("produce", lambda: to_its_end(produce), require_wanted=chunk.require_current)

    async def _add(self, chunk: Chunk) -> None:
        times = np.fromiter((record.timestamp for record in chunk.records), np.int64, len(chunk.records))
        decoded = await asyncio.to_thread(self._decoders[chunk.topic].decode, chunk.values, times)
        contributions = list(self._contributions(chunk, decoded))
        span = Span(Partition(self.topic_ids[chunk.topic], chunk.partition), chunk.start, chunk.end)
        try:
            await self._patience.wait_for(
                "add", lambda: self._sums.add(span, contributions), require_wanted=chunk.require_current
            )
        except StateBehind as behind:
            if not chunk.is_abandoned:
                self._rewind()
            raise Abandoned(str(behind)) from behind

    def _contributions(self, chunk: Chunk, decoded: Decoded) -> Iterator[Contribution]:
        """Of a click one to its channel, of a conversion its value; published again, it takes its own place."""
        ids = decoded.batch.column(self._ids[chunk.topic]).to_pylist()
        is_click = "channel" in decoded.batch.schema.names
        whats = decoded.batch.column("channel" if is_click else "value_micros").to_pylist()
        for row, own_id, what in zip(decoded.rows.tolist(), ids, whats, strict=True):
            record = chunk.records[row]
            amounts = (
                {("clicks", what): 1} if is_click else {("conversions", "count"): 1, ("conversions", "value"): what}
            )
            yield Contribution(record.offset, own_id, (0, record.timestamp), NEVER, amounts)


def work(chunk_records: str = "") -> None:
    """Run it as a worker; `chunk_records` sets how many records a chunk may hold."""
    if chunk_records:
        fetched.MAX_CHUNK_RECORDS = fetched.SLICE_RECORDS = int(chunk_records)
    settings = load_settings()
    app = _app(settings)
    config = logging_config("text")
    faust.Worker(
        app, loglevel="INFO", logging_config=config, redirect_stdouts=False, quiet=True
    ).execute_from_commandline()


def _app(settings: Settings) -> App:
    consumer = FencedConsumer(settings, rewind=lambda: app.consumer.rewind())
    app = create_app(ROLE, settings, consumer.starting_points, consumer.topic_ids)
    for source in SOURCES:
        topic = app.topic(topics(settings.namespace)[source].name, schema=ChunkSchema())

        @app.agent(topic, name=source)
        async def agent(stream: Any) -> None:
            await work_through(stream, consumer.work)

    return app
