"""Clicks, conversions and CRM events as the attribution role meets them: decoded from messages, with ingest times."""

import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import fastavro
import numpy as np
import pyarrow as pa

from processors.attribution.attribute import Origin, Pending, arrived_conversions, assemble, changed_conversions
from processors.attribution.credit import CreditRules
from processors.attribution.facts import Retention, click_facts, conversion_facts, read_touchpoints
from processors.attribution.links import CarriedLink, link_entries, links_carried
from processors.deals.facts import deal_facts, deal_name, is_deal, match_facts
from processors.deals.records import deal_matches, outdated
from schemas import wire
from schemas.codec import Decoder
from schemas.definitions import definition, parse
from schemas.facts import ConversionFact, Entries, Held, HeldContent, HeldConversion, HeldEntries
from schemas.topics import TOPICS

SCHEMA_ID = 1
CONTRACTS = ("clicks", "conversions", "crm-events", "attributed-conversions", "deal-matches")
PARSED = {name: parse(definition(name).text) for name in CONTRACTS}
REQUIRED = {"account_id": "acme", "consent": "granted", "limited_data_use": False}
CLICK = {**REQUIRED, "click_id": "k1", "visitor_id": "v1"}
CONVERSION = {**REQUIRED, "conversion_id": "c1", "event_name": "Purchase", "visitor_id": "v1"}
EVENT = {**REQUIRED, "event_id": "e1", "portal_id": "p1", "deal_id": "d1", "to_stage": "lead", "visitor_id": "v1"}
RULES = CreditRules(half_life_s=10, direct_channels=frozenset({"direct"}))
ID_FIELDS = {"clicks": "click_id", "conversions": "conversion_id", "crm-events": "deal_id", "deal-matches": "deal_id"}
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


def facts_of(topic: str, records: Sequence[Record], retention: Retention) -> list[Any]:
    messages = [record.message for record in records]
    times = np.array([record.ingest_ms for record in records], np.int64)
    batch = decode(topic, messages)
    if topic == "clicks":
        return list(click_facts(batch, times, retention))
    if topic == "crm-events":
        return list(deal_facts(batch, times, retention))
    if topic == "deal-matches":
        return list(match_facts(batch, times, retention))
    return list(conversion_facts(batch, messages, times, retention))


def carried_by(records: Sequence[Record], topic: str, retention: Retention) -> list[CarriedLink]:
    """The links of the records."""
    if topic == "deal-matches":
        return []
    times = np.array([record.ingest_ms for record in records], np.int64)
    return links_carried(decode(topic, [record.message for record in records]), times, retention)


def links_of(topic: str, records: Sequence[Record], retention: Retention) -> list[Entries]:
    """What the records link."""
    return link_entries(carried_by(records, topic, retention), retention)


def attribute(topic: str, records: Sequence[Record], held: Held, retention: Retention) -> list[dict[str, Any]]:
    """What a worker emits of conversions for these records, of which the store answered `held`."""
    pending = [item for item in pending_of(topic, records, held, retention) if not is_deal(item.name[1])]
    if not pending:
        return []
    batch = decode("conversions", [item.conversion.message for item in pending])
    rows: list[dict[str, Any]] = assemble(batch, pending, Origin(topic, "id", 0), RULES).to_pylist()
    return rows


def match_deals(topic: str, records: Sequence[Record], held: Held, retention: Retention) -> list[dict[str, Any]]:
    """The same of deals."""
    pending = [item for item in pending_of(topic, records, held, retention) if is_deal(item.name[1])]
    rows: list[dict[str, Any]] = deal_matches(pending, Origin(topic, "id", 0), RULES).to_pylist()
    return rows


