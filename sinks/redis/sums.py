"""Integers that records add to, each record once, whatever is delivered again.

Guarantee (delivery.md, rules 2 (sums), 3 and 8): adding and moving the partition's fence are one script. A span has
to begin at or below the fence + 1; what lies below is clipped. What one thing, a conversion or a deal, contributed is
kept with its version for as long as it may be corrected, and a newer version takes its place in the same script.

Fields of a hash are integers of 64 bits; more than 2^53 versions of one thing cannot be told apart.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from schemas.spans import Span
from sinks.redis.connection import RedisConnection
from sinks.redis.fences import Fences

__all__ = ["Added", "Contribution", "Sums"]

#: A script blocks the server while it runs.
CONTRIBUTIONS_A_SCRIPT = 1_000


class Contribution(NamedTuple):
    """What one record adds.

    offset: of the record, inside the span.
    id: what it is about, unique in the role; a newer `version` of it replaces an older one.
    expires_at_s: until when it may be corrected; later, a correction would be added on top and has to be refused
    before it comes here.
    amounts: integers by (sum, field).
    """

    offset: int
    id: str
    version: tuple[int, int]
    expires_at_s: int
    amounts: Mapping[tuple[str, str], int]


class Added(NamedTuple):
    """How many contributions were added, were added before, and were older than what is in the sums."""

    contributed: int
    clipped: int
    outdated: int


class Sums:
    """The sums of one role on one shard."""

    def __init__(self, url: str, role: str, *, prefix: str) -> None:
        """`url` is redis://user:password@host:port/db; `prefix` of the keys, the shard's hash tag included."""
        self._redis = RedisConnection(url)
        self._prefix = prefix
        self._role = role
        self.fences = Fences(self._redis, [prefix], role)
        self._add = self._redis.script("fence.lua", "add_sums.lua")

    async def add(self, span: Span, contributions: Sequence[Contribution]) -> Added:
        """Add what a span contributes, in offset order. Raises StateLost, StateBehind, Unavailable, Refused.

        A span longer than a script's is added part by part, each with its own fence.
        """
        parts = [
            contributions[start : start + CONTRIBUTIONS_A_SCRIPT]
            for start in range(0, len(contributions), CONTRIBUTIONS_A_SCRIPT)
        ] or [[]]
        total = Added(0, 0, 0)
        start = span.start
        for number, part in enumerate(parts, 1):
            end = span.end if number == len(parts) else part[-1].offset + 1
            rows = [
                (
                    item.offset,
                    item.id,
                    *item.version,
                    item.expires_at_s,
                    [(name, field, str(amount)) for (name, field), amount in item.amounts.items()],
                )
                for item in part
            ]
            found = await self.fences.run(self._add, self._prefix, Span(span.partition, start, end), rows, is_end=True)
            total = Added(*(so_far + more for so_far, more in zip(total, found, strict=True)))
            start = end
        return total

    async def read(self, name: str) -> Mapping[str, int]:
        """All fields of a sum. Raises Unavailable, Refused."""
        key = f"{self._prefix}s:{self._role}:{name}"
        found: Mapping[bytes, bytes] = await self._redis.ask(self._redis.client.hgetall(key))
        return {field.decode(): int(value) for field, value in found.items()}

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()
