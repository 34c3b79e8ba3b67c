"""The attribution role: clicks, conversions and CRM events in, attributed conversions and matches of deals out."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from faust.types import TP

from processors.attribution.attribute import (
    Origin,
    Pending,
    arrived_conversions,
    assemble,
    changed_conversions,
    with_credited_ads,
)
from processors.attribution.link_records import RECORD, link_records
from processors.attribution.links import CarriedLink
from processors.deals.facts import deal_name, is_deal, without_past
from processors.deals.records import deal_matches, outdated
from schemas.client.publisher import Publisher
from schemas.codec import Decoded, Decoder
from schemas.errors import BadRecord, DeliveryPending
from schemas.facts import Held
from schemas.spans import Partition
from schemas.topics import Topic, topics
from sinks.dead_letters import DeadLetters, RawRecord
from sinks.errors import Unavailable
from sinks.redis.attribution_store import ROLE
from sinks.redis.fences import StateBehind
from streams.admin import registry, require_same_topics
from streams.app import App, ChunkSchema, create_app, work_through
from streams.attribution_inputs import (
    CLICKS,
    CONVERSIONS,
    CRM_EVENTS,
    DEAL_MATCHES,
    LINKS,
    Inputs,
    Part,
    attribution_store,
)
from streams.liveness import DELIVERY_TIMEOUT_S
from streams.matching.models import MatchModels
from streams.metrics import RoleMetrics
from streams.offsets import Offsets, require_commits_of
from streams.patience import Patience
from streams.settings import Settings
from streams.settling import QUALITY, Models, Settling
from streams.starting_points import begin_behind_fences, start_of_facts
from streams.threads import to_its_end
from streams.transport.chunk import Abandoned, Chunk

__all__ = ["ROLE", "Attribution", "create_attribution_app"]

OUTPUT = "attributed-conversions"
LAG_INTERVAL_S = 2.0
TOPIC_CHECK_S = 10.0
SETTLE_INTERVAL_S = 2.0
ID_FIELDS = {CLICKS: "click_id", CONVERSIONS: "conversion_id", CRM_EVENTS: "deal_id", DEAL_MATCHES: "deal_id"}
#: What is attributed itself when it arrives.
ARRIVING = (CONVERSIONS, CRM_EVENTS)
#: A record that Kafka took so long ago is seen by who has read to the end of its partition, ms.
APPENDED_MS = 10_000

log = logging.getLogger(__name__)


class Attribution:
    """What the agents of this role do with a chunk.

    1. Decode; what cannot be decoded goes to the dead letters.
    2. Store the facts and move the fence, and read in the same script what is held for the conversions they concern.
    3. Compute the attributed conversions, and the matches of deals.
    4. Publish them, the links between identifiers and the dead letters, and flush: Kafka has acknowledged them all.
    5. Only then the agent finishes the chunk, which lets its end be committed.

    Every step may be repeated: storing the same facts changes nothing, and the same facts give the same record
    with the same version, of which consumers keep one. Where Redis has forgotten its last second, all partitions
    begin again behind their fences; where it has forgotten everything, the role stops.

    A match of a deal that is read back and is not of the newest version is followed by that: it was published beside a
    newer one, and of a deal the last record stays.

    Guarantee: effectively once per (conversion_id or deal_id, epoch, facts_held); delivery.md, rules 1, 2 (facts), 3,
    4, 8, 12.
    """

    def __init__(
        self, settings: Settings, metrics: RoleMetrics, rewind: Callable[[], None], models: Models | None = None
    ) -> None:
        """`rewind` begins all partitions anew, where `starting_points` says. `models` are those that were published,
        where no others are given.
        """
        self._settings = settings
        self._metrics = metrics
        self._rewind = rewind
        self._kafka = settings.kafka.client()
        self._group = settings.group(ROLE)
        self._patience = Patience(metrics)
        schemas = registry(settings)
        self._retention = settings.retention()
        self._credit_rules = settings.credit_rules()
        producer = {**self._kafka, "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000)}
        self._publisher = Publisher(producer, schemas, prefix=settings.namespace, bounds=None)
        # A flush reports the failures of everybody's records: one chunk's are published and flushed at a time.
        self._emitting = asyncio.Lock()
        self._dead_letters = DeadLetters(self._publisher, ROLE)
        self._store = attribution_store(settings)
        self._inputs = Inputs(settings, schemas, self._store)
        # What is held was valid when it arrived, and stays so however old it is when it is read again.
        self._held_decoder = Decoder(topics(settings.namespace)[CONVERSIONS], schemas)
        self._models = models or MatchModels(settings, schemas)
        self._is_prepared = False
        self._settling = Settling(settings, self._store, self._held_decoder, self._models, self._publish_settled)
        #: Of partitions of clicks: ingest time of the last record that is stored, ms.
        self._stored_until: dict[Partition, int] = {}

    @property
    def topics(self) -> Sequence[Topic]:
        """The topics it reads."""
        return list(self._inputs.topics.values())

    @property
    def topic_ids(self) -> Mapping[str, str]:
        """Of the topics it reads, by Kafka's names, as they were when it began."""
        return self._inputs.topic_ids

    async def prepare(self) -> None:
        """Learn the schemas and models that are there already."""
        await self._patience.wait_for("schemas", lambda: asyncio.to_thread(self._learn_schemas))
        if self._settings.matching.settle_after_s:
            await self._patience.wait_for("models", lambda: asyncio.to_thread(self._models.load))
        self._is_prepared = True

    def _learn_schemas(self) -> None:
        self._inputs.prepare()
        self._held_decoder.prepare()
        for contract in (OUTPUT, LINKS):
            self._publisher.schema_id(contract)

    async def starting_points(
        self, committed: Mapping[TP, int | None], log_starts: Mapping[TP, int]
    ) -> Mapping[TP, int]:
        """Where each partition begins. Raises StateLost, TopicRecreated."""
        await self._patience.wait_for("commits", lambda: asyncio.to_thread(self._require_own_commits))
        partitions = {tp: Partition(self.topic_ids[tp.topic], tp.partition) for tp in committed}
        # Until what comes now is stored, nothing is settled.
        self._stored_until = {}
        clicks = {partition: 0 for partition in self._click_partitions() if partition in partitions.values()}
        await self._patience.wait_for("fences", lambda: self._store.note_watermarks(clicks))
        self._settling.epoch = await self._patience.wait_for("fences", self._store.epoch)
        return await self._patience.wait_for(
            "fences",
            lambda: begin_behind_fences(self._store.fences, partitions, committed, log_starts, start_of_facts),
        )

    def _require_own_commits(self) -> None:
        with Offsets(self._settings) as offsets:
            require_commits_of(offsets, ROLE, self.topics, self.topic_ids, self._group)

    async def work(self, chunk: Chunk) -> None:
        """Work on a chunk; when it returns, the chunk may be finished."""
        parts, bad = self._inputs.parts(chunk)
        topic = self._inputs.topics[chunk.topic].contract
        self._metrics.observe_received(topic, chunk.partition, len(chunk.records), chunk.records[-1].timestamp)
        pending: list[Pending] = []
        links: list[pa.RecordBatch] = []
        for number, part in enumerate(parts, 1):
            decoded = await self._decoded(chunk, part)
            bad += [item.moved_to(int(part.rows[item.row])) for item in decoded.bad]
            carried = self._links_of_others(part, decoded)
            readings = await self._stored(chunk, part, decoded, carried, is_end=number == len(parts))
            # In a thread: what one busy visitor's records concern may take seconds.
            pending += await asyncio.to_thread(self._pending, chunk, part, decoded, carried, readings)
            if carried and part.contract != LINKS:
                offsets = [chunk.records[row].offset for row in part.rows[decoded.rows].tolist()]
                links.append(link_records(carried, chunk.topic, chunk.partition, offsets))
        if not parts:
            span = self._inputs.span(chunk)
            await self._in_state(chunk, lambda: self._inputs.store_nothing(span))
        if topic == CLICKS:
            self._stored_until[self._inputs.span(chunk).partition] = chunk.records[-1].timestamp
        deals = [item for item in pending if is_deal(item.name[1])]
        pending = [item for item in pending if not is_deal(item.name[1])]
        pending = await self._left_for_later(chunk, pending, arrived=topic == CONVERSIONS)
        outputs = [(LINKS, batch) for batch in links]
        if deals:
            outputs.append((DEAL_MATCHES, await asyncio.to_thread(self._matched, chunk, deals)))
        attributed = await self._attribute(chunk, pending)
        if attributed is not None:
            outputs.append((OUTPUT, attributed))
        await self._emit(topic, chunk, bad, outputs)

    async def require_same_topics(self) -> None:
        """Raises TopicRecreated where a topic is not the one this role began with."""

        async def check() -> None:
            await asyncio.to_thread(require_same_topics, self._kafka, self.topic_ids, self._group)

        await self._patience.wait_for("topics", check)

    async def _decoded(self, chunk: Chunk, part: Part) -> Decoded:
        async def decode() -> Decoded:
            return await asyncio.to_thread(self._inputs.decode, part)

        decoded: Decoded = await self._timed(chunk, "decode", decode)
        source = next(topic for topic in self._inputs.topics.values() if topic.contract == part.contract)
        self._metrics.observe_decoded(source, chunk.partition, decoded, part.ingest_ms)
        return decoded

    def _links_of_others(self, part: Part, decoded: Decoded) -> list[CarriedLink]:
        """The links of a part that are not in the state already, as those are that this role has published itself."""
        links = self._inputs.links(part, decoded)
        if part.contract != LINKS:
            return links
        reasons = decoded.batch.column("reason").to_pylist()
        return [link for link in links if reasons[link.row] != RECORD]

    async def _stored(
        self, chunk: Chunk, part: Part, decoded: Decoded, links: Sequence[CarriedLink], *, is_end: bool
    ) -> Sequence[Held]:
        span = self._inputs.span(chunk)
        readings: Sequence[Held] = await self._in_state(
            chunk, lambda: self._inputs.store(span, part, decoded, links, is_end=is_end)
        )
        return readings

    async def _in_state(self, chunk: Chunk, step: Any) -> Any:
        """The result of a step in the state; where that has forgotten something, all partitions begin again."""
        try:
            return await self._timed(chunk, "store", step)
        except StateBehind as behind:
            if not chunk.is_abandoned:
                self._begin_again(behind)
            raise Abandoned(str(behind)) from behind

    def _pending(
        self,
        chunk: Chunk,
        part: Part,
        decoded: Decoded,
        carried: Sequence[CarriedLink],
        readings: Sequence[Held],
    ) -> list[Pending]:
        """What is to be attributed for the records of a part."""
        arrived = _arrived(chunk, part, decoded)
        rows = part.rows[decoded.rows]
        links = {(item.account_id, item.fact): chunk.records[rows[item.row]].offset for item in carried}
        now_ms = int(time.time() * 1000)
        found = []
        for held in readings:
            held = without_past(held, now_ms, self._retention)
            if part.contract in ARRIVING:
                found += arrived_conversions(held, arrived, int(part.ingest_ms.min()), self._retention)
                others = [item for item in held.conversions if (item.account_id, item.conversion_id) not in arrived]
                held = held._replace(conversions=others)
            if part.contract == DEAL_MATCHES:
                found += outdated(arrived_conversions(held, arrived, 0, self._retention), decoded.batch)
            elif links or part.contract == CLICKS:
                clicks = arrived if part.contract == CLICKS else {}
                found += changed_conversions(held, clicks, links, self._retention)
        if part.contract in ARRIVING:
            held_names = {(item.account_id, item.conversion_id) for held in readings for item in held.conversions}
            self._metrics.discarded.labels(part.contract, "expired").inc(len(arrived.keys() - held_names))
        return found

    async def _left_for_later(self, chunk: Chunk, pending: Sequence[Pending], *, arrived: bool) -> list[Pending]:
        """What is to be emitted now. What evidence matches, is settled once more first; what an identifier matches,
        never.
        """
        later = [item.name for item in pending if self._settling.is_matched_later(item)]
        over = [item.name for item in pending if arrived and self._settling.is_over(item)]
        if later or over:
            await self._in_state(chunk, lambda: self._store.reschedule([*later, *over], dict.fromkeys(later, 0)))
        return [item for item in pending if item.name not in set(later)]

    async def require_state(self) -> None:
        """Where Redis has forgotten something while nothing came, begin all partitions again. Raises StateLost."""
        try:
            await self._store.fences.verify()
        except Unavailable:
            return  # whoever needs it waits for it
        except StateBehind as behind:
            self._begin_again(behind)

    def _begin_again(self, behind: StateBehind) -> None:
        log.warning("%s; all partitions begin again behind what it holds", behind)
        self._rewind()

    async def settle(self, at_end_ms: Mapping[TP, int]) -> None:
        """Match by evidence what is due.

        `at_end_ms`: of this worker's partitions, when Kafka last said that all of their log is stored, ms; 0 where more
        is to come.
        """
        if not self._is_prepared:
            return  # without its models, a conversion would be given up unmatched
        stored_until = {}
        for tp, heard_ms in at_end_ms.items():
            partition = Partition(self.topic_ids[tp.topic], tp.partition)
            if self._inputs.topics[tp.topic].contract == CLICKS:
                stored_until[partition] = max(self._stored_until.get(partition, 0), heard_ms - APPENDED_MS)

        async def settle() -> None:
            await self._store.note_watermarks(stored_until)
            await self._settling.run(self._click_partitions())

        await self._patience.wait_for("settle", settle)

    def _click_partitions(self) -> list[Partition]:
        names = topics(self._settings.namespace)
        topic_id = self.topic_ids[names[CLICKS].name]
        return [Partition(topic_id, number) for number in range(self._settings.kafka.partitions)]

    async def _publish_settled(self, contract: str, batch: pa.RecordBatch) -> None:
        async with self._emitting:
            await to_its_end(self._publisher.publish_batch, contract, batch)
            await self._flushed()
        self._metrics.sent.labels(contract).inc(batch.num_rows)
        if contract == QUALITY:
            self._metrics.observe_evaluated(batch.to_pylist())

    async def _flushed(self) -> None:
        await self._patience.wait_for(
            "flush", lambda: to_its_end(self._publisher.flush, DELIVERY_TIMEOUT_S), passing=(DeliveryPending,)
        )

    async def _attribute(self, chunk: Chunk, pending: Sequence[Pending]) -> pa.RecordBatch | None:
        """The attributed conversions of what is pending, None where nothing is."""
        if not pending:
            return None
        messages = [item.conversion.message for item in pending]
        times = np.array([item.conversion.ingest_ms for item in pending], np.int64)

        async def decode() -> Decoded:
            return await asyncio.to_thread(self._held_decoder.decode, messages, times)

        decoded = await self._timed(chunk, "decode_held", decode)
        for bad in decoded.bad:  # it was good when it was stored; the record itself is still on its topic
            self._metrics.discarded.labels("conversions", bad.error).inc()
            log.error("a conversion that is held cannot be read any more: %s", bad.message)
        origin = Origin(chunk.topic, self.topic_ids[chunk.topic], chunk.partition)
        rows = [pending[row] for row in decoded.rows.tolist()]
        return await asyncio.to_thread(self._assembled, decoded.batch, rows, origin)

    def _assembled(self, conversions: pa.RecordBatch, pending: Sequence[Pending], origin: Origin) -> pa.RecordBatch:
        known = with_credited_ads(pending, self._models.model_for)
        return assemble(conversions, known, origin, self._credit_rules, epoch=self._settling.epoch)

    def _matched(self, chunk: Chunk, deals: Sequence[Pending]) -> pa.RecordBatch:
        """The matches of deals."""
        origin = Origin(chunk.topic, self.topic_ids[chunk.topic], chunk.partition)
        known = with_credited_ads(deals, self._models.model_for)
        return deal_matches(known, origin, self._credit_rules, self._settling.epoch)

    async def _emit(
        self, topic: str, chunk: Chunk, bad: Sequence[BadRecord], outputs: Sequence[tuple[str, pa.RecordBatch]]
    ) -> None:
        """Publish dead letters and results, and wait until Kafka has acknowledged them all."""

        def publish() -> None:
            for item in bad:
                record = chunk.records[item.row]
                raw = RawRecord(record.offset, record.timestamp, record.key, record.value, record.headers)
                self._dead_letters.put(chunk.topic, self.topic_ids[chunk.topic], chunk.partition, raw, item)
            for contract, batch in outputs:
                self._publisher.publish_batch(contract, batch)

        async def emit() -> None:
            # A failed delivery repeats both; one that is still under way only the waiting.
            await to_its_end(publish)
            await self._flushed()

        if not bad and not outputs:
            return
        async with self._emitting:
            await self._timed(chunk, "emit", emit)
        for item in bad:
            self._metrics.discarded.labels(topic, item.error).inc()
        if bad:
            log.warning("%s: %d records to the dead letters", chunk.topic, len(bad))
        for contract, batch in outputs:
            self._metrics.sent.labels(contract).inc(batch.num_rows)

    async def _timed(self, chunk: Chunk, stage: str, step: Any) -> Any:
        began = time.perf_counter()
        try:
            return await self._patience.wait_for(stage, step, require_wanted=chunk.require_current)
        finally:
            self._metrics.batch_duration.labels(stage).observe(time.perf_counter() - began)


