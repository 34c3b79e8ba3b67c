"""Conversions that no identifier matches, matched by evidence when the clicks before them have arrived."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
import pyarrow as pa

from processors.attribution.attribute import NOWHERE, Pending, assemble, settling_conversions, with_match
from processors.attribution.evaluation import Evaluated, evaluate, is_evaluated, quality_records
from processors.attribution.probable import Gathered, Match, Question, clicks_asked, gather, matches, question_of
from processors.matching.model import MatchModel
from schemas.codec import Decoder
from schemas.facts import Held
from schemas.spans import Partition
from sinks.redis.attribution_store import AttributionStore
from streams.settings import Settings

__all__ = ["QUALITY", "Models", "Settling"]

ATTRIBUTED, QUALITY = "attributed-conversions", "attribution-quality"
#: Conversions a shard and call: they hold the server for some milliseconds.
AT_ONCE = 200
#: After so long somebody else takes over what a worker has begun and not ended.
LEASE_MS = 60_000


class Models(Protocol):
    """The tenants' models."""

    def load(self) -> int:
        """Read all that were published. Raises Unavailable, RegistryUnavailable."""

    def follow(self) -> int:
        """Read what was published since. Raises Unavailable, RegistryUnavailable."""

    def model_for(self, account_id: str, ingest_ms: int) -> MatchModel | None:
        """The model for conversions that arrived then; None where there is none."""


class _Group(NamedTuple):
    """Conversions of one tenant that one model matches: rows of all that were decoded together."""

    conversions: pa.RecordBatch
    pending: Sequence[Pending]
    rows: list[int]
    model: MatchModel
    question: Question
    gathered: Gathered


