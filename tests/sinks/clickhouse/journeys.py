"""Clicks and attributed conversions in few words, put into their tables."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
REQUIRED = {"consent": "granted", "limited_data_use": False}
Row = dict[str, Any]


class Click(NamedTuple):
    account: str
    click_id: str
    visitor: str | None
    event_ms: int
    channel: str | None
    version: int = 0

    def record(self) -> Row:
        return {
            **REQUIRED,
            "account_id": self.account,
            "click_id": self.click_id,
            "visitor_id": self.visitor,
            "event_time": datetime.fromtimestamp(self.event_ms / 1000, UTC),
            "channel": self.channel,
            "source_version": self.version,
        }


class Conversion(NamedTuple):
    account: str
    conversion_id: str
    event: str
    event_ms: int
    touchpoints: Sequence[Click]
    value_micros: int | None
    currency: str | None
    facts_held: int = 1

    def record(self) -> Row:
        members = ("interaction", "ad_account_id", "campaign_id", "adset_id", "ad_id", "creative_id")
        return {
            **REQUIRED,
            "account_id": self.account,
            "conversion_id": self.conversion_id,
            "event_name": self.event,
            "event_time": datetime.fromtimestamp(self.event_ms / 1000, UTC),
            "conversion_ingest_time": datetime.fromtimestamp(0, UTC),
            "value_micros": self.value_micros,
            "currency": self.currency,
            "epoch": 0,
            "facts_held": self.facts_held,
            "origin_topic": "clicks",
            "origin_topic_id": "x",
            "origin_partition": 0,
            "origin_offset": 0,
            "layer": "visitor_id" if self.touchpoints else "none",
            "lookback_window_s": 2 * 86_400,
            "model_version": "m",
            "touchpoints": [
                {
                    **dict.fromkeys(members, ""),
                    "click_id": click.click_id,
                    "visitor_id": click.visitor,
                    "event_time": datetime.fromtimestamp(click.event_ms / 1000, UTC),
                    "channel": click.channel,
                }
                for click in self.touchpoints
            ],
            "credits": [],
        }


def put(clickhouse: ClickHouse, *records: Click | Conversion, token: str) -> None:
    for kind, topic in ((Click, "clicks"), (Conversion, "attributed-conversions")):
        rows = [record.record() for record in records if isinstance(record, kind)]
        if rows:
            load(clickhouse, topic, rows, f"{topic}-{token}")
