"""The laws of matching, on a small market."""

from dataclasses import replace

import numpy as np
import pytest

from processors.matching.calibration import Judged, calibrate, platt
from processors.matching.candidates import MAX_CANDIDATES, ClickIndex
from processors.matching.ladder import climb
from processors.matching.learning import Learned, TooFewMatches, learn, observe, relearn
from processors.matching.lesson import Lesson, lesson
from processors.matching.match import LAYERS, NONE, Matches, match
from processors.matching.model import Calibration, MatchModel
from processors.matching.statistics import Statistics, estimate
from processors.simulation.evaluation import Claims, Exam, exam_of, rights, score
from processors.simulation.parameters import World
from processors.simulation.tables import tables_of
from processors.simulation.world import simulate
from tests.processors.matching.events import click, evidence

SMALL = World().scaled(0.1)


@pytest.fixture(scope="module")
def exam() -> Exam:
    return exam_of(tables_of(simulate(SMALL, seed=5), seed=5))


@pytest.fixture(scope="module")
def taught(exam: Exam) -> Lesson:
    return lesson(exam.conversions, exam.click_index, exam.ads)


@pytest.fixture(scope="module")
def learned(taught: Lesson) -> Learned:
    return learn(taught)


@pytest.fixture(scope="module")
def model(learned: Learned) -> MatchModel:
    return learned.model


@pytest.fixture(scope="module")
def matches(exam: Exam, model: MatchModel) -> Matches:
    return match(exam.conversions, exam.click_index, exam.ads, model)


