"""Conversions that no identifier matches, matched by evidence when the clicks before them have arrived."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.attribute import NOWHERE, Pending, assemble, settling_conversions, with_match
from processors.attribution.probable import Match, clicks_asked, matches, question_of
from processors.matching.model import MatchModel
from schemas.codec import Decoder
from schemas.facts import Held, Identifier
from schemas.spans import Partition
from sinks.redis.attribution_store import AttributionStore
from streams.settings import Settings

__all__ = ["NO_MODELS", "Models", "Settling"]

#: Conversions a shard and call: they hold the server for some milliseconds.
AT_ONCE = 200
#: After so long somebody else takes over what a worker has begun and not ended.
LEASE_MS = 60_000


class Models(Protocol):
    """The tenants' models."""

    def model_for(self, account_id: str, ingest_ms: int) -> MatchModel | None:
        """The model for conversions that arrived then; None where there is none."""


class NoModels:
    """Where nothing was learned yet."""

    def model_for(self, account_id: str, ingest_ms: int) -> None:
        """None."""


NO_MODELS = NoModels()


class Settling:
    """What the role does by the clock: of conversions that are due, it matches those that no identifier matches.

    1. Take conversions that are due by the watermark, the ingest time up to which the clicks of all partitions are
       stored. Each is marked before it is read, which makes what comes out a later version; for a minute nobody else
       takes it.
    2. Read what an identifier may have found meanwhile; else the traces of clicks that share evidence, and the clicks.
    3. Match, by what had arrived so many seconds after the conversion: the same whenever it is computed.
    4. Publish and wait until Kafka has acknowledged; only then give the conversion up, or make it due once more.

    Guarantee: at-least-once; what is done twice gives the same match in a later version.
    """

    def __init__(
        self,
        settings: Settings,
        store: AttributionStore,
        decoder: Decoder,
        models: Models,
        publish: Callable[[pa.RecordBatch], Awaitable[None]],
    ) -> None:
        """`publish` returns when Kafka has acknowledged."""
        self._waits_ms = [wait_s * 1000 for wait_s in sorted(settings.matching.settle_after_s)]
        self._retention = settings.retention()
        self._credit_rules, self._thresholds = settings.credit_rules(), settings.thresholds()
        self._store = store
        self._decoder = decoder
        self._models = models
        self._publish = publish

    async def run(self, partitions: Sequence[Partition]) -> int:
        """Settle what is due, of clicks in these partitions. Returns how many conversions.

        Raises Unavailable, Refused, DeliveryFailed.
        """
        until_ms = await self._store.watermark(partitions)
        count = 0
        while until_ms is not None:
            held = await self._store.settle(until_ms, AT_ONCE, until_ms + LEASE_MS)
            if not held.conversions:
                break
            await self._settle(held, until_ms)
            count += len(held.conversions)
        return count

    def is_matched_later(self, pending: Pending) -> bool:
        """Whether a conversion that no identifier matches has been settled, and what evidence says is to stay."""
        if pending.layer != "none" or not (pending.settled and self._waits_ms):
            return False
        return self._models.model_for(pending.name[0], pending.conversion.ingest_ms) is not None

    async def _settle(self, held: Held, until_ms: int) -> None:
        pending = await asyncio.to_thread(settling_conversions, held, until_ms, self._retention)
        ready = [item for item in pending if item.layer == "none" and self._known_until_ms(item, until_ms) is not None]
        attributed = await self._attributed(ready, until_ms)
        if attributed is not None:
            await self._publish(attributed)
        names = [(item.account_id, item.conversion_id) for item in held.conversions]
        await self._store.settled(names, self._due_again(pending, until_ms))

    def _known_until_ms(self, item: Pending, until_ms: int) -> int | None:
        """What had arrived by then counts: the last of the waits that are over. None where none is."""
        over = [item.conversion.ingest_ms + wait_ms for wait_ms in self._waits_ms]
        return max((known_ms for known_ms in over if known_ms <= until_ms), default=None)

    def _due_again(self, pending: Sequence[Pending], until_ms: int) -> Mapping[Identifier, int]:
        due = {}
        for item in pending:
            ahead = (item.conversion.ingest_ms + wait_ms for wait_ms in self._waits_ms)
            if item.layer == "none" and (next_ms := next((ms for ms in ahead if ms > until_ms), None)) is not None:
                due[item.name] = next_ms
        return due

    async def _attributed(self, pending: Sequence[Pending], until_ms: int) -> pa.RecordBatch | None:
        if not pending:
            return None
        messages = [item.conversion.message for item in pending]
        times = np.array([item.conversion.ingest_ms for item in pending], np.int64)
        decoded = await asyncio.to_thread(self._decoder.decode, messages, times)
        pending = [pending[row] for row in decoded.rows.tolist()]
        found: dict[int, Match] = {}
        for model, rows in self._by_model(pending).values():
            account_id = pending[rows[0]].name[0]
            some = decoded.batch.take(pa.array(rows))
            known = np.array([self._known_until_ms(pending[row], until_ms) for row in rows], np.int64)
            found |= dict(zip(rows, await self._matches(account_id, some, known, model), strict=True))
        if not found:
            return None
        chosen = sorted(found)
        matched = [with_match(pending[row], found[row], self._thresholds) for row in chosen]
        conversions = decoded.batch.take(pa.array(chosen))
        return await asyncio.to_thread(assemble, conversions, matched, NOWHERE, self._credit_rules, self._thresholds)

    def _by_model(self, pending: Sequence[Pending]) -> Mapping[tuple[str, str], tuple[MatchModel, list[int]]]:
        """Rows that are matched together; what has no model is left out."""
        groups: dict[tuple[str, str], tuple[MatchModel, list[int]]] = {}
        for row, item in enumerate(pending):
            model = self._models.model_for(item.name[0], item.conversion.ingest_ms)
            if model is not None:
                groups.setdefault((item.name[0], model.version), (model, []))[1].append(row)
        return groups

    async def _matches(
        self, account_id: str, conversions: pa.RecordBatch, known_until_ms: npt.NDArray[np.int64], model: MatchModel
    ) -> list[Match]:
        question = await asyncio.to_thread(question_of, conversions, known_until_ms, self._retention)
        traces = await self._store.traces({(account_id, bucket): keys for bucket, keys in question.traces().items()})
        by_key = {(bucket, key): entries for (_, bucket, key), entries in traces.items()}
        found = await asyncio.to_thread(question.find, by_key)
        asked = clicks_asked(found, self._retention)
        clicks = await self._store.clicks({(account_id, bucket): names for bucket, names in asked.items()})
        contents = sorted({content for entries in clicks.values() for content in entries.contents})
        return await asyncio.to_thread(matches, question, found, contents, model)
