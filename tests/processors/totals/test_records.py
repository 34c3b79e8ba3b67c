"""Records of totals are of the contract, and sum to what was counted."""

from typing import Any

import pyarrow.compute as pc
import pytest

from processors.totals.contributions import contributions
from processors.totals.estimate import estimate
from processors.totals.holdout import Holdout, HoldoutTest, holdouts_of
from processors.totals.records import Published, RowKey, total_records
from processors.totals.state import MICRO, State
from tests.processors.totals.observed import clicked, share, table

ROWS = [
    *({"conversion_id": f"a{n}", "click": clicked("a", 20_000 + n % 3), "value_micros": 7} for n in range(40)),
    *({"conversion_id": f"b{n}", "evidence": [share("b", 0.5)], "unreached": 0.1} for n in range(10)),
    {"conversion_id": "nobody's"},
]


DAY = 20_000


def published(**more: Any) -> Published:
    return Published("t", 1_750_000_000_000, DAY - 3, DAY + 4, **more)


def test_records_of_ads_and_organic_are_all_conversions() -> None:
    totals = estimate(contributions(table(ROWS)))
    records = total_records(totals, published(currency="EUR", ad_accounts={"a": "act"}))
    records.validate(full=True)
    whole = records.filter(pc.equal(records["days"], 8))
    assert pc.sum(whole["total_micros"]).as_py() == len(ROWS) * MICRO
    assert pc.sum(whole["value_micros"]).as_py() == 40 * 7
    assert {str(day) for day in whole["day"].to_pylist()} == {"2024-10-08"}
    [organic] = whole.filter(whole["is_organic"]).to_pylist()
    assert organic["low_micros"] <= organic["total_micros"] == totals.organic <= organic["high_micros"]
    by_day = records.filter(pc.equal(records["days"], 1))
    assert pc.sum(by_day["total_micros"]).as_py() == totals.attributed
    first = next(row for row in by_day.to_pylist() if row["ad_id"] == "a")
    assert (first["ad_account_id"], str(first["day"]), first["incremental_micros"]) == ("act", "2024-10-04", None)


def test_a_hold_out_fills_columns_of_its_own() -> None:
    totals = estimate(contributions(table(ROWS)))
    plain = total_records(totals, published()).to_pylist()
    tests = {"a": Holdout("geo", 0.5, 0.4, 0.6)}
    calibrated = total_records(totals, published(holdouts=tests)).to_pylist()
    assert sum(row["holdout"] == "geo" for row in calibrated) == 4
    for one, other in zip(plain, calibrated, strict=True):
        assert one["total_micros"] == other["total_micros"]
        if other["ad_id"] == "a":
            assert other["incremental_micros"] == pytest.approx(one["total_micros"] / 2, abs=1)
            assert (one["holdout"], other["holdout"]) == (None, "geo")
        else:
            assert one == other


def test_what_an_earlier_estimate_has_and_this_one_has_not_is_said_to_be_empty() -> None:
    totals = estimate(contributions(table(ROWS)))
    plain = total_records(totals, published(ad_accounts={"a": "act"}))
    known = [
        *(RowKey("act", "a", DAY, 1), RowKey("act", "a", DAY + 4, 8), RowKey("", "b", DAY, 1)),
        *(RowKey("", "a", DAY, 1), RowKey("", "", DAY, 1), RowKey("act", "gone", DAY + 4, 8)),
    ]
    records = total_records(totals, published(ad_accounts={"a": "act"}), known)
    records.validate(full=True)
    rows = [row for row in records.to_pylist() if row not in plain.to_pylist()]
    assert [(row["ad_account_id"], row["ad_id"], row["days"]) for row in rows] == [
        *((None, None, 1), (None, "a", 1), ("act", "gone", 8)),
    ]
    assert {(row["total_micros"], row["high_micros"], row["value_micros"]) for row in rows} == {(0, 0, 0)}
    assert all(row["is_range_only"] for row in rows)


def test_what_nobody_has_matched_is_organic_as_far_as_is_known() -> None:
    [row] = total_records(estimate(contributions(table([{"conversion_id": "c"}]))), published()).to_pylist()
    assert (row["is_organic"], row["total_micros"], row["days"]) == (True, MICRO, 8)
    [row] = total_records(estimate(State()), published()).to_pylist()
    assert (row["is_organic"], row["total_micros"], row["high_micros"]) == (True, 0, 0)


def test_a_period_is_of_several_days() -> None:
    with pytest.raises(ValueError, match="a period of 1 days"):
        Published("t", 0, DAY, DAY)


def test_the_narrowest_and_latest_test_counts() -> None:
    def of(scope: str, scope_id: str, to_day: int, name: str) -> HoldoutTest:
        return HoldoutTest(scope, scope_id, DAY, to_day, Holdout(name, 0.5, 0.4, 0.6))

    tests = [
        *(of("account", "", DAY + 9, "account"), of("account", "", DAY + 5, "older")),
        *(of("campaign", "c", DAY, "campaign"), of("ad", "a", DAY, "first"), of("ad", "a", DAY, "again")),
    ]
    campaigns = {"a": "c", "b": "c", "d": "", "": ""}
    found = {ad_id: holdout.name for ad_id, holdout in holdouts_of(tests, campaigns).items()}
    assert found == {"a": "again", "b": "campaign", "d": "account", "": "account"}
    assert holdouts_of(tests[2:], {"d": "", "": ""}) == {}


@pytest.mark.parametrize(
    ("scope", "scope_id", "to_day", "problem"),
    [
        ("account", "x", DAY, "scope account with a scope_id"),
        ("adset", "x", DAY, "none of account, campaign, ad"),
        ("ad", "x", DAY - 1, "ends before it begins"),
    ],
)
def test_a_test_that_cannot_be_is_refused(scope: str, scope_id: str, to_day: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        HoldoutTest(scope, scope_id, DAY, to_day, Holdout("geo", 0.5, 0.4, 0.6))
