"""Touchpoints, conversions and deals in Redis, under every identifier they can be asked by.

Guarantee (delivery.md, rules 2 (facts), 3 and 8): storing is idempotent, moves the partition's fence in the same
script and refuses a gap. Storing comes before reading, so that of a click and its conversion, wherever each is
worked on, the one stored second is read together with the first.

At 100 times today's load one Redis core is the limit of a shard (docs/scaling.md); more shards then.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgpack

from schemas.facts import (
    LINK_HEAD_BYTES,
    TRACE_BYTES,
    ConversionFact,
    Entries,
    Held,
    HeldContent,
    HeldConversion,
    HeldEntries,
    Identifier,
)
from schemas.spans import Partition, Span
from sinks.redis.connection import RedisConnection, packed
from sinks.redis.fences import Fences, field_of

__all__ = ["MAX_ENTRIES", "MAX_LINKS", "MAX_TRACES", "REBUILD", "ROLE", "AttributionStore"]

ROLE = "attribution"
REBUILD = "attribution.rebuild"
#: A script blocks the server while it runs: so many identifiers are about 15 ms.
ENTRIES_A_SCRIPT = 2_000
CONVERSIONS_A_SCRIPT = 500
#: More touchpoints of one identifier in one bucket are not a person's: a broken tag gave many the same id, which
#: therefore says nothing. It also bounds what is read for a conversion.
MAX_ENTRIES = 500
#: The same for links of one identifier in one bucket, a till or an office's machine, and for the traces of clicks
#: under one key of a lookup: an address or a device that so many have says nothing.
MAX_LINKS = 200
MAX_TRACES = 200
#: In front of an entry of a list: its length.
FRAME_BYTES = 2
#: By the letter in their keys: how many entries a list may have, and how few bytes an entry takes.
LIMITS = {
    "t": (MAX_ENTRIES, FRAME_BYTES + 1),
    "g": (MAX_LINKS, FRAME_BYTES + LINK_HEAD_BYTES + 1),
    "e": (MAX_TRACES, FRAME_BYTES + TRACE_BYTES),
}
#: Among the fences, which are named for partitions: when the state was rebuilt.
EPOCH = "epoch"
#: What stands for a list with more.
MANY = b"\x00\x00"
KEYS_A_SCAN = 1_000


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
        self._settle = self._redis.script("unfenced.lua", "attribution.lua", "settle.lua")
        self._settled = self._redis.script("unfenced.lua", "settled.lua")

    async def add_touchpoints(
        self,
        span: Span,
        touchpoints: Sequence[Entries],
        links: Sequence[Entries] = (),
        traces: Sequence[Entries] = (),
        *,
        is_end: bool = True,
    ) -> Sequence[Held]:
        """Store clicks of a span, what they link, and their traces. Returns the conversions that these may concern.

        It takes several scripts, between which others may store: each reading is of one moment, and a conversion is in
        the last that met it. `is_end`: nothing more is to come of the span. Raises StateLost, StateBehind, Unavailable,
        Refused.
        """
        return await self._run(span, {"g": links, "e": traces, "t": touchpoints}, (), is_end=is_end)

    async def add_conversions(
        self, span: Span, facts: Sequence[ConversionFact], links: Sequence[Entries] = (), *, is_end: bool = True
    ) -> Sequence[Held]:
        """Store conversions of a span, and what they link. Returns each of them once, but for what expired on arrival,
        and those that the links may concern.

        Readings, `is_end` and errors as above.
        """
        return await self._run(span, {"g": links}, facts, is_end=is_end)

    async def settle(self, until_ms: int, most: int, again_ms: int) -> Held:
        """Take conversions that are due by then, at most so many a shard. Returns what is held for them.

        Until `again_ms` nobody else takes them; by then they are to be given up with `settled`. Raises Unavailable,
        Refused.
        """
        argument = packed((MAX_ENTRIES, until_ms, most, again_ms))
        answers = [await self._redis.ask(self._settle(keys=[prefix], args=[argument])) for prefix in self._prefixes]
        # No two shards hold anything of one tenant.
        held = [_held(answer, set(), {}) for answer in answers]
        return Held(
            [item for part in held for item in part.conversions],
            {name: item for part in held for name, item in part.touchpoints.items()},
            {name: item for part in held for name, item in part.links.items()},
        )

    async def settled(self, names: Collection[Identifier], due_ms: Mapping[Identifier, int], again_ms: int) -> None:
        """Give up conversions that `settle` took with this `again_ms`, but for those that are due once more.

        What has been made due since, for a correction came, stays due. Raises Unavailable, Refused.
        """
        for prefix in self._prefixes:
            members = [(_member(name), due_ms.get(name, False)) for name in names if self._prefix(name[0]) == prefix]
            if members:
                await self._redis.ask(self._settled(keys=[prefix], args=[packed((again_ms, members))]))

    async def reschedule(self, names: Collection[Identifier], due_ms: Mapping[Identifier, int]) -> None:
        """Settle conversions no more, or when they are due, whoever has taken them. Raises Unavailable, Refused."""
        for prefix in self._prefixes:
            here = [name for name in names if self._prefix(name[0]) == prefix]
            again = {_member(name): due_ms[name] for name in here if name in due_ms}
            over = [_member(name) for name in here if name not in due_ms]
            if again:
                await self._redis.ask(self._redis.client.zadd(f"{prefix}d", again))
            if over:
                await self._redis.ask(self._redis.client.zrem(f"{prefix}d", *over))

    async def traces(
        self, asked: Mapping[tuple[str, int], Collection[bytes]]
    ) -> Mapping[tuple[str, int, bytes], bytes | None]:
        """What is held under keys of lookups: by account, bucket and key the traces end to end, each with its length
        in front; None where there are too many. Raises Unavailable, Refused.
        """
        found = await self._lists("e", asked)
        return {where: None if entries == MANY else entries for where, entries in found.items()}

    async def clicks(
        self, asked: Mapping[tuple[str, int], Collection[bytes]]
    ) -> Mapping[tuple[str, bytes], HeldEntries]:
        """The contents of touchpoints under identifiers, by account and identifier. Raises Unavailable, Refused."""
        found: defaultdict[tuple[str, bytes], dict[int, bytes]] = defaultdict(dict)
        for (account_id, bucket, identifier), entries in (await self._lists("t", asked)).items():
            found[account_id, identifier][bucket] = entries
        return {name: _entries_of(buckets) for name, buckets in found.items()}

    async def note_watermarks(self, ingest_ms: Mapping[Partition, int]) -> None:
        """Note until when each partition's records are stored, ms. Raises Unavailable, Refused."""
        if ingest_ms:
            values: dict[Any, Any] = {field_of(partition): ms for partition, ms in ingest_ms.items()}
            await self._redis.ask(self._redis.client.hset(f"{self._prefixes[0]}w", mapping=values))

    async def watermark(self, partitions: Collection[Partition]) -> int | None:
        """Until when the records of all partitions are stored, ms; None where one is not known of."""
        found = await self._redis.ask(
            self._redis.client.hmget(f"{self._prefixes[0]}w", list(map(field_of, partitions)))
        )
        return None if None in found else min(map(int, found))

    async def wipe(self) -> int:
        """Forget everything, the role's fences first. Returns how many keys there were. Raises Unavailable, Refused."""
        redis, count = self._redis, 0
        for prefix in self._prefixes:
            await redis.ask(
                redis.client.delete(f"{prefix}f:{ROLE}", f"{prefix}f:{REBUILD}", f"{prefix}d", f"{prefix}w")
            )
            cursor = -1
            while cursor:
                cursor, keys = await redis.ask(
                    redis.client.scan(max(cursor, 0), f"{_escaped(prefix)}[tgeck]:*", KEYS_A_SCAN)
                )
                count += await redis.ask(redis.client.unlink(*keys)) if keys else 0
        return count

    async def epoch(self) -> int:
        """Milliseconds since 1970 at which the state was last rebuilt, 0 where it never was. Raises Unavailable."""
        return int(await self._redis.ask(self._redis.client.hget(f"{self._prefixes[0]}f:{ROLE}", EPOCH)) or 0)

    async def begin_epoch(self, epoch_ms: int) -> None:
        """Of a rebuild: what comes of its state goes before all that came of the one before. Raises Unavailable."""
        await self._redis.ask(self._redis.client.hset(f"{self._prefixes[0]}f:{REBUILD}", EPOCH, str(epoch_ms)))

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

    async def _run(
        self,
        span: Span,
        entries: Mapping[str, Sequence[Entries]],
        conversions: Sequence[ConversionFact],
        *,
        is_end: bool,
    ) -> Sequence[Held]:
        answers, facts = [], [(_packed_fact(fact), fact) for fact in conversions]
        for prefix in self._prefixes:  # every shard, for each keeps a fence
            here = {letter: [item for item in some if self._is_at(prefix, item)] for letter, some in entries.items()}
            calls: list[tuple[str, tuple[Any, ...]]] = [("touchpoints", part) for part in _entries_parts(here)]
            stored = [(content, fact) for content, fact in facts if self._is_at(prefix, fact)]
            calls += [("conversions", part) for part in _conversion_parts(stored)]
            calls = calls or [("touchpoints", ((),))]
            for number, (name, part) in enumerate(calls, 1):
                is_last = is_end and number == len(calls)
                payload = (MAX_ENTRIES, *part)
                answers.append(await self.fences.run(self._scripts[name], prefix, span, payload, is_end=is_last))
        return _readings(answers, facts)

    async def _lists(
        self, letter: str, asked: Mapping[tuple[str, int], Collection[bytes]]
    ) -> Mapping[tuple[str, int, bytes], bytes]:
        """What is held in buckets under fields, where anything is."""
        found: dict[tuple[str, int, bytes], bytes] = {}
        for prefix in self._prefixes:
            here = {where: list(fields) for where, fields in asked.items() if self._prefix(where[0]) == prefix}
            pipeline = self._redis.client.pipeline(transaction=False)
            for (account_id, bucket), fields in here.items():
                pipeline.hmget(f"{prefix}{letter}:{_tenant(account_id)}:{bucket}", fields)
            answers = await self._redis.ask(pipeline.execute()) if here else []
            for (where, fields), lists in zip(here.items(), answers, strict=True):
                found |= {(*where, field): entries for field, entries in zip(fields, lists, strict=True) if entries}
        return found

    def _is_at(self, prefix: str, fact: Entries | ConversionFact) -> bool:
        return self._prefix(fact.account_id) == prefix

    def _prefix(self, account_id: str) -> str:
        """All keys of a tenant carry the hash tag of its shard, so that a script finds them on one server."""
        return self._prefixes[zlib.crc32(account_id.encode()) % len(self._prefixes)]


