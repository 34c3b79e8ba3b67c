"""Totals as records of `attribution-totals`."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from processors.totals.account import NAMES
from processors.totals.estimate import Figures, Totals
from processors.totals.holdout import Holdout, incremental
from schemas.definitions import arrow_schema, definition, from_records

__all__ = ["ESTIMATOR_VERSION", "Published", "RowKey", "total_records"]

CONTRACT = definition("attribution-totals")
SCHEMA = arrow_schema(CONTRACT.text)
ESTIMATOR_VERSION = "totals-1"

Record = dict[str, Any]
_NOTHING: Record = {"total_micros": 0, "low_micros": 0, "high_micros": 0, "is_range_only": True, "value_micros": 0}


class RowKey(NamedTuple):
    """What a record of an ad replaces another by, besides its account. day: since 1970; of several the last."""

    ad_account_id: str
    ad_id: str
    day: int
    days: int


@dataclass(frozen=True, slots=True)
class Published:
    """What an account's records say besides its totals.

    as_of_ms: when the totals were estimated, which is their version. first_day, last_day: of the period whose clicks
    and conversions were counted, since 1970; at least two, since a day and a period of one would be the same row.
    ad_accounts: the ad account of each ad that has a known one. holdouts: the test that an ad's totals are calibrated
    by, where there was one.
    """

    account_id: str
    as_of_ms: int
    first_day: int
    last_day: int
    currency: str | None = None
    ad_accounts: Mapping[str, str] = field(default_factory=dict)
    holdouts: Mapping[str, Holdout] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.last_day <= self.first_day:
            raise ValueError(f"a period of {self.last_day - self.first_day + 1} days")

    @property
    def period(self) -> Record:
        """Fields of a record of all days."""
        return {"day": self.last_day, "days": self.last_day - self.first_day + 1}


def total_records(totals: Totals, published: Published, earlier: Collection[RowKey] = ()) -> pa.RecordBatch:
    """A record for each ad and day, for each ad over all days, and for the organic conversions.

    `earlier`: what an earlier estimate has of these days. What this one has nothing of gets a record that says so.
    """
    rows = [
        *_of_ads(totals.by_day, published, [{"day": day, "days": 1} for day in totals.by_day.days]),
        *_of_ads(totals.ads, published, [published.period] * len(totals.ads.ad_ids)),
    ]
    gone = sorted(set(earlier) - {_key(row) for row in rows})
    rows += [
        {**_NOTHING, **key._asdict(), "ad_id": key.ad_id or None, "ad_account_id": key.ad_account_id or None}
        for key in gone
    ]
    rows.append({**_organic(totals), **published.period})
    account = _of_account(totals, published)
    return from_records([{**CONTRACT.defaults, **account, **row} for row in rows], SCHEMA)


def _key(row: Record) -> RowKey:
    return RowKey(row["ad_account_id"] or "", row["ad_id"] or "", row["day"], row["days"])


def _of_ads(figures: Figures, published: Published, periods: list[Record]) -> Iterator[Record]:
    columns = {
        f"{name}_micros": getattr(figures, name).tolist()
        for name in ("deterministic", "expected", "remainder", "total", "low", "high", "value")
    }
    columns["is_range_only"] = figures.is_range_only.tolist()
    for row, (ad_id, period) in enumerate(zip(figures.ad_ids, periods, strict=True)):
        names = {"ad_id": ad_id or None, "ad_account_id": published.ad_accounts.get(ad_id) or None}
        yield {
            **names,
            **period,
            **{name: column[row] for name, column in columns.items()},
            **_incremental(figures, row, published.holdouts.get(ad_id)),
        }


def _incremental(figures: Figures, row: int, holdout: Holdout | None) -> Record:
    """What a test makes of a row; nothing without one."""
    if holdout is None:
        return {}
    found = incremental(holdout, *(column[row : row + 1] for column in (figures.total, figures.low, figures.high)))
    return {
        "holdout": holdout.name,
        "incremental_micros": int(found.total[0]),
        "incremental_low_micros": int(found.low[0]),
        "incremental_high_micros": int(found.high[0]),
    }


def _organic(totals: Totals) -> Record:
    """What no ad caused: nothing of it was found by anybody, so that all of it is remainder."""
    low, high = totals.interval
    return {
        "is_organic": True,
        "remainder_micros": totals.organic,
        "total_micros": totals.organic,
        "low_micros": totals.conversions - high,
        "high_micros": totals.conversions - low,
        "value_micros": totals.organic_value,
    }


def _of_account(totals: Totals, published: Published) -> Record:
    """What is the same in all records of an account."""
    return {
        "account_id": published.account_id,
        "as_of": published.as_of_ms,
        "estimator_version": ESTIMATOR_VERSION,
        "currency": published.currency,
        "account_conversions_micros": totals.conversions,
        "account_total_micros": totals.attributed,
        **{f"account_{name}_micros": total for name, total in zip(NAMES, totals.account_totals, strict=True)},
        "disagreement": totals.disagreement,
        "is_alarm": totals.is_alarm,
    }
