"""Attribution methods side by side on one market: identifiers, the fixed ladder, ours, and one taught by the truth."""

from collections.abc import Callable, Iterator

import numpy as np

from processors.matching.calibration import Judged, calibrate
from processors.matching.ladder import climb
from processors.matching.learning import learn
from processors.matching.lesson import lesson
from processors.matching.match import Matches, match
from processors.matching.model import MatchModel
from processors.simulation.chance import Mask
from processors.simulation.evaluation import NOBODY, Claims, Exam, Score, rights, score

__all__ = ["AUDITS", "THRESHOLDS", "compare"]

#: Conversions without identifier of which somebody is said to have found out the truth.
AUDITS = 300
THRESHOLDS = (0.5, 0.9)

Oracle = Callable[[Exam, Matches], Claims]


def compare(exam: Exam, rng: np.random.Generator, oracle: Oracle | None = None) -> tuple[MatchModel, list[Score]]:
    """The model learned from a market without its truth, and the scores of all methods.

    `rng` draws the audited conversions, which are left out of every score. Raises TooFewMatches as `learn` does.
    """
    model = learn(lesson(exam.conversions, exam.click_index, exam.ads)).model
    matches = match(exam.conversions, exam.click_index, exam.ads, model)
    is_open = np.flatnonzero(~matches.by_identifier)
    audited = np.sort(rng.choice(is_open, min(AUDITS, len(is_open) // 2), replace=False))
    person, ad = (right[audited].astype(np.float64) for right in rights(exam, matches.click))
    calibrated = calibrate(model, Judged(matches.person[audited], person), Judged(matches.ad[audited], ad))
    methods = {
        "ids only": _ids_only(matches),
        "fixed ladder": _ladder(exam, matches),
        "ours": _claims(matches),
        f"ours, {AUDITS} audits": _claims(match(exam.conversions, exam.click_index, exam.ads, calibrated)),
    }
    if oracle is not None:
        methods["oracle"] = oracle(exam, matches)
    unseen = np.ones(len(matches.layer), np.bool_)
    unseen[audited] = False
    return calibrated, list(_scores(exam, methods, unseen, ~matches.by_identifier & unseen))


def _scores(exam: Exam, methods: dict[str, Claims], everything: Mask, is_open: Mask) -> Iterator[Score]:
    for name, chosen in (("without id", is_open), ("all", everything)):
        for level in ("ad", "person"):
            for method, claims in methods.items():
                for threshold in THRESHOLDS:
                    yield score(exam, claims, chosen, (name, level, method), threshold)


def _claims(matches: Matches) -> Claims:
    return Claims(matches.click, matches.person, matches.ad)


def _ids_only(matches: Matches) -> Claims:
    """Whatever an identifier says is believed; of a person's clicks the likeliest is taken."""
    sure = np.where(matches.by_identifier, 1.0, 0.0)
    return Claims(np.where(matches.by_identifier, matches.click, NOBODY), sure, sure)


def _ladder(exam: Exam, matches: Matches) -> Claims:
    ids = _ids_only(matches)
    click, confidence = climb(exam.conversions, exam.click_index.clicks)
    click = np.where(matches.by_identifier, ids.click, click)
    confidence = np.where(matches.by_identifier, 1.0, confidence)
    return Claims(click, confidence, confidence)
