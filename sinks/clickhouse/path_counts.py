"""What ClickHouse knows of an account's paths: the view `path_counts`, which defines what a journey is."""

from typing import NamedTuple

import pyarrow as pa

from sinks.clickhouse.client import ClickHouse, quoted

__all__ = ["Period", "converting_accounts", "path_counts"]


class Period(NamedTuple):
    """When journeys ended that are counted: from `since_ms` on, before `until_ms`, milliseconds since the epoch."""

    since_ms: int
    until_ms: int


def converting_accounts(clickhouse: ClickHouse, period: Period) -> list[tuple[str, str]]:
    """Accounts and names of events of which conversions with a touchpoint lie in a period, sorted.

    Raises Unavailable, Refused.
    """
    found = clickhouse.query(
        "SELECT DISTINCT toString(account_id) AS account_id, toString(event_name) AS event_name "
        "FROM attributed_conversions FINAL WHERE notEmpty(touchpoints.click_id) "
        f"AND toUnixTimestamp64Milli(event_time) >= {period.since_ms} "
        f"AND toUnixTimestamp64Milli(event_time) < {period.until_ms} ORDER BY account_id, event_name"
    )
    return list(zip(found.column("account_id").to_pylist(), found.column("event_name").to_pylist(), strict=True))


def path_counts(clickhouse: ClickHouse, account_id: str, event_name: str, period: Period, lookback_s: int) -> pa.Table:
    """How many journeys took each path, a row a path and currency: path, currency, conversions, valued,
    value_micros, nulls.

    Raises Unavailable, Refused.
    """
    return clickhouse.query(
        "SELECT path, currency, conversions, valued, value_micros, nulls FROM path_counts("
        f"account = {quoted(account_id)}, event = {quoted(event_name)}, since_ms = {period.since_ms}, "
        f"until_ms = {period.until_ms}, lookback_s = {lookback_s})"
    )
