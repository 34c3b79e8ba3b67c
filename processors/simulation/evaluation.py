"""Claims of an attribution method held against the truth of a simulated market."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import ClickIndex
from processors.matching.evidence import Evidence, evidence_of
from processors.simulation.chance import Floats, Ints, Mask
from processors.simulation.tables import Tables

__all__ = ["Claims", "Exam", "Score", "calibration_error", "exam_of", "rights", "score"]

BINS = 10
NOBODY = -1


class Exam(NamedTuple):
    """A market to be attributed, and its truth: person and ad of each click, buyer and ad (or NOBODY) of each
    conversion, and the click that caused it (or NOBODY)."""

    conversions: Evidence
    click_index: ClickIndex
    ads: Ints
    click_person: Ints
    person: Ints
    ad: Ints
    cause: Ints

    @property
    def is_caused(self) -> Mask:
        """Conversions that an ad caused."""
        return np.not_equal(self.cause, NOBODY)


class Claims(NamedTuple):
    """What a method says: the click it credits, as a row (-1 for none), and how sure it is of person and ad."""

    click: Ints
    person: Floats
    ad: Floats


@dataclass(frozen=True, slots=True)
class Score:
    """How a method did on a set of conversions, of those it claimed with at least `threshold`.

    attributed, right: shares of the conversions an ad caused. precision: right ones of all claimed. organics: share of
    organic conversions that were claimed. calibration_error: of those claimed.
    """

    conversions: str
    level: str
    method: str
    threshold: float
    attributed: float
    right: float
    precision: float
    organics: float
    calibration_error: float


def exam_of(tables: Tables) -> Exam:
    """The exam a market sets."""
    clicks, truth = tables.clicks, tables.conversion_truth
    _, ads = np.unique(clicks["ad_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)
    rows = {click_id: row for row, click_id in enumerate(clicks["click_id"].to_pylist())}
    cause = np.array([rows.get(click_id, NOBODY) for click_id in truth["caused_by"].to_pylist()], np.int64)
    return Exam(
        conversions=evidence_of(tables.conversions, "event_source_url"),
        click_index=ClickIndex(evidence_of(clicks, "landing_url")),
        ads=ads,
        click_person=tables.click_truth["person_id"].to_numpy(),
        person=truth["person_id"].to_numpy(),
        ad=np.where(cause == NOBODY, NOBODY, ads[cause]),
        cause=cause,
    )


def rights(exam: Exam, click: Ints) -> tuple[Mask, Mask]:
    """Whether the credited click is the buyer's, and whether its ad is the right one, too."""
    found = exam.is_caused & (click != NOBODY)
    person = found & (exam.click_person[click] == exam.person)
    return person, person & (exam.ads[click] == exam.ad)


def score(exam: Exam, claims: Claims, chosen: Mask, names: tuple[str, str, str], threshold: float) -> Score:
    """The score on the `chosen` conversions. `names`: of the set, of the level (person or ad) and of the method."""
    person, ad = rights(exam, claims.click)
    confidence, right = (claims.person, person) if names[1] == "person" else (claims.ad, ad)
    claimed = chosen & (claims.click != NOBODY) & (confidence >= threshold)
    caused = chosen & exam.is_caused
    return Score(
        *names,
        threshold=threshold,
        attributed=_share(claimed & exam.is_caused, caused),
        right=_share(claimed & right, caused),
        precision=_share(claimed & right, claimed),
        organics=_share(claimed & ~exam.is_caused, chosen & ~exam.is_caused),
        calibration_error=calibration_error(confidence[claimed], right[claimed]),
    )


def calibration_error(confidence: Floats, right: npt.ArrayLike) -> float:
    """By how much confidence and frequency differ, on average over ten bins weighted by their claims (ECE).

    >>> calibration_error(np.array([0.95, 0.95]), [True, False])
    0.45
    """
    if not len(confidence):
        return 0.0
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(bins, confidence - np.asarray(right, np.float64), BINS)
    return round(float(np.abs(gap).sum() / len(confidence)), 9)


def _share(part: Mask, whole: Mask) -> float:
    return float(part.sum() / max(1, whole.sum()))
