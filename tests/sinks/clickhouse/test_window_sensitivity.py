"""Rank correlations between windows, beside their definition in plain Python."""

import random
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import combinations
from statistics import StatisticsError, correlation
from typing import Any

import pytest

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

DAY_MS = 86_400_000
BASE_MS = 20_000 * DAY_MS
WINDOWS = (1, 7, 14, 30)
Row = dict[str, Any]
#: Touchpoints as (days before the conversion, campaign).
Path = Sequence[tuple[float, str | None]]


def conversion(account: str, number: int, path: Path, lookback_d: int = 30, facts_held: int = 1) -> Row:
    touch = {"visitor_id": "v", "interaction": "click", "channel": "x", "ad_account_id": "aa"}
    return {
        "consent": "granted",
        "limited_data_use": False,
        "account_id": account,
        "conversion_id": f"c{number}",
        "event_name": "Purchase",
        "event_time": datetime.fromtimestamp(BASE_MS / 1000, UTC),
        "conversion_ingest_time": 0,
        "epoch": 0,
        "facts_held": facts_held,
        "origin_topic": "clicks",
        "origin_topic_id": "x",
        "origin_partition": 0,
        "origin_offset": 0,
        "layer": "visitor_id",
        "lookback_window_s": lookback_d * 86_400,
        "model_version": "m",
        "touchpoints": [
            touch | {"click_id": f"k{n}", "campaign_id": campaign, "event_time": BASE_MS - int(days * DAY_MS)}
            for n, (days, campaign) in enumerate(path)
        ],
        "credits": [],
    }


def found(clickhouse: ClickHouse, account: str) -> dict[tuple[str, int, int], tuple[int, float | None]]:
    rows = clickhouse.query(f"SELECT * FROM window_sensitivity WHERE account_id = '{account}'").to_pylist()
    return {
        (row["model"], row["window_d"], row["longer_window_d"]): (row["campaigns"], row["rank_correlation"])
        for row in rows
    }


def credited(paths: Sequence[Path], window_d: int, model: str) -> dict[str, float]:
    credit: defaultdict[str, float] = defaultdict(float)
    for path in paths:
        inside = [campaign for days, campaign in path if days <= window_d]
        for place, campaign in enumerate(inside):
            part = {"first": place == 0, "last": place == len(inside) - 1, "linear": 1 / len(inside)}[model]
            if campaign:
                credit[campaign] += part
    return credit


def places(values: Sequence[float]) -> list[float]:
    """From 1, those of equal values their mean."""
    rounded = [round(value, 9) for value in values]
    return [sum(other < value for other in rounded) + (rounded.count(value) + 1) / 2 for value in rounded]


def defined(paths: Sequence[Path], window_d: int, longer_d: int, model: str) -> tuple[int, float | None]:
    short, long = credited(paths, window_d, model), credited(paths, longer_d, model)
    campaigns = sorted(long)
    try:
        spearman = correlation(
            places([short.get(name, 0.0) for name in campaigns]), places([long[name] for name in campaigns])
        )
    except StatisticsError:
        return len(campaigns), None
    return len(campaigns), spearman


@pytest.mark.parametrize("seed", range(3))
def test_any_account(tables: ClickHouse, seed: int) -> None:
    dice = random.Random(seed)
    campaigns = [*(f"c{n}" for n in range(7)), None]
    paths = [
        [
            (days, dice.choice(campaigns))
            for days in sorted(
                (dice.choice([0, 0.5, 1, 3, 7, 9, 14, 20, 30]) for _ in range(dice.randrange(6))), reverse=True
            )
        ]
        for _ in range(40)
    ]
    account = f"any-{seed}"
    rows = [conversion(account, n, path) for n, path in enumerate(paths)]
    outdated = [conversion(account, n, [(0, "c0")], facts_held=0) for n in range(40)]
    load(tables, "attributed-conversions", rows, account)
    load(tables, "attributed-conversions", outdated, f"{account}-outdated")
    measured = found(tables, account)
    assert measured.keys() == {
        (model, *pair) for model in ("first", "last", "linear") for pair in combinations(WINDOWS, 2)
    }
    for (model, window_d, longer_d), (count, spearman) in measured.items():
        expected = defined(paths, window_d, longer_d, model)
        assert (count, spearman) == (expected[0], pytest.approx(expected[1], abs=1e-9))
    assert any(spearman is not None and spearman < 0.99 for _, spearman in measured.values())


def test_a_window_that_changes_nothing_and_one_that_turns_the_order_around(tables: ClickHouse) -> None:
    same = [[(0.5, "a")], [(0.5, "a")], [(0.5, "b")]]
    turned = [*same, *[[(10, "b")]] * 3]
    load(tables, "attributed-conversions", [conversion("same", n, p) for n, p in enumerate(same)], "same")
    load(tables, "attributed-conversions", [conversion("turned", n, p) for n, p in enumerate(turned)], "turned")
    assert all(value == pytest.approx(1.0) for _, value in found(tables, "same").values())
    assert found(tables, "turned")["last", 1, 7] == (2, pytest.approx(1.0))
    assert found(tables, "turned")["last", 7, 14] == (2, pytest.approx(-1.0))


def test_there_is_no_order_of_one_campaign_nor_of_equal_ones(tables: ClickHouse) -> None:
    load(tables, "attributed-conversions", [conversion("one", 0, [(0.5, "a")])], "one")
    load(tables, "attributed-conversions", [conversion("equal", n, [(0.5, c)]) for n, c in enumerate("ab")], "equal")
    assert {value for _, value in found(tables, "one").values()} == {None}
    assert {value for _, value in found(tables, "equal").values()} == {None}


def test_a_conversion_says_nothing_of_windows_longer_than_its_own(tables: ClickHouse) -> None:
    load(
        tables, "attributed-conversions", [conversion("brief", n, [(0.5, c)], 7) for n, c in enumerate("aab")], "brief"
    )
    assert {(window, longer) for _, window, longer in found(tables, "brief")} == {(1, 7)}
