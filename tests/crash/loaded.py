"""Rows in ClickHouse, each one there is, against what was sent."""

from collections import Counter

from sinks.clickhouse.migrations import apply
from sinks.clickhouse.tables import table_name
from streams.clickhouse import connect, migrations
from streams.settings import Settings
from tests.crash.load import Journeys
from tests.crash.outcome import Found

__all__ = ["compare", "prepare"]

IDS = {"clicks": "click_id", "conversions": "conversion_id"}


def prepare(settings: Settings) -> None:
    """Make the tables, and have nothing merged in them: a merge would hide a doubled row."""
    with connect(settings) as clickhouse:
        apply(clickhouse, migrations())
        for contract in IDS:
            clickhouse.command(f"SYSTEM STOP MERGES {settings.clickhouse.database}.{table_name(contract)}")


def compare(settings: Settings, journeys: Journeys) -> Found:
    """Each record has one row, looked at without FINAL."""
    found = Found()
    with connect(settings) as clickhouse:
        for contract, field in IDS.items():
            sent = getattr(journeys, contract).column(field).to_pylist()
            rows = Counter(clickhouse.query(f"SELECT {field} FROM {table_name(contract)}").column(field).to_pylist())
            found.sent += len(sent)
            found.found += sum(rows[record] == 1 for record in sent)
            found.hold_against(Counter(sent), rows, f"row of {field}")
    return found