def _arrived(chunk: Chunk, part: Part, decoded: Decoded) -> dict[tuple[str, str], int]:
    """The newest offset of each id that arrived, by (account, id); of deals by (account, name)."""
    if part.contract == LINKS:
        return {}
    accounts, ids = (decoded.batch.column(name).to_pylist() for name in ("account_id", ID_FIELDS[part.contract]))
    if ID_FIELDS[part.contract] == "deal_id":
        ids = map(deal_name, ids)
    offsets = (chunk.records[row].offset for row in part.rows[decoded.rows].tolist())
    return dict(zip(zip(accounts, ids, strict=True), offsets, strict=True))


def create_attribution_app(settings: Settings, metrics: RoleMetrics, models: Models | None = None) -> App:
    """The role as a Faust app: an agent for each topic it reads."""
    role = Attribution(settings, metrics, lambda: app.consumer.rewind(), models)
    app = create_app(ROLE, settings, role.starting_points, role.topic_ids, role.prepare)
    contracts = {topic.name: topic.contract for topic in role.topics}

    def work(stream: Any) -> Any:
        return work_through(stream, role.work)

    for name, contract in contracts.items():
        app.agent(app.topic(name, schema=ChunkSchema()), name=contract)(work)

    @app.timer(TOPIC_CHECK_S)
    async def check_topics() -> None:
        await role.require_same_topics()

    @app.timer(LAG_INTERVAL_S)
    async def require_state() -> None:
        await role.require_state()

    @app.timer(LAG_INTERVAL_S)
    async def observe_progress() -> None:
        # By the clock, so that the lag of a partition nothing comes from any more is seen to grow.
        metrics.lag.clear()  # of partitions that are somebody else's now
        for (topic, partition), lag in app.consumer.lags().items():
            metrics.lag.labels(contracts[topic], str(partition)).set(lag)
        metrics.commit_age.clear()
        for (topic, partition), age_s in app.consumer.commit_ages().items():
            metrics.commit_age.labels(contracts[topic], str(partition)).set(age_s)

    if settings.matching.settle_after_s:

        @app.timer(SETTLE_INTERVAL_S)
        async def settle() -> None:
            lags, ages, heard_ms = app.consumer.lags(), app.consumer.commit_ages(), app.consumer.heard_ms()
            is_at_end = {tp: lag == 0 and ages.get(tp) == 0 for tp, lag in lags.items()}
            await role.settle({tp: heard_ms.get(tp, 0) if at_end else 0 for tp, at_end in is_at_end.items()})

    return app
