"""Touchpoints and conversions in Redis, under every identifier they can be asked by.

Guarantee (delivery.md, rules 2 (facts), 3 and 8): storing is idempotent, moves the partition's fence in the same
script and refuses a gap. Storing comes before reading, so that of a click and its conversion, wherever each is
worked on, the one stored second is read together with the first.

At 100 times today's load one Redis core is the limit of a shard (docs/scaling.md); more shards then.
"""

import struct
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

import msgpack

from schemas.facts import ConversionFact, Entries, Held, HeldContent, HeldConversion, HeldEntries
from schemas.spans import Span
from sinks.redis.connection import RedisConnection, packed
from sinks.redis.fences import Fences

__all__ = ["MAX_ENTRIES", "MAX_LINKS", "REBUILD", "ROLE", "AttributionStore"]

ROLE = "attribution"
REBUILD = "attribution.rebuild"
#: A script blocks the server while it runs: so many identifiers are about 15 ms.
ENTRIES_A_SCRIPT = 2_000
CONVERSIONS_A_SCRIPT = 500
#: More touchpoints of one identifier in one bucket are not a person's: a broken tag gave many the same id, which
#: therefore says nothing. It also bounds what is read for a conversion.
MAX_ENTRIES = 500
#: The same for links of one identifier in one bucket: a till, an office's machine.
MAX_LINKS = 200
MANY = b"\x00\x00"
KEYS_A_SCAN = 1_000


#: Which script stores facts, and how they are cut into its arguments.
_Scripts = tuple[str, Sequence[Any], Callable[[Sequence[Any]], Iterator[tuple[Any, ...]]]]


