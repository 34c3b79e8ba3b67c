from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from schemas.definitions import definition
from streams.demo.journeys import anchor_day, expand, read_paths
from streams.demo.reference import reference_credit

ANCHOR = date(2026, 11, 20)
#: Published figures of this data set: conversions by first, last and linear touch.
PUBLISHED = {
    "first": {"alpha": 6308, "iota": 4606, "eta": 3164, "beta": 2831, "theta": 1606, "lambda": 902},
    "last": {"alpha": 8447, "iota": 3355, "eta": 4167, "beta": 989, "theta": 653, "lambda": 1207},
    "linear": {
        "alpha": 7574.7186,
        "iota": 3857.0962,
        "eta": 3539.9512,
        "beta": 2083.5001,
        "theta": 1022.8014,
        "lambda": 1035.2576,
    },
}


def test_the_journeys_are_those_of_the_file() -> None:
    paths = read_paths()
    clicks, conversions = expand(paths, ANCHOR)
    assert clicks.num_rows == 378_209
    assert conversions.num_rows == 19_785
    assert sum(path.nulls for path in paths) == 68_602
    assert len(set(clicks.column("visitor_id").to_pylist())) == 88_387
    assert len(set(clicks.column("click_id").to_pylist())) == clicks.num_rows
    assert len(set(conversions.column("conversion_id").to_pylist())) == conversions.num_rows
    assert sum(conversions.column("value_micros").to_pylist()) == sum(path.value_micros for path in paths)
    assert round(sum(path.value_micros for path in paths) / 1e6, 2) == 74_802.97


def test_each_journey_takes_its_path_and_converts_at_its_end() -> None:
    paths = read_paths()[:300]
    clicks, conversions = expand(paths, ANCHOR)
    taken: dict[str, list[tuple[int, str]]] = {}
    times = clicks.column("event_time").cast("int64").to_pylist()
    for visitor, at, channel in zip(
        clicks.column("visitor_id").to_pylist(), times, clicks.column("channel").to_pylist(), strict=True
    ):
        taken.setdefault(visitor, []).append((at, channel))
    walked = Counter(tuple(channel for _, channel in sorted(steps)) for steps in taken.values())
    expected: Counter[tuple[str, ...]] = Counter()
    for path in paths:
        expected[tuple(path.channels)] += path.conversions + path.nulls
    assert walked == expected
    for visitor, at in zip(
        conversions.column("visitor_id").to_pylist(),
        conversions.column("event_time").cast("int64").to_pylist(),
        strict=True,
    ):
        assert at > max(step for step, _ in taken[visitor])


def test_every_run_makes_the_same_records() -> None:
    first, second = expand(read_paths()[:100], ANCHOR), expand(read_paths()[:100], ANCHOR)
    assert first == second


def test_the_day_is_chosen_once(tmp_path: Path) -> None:
    first = anchor_day(tmp_path / "new")
    (tmp_path / "new" / "demo-day").write_text("2026-01-02")
    assert anchor_day(tmp_path / "new") == date(2026, 1, 2) != first


def test_the_columns_are_the_contract_s() -> None:
    clicks, conversions = expand(read_paths()[:5], ANCHOR)
    for contract, table in (("clicks", clicks), ("conversions", conversions)):
        assert set(table.column_names) <= {field["name"] for field in definition(contract).fields}
        assert set(definition(contract).required) <= set(table.column_names)


@pytest.mark.parametrize("model", PUBLISHED)
def test_the_reference_is_the_published_one(model: str) -> None:
    reference = reference_credit()[model]
    assert {channel: round(reference[channel][0], 4) for channel in PUBLISHED[model]} == PUBLISHED[model]
    assert sum(count for count, _ in reference.values()) == pytest.approx(19_785)
