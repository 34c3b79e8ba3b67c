from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from schemas.definitions import arrow_schema, definition, from_records
from schemas.errors import BadRecord
from schemas.topics import TOPICS
from schemas.validation import DAY_MS, EventTimeBounds, Validator
from tests.schemas.messages import BOUNDS, HASH, INPUTS, NOW_MS, full_record
from tests.schemas.oracle import END_DAY, END_MS

every_input = pytest.mark.parametrize("contract", INPUTS)
MILLION_MILLION = 10**18
MATCH_KEYS = arrow_schema(definition("conversions").text).field("user_data_sha256").type


def refused(contract: str, *changes: dict[str, Any], bounds: EventTimeBounds | None = BOUNDS) -> list[BadRecord]:
    """What is refused of good records with these changes; the first is good, and so is the last."""
    schema = definition(contract)
    rows = [full_record(contract), *(full_record(contract) | change for change in changes), full_record(contract)]
    batch = from_records(rows, arrow_schema(schema.text))
    bad = Validator(schema, TOPICS[contract].event_time, bounds).refuse(batch, np.full(len(rows), NOW_MS, np.int64))
    assert all(1 <= item.row <= len(changes) for item in bad)
    return bad


@every_input
def test_a_good_record_is_not_refused(contract: str) -> None:
    assert refused(contract, full_record(contract, 5)) == []


