from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.client.writer import RecordWriter
from schemas.codec import Decoder
from schemas.definitions import arrow_schema, definition, encode, parse, without_logical_types
from schemas.errors import BadRecord
from schemas.topics import TOPICS
from tests.schemas.messages import BOUNDS, INPUTS, NOW_MS, OWN_ID, Schemas, full_record, message, records

WRITERS = {name: RecordWriter(TOPICS[name], definition(name), OWN_ID[name], None) for name in INPUTS}
every_input = pytest.mark.parametrize("contract", INPUTS)
CLICK = {
    "account_id": "acme",
    "click_id": "k",
    "event_time": NOW_MS,
    "consent": "granted",
    "limited_data_use": False,
}
PERFORMANCE = {
    "account_id": "acme",
    "ad_account_id": "1",
    "ad_id": "2",
    "day": date(2026, 1, 31),
    "time_zone": "UTC",
    "as_of": NOW_MS,
    "spend_micros": 5,
    "currency": "EUR",
    "impressions": 3,
    "clicks": 1,
}


def written(contract: str, *rows: dict[str, Any]) -> tuple[pa.RecordBatch, list[BadRecord]]:
    return WRITERS[contract].from_records(rows, Counter())


def of_table(contract: str, table: pa.Table) -> tuple[pa.RecordBatch, list[BadRecord]]:
    return WRITERS[contract].from_table(table, Counter())


def errors(bad: list[BadRecord]) -> list[tuple[int, str]]:
    return [(item.row, item.error) for item in bad]


@every_input
def test_consumers_read_the_columns_that_were_written(contract: str) -> None:
    decoder = Decoder(TOPICS[contract], Schemas(), BOUNDS)

    @settings(max_examples=30)
    @given(st.lists(records(contract), min_size=1, max_size=10))
    def property_holds(rows: list[dict[str, Any]]) -> None:
        batch, bad = written(contract, *rows)
        assert bad == []
        messages = list(WRITERS[contract].encode(batch))
        decoded = decoder.decode(messages, np.full(len(rows), NOW_MS, np.int64))
        assert decoded.batch.equals(batch)
        assert not decoded.bad
        assert not decoded.dropped_fields

    property_holds()


@every_input
def test_a_table_is_written_as_its_records_are(contract: str) -> None:
    @settings(max_examples=20)
    @given(st.lists(records(contract), min_size=1, max_size=6), st.integers(0, 3))
    def property_holds(rows: list[dict[str, Any]], skipped: int) -> None:
        batch, bad = written(contract, *rows[skipped:])
        assert bad == []
        whole = pa.Table.from_batches([written(contract, *rows)[0]])
        from_slice, bad = of_table(contract, whole.slice(skipped))
        assert bad == []
        assert list(WRITERS[contract].encode(from_slice)) == list(WRITERS[contract].encode(batch))

    property_holds()


@every_input
def test_every_field_is_written_as_fastavro_does(contract: str) -> None:
    record = full_record(contract)
    for name in ("ip", "fbp", "fbc", "lead_id"):
        if name in record:
            record[name] = None
    batch, bad = written(contract, record)
    assert bad == []
    assert list(WRITERS[contract].encode(batch)) == [message(contract, record)]


@pytest.mark.parametrize("contract", ["attributed-conversions", "attribution.dlt"])
def test_what_the_batch_encoder_cannot_do_is_written_one_by_one(contract: str) -> None:
    topic = TOPICS[contract]
    schema = definition(topic.schema)
    writer = RecordWriter(topic, schema, 9, None)
    if topic.schema == "dead-letters":
        row: dict[str, Any] = {field["name"]: 5 for field in schema.fields} | {
            **dict.fromkeys(("dead_letter_id", "role", "topic", "topic_id", "error_class", "error_message"), "x"),
            "account_id": None,
            "key": b"\xff",
            "value": b"\x00",
            "headers": [{"key": "h", "value": None}],
            "is_cut": False,
        }
    else:
        row = dict(schema.defaults) | dict.fromkeys(schema.required, 1)
        row |= {"touchpoints": [{"click_id": "k", "event_time": NOW_MS, "interaction": "click"}], "credits": []}
        texts = {field.name for field in arrow_schema(schema.text) if pa.types.is_string(field.type)}
        row |= dict.fromkeys(texts & set(schema.required), "x") | {"limited_data_use": True}
    batch, bad = writer.from_records([row], Counter())
    assert bad == []
    parsed = parse(without_logical_types(schema.text))
    complete = row | ({"touchpoints": [touchpoint_of(row)]} if "touchpoints" in row else {})
    assert [value[5:] for value in writer.encode(batch)] == [encode(parsed, complete)]


