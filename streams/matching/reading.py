"""Conversions and clicks of some tenants, as far as there is something to learn from them, in bounded memory.

First the conversions, of each tenant at most so many; then all clicks, of which those are kept that matter to them;
then the clicks again, for those of visitors that were known at the end of the first pass only.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.matching.draw import Draw
from processors.matching.evidence import Evidence, evidence_of, hashes_of
from processors.matching.excerpt import Excerpt, Sight
from schemas.client.registry import Registry
from streams.matching.columns import Columns, Part
from streams.settings import Settings

__all__ = ["CLICKS", "CONVERSIONS", "Period", "Reading", "by_account"]

CLICKS, CONVERSIONS = "clicks", "conversions"

Ints = npt.NDArray[np.int64]


class Period(NamedTuple):
    """From one time to before another, milliseconds: both of arrival and of the event itself."""

    from_ms: int
    to_ms: int


class Reading:
    """What Kafka has of a period. Its methods raise Unavailable, RegistryUnavailable."""

    def __init__(
        self, settings: Settings, schemas: Registry, period: Period, on_part: Callable[[], None] = lambda: None
    ) -> None:
        """`on_part` is called every some thousand records: reading may take long."""
        self._period = period
        self._on_part = on_part
        self._columns = {name: Columns(settings, schemas, name) for name in (CLICKS, CONVERSIONS)}

    @property
    def bad(self) -> dict[str, int]:
        """Records that could not be read, by topic, as often as it was read."""
        return {name: columns.bad for name, columns in self._columns.items()}

    def conversions_of(self) -> Counter[str]:
        """How many conversions each tenant has."""
        counted: Counter[str] = Counter()
        for part in self.records(CONVERSIONS):
            for pair in part.batch.column("account_id").value_counts().to_pylist():
                counted[pair["values"]] += pair["counts"]
        return counted

    def draw(self, accounts: Collection[str], most: int) -> dict[str, Evidence]:
        """At most so many conversions of each of these tenants; no entry for one that has none."""
        draws = {account_id: Draw(most) for account_id in accounts}
        for batch, ingest_ms in self.records(CONVERSIONS, accounts):
            ids, conversions = hashes_of(batch, "conversion_id"), evidence_of(batch, "event_source_url")
            versions = np.stack([batch.column("source_version").to_numpy(), ingest_ms])
            for account_id, rows in by_account(batch):
                draws[account_id].add(ids[rows], versions[:, rows], conversions.rows(rows))
        drawn = {account_id: draw.drawn() for account_id, draw in draws.items()}
        return {account_id: conversions for account_id, conversions in drawn.items() if conversions is not None}

    def excerpts(self, drawn: Mapping[str, Evidence]) -> dict[str, Excerpt]:
        """The clicks that matter to the conversions of each tenant."""
        excerpts = {account_id: Excerpt(conversions) for account_id, conversions in drawn.items()}
        for batch, _ in self.records(CLICKS, excerpts):
            sight = _sight(batch)
            for account_id, rows in by_account(batch):
                excerpts[account_id].add(sight.rows(rows))
        visitors = {name: found for name, excerpt in excerpts.items() if len(found := excerpt.visitors)}
        for batch, _ in self.records(CLICKS, visitors) if visitors else ():
            seen, theirs = hashes_of(batch, "visitor_id"), np.zeros(batch.num_rows, np.bool_)
            for account_id, rows in by_account(batch):
                theirs[rows] = np.isin(seen[rows], visitors[account_id])
            batch = batch.filter(pa.array(theirs))  # few: only of these it is worth knowing more
            sight = _sight(batch)
            for account_id, rows in by_account(batch):
                excerpts[account_id].add_of_visitors(sight.rows(rows))
        return excerpts

    def records(self, contract: str, accounts: Collection[str] | None = None) -> Iterator[Part]:
        """The records of the period, of these tenants or of all."""
        wanted = None if accounts is None else pa.array(sorted(accounts), pa.string())
        for part in self._columns[contract].between(*self._period):
            self._on_part()
            event_ms = part.batch.column("event_time").cast(pa.int64()).to_numpy()
            chosen = (event_ms >= self._period.from_ms) & (event_ms < self._period.to_ms)
            if wanted is not None:
                known = pc.is_in(part.batch.column("account_id"), wanted)
                chosen &= known.to_numpy(zero_copy_only=False)
            yield Part(part.batch.filter(pa.array(chosen)), part.ingest_ms[chosen])


def _sight(batch: pa.RecordBatch) -> Sight:
    return Sight(evidence_of(batch, "landing_url"), hashes_of(batch, "ad_id"))


def by_account(batch: pa.RecordBatch) -> Iterable[tuple[str, Ints]]:
    """Each tenant with its rows."""
    if not batch.num_rows:
        return ()
    encoded = batch.column("account_id").dictionary_encode()
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    ends = np.cumsum(np.bincount(codes, minlength=len(encoded.dictionary)))
    return zip(encoded.dictionary.to_pylist(), np.split(order, ends[:-1]), strict=True)