def _escaped(prefix: str) -> str:
    """For a pattern of SCAN."""
    return prefix.replace("\\", r"\\").replace("*", r"\*").replace("?", r"\?").replace("[", r"\[")


def _tenant(account_id: str) -> str:
    """With its length in front, in bytes, which keeps the keys of two tenants apart."""
    return f"{len(account_id.encode())}:{account_id}"


def _member(name: Identifier) -> str:
    """Of the conversions that are to be settled."""
    account_id, conversion_id = name
    return f"{_tenant(account_id)}:{conversion_id}"


def _entries_parts(entries: Mapping[str, Sequence[Entries]]) -> Iterator[tuple[list[Any]]]:
    """Arguments of scripts of bounded length, from entries by the letter in their keys."""
    part: list[Any] = []
    room = ENTRIES_A_SCRIPT
    for letter, fact in ((letter, fact) for letter, facts in entries.items() for fact in facts):
        start = 0
        while start < len(fact.identifiers):
            stop = start + room
            identifiers, contents = fact.identifiers[start:stop], fact.contents[start:stop]
            where = _tenant(fact.account_id), fact.bucket, fact.expires_at_s
            part.append((letter, *LIMITS[letter], *where, fact.conversion_buckets, identifiers, contents))
            start, room = stop, room - len(identifiers)
            if room == 0:
                yield (part,)
                part, room = [], ENTRIES_A_SCRIPT
    if part:
        yield (part,)


