"""The steps of the attribution role that need care beyond what they give: who may use the publisher, and when."""

import asyncio
import threading
from typing import Any

from prometheus_client import CollectorRegistry

from schemas.errors import BadRecord
from schemas.topics import topics
from streams.agents.attribution import Attribution
from streams.metrics import RoleMetrics
from streams.settings import Settings
from streams.transport.chunk import Chunk
from streams.transport.unreadable import PlainRecord


def test_a_chunk_given_up_while_it_emits_takes_no_failures_of_the_next(deployment: Settings) -> None:
    """A flush hands out everybody's failures once: of two at a time, one would take the other's records for sent."""
    role = Attribution(deployment, RoleMetrics(CollectorRegistry()), rewind=lambda: None)
    begun, may_end = threading.Event(), threading.Event()
    flush, flushing = role._publisher.flush, []

    def held(*args: Any) -> None:
        flushing.append(threading.current_thread())
        assert flushing == [threading.current_thread()]
        begun.set()
        may_end.wait(60)
        flush(*args)
        flushing.clear()

    role._publisher.flush = held  # type: ignore[method-assign]

    def emit(offset: int) -> "asyncio.Task[None]":
        clicks = topics(deployment.namespace)["clicks"].name
        records = [PlainRecord(offset, 0, None, b"", ())]
        chunk = Chunk(clicks, 0, offset, offset + 1, 1, records, [b""], 0)
        return asyncio.create_task(role._emit("clicks", chunk, [BadRecord(0, "empty", "no value")], []))

    async def scenario() -> None:
        given_up = emit(0)
        assert await asyncio.to_thread(begun.wait, 60)
        given_up.cancel()
        following = emit(1)
        await asyncio.sleep(0.2)
        may_end.set()
        await following
        await asyncio.wait([given_up])
        assert given_up.cancelled()

    asyncio.run(scenario())


def test_nothing_is_settled_before_the_models_are_known(deployment: Settings) -> None:
    """Matched by no model, a conversion would be given up."""
    role = Attribution(deployment, RoleMetrics(CollectorRegistry()), rewind=lambda: None)
    runs = []

    async def run(partitions: Any) -> int:
        runs.append(len(partitions))
        return 0

    role._settling.run = run  # type: ignore[method-assign]

    async def scenario() -> None:
        await role.settle({})
        assert runs == []
        await role.prepare()
        await role.settle({})

    asyncio.run(scenario())
    assert runs == [deployment.kafka.partitions]
