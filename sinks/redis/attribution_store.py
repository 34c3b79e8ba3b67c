"""Touchpoints and conversions in Redis, under every identifier they can be asked by.

Guarantee (delivery.md, rules 2 (facts), 3 and 8): storing is idempotent, moves the partition's fence in the same
script and refuses a gap. Storing comes before reading, so that of a click and its conversion, wherever each is
worked on, the one stored second is read together with the first.

At 100 times today's load one Redis core is the limit of a shard (docs/scaling.md); more shards then.
"""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgpack

from schemas.facts import ConversionFact, Held, HeldContent, HeldConversion, HeldTouchpoints, TouchpointFacts
from schemas.spans import Span
from sinks.redis.connection import RedisConnection, packed
from sinks.redis.fences import Fences

__all__ = ["MAX_ENTRIES", "REBUILD", "ROLE", "AttributionStore"]

ROLE = "attribution"
REBUILD = "attribution.rebuild"
#: A script blocks the server while it runs: so many identifiers are about 15 ms.
ENTRIES_A_SCRIPT = 2_000
CONVERSIONS_A_SCRIPT = 500
#: More touchpoints of one identifier in one bucket are not a person's: a broken tag gave many the same id, which
#: therefore says nothing. It also bounds what is read for a conversion.
MAX_ENTRIES = 500
MANY = b"\x00\x00"
KEYS_A_SCAN = 1_000


class AttributionStore:
    """What the attribution role knows, shared by all its workers."""

    def __init__(self, url: str, *, namespace: str = "", shards: int = 1, fences: str = ROLE) -> None:
        """`url` is redis://user:password@host:port/db. `shards` is fixed for the life of a deployment.

        `fences` names the fences that scripts move.
        """
        self._redis = RedisConnection(url)
        self._prefixes = [f"sl:1:{{s{shard}}}:{namespace}" for shard in range(shards)]
        self.fences = Fences(self._redis, self._prefixes, fences)
        self._store_touchpoints = self._redis.script("fence.lua", "attribution.lua", "store_touchpoints.lua")
        self._store_conversions = self._redis.script("fence.lua", "attribution.lua", "store_conversions.lua")

    async def add_touchpoints(self, span: Span, facts: Sequence[TouchpointFacts], *, is_end: bool = True) -> Held:
        """Store clicks of a span. Returns the conversions known under their identifiers.

        `is_end`: nothing more is to come of the span. Raises StateLost, StateBehind, Unavailable, Refused.
        """
        return await self._run(self._store_touchpoints, span, facts, _touchpoint_parts, is_end)

    async def add_conversions(self, span: Span, facts: Sequence[ConversionFact], *, is_end: bool = True) -> Held:
        """Store conversions of a span. Returns each of them once, but for what expired on arrival.

        `is_end` and errors as above.
        """
        return await self._run(self._store_conversions, span, facts, _conversion_parts, is_end)

    async def wipe(self) -> int:
        """Forget everything, the role's fences first. Returns how many keys there were. Raises Unavailable, Refused."""
        redis, count = self._redis, 0
        for prefix in self._prefixes:
            await redis.ask(redis.client.delete(f"{prefix}f:{ROLE}", f"{prefix}f:{REBUILD}"))
            cursor = -1
            while cursor:
                cursor, keys = await redis.ask(
                    redis.client.scan(max(cursor, 0), f"{_escaped(prefix)}[tck]:*", KEYS_A_SCAN)
                )
                count += await redis.ask(redis.client.unlink(*keys)) if keys else 0
        return count

    async def end_rebuild(self) -> None:
        """Make the fences of a rebuild the role's: until then the role finds none, and refuses. Raises Unavailable."""
        for prefix in self._prefixes:
            await self._redis.ask(self._redis.client.rename(f"{prefix}f:{REBUILD}", f"{prefix}f:{ROLE}"))

    async def ping(self) -> None:
        """Raises Unavailable where Redis does not answer, Refused where it does not let us in."""
        await self._redis.ask(self._redis.client.ping())

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.close()

    async def _run(self, script: Any, span: Span, facts: Sequence[Any], to_parts: Any, is_end: bool) -> Held:
        by_shard: defaultdict[str, list[Any]] = defaultdict(list)
        for fact in facts:
            by_shard[self._prefix(fact.account_id)].append(fact)
        answers = []
        for prefix in self._prefixes:  # every shard, for each keeps a fence
            parts = list(to_parts(by_shard[prefix])) or [((),) * 2]
            for number, part in enumerate(parts, 1):
                payload = (MAX_ENTRIES, *part)
                is_last = is_end and number == len(parts)
                answers.append(await self.fences.run(script, prefix, span, payload, is_end=is_last))
        return _held(answers)

    def _prefix(self, account_id: str) -> str:
        """All keys of a tenant carry the hash tag of its shard, so that a script finds them on one server."""
        return self._prefixes[zlib.crc32(account_id.encode()) % len(self._prefixes)]


