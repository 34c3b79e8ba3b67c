"""Modelled totals per ad and day: what an account's sums say its ads have caused, and how sure that is.

1. What identifiers match counts as it is: click ids on their ad, other identifiers spread over the person's clicks.
2. What they miss is estimated by ad twice, by identifiers and by evidence (estimators.py), and for the account three
   times (account.py); the median of the three is the account's total.
3. The two estimates of each ad are blended (blend.py) and brought to that total. What is left of the conversions is
   organic: ads and organic are always all of them, to the millionth of a conversion.
4. The interval has three parts: the bootstrap's, what the two estimates differ by beyond chance, and the spread of the
   three totals.

The figures are attributed conversions, not incremental ones: no identifier tells who would have bought anyway.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.account import AccountTotals, account_totals, disagreement
from processors.totals.apportion import apportion
from processors.totals.blend import Blend, blend
from processors.totals.estimators import by_evidence, by_identifiers
from processors.totals.state import MICRO, Account, Day, State
from processors.totals.sums import Sums, sums_of

__all__ = ["Figures", "Settings", "Totals", "estimate"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Standard deviations to either side of a 95 % interval.
NORMAL_95 = 1.96
#: Standard deviation of the median of three, as a share of that of one.
MEDIAN_OF_THREE = 0.67


@dataclass(frozen=True, slots=True)
class Settings:
    """When figures are given, and when an alarm.

    fewest_conversions: below it an ad, or its day, has only a range. alarm_disagreement: of the three account totals,
    as a share of their median; an alarm also takes that it is `alarm_errors` times its standard error.
    """

    fewest_conversions: int = 30
    alarm_disagreement: float = 0.08
    alarm_errors: float = 3.0


class Figures(NamedTuple):
    """Rows of ads, or of ads and days; conversions in millionths.

    ad_ids, days: of each row; days are empty for the whole period. total = deterministic + expected + remainder, of
    which none is negative. low, high: 95 % interval. value: micros of the currency.
    """

    ad_ids: tuple[str, ...]
    days: tuple[int, ...]
    deterministic: Ints
    expected: Ints
    remainder: Ints
    total: Ints
    low: Ints
    high: Ints
    is_range_only: Mask
    value: Ints


class Totals(NamedTuple):
    """What an account's conversions come to, in millionths: `ads` over all its days, and by day.

    conversions = attributed + organic, and `attributed` is the sum of the ads'. interval: of `attributed`; that of
    `organic` is its mirror image. account_totals: by account.NAMES. disagreement: of these, as a share of `attributed`.
    """

    ads: Figures
    by_day: Figures
    conversions: int
    attributed: int
    interval: tuple[int, int]
    organic: int
    organic_value: int
    account_totals: tuple[int, ...]
    disagreement: float
    is_alarm: bool


def estimate(state: State, settings: Settings | None = None) -> Totals:
    """The totals that the sums of an account speak for: the same for the same sums."""
    settings = settings or Settings()
    sums = sums_of(state)
    identifiers = by_identifiers(sums)
    found = account_totals(sums, identifiers.conversions)
    wanted = found.median - sums.click.sum(axis=0)
    blended = blend(identifiers, by_evidence(sums, wanted), wanted)
    account_error = _account_error(found)
    error = _error(sums, blended, found, account_error)
    conversions = int(state.account[Account.ALL, 0])
    ads, attributed = _by_ad(state, sums, blended, found)
    apart, apart_error = disagreement(found)
    by_day = _by_day(state, ads, error)
    value = _summed(ads.ad_ids, by_day)
    reach = round(NORMAL_95 * account_error * MICRO)
    return Totals(
        ads=_marked(_with_interval(ads, error, conversions)._replace(value=value), settings),
        by_day=_marked(by_day, settings),
        conversions=conversions,
        attributed=attributed,
        interval=(max(attributed - reach, 0), min(attributed + reach, conversions)),
        organic=conversions - attributed,
        organic_value=int(state.account[Account.VALUE, 0]) - int(value.sum()),
        account_totals=tuple(map(_millionths, found.totals[:, 0])),
        disagreement=apart,
        is_alarm=found.is_founded and apart > max(settings.alarm_disagreement, settings.alarm_errors * apart_error),
    )


def _account_error(found: AccountTotals) -> float:
    """Standard error of the account's total, conversions: the bootstrap's, and what the three totals differ by."""
    spread = MEDIAN_OF_THREE * float(found.totals[:, 0].std(ddof=1))
    return float(np.hypot(found.median[1:].std(), spread))


def _error(sums: Sums, blended: Blend, found: AccountTotals, account_error: float) -> Floats:
    """Standard error of each ad, conversions; shape (ads,). One conversion more or less is always possible."""
    share = blended.conversions[:, 0] / max(float(blended.conversions[:, 0].sum()), 1e-9)
    # What the account's total is off by reaches the ads by their shares; the bootstrap has its part of it already.
    model = np.maximum(account_error**2 - found.median[1:].var(), 0)
    by_chance = blended.conversions[:, 1:].var(axis=1)
    error: Floats = np.sqrt(1 + by_chance + blended.model_variance + model * share**2)
    return error


def _by_ad(state: State, sums: Sums, blended: Blend, found: AccountTotals) -> tuple[Figures, int]:
    """The ads without their intervals, and what they sum to."""
    deterministic = _millionths_of(sums.click[:, 0] + sums.person[:, 0])
    certain = int(deterministic.sum())
    conversions = int(state.account[Account.ALL, 0])
    attributed = min(max(_millionths(found.median[0]), certain), conversions) if len(deterministic) else 0
    missing = np.maximum(blended.conversions[:, 0] - sums.person[:, 0], 0)
    others = apportion(attributed - certain, missing)
    expected = np.minimum(_millionths_of(sums.evidence[:, :, 0].sum(axis=0)), others)
    nothing = np.zeros(len(deterministic), np.int64)
    ads = Figures(
        ad_ids=sums.ad_ids,
        days=(),
        deterministic=deterministic,
        expected=expected,
        remainder=others - expected,
        total=deterministic + others,
        low=nothing,
        high=nothing,
        is_range_only=nothing.astype(np.bool_),
        value=nothing,
    )
    return ads, attributed


def _by_day(state: State, ads: Figures, error: Floats) -> Figures:
    """What each ad has, on its days: the remainder as the identifiers and the evidence together."""
    keys = sorted(state.days)
    rows = {ad_id: row for row, ad_id in enumerate(ads.ad_ids)}
    of = np.array([rows[ad_id] for ad_id, _ in keys], np.int64)
    day_sums = np.stack([state.days[key] for key in keys]) if keys else np.zeros((0, len(Day)), np.int64)
    deterministic, evidence = day_sums[:, Day.DETERMINISTIC], day_sums[:, Day.EVIDENCE]
    expected, remainder = np.zeros_like(evidence), np.zeros_like(evidence)
    for row in range(len(ads.ad_ids)):
        own = of == row
        expected[own] = apportion(int(ads.expected[row]), evidence[own])
        remainder[own] = apportion(int(ads.remainder[row]), deterministic[own] + evidence[own])
    total = deterministic + expected + remainder
    days = Figures(
        ad_ids=tuple(ad_id for ad_id, _ in keys),
        days=tuple(day for _, day in keys),
        deterministic=deterministic,
        expected=expected,
        remainder=remainder,
        total=total,
        low=total,
        high=total,
        is_range_only=np.zeros(len(keys), np.bool_),
        value=_values(day_sums, expected, remainder, of, len(ads.ad_ids)),
    )
    open_, all_open = expected + remainder, (ads.expected + ads.remainder)[of]
    share = open_ / np.maximum(all_open, 1)
    # Which day a conversion belongs to that nobody has matched, is up to chance as well.
    by_chance = open_ / MICRO * (1 - share)
    return _with_interval(days, np.sqrt((error[of] * share) ** 2 + by_chance + 1), int(state.account[Account.ALL, 0]))


def _values(day_sums: Ints, expected: Ints, remainder: Ints, of: Ints, ads: int) -> Ints:
    """What conversions are worth: those of the evidence as much as they say, the remainder as its ad's others."""
    known = day_sums[:, Day.DETERMINISTIC_VALUE] + day_sums[:, Day.EVIDENCE_VALUE]
    weight = day_sums[:, Day.DETERMINISTIC] + day_sums[:, Day.EVIDENCE]
    usual = np.bincount(of, known, ads) / np.maximum(np.bincount(of, weight, ads), 1)
    counted = expected / np.maximum(day_sums[:, Day.EVIDENCE], 1)
    value = day_sums[:, Day.DETERMINISTIC_VALUE] + counted * day_sums[:, Day.EVIDENCE_VALUE] + remainder * usual[of]
    return np.rint(value).astype(np.int64)


def _with_interval(figures: Figures, error: Floats, conversions: int) -> Figures:
    """The 95 % interval of figures with these standard errors, conversions."""
    reach = NORMAL_95 * error * MICRO
    low = np.maximum(np.rint(figures.total - reach).astype(np.int64), 0)
    high = np.minimum(np.rint(figures.total + reach).astype(np.int64), conversions)
    return figures._replace(low=np.minimum(low, figures.total), high=np.maximum(high, figures.total))


def _marked(figures: Figures, settings: Settings) -> Figures:
    return figures._replace(is_range_only=figures.total < settings.fewest_conversions * MICRO)


def _summed(ad_ids: tuple[str, ...], by_day: Figures) -> Ints:
    rows = {ad_id: row for row, ad_id in enumerate(ad_ids)}
    value = np.zeros(len(ad_ids), np.int64)
    np.add.at(value, [rows[ad_id] for ad_id in by_day.ad_ids], by_day.value)
    return value


def _millionths(conversions: float) -> int:
    return round(float(conversions) * MICRO)


def _millionths_of(conversions: Floats) -> Ints:
    return np.rint(conversions * MICRO).astype(np.int64)