def touchpoint_of(row: dict[str, Any]) -> dict[str, Any]:
    names = arrow_schema(definition("attributed-conversions").text).field("touchpoints").type.value_type
    return {field.name: row["touchpoints"][0].get(field.name) for field in names}


def test_what_is_not_given_gets_its_default() -> None:
    batch, bad = written("clicks", CLICK, CLICK | {"source_version": None, "interaction": None})
    assert bad == []
    for row in batch.to_pylist():
        assert (row["source_version"], row["interaction"], row["channel"]) == (0, "click", None)


def test_a_table_gets_defaults_too() -> None:
    table = pa.Table.from_pylist([CLICK | {"source_version": 5}, CLICK | {"source_version": None}])
    batch, bad = of_table("clicks", table)
    assert bad == []
    assert batch.column("source_version").to_pylist() == [5, 0]
    assert batch.column("interaction").to_pylist() == ["click", "click"]


def test_every_bad_record_is_found_at_its_row() -> None:
    rows: list[dict[str, Any]] = [
        CLICK,
        {**CLICK, "click_id": None},
        {**CLICK, "colour": "red"},
        {**CLICK, "event_time": "yesterday"},
        CLICK,
        {**CLICK, "click_id": ""},
        {**CLICK, "channel": "x" * 257},
        {**CLICK, "email_sha256": "jo@example.com"},
        {**CLICK, "event_time": datetime(2026, 1, 1)},
        {**CLICK, "source_version": 1.5},
        {**CLICK, "source_version": 2**63},
        {**CLICK, "channel": "\ud800"},
        {**CLICK, "pixel_ratio": float("nan")},
        {**CLICK, "click_id": "", "channel": "x" * 257},
        CLICK,
    ]
    _, bad = written("clicks", *rows)
    assert errors(bad) == [
        (1, "missing_field"),
        (2, "unknown_field"),
        (3, "wrong_type"),
        (5, "missing_id"),
        (6, "field_too_long"),
        (7, "bad_value"),
        (8, "wrong_type"),
        (9, "wrong_type"),
        (10, "wrong_type"),
        (11, "wrong_type"),
        (12, "bad_value"),
        (13, "missing_id"),
    ]
    assert not any("jo@" in item.message for item in bad)


def test_members_of_lists_must_be_whole() -> None:
    """Encoded, an absent count would be zero."""
    action = {"action_type": "purchase", "count": 2.0}
    _, bad = written(
        "ad-performance",
        PERFORMANCE | {"actions": [action]},
        PERFORMANCE | {"actions": [action, {"action_type": "x"}]},
        PERFORMANCE | {"actions": [None]},
        PERFORMANCE | {"actions": [action | {"value_micros": 0.5}]},
        PERFORMANCE | {"actions": 5},
    )
    assert errors(bad) == [(1, "missing_field"), (2, "missing_field"), (3, "wrong_type"), (4, "wrong_type")]


def test_event_times_are_held_against_the_clock() -> None:
    writer = RecordWriter(TOPICS["clicks"], definition("clicks"), 1, BOUNDS)
    now = datetime.now(UTC)
    rows = [CLICK | {"event_time": now + timedelta(days=days)} for days in (-91, -89, 0, 1)]
    _, bad = writer.from_records(rows, Counter())
    assert errors(bad) == [(0, "event_time_out_of_range"), (3, "event_time_out_of_range")]


def test_times_are_converted_to_utc() -> None:
    east = datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    batch, _ = written("clicks", CLICK | {"event_time": east})
    from_table, _ = of_table(
        "clicks",
        pa.table(
            {name: [value] for name, value in CLICK.items()}
            | {"event_time": pa.array([east], pa.timestamp("us", "+05:00"))}
        ),
    )
    for found in (batch, from_table):
        assert found.column("event_time").cast(pa.int64()).to_pylist() == [1_767_225_600_000]