def _escaped(prefix: str) -> str:
    """For a pattern of SCAN."""
    return prefix.replace("\\", r"\\").replace("*", r"\*").replace("?", r"\?").replace("[", r"\[")


def _tenant(account_id: str) -> str:
    """With its length in front, which keeps the keys of two tenants apart."""
    return f"{len(account_id)}:{account_id}"


def _touchpoint_parts(facts: Iterable[TouchpointFacts]) -> Iterator[tuple[list[Any]]]:
    """Arguments of scripts of bounded length."""
    part: list[Any] = []
    room = ENTRIES_A_SCRIPT
    for fact in facts:
        start = 0
        while start < len(fact.identifiers):
            stop = start + room
            identifiers, contents = fact.identifiers[start:stop], fact.contents[start:stop]
            buckets = fact.conversion_buckets
            part.append((_tenant(fact.account_id), fact.bucket, fact.expires_at_s, buckets, identifiers, contents))
            start, room = stop, room - len(identifiers)
            if room == 0:
                yield (part,)
                part, room = [], ENTRIES_A_SCRIPT
    if part:
        yield (part,)


def _conversion_parts(facts: Sequence[ConversionFact]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The conversions, and by bucket what leads to them."""
    for start in range(0, len(facts), CONVERSIONS_A_SCRIPT):
        stored = []
        groups: dict[tuple[str, int], tuple[list[int], list[str], list[str]]] = {}
        for fact in facts[start : start + CONVERSIONS_A_SCRIPT]:
            tenant = _tenant(fact.account_id)
            content = packed((fact.identifiers, fact.touchpoint_buckets, fact.content))
            stored.append((tenant, fact.id, content, fact.expires_at_s))
            expiries, identifiers, ids = groups.setdefault((tenant, fact.bucket), ([], [], []))
            expiries.append(fact.bucket_expires_at_s)
            identifiers += fact.identifiers
            ids += [fact.id] * len(fact.identifiers)
        yield stored, [(*key, max(expiries), names, ids) for key, (expiries, names, ids) in groups.items()]


def _held(answers: Sequence[Any]) -> Held:
    # What several scripts of a chunk have read is there several times; the last reading is the fullest.
    conversions: dict[tuple[bytes, bytes], HeldConversion] = {}
    by_bucket: dict[tuple[bytes, bytes, int], bytes] = {}
    for found, touchpoints in answers:
        for tenant, conversion_id, contents in zip(*_columns(found, 3), strict=True):
            conversions[tenant, conversion_id] = HeldConversion(
                _account_id(tenant), conversion_id.decode(), list(map(_content, contents))
            )
        for tenant, identifier, bucket, entries in zip(*_columns(touchpoints, 4), strict=True):
            by_bucket[tenant, identifier, bucket] = entries
    lists: defaultdict[tuple[str, str], dict[int, bytes]] = defaultdict(dict)
    for (tenant, identifier, bucket), entries in by_bucket.items():
        lists[_account_id(tenant), identifier.decode()][bucket] = entries
    return Held(list(conversions.values()), {key: _touchpoints(found) for key, found in lists.items()})


def _columns(flat: Sequence[Any], width: int) -> list[Sequence[Any]]:
    return [flat[column::width] for column in range(width)]


@lru_cache(maxsize=10_000)
def _account_id(tenant: bytes) -> str:
    return tenant.partition(b":")[2].decode()


def _content(stored: bytes) -> HeldContent:
    identifiers, _, content = msgpack.unpackb(stored, raw=True)
    return HeldContent([identifier.decode() for identifier in identifiers], content)


def _touchpoints(lists: Mapping[int, bytes]) -> HeldTouchpoints:
    contents = [entry for entries in lists.values() if entries != MANY for entry in _entries(entries)]
    return HeldTouchpoints(contents, [bucket for bucket, entries in lists.items() if entries == MANY])


def _entries(entries: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(entries):
        (length,) = struct.unpack_from(">H", entries, position)
        position += 2 + length
        yield entries[position - length : position]
