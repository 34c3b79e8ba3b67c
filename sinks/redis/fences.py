"""How far the state in Redis is, by partition: the fence that every script moves together with what it stores.

A fence is the last offset of a partition whose effects are in the state. A role begins a partition behind it, so
that what a machine forgot with its last second is stored again; no fence where there is a commit means that the
state is gone. Fences never expire. See delivery.md, rules 2 and 3.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from redis import exceptions

from schemas.spans import Partition, Span
from sinks.redis.connection import RedisConnection, packed

__all__ = ["Fences", "StateBehind", "StateLost", "field_of"]


class StateLost(Exception):
    """Redis knows nothing of partitions that were worked on. Going on would give results with parts missing."""

    def __init__(self, fences: str) -> None:
        role = fences.partition(".")[0]
        super().__init__(
            f"Redis has lost the state of {role}. Stop every process of the role and run `spendloop rebuild {role}`."
        )


class StateBehind(Exception):
    """Redis has forgotten its last writes: the partitions have to be worked on again from behind their fences."""


class Fences:
    """The fences of one role, kept on every shard."""

    def __init__(self, redis: RedisConnection, prefixes: Sequence[str], role: str) -> None:
        """`prefixes` of the keys, one a shard."""
        self._redis = redis
        self._prefixes = prefixes
        self.role = role
        #: As last seen; a server that says less has forgotten something.
        self._known: dict[Partition, int] = {}
        self._seen_connections = 0

    async def read(self, partitions: Sequence[Partition]) -> Mapping[Partition, int | None]:
        """The fence of each partition, the least of all shards; None where a shard has none. Raises Unavailable."""
        self._known = {}
        connections = self._redis.times_connected
        fields = [field_of(partition) for partition in partitions]
        found = await asyncio.gather(*(self._fields(prefix, fields) for prefix in self._prefixes))
        fences = {
            partition: None if None in shards else min(map(int, shards))
            for partition, *shards in zip(partitions, *found, strict=True)
        }
        self._known = {partition: fence for partition, fence in fences.items() if fence is not None}
        self._seen_connections = connections  # of before: a server that came back meanwhile may know less than it said
        return fences

    async def begin(self, starts: Mapping[Partition, int]) -> None:
        """Put a fence before the first record of partitions that have none. Raises Unavailable."""
        for prefix in self._prefixes:
            for partition, start in starts.items():
                fence = self._redis.client.hsetnx(self._key(prefix), field_of(partition), str(start - 1))
                await self._redis.ask(fence)
        self._known |= {partition: start - 1 for partition, start in starts.items()}

    async def accept(self, starts: Mapping[Partition, int]) -> None:
        """Let partitions begin here, whatever was before; a fence never moves back. Raises Unavailable."""
        found = await self.read(list(starts))
        for partition, start in starts.items():
            fence = found[partition]
            if fence is None or fence < start - 1:
                for prefix in self._prefixes:
                    moved = self._redis.client.hset(self._key(prefix), field_of(partition), str(start - 1))
                    await self._redis.ask(moved)

    async def run(self, script: Any, prefix: str, span: Span, payload: Any, *, is_end: bool) -> Any:
        """Run a script that begins with fence.lua. The fence moves to the span's end, where this is its last script.

        Raises StateLost, StateBehind, Unavailable, Refused.
        """
        header = packed((self.role, field_of(span.partition), span.start, span.end - 1, is_end))
        try:
            answer = await self._redis.ask(script(keys=[prefix], args=[header, packed(payload)]))
        except exceptions.ResponseError as error:
            if str(error).startswith("NOFENCE"):
                raise StateLost(self.role) from error
            if str(error).startswith("GAP"):
                raise StateBehind(f"Redis has forgotten records before offset {span.start}") from error
            raise
        await self._verify()  # the script may have been what found a server that came back
        if is_end and prefix == self._prefixes[-1]:  # the last shard to be told
            self._known[span.partition] = max(span.end - 1, self._known.get(span.partition, -1))
        return answer

    async def verify(self) -> None:
        """Find out whether a server that came back has forgotten something, where no script runs that would.

        Raises StateLost, StateBehind, Unavailable, Refused.
        """
        await self._redis.ask(self._redis.client.ping())
        await self._verify()

    async def _verify(self) -> None:
        """After a reconnect: raises StateBehind where a fence is less than it was, StateLost, Unavailable."""
        connections = self._redis.times_connected
        if connections == self._seen_connections:
            return
        known = dict(self._known)
        fields = [field_of(partition) for partition in known]
        for prefix in self._prefixes if fields else ():
            found = await self._fields(prefix, fields)
            for partition, fence in zip(known, found, strict=True):
                if fence is None:
                    raise StateLost(self.role)
                if int(fence) < known[partition]:
                    raise StateBehind(f"Redis has forgotten records up to offset {known[partition]}")
        self._seen_connections = connections

    async def _fields(self, prefix: str, fields: Sequence[str]) -> list[bytes | None]:
        if not fields:
            return []
        found: list[bytes | None] = await self._redis.ask(self._redis.client.hmget(self._key(prefix), list(fields)))
        return found

    def _key(self, prefix: str) -> str:
        return f"{prefix}f:{self.role}"


def field_of(partition: Partition) -> str:
    """Under which name a partition is kept."""
    return f"{partition.topic_id}/{partition.number}"