def _conversion_parts(facts: Sequence[tuple[bytes, ConversionFact]]) -> Iterator[tuple[list[Any], list[Any]]]:
    """The conversions, each with what is held of it, and by bucket what leads to them."""
    for start in range(0, len(facts), CONVERSIONS_A_SCRIPT):
        stored = []
        groups: dict[tuple[str, int], tuple[list[int], list[str], list[str]]] = {}
        for content, fact in facts[start : start + CONVERSIONS_A_SCRIPT]:
            tenant = _tenant(fact.account_id)
            stored.append((tenant, fact.id, content, fact.expires_at_s, fact.due_ms or False))
            expiries, identifiers, ids = groups.setdefault((tenant, fact.bucket), ([], [], []))
            expiries.append(fact.bucket_expires_at_s)
            identifiers += fact.identifiers
            ids += [fact.id] * len(fact.identifiers)
        yield stored, [(*key, max(expiries), names, ids) for key, (expiries, names, ids) in groups.items()]


def _readings(answers: Sequence[Any], stored: Sequence[tuple[bytes, ConversionFact]]) -> Sequence[Held]:
    """What scripts have read one after the other. What was `stored` by them need not be unpacked once more.

    Lists that a later script has read would not go with the contents that an earlier one has: a version is told from
    another by how many facts it is made of, which have to be those of one moment.
    """
    known = {content: HeldContent(list(fact.identifiers), fact.content) for content, fact in stored}
    met: set[tuple[bytes, bytes]] = set()
    held = [_held(answer, met, known) for answer in reversed(answers)]
    return [reading for reading in reversed(held) if reading.conversions]


