"""Totals of a small market, held against its truth."""

import pytest

from processors.simulation.parameters import WORLDS, vary
from processors.simulation.summary import summary_of
from processors.simulation.tables import tables_of
from processors.simulation.totals import COMBINATION, Measured, by_day, by_size, measure
from processors.simulation.world import simulate
from processors.totals.state import MICRO

SMALL = vary(WORLDS["audiences"].scaled(0.15), {"ads": 5, "ad_size_sigma": 0.3})


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure(tables_of(simulate(SMALL, seed=3), seed=3))


def test_the_combination_is_nearer_than_what_other_tools_report(measured: Measured) -> None:
    scores = {score.estimator: score for score in measured.scores}
    assert abs(scores[COMBINATION].account_error) < 0.12
    for simpler in ("fixed ladder", "hard matches", "ids only"):
        assert abs(scores[COMBINATION].account_error) < abs(scores[simpler].account_error)
        assert sum(scores[COMBINATION].errors) < sum(scores[simpler].errors)
    assert scores["ids only"].account_error < -0.35
    assert scores["fixed ladder"].organic_error < -0.95


def test_truth_and_totals_are_of_the_same_conversions(measured: Measured) -> None:
    assert measured.truth.sum() == SMALL.ad_caused
    assert measured.truth_by_day.sum() <= SMALL.ad_caused
    assert measured.totals.conversions == (SMALL.ad_caused + SMALL.organic) * MICRO
    errors, covered = by_size(measured, 100, 10**9)
    assert len(errors) == len(covered) == (measured.truth >= 100).sum()
    assert len(by_day(measured)[0]) == (~measured.totals.by_day.is_range_only).sum()


def test_a_summary_has_a_row_for_each_estimator_and_the_combinations_parts(measured: Measured) -> None:
    rows = {row.estimator: row for row in summary_of("small", [measured, measured])}
    assert rows[COMBINATION].count == 2
    assert rows[COMBINATION].alarms == 2 * measured.totals.is_alarm
    assert rows[COMBINATION].account_worst == pytest.approx(abs(measured.scores[-1].account_error), abs=1e-4)
    assert {f"{COMBINATION}, ads of 30 to 99", f"{COMBINATION}, days of an ad"} <= rows.keys()
    assert rows["ids only"].disagreement is None


def test_those_who_log_in_switch_devices_more_often_where_the_world_says_so() -> None:
    market = simulate(vary(SMALL, {"switchers_log_in": 1.0}), seed=3)
    conversions, clicks, people = market.conversions, market.clicks, market.people
    caused = conversions.cause >= 0
    crosses = conversions.device[caused] != clicks.device[conversions.cause[caused]]
    habit = people.login[conversions.person[caused]]
    assert crosses[habit < 0.3].mean() > 2 * crosses[habit > 0.7].mean()
