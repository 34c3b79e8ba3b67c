"""Totals per ad side by side on one market, held against what its ads have truly caused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from processors.matching.evidence import MISSING
from processors.matching.ladder import climb
from processors.matching.learning import learn
from processors.matching.lesson import Lesson, lesson
from processors.matching.match import match
from processors.matching.model import MatchModel
from processors.simulation.chance import Floats, Ints, Mask
from processors.simulation.evaluation import NOBODY, Exam, exam_of
from processors.simulation.tables import Tables
from processors.totals import baselines
from processors.totals.contributions import click_contributions, contributions
from processors.totals.estimate import NORMAL_95, Figures, Totals, estimate
from processors.totals.homes import homes_of
from processors.totals.observe import DAY_MS, ClickNames, observe
from processors.totals.state import MICRO, State
from processors.totals.sums import sums_of

__all__ = ["COMBINATION", "MANY", "Measured", "TotalsScore", "by_day", "by_size", "measure", "sums"]

COMBINATION = "combination"
#: Ads with so many true conversions are held against their totals one by one.
MANY = 100
#: At least so sure a match has to be to count as one.
HARD = 0.5


class Claim(NamedTuple):
    """Totals of ads with their 95 % intervals, conversions; each of shape (ads,)."""

    total: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True, slots=True)
class TotalsScore:
    """How an estimator did on a market.

    account_error: of the account's total, as a share of the truth; with its sign, as organic_error. errors, covered: of
    ads with many true conversions, how far each is off as a share, and whether its interval has the truth.
    """

    estimator: str
    account_error: float
    errors: tuple[float, ...]
    covered: tuple[bool, ...]
    organic_error: float


class Measured(NamedTuple):
    """A market's scores, its totals, and the truth: conversions of each ad, and of each ad's day, as in the totals."""

    scores: list[TotalsScore]
    totals: Totals
    truth: Ints
    truth_by_day: Ints


def measure(tables: Tables) -> Measured:
    """The scores of all estimators on a market. Raises TooFewMatches where there is too little to learn from."""
    exam = exam_of(tables)
    taught = lesson(exam.conversions, exam.click_index, exam.ads)
    model = learn(taught).model
    state = sums(tables, exam, taught, model)
    totals = estimate(state)
    caused = exam.cause[exam.is_caused]
    days = exam.click_index.clicks.event_ms[caused] // DAY_MS
    ad_ids = _ad_ids(tables)
    true_days = zip((ad_ids[ad] for ad in exam.ads[caused]), days.tolist(), strict=True)
    truth = np.bincount(exam.ads[caused], minlength=len(ad_ids))
    claims = {**_simple(exam, model, ad_ids), **_of_state(state, ad_ids), COMBINATION: _claim(totals.ads, ad_ids)}
    return Measured(
        scores=[_score(name, claim, truth, len(exam.ad)) for name, claim in claims.items()],
        totals=totals,
        truth=_aligned(truth.astype(np.float64), ad_ids, totals.ads.ad_ids).astype(np.int64),
        truth_by_day=_counted(list(true_days), totals.by_day),
    )


def sums(tables: Tables, exam: Exam, taught: Lesson, model: MatchModel) -> State:
    """What totals of a market are estimated from; `exam` and `taught` are its own."""
    names = ClickNames(pa.array(_ad_ids(tables)), exam.ads)
    homes = homes_of(exam.click_index.clicks)
    observations = observe(taught, exam.conversions, names, homes, tables.conversions, model)
    clicks = click_contributions(tables.clicks["ad_id"].combine_chunks(), exam.click_index.clicks.email != MISSING)
    return contributions(observations).plus(clicks)


def _ad_ids(tables: Tables) -> list[str]:
    """In the order in which an exam numbers them."""
    return sorted(set(tables.clicks["ad_id"].to_pylist()))


def by_size(found: Measured, least: int, most: int) -> tuple[list[float], list[bool]]:
    """Errors, and whether the interval has the truth, of ads with at least and fewer than so many true conversions."""
    ads, chosen = found.totals.ads, (found.truth >= least) & (found.truth < most)
    truth = found.truth[chosen]
    errors = np.abs(ads.total[chosen] / MICRO - truth) / np.maximum(truth, 1)
    return errors.tolist(), _inside(ads.low[chosen] / MICRO, truth, ads.high[chosen] / MICRO).tolist()


def by_day(found: Measured) -> tuple[list[float], list[bool]]:
    """The same of the days of ads that have enough conversions to be given a figure."""
    days, truth = found.totals.by_day, found.truth_by_day
    chosen = ~days.is_range_only
    errors = np.abs(days.total / MICRO - truth)[chosen] / np.maximum(truth[chosen], 1)
    return errors.tolist(), _inside(days.low / MICRO, truth, days.high / MICRO)[chosen].tolist()


def _simple(exam: Exam, model: MatchModel, ad_ids: list[str]) -> dict[str, Claim]:
    """Estimators that credit each conversion to one click."""
    matches = match(exam.conversions, exam.click_index, exam.ads, model)
    rung, _ = climb(exam.conversions, exam.click_index.clicks)
    ladder = np.where(matches.by_identifier, matches.click, rung)
    hard = np.where(matches.ad >= HARD, matches.click, NOBODY)
    return {"fixed ladder": _counts(exam, ladder, ad_ids), "hard matches": _counts(exam, hard, ad_ids)}


def _counts(exam: Exam, click: Ints, ad_ids: list[str]) -> Claim:
    total = np.bincount(exam.ads[click[click != NOBODY]], minlength=len(ad_ids)).astype(np.float64)
    reach = NORMAL_95 * np.sqrt(total)
    return Claim(total, total - reach, total + reach)


def _of_state(state: State, ad_ids: list[str]) -> dict[str, Claim]:
    """Simpler estimators from the same sums, with the intervals of their bootstrap."""
    sums = sums_of(state)
    found = {
        "ids only": baselines.ids_only(sums),
        "ids, one constant": baselines.one_constant(sums),
        "fractional": baselines.fractional(sums),
        "fractional + unreached": baselines.fractional_and_unreached(sums),
        "capture-recapture": baselines.capture_recapture(sums),
    }
    claims = {}
    for name, conversions in found.items():
        total = _aligned(conversions[:, 0], sums.ad_ids, ad_ids)
        reach = _aligned(NORMAL_95 * conversions[:, 1:].std(axis=1), sums.ad_ids, ad_ids)
        claims[name] = Claim(total, total - reach, total + reach)
    return claims


def _claim(figures: Figures, ad_ids: list[str]) -> Claim:
    columns = (figures.total, figures.low, figures.high)
    return Claim(*(_aligned(column / MICRO, figures.ad_ids, ad_ids) for column in columns))


def _aligned(values: Floats, of: Sequence[str], wanted: Sequence[str]) -> Floats:
    """The values in the order that is wanted, zero where there is none."""
    known = dict(zip(of, values.tolist(), strict=True))
    return np.array([known.get(name, 0.0) for name in wanted])


def _counted(found: list[tuple[str, int]], figures: Figures) -> Ints:
    counts = dict.fromkeys(zip(figures.ad_ids, figures.days, strict=True), 0)
    for key in found:
        if key in counts:
            counts[key] += 1
    return np.array(list(counts.values()), np.int64)


def _score(name: str, claim: Claim, truth: Ints, conversions: int) -> TotalsScore:
    many = truth >= MANY
    caused = int(truth.sum())
    return TotalsScore(
        estimator=name,
        account_error=float(claim.total.sum() / max(caused, 1) - 1),
        errors=tuple((np.abs(claim.total - truth)[many] / truth[many]).tolist()),
        covered=tuple(_inside(claim.low, truth, claim.high)[many].tolist()),
        organic_error=float((conversions - claim.total.sum()) / max(conversions - caused, 1) - 1),
    )


def _inside(low: Floats, truth: Ints, high: Floats) -> Mask:
    inside: Mask = (low <= truth) & (truth <= high)
    return inside