def _held(answer: Any, met: set[tuple[bytes, bytes]], known: Mapping[bytes, HeldContent]) -> Held:
    """What a script has read for the conversions that are not among those met; they are added to these."""
    found, *lists = answer
    conversions: list[HeldConversion] = []
    wanted: set[tuple[bytes, bytes]] = set()
    for tenant, conversion_id, contents, reached, cut in zip(*_columns(found, 5), strict=True):
        if (tenant, conversion_id) in met:
            continue
        met.add((tenant, conversion_id))
        wanted.update((tenant, identifier) for identifier in reached)
        facts = [known.get(content) or _content(content) for content in contents]
        conversions.append(
            HeldConversion(
                _account_id(tenant),
                conversion_id.decode(errors="surrogateescape"),  # as `packed` writes it
                [fact for fact in facts if fact is not None],
                [identifier.decode() for identifier in reached],
                cut,
                facts.count(None),
            )
        )
    touchpoints, links = (_by_identifier(flat, wanted) for flat in lists)
    return Held(conversions, touchpoints, links)


def _by_identifier(flat: Sequence[Any], wanted: Collection[tuple[bytes, bytes]]) -> Mapping[Identifier, HeldEntries]:
    found: defaultdict[Identifier, dict[int, bytes]] = defaultdict(dict)
    for tenant, identifier, bucket, entries in zip(*_columns(flat, 4), strict=True):
        if (tenant, identifier) in wanted:
            found[_account_id(tenant), identifier.decode()][bucket] = entries
    return {key: _entries_of(buckets) for key, buckets in found.items()}


def _columns(flat: Sequence[Any], width: int) -> list[Sequence[Any]]:
    return [flat[column::width] for column in range(width)]


@lru_cache(maxsize=10_000)
def _account_id(tenant: bytes) -> str:
    return tenant.partition(b":")[2].decode()


def _packed_fact(fact: ConversionFact) -> bytes:
    """What is held of a conversion, for `_content` to read."""
    buckets = fact.touchpoint_buckets, fact.link_buckets
    return packed((fact.identifiers, *buckets, fact.bucket, fact.bucket_expires_at_s, fact.content))


def _content(held: bytes) -> HeldContent | None:
    """What is held of a conversion; None for the mark of its having been settled."""
    fact = msgpack.unpackb(held, raw=True)
    return None if isinstance(fact, int) else HeldContent([name.decode() for name in fact[0]], fact[-1])


def _entries_of(lists: Mapping[int, bytes]) -> HeldEntries:
    contents = [entry for entries in lists.values() if entries != MANY for entry in _entries(entries)]
    return HeldEntries(contents, [bucket for bucket, entries in lists.items() if entries == MANY])


def _entries(entries: bytes) -> Iterator[bytes]:
    position = 0
    while position < len(entries):
        start = position + FRAME_BYTES
        position = start + (entries[position] << 8 | entries[position + 1])
        yield entries[start:position]