@every_input
def test_bounds_are_bytes_and_inclusive(contract: str) -> None:
    bounded = {field["name"]: field["max_length"] for field in definition(contract).fields if "max_length" in field}
    assert len(bounded) > 5
    for name, limit in bounded.items():
        odd = "x" * (limit % 2)
        assert refused(contract, {name: "x" * limit}, {name: "é" * (limit // 2) + odd}) == []
        for value in ("x" * (limit + 1), "é" * (limit // 2) + odd + "x"):
            [bad] = refused(contract, {name: value}, {name: "x" * limit})
            assert bad.row == 1
            assert (bad.error, bad.message) == ("field_too_long", f"{name} is longer than {limit} bytes")


@every_input
def test_ids_have_characters(contract: str) -> None:
    ids = [field["name"] for field in definition(contract).fields if field.get("non_empty")]
    assert len(ids) > 2
    for name in ids:
        assert [bad.error for bad in refused(contract, {name: ""}, {name: "x"})] == ["missing_id"]


@pytest.mark.parametrize("currency", ["", "EU", "EURO", "eur", "EUR\n", "\nEUR", "ÈUR", "E R"])
def test_patterns_hold_for_the_whole_value(currency: str) -> None:
    [bad] = refused("conversions", {"currency": currency}, {"currency": None})
    assert (bad.row, bad.error) == (1, "bad_value")


@pytest.mark.parametrize(
    ("contract", "name"),
    [
        ("clicks", "ingest_time"),
        ("conversions", "ingest_time"),
        ("crm-events", "stage_entered_time"),
        ("crm-events", "deal_created_time"),
        ("crm-events", "lead_created_time"),
        ("ad-performance", "ingest_time"),
    ],
)
def test_other_times_lie_between_1970_and_2200(contract: str, name: str) -> None:
    """ClickHouse refuses the whole block for one that its types cannot hold."""
    assert refused(contract, {name: 0}, {name: END_MS}, {name: None}) == []
    for value in (-1, END_MS + 1, -(2**63), 2**63 - 1):
        assert [bad.error for bad in refused(contract, {name: value}, {name: 0}, {name: END_MS})] == ["bad_value"]


def test_days_lie_between_1970_and_2200() -> None:
    assert refused("ad-performance", {"day": 0}, {"day": END_DAY}) == []
    for value in (-1, END_DAY + 1, -(2**31), 2**31 - 1):
        assert [bad.error for bad in refused("ad-performance", {"day": value})] == ["bad_value"]


@pytest.mark.parametrize(
    ("contract", "name"),
    [("conversions", "value_micros"), ("crm-events", "amount_micros"), ("ad-performance", "spend_micros")],
)
def test_money_stays_where_a_sum_of_it_fits(contract: str, name: str) -> None:
    assert refused(contract, {name: MILLION_MILLION}, {name: -MILLION_MILLION}) == []
    for value in (MILLION_MILLION + 1, -MILLION_MILLION - 1):
        assert [bad.error for bad in refused(contract, {name: value})] == ["bad_value"]


@pytest.mark.parametrize("ratio", [float("nan"), float("inf"), float("-inf")])
def test_doubles_are_numbers(ratio: float) -> None:
    assert [bad.error for bad in refused("clicks", {"pixel_ratio": ratio}, {"pixel_ratio": 0.0})] == ["bad_value"]


class TestMembersOfLists:
    def test_rules_hold_there_too_and_name_the_row(self) -> None:
        good = {"action_type": "purchase", "count": 1.0, "value_micros": None}
        spoiled = [
            ("field_too_long", good | {"action_type": "x" * 257}),
            ("bad_value", good | {"count": float("nan")}),
            ("bad_value", good | {"value_micros": MILLION_MILLION + 1}),
        ]
        changes = [{"actions": [good, good]}, {"actions": []}]
        changes += [{"actions": [good, action, action]} for _, action in spoiled]
        bad = refused("ad-performance", *changes)
        assert [(item.row, item.error) for item in bad] == [(3 + n, error) for n, (error, _) in enumerate(spoiled)]
        assert bad[0].message == "actions.action_type is longer than 256 bytes"

    def test_lists_in_records_in_lists(self) -> None:
        schema = definition("attributed-conversions")
        validator = Validator(schema, None, None)
        credit = {"model": "first", "shares": [0.5, 0.5], "value_micros": [1, 2]}
        spoiled = [
            [],
            [credit, credit],
            [credit, credit | {"shares": [1.0, float("inf")]}],
            [credit | {"value_micros": [2**62]}],
            [credit | {"model": "x" * 65}, credit],
        ]
        base = dict.fromkeys(schema.required) | dict(schema.defaults)
        base |= {"account_id": "a", "conversion_id": "c", "event_name": "e", "consent": "granted"}
        names = {field.name: field.type for field in arrow_schema(schema.text)}
        for name in schema.required:
            if base[name] is None:
                base[name] = [] if pa.types.is_list(names[name]) else "x" if pa.types.is_string(names[name]) else 0
        base["limited_data_use"] = False
        batch = from_records([base | {"credits": split} for split in spoiled], arrow_schema(schema.text))
        bad = validator.refuse(batch, np.zeros(len(spoiled), np.int64))
        assert [(item.row, item.message.split()[0]) for item in bad] == [
            (2, "credits.shares"),
            (3, "credits.value_micros"),
            (4, "credits.model"),
        ]

    def test_a_filtered_batch_is_judged_by_its_own_rows(self) -> None:
        schema = definition("ad-performance")
        long = [{"action_type": "x" * 257, "count": 1.0, "value_micros": None}]
        rows = [full_record("ad-performance", row) | ({"actions": long} if row % 2 else {}) for row in range(6)]
        batch = from_records(rows, arrow_schema(schema.text)).slice(2, 3)
        bad = Validator(schema, None, None).refuse(batch, np.zeros(3, np.int64))
        assert [item.row for item in bad] == [1]


class TestEventTime:
    @every_input
    def test_bounds_are_inclusive(self, contract: str) -> None:
        name = TOPICS[contract].event_time
        assert name is not None
        first, last = NOW_MS - BOUNDS.max_age_ms, NOW_MS + BOUNDS.max_ahead_ms
        assert refused(contract, {name: first}, {name: last}) == []
        for value in (first - 1, last + 1, 0, 4_102_444_800_000, -(2**63), 2**63 - 1):
            assert [bad.error for bad in refused(contract, {name: value})] == ["event_time_out_of_range"]

    def test_a_record_is_held_against_its_own_ingest_time(self) -> None:
        schema = definition("clicks")
        rows = [full_record("clicks") | {"event_time": NOW_MS}] * 3
        ingest = np.array([NOW_MS - DAY_MS, NOW_MS, NOW_MS + 91 * DAY_MS], np.int64)
        bad = Validator(schema, "event_time", BOUNDS).refuse(from_records(rows, arrow_schema(schema.text)), ingest)
        assert [(item.row, item.message) for item in bad] == [
            (0, "event_time is 1.0 days after the ingest time; 0.0417 are allowed"),
            (2, "event_time is 91.0 days before the ingest time; 90 are allowed"),
        ]

    def test_without_bounds_it_is_a_time_like_others(self) -> None:
        assert refused("clicks", {"event_time": 0}, bounds=None) == []
        assert [bad.error for bad in refused("clicks", {"event_time": -1}, bounds=None)] == ["bad_value"]


def test_a_record_is_refused_once_for_the_first_rule_it_breaks() -> None:
    everything = {"account_id": "", "channel": "x" * 300, "event_time": 0, "pixel_ratio": float("nan")}
    assert [(bad.row, bad.error) for bad in refused("clicks", everything)] == [(1, "missing_id")]


class TestDroppedValues:
    def drop(self, column: pa.Array, name: str) -> tuple[Any, int]:
        schema = definition("conversions")
        rows = from_records([full_record("conversions", row) for row in range(len(column))], arrow_schema(schema.text))
        position = rows.schema.get_field_index(name)
        batch = rows.set_column(position, rows.schema.field(position), column)
        validator = Validator(schema, None, None)
        kept, counts = validator.drop_bad_fields(batch)
        assert kept.drop_columns([name]).equals(rows.drop_columns([name]))
        assert set(counts) <= {name}
        assert len(validator.refuse_droppable(batch)) <= sum(counts.values())
        return kept.column(name).to_pylist(), counts.get(name, 0)

    def test_an_address_in_the_place_of_its_hash(self) -> None:
        column = pa.array(["jo@example.com", HASH, None, HASH.upper(), ""])
        assert self.drop(column, "email_sha256") == ([None, HASH, None, None, None], 3)

    def test_good_ones_are_left_alone(self) -> None:
        assert self.drop(pa.array([HASH, None]), "phone_sha256") == ([HASH, None], 0)
        assert self.drop(pa.array([None, None], pa.string()), "external_id_sha256") == ([None, None], 0)

    def test_values_and_keys_of_maps(self) -> None:
        entries = [
            [("fn", HASH), ("ln", "Doe")],
            [],
            [("jo@example.com", HASH)],
            [("k" * 33, HASH), ("ct", HASH)],
            [("st", None)],
        ]
        kept, count = self.drop(pa.array(entries, MATCH_KEYS), "user_data_sha256")
        assert kept == [[("fn", HASH)], [], [], [("ct", HASH)], []]
        assert count == 4
        assert self.drop(pa.array([[("st", None)]], MATCH_KEYS), "user_data_sha256") == ([[]], 1)

    def test_a_slice_of_maps_is_judged_by_its_own_entries(self) -> None:
        column = pa.array([[("fn", "Jo")], [("ln", HASH)], [("ct", "Bonn")]], MATCH_KEYS)
        assert self.drop(column.slice(1, 1), "user_data_sha256") == ([[("ln", HASH)]], 0)
        assert self.drop(column.slice(1, 2), "user_data_sha256") == ([[("ln", HASH)], []], 1)

    def test_a_publisher_is_told_the_row(self) -> None:
        schema = definition("clicks")
        rows = [full_record("clicks"), full_record("clicks") | {"email_sha256": "jo@example.com"}]
        batch = from_records(rows, arrow_schema(schema.text))
        [bad] = Validator(schema, None, None).refuse_droppable(batch)
        assert (bad.row, bad.error) == (1, "bad_value")
        assert "jo@" not in bad.message


class TestAbsentValues:
    def absent(self, contract: str, *changes: dict[str, Any]) -> list[tuple[int, str]]:
        schema = definition(contract)
        batch = from_records([full_record(contract) | change for change in changes], arrow_schema(schema.text))
        return [(bad.row, bad.message) for bad in Validator(schema, None, None).refuse_absent(batch)]

    def test_fields(self) -> None:
        assert self.absent("clicks", {}, {"click_id": None}, {"source_version": None}, {"channel": None}) == [
            (1, "click_id not given"),
            (2, "source_version not given"),
        ]

    def test_members(self) -> None:
        """Encoded, they would be zero and the empty string."""
        changes = [
            {"actions": [{"action_type": "x"}]},
            {"actions": [{"count": 1.0}, {"action_type": "x", "count": 1.0}]},
        ]
        assert self.absent("ad-performance", *changes, {"actions": []}) == [
            (1, "actions.action_type not given"),
            (0, "actions.count not given"),
        ]
