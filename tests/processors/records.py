"""Clicks and conversions as the attribution role meets them: decoded from messages, with ingest times."""

import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import fastavro
import numpy as np
import pyarrow as pa

from processors.attribution.attribute import Origin, assemble, concerned
from processors.attribution.facts import Retention, click_facts, conversion_facts
from schemas import wire
from schemas.codec import Decoder
from schemas.definitions import definition, parse
from schemas.facts import Fact, HeldConversion, HeldFact
from schemas.topics import TOPICS

SCHEMA_ID = 1
CONTRACTS = ("clicks", "conversions", "attributed-conversions")
PARSED = {name: parse(definition(name).text) for name in CONTRACTS}
REQUIRED = {"account_id": "acme", "consent": "granted", "limited_data_use": False}
CLICK = {**REQUIRED, "click_id": "k1", "visitor_id": "v1"}
CONVERSION = {**REQUIRED, "conversion_id": "c1", "event_name": "Purchase", "visitor_id": "v1"}
#: What differs between two records of one version: whose arrival caused it.
ORIGIN = ("origin_topic", "origin_topic_id", "origin_partition", "origin_offset")


class Record(NamedTuple):
    """A record of a topic."""

    offset: int
    ingest_ms: int
    message: bytes


def message(topic: str, fields: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, PARSED[topic], {**definition(topic).defaults, **fields})
    return wire.frame(SCHEMA_ID, stream.getvalue())


class _Schemas:
    """The registry, for one topic."""

    def __init__(self, topic: str) -> None:
        self._text = definition(topic).text

    def writer_schemas(self, subject: str, schema_ids: Collection[int]) -> Mapping[int, str]:
        return {schema_id: self._text for schema_id in schema_ids if schema_id == SCHEMA_ID}


DECODERS = {name: Decoder(TOPICS[name], _Schemas(name)) for name in CONTRACTS}


def decode(topic: str, messages: Sequence[bytes]) -> pa.RecordBatch:
    decoded = DECODERS[topic].decode(messages, np.zeros(len(messages), np.int64))
    assert not decoded.bad
    return decoded.batch


def facts_of(topic: str, records: Sequence[Record], retention: Retention) -> list[Fact]:
    messages = [record.message for record in records]
    times = np.array([record.ingest_ms for record in records], np.int64)
    to_facts = click_facts if topic == "clicks" else conversion_facts
    return to_facts(decode(topic, messages), messages, times, retention)


def attribute(
    topic: str, records: Sequence[Record], facts: Sequence[Fact], held: Sequence[HeldConversion], retention: Retention
) -> list[dict[str, Any]]:
    """What a worker emits for these records, of which the store answered `held`."""
    arrived = {(fact.account_id, fact.id): record.offset for fact, record in zip(facts, records, strict=True)}
    if topic == "clicks":
        pending = concerned(held, retention, clicks=arrived)
    else:
        pending = concerned(held, retention, conversions=arrived)
    if not pending:
        return []
    batch = decode("conversions", [item.conversion.message for item in pending])
    rows: list[dict[str, Any]] = assemble(batch, pending, Origin(topic, "id", 0)).to_pylist()
    return rows


def attribute_at_once(
    clicks: Iterable[Mapping[str, Any]],
    conversions: Iterable[Mapping[str, Any]],
    retention: Retention,
    ingest_ms: int = 0,
) -> dict[str, dict[str, Any]]:
    """The result for records that all arrived at that time, by conversion_id, of one account."""
    store = MemoryStore()
    for topic, records in (("clicks", clicks), ("conversions", conversions)):
        arrived = [Record(row, ingest_ms, message(topic, fields)) for row, fields in enumerate(records)]
        if arrived:
            facts = facts_of(topic, arrived, retention)
            held = store.add_touchpoints(facts) if topic == "clicks" else store.add_conversions(facts)
            rows = attribute(topic, arrived, facts, held, retention)
    return {row["conversion_id"]: row for row in rows}


class MemoryStore:
    """What schemas.facts says of a store, and no more: facts by id under every identifier, never forgotten."""

    def __init__(self) -> None:
        self._touchpoints: dict[tuple[str, str, bytes], Fact] = {}
        self._conversions: dict[tuple[str, str], dict[bytes, Fact]] = {}

    def add_touchpoints(self, facts: Sequence[Fact]) -> list[HeldConversion]:
        for fact in facts:
            self._touchpoints.setdefault((fact.account_id, fact.id, fact.digest), fact)
        asked = {identifier for fact in facts for identifier in fact.identifiers}
        return [
            self._held(account_id, conversion_id)
            for (account_id, conversion_id), contents in self._conversions.items()
            if any(asked.intersection(fact.identifiers) for fact in contents.values())
        ]

    def add_conversions(self, facts: Sequence[Fact]) -> list[HeldConversion]:
        for fact in facts:
            self._conversions.setdefault((fact.account_id, fact.id), {}).setdefault(fact.digest, fact)
        return [self._held(*key) for key in dict.fromkeys((fact.account_id, fact.id) for fact in facts)]

    def _held(self, account_id: str, conversion_id: str) -> HeldConversion:
        contents = self._conversions[account_id, conversion_id].values()
        asked = {identifier for fact in contents for identifier in fact.identifiers}
        touchpoints = [fact for fact in self._touchpoints.values() if asked.intersection(fact.identifiers)]
        held = [[HeldFact(f.id, f.digest, f.content) for f in group] for group in (contents, touchpoints)]
        return HeldConversion(account_id, conversion_id, held[0], held[1], len(held[0]) + len(held[1]))
