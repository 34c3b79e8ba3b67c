"""Totals as records of `attribution-totals`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from processors.totals.account import NAMES
from processors.totals.estimate import Figures, Totals
from processors.totals.holdout import Holdout, incremental
from schemas.definitions import arrow_schema, definition, from_records

__all__ = ["ESTIMATOR_VERSION", "Published", "total_records"]

CONTRACT = definition("attribution-totals")
SCHEMA = arrow_schema(CONTRACT.text)
ESTIMATOR_VERSION = "totals-1"

Record = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Published:
    """What an account's records say besides its totals.

    as_of_ms: when the totals were estimated, which is their version. ad_accounts: the ad account of each ad that has a
    known one. holdout: of the account, where there was a test.
    """

    account_id: str
    as_of_ms: int
    currency: str | None = None
    ad_accounts: Mapping[str, str] = field(default_factory=dict)
    holdout: Holdout | None = None


def total_records(totals: Totals, published: Published) -> pa.RecordBatch:
    """A record for each ad and day, for each ad over all days, and for the organic conversions; none without a day.

    An ad's day that an earlier estimate has and this one has not, keeps its record: whoever publishes has to send one
    with nothing in it.
    """
    if not totals.by_day.days:
        return from_records([], SCHEMA)
    last, days = max(totals.by_day.days), max(totals.by_day.days) - min(totals.by_day.days) + 1
    whole: Record = {"day": last, "days": days}
    rows = [
        *_of_ads(totals.by_day, published, [{"day": day, "days": 1} for day in totals.by_day.days]),
        *_of_ads(totals.ads, published, [whole] * len(totals.ads.ad_ids)),
        {**_organic(totals), **whole},
    ]
    account = _of_account(totals, published)
    return from_records([{**CONTRACT.defaults, **account, **row} for row in rows], SCHEMA)


def _of_ads(figures: Figures, published: Published, periods: list[Record]) -> Iterator[Record]:
    columns = {
        f"{name}_micros": getattr(figures, name).tolist()
        for name in ("deterministic", "expected", "remainder", "total", "low", "high", "value")
    }
    columns["is_range_only"] = figures.is_range_only.tolist()
    if published.holdout:
        found = incremental(published.holdout, figures.total, figures.low, figures.high)
        columns |= {"incremental_micros": found.total.tolist()}
        columns |= {"incremental_low_micros": found.low.tolist(), "incremental_high_micros": found.high.tolist()}
    for row, (ad_id, period) in enumerate(zip(figures.ad_ids, periods, strict=True)):
        names = {"ad_id": ad_id or None, "ad_account_id": published.ad_accounts.get(ad_id)}
        yield {**names, **period, **{name: column[row] for name, column in columns.items()}}


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
        "holdout": published.holdout.name if published.holdout else None,
        "account_conversions_micros": totals.conversions,
        "account_total_micros": totals.attributed,
        **{f"account_{name}_micros": total for name, total in zip(NAMES, totals.account_totals, strict=True)},
        "disagreement": totals.disagreement,
        "is_alarm": totals.is_alarm,
    }
