"""An excerpt answers what all clicks would have answered, however they are cut and ordered."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.matching import census, excerpt
from processors.matching.candidates import DAY_MS, KINDS, ClickIndex, evidence_keys
from processors.matching.census import Crowds, KeyTally
from processors.matching.deterministic import CLICK_IDS, identifier_matches
from processors.matching.evidence import MISSING, Evidence
from processors.matching.excerpt import Excerpt, Sight
from processors.matching.learning import learn
from processors.matching.lesson import lesson
from processors.matching.tally import ListTally, devices_of
from processors.simulation.evaluation import exam_of
from processors.simulation.parameters import World
from processors.simulation.tables import tables_of
from processors.simulation.world import simulate

START_MS = 1_760_000_000_000


def visits(rng: np.random.Generator, count: int, variety: int, days: int) -> Evidence:
    """Visits of which every value is one of a few, or missing."""

    def some(kinds: int, missing: float = 0.1) -> np.ndarray:
        values = rng.integers(1, kinds + 1, count).astype(np.uint64)
        return np.where(rng.random(count) < missing, MISSING, values)

    columns = {name: some(variety) for name in Evidence._fields if name != "event_ms"}
    # What two have in common at the finer grain they have at the coarser.
    columns["device"] = np.where(columns["fingerprint"] == MISSING, MISSING, columns["fingerprint"] % 3 + 1)
    columns["block"] = np.where(columns["ip"] == MISSING, MISSING, columns["ip"] % 2 + 1)
    columns["site"] = some(2, 0)
    columns["visitor"] = some(max(1, count // 2), 0.3)
    columns |= {name: some(count, 0.8) for name in ("fbclid", "email", "phone", "external_id")}
    columns["language"] = some(4, 0.2)
    event_ms = START_MS + rng.integers(0, days * DAY_MS, count)
    return Evidence(event_ms=event_ms, **columns)


def clicks_of(rng: np.random.Generator, count: int, variety: int, days: int) -> Sight:
    clicks = visits(rng, count, variety, days)._replace(click_id=rng.permutation(count).astype(np.uint64) + 1)
    return Sight(clicks, rng.integers(0, 4, count).astype(np.uint64))


def passed(conversions: Evidence, sight: Sight, parts: list[np.ndarray]) -> Excerpt:
    made = Excerpt(conversions)
    for part in parts:
        made.add(sight.rows(part))
    visitors = made.visitors
    for part in parts:
        made.add_of_visitors(sight.rows(part[np.isin(sight.clicks.visitor[part], visitors)]))
    return made


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    clicks=st.integers(0, 1_500),
    conversions=st.integers(1, 40),
    variety=st.integers(1, 60),
    days=st.integers(1, 30),  # what is learned from
    cuts=st.integers(1, 6),
    waiting=st.sampled_from([1, 50, 100_000]),
)
def test_it_answers_what_all_clicks_would(
    seed: int, clicks: int, conversions: int, variety: int, days: int, cuts: int, waiting: int
) -> None:
    rng = np.random.default_rng(seed)
    sight, buyers = clicks_of(rng, clicks, variety, days), visits(rng, conversions, variety, days)
    parts = np.array_split(rng.permutation(clicks), cuts)
    with patch.object(excerpt, "WAITING", waiting), patch.object(census, "WAITING", waiting):
        found, ads = passed(buyers, sight, parts).index()
    full = ClickIndex(sight.clicks)
    blind = buyers._replace(**{name: np.zeros_like(buyers.site) for name in CLICK_IDS})

    for one, other in (
        (full.candidates(buyers), found.candidates(buyers)),
        (full.placebos(buyers), found.placebos(buyers)),
        *(
            (identifier_matches(asked, full.clicks).pairs, identifier_matches(asked, found.clicks).pairs)
            for asked in (buyers, blind)
        ),
    ):
        expected = zip(one.conversion.tolist(), full.clicks.click_id[one.click].tolist(), strict=True)
        assert list(zip(other.conversion.tolist(), found.clicks.click_id[other.click].tolist(), strict=True)) == list(
            expected
        )
    assert [column.tolist() for column in found.counts(buyers)] == [column.tolist() for column in full.counts(buyers)]
    assert [column.tolist() for column in found.languages] == [column.tolist() for column in full.languages]
    assert found.end_ms == full.end_ms
    row_of = {number: row for row, number in enumerate(sight.clicks.click_id.tolist())}
    of_all = sight.ads[[row_of[number] for number in found.clicks.click_id.tolist()]]
    assert ((ads == -1) == (of_all == MISSING)).all()
    assert (
        np.unique(ads[ads >= 0], return_inverse=True)[1] == np.unique(of_all[ads >= 0], return_inverse=True)[1]
    ).all()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32),
    clicks=st.integers(1, 3_000),
    variety=st.integers(1, 8),
    days=st.integers(1, 40),
    cuts=st.integers(1, 6),
)
def test_counting_in_passing_is_counting(seed: int, clicks: int, variety: int, days: int, cuts: int) -> None:
    rng = np.random.default_rng(seed)
    all_clicks = clicks_of(rng, clicks, variety, days).clicks
    columns = KINDS["ip"]
    keys, on_day, devices = evidence_keys(all_clicks, columns), all_clicks.event_ms // DAY_MS, devices_of(all_clicks)
    given_keys = np.flatnonzero(keys != MISSING)
    order = given_keys[np.argsort(keys[given_keys], kind="stable")]
    values, codes = np.unique(keys[order], return_inverse=True)
    at_once = ListTally(values, codes, on_day[order], devices[order])
    with patch.object(census, "WAITING", 10):
        passing = KeyTally(keys, capped=True)
        for part in np.array_split(rng.permutation(clicks), cuts):
            passing.add(keys[part], on_day[part], devices[part])
    unknown = np.array([12_345, 0], np.uint64)
    asked, asked_days = np.append(keys, unknown), np.append(on_day, [on_day[0], on_day[0]])
    assert (passing.clicks(asked) == at_once.clicks(asked)).all()
    assert (passing.is_crowd(asked) == at_once.is_crowd(asked)).all()
    quiet = ~at_once.is_crowd(asked)  # of a crowd's days nobody asks
    assert (passing.is_crowded_day(asked, asked_days)[quiet] == at_once.is_crowded_day(asked, asked_days)[quiet]).all()


def test_a_crowd_is_remembered_by_no_more_than_its_limit() -> None:
    crowds = Crowds(100)
    group, members = np.full(50_000, 7, np.uint64), np.arange(50_000, dtype=np.uint64)
    for part in np.array_split(members, 10):
        crowds.add(group[: len(part)], part)
        assert crowds.holds(group[:1]).all()
        assert len(crowds._pairs) == 0


def test_what_is_kept_has_a_bound() -> None:
    """However many clicks there are of those a conversion may be matched with."""
    rng = np.random.default_rng(3)
    conversions = visits(rng, 5, variety=2, days=30)
    made = Excerpt(conversions)
    with patch.object(excerpt, "WAITING", 1_000):
        for number in range(20):
            sight = clicks_of(rng, 2_000, variety=2, days=30)
            more = np.uint64(2_000 * number)
            nobody = dict.fromkeys(("fbclid", "email", "phone", "external_id"), np.zeros(2_000, np.uint64))
            made.add(Sight(sight.clicks._replace(click_id=sight.clicks.click_id + more, **nobody), sight.ads))
            assert sum(len(part.ads) for part in made._kept) < 4_000
    assert len(made.index()[1]) <= 5 * 2 * 56
    assert made.census.clicks == 40_000


def test_a_click_that_comes_twice_is_one_candidate() -> None:
    rng = np.random.default_rng(4)
    sight, conversions = clicks_of(rng, 200, 4, 30), visits(rng, 10, 4, 30)
    once, twice = (passed(conversions, sight, [np.arange(200)] * times).index()[0] for times in (1, 2))
    assert (once.clicks.click_id == twice.clicks.click_id).all()


@pytest.mark.parametrize("cuts", [1, 7])
def test_a_lesson_from_it_is_the_lesson_from_all(cuts: int) -> None:
    tables = tables_of(simulate(World().scaled(0.05), seed=12), seed=12)
    exam = exam_of(tables)
    everything = learn(lesson(exam.conversions, exam.click_index, exam.ads))
    sight = Sight(exam.click_index.clicks, exam.ads.astype(np.uint64) + 1)
    parts = np.array_split(np.random.default_rng(1).permutation(len(exam.ads)), cuts)
    with patch.object(excerpt, "WAITING", 1_000):
        made = passed(exam.conversions, sight, parts)
        learned = learn(lesson(exam.conversions, *made.index()))
    assert learned.model.version == everything.model.version
    assert learned.sums.to_json() == everything.sums.to_json()
