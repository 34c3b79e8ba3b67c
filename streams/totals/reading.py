"""The sums that totals are estimated from, out of Kafka: all conversions of a period, in bounded memory.

Conversions of an account that are too many at once are looked at in slices, each with its own passes over the clicks:
what a conversion adds to the sums depends on no other one.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.matching.evidence import Evidence, Hashes, evidence_of, hashes_of, together
from processors.matching.excerpt import Excerpt
from processors.matching.lesson import lesson
from processors.matching.model import MatchModel
from processors.totals.clicks import FIELDS, AccountClicks
from processors.totals.contributions import contributions
from processors.totals.observe import observe
from processors.totals.state import State
from streams.matching.columns import Part
from streams.matching.reading import CLICKS, CONVERSIONS, Reading, by_account

__all__ = ["Counted", "Slice", "Summed", "TotalsReading", "slices"]

Ints = npt.NDArray[np.int64]


class Counted(NamedTuple):
    """How many records of conversions an account has, and the currency that most of them are in, None for none."""

    conversions: int
    currency: str | None


class Slice(NamedTuple):
    """Of an account's conversions those whose hashed id leaves `number` when it is divided by `of`."""

    account_id: str
    number: int
    of: int

    @property
    def is_last(self) -> bool:
        """Whether no other slice of the account comes after it."""
        return self.number == self.of - 1


class Summed(NamedTuple):
    """What a slice adds to the sums of its account, and what all clicks of the account say."""

    slice: Slice
    state: State
    clicks: AccountClicks


class _Sold(NamedTuple):
    """Records of conversions. ids: hashed; versions: of the source, and times of arrival, shape (2, rows)."""

    ids: Hashes
    versions: Ints
    evidence: Evidence
    rows: pa.Table


def slices(counted: Mapping[str, Counted], at_once: int) -> Iterator[list[Slice]]:
    """Groups of slices that share the passes over the topics; each has at most so many conversions, about.

    Accounts come in order, and no group has two slices of one.

    >>> list(slices({"b": Counted(5, None), "a": Counted(3, None), "c": Counted(1, None)}, 4))[1:]
    [[Slice(account_id='b', number=0, of=2)], [Slice(account_id='b', number=1, of=2), Slice(account_id='c', ...)]]
    """
    group: list[Slice] = []
    size = 0.0
    for account_id in sorted(counted):
        of = -(-counted[account_id].conversions // at_once)
        for number in range(of):
            own = counted[account_id].conversions / of
            if group and size + own > at_once:
                yield group
                group, size = [], 0
            group.append(Slice(account_id, number, of))
            size += own
    if group:
        yield group


class TotalsReading:
    """What Kafka has of a period. Its methods raise Unavailable, RegistryUnavailable."""

    def __init__(self, reading: Reading, event_names: Sequence[str]) -> None:
        """`event_names`: which conversions count; empty for all."""
        self._reading = reading
        self._event_names = pa.array(event_names, pa.string())

    def counted(self) -> dict[str, Counted]:
        """The accounts that have conversions."""
        found: dict[str, Counter[str | None]] = defaultdict(Counter)
        for batch, _ in self._conversions(None):
            pairs = pa.table([batch.column("account_id"), batch.column("currency")], ["account_id", "currency"])
            for row in pairs.group_by(["account_id", "currency"]).aggregate([([], "count_all")]).to_pylist():
                found[row["account_id"]][row["currency"]] += row["count_all"]
        return {account_id: Counted(counts.total(), _usual(counts)) for account_id, counts in found.items()}

    def summed(
        self, group: Sequence[Slice], counted: Mapping[str, Counted], models: Mapping[str, MatchModel]
    ) -> list[Summed]:
        """The sums of slices of different accounts, each with a model."""
        of_account = {one.account_id: one for one in group}
        sold = self._sold(of_account)
        excerpts = self._reading.excerpts({account_id: one.evidence for account_id, one in sold.items()})
        clicks = self._clicks(excerpts)
        found = []
        for account_id in sorted(excerpts):
            # Taken out, so that what they hold is free when their turn is over.
            excerpt, own = excerpts.pop(account_id), sold.pop(account_id)
            observations = observe(
                lesson(own.evidence, *excerpt.index()),
                own.evidence,
                clicks[account_id].names(excerpt.sight.ads),
                clicks[account_id].homes,
                _in_currency(own.rows, counted[account_id].currency),
                models[account_id],
            )
            found.append(Summed(of_account[account_id], contributions(observations), clicks[account_id]))
        return found

    def _conversions(self, accounts: Collection[str] | None) -> Iterator[Part]:
        for batch, ingest_ms in self._reading.records(CONVERSIONS, accounts):
            if not len(self._event_names):
                yield Part(batch, ingest_ms)
                continue
            counts = pc.is_in(batch.column("event_name"), self._event_names)
            yield Part(batch.filter(counts), ingest_ms[counts.to_numpy(zero_copy_only=False)])

    def _sold(self, of_account: Mapping[str, Slice]) -> dict[str, _Sold]:
        found: dict[str, list[_Sold]] = defaultdict(list)
        for batch, ingest_ms in self._conversions(of_account):
            ids, evidence = hashes_of(batch, "conversion_id"), evidence_of(batch, "event_source_url")
            versions = np.stack([batch.column("source_version").to_numpy(), ingest_ms])
            table = pa.table(batch.select(["account_id", "conversion_id", "value_micros", "currency"]))
            for account_id, rows in by_account(batch):
                _, number, of = of_account[account_id]
                rows = rows[ids[rows] % np.uint64(of) == number]
                found[account_id].append(_Sold(ids[rows], versions[:, rows], evidence.rows(rows), table.take(rows)))
        return {account_id: _newest(parts) for account_id, parts in found.items()}

    def _clicks(self, excerpts: Mapping[str, Excerpt]) -> dict[str, AccountClicks]:
        found = {account_id: AccountClicks(excerpt.sight.clicks.ip) for account_id, excerpt in excerpts.items()}
        for batch, _ in self._reading.records(CLICKS, found):
            seen = batch.select(FIELDS)
            for account_id, rows in by_account(batch):
                found[account_id].add(seen.take(pa.array(rows)))
        return found


def _usual(counts: Counter[str | None]) -> str | None:
    given = sorted(currency for currency in counts if currency)
    return max(given, key=lambda currency: counts[currency], default=None)


def _newest(parts: Sequence[_Sold]) -> _Sold:
    """Of each conversion the greatest version, and of these the last to arrive; in the order of the hashed ids."""
    ids = np.concatenate([part.ids for part in parts])
    versions = np.concatenate([part.versions for part in parts], axis=1)
    order = np.lexsort((-versions[1], -versions[0], ids))
    chosen = order[np.append(True, np.diff(ids[order]) != 0)] if len(order) else order
    return _Sold(
        ids[chosen],
        versions[:, chosen],
        together([part.evidence for part in parts]).rows(chosen),
        pa.concat_tables([part.rows for part in parts]).take(chosen),
    )


def _in_currency(rows: pa.Table, currency: str | None) -> pa.Table:
    """Without the values of other currencies: no rate makes them one."""
    is_own = pc.fill_null(pc.equal(rows["currency"], pa.scalar(currency, pa.string())), False)
    values = pc.if_else(is_own, rows["value_micros"], pa.scalar(None, pa.int64()))
    return rows.set_column(rows.schema.get_field_index("value_micros"), "value_micros", values)
