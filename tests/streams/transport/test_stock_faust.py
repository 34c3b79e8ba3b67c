"""What the batch lane is for: two ways in which stock Faust commits what was not worked on.

Each test fails where Faust has mended it, and part of the lane is no longer needed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import faust

from streams.settings import Settings
from streams.transport.chunk import Chunk
from tests.streams.transport.test_driver import Source, lane, run_until

RECORDS = 10


def stock(settings: Settings, source: Source, agent: Callable[[Any], Any]) -> faust.App:
    app = faust.App(
        settings.group("lane"),
        broker=f"kafka://{settings.kafka.bootstrap_servers}",
        broker_commit_interval=0.2,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )
    app.agent(app.topic(source.name, value_serializer="raw"))(agent)
    return app


def test_stock_commits_over_the_head_of_a_partition(settings: Settings) -> None:
    """Its public issue #606: the first message is not acknowledged, the others are."""
    source = Source(settings)
    source.publish(RECORDS)
    acknowledged = []

    async def agent(stream: Any) -> None:
        async for event in stream.noack().events():
            if event.message.offset > 0:
                event.ack()
                acknowledged.append(event.message.offset)

    asyncio.run(run_until(stock(settings, source, agent), lambda: source.committed(settings.group("lane")) > 0))
    assert 0 not in acknowledged
    assert source.committed(settings.group("lane")) == RECORDS


def test_stock_commits_a_batch_whose_agent_raised(settings: Settings) -> None:
    source = Source(settings)
    source.publish(RECORDS)

    async def agent(stream: Any) -> None:
        async for batch in stream.take(RECORDS, within=2):
            raise RuntimeError(f"{len(batch)} messages were not worked on")

    # The agent is begun again, and the batch is not: it counts as done.
    app = stock(settings, source, agent)
    asyncio.run(run_until(app, lambda: source.committed(settings.group("lane")) == RECORDS))


def test_the_lane_does_neither(settings: Settings) -> None:
    source = Source(settings)
    source.publish(RECORDS)

    def work(chunk: Chunk) -> None:
        raise RuntimeError(f"{len(chunk.records)} messages were not worked on")

    app = lane(settings, source, work)
    asyncio.run(run_until(app, lambda: app.crash_reason is not None))
    assert source.committed(settings.group("lane")) == 0