def second_half(exam: Exam) -> Lesson:
    return lesson(exam.conversions.rows(slice(len(exam.cause) // 2, None)), exam.click_index, exam.ads)


def test_candidates_and_none_sum_to_one(matches: Matches) -> None:
    count = len(matches.layer)
    total = np.bincount(matches.candidates.conversion, matches.probability, count) + matches.none
    assert total == pytest.approx(np.ones(count))
    assert np.bincount(matches.candidates.conversion).max() <= MAX_CANDIDATES
    assert (matches.unreached <= matches.none).all()


def test_confidences_are_probabilities_and_the_ad_is_no_surer_than_the_person(matches: Matches) -> None:
    assert ((matches.ad >= 0) & (matches.ad <= matches.person) & (matches.person <= 1)).all()
    assert ((matches.margin >= -1e-12) & (matches.margin <= 1)).all()


def test_identifiers_come_first_and_are_sure_of_the_person(exam: Exam, matches: Matches) -> None:
    known = matches.by_identifier
    assert (matches.person[known] == 1).all()
    assert (matches.none[known] == 0).all()
    assert rights(exam, matches.click)[0][known].all()
    by_email = matches.layer == LAYERS.index("email")
    assert matches.ad[by_email].max() < 1
    # Whose logged-in click is not the cause has clicked another ad, and about a sixth have.
    assert 0.7 < rights(exam, matches.click)[1][by_email].mean() < 0.95


def test_what_is_claimed_is_right_as_often_as_it_says(exam: Exam, matches: Matches) -> None:
    is_open = ~matches.by_identifier
    claims = Claims(matches.click, matches.person, matches.ad)
    ad = score(exam, claims, is_open, ("without id", "ad", "ours"), 0.5)
    assert ad.attributed > 0.45
    assert ad.precision > 0.8
    assert ad.organics < 0.05
    assert ad.calibration_error < 0.1


def test_nobody_who_never_clicked_is_taken_for_sure(exam: Exam, matches: Matches) -> None:
    assert (matches.ad[~exam.is_caused] >= 0.9).mean() < 0.02


def test_the_order_of_rows_does_not_matter(exam: Exam, model: MatchModel, matches: Matches) -> None:
    rng = np.random.default_rng(1)
    clicks, conversions = (rng.permutation(len(x.event_ms)) for x in (exam.click_index.clicks, exam.conversions))
    index = ClickIndex(exam.click_index.clicks.rows(clicks))
    shuffled = match(exam.conversions.rows(conversions), index, exam.ads[clicks], model)
    found = np.where(shuffled.click < 0, -1, clicks[shuffled.click])
    assert (found == matches.click[conversions]).all()
    assert (shuffled.layer == matches.layer[conversions]).all()
    assert shuffled.person == pytest.approx(matches.person[conversions])


def test_a_batch_may_be_cut_anywhere(exam: Exam, model: MatchModel, matches: Matches) -> None:
    part = match(exam.conversions.rows(slice(700, 900)), exam.click_index, exam.ads, model)
    assert (part.click == matches.click[700:900]).all()
    assert part.ad == pytest.approx(matches.ad[700:900])


def test_a_model_survives_being_written(model: MatchModel) -> None:
    calibrated = model.calibrated(Calibration(1.1, -0.2), Calibration())
    again = MatchModel.from_json(calibrated.to_json())
    assert again.version == calibrated.version != model.version
    assert len(model.to_json()) < 100_000
    with pytest.raises(ValueError, match="estimate it anew"):
        MatchModel.from_json("{}")
    with pytest.raises(ValueError, match="delay has shape"):
        replace(model, delay=np.ones(3))


def test_sums_of_periods_add_up(taught: Lesson, model: MatchModel) -> None:
    sums = observe(taught, model)
    twice = estimate(sums.plus(sums), taught.languages)
    once = estimate(sums, taught.languages)
    assert twice.organic == pytest.approx(once.organic)
    assert twice.fitted_on == 2 * once.fitted_on
    assert estimate(sums.plus(sums, fading=0), taught.languages).version == once.version


def test_sums_survive_being_written(learned: Learned) -> None:
    again = Statistics.from_json(learned.sums.to_json())
    for mine, theirs in zip(learned.sums, again, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-8)
    assert len(learned.sums.to_json()) < 100_000
    for text in ("{}", learned.sums.to_json().replace('"delays": [', '"delays": [1, ')):
        with pytest.raises(ValueError, match="sums of"):
            Statistics.from_json(text)


@pytest.mark.parametrize("fading", [0.0, 0.5, 0.97])
def test_the_same_lesson_again_teaches_nothing_new(taught: Lesson, learned: Learned, fading: float) -> None:
    again = relearn(taught, learned.sums, fading)
    assert again.model.organic == pytest.approx(learned.model.organic, abs=0.005)
    assert again.model.fitted_on == learned.model.fitted_on
    assert again.sums.identified == pytest.approx(learned.sums.identified)


def test_no_time_passed_changes_no_sums(exam: Exam, learned: Learned) -> None:
    assert relearn(second_half(exam), learned.sums, 1.0).sums.to_json() == learned.sums.to_json()


def test_what_was_learned_before_fades(exam: Exam, learned: Learned) -> None:
    half = second_half(exam)
    alone = learn(half).sums
    both = relearn(half, learned.sums, 0.25).sums
    assert both.identified == pytest.approx(0.25 * learned.sums.identified + 0.75 * alone.identified)


def test_matches_by_identifier_that_have_run_out_are_said(taught: Lesson, learned: Learned) -> None:
    few = learned.sums.times(20 / learned.sums.identified)
    with pytest.raises(TooFewMatches, match="20 conversions match"):
        relearn(taught, few, 1.0)


def test_without_clicks_what_is_known_only_fades(exam: Exam, learned: Learned) -> None:
    nothing = ClickIndex(exam.click_index.clicks.rows(slice(0)))
    again = relearn(lesson(exam.conversions, nothing, np.zeros(0, np.int64)), learned.sums, 0.9)
    assert again.sums.identified == pytest.approx(0.9 * learned.sums.identified)


def test_delays_and_organic_share_are_learned(model: MatchModel) -> None:
    cumulated = np.cumsum(model.delay * np.diff(np.r_[0, np.geomspace(1 / 30, 720, 37)]))
    assert cumulated[-1] == pytest.approx(1)
    assert 0.35 < model.organic < 0.65


def test_too_little_to_learn_from_is_said() -> None:
    clicks = evidence(click(1, 0), click(2, 1))
    with pytest.raises(TooFewMatches, match="0 conversions match a click by e-mail"):
        learn(lesson(evidence({"at_h": 2}), ClickIndex(clicks), np.zeros(2, np.int64)))


@pytest.mark.parametrize("name", ["click_id", "fbclid", "email_sha256"])
def test_an_identifier_that_differs_forbids_a_match(name: str, model: MatchModel) -> None:
    clicks = evidence(click(1, 0, fbclid="f1", email_sha256="a" * 64))
    conversion = {"at_h": 1, name: "b" * 64}
    for changes, layer in (({}, "none"), ({name: None}, "ip")):
        found = match(evidence(conversion | changes), ClickIndex(clicks), np.zeros(1, np.int64), model)
        assert LAYERS[found.layer[0]] in (layer, "fingerprint")
        assert (found.click[0] < 0) == (layer == "none")


def test_layers_are_named_for_their_evidence(model: MatchModel) -> None:
    windows = {"user_agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/138.0.0.0", "screen_width": 1920}
    crowd = [click(n, 0, ip=f"198.51.{n}.7") for n in range(100, 200)]
    index = ClickIndex(evidence(click(0, 0), *crowd, click(1, 0, ip="203.0.113.5", screen_width=500)))
    conversions = evidence(
        {"at_h": 5, **windows},
        {"at_h": 400, **windows},
        {"at_h": 5, "ip": "203.0.113.200", "screen_width": 500},
        {"at_h": 5, **windows, "ip": "100.64.0.1"},
        {"at_h": 5, "click_id": "k0"},
        {"at_h": 5, "click_id": "of another channel"},
    )
    found = match(conversions, index, np.zeros(102, np.int64), model)
    names = [LAYERS[number] for number in found.layer]
    assert names == ["ip", "probabilistic", "fingerprint", "none", "click_id", "none"]
    assert found.person[-1] == 0
    assert found.layer[3] == NONE


def test_audits_correct_what_is_overstated_and_few_change_little(
    exam: Exam, model: MatchModel, matches: Matches
) -> None:
    person, ad = rights(exam, matches.click)
    audited = np.flatnonzero(~matches.by_identifier)[:300]
    judged = [
        Judged(confidence[audited], right[audited].astype(np.float64))
        for confidence, right in ((matches.person, person), (matches.ad, ad))
    ]
    calibrated = calibrate(model, *judged)
    assert calibrated.version != model.version
    assert 0.7 < calibrated.calibrate_ad.slope < 1.5
    assert platt(np.array([]), np.array([])) == Calibration()


def test_the_ladder_attributes_everybody(exam: Exam, matches: Matches) -> None:
    found, confidence = climb(exam.conversions, exam.click_index.clicks)
    assert (found >= 0).mean() > 0.99
    assert set(np.round(confidence, 2)) <= {0.0, 0.4, 0.7, 0.95}
    is_open = ~matches.by_identifier
    ladder = score(exam, Claims(found, confidence, confidence), is_open, ("without id", "ad", "ladder"), 0.9)
    assert ladder.precision < 0.4
    assert ladder.organics > 0.2
