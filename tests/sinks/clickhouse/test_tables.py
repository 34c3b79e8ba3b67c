"""Every column of every table is filled from the contract, and nothing raw gets through."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from schemas.definitions import arrow_schema, definition, from_records
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import COARSE as COARSE_COLUMNS
from sinks.clickhouse.tables import LOADED, table_name, to_rows
from tests.sinks.clickhouse.loading import load

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1 SECRET-AGENT"
)
#: What must not reach a table, by field: each of these holds SECRET or an address that is one.
RAW = {
    "ip": "192.0.2.77",
    "user_agent": IPHONE,
    "landing_url": "https://u:SECRET@x.example/landing?SECRET=SECRET#SECRET",
    "referrer": "https://x.example/referrer?q=SECRET",
    "event_source_url": "https://x.example/source?email=SECRET@x.example",
    "consent_string": "SECRET",
    "user_data_sha256": {"fn": "SECRET"},
    "attributed_fbclid": "SECRET",
}
SECRETS = ("SECRET", "192.0.2.77")
COARSE = {
    "ip_network": "192.0.2.0/24",
    "browser": "Mobile Safari 17",
    "os": "iOS",
    "device": "Apple",
    "landing_page": "https://x.example/landing",
    "referrer_page": "https://x.example/referrer",
    "event_source_page": "https://x.example/source",
}
#: What is nobody's question: it is for forwarding and matching, or has a column in the table it comes from.
LIMITED_BY = {"consent_string", "limited_data_use_country", "limited_data_use_state"}
LEFT_OUT = {
    "clicks": {"consent_string", "pixel_ratio"},
    "conversions": {*LIMITED_BY, "pixel_ratio", "user_data_sha256"},
    "crm-events": LIMITED_BY,
    "attributed-conversions": {
        *LIMITED_BY,
        *("source_version", "fbclid", "fbp", "fbc", "gclid", "attributed_fbclid", "fbclid_first_seen"),
        *("email_sha256", "phone_sha256", "external_id_sha256", "user_data_sha256"),
        *("language", "time_zone", "screen_width", "screen_height", "pixel_ratio"),
    },
    "match-models": {"model", "sums"},
}
INGEST_MS, PARTITION = 1_750_000_000_123, 3


def as_time(value_ms: int) -> datetime:
    return datetime.fromtimestamp(value_ms / 1000, UTC)


def filled(name: str, avro: Any, number: int) -> Any:
    """A value that no other field of the record has, of this Avro type."""
    if name in RAW:
        return RAW[name]
    if isinstance(avro, list):
        return filled(name, next(branch for branch in avro if branch != "null"), number)
    if isinstance(avro, str):
        simple = {"boolean": True, "int": number, "long": number, "double": number + 0.5, "string": f"{name}-{number}"}
        return "EUR" if name == "currency" else simple[avro]
    if avro.get("logicalType") == "date":
        return date(2025, 6, 1) + timedelta(days=number)
    if avro.get("logicalType") == "timestamp-millis":
        return as_time(INGEST_MS - 1_000 * number)
    if avro["type"] == "array":
        return [filled(name, avro["items"], number + 100), filled(name, avro["items"], number + 200)]
    assert avro["type"] == "record"
    return {
        field["name"]: filled(field["name"], field["type"], number + offset)
        for offset, field in enumerate(avro["fields"])
    }


def full_record(topic: str) -> dict[str, Any]:
    return {
        field["name"]: filled(field["name"], field["type"], number)
        for number, field in enumerate(definition(topic).fields, 1)
    }


def bare_record(topic: str) -> dict[str, Any]:
    """Only what a record must give, and its own id."""
    record = full_record(topic)
    ids = {
        name: "bare"
        for name in ("click_id", "conversion_id", "event_id", "deal_id", "ad_id", "model")
        if name in record
    }
    return {**{name: record[name] for name in definition(topic).required}, **ids, **_nullable_absent(topic)}


def _nullable_absent(topic: str) -> dict[str, None]:
    fields = definition(topic).fields
    return {f["name"]: None for f in fields if isinstance(f["type"], list) and f.get("default", "") is None}


def columns(clickhouse: ClickHouse, topic: str) -> dict[str, str]:
    found = clickhouse.query(
        f"SELECT name, type FROM system.columns WHERE database = '{clickhouse.database}' "
        f"AND table = '{table_name(topic)}' AND default_kind IN ('', 'DEFAULT')"
    )
    return dict(zip(found.column("name").to_pylist(), found.column("type").to_pylist(), strict=True))


def row_of(clickhouse: ClickHouse, topic: str, bare: bool) -> dict[str, Any]:
    names = ", ".join(f"`{name}`" for name in columns(clickhouse, topic))
    rows = clickhouse.query(f"SELECT {names} FROM {table_name(topic)} FINAL WHERE kafka_offset = {int(bare)}")
    [row] = rows.to_pylist()
    return row


def member_or_value(record: Mapping[str, Any], column: str) -> Any:
    name, _, member = column.partition(".")
    return [item[member] for item in record[name]] if member else record[name]


@pytest.fixture(scope="module")
def loaded(tables: ClickHouse) -> ClickHouse:
    for topic in LOADED:
        records = [full_record(topic), bare_record(topic)]
        load(tables, topic, records, f"{topic}-1", [INGEST_MS, INGEST_MS], PARTITION)
    return tables


@pytest.mark.parametrize("topic", LOADED)
def test_every_column_has_the_value_the_contract_gives(loaded: ClickHouse, topic: str) -> None:
    record = {**full_record(topic), **COARSE, "ingest_time": as_time(INGEST_MS)}
    record |= {"kafka_partition": PARTITION, "kafka_offset": 0}
    row = row_of(loaded, topic, bare=False)
    assert row == {column: member_or_value(record, column) for column in row}
    assert not [column for column, value in row.items() if value in ("", None, [], 0) and column != "kafka_offset"]


@pytest.mark.parametrize("topic", LOADED)
def test_what_is_absent_is_empty_or_null(loaded: ClickHouse, topic: str) -> None:
    record = {**definition(topic).defaults, **bare_record(topic)}
    row = row_of(loaded, topic, bare=True)
    absent = {name for name, value in record.items() if value is None} & row.keys() - {"ingest_time"}
    assert absent
    types = columns(loaded, topic)
    for name in absent:
        if "String" in types[name]:
            assert row[name] == "", name
        else:
            assert types[name].startswith("Nullable("), name
            assert row[name] is None, name
    assert all(row[name] == "" for name in COARSE if name in row)
    assert all(row[name] == [] for name in row if "." in name and not member_or_value(record, name))


@pytest.mark.parametrize("topic", LOADED)
def test_a_number_that_may_be_absent_is_nullable(loaded: ClickHouse, topic: str) -> None:
    """ClickHouse would store zero without a word."""
    types = columns(loaded, topic)
    for field in definition(topic).fields:
        if isinstance(field["type"], list) and field["name"] in types and field["name"] != "ingest_time":
            assert "String" in types[field["name"]] or types[field["name"]].startswith("Nullable("), field["name"]


@pytest.mark.parametrize("topic", LOADED)
def test_what_no_table_has_a_column_for_is_known(loaded: ClickHouse, topic: str) -> None:
    """A field that a new version of a schema brings would be left out without a word."""
    stored = {name.partition(".")[0] for name in columns(loaded, topic)} | COARSE_COLUMNS.keys()
    fields = {field["name"] for field in definition(topic).fields}
    assert fields - stored == LEFT_OUT.get(topic, set())


def test_nothing_raw_is_in_any_table(loaded: ClickHouse) -> None:
    names = loaded.query(f"SELECT name, engine FROM system.tables WHERE database = '{loaded.database}'").to_pylist()
    stored = [table["name"] for table in names if "MergeTree" in table["engine"]]
    assert set(stored) >= {table_name(topic) for topic in LOADED}
    for name in stored:
        text = json.dumps(loaded.query(f"SELECT * FROM {name}").to_pylist(), default=str)
        assert not [secret for secret in SECRETS if secret in text], name
    clicks = json.dumps(loaded.query("SELECT * FROM clicks").to_pylist(), default=str)
    assert COARSE["landing_page"] in clicks, "the search above would find what is there"


def test_every_raw_field_is_in_the_records() -> None:
    assert set(RAW) <= {name for topic in LOADED for name in full_record(topic)}


def test_a_column_the_table_has_not_is_left_out() -> None:
    """So that a field may be added to the contract before it is to a table."""
    batch = from_records([full_record("ad-performance")], arrow_schema(definition("ad-performance").text))
    has = frozenset({"ad_id", "actions.count"})
    rows = to_rows(batch, has, PARTITION, np.array([0]), np.array([INGEST_MS]))
    assert set(rows.column_names) == has | {"ingest_time", "kafka_partition", "kafka_offset"}


def test_any_number_of_months_goes_into_one_block(tables: ClickHouse) -> None:
    day = date(1970, 1, 1)
    records = [
        {**bare_record("ad-performance"), "ad_id": f"month-{n}", "day": day + timedelta(days=31 * n)}
        for n in range(150)
    ]
    load(tables, "ad-performance", records, "many-months")
    found = tables.query(
        "SELECT uniqExact(toYYYYMM(day)) AS months, count() AS rows FROM ad_performance WHERE ad_id LIKE 'month-%'"
    )
    assert found.to_pylist() == [{"months": 150, "rows": 150}]


def test_the_limits_of_what_the_contract_allows(tables: ClickHouse) -> None:
    """1970 to 2200, the largest numbers, the longest strings: a block that is refused would stop the loader."""
    edges = {
        "crm-events": [
            {"event_id": "first", "event_time": 0, "stage_entered_time": 0, "amount_micros": -(10**18)},
            {"event_id": "last", "event_time": 7_258_118_400_000, "deal_created_time": 7_258_118_400_000},
            {"event_id": "long", "close_reason": "é" * 512, "amount_micros": 10**18, "source_version": 2**63 - 1},
            {"event_id": "odd", "to_stage": "\x00'\\\n\t\"`;--", "source_version": -(2**63)},
        ],
        "ad-performance": [
            {"ad_id": "first", "day": date(1970, 1, 1), "impressions": 2**63 - 1},
            {"ad_id": "last", "day": date(2200, 1, 1), "spend_micros": -(10**18), "reach": -(2**63)},
            {"ad_id": "floats", "actions": [{"action_type": "a", "count": 1e308, "value_micros": None}]},
        ],
    }
    for topic, records in edges.items():
        key = "event_id" if topic == "crm-events" else "ad_id"
        load(tables, topic, [{**bare_record(topic), **record} for record in records], f"{topic}-edges")
        names = ", ".join(f"'{record[key]}'" for record in records)
        rows = tables.query(f"SELECT * FROM {table_name(topic)} FINAL WHERE {key} IN ({names})").to_pylist()
        by_id = {row[key]: row for row in rows}
        for record in records:
            for name, value in record.items():
                expected = as_time(value) if name.endswith("_time") else value
                if name != "actions":
                    assert by_id[record[key]][name] == expected, name


@pytest.mark.parametrize("topic", ["clicks", "conversions", "crm-events"])
def test_the_greatest_version_wins_wherever_it_lies(tables: ClickHouse, topic: str) -> None:
    """Also where it is older, or in another month than what it replaces, and below zero."""
    key = {"clicks": "click_id", "conversions": "conversion_id", "crm-events": "event_id"}[topic]
    month_ms = 31 * 86_400_000
    versions = [  # (source_version, ingest time, event time)
        (0, 300, 2 * month_ms),
        (1, 200, 5 * month_ms),
        (1, 100, 3 * month_ms),
        (-1, 900, 4 * month_ms),
    ]
    for number, (version, ingest_ms, event_ms) in enumerate(versions):
        record = {**bare_record(topic), key: "versions", "source_version": version, "event_time": as_time(event_ms)}
        load(tables, topic, [record], f"{topic}-version-{number}", [ingest_ms])
    negative = [(-2, 10), (-1, 5), (-3, 20)]
    for number, (version, ingest_ms) in enumerate(negative):
        record = {**bare_record(topic), key: "negative", "source_version": version}
        load(tables, topic, [record], f"{topic}-negative-{number}", [ingest_ms])
    sql = f"SELECT source_version AS v, ingest_time AS t FROM {table_name(topic)} FINAL WHERE {key} = "
    assert tables.query(f"{sql}'versions'").to_pylist() == [{"v": 1, "t": as_time(200)}]
    assert tables.query(f"{sql}'negative'").to_pylist() == [{"v": -1, "t": as_time(5)}]


def test_the_latest_snapshot_of_an_ads_day_wins(tables: ClickHouse) -> None:
    for number, (as_of, spend) in enumerate([(20_000, 7), (30_000, 9), (10_000, 5)]):
        record = {**bare_record("ad-performance"), "ad_id": "snap", "as_of": as_time(as_of), "spend_micros": spend}
        load(tables, "ad-performance", [record], f"snapshot-{number}")
    found = tables.query("SELECT spend_micros FROM ad_performance FINAL WHERE ad_id = 'snap'")
    assert found.to_pylist() == [{"spend_micros": 9}]


@pytest.mark.parametrize("topic", LOADED)
def test_tables_know_blocks_by_their_tokens_for_longer_than_a_partition_stands_still(
    tables: ClickHouse, topic: str
) -> None:
    """Also one that somebody made replicated from the same DDL."""
    created = str(tables.command(f"SHOW CREATE TABLE {table_name(topic)}"))
    windows = {name: int(size) for name, size in re.findall(r"(\w+deduplication_window\w*) = (\d+)", created)}
    assert windows["non_replicated_deduplication_window"] >= 1_000_000
    assert windows["replicated_deduplication_window"] >= 100_000
    assert windows["replicated_deduplication_window_seconds"] >= 7 * 86_400
