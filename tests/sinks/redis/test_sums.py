"""Fenced sums in the real Redis, against adding it all up."""

import asyncio
import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from schemas.spans import Partition, Span
from sinks.redis.fences import StateBehind, StateLost
from sinks.redis.sums import CONTRIBUTIONS_A_SCRIPT, Added, Contribution, Sums

PARTITION = Partition("topic-id", 0)
NEVER = 4_102_444_800


@pytest.fixture(scope="module")
def url(stack: LocalStack) -> str:
    return read_state(stack.directory).addresses()["redis"]


def contribution(offset: int, thing: str, amount: int, version: tuple[int, int] = (0, 0)) -> Contribution:
    return Contribution(offset, thing, version, NEVER, {("ad-1", "value"): amount, (f"of-{thing}", "count"): 1})


def run(url: str, steps: Any) -> Any:
    async def scenario() -> Any:
        sums = Sums(url, "test", prefix=f"sl:2:{{s0}}:{uuid.uuid4().hex[:8]}.")
        try:
            return await steps(sums)
        finally:
            await sums.close()

    return asyncio.run(scenario())


def test_a_newer_version_replaces_what_an_older_one_contributed(url: str) -> None:
    async def steps(sums: Sums) -> None:
        await sums.fences.begin({PARTITION: 0})
        rows = [contribution(0, "deal", 70), contribution(1, "deal", -5, (0, 1)), contribution(2, "deal", 900, (0, 0))]
        assert await sums.add(Span(PARTITION, 0, 3), rows) == Added(2, 0, 1)
        assert await sums.read("ad-1") == {"value": -5}
        assert await sums.read("of-deal") == {"count": 1}

    run(url, steps)


def test_integers_are_exact_to_64_bits(url: str) -> None:
    async def steps(sums: Sums) -> None:
        await sums.fences.begin({PARTITION: 0})
        large = 2**62 + 1
        await sums.add(Span(PARTITION, 0, 1), [contribution(0, "a", large)])
        assert await sums.read("ad-1") == {"value": large}
        await sums.add(Span(PARTITION, 1, 2), [contribution(1, "a", -large, (1, 0))])
        assert await sums.read("ad-1") == {"value": -large}

    run(url, steps)


def test_a_gap_and_a_lost_fence_are_refused(url: str) -> None:
    async def steps(sums: Sums) -> None:
        with pytest.raises(StateLost):
            await sums.add(Span(PARTITION, 0, 1), [contribution(0, "a", 1)])
        await sums.fences.begin({PARTITION: 0})
        with pytest.raises(StateBehind):
            await sums.add(Span(PARTITION, 1, 2), [contribution(1, "a", 1)])
        assert await sums.read("ad-1") == {}

    run(url, steps)


def test_a_span_longer_than_a_script(url: str) -> None:
    count = 2 * CONTRIBUTIONS_A_SCRIPT + 5

    async def steps(sums: Sums) -> None:
        await sums.fences.begin({PARTITION: 0})
        rows = [contribution(offset, f"t{offset}", 1) for offset in range(count)]
        assert await sums.add(Span(PARTITION, 0, count + 10), rows) == Added(count, 0, 0)
        assert await sums.fences.read([PARTITION]) == {PARTITION: count + 9}
        assert await sums.add(Span(PARTITION, 0, count + 10), rows) == Added(0, count, 0)
        assert await sums.read("ad-1") == {"value": count}

    run(url, steps)


#: Records (thing, amount, version), and how they are delivered: spans that begin anywhere at or below the fence.
RECORDS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(-9, 9), st.integers(0, 3)), min_size=1, max_size=20)
DELIVERIES = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), max_size=12)


@given(records=RECORDS, deliveries=DELIVERIES)
@settings(max_examples=60)
def test_any_delivery_adds_each_record_once(
    url: str, records: Sequence[tuple[str, int, int]], deliveries: Sequence[tuple[int, int]]
) -> None:
    rows = [contribution(n, thing, amount, (0, version)) for n, (thing, amount, version) in enumerate(records)]

    async def steps(sums: Sums) -> tuple[Any, Any]:
        await sums.fences.begin({PARTITION: 0})
        done = 0
        for start, length in [*deliveries, (0, len(rows))]:
            start = min(start, done)
            end = min(start + length, len(rows))
            await sums.add(Span(PARTITION, start, end), rows[start:end])
            done = max(done, end)
        return await sums.read("ad-1"), await sums.fences.read([PARTITION])

    newest: dict[str, tuple[int, int]] = {}
    for thing, amount, version in records:
        if thing not in newest or version > newest[thing][0]:
            newest[thing] = (version, amount)
    total: defaultdict[str, int] = defaultdict(int)
    total["value"] = sum(amount for _, amount in newest.values())
    assert run(url, steps) == (total, {PARTITION: len(rows) - 1})