class Settling:
    """What the role does by the clock: of conversions that are due, it matches those that no identifier matches.

    1. Take conversions that are due by the watermark, the ingest time up to which the clicks of all partitions are
       stored. Each is marked before it is read, which makes what comes out a later version; for a minute nobody else
       takes it.
    2. Read what an identifier may have found meanwhile; else the traces of clicks that share evidence, and the clicks.
    3. Match, by what had arrived so many seconds after the conversion: the same whenever it is computed.
    4. Of some that an identifier matches, match them without it, to know how good matching is.
    5. Publish and wait until Kafka has acknowledged; only then give the conversion up, or make it due once more.

    Guarantee: at-least-once; what is done twice gives the same match in a later version.
    """

    def __init__(
        self,
        settings: Settings,
        store: AttributionStore,
        decoder: Decoder,
        models: Models,
        publish: Callable[[str, pa.RecordBatch], Awaitable[None]],
    ) -> None:
        """`publish`, to a topic, returns when Kafka has acknowledged."""
        self._waits_ms = [wait_s * 1000 for wait_s in sorted(settings.matching.settle_after_s)]
        self._retention = settings.retention()
        self._evaluated_share = settings.matching.evaluated_share
        self._credit_rules, self._thresholds = settings.credit_rules(), settings.thresholds()
        self._store = store
        self._decoder = decoder
        self._models = models
        self._publish = publish
        #: Of the state; it goes into every version.
        self.epoch = 0

    async def run(self, partitions: Sequence[Partition]) -> int:
        """Settle what is due, of clicks in these partitions. Returns how many conversions.

        Raises Unavailable, Refused, DeliveryFailed, RegistryUnavailable.
        """
        await asyncio.to_thread(self._models.follow)
        until_ms = await self._store.watermark(partitions)
        count = 0
        while until_ms is not None:
            again_ms = until_ms + LEASE_MS
            held = await self._store.settle(until_ms, AT_ONCE, again_ms)
            if not held.conversions:
                break
            await self._settle(held, until_ms, again_ms)
            await asyncio.to_thread(self._models.follow)  # a run may take longer than a model is known in advance
            count += len(held.conversions)
        return count

    def is_matched_later(self, pending: Pending) -> bool:
        """Whether a conversion that no identifier matches has been settled, and what evidence says is to stay."""
        if pending.layer != "none" or not (pending.settled and self._waits_ms):
            return False
        return self._models.model_for(pending.name[0], pending.conversion.ingest_ms) is not None

    def is_over(self, pending: Pending) -> bool:
        """Whether a conversion need not be settled: an identifier matches it, and it is not evaluated."""
        return pending.layer != "none" and not self._is_evaluated(pending)

    async def _settle(self, held: Held, until_ms: int, again_ms: int) -> None:
        pending = await asyncio.to_thread(settling_conversions, held, until_ms, self._retention)
        ready = [item for item in pending if self._known_until_ms(item, until_ms) is not None]
        open_ = [item for item in ready if item.layer == "none"]
        known = [item for item in ready if self._is_evaluated(item) and self._next_ms(item, until_ms) is None]
        for batch in (await self._attributed(open_, until_ms), await self._evaluated(known, until_ms)):
            if batch is not None:
                await self._publish(*batch)
        due = {item.name: self._next_ms(item, until_ms) for item in pending if not self.is_over(item)}
        names = [(item.account_id, item.conversion_id) for item in held.conversions]
        once_more = {name: due_ms for name, due_ms in due.items() if due_ms is not None}
        await self._store.settled(names, once_more, again_ms)

    def _is_evaluated(self, item: Pending) -> bool:
        return item.layer != "none" and is_evaluated(*item.name, self._evaluated_share)

    def _known_until_ms(self, item: Pending, until_ms: int) -> int | None:
        """What had arrived by then counts: the last of the waits that are over. None where none is."""
        over = [item.conversion.ingest_ms + wait_ms for wait_ms in self._waits_ms]
        return max((known_ms for known_ms in over if known_ms <= until_ms), default=None)

    def _next_ms(self, item: Pending, until_ms: int) -> int | None:
        """When it is due once more; None where it is settled for good."""
        ahead = (item.conversion.ingest_ms + wait_ms for wait_ms in self._waits_ms)
        return next((due_ms for due_ms in ahead if due_ms > until_ms), None)

    async def _attributed(self, pending: Sequence[Pending], until_ms: int) -> tuple[str, pa.RecordBatch] | None:
        found: dict[int, Match] = {}
        conversions = None
        async for group in self._groups(pending, until_ms):
            conversions, pending = group.conversions, group.pending
            some = await asyncio.to_thread(matches, group.question.evidence, group.gathered, group.model)
            found |= dict(zip(group.rows, some, strict=True))
        if conversions is None:
            return None
        chosen = sorted(found)
        matched = [with_match(pending[row], found[row], self._thresholds) for row in chosen]
        some = conversions.take(pa.array(chosen))
        rules, thresholds = self._credit_rules, self._thresholds
        batch = await asyncio.to_thread(assemble, some, matched, NOWHERE, rules, thresholds, self.epoch)
        return ATTRIBUTED, batch

    async def _evaluated(self, pending: Sequence[Pending], until_ms: int) -> tuple[str, pa.RecordBatch] | None:
        rows = []
        async for group in self._groups(pending, until_ms):
            known = [_evaluated(group.pending[row]) for row in group.rows]
            rows += await asyncio.to_thread(evaluate, known, group.question.evidence, group.gathered, group.model)
        return (QUALITY, quality_records(rows)) if rows else None

    async def _groups(self, pending: Sequence[Pending], until_ms: int) -> AsyncIterator[_Group]:
        """The conversions of one tenant and model at a time, with the clicks that share evidence with them."""
        if not pending:
            return
        messages = [item.conversion.message for item in pending]
        times = np.array([item.conversion.ingest_ms for item in pending], np.int64)
        decoded = await asyncio.to_thread(self._decoder.decode, messages, times)
        pending = [pending[row] for row in decoded.rows.tolist()]
        for model, rows in self._by_model(pending).values():
            known = np.array([self._known_until_ms(pending[row], until_ms) for row in rows], np.int64)
            some = decoded.batch.take(pa.array(rows))
            question = await asyncio.to_thread(question_of, some, known, self._retention)
            gathered = await self._gathered(pending[rows[0]].name[0], question)
            yield _Group(decoded.batch, pending, rows, model, question, gathered)

    def _by_model(self, pending: Sequence[Pending]) -> Mapping[tuple[str, str], tuple[MatchModel, list[int]]]:
        """Rows that are matched together; what has no model is left out."""
        groups: dict[tuple[str, str], tuple[MatchModel, list[int]]] = {}
        for row, item in enumerate(pending):
            model = self._models.model_for(item.name[0], item.conversion.ingest_ms)
            if model is not None:
                groups.setdefault((item.name[0], model.version), (model, []))[1].append(row)
        return groups

    async def _gathered(self, account_id: str, question: Question) -> Gathered:
        traces = await self._store.traces({(account_id, bucket): keys for bucket, keys in question.traces().items()})
        by_key = {(bucket, key): entries for (_, bucket, key), entries in traces.items()}
        found = await asyncio.to_thread(question.find, by_key)
        asked = clicks_asked(found, self._retention)
        clicks = await self._store.clicks({(account_id, bucket): names for bucket, names in asked.items()})
        contents = sorted({content for entries in clicks.values() for content in entries.contents})
        return await asyncio.to_thread(gather, question, found, contents)


def _evaluated(pending: Pending) -> Evaluated:
    content, (account_id, conversion_id) = pending.conversion, pending.name
    return Evaluated(account_id, conversion_id, content.event_ms, pending.layer, pending.touchpoints, content.click_id)
