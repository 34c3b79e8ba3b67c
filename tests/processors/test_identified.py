"""Which ad it was where an identifier names the person, on a small market."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from processors.attribution.attribute import Pending, with_credited_ads
from processors.attribution.facts import ConversionContent, Touchpoint
from processors.attribution.identified import credited_ads
from processors.matching.deterministic import CLICK_IDS, IdentifierMatches, identifier_matches
from processors.matching.learning import learn
from processors.matching.lesson import lesson
from processors.matching.match import FINGERPRINT, match
from processors.matching.model import MatchModel
from processors.simulation.evaluation import NOBODY, Exam, exam_of
from processors.simulation.parameters import World
from processors.simulation.tables import tables_of
from processors.simulation.world import simulate

#: Half of the conversions of the default market, so that some hundreds match by e-mail.
WORLD = World().scaled(0.5)


class Known(NamedTuple):
    """Conversions of which an identifier names the person, by their rows, with the person's clicks as rows."""

    conversions: np.ndarray
    paths: list[np.ndarray]


@pytest.fixture(scope="module")
def exam() -> Exam:
    return exam_of(tables_of(simulate(WORLD, seed=6), seed=6))


@pytest.fixture(scope="module")
def model() -> MatchModel:
    """Of another market than the one that is attributed."""
    other = exam_of(tables_of(simulate(WORLD, seed=7), seed=7))
    return learn(lesson(other.conversions, other.click_index, other.ads)).model


@pytest.fixture(scope="module")
def known(exam: Exam) -> Known:
    found: IdentifierMatches = identifier_matches(exam.conversions, exam.click_index.clicks)
    rows = np.flatnonzero((found.layer >= len(CLICK_IDS)) & (found.layer < FINGERPRINT))
    times = exam.click_index.clicks.event_ms
    paths = [found.pairs.click[found.pairs.conversion == row] for row in rows]
    return Known(rows, [path[np.argsort(times[path], kind="stable")] for path in paths])


def touchpoint(exam: Exam, click: int) -> Touchpoint:
    fields = dict.fromkeys(Touchpoint._fields)
    event_ms = int(exam.click_index.clicks.event_ms[click])
    return Touchpoint(
        **fields | {"click_id": str(click), "event_ms": event_ms, "ad_id": f"ad-{exam.ads[click]:02}", "content": b""}
    )


def times_of(exam: Exam, known: Known) -> list[int]:
    return exam.conversions.event_ms[known.conversions].tolist()


def test_it_is_what_matching_in_memory_says(exam: Exam, known: Known, model: MatchModel) -> None:
    in_memory = match(exam.conversions, exam.click_index, exam.ads, model)
    paths = [[touchpoint(exam, click) for click in path] for path in known.paths]
    credited = credited_ads(times_of(exam, known), paths, model)
    ads = [exam.ads[int(item.click_id)] for item in credited]
    assert [item.confidence for item in credited] == pytest.approx(in_memory.ad[known.conversions].tolist())
    assert ads == exam.ads[in_memory.click[known.conversions]].tolist()
    assert {item.model_version for item in credited} == {model.version}


def test_it_is_as_often_right_as_it_says(exam: Exam, known: Known, model: MatchModel) -> None:
    paths = [[touchpoint(exam, click) for click in path] for path in known.paths]
    credited = credited_ads(times_of(exam, known), paths, model)
    stated = np.array([item.confidence for item in credited])
    right = np.array(
        [
            exam.cause[row] != NOBODY and exam.ads[int(item.click_id)] == exam.ad[row]
            for row, item in zip(known.conversions, credited, strict=True)
        ]
    )
    error = np.sqrt(right.mean() * (1 - right.mean()) / len(right))
    assert len(right) > 300
    assert abs(stated.mean() - right.mean()) < 0.02 + 3 * error
    assert stated.mean() < 0.95  # to be sure of the person is not to be sure of the ad


def pending(layer: str, *clicks: tuple[str, int, str | None]) -> Pending:
    conversion = ConversionContent(0, 5, 10_000_000, None, None, (), b"")
    touchpoints = [
        Touchpoint(
            **dict.fromkeys(Touchpoint._fields) | {"click_id": name, "event_ms": 10_000_000 - ago_ms, "ad_id": ad}
        )
        for name, ago_ms, ad in clicks
    ]
    return Pending(("acme", "c"), conversion, touchpoints, layer, 1, 1, 0, 0)


def test_only_persons_are_asked_for_their_ad_and_only_where_there_is_a_model(model: MatchModel) -> None:
    clicks = ("k1", 7_200_000, "a"), ("k2", 3_600_000, "a"), ("k3", 1_800_000, None)
    items = [pending("email", *clicks), pending("click_id", *clicks), pending("none"), pending("visitor_id", *clicks)]
    credited = [item.credited for item in with_credited_ads(items, lambda account_id, ingest_ms: model)]
    assert [item is not None for item in credited] == [True, False, False, True]
    assert credited[0] == credited[3]
    assert with_credited_ads(items, lambda account_id, ingest_ms: None) == items


def test_clicks_of_one_ad_add_up(model: MatchModel) -> None:
    steady = replace(model, delay=np.ones_like(model.delay))
    clicks = ("k1", 9_000_000, "a"), ("k2", 8_000_000, "b"), ("k3", 7_000_000, "a"), ("k4", 6_000_000, "c")
    [item] = with_credited_ads([pending("email", *clicks)], lambda account_id, ingest_ms: steady)
    assert item.credited is not None
    assert item.credited.click_id == "k3"  # of the ad with two of four, its newest
