"""Versions that others replaced, beside the same worked out in plain Python from all that was ever loaded."""

import random
from collections import defaultdict
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate, pairwise
from typing import Any

import pytest

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrations import Migration, apply, statements
from tests.sinks.clickhouse.loading import load

BASE_MS = 1_750_000_000_000
MODELS = ("first", "linear")
Row = dict[str, Any]


def version(conversion: str, epoch: int, facts: int, ads: list[str], value: int | None = 100, **values: Any) -> Row:
    count = len(ads)
    shares = {"first": [1.0] + [0.0] * (count - 1), "linear": [1 / count] * count} if count else {}
    touch = {"visitor_id": "v", "event_time": BASE_MS, "interaction": "click", "campaign_id": "c", "adset_id": "s"}
    return {
        "consent": "granted",
        "limited_data_use": False,
        "account_id": "acme",
        "conversion_id": conversion,
        "event_name": "Purchase",
        "event_time": BASE_MS,
        "conversion_ingest_time": BASE_MS,
        "value_micros": value,
        "currency": "EUR",
        "epoch": epoch,
        "facts_held": facts,
        "origin_topic": "clicks",
        "origin_topic_id": "x",
        "origin_partition": 3,
        "origin_offset": facts,
        "layer": "visitor_id" if ads else "none",
        "lookback_window_s": 1,
        "model_version": "m",
        "touchpoints": [
            touch | {"click_id": f"k{n}", "ad_id": ad, "channel": "search", "ad_account_id": "aa", "creative_id": "r"}
            for n, ad in enumerate(ads)
        ],
        "credits": [
            {
                "model": model,
                "shares": parts,
                "value_micros": [] if value is None else [int(value * part) for part in parts],
            }
            for model, parts in shares.items()
        ],
        **values,
    }


def revisions(clickhouse: ClickHouse, conversion: str) -> list[Row]:
    return clickhouse.query(
        f"SELECT * FROM attribution_revisions WHERE conversion_id = '{conversion}' ORDER BY epoch, facts_held"
    ).to_pylist()


def changes(clickhouse: ClickHouse, conversion: str, model: str) -> dict[tuple[int, str], tuple[Any, ...]]:
    """By facts held of the version that was replaced, and ad."""
    rows = clickhouse.query(
        "SELECT facts_held, ad_id, conversions_before, conversions_after, value_before, value_after "
        f"FROM credit_revisions WHERE conversion_id = '{conversion}' AND model = '{model}' ORDER BY ALL"
    ).to_pylist()
    return {(row["facts_held"], row["ad_id"]): tuple(row.values())[2:] for row in rows}


def test_a_revision_says_what_was_there_and_what_replaced_it_when_and_why(tables: ClickHouse) -> None:
    load(tables, "attributed-conversions", [version("told", 0, 1, ["a"])], "told-1", [1_000])
    load(tables, "attributed-conversions", [version("told", 0, 5, ["b", "a"], 60)], "told-2", [5_000])
    [row] = revisions(tables, "told")
    assert (row["epoch"], row["facts_held"], row["replaced_by_epoch"], row["replaced_by_facts_held"]) == (0, 1, 0, 5)
    assert row["published_at"] == datetime.fromtimestamp(1, UTC)
    assert row["replaced_at"] == datetime.fromtimestamp(5, UTC)
    assert (row["ad_ids"], row["replaced_by_ad_ids"]) == (["a"], ["b", "a"])
    assert (row["value_micros"], row["replaced_by_value_micros"]) == (100, 60)
    assert (row["cause_topic"], row["cause_partition"], row["cause_offset"]) == ("clicks", 3, 5)
    money = Decimal(1).scaleb(-6)
    assert changes(tables, "told", "first") == {
        (1, "a"): (1.0, 0.0, 100 * money, 0),
        (1, "b"): (0.0, 1.0, 0, 60 * money),
    }
    assert changes(tables, "told", "linear") == {
        (1, "a"): (1.0, 0.5, 100 * money, 30 * money),
        (1, "b"): (0.0, 0.5, 0, 30 * money),
    }


def test_a_version_published_behind_a_greater_one_never_counted(tables: ClickHouse) -> None:
    for number, facts_held in enumerate((1, 5, 3, 5, 1, 6)):
        load(tables, "attributed-conversions", [version("behind", 0, facts_held, ["a"])], f"behind-{number}", [number])
    found = [(row["facts_held"], row["replaced_by_facts_held"]) for row in revisions(tables, "behind")]
    assert found == [(1, 5), (5, 6)]


def test_what_was_unattributed_or_without_value_is_told_too(tables: ClickHouse) -> None:
    load(tables, "attributed-conversions", [version("none", 0, 1, [])], "none-1", [1])
    load(tables, "attributed-conversions", [version("none", 0, 2, ["a"], None)], "none-2", [2])
    [row] = revisions(tables, "none")
    assert (row["layer"], row["replaced_by_layer"], row["credits"]) == ("none", "visitor_id", [])
    assert changes(tables, "none", "first") == {(1, "a"): (0.0, 1.0, 0, 0)}


@pytest.mark.parametrize("seed", range(3))
def test_what_counted_in_turn_is_told_whatever_is_repeated_and_loaded_in_whichever_order(
    tables: ClickHouse, seed: int
) -> None:
    dice = random.Random(seed)
    published: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    blocks: list[tuple[list[Row], list[int]]] = []
    for block in (range(start, start + 10) for start in range(0, 80, 10)):
        rows = []
        for _ in block:
            name, key = f"s{seed}-{dice.randrange(8)}", (dice.choice([0, 0, 7]), dice.randrange(6))
            published[name].append(key)
            # The same version is the same record, whoever publishes it.
            rows.append(version(name, *key, random.Random(str(key)).choices("abc", k=key[1] % 4)))
        blocks.append((rows, list(block)))
    deliveries = [(f"r{seed}-{n}{other}", n) for n in range(len(blocks)) for other in ("", "", "-other")]
    dice.shuffle(deliveries)
    for token, number in deliveries:
        load(tables, "attributed-conversions", blocks[number][0], token, blocks[number][1])
    for name, keys in published.items():
        counted = list(dict.fromkeys(accumulate(keys, max)))
        found = [
            ((row["epoch"], row["facts_held"]), (row["replaced_by_epoch"], row["replaced_by_facts_held"]))
            for row in revisions(tables, name)
        ]
        assert found == list(pairwise(counted))
    assert any(len(set(keys)) > len(set(accumulate(keys, max))) > 2 for keys in published.values())


def test_what_was_there_before_is_taken_over_once(clickhouse: ClickHouse, ddl: list[Migration]) -> None:
    """Also where a migration that was broken off is run again."""
    before = [item for item in ddl if item.name < "0014"]
    apply(clickhouse, before)
    load(clickhouse, "attributed-conversions", [version("old", 0, 1, ["a"])], "old", [1])
    migration = next(item for item in ddl if item.name.startswith("0014"))
    for statement in statements(migration.sql):
        clickhouse.command(statement)
    load(clickhouse, "attributed-conversions", [version("old", 0, 2, ["b"])], "new", [2])
    apply(clickhouse, ddl)
    [row] = revisions(clickhouse, "old")
    assert (row["ad_ids"], row["replaced_by_ad_ids"]) == (["a"], ["b"])
    rows = clickhouse.query("SELECT count() AS n FROM attribution_versions FINAL").to_pylist()
    assert rows == [{"n": 2}]
