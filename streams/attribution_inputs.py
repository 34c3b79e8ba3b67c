"""What the attribution role reads, on its way into the state: what the role and its rebuild do alike."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.facts import click_facts, conversion_facts, trace_facts
from processors.attribution.link_records import published_links
from processors.attribution.links import CarriedLink, link_entries, links_carried
from processors.deals.facts import deal_facts, match_facts
from processors.matching.evidence import evidence_of
from schemas.client.registry import Registry
from schemas.codec import Decoded, Decoder
from schemas.errors import BadRecord
from schemas.facts import ConversionFact, Entries, Held
from schemas.spans import Partition, Span
from schemas.topics import topics
from sinks.redis.attribution_store import ROLE, AttributionStore
from streams.admin import topic_ids
from streams.replay.origins import by_origin
from streams.settings import Settings

__all__ = [
    "CLICKS",
    "CONVERSIONS",
    "CRM_EVENTS",
    "DEAL_MATCHES",
    "DECODED",
    "HELD_IDENTIFIERS",
    "LINKS",
    "RETRIES",
    "SOURCES",
    "Inputs",
    "Part",
    "attribution_store",
]

CLICKS, CONVERSIONS, CRM_EVENTS = "clicks", "conversions", "crm-events"
#: What the role has published itself, and reads back.
LINKS, DEAL_MATCHES = "identity-links", "deal-matches"
DECODED = (CLICKS, CONVERSIONS, CRM_EVENTS, LINKS, DEAL_MATCHES)
RETRIES = f"{ROLE}.retry"
SOURCES = (*DECODED, RETRIES)

#: Of a click; the others are read from its touchpoint.
HELD_IDENTIFIERS = ("visitor_id", "click_id")

Int64s = npt.NDArray[np.int64]


class Records(Protocol):
    """Consecutive records of one partition, [start, end), as a chunk of the lane has them."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def records(self) -> Sequence[Any]: ...
    @property
    def values(self) -> Sequence[bytes | None]: ...


class Part(NamedTuple):
    """Those records of a chunk that are of one contract.

    rows: shape (n,), their positions in the chunk, ascending.
    ingest_ms: shape (n,), when Kafka first took them.
    """

    contract: str
    values: Sequence[bytes | None]
    rows: Int64s
    ingest_ms: Int64s


def attribution_store(settings: Settings, fences: str = ROLE) -> AttributionStore:
    """The state of the role in this deployment; a rebuild has fences of its own."""
    section = settings.redis
    return AttributionStore(
        section.url.get_secret_value(), namespace=settings.namespace, shards=section.shards, fences=fences
    )


class Inputs:
    """Decodes the role's input topics and stores the facts of what it decoded."""

    def __init__(self, settings: Settings, registry: Registry, store: AttributionStore) -> None:
        names = topics(settings.namespace)
        self.topics = {names[contract].name: names[contract] for contract in SOURCES}
        self.topic_ids = topic_ids(settings.kafka.client(), list(self.topics))
        self._contracts = {names[contract].name: contract for contract in DECODED}
        self._retention = settings.retention()
        self._match_on = settings.attribution.match_on
        #: Whether conversions are matched by evidence, for which clicks are held with theirs.
        self._settle_after_s = min(settings.matching.settle_after_s, default=None)
        self._store = store
        self._decoders = {
            contract: Decoder(names[contract], registry, settings.event_time_bounds(contract)) for contract in DECODED
        }

    def span(self, chunk: Records) -> Span:
        """Where the chunk's records are."""
        return Span(Partition(self.topic_ids[chunk.topic], chunk.partition), chunk.start, chunk.end)

    def parts(self, chunk: Records) -> tuple[list[Part], list[BadRecord]]:
        """The chunk by contract: one part, but for retries; and what says of no contract that it is its."""
        if contract := self._contracts.get(chunk.topic):
            count = len(chunk.values)
            times = np.fromiter((record.timestamp for record in chunk.records), np.int64, count)
            return [Part(contract, chunk.values, np.arange(count), times)], []
        groups, bad = by_origin([record.headers for record in chunk.records], self._contracts.keys())
        parts = [
            Part(
                self._contracts[group.topic],
                [chunk.values[row] for row in group.rows.tolist()],
                group.rows,
                group.ingest_ms,
            )
            for group in groups
        ]
        return sorted(parts, key=lambda part: part.contract), bad  # clicks first: fewer results to replace

    def prepare(self) -> None:
        """Learn the schemas that are there already. Raises RegistryUnavailable."""
        for decoder in self._decoders.values():
            decoder.prepare()

    def decode(self, part: Part) -> Decoded:
        """The good records of a part, and the bad ones. Raises RegistryUnavailable."""
        return self._decoders[part.contract].decode(part.values, part.ingest_ms)

    def links(self, part: Part, decoded: Decoded) -> list[CarriedLink]:
        """What the records of a part say of who is the same person."""
        if part.contract == LINKS:
            return published_links(decoded.batch)
        if part.contract == DEAL_MATCHES:
            return []
        return links_carried(decoded.batch, part.ingest_ms[decoded.rows], self._retention)

    async def store(
        self, span: Span, part: Part, decoded: Decoded, links: Sequence[CarriedLink], *, is_end: bool
    ) -> Sequence[Held]:
        """Store the facts of what was decoded, and its links; what is held for the conversions they concern.

        Each reading is of one moment. `is_end`: nothing more is to come of the span. Raises StateLost, StateBehind,
        Unavailable, Refused.
        """
        ingest_ms = part.ingest_ms[decoded.rows]
        entries = link_entries(links, self._retention)
        if part.contract == LINKS:
            return await self._store.add_touchpoints(span, (), entries, is_end=is_end)
        if part.contract == CLICKS:
            touchpoints, traces = await asyncio.to_thread(self._click_facts, decoded.batch, ingest_ms)
            return await self._store.add_touchpoints(span, touchpoints, entries, traces, is_end=is_end)
        conversions = self._conversion_facts(part, decoded, ingest_ms)
        return await self._store.add_conversions(span, conversions, entries, is_end=is_end)

    def _conversion_facts(self, part: Part, decoded: Decoded, ingest_ms: Int64s) -> list[ConversionFact]:
        """Conversions, or what was heard of deals."""
        if part.contract == DEAL_MATCHES:
            return match_facts(decoded.batch, ingest_ms, self._retention)
        if part.contract == CRM_EVENTS:
            return deal_facts(decoded.batch, ingest_ms, self._retention, self._match_on)
        messages = [part.values[row] or b"" for row in decoded.rows.tolist()]
        return conversion_facts(
            decoded.batch, messages, ingest_ms, self._retention, self._match_on, self._settle_after_s
        )

    def _click_facts(self, clicks: pa.RecordBatch, ingest_ms: Int64s) -> tuple[list[Entries], list[Entries]]:
        """Touchpoints and traces of clicks."""
        if self._settle_after_s is None:
            return click_facts(clicks, ingest_ms, self._retention, self._match_on), []
        evidence = evidence_of(clicks, "landing_url", HELD_IDENTIFIERS)
        touchpoints = click_facts(clicks, ingest_ms, self._retention, self._match_on, evidence)
        return touchpoints, trace_facts(clicks, evidence, ingest_ms, self._retention)

    async def store_nothing(self, span: Span) -> None:
        """Pass a span without a good record."""
        await self._store.add_touchpoints(span, [])
