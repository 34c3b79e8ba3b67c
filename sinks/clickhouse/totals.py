"""What ClickHouse has of totals that a later estimate of the same days has to replace."""

from typing import NamedTuple

import pyarrow as pa

from sinks.clickhouse.client import ClickHouse, quoted

__all__ = ["Days", "published_totals"]


class Days(NamedTuple):
    """From one day to another, both in it, since 1970."""

    first: int
    last: int


def published_totals(clickhouse: ClickHouse, account_id: str, days: Days, as_of_ms: int) -> pa.Table:
    """Rows of an account's ads that an earlier estimate has of single days, or of all of them: ad_account_id, ad_id,
    day (since 1970; of several the last), days.

    Left out are what earlier estimates have said to be empty; what was said to be as of this time is not, so that
    whoever says it again says all of it. Raises Unavailable, Refused.
    """
    return clickhouse.query(
        "SELECT toString(ad_account_id) AS ad_account_id, ad_id, toInt32(day) AS day, days "
        f"FROM attribution_totals FINAL WHERE account_id = {quoted(account_id)} AND NOT is_organic "
        f"AND toInt32(day) BETWEEN {days.first} AND {days.last} "
        f"AND (days = 1 OR (days = {days.last - days.first + 1} AND toInt32(day) = {days.last})) "
        f"AND (toUnixTimestamp64Milli(as_of) = {as_of_ms} "
        f"OR (toUnixTimestamp64Milli(as_of) < {as_of_ms} AND high_micros > 0)) "
        "ORDER BY ad_account_id, ad_id, day, days"
    )
