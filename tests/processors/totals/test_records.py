"""Records of totals are of the contract, and sum to what was counted."""

import pyarrow.compute as pc
import pytest

from processors.totals.contributions import contributions
from processors.totals.estimate import estimate
from processors.totals.holdout import Holdout
from processors.totals.records import Published, total_records
from processors.totals.state import MICRO, State
from tests.processors.totals.observed import clicked, share, table

ROWS = [
    *({"conversion_id": f"a{n}", "click": clicked("a", 20_000 + n % 3), "value_micros": 7} for n in range(40)),
    *({"conversion_id": f"b{n}", "evidence": [share("b", 0.5)], "unreached": 0.1} for n in range(10)),
    {"conversion_id": "nobody's"},
]


def test_records_of_ads_and_organic_are_all_conversions() -> None:
    totals = estimate(contributions(table(ROWS)))
    records = total_records(totals, Published("t", 1_750_000_000_000, "EUR", {"a": "act"}))
    records.validate(full=True)
    whole = records.filter(pc.equal(records["days"], 3))
    assert pc.sum(whole["total_micros"]).as_py() == len(ROWS) * MICRO
    assert pc.sum(whole["value_micros"]).as_py() == 40 * 7
    [organic] = whole.filter(whole["is_organic"]).to_pylist()
    assert organic["low_micros"] <= organic["total_micros"] == totals.organic <= organic["high_micros"]
    by_day = records.filter(pc.equal(records["days"], 1))
    assert pc.sum(by_day["total_micros"]).as_py() == totals.attributed
    first = next(row for row in by_day.to_pylist() if row["ad_id"] == "a")
    assert (first["ad_account_id"], str(first["day"]), first["incremental_micros"]) == ("act", "2024-10-04", None)


def test_a_hold_out_fills_columns_of_its_own() -> None:
    totals = estimate(contributions(table(ROWS)))
    plain = total_records(totals, Published("t", 0)).to_pylist()
    calibrated = total_records(totals, Published("t", 0, holdout=Holdout("geo", 0.5, 0.4, 0.6))).to_pylist()
    for one, other in zip(plain, calibrated, strict=True):
        assert one["total_micros"] == other["total_micros"]
        if not other["is_organic"]:
            assert other["incremental_micros"] == pytest.approx(one["total_micros"] / 2, abs=1)
            assert (one["holdout"], other["holdout"]) == (None, "geo")


def test_no_days_are_no_records() -> None:
    assert total_records(estimate(State()), Published("t", 0)).num_rows == 0
