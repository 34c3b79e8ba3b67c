"""Touchpoints and conversions in Redis, under every identifier they can be asked by.

Guarantee (delivery.md, rule 2, facts): storing is idempotent, and storing and reading are one script, so that
of a click and its conversion, wherever each is worked on, the one stored second is read together with the
first. What is read of a conversion only grows until it expires.

At 100 times today's load one Redis core is the limit of a shard (docs/scaling.md); more shards then.
"""

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from importlib.resources import files
from itertools import chain
from typing import Any

import msgpack
from redis import exceptions
from redis.asyncio import Redis

from schemas.facts import Fact, HeldConversion, HeldFact
from sinks.errors import Refused, Unavailable

__all__ = ["AttributionStore"]

#: A script blocks the server while it runs: 2,000 clicks are about 16 ms.
FACTS_A_SCRIPT = 2_000
DIGEST_BYTES = 8
#: A server that cannot serve now but will: redis-py knows some by their class, others only by their first word.
PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)
PASSING_WORDS = ("BUSY", "MISCONF", "NOREPLICAS")
#: A wrong password, or one that may not do what is asked. The first is a ConnectionError to redis-py.
FORBIDDEN = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


class AttributionStore:
    """What the attribution role knows, shared by all its workers."""

    def __init__(self, url: str, *, namespace: str = "", shards: int = 1) -> None:
        """`url` is redis://user:password@host:port/db. `shards` is fixed for the life of a deployment."""
        self._redis: Redis = Redis.from_url(url, socket_timeout=30, socket_connect_timeout=5)
        self._namespace = namespace
        self._shards = shards
        self._store_touchpoints = self._redis.register_script(_script("store_touchpoints.lua"))
        self._store_conversions = self._redis.register_script(_script("store_conversions.lua"))

    async def add_touchpoints(self, facts: Sequence[Fact]) -> list[HeldConversion]:
        """Store clicks. Returns the conversions known under their identifiers. Raises Unavailable, Refused."""
        return await self._run(self._store_touchpoints, facts, _touchpoint_rows)

    async def add_conversions(self, facts: Sequence[Fact]) -> list[HeldConversion]:
        """Store conversions. Returns each of them once with all that is held. Raises Unavailable, Refused."""
        return await self._run(self._store_conversions, facts, _conversion_rows)

    async def ping(self) -> None:
        """Raises Unavailable where Redis does not answer, Refused where it does not let us in."""
        try:
            await self._redis.ping()
        except exceptions.RedisError as error:
            raise _translated(error) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _run(self, script: Any, facts: Sequence[Fact], to_rows: Any) -> list[HeldConversion]:
        # A conversion that several scripts of a batch concern is read in each; the last reading is the fullest.
        held: dict[bytes, HeldConversion] = {}
        for prefix, part in self._parts(facts):
            packed = _for_lua(to_rows(part))
            try:
                found = await script(keys=[prefix], args=[packed])
            except exceptions.RedisError as error:
                raise _translated(error) from error
            held |= {item[0]: _held_conversion(item) for item in found}
        return list(held.values())

    def _parts(self, facts: Sequence[Fact]) -> Iterator[tuple[str, Sequence[Fact]]]:
        by_prefix: defaultdict[str, list[Fact]] = defaultdict(list)
        for fact in facts:
            by_prefix[self._prefix(fact.account_id)].append(fact)
        for prefix, group in by_prefix.items():
            for start in range(0, len(group), FACTS_A_SCRIPT):
                yield prefix, group[start : start + FACTS_A_SCRIPT]

    def _prefix(self, account_id: str) -> str:
        """All keys of a tenant carry the hash tag of its shard, so that a script finds them on one server."""
        shard = zlib.crc32(account_id.encode()) % self._shards
        return f"sl:1:{{s{shard}}}:{self._namespace}"


def _script(name: str) -> str:
    folder = files("sinks.redis")
    return (folder / "attribution.lua").read_text() + (folder / name).read_text()


def _touchpoint_rows(facts: Sequence[Fact]) -> list[Any]:
    """A flat list, by identifier: a visitor's clicks are one key."""
    by_identifier: dict[str, list[Any]] = {}
    for fact in facts:
        field = fact.id.encode() + fact.digest
        for identifier in fact.identifiers:
            row = by_identifier.get(identifier)
            if row is None:
                by_identifier[identifier] = [identifier, fact.expires_at_s, 1, field, fact.content]
            else:
                row[1] = max(row[1], fact.expires_at_s)
                row[2] += 1
                row += (field, fact.content)
    return list(chain.from_iterable(by_identifier.values()))


def _conversion_rows(facts: Sequence[Fact]) -> list[Any]:
    return [
        (
            msgpack.packb((fact.account_id, fact.id)),
            fact.digest,
            _for_lua((fact.identifiers, fact.content)),
            fact.expires_at_s,
            fact.identifiers,
        )
        for fact in facts
    ]


def _for_lua(value: Any) -> bytes:
    """The server's cmsgpack does not know msgpack's type for bytes: all strings are of the older, raw type."""
    packed: bytes = msgpack.packb(value, use_bin_type=False)
    return packed


def _held_conversion(item: Sequence[Any]) -> HeldConversion:
    reference, contents, touchpoints, facts_held = item
    account_id, conversion_id = msgpack.unpackb(reference)
    return HeldConversion(
        account_id,
        conversion_id,
        [
            HeldFact(conversion_id, digest, msgpack.unpackb(stored, raw=True)[1])
            for digest, stored in zip(contents[::2], contents[1::2], strict=True)
        ],
        [
            HeldFact(field[:-DIGEST_BYTES].decode(), field[-DIGEST_BYTES:], content)
            for field, content in zip(touchpoints[::2], touchpoints[1::2], strict=True)
        ],
        facts_held,
    )


def _translated(error: exceptions.RedisError) -> Exception:
    """An outage as Unavailable, a closed door as Refused; anything else is a defect and stays what it is."""
    if isinstance(error, FORBIDDEN):
        return Refused(f"Redis does not let us in: {error}")
    if isinstance(error, PASSING) or str(error).startswith(PASSING_WORDS):
        return Unavailable(f"Redis cannot serve now: {error}")
    return error
