"""How well attribution could do: gradient boosting on the true labels of another market. No deployment has them.

It sees the same candidates and the same evidence as the matcher. Where it is no better, more cannot be had from them.
"""

from typing import Any

import numpy as np

from processors.matching.candidates import Counts, Ints, Pairs
from processors.matching.decision import best_of
from processors.matching.deterministic import identifier_matches
from processors.matching.match import Matches
from processors.matching.model import Floats
from processors.matching.patterns import DEVICES, common_languages
from processors.matching.persons import persons
from processors.matching.posterior import Scene, scene_of
from processors.simulation.evaluation import Claims, Exam

__all__ = ["Oracle", "OracleMissing"]

AGREEMENTS = ("ip", "block", "fingerprint", "device", "system", "family", "screen", "language", "time_zone")
SETTINGS = {"max_iter": 200, "learning_rate": 0.06, "max_leaf_nodes": 31, "l2_regularization": 1.0}
SMALLEST_LEAF = 40


class OracleMissing(Exception):
    """scikit-learn is not installed."""


class Oracle:
    """Learns from the truth of one market, and claims on others."""

    def __init__(self, exam: Exam, seed: int) -> None:
        scene, counts = _scene(exam)
        features, truth = _features(exam, scene, counts), exam.cause[scene.pairs.conversion] == scene.pairs.click
        half = np.random.default_rng(seed).random(len(exam.cause))[scene.pairs.conversion] < 0.5
        first = np.zeros(len(truth))
        self._halves = []
        for mine in (half, ~half):
            self._halves.append(_boosted(seed).fit(features[mine], truth[mine]))
            first[~mine] = self._halves[-1].predict_proba(features[~mine])[:, 1]
        self._second = _boosted(seed).fit(_in_company(exam, scene, features, first), truth)

    def __call__(self, exam: Exam, matches: Matches) -> Claims:
        """Claims on a market; what identifiers say is left as it is."""
        scene, counts = _scene(exam)
        features = _features(exam, scene, counts)
        first = np.mean([model.predict_proba(features)[:, 1] for model in self._halves], axis=0)
        likely = self._second.predict_proba(_in_company(exam, scene, features, first))[:, 1]
        pairs, count = scene.pairs, len(exam.cause)
        likely /= np.maximum(np.bincount(pairs.conversion, likely, count), 1)[pairs.conversion]
        clicks = exam.click_index.clicks
        found = best_of(
            pairs, likely, persons(pairs, clicks), exam.ads[pairs.click], clicks.click_id[pairs.click], count
        )
        known = matches.by_identifier
        return Claims(
            click=np.where(known, matches.click, found.click),
            person=np.where(known, matches.person, found.person),
            ad=np.where(known, matches.ad, found.person * found.ad_share),
        )


def _scene(exam: Exam) -> tuple[Scene, Counts]:
    """The candidates of conversions that no identifier matches."""
    clicks, counts = exam.click_index.clicks, exam.click_index.counts(exam.conversions)
    scene = scene_of(
        exam.click_index.candidates(exam.conversions),
        exam.conversions,
        clicks,
        counts,
        common_languages(exam.click_index),
    )
    is_open = identifier_matches(exam.conversions, clicks).layer < 0
    return scene.rows(is_open[scene.pairs.conversion]), counts


def _boosted(seed: int) -> Any:
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
    except ImportError as error:
        raise OracleMissing("the oracle needs scikit-learn: install spendloop[local], or leave it out") from error
    return HistGradientBoostingClassifier(min_samples_leaf=SMALLEST_LEAF, random_state=seed, **SETTINGS)


def _features(exam: Exam, scene: Scene, counts: Counts) -> Floats:
    """What is known of each pair by itself."""
    clicks, conversions, pairs = exam.click_index.clicks, exam.conversions, scene.pairs
    columns = [np.log(scene.gap_h + 0.01), scene.pattern // len(DEVICES), scene.pattern % len(DEVICES)]
    for name in AGREEMENTS:
        columns.append(getattr(conversions, name)[pairs.conversion] == getattr(clicks, name)[pairs.click])
    columns += [np.log1p(count[pairs.conversion]) for count in counts]
    person = persons(pairs, clicks)
    columns += [
        _rank(pairs.conversion, scene.gap_h),
        _rank(person, scene.gap_h),
        np.bincount(person, minlength=len(person))[person],
        np.bincount(pairs.conversion)[pairs.conversion],
        conversions.email[pairs.conversion] != 0,
        clicks.email[pairs.click] != 0,
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def _in_company(exam: Exam, scene: Scene, features: Floats, likely: Floats) -> Floats:
    """The same beside what is likely of the conversion's other candidates, of the person's and of the ad's."""
    pairs: Pairs = scene.pairs
    person = persons(pairs, exam.click_index.clicks)
    ad = np.unique(person * (int(exam.ads.max()) + 1) + exam.ads[pairs.click], return_inverse=True)[1]
    together = [np.bincount(group, likely)[group] for group in (pairs.conversion, person, ad)]
    most = np.zeros(int(pairs.conversion.max(initial=0)) + 1)
    np.maximum.at(most, pairs.conversion, likely)
    return np.column_stack([features, likely, together[0] - likely, *together[1:], most[pairs.conversion]])


def _rank(group: Ints, values: Floats) -> Ints:
    """0 for the smallest value of each group, 1 for the next, ..."""
    order = np.lexsort((values, group))
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(group[order], group[order], "left")
    return rank
