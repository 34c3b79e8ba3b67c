"""Scores of many markets as one row an estimator."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from processors.simulation.totals import COMBINATION, MANY, Measured, TotalsScore, by_day, by_size

__all__ = ["Summary", "summary_of"]

#: Ads by their true conversions: fewer than the first are only given a range.
SIZES = ((30, MANY), (10, 30))


@dataclass(frozen=True, slots=True)
class Summary:
    """How an estimator did on some markets; shares of the truth.

    account_bias, organic_bias: with their sign, mean of the markets. account_error, account_worst: of the account's
    total, mean and greatest. ads: how many of all markets; ad_median, ad_p90: of their errors; coverage: of their 95 %
    intervals. disagreement: of the three account totals, mean; alarms: markets in which they raised the alarm.
    """

    markets: str
    estimator: str
    count: int
    account_bias: float
    account_error: float
    account_worst: float
    organic_bias: float
    ads: int
    ad_median: float
    ad_p90: float
    coverage: float
    disagreement: float | None = None
    alarms: int | None = None


def summary_of(markets: str, measured: Sequence[Measured]) -> list[Summary]:
    """A row for each estimator, and more of the combination: its smaller ads, and its ads' days."""
    rows = [_row(markets, scores) for scores in zip(*(one.scores for one in measured), strict=True)]
    *others, combination = rows
    combination = replace(
        combination,
        disagreement=_rounded(np.mean([one.totals.disagreement for one in measured])),
        alarms=sum(one.totals.is_alarm for one in measured),
    )
    parts = {
        f"{COMBINATION}, ads of {least} to {most - 1}": [by_size(m, least, most) for m in measured]
        for least, most in SIZES
    }
    parts[f"{COMBINATION}, days of an ad"] = [by_day(one) for one in measured]
    return [*others, combination, *(_part(combination, name, found) for name, found in parts.items())]


def _row(markets: str, scores: Sequence[TotalsScore]) -> Summary:
    account = np.array([score.account_error for score in scores])
    errors, covered = [e for score in scores for e in score.errors], [c for score in scores for c in score.covered]
    return Summary(
        markets=markets,
        estimator=scores[0].estimator,
        count=len(scores),
        account_bias=_rounded(account.mean()),
        account_error=_rounded(np.abs(account).mean()),
        account_worst=_rounded(np.abs(account).max()),
        organic_bias=_rounded(np.mean([score.organic_error for score in scores])),
        ads=len(errors),
        ad_median=_quantile(errors, 0.5),
        ad_p90=_quantile(errors, 0.9),
        coverage=_rounded(np.mean(covered)) if covered else 0.0,
    )


def _part(whole: Summary, name: str, found: Sequence[tuple[list[float], list[bool]]]) -> Summary:
    errors, covered = [e for one, _ in found for e in one], [c for _, one in found for c in one]
    return replace(
        whole,
        estimator=name,
        ads=len(errors),
        ad_median=_quantile(errors, 0.5),
        ad_p90=_quantile(errors, 0.9),
        coverage=_rounded(np.mean(covered)) if covered else 0.0,
    )


def _quantile(errors: list[float], share: float) -> float:
    return _rounded(np.quantile(errors, share)) if errors else 0.0


def _rounded(figure: float | np.floating) -> float:
    return round(float(figure), 4)
