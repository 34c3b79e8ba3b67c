"""What has become of the deals that ads led to: the newest state of each, joined to its match."""

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

DAY_MS = 86_400_000
LEAD_MS = 20_000 * DAY_MS
Row = dict[str, Any]
CONSENT = {"consent": "granted", "limited_data_use": False}


def at(day: float) -> datetime:
    return datetime.fromtimestamp((LEAD_MS + day * DAY_MS) / 1000, UTC)


def event(account: str, deal: str, day: float, stage: str, **fields: Any) -> Row:
    name = f"{deal}-{stage}-{day}"
    given = {"account_id": account, "event_id": name, "portal_id": "p", "deal_id": deal, "event_time": at(day)}
    return {**CONSENT, **given, "to_stage": stage, **fields}


def match(account: str, deal: str, ads: list[str], facts_held: int = 1, **shares: list[float]) -> Row:
    touch = {"visitor_id": "v", "interaction": "click", "channel": "x", "ad_account_id": "aa", "event_time": at(-1)}
    return {
        "account_id": account,
        "deal_id": deal,
        "window_end_time": at(0),
        "deal_ingest_time": at(0),
        "epoch": 0,
        "facts_held": facts_held,
        "origin_topic": "crm-events",
        "origin_topic_id": "x",
        "origin_partition": 0,
        "origin_offset": 0,
        "layer": "visitor_id",
        "confidence_person": 1.0,
        "lookback_window_s": 30 * 86_400,
        "model_version": "m",
        "touchpoints": [touch | {"click_id": f"k{n}", "ad_id": ad} for n, ad in enumerate(ads)],
        "credits": [{"model": model, "shares": of} for model, of in shares.items()],
    }


def found(clickhouse: ClickHouse, account: str) -> dict[tuple[str, str, str, str], tuple[float, Decimal]]:
    """Deals and value by model, ad, outcome and currency."""
    rows = clickhouse.query(f"SELECT * FROM deals_by_ad WHERE account_id = '{account}'").to_pylist()
    return {(row["model"], row["ad_id"], row["outcome"], row["currency"]): (row["deals"], row["value"]) for row in rows}


def test_a_deal_is_what_was_last_heard_of_it(tables: ClickHouse) -> None:
    events = [
        event("newest", "d1", 200, "closed", outcome="won", amount_micros=90_000_000, currency="EUR"),
        event("newest", "d1", 0, "lead", amount_micros=1_000_000, currency="USD"),
        event("newest", "d1", 30, "talk", outcome="open"),
        event("newest", "d2", 1, "lead"),
        event("newest", "d2", 5, "talk", amount_micros=5_000_000, currency="EUR"),
        event("newest", "d2", 9, "offer"),
    ]
    load(tables, "crm-events", events, "newest")
    columns = "deal_id, stage, outcome, amount_micros, currency"
    sql = f"SELECT {columns} FROM deals WHERE account_id = 'newest' ORDER BY deal_id"
    assert tables.query(sql).to_pylist() == [
        {"deal_id": "d1", "stage": "closed", "outcome": "won", "amount_micros": 90_000_000, "currency": "EUR"},
        {"deal_id": "d2", "stage": "offer", "outcome": "open", "amount_micros": 5_000_000, "currency": "EUR"},
    ]


def test_amounts_and_outcomes_go_to_the_ads_of_the_match(tables: ClickHouse) -> None:
    events = [
        event("ads", "d1", 0, "lead", amount_micros=100_000_000, currency="EUR"),
        event("ads", "d2", 0, "lead", amount_micros=7, currency="EUR"),
        event("ads", "d2", 200, "closed", outcome="lost"),
        event("ads", "d3", 0, "lead"),
        event("ads", "unmatched", 0, "lead", amount_micros=5, currency="EUR"),
    ]
    third = 1 / 3
    matches = [
        match("ads", "d1", ["other"], linear=[1.0]),
        match("ads", "d1", ["a", "b"], facts_held=2, linear=[0.5, 0.5], last=[0.0, 1.0]),
        match("ads", "d2", ["a", "b", "a"], linear=[third, third, third], last=[0.0, 0.0, 1.0]),
        match("ads", "d3", ["b"], linear=[1.0], last=[1.0]),
        match("ads", "unmatched", []),
    ]
    load(tables, "crm-events", events, "ads-events")
    load(tables, "deal-matches", matches, "ads-matches")
    got = found(tables, "ads")
    assert got == {
        ("linear", "a", "open", "EUR"): (0.5, Decimal("50")),
        ("linear", "b", "open", "EUR"): (0.5, Decimal("50")),
        ("last", "a", "open", "EUR"): (0.0, Decimal("0")),
        ("last", "b", "open", "EUR"): (1.0, Decimal("100")),
        # Seven micros in three parts: 2, 3 and 2.
        ("linear", "a", "lost", "EUR"): (pytest.approx(2 * third), Decimal("0.000004")),
        ("linear", "b", "lost", "EUR"): (pytest.approx(third), Decimal("0.000003")),
        ("last", "a", "lost", "EUR"): (1.0, Decimal("0.000007")),
        ("last", "b", "lost", "EUR"): (0.0, Decimal("0")),
        ("linear", "b", "open", ""): (1.0, Decimal("0")),
        ("last", "b", "open", ""): (1.0, Decimal("0")),
    }


@pytest.mark.parametrize("amount", [10**18, -(10**18) + 1, 1, -7])
def test_the_parts_of_an_amount_sum_to_it(tables: ClickHouse, amount: int) -> None:
    account = f"sum{amount}"
    load(tables, "crm-events", [event(account, "d", 0, "lead", amount_micros=amount, currency="EUR")], f"{account}-e")
    shares = [0.1] * 10
    load(tables, "deal-matches", [match(account, "d", [str(n) for n in range(10)], linear=shares)], f"{account}-m")
    parts = [value for _, value in found(tables, account).values()]
    assert len(parts) == 10
    assert sum(parts) == Decimal(amount) / 1_000_000
    assert all(abs(part - Decimal(amount) / 10_000_000) < Decimal("0.001") for part in parts)


def test_the_questions_of_the_documentation_are_answered(tables: ClickHouse) -> None:
    text = (Path(__file__).parents[3] / "docs" / "queries.md").read_text()
    section = text.partition("## What becomes of deals")[2].partition("\n## ")[0]
    by_ad, unmatched = (sql for number, sql in enumerate(section.split("```")) if number % 2)
    load(
        tables, "crm-events", [event("acme", "d1", 0, "won", outcome="won", amount_micros=10**7, currency="EUR")], "q-e"
    )
    load(tables, "crm-events", [event("acme", "d2", 0, "lead", amount_micros=10**6, currency="EUR")], "q-f")
    load(tables, "deal-matches", [match("acme", "d1", ["a"], linear=[1.0])], "q-m")
    load(tables, "deal-matches", [{**match("acme", "d2", []), "layer": "none"}], "q-n")
    [row] = tables.query(by_ad.replace("today() - 180", "toDate(0)")).to_pylist()
    assert (row["ad_id"], row["currency"], row["won"], row["pipeline"]) == ("a", "EUR", 10, 0)
    [row] = tables.query(unmatched).to_pylist()
    assert (row["currency"], row["outcome"], row["value"]) == ("EUR", "open", 1)