def pending_of(topic: str, records: Sequence[Record], held: Held, retention: Retention) -> list[Pending]:
    """What is to be attributed for these records."""
    batch = decode(topic, [record.message for record in records])
    ids = [
        (account_id, deal_name(own_id) if ID_FIELDS[topic] == "deal_id" else own_id)
        for account_id, own_id in zip(
            *(batch.column(name).to_pylist() for name in ("account_id", ID_FIELDS[topic])), strict=True
        )
    ]
    offsets = dict(zip(ids, (record.offset for record in records), strict=True))
    carried = carried_by(records, topic, retention)
    links = {(item.account_id, item.fact): records[item.row].offset for item in carried}
    if topic == "clicks":
        return changed_conversions(held, offsets, links, retention)
    if topic == "deal-matches":
        return outdated(arrived_conversions(held, offsets, 0, retention), batch)
    pending = arrived_conversions(held, offsets, min(record.ingest_ms for record in records), retention)
    others = [item for item in held.conversions if (item.account_id, item.conversion_id) not in offsets]
    return pending + changed_conversions(held._replace(conversions=others), {}, links, retention)


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
            rows = attribute(topic, arrived, store.add(topic, arrived, retention), retention)
    return {row["conversion_id"]: row for row in rows}


class MemoryStore:
    """What schemas.facts says of a store, and no more: sets under every identifier, never forgotten."""

    def __init__(self) -> None:
        self._touchpoints: defaultdict[tuple[str, str, int], set[bytes]] = defaultdict(set)
        self._links: defaultdict[tuple[str, str, int], set[bytes]] = defaultdict(set)
        self._conversions: defaultdict[tuple[str, str], dict[bytes, ConversionFact]] = defaultdict(dict)

    def add(self, topic: str, records: Sequence[Record], retention: Retention) -> Held:
        """Store records, and answer with all conversions they may concern."""
        facts = facts_of(topic, records, retention)
        changed = self._put(self._links, links_of(topic, records, retention))
        if topic == "clicks":
            changed |= self._put(self._touchpoints, facts)
        for fact in facts if topic != "clicks" else ():
            self._conversions[fact.account_id, fact.id][fact.content] = fact
        arrived = {(fact.account_id, fact.id) for fact in facts} if topic != "clicks" else set()
        return self._held(
            key
            for key, contents in self._conversions.items()
            if key in arrived
            or any((key[0], name, fact.bucket) in changed for fact in contents.values() for name in self._reached(key))
        )

    def _put(self, held: Any, facts: Sequence[Entries]) -> set[tuple[str, str, int]]:
        """Store entries. Returns under which identifiers, in which buckets of conversions, they say something new."""
        changed = set()
        for fact in facts:
            for identifier, content in zip(fact.identifiers, fact.contents, strict=True):
                held[fact.account_id, identifier, fact.bucket].add(content)
                changed |= {(fact.account_id, identifier, bucket) for bucket in fact.conversion_buckets}
        return changed

    def _reached(self, key: tuple[str, str]) -> list[str]:
        account, _ = key
        facts = self._conversions[key].values()
        reached = dict.fromkeys(name for fact in facts for name in fact.identifiers)
        link_buckets = {bucket for fact in facts for bucket in fact.link_buckets}
        buckets = {bucket for fact in facts for bucket in fact.touchpoint_buckets}
        new = list(reached)
        while new:
            found = [
                entry[9:].decode() for name in new for at in link_buckets for entry in self._links[account, name, at]
            ]
            remembered = [
                content
                for name in new
                if name[0] in "kf"
                for bucket in buckets
                for content in self._touchpoints[account, name, bucket]
            ]
            found += [name for touch in read_touchpoints(remembered) for name in touch.known_as]
            new = [name for name in dict.fromkeys(found) if name not in reached]
            reached |= dict.fromkeys(new)
        return list(reached)

    def _held(self, keys: Iterable[tuple[str, str]]) -> Held:
        conversions = []
        touchpoints: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
        links: defaultdict[tuple[str, str], set[bytes]] = defaultdict(set)
        for account, conversion_id in keys:
            facts = list(self._conversions[account, conversion_id].values())
            contents = [HeldContent(fact.identifiers, fact.content) for fact in facts]
            reached = self._reached((account, conversion_id))
            conversions.append(HeldConversion(account, conversion_id, contents, reached))
            for fact in facts:
                for name in reached:
                    for bucket in fact.touchpoint_buckets:
                        touchpoints[account, name] |= self._touchpoints[account, name, bucket]
                    for bucket in fact.link_buckets:
                        links[account, name] |= self._links[account, name, bucket]
        return Held(conversions, _entries(touchpoints), _entries(links))


def _entries(found: Mapping[tuple[str, str], set[bytes]]) -> dict[tuple[str, str], HeldEntries]:
    return {key: HeldEntries(list(contents)) for key, contents in found.items() if contents}
