"""Totals conserve what was counted, whatever the sums; and follow what can be said of a case by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.totals.contributions import contributions
from processors.totals.estimate import Settings, Totals, estimate
from processors.totals.holdout import Holdout, incremental
from processors.totals.state import MICRO, State
from tests.processors.totals.observed import ADS, Row, clicked, share, some_rows, table


def check_conservation(found: list[Row], totals: Totals) -> None:
    assert totals.conversions == len(found) * MICRO
    assert totals.attributed + totals.organic == totals.conversions
    assert 0 <= totals.attributed <= totals.conversions
    assert totals.ads.total.sum() == totals.by_day.total.sum() == totals.attributed
    value = sum(row["value_micros"] or 0 for row in found)
    assert totals.ads.value.sum() + totals.organic_value == totals.by_day.value.sum() + totals.organic_value == value
    for figures in (totals.ads, totals.by_day):
        assert (figures.deterministic + figures.expected + figures.remainder == figures.total).all()
        for part in (figures.deterministic, figures.expected, figures.remainder, figures.low):
            assert (part >= 0).all()
        assert (figures.low <= figures.total).all()
        assert (figures.total <= figures.high).all()
        assert (figures.high <= totals.conversions).all()


@given(found=some_rows())
@settings(max_examples=40, deadline=None)
def test_ads_and_organic_are_the_conversions_counted(found: list[Row]) -> None:
    check_conservation(found, estimate(contributions(table(found))))


@given(found=some_rows(), names=st.permutations(ADS))
@settings(max_examples=40, deadline=None)
def test_other_names_for_the_ads_change_no_total(found: list[Row], names: list[str]) -> None:
    renamed = dict(zip(ADS, names, strict=True))

    def rename(click: Row | None) -> Row | None:
        return click and {**click, "ad_id": renamed[click["ad_id"]]}

    others = [
        {**row, "click": rename(row["click"])}
        | {name: row[name] and [rename(item) for item in row[name]] for name in ("person", "evidence")}
        for row in found
    ]
    one, other = estimate(contributions(table(found))), estimate(contributions(table(others)))
    assert other.attributed == pytest.approx(one.attributed, abs=2)
    by_ad = dict(zip(other.ads.ad_ids, other.ads.total.tolist(), strict=True))
    for ad_id, total in zip(one.ads.ad_ids, one.ads.total.tolist(), strict=True):
        assert by_ad[renamed[ad_id]] == pytest.approx(total, abs=20)


def test_an_account_without_conversions_has_no_totals() -> None:
    totals = estimate(State())
    assert (totals.conversions, totals.attributed, totals.organic, len(totals.ads.ad_ids)) == (0, 0, 0, 0)
    assert not totals.is_alarm


def market(ads: dict[str, int], organic: int, seed: int = 5) -> list[Row]:
    """Ads with so many conversions, half of them with click id and a third with an identifier of the person; the
    evidence reaches every second one, and is as sure of it as it is right."""
    dice = np.random.default_rng(seed)
    found: list[Row] = []
    for ad_id, count in ads.items():
        for _ in range(count):
            row: Row = {"unreached": 0.3, "evidence": []}
            reached = bool(dice.random() < 0.5)
            if dice.random() < 0.5:
                row["click"] = clicked(ad_id)
            if dice.random() < 1 / 3:
                row["person"] = [share(ad_id, 1.0, reached=reached)]
            if reached:
                row |= {"evidence": [share(ad_id, 0.95)], "unreached": 0.02}
            found.append(row)
    found += [{"unreached": 0.3, "evidence": []} for _ in range(organic)]
    for number, row in enumerate(found):
        known = "click" in row or "person" in row
        row |= {"conversion_id": f"c{number}", "knock_out": 0.0 if known else None}
    return found


def test_what_nothing_reaches_is_made_up_for() -> None:
    totals = estimate(contributions(table(market({"big": 2_000, "small": 400, "tiny": 12}, organic=1_500))))
    by_ad = dict(zip(totals.ads.ad_ids, totals.ads.total / MICRO, strict=True))
    assert by_ad == pytest.approx({"big": 2_000, "small": 400, "tiny": 12}, rel=0.08, abs=6)
    assert totals.attributed / MICRO == pytest.approx(2_412, rel=0.05)
    assert totals.interval[0] < 2_412 * MICRO < totals.interval[1]
    assert not totals.is_alarm
    only_range = dict(zip(totals.ads.ad_ids, totals.ads.is_range_only.tolist(), strict=True))
    assert only_range == {"big": False, "small": False, "tiny": True}


def test_identifiers_that_depend_on_each_other_raise_the_alarm() -> None:
    found = market({"big": 3_000}, organic=1_500)
    # Whoever has a click id is rarely known by an identifier of the person.
    dependent = [{**row, "person": []} if "click" in row and n % 3 else row for n, row in enumerate(found)]
    totals = estimate(contributions(table(dependent)))
    assert totals.is_alarm
    assert totals.account_totals[0] > 1.1 * totals.account_totals[1]
    assert not estimate(contributions(table(found)), Settings(alarm_disagreement=0.08)).is_alarm


def test_without_click_ids_the_evidence_is_what_there_is() -> None:
    found = [{**row, "click": None} for row in market({"a": 600}, organic=300)]
    totals = estimate(contributions(table(found)))
    assert totals.account_totals[0] == totals.account_totals[1]
    assert not totals.is_alarm
    assert totals.attributed / MICRO == pytest.approx(600, rel=0.15)


def test_a_handful_of_conversions_raises_no_alarm() -> None:
    few = market({"a": 20}, organic=10)
    totals = estimate(contributions(table(few)))
    check_conservation([{"value_micros": None, **row} for row in few], totals)
    assert not totals.is_alarm
    assert totals.interval[0] < totals.attributed < totals.interval[1]


def test_fewest_conversions_decide_what_has_a_figure() -> None:
    state = contributions(table(market({"a": 50}, organic=5)))
    assert not estimate(state, Settings(fewest_conversions=10)).ads.is_range_only.any()
    assert estimate(state, Settings(fewest_conversions=500)).ads.is_range_only.all()


def test_a_hold_out_scales_beside_the_totals() -> None:
    ads = estimate(contributions(table(market({"a": 500}, organic=100)))).ads
    found = incremental(Holdout("geo 2026-03", factor=0.6, low=0.5, high=0.7), ads.total, ads.low, ads.high)
    assert found.total == pytest.approx(0.6 * ads.total, abs=1)
    assert (found.high - found.low) / found.total > (ads.high - ads.low) / ads.total
