"""Attributed conversions and the state in Redis, against the definition."""

import struct
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyruhvro
import redis
from confluent_kafka import Message

from processors.attribution.identifiers import click_name
from schemas.codec import Decoder
from schemas.definitions import definition
from schemas.topics import topics
from sinks.redis.attribution_store import ROLE
from streams.admin import registry
from streams.replay.letters import Letters
from streams.settings import Settings
from tests.crash.load import Journeys
from tests.crash.outcome import Found, read_topic

__all__ = ["compare", "decode", "greatest", "say_what_differs"]

OUTPUT = "attributed-conversions"
#: What a click may be asked by; each leads to a copy of it.
IDENTIFIERS: Mapping[str, Callable[[Any], list[str]]] = {
    "visitor_id": lambda values: [f"v{value}" for value in values],
    "click_id": lambda values: [click_name(value) for value in values],
}


def compare(settings: Settings, journeys: Journeys, *, has_forgotten: bool = False) -> Found:
    """Of each conversion the greatest version, and each touchpoint that is held; a record published twice is two.

    Records of one version have to be equal. Where Redis has forgotten facts that records were made of, so many others
    may have been there on the way back: then this goes for the greatest version, which is the one that counts.
    """
    batches = (batch for batch, _ in decode(settings, "conversions"))
    conversions = Counter(name for batch in batches for name in batch.column("conversion_id").to_pylist())
    found = Found(sent=conversions.total())
    with Letters(settings, ROLE) as letters:
        found.dead_lettered = letters.index().num_rows
    wanted = journeys.touchpoints()
    got = greatest(settings, OUTPUT, "conversion_id", found, has_forgotten)
    for conversion_id in wanted.keys() - got.keys():
        found.lacks(f"conversion {conversion_id}")
    for conversion_id in got.keys() - wanted.keys():
        found.exceeds(f"conversion {conversion_id}")
    for conversion_id in wanted.keys() & got.keys():
        if wanted[conversion_id] == got[conversion_id]:
            found.found += conversions[conversion_id]
        else:
            say_what_differs(conversion_id, wanted[conversion_id], got[conversion_id], found)
    (clicks, sent), held = _sent_touchpoints(settings), _held_touchpoints(settings)
    found.hold_against(sent, held, "touchpoint in Redis under")
    found.sent += sum(clicks.values())
    names = {click_id: click_name(click_id) for click_id in clicks}
    found.found += sum(
        count for click_id, count in clicks.items() if held.get(names[click_id]) == sent[names[click_id]]
    )
    return found


def say_what_differs(name: str, wanted: Sequence[str], got: Sequence[str], found: Found) -> None:
    lacking, extra = Counter(wanted) - Counter(got), Counter(got) - Counter(wanted)
    if extra:
        found.exceeds(f"{name} has {dict(extra)} too much")
    if lacking or not extra:
        found.lacks(f"{name} has {got} instead of {wanted}")


def greatest(
    settings: Settings, contract: str, id_field: str, found: Found, has_forgotten: bool
) -> dict[str, tuple[str, ...]]:
    """Touchpoints of each id's greatest version. Records of one version must be equal but for their origin."""
    contents: defaultdict[tuple[str, int, int], dict[bytes, tuple[str, ...]]] = defaultdict(dict)
    versions: dict[str, tuple[int, int]] = {}
    records = 0
    for batch, _ in decode(settings, contract):
        records += batch.num_rows
        lists = batch.column("touchpoints")
        clicks = pa.ListArray.from_arrays(lists.offsets, lists.values.field("click_id")).to_pylist()
        for name, *version, content, click_ids in zip(
            *(batch.column(column).to_pylist() for column in (id_field, "epoch", "facts_held")),
            _without_origin(batch, contract),
            clicks,
            strict=True,
        ):
            contents[name, *version][content] = tuple(click_ids)
            versions[name] = max(versions.get(name, (-1, -1)), tuple(version))
    for (name, *version), different in contents.items():
        is_greatest = versions[name] == tuple(version)
        if len(different) > 1 and (is_greatest or not has_forgotten):
            found.exceeds(f"{name} has in version {version} {list(different.values())} of {versions[name]}")
    found.repeated = records - len(contents)
    return {name: next(iter(contents[name, *version].values())) for name, version in versions.items()}


def _without_origin(batch: pa.RecordBatch, contract: str) -> list[bytes]:
    """Each record as bytes that are the same for two that differ in their origin only."""
    columns = [
        pa.nulls(batch.num_rows, field.type).fill_null("" if pa.types.is_string(field.type) else 0)
        if field.name.startswith("origin_")
        else batch.column(field.name)
        for field in batch.schema
    ]
    same = pa.RecordBatch.from_arrays(columns, schema=batch.schema)
    [encoded] = pyruhvro.serialize_record_batch(same, definition(contract).text, 1)
    return encoded.to_pylist()


def decode(settings: Settings, contract: str) -> Iterator[tuple[pa.RecordBatch, list[Message]]]:
    """All records of a topic in batches, with their messages."""
    decoder = Decoder(topics(settings.namespace)[contract], registry(settings))
    messages = read_topic(settings, contract)
    for start in range(0, len(messages), 10_000):
        part = messages[start : start + 10_000]
        decoded = decoder.decode([message.value() for message in part], np.zeros(len(part), np.int64))
        assert not decoded.bad, decoded.bad[0]
        yield decoded.batch, part


def _sent_touchpoints(settings: Settings) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """How often each click was published, and how many touchpoints have to be held under each identifier: a click
    published again later is another one.
    """
    published: Counter[str] = Counter()
    contents: dict[str, set[tuple[str, int]]] = defaultdict(set)
    for batch, messages in decode(settings, "clicks"):
        times = [message.timestamp()[1] for message in messages]
        clicks = batch.column("click_id").to_pylist()
        published.update(clicks)
        for field, names_of in IDENTIFIERS.items():
            for name, click_id, time in zip(names_of(batch.column(field).to_pylist()), clicks, times, strict=True):
                contents[name].add((click_id, time))
    return published, {identifier: len(held) for identifier, held in contents.items()}


def _held_touchpoints(settings: Settings) -> Mapping[str, int]:
    """How many there are in Redis."""
    held: Counter[str] = Counter()
    with redis.Redis.from_url(settings.redis.url.get_secret_value()) as client:
        for bucket in client.scan_iter(f"sl:2:{{s*}}:{settings.namespace}t:*", count=10_000):
            for identifier, entries in client.hscan_iter(bucket, count=10_000):
                held[identifier.decode()] += _count(entries)
    return held


def _count(entries: bytes) -> int:
    """Of entries with their lengths in front."""
    position = count = 0
    while position < len(entries):
        position += 2 + struct.unpack_from(">H", entries, position)[0]
        count += 1
    return count
