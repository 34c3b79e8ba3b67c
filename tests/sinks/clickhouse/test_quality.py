"""The view of evaluated conversions beside the same figures in plain Python."""

import random
from collections import defaultdict
from datetime import UTC, datetime
from typing import Any

import pytest

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

DAY_S = 86_400
Row = dict[str, Any]


def evaluated(dice: random.Random, number: int) -> Row:
    method = dice.choice(["withheld", "knock_out"])
    is_right = method == "withheld" and dice.random() < 0.7
    is_known = method == "knock_out" or dice.random() < 0.8
    return {
        "account_id": dice.choice(["a", "b"]),
        "conversion_id": f"c{number}",
        "event_time": datetime.fromtimestamp(20_000 * DAY_S + dice.randrange(3) * DAY_S, UTC),
        "method": method,
        "known_by": "click_id",
        "layer": dice.choice(["fingerprint", "ip", "none"]),
        "confidence_person": 1.0,
        "confidence_ad": dice.choice([0.0, 0.3, 0.5, 0.55, 0.9, 0.95, 1.0]),
        "is_person_right": is_right,
        "is_ad_right": is_right if is_known else None,
        "is_reachable": is_right,
        "model_version": "m",
    }


def figures(rows: list[Row], of_day: list[Row]) -> Row:
    claimed = [row for row in rows if row["confidence_ad"] >= 0.5]
    judged = [row for row in claimed if row["is_ad_right"] is not None]
    bins: defaultdict[int, float] = defaultdict(float)
    for row in judged:
        bins[min(int(row["confidence_ad"] * 10 + 1e-9), 9)] += row["confidence_ad"] - row["is_ad_right"]
    right = sum(row["is_ad_right"] for row in judged)
    known = [row for row in of_day if row["is_ad_right"] is not None]
    return {
        "conversions": len(rows),
        "claimed": len(claimed),
        "claimed_share": len(claimed) / len(of_day),
        "precision_person": sum(row["is_person_right"] for row in claimed) / len(claimed) if claimed else None,
        "precision": right / len(judged) if judged else None,
        "recall": right / len(known),
        "calibration_error": sum(map(abs, bins.values())) / len(judged) if judged else None,
    }


def test_quality_by_layer_account_and_day(tables: ClickHouse) -> None:
    dice = random.Random(3)
    rows = [evaluated(dice, number) for number in range(400)]
    load(tables, "attribution-quality", [*rows, *rows[:50]], token="one")
    found = tables.query("SELECT * FROM attribution_quality").to_pylist()
    names = ("account_id", "event_time", "method")
    groups: defaultdict[Any, list[Row]] = defaultdict(list)
    days: defaultdict[Any, list[Row]] = defaultdict(list)
    for row in rows:
        days[tuple(row[name] for name in names)].append(row)
        groups[(*(row[name] for name in names), row["layer"])].append(row)
    assert len(found) == len(groups)
    for one in found:
        account, day, method, layer = (one.pop(name) for name in ("account_id", "day", "method", "layer"))
        [key] = [key for key in groups if (key[0], key[1].date(), *key[2:]) == (account, day, method, layer)]
        assert one == pytest.approx(figures(groups[key], days[key[:3]]), nan_ok=True)