class TestTables:
    def table(self, **columns: Any) -> pa.Table:
        return pa.table({name: [value] for name, value in CLICK.items()} | columns)

    def test_columns_of_other_types_are_cast(self) -> None:
        table = self.table(
            channel=pa.array(["search"]).dictionary_encode(),
            click_id=pa.array(["k"], pa.large_string()),
            screen_width=pa.array([390], pa.int64()),
            source_version=pa.array([3.0]),
        )
        batch, bad = of_table("clicks", table)
        assert bad == []
        [row] = batch.to_pylist()
        assert (row["channel"], row["screen_width"], row["source_version"]) == ("search", 390, 3)

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"event_time": ["soon"]}, "event_time is string, not timestamp[ms]"),
            ({"source_version": [1.5]}, "source_version is double, not int64"),
            ({"screen_width": pa.array([2**40])}, "screen_width is int64, not int32"),
            ({"event_time": pa.array([1], pa.timestamp("ns"))}, "event_time is timestamp[ns], not timestamp[ms]"),
            ({"channel": pa.array([b"\xff"])}, "channel is binary, not string"),
        ],
    )
    def test_what_does_not_cast_without_loss_is_refused(self, columns: dict[str, Any], message: str) -> None:
        _, [bad] = of_table("clicks", self.table(**columns))
        assert (bad.row, bad.error, bad.message) == (0, "wrong_type", message)

    def test_missing_and_unknown_columns_are_named(self) -> None:
        _, bad = of_table("clicks", self.table(colour=["red"]).drop_columns(["click_id", "consent"]))
        assert [(item.error, item.message) for item in bad] == [
            ("missing_field", "click_id not given"),
            ("missing_field", "consent not given"),
            ("unknown_field", "clicks has no colour"),
        ]

    def test_bad_rows_are_numbered_in_order(self) -> None:
        table = pa.concat_tables(
            [self.table(), self.table(email_sha256=["x"]), self.table(click_id=pa.array([""]))],
            promote_options="default",
        )
        assert errors(of_table("clicks", table)[1]) == [(1, "bad_value"), (2, "missing_id")]
        missing = pa.concat_tables([self.table(), self.table(click_id=pa.array([None], pa.string()))])
        assert errors(of_table("clicks", missing)[1]) == [(1, "missing_field")]


def test_the_key_is_the_first_field_with_a_value() -> None:
    rows = [CLICK | {"visitor_id": visitor, "click_id": "k"} for visitor in ("v", None, "", "é")]
    batch, _ = written("clicks", *rows)
    assert list(WRITERS["clicks"].keys(batch)) == [b"v", b"k", b"k", "é".encode()]


def test_a_scoped_key_has_the_tenant_in_front() -> None:
    topic = replace(TOPICS["clicks"], is_scoped=True)
    writer = RecordWriter(topic, definition("clicks"), OWN_ID["clicks"], None)
    accounts = ("acme", "v"), ("7:acme", "v"), ("münchen", "k")
    rows = [CLICK | {"account_id": account, "visitor_id": visitor} for account, visitor in accounts]
    batch, _ = writer.from_records(rows, Counter())
    assert writer.keys(batch) == [b"4:acme:v", b"6:7:acme:v", "8:münchen:k".encode()]


@pytest.mark.parametrize("name", ["jo@shop.example", "+49 171 1234567", "491711234567", "Jo Smith"])
def test_what_is_no_name_of_a_field_is_not_repeated(name: str) -> None:
    _, [bad] = of_table("clicks", pa.table({key: [value] for key, value in CLICK.items()} | {name: ["y"]}))
    _, [other] = written("clicks", CLICK | {name: "y"})
    assert bad.message == other.message == "clicks has no field with one of the names given"


def test_no_records_are_no_messages() -> None:
    batch, bad = written("clicks")
    assert (batch.num_rows, bad, list(WRITERS["clicks"].encode(batch))) == (0, [], [])
