"""The view of the newest model credit, over all versions there were."""

from decimal import Decimal
from typing import Any

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

HOUR_MS = 3_600_000


def record(account: str, hour: int, conversions: list[float], read: int = 1, epoch: int = 0, **values: Any) -> Any:
    return {
        "account_id": account,
        "event_name": "Purchase",
        "model": "markov",
        "chain_order": 1,
        "as_of": hour * HOUR_MS,
        "epoch": epoch,
        "records_read": read,
        "cut": [{"topic": "clicks", "topic_id": "x", "partition": 0, "end_offset": read}],
        "period_s": 60,
        "lookback_window_s": 60,
        "model_version": "m",
        "paths": 1,
        "conversions": round(sum(conversions)),
        "nulls": 0,
        "channels": [{"channel": f"ch{n}", "conversions": part} for n, part in enumerate(conversions)],
        "amounts": [],
        **values,
    }


def newest(clickhouse: ClickHouse, account: str) -> list[tuple[Any, ...]]:
    rows = clickhouse.query(
        "SELECT model, chain_order, channel, conversions, value, toUnixTimestamp(as_of) / 3600 AS hour "
        f"FROM model_credit WHERE account_id = '{account}' ORDER BY ALL"
    ).to_pylist(maps_as_pydicts="strict")
    return [tuple(row.values()) for row in rows]


def test_the_newest_version_of_each_model_counts_and_all_are_kept(tables: ClickHouse) -> None:
    records = [
        record("acme", 3, [2.0]),
        record("acme", 5, [0.25, 2.75], read=7),
        record("acme", 5, [9.0], read=6),
        record("acme", 4, [1.0], read=99),
        record("acme", 2, [4.0], chain_order=2),
        record("acme", 1, [5.0], model="shapley", chain_order=0),
        record("other", 9, [1.0]),
    ]
    for number, item in enumerate(records):
        load(tables, "model-credit", [item], f"model-credit-{number}")
        load(tables, "model-credit", [item], f"model-credit-{number}-again")
    assert newest(tables, "acme") == [
        ("markov", 1, "ch0", 0.25, {}, 5),
        ("markov", 1, "ch1", 2.75, {}, 5),
        ("markov", 2, "ch0", 4.0, {}, 2),
        ("shapley", 0, "ch0", 5.0, {}, 1),
    ]
    kept = tables.query(
        "SELECT toUnixTimestamp(as_of) / 3600 AS hour, records_read FROM model_credit_versions FINAL "
        "WHERE account_id = 'acme' AND model = 'markov' AND chain_order = 1 ORDER BY hour"
    )
    assert [tuple(row.values()) for row in kept.to_pylist()] == [(3, 1), (4, 99), (5, 7)]


def test_a_greater_epoch_replaces_what_was_computed_for_a_later_time(tables: ClickHouse) -> None:
    load(tables, "model-credit", [record("erased", 5, [2.0]), record("erased", 4, [1.0], epoch=1)], "epochs")
    assert newest(tables, "erased") == [("markov", 1, "ch0", 1.0, {}, 4)]


def test_values_of_currencies_stay_apart(tables: ClickHouse) -> None:
    amounts = [{"currency": "", "value_micros": [-1, 0]}, {"currency": "EUR", "value_micros": [2**63 - 1, 1]}]
    load(tables, "model-credit", [record("rich", 1, [1.0, 0.0], amounts=amounts)], "currencies")
    assert newest(tables, "rich") == [
        ("markov", 1, "ch0", 1.0, {"": Decimal("-0.000001"), "EUR": Decimal("9223372036854.775807")}, 1),
        ("markov", 1, "ch1", 0.0, {"": Decimal(0), "EUR": Decimal("0.000001")}, 1),
    ]
