"""From an ad account's sums by ad and bucket to what a tick finds of it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from processors.drift.alerts import Finding, Subject
from processors.drift.hierarchy import ACCOUNT, AD, CAMPAIGN, Change, changes
from processors.drift.likelihood import Floats
from processors.drift.severity import Bounds, money_at_risk, severity_of

__all__ = ["SPEND_BUCKETS", "AccountSums", "detect"]

#: Buckets over which daily spend is taken.
SPEND_BUCKETS = 7


class AccountSums(NamedTuple):
    """An ad account's sums of one stage, columns of ads, rows of buckets, oldest first.

    ad_ids, campaign_ids: of the columns. first: the first row's bucket, in the units of the tick. counts, exposure: as
    of `changes`. spend_micros: of the same buckets, shape (buckets, ads), integers. value_per_spend: what a unit of
    spend brings. buckets_a_day: 1 for days, 24 for hours.
    """

    stage: str
    ad_account_id: str
    ad_ids: Sequence[str]
    campaign_ids: Sequence[str]
    first: int
    counts: Floats
    exposure: Floats
    spend_micros: Floats
    value_per_spend: float = 1.0
    buckets_a_day: int = 1


def detect(sums: AccountSums, bounds: Bounds | None = None) -> list[Finding]:
    """Every change of a stage in an ad account, with what it puts at risk.

    bounds: of severities; in proportion to the account's daily spend where there are none.
    """
    names, campaigns = np.unique(np.asarray(sums.campaign_ids, np.str_), return_inverse=True)
    recent = np.asarray(sums.spend_micros)[-SPEND_BUCKETS * sums.buckets_a_day :]
    daily = recent.sum(axis=0) * sums.buckets_a_day / max(len(recent), 1)
    bounds = bounds or Bounds.of_spend(round(float(daily.sum())))
    ids = {ACCOUNT: [sums.ad_account_id], CAMPAIGN: names.tolist(), AD: list(sums.ad_ids)}
    spend = {ACCOUNT: daily.sum(keepdims=True), CAMPAIGN: np.bincount(campaigns, daily, len(names)), AD: daily}
    return [
        _finding(sums, change, ids[change.level][change.node], round(float(spend[change.level][change.node])), bounds)
        for change in changes(sums.counts, sums.exposure, campaigns)
    ]


def _finding(sums: AccountSums, change: Change, node_id: str, daily_micros: int, bounds: Bounds) -> Finding:
    found = change.evidence()
    at_risk = money_at_risk(found, daily_micros, sums.value_per_spend)
    return Finding(
        subject=Subject(change.level, node_id, change.direction),
        stage=sums.stage,
        began=sums.first + change.began,
        is_over=change.ended is not None,
        severity=severity_of(at_risk, found.probability, bounds),
        at_risk_micros=at_risk,
        ratio=found.ratio,
        low=found.low,
        high=found.high,
    )