class AttributionStore:
    """What the attribution role knows, shared by all its workers."""

    def __init__(self, url: str, *, namespace: str = "", shards: int = 1, fences: str = ROLE) -> None:
        """`url` is redis://user:password@host:port/db. `shards` is fixed for the life of a deployment.

        `fences` names the fences that scripts move.
        """
        self._redis = RedisConnection(url)
        self._prefixes = [f"sl:2:{{s{shard}}}:{namespace}" for shard in range(shards)]
        self.fences = Fences(self._redis, self._prefixes, fences)
        self._scripts = {
            name: self._redis.script("fence.lua", "attribution.lua", f"store_{name}.lua")
            for name in ("touchpoints", "conversions")
        }

    async def add_touchpoints(
        self, span: Span, touchpoints: Sequence[Entries], links: Sequence[Entries] = (), *, is_end: bool = True
    ) -> Held:
        """Store clicks of a span, and what they link. Returns the conversions that these may concern.

        `is_end`: nothing more is to come of the span. Raises StateLost, StateBehind, Unavailable, Refused.
        """
        return await self._run(span, is_end, [_entries_scripts("g", links), _entries_scripts("t", touchpoints)])

    async def add_conversions(
        self, span: Span, facts: Sequence[ConversionFact], links: Sequence[Entries] = (), *, is_end: bool = True
    ) -> Held:
        """Store conversions of a span, and what they link. Returns each of them once, but for what expired on arrival,
        and those that the links may concern.

        `is_end` and errors as above.
        """
        return await self._run(span, is_end, [_entries_scripts("g", links), _conversions_scripts(facts)])

    async def wipe(self) -> int:
        """Forget everything, the role's fences first. Returns how many keys there were. Raises Unavailable, Refused."""
        redis, count = self._redis, 0
        for prefix in self._prefixes:
            await redis.ask(redis.client.delete(f"{prefix}f:{ROLE}", f"{prefix}f:{REBUILD}"))
            cursor = -1
            while cursor:
                cursor, keys = await redis.ask(
                    redis.client.scan(max(cursor, 0), f"{_escaped(prefix)}[tgck]:*", KEYS_A_SCAN)
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

    async def _run(self, span: Span, is_end: bool, kinds: Sequence[_Scripts]) -> Held:
        answers = []
        for prefix in self._prefixes:  # every shard, for each keeps a fence
            calls = [
                (name, part)
                for name, facts, to_parts in kinds
                for part in to_parts([fact for fact in facts if self._prefix(fact.account_id) == prefix])
            ] or [("touchpoints", (MAX_LINKS, ()))]
            for number, (name, part) in enumerate(calls, 1):
                is_last = is_end and number == len(calls)
                payload = (MAX_ENTRIES, *part)
                answers.append(await self.fences.run(self._scripts[name], prefix, span, payload, is_end=is_last))
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


def _entries_scripts(letter: str, facts: Sequence[Entries]) -> _Scripts:
    return "touchpoints", facts, partial(_entries_parts, letter)


def _conversions_scripts(facts: Sequence[ConversionFact]) -> _Scripts:
    return "conversions", facts, _conversion_parts


def _entries_parts(letter: str, facts: Iterable[Entries]) -> Iterator[tuple[int, list[Any]]]:
    """Arguments of scripts of bounded length. `letter` stands in the keys."""
    part: list[Any] = []
    room = ENTRIES_A_SCRIPT
    for fact in facts:
        start = 0
        while start < len(fact.identifiers):
            stop = start + room
            identifiers, contents = fact.identifiers[start:stop], fact.contents[start:stop]
            where = letter, _tenant(fact.account_id), fact.bucket, fact.expires_at_s
            part.append((*where, fact.conversion_buckets, identifiers, contents))
            start, room = stop, room - len(identifiers)
            if room == 0:
                yield MAX_LINKS, part
                part, room = [], ENTRIES_A_SCRIPT
    if part:
        yield MAX_LINKS, part


def _conversion_parts(facts: Sequence[ConversionFact]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The conversions, and by bucket what leads to them."""
    for start in range(0, len(facts), CONVERSIONS_A_SCRIPT):
        stored = []
        groups: dict[tuple[str, int], tuple[list[int], list[str], list[str]]] = {}
        for fact in facts[start : start + CONVERSIONS_A_SCRIPT]:
            tenant = _tenant(fact.account_id)
            buckets = fact.touchpoint_buckets, fact.link_buckets
            content = packed((fact.identifiers, *buckets, fact.bucket, fact.bucket_expires_at_s, fact.content))
            stored.append((tenant, fact.id, content, fact.expires_at_s))
            expiries, identifiers, ids = groups.setdefault((tenant, fact.bucket), ([], [], []))
            expiries.append(fact.bucket_expires_at_s)
            identifiers += fact.identifiers
            ids += [fact.id] * len(fact.identifiers)
        yield stored, [(*key, max(expiries), names, ids) for key, (expiries, names, ids) in groups.items()]


def _held(answers: Sequence[Any]) -> Held:
    # What several scripts of a chunk have read is there several times; the last reading is the fullest.
    conversions: dict[tuple[bytes, bytes], HeldConversion] = {}
    touchpoints: dict[tuple[bytes, bytes, int], bytes] = {}
    links: dict[tuple[bytes, bytes, int], bytes] = {}
    for found, *others in answers:
        for tenant, conversion_id, contents, reached, cut in zip(*_columns(found, 5), strict=True):
            conversions[tenant, conversion_id] = HeldConversion(
                _account_id(tenant),
                conversion_id.decode(),
                list(map(_content, contents)),
                [identifier.decode() for identifier in reached],
                cut,
            )
        for lists, flat in zip((touchpoints, links), others, strict=True):
            for tenant, identifier, bucket, entries in zip(*_columns(flat, 4), strict=True):
                lists[tenant, identifier, bucket] = entries
    return Held(list(conversions.values()), _by_identifier(touchpoints), _by_identifier(links))


def _by_identifier(lists: Mapping[tuple[bytes, bytes, int], bytes]) -> Mapping[tuple[str, str], HeldEntries]:
    found: defaultdict[tuple[str, str], dict[int, bytes]] = defaultdict(dict)
    for (tenant, identifier, bucket), entries in lists.items():
        found[_account_id(tenant), identifier.decode()][bucket] = entries
    return {key: _entries_of(buckets) for key, buckets in found.items()}


def _columns(flat: Sequence[Any], width: int) -> list[Sequence[Any]]:
    return [flat[column::width] for column in range(width)]


@lru_cache(maxsize=10_000)
def _account_id(tenant: bytes) -> str:
    return tenant.partition(b":")[2].decode()


def _content(stored: bytes) -> HeldContent:
    identifiers, *_, content = msgpack.unpackb(stored, raw=True)
    return HeldContent([identifier.decode() for identifier in identifiers], content)


def _entries_of(lists: Mapping[int, bytes]) -> HeldEntries:
    contents = [entry for entries in lists.values() if entries != MANY for entry in _entries(entries)]
    return HeldEntries(contents, [bucket for bucket, entries in lists.items() if entries == MANY])


def _entries(entries: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(entries):
        (length,) = struct.unpack_from(">H", entries, position)
        position += 2 + length
        yield entries[position - length : position]
