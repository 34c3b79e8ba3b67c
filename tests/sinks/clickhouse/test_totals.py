"""`totals_by_ad` beside the records it is made of: the newest estimate, and no figure where only a range is known."""

from datetime import UTC, date, datetime

import pytest

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

MILLION = 1_000_000


def total(ad_id: str | None, as_of_s: int, conversions: float, **more: object) -> dict[str, object]:
    return {
        "account_id": "totals",
        "ad_id": ad_id,
        "day": date(2026, 3, 1),
        "as_of": datetime.fromtimestamp(as_of_s, UTC),
        "deterministic_micros": MILLION,
        "total_micros": int(conversions * MILLION),
        "low_micros": 0,
        "high_micros": 2 * int(conversions * MILLION),
        "account_conversions_micros": 100 * MILLION,
        "account_total_micros": 60 * MILLION,
        "account_identifiers_micros": 58 * MILLION,
        "account_evidence_micros": 60 * MILLION,
        "account_withheld_micros": 61 * MILLION,
        **more,
    }


@pytest.fixture(scope="module")
def loaded(tables: ClickHouse) -> ClickHouse:
    newer = [
        total("a", 2_000, 45.5, value_micros=12_340_000, currency="EUR"),
        total("a", 2_000, 60, days=30),
        total("b", 2_000, 14.5, is_range_only=True),
        total(None, 2_000, 40, is_organic=True, days=30, is_alarm=True),
    ]
    for number, records in enumerate((newer, [total("a", 1_000, 99), total("b", 1_000, 99)])):
        load(tables, "attribution-totals", records, f"totals-{number}")
    return tables


def rows(clickhouse: ClickHouse, columns: str, where: str) -> list[dict[str, object]]:
    sql = f"SELECT {columns} FROM totals_by_ad WHERE account_id = 'totals' AND {where} ORDER BY ad_id"
    return list(clickhouse.query(sql).to_pylist())


def test_the_newest_estimate_counts_whichever_came_last(loaded: ClickHouse) -> None:
    assert rows(loaded, "ad_id, conversions, low, high, deterministic", "days = 1") == [
        {"ad_id": "a", "conversions": 45.5, "low": 0.0, "high": 91.0, "deterministic": 1.0},
        {"ad_id": "b", "conversions": None, "low": 0.0, "high": 29.0, "deterministic": 1.0},
    ]


def test_days_and_the_whole_period_stay_apart(loaded: ClickHouse) -> None:
    assert rows(loaded, "ad_id, is_organic, conversions, is_alarm", "days = 30") == [
        {"ad_id": "", "is_organic": True, "conversions": 40.0, "is_alarm": True},
        {"ad_id": "a", "is_organic": False, "conversions": 60.0, "is_alarm": False},
    ]


def test_value_is_exact_and_absent_where_there_is_none(loaded: ClickHouse) -> None:
    found = rows(loaded, "ad_id, toString(value) AS value, incremental", "days = 1")
    assert [row["value"] for row in found] == ["12.34", None]
    assert [row["incremental"] for row in found] == [None, None]
