"""A simulated market in the attribution role's state, and what comes of settling it."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.facts import Retention, click_facts, conversion_facts, trace_facts
from processors.matching.evidence import evidence_of
from processors.matching.model import MatchModel
from processors.simulation.tables import Tables
from schemas.definitions import arrow_schema, definition
from schemas.facts import Identifier
from schemas.spans import Partition, Span
from sinks.redis.attribution_store import AttributionStore
from streams.attribution_inputs import HELD_IDENTIFIERS
from streams.settings import Settings
from streams.settling import Settling
from tests.processors.records import DECODERS, REQUIRED, message

CHUNK = 5_000
CLICKS = Partition("clicks", 0)


class OneModel:
    """The same for everybody."""

    def __init__(self, model: MatchModel) -> None:
        self._model = model

    def load(self) -> int:
        return 1

    def follow(self) -> int:
        return 0

    def model_for(self, account_id: str, ingest_ms: int) -> MatchModel:
        return self._model


class State:
    """The role's state with a market in it."""

    def __init__(self, store: AttributionStore, settings: Settings) -> None:
        self.store = store
        self._settings = settings
        self._retention: Retention = settings.retention()
        self._ends: Counter[str] = Counter()
        #: Rows of attribution-quality so far.
        self.evaluated: list[dict[str, Any]] = []

    async def begin(self) -> None:
        partitions = [Partition(name, 0) for name in ("clicks", "conversions")]
        await self.store.fences.begin(dict.fromkeys(partitions, 0))

    async def add_clicks(self, clicks: pa.Table, ingest_ms: npt.NDArray[np.int64]) -> None:
        for start in range(0, clicks.num_rows, CHUNK):
            batch = _contract("clicks", clicks.slice(start, CHUNK))
            times = ingest_ms[start : start + CHUNK]
            evidence = evidence_of(batch, "landing_url", HELD_IDENTIFIERS)
            match_on = self._settings.attribution.match_on
            touchpoints = click_facts(batch, times, self._retention, match_on, evidence)
            traces = trace_facts(batch, evidence, times, self._retention)
            await self.store.add_touchpoints(self._span("clicks", batch), touchpoints, (), traces)

    async def add_conversions(self, conversions: pa.Table, ingest_ms: npt.NDArray[np.int64]) -> None:
        wait_s = min(self._settings.matching.settle_after_s)
        for start in range(0, conversions.num_rows, CHUNK):
            batch = _contract("conversions", conversions.slice(start, CHUNK))
            messages = [message("conversions", _given(row)) for row in batch.to_pylist()]
            times = ingest_ms[start : start + CHUNK]
            facts = conversion_facts(
                batch, messages, times, self._retention, self._settings.attribution.match_on, wait_s
            )
            await self.store.add_conversions(self._span("conversions", batch), facts)

    async def settle(self, model: MatchModel, until_ms: int) -> list[dict[str, Any]]:
        """The attributed conversions that come of what is due by then."""
        emitted: list[dict[str, Any]] = []

        async def publish(topic: str, batch: pa.RecordBatch) -> None:
            rows = emitted if topic == "attributed-conversions" else self.evaluated
            rows.extend(batch.to_pylist())

        await self.store.note_watermarks({CLICKS: until_ms})
        settling = Settling(self._settings, self.store, DECODERS["conversions"], OneModel(model), publish)
        await settling.run([CLICKS])
        return emitted

    def _span(self, topic: str, batch: pa.RecordBatch) -> Span:
        start = self._ends[topic]
        self._ends[topic] += batch.num_rows
        return Span(Partition(topic, 0), start, self._ends[topic])


def newest(rows: Sequence[dict[str, Any]]) -> dict[Identifier, dict[str, Any]]:
    """Of each conversion the row that counts."""
    found: dict[Identifier, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: (row["epoch"], row["facts_held"])):
        found[row["account_id"], row["conversion_id"]] = row
    return found


def tables_later(tables: Tables, by_ms: int) -> Tables:
    """The same market that many milliseconds later."""
    moved = pa.scalar(by_ms, pa.duration("ms"))

    def later(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index("event_time")
        times = pa.compute.add(table["event_time"], moved).cast(table.schema.field(place).type)
        return table.set_column(place, "event_time", times)

    return tables._replace(clicks=later(tables.clicks), conversions=later(tables.conversions))


def run(work: Any) -> Any:
    return asyncio.run(work)


def _contract(topic: str, table: pa.Table) -> pa.RecordBatch:
    """With all fields of the contract."""
    schema = arrow_schema(definition(topic).text)
    defaults = {**definition(topic).defaults, **REQUIRED}
    columns = [
        table[field.name].combine_chunks().cast(field.type)
        if field.name in table.column_names
        else pa.array([_plain(defaults.get(field.name))] * table.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _plain(value: Any) -> Any:
    return list(value.items()) if isinstance(value, dict) else value


def _given(row: dict[str, Any]) -> dict[str, Any]:
    """As fastavro writes it."""
    return {name: dict(value) if name == "user_data_sha256" else value for name, value in row.items()}
