"""Fences: where the state is, what it refuses, and how a server that forgot is found out."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas.facts import Entries
from schemas.spans import Partition, Span
from sinks.errors import Unavailable
from sinks.redis.attribution_store import ENTRIES_A_SCRIPT, AttributionStore
from sinks.redis.fences import StateBehind, StateLost
from tests.sinks.redis.server import Server

A, B = Partition("topic-a", 0), Partition("topic-a", 1)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


def clicks(*names: str, account: str = "acme") -> list[Entries]:
    return [Entries(account, 7, 4_102_444_800, [7], list(names), [name.encode() for name in names])]


def scenario(server: Server, steps: Callable[[AttributionStore], Awaitable[Any]], shards: int = 1) -> Any:
    async def run() -> Any:
        store = AttributionStore(server.url, namespace=f"{uuid.uuid4().hex[:8]}.", shards=shards)
        try:
            return await steps(store)
        finally:
            await store.close()

    return asyncio.run(run())


def test_the_fence_is_behind_what_is_stored_on_every_shard(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 10, B: 0})
        assert await store.fences.read([A, B]) == {A: 9, B: -1}
        await store.add_touchpoints(Span(A, 10, 15), clicks("v1"))
        await store.add_touchpoints(Span(A, 15, 21), [])  # its records were all bad, or of no tenant on some shard
        await store.add_conversions(Span(B, 0, 3), [])
        assert await store.fences.read([A, B]) == {A: 20, B: 2}

    scenario(server, steps, shards=3)


def test_a_repeat_moves_it_neither_back_nor_is_it_refused(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0})
        for start, end in ((0, 10), (0, 10), (3, 7), (3, 12), (12, 13)):
            await store.add_touchpoints(Span(A, start, end), clicks("v1"))
        assert await store.fences.read([A]) == {A: 12}

    scenario(server, steps)


def test_a_gap_is_refused_and_nothing_of_it_stored(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        with pytest.raises(StateBehind):
            await store.add_touchpoints(Span(A, 11, 20), clicks("v2"))
        assert await store.fences.read([A]) == {A: 9}
        assert await store.wipe() == 1

    scenario(server, steps)


def test_it_moves_with_the_last_script_of_a_span_only(server: Server) -> None:
    """A crash between two scripts of a chunk must not leave a fence behind records that are not stored."""

    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"), is_end=False)
        assert await store.fences.read([A]) == {A: -1}
        run, calls = store.fences.run, 0

        async def dying(*args: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == 2:
                raise ConnectionAbortedError
            return await run(*args, **options)

        store.fences.run = dying  # type: ignore[method-assign]
        many = clicks(*(f"v{n}" for n in range(ENTRIES_A_SCRIPT + 1)))
        with pytest.raises(ConnectionAbortedError):
            await store.add_touchpoints(Span(A, 0, 10), many)
        assert await store.fences.read([A]) == {A: -1}

    scenario(server, steps)


def test_without_a_fence_the_state_is_lost(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        with pytest.raises(StateLost, match="spendloop rebuild attribution"):
            await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        await store.fences.begin({A: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        with redis.Redis(port=server.port) as client:
            client.flushall()
        with pytest.raises(StateLost):
            await store.add_touchpoints(Span(A, 10, 12), clicks("v1"))
        assert await store.fences.read([A]) == {A: None}

    scenario(server, steps)


def test_a_shard_that_has_none_has_lost_it(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0})
        with redis.Redis(port=server.port) as client:
            [key] = client.keys("*{s1}*f:attribution")
            client.delete(key)
        assert await store.fences.read([A]) == {A: None}

    scenario(server, steps, shards=2)


def test_another_generation_of_a_topic_has_no_fence(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        assert await store.fences.read([Partition("topic-b", 0)]) == {Partition("topic-b", 0): None}

    scenario(server, steps)


def test_a_server_that_forgot_its_last_second_is_found_out_whichever_partition_asks(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0, B: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        kept = server.logged_bytes()
        await store.add_touchpoints(Span(A, 10, 20), clicks("v2"))
        server.kill()
        server.cut_log(kept)
        server.start()
        # Its own records follow its own fence without a gap; it is the other partition's that are gone.
        with pytest.raises((StateBehind, Unavailable)) as first:
            await store.add_touchpoints(Span(B, 0, 5), clicks("v3"))
        if first.type is Unavailable:
            with pytest.raises(StateBehind):
                await store.add_touchpoints(Span(B, 0, 5), clicks("v3"))
        assert (await store.fences.read([A, B]))[A] == 9
        await store.add_touchpoints(Span(A, 10, 20), clicks("v2"))
        await store.add_touchpoints(Span(B, 0, 5), clicks("v3"))

    scenario(server, steps)


def test_a_server_that_forgot_while_the_fences_were_read_is_found_out(server: Server) -> None:
    """Another chunk, at work on another partition, has met it first."""

    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0, B: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        kept = server.logged_bytes()
        await store.add_touchpoints(Span(A, 10, 20), clicks("v2"))
        answer = store.fences._fields

        async def slow(*question: Any) -> Any:
            store.fences._fields = answer  # type: ignore[method-assign]
            found = await answer(*question)
            server.kill()
            server.cut_log(kept)
            server.start()
            for _ in range(2):  # the first may find the connection broken
                with suppress(Unavailable):
                    await store.add_touchpoints(Span(B, 0, 5), clicks("v3"))
            return found

        store.fences._fields = slow  # type: ignore[method-assign]
        assert await store.fences.read([A, B]) == {A: 19, B: -1}
        with pytest.raises(StateBehind):
            await store.add_touchpoints(Span(B, 5, 6), clicks("v4"))

    scenario(server, steps)


def test_a_server_that_forgot_nothing_is_believed(server: Server) -> None:
    async def steps(store: AttributionStore) -> None:
        await store.fences.begin({A: 0})
        await store.add_touchpoints(Span(A, 0, 10), clicks("v1"))
        server.kill()
        server.start()
        for _ in range(2):
            try:
                await store.add_touchpoints(Span(A, 10, 20), clicks("v2"))
                break
            except Unavailable:
                continue
        assert await store.fences.read([A]) == {A: 19}

    scenario(server, steps)
