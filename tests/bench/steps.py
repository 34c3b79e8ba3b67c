"""What each step of the attribution role costs a record, in processor time; Redis and Kafka are not counted."""

import asyncio
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from rich.table import Table

from processors.attribution.attribute import Origin, arrived_conversions, assemble
from processors.attribution.credit import CreditRules
from processors.attribution.facts import Retention, click_facts, conversion_facts, trace_facts
from processors.attribution.links import link_entries, links_carried
from processors.matching.evidence import evidence_of
from schemas.client.writer import RecordWriter
from schemas.definitions import definition
from schemas.facts import Entries
from schemas.spans import Partition, Span
from schemas.topics import TOPICS
from sinks.redis.attribution_store import AttributionStore
from streams.attribution_inputs import HELD_IDENTIFIERS
from streams.collector import spare_the_collector
from tests.bench.journeys import journeys, market
from tests.processors.records import DECODERS, SCHEMA_ID
from tests.sinks.redis.server import Server

CHUNK = 2_500
CLICKS, CONVERSIONS = 60_000, 20_000
DAY_S = 86_400
RETENTION = Retention(30 * DAY_S, 21 * DAY_S)
RULES = CreditRules(7 * DAY_S, frozenset({"direct", ""}))
WRITER = RecordWriter(TOPICS["attributed-conversions"], definition("attributed-conversions"), SCHEMA_ID, None)


class Step(NamedTuple):
    """What a step costs a record, the median of all chunks; microseconds."""

    data: str
    what: str
    us_per_record: float


class Stopwatch:
    """Processor time by step."""

    def __init__(self, data: str) -> None:
        self._data = data
        self._taken: defaultdict[str, list[float]] = defaultdict(list)

    @contextmanager
    def step(self, what: str, records: int) -> Iterator[None]:
        began = time.process_time_ns()
        yield
        self._taken[what].append((time.process_time_ns() - began) / 1_000 / records)

    def steps(self) -> list[Step]:
        """What was measured, and all of it together."""
        found = [Step(self._data, what, median(taken)) for what, taken in self._taken.items()]
        return [*found, Step(self._data, "together", sum(step.us_per_record for step in found))]


def table(found: Sequence[Step]) -> Table:
    """A row a step."""
    table = Table("us a record", "", "", title="steps of the attribution role")
    for step in found:
        table.add_row(step.data, step.what, f"{step.us_per_record:,.2f}")
    return table


def run() -> Iterator[Step]:
    """Clicks and conversions of journeys, and clicks with all that is evidence."""
    spare_the_collector()
    with TemporaryDirectory(prefix="spendloop-bench-") as directory:
        server = Server(Path(directory))
        server.start()
        try:
            yield from asyncio.run(_measure(server.url))
        finally:
            server.kill()


async def _measure(url: str) -> list[Step]:
    clicks, conversions = journeys(CLICKS, CONVERSIONS)
    sparse, evident, bought = (Stopwatch(data) for data in ("clicks", "clicks, all evidence", "conversions"))
    store = AttributionStore(url, namespace=f"{uuid.uuid4().hex[:8]}.")
    try:
        topics = {name: Partition(name, 0) for name in ("clicks", "market", "conversions")}
        await store.fences.begin(dict.fromkeys(topics.values(), 0))
        await _clicks(store, topics["clicks"], clicks, sparse, has_evidence=False)
        await _clicks(store, topics["market"], market(CLICKS)[0], evident, has_evidence=True)
        await _conversions(store, topics["conversions"], conversions, bought)
    finally:
        await store.close()
    return [*sparse.steps(), *evident.steps(), *bought.steps()]


async def _clicks(
    store: AttributionStore, partition: Partition, clicks: pa.Table, watch: Stopwatch, *, has_evidence: bool
) -> None:
    for span, messages, times in _chunks("clicks", partition, clicks):
        count = len(messages)
        batch, links = _decoded("clicks", messages, times, watch)
        evidence = None
        if has_evidence:
            with watch.step("evidence", count):
                evidence = evidence_of(batch, "landing_url", HELD_IDENTIFIERS)
        with watch.step("touchpoints", count):
            touchpoints = click_facts(batch, times, RETENTION, evidence=evidence)
        traces: Sequence[Any] = ()
        if evidence is not None:
            with watch.step("traces", count):
                traces = trace_facts(batch, evidence, times, RETENTION)
        with watch.step("store", count):
            await store.add_touchpoints(span, touchpoints, links, traces)


async def _conversions(store: AttributionStore, partition: Partition, conversions: pa.Table, watch: Stopwatch) -> None:
    for span, messages, times in _chunks("conversions", partition, conversions):
        count = len(messages)
        batch, links = _decoded("conversions", messages, times, watch)
        with watch.step("facts", count):
            facts = conversion_facts(batch, messages, times, RETENTION, settle_after_s=900)
        with watch.step("store, and read what is held", count):
            readings = await store.add_conversions(span, facts, links)
        with watch.step("choose touchpoints", count):
            names = zip(batch.column("account_id").to_pylist(), batch.column("conversion_id").to_pylist(), strict=True)
            offsets = dict(zip(names, range(span.start, span.end), strict=True))
            since_ms = int(times.min())
            pending = [item for held in readings for item in arrived_conversions(held, offsets, since_ms, RETENTION)]
        with watch.step("decode once more", count):
            batch = DECODERS["conversions"].decode([item.conversion.message for item in pending], times).batch
        with watch.step("credit, columns of the result", count):
            result = assemble(batch, pending, Origin("conversions", "", 0), RULES)
        with watch.step("encode", count):
            WRITER.encode(result)


def _decoded(topic: str, messages: list[bytes], times: Any, watch: Stopwatch) -> tuple[pa.RecordBatch, list[Entries]]:
    """The records, and what they say of who is the same person."""
    with watch.step("decode and check", len(messages)):
        batch = DECODERS[topic].decode(messages, times).batch
    with watch.step("links", len(messages)):
        return batch, link_entries(links_carried(batch, times, RETENTION), RETENTION)


def _chunks(topic: str, partition: Partition, table: pa.Table) -> Iterator[tuple[Span, list[bytes], Any]]:
    """Spans with their records, as they arrive now."""
    writer = RecordWriter(TOPICS[topic], definition(topic), SCHEMA_ID, None)
    now_ms = int(time.time() * 1000)
    for start in range(0, table.num_rows, CHUNK):
        batch, bad = writer.from_table(table.slice(start, CHUNK), Counter())
        assert not bad
        yield Span(partition, start, start + batch.num_rows), writer.encode(batch), np.full(batch.num_rows, now_ms)
