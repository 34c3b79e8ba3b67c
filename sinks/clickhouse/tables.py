"""From decoded topics to the rows of their tables."""

import re
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.redaction import redact_text
from sinks.clickhouse import coarsen

__all__ = ["LOADED", "table_name", "to_rows"]

#: Topics that are loaded, one table each.
LOADED = (
    *("clicks", "conversions", "crm-events", "ad-performance"),
    *("attributed-conversions", "identity-links", "attribution-quality", "match-models", "audits", "model-credit"),
    *("attribution-totals", "holdouts", "deal-matches"),
)

#: Tables of which the topic's own name is that of a view: of the newest versions, of what the rows come to.
OTHERWISE_NAMED = {"model-credit": "model_credit_versions", "attribution-quality": "evaluated_conversions"}
UTM = tuple(f"utm_{part}" for part in ("source", "medium", "campaign", "term", "content", "id"))
#: Columns that stand for one a table must not hold: name in the table -> how it comes from the original.
COARSE: Mapping[str, Mapping[str, Callable[[str], str]]] = {
    "ip": {"ip_network": coarsen.network},
    "user_agent": {"browser": coarsen.browser, "os": coarsen.os, "device": coarsen.device},
    "landing_url": {"landing_page": coarsen.page},
    "referrer": {"referrer_page": coarsen.page},
    "event_source_url": {"event_source_page": coarsen.page},
    # For publishers that have not done it themselves.
    **{name: {name: redact_text} for name in UTM},
}


def table_name(contract: str) -> str:
    """The table of a topic.

    >>> table_name("ad-performance")
    'ad_performance'
    """
    return OTHERWISE_NAMED.get(contract) or re.sub(r"\W", "_", contract)


def to_rows(
    batch: pa.RecordBatch,
    columns: frozenset[str],
    partition: int | npt.NDArray[np.int32],
    offsets: npt.NDArray[np.int64],
    ingest_ms: npt.NDArray[np.int64],
) -> pa.Table:
    """Rows for a table that has these columns; what it has no column for is left out.

    So is what no row has a value for: a table's own default is the same, the empty string or null, and costs nothing
    here. `offsets` and `ingest_ms` have shape (batch.num_rows,), as `partition` has where the rows are of several.
    """
    rows: dict[str, pa.Array] = {}
    for field, column in zip(batch.schema, batch.columns, strict=True):
        if column.null_count == batch.num_rows:
            continue
        if field.name in COARSE:
            for name, function in COARSE[field.name].items():
                if name in columns:
                    rows[name] = coarsen.of_distinct(column, function)
        elif pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            rows |= {name: member for name, member in _nested(field.name, column).items() if name in columns}
        elif field.name in columns:
            rows[field.name] = _without_null_strings(column)
    rows["ingest_time"] = pa.array(ingest_ms, pa.timestamp("ms"))
    rows["kafka_partition"] = pa.array(np.full(batch.num_rows, partition, np.int32))
    rows["kafka_offset"] = pa.array(offsets, pa.int64())
    return pa.table(rows)


def _nested(name: str, column: pa.ListArray) -> dict[str, pa.Array]:
    """A list of structs as ClickHouse's Nested: a list for each member."""
    members = column.flatten()
    offsets = pa.array(np.concatenate(([0], np.cumsum(column.value_lengths().to_numpy()))), pa.int32())
    return {
        f"{name}.{field.name}": pa.ListArray.from_arrays(offsets, _without_nulls(members.field(position)))
        for position, field in enumerate(column.type.value_type)
    }


def _without_null_strings(column: pa.Array) -> pa.Array:
    return column.fill_null("") if pa.types.is_string(column.type) else column


def _without_nulls(column: pa.Array) -> pa.Array:
    """Members of a Nested have no null: an absent number is zero there, an absent string empty."""
    if column.null_count == 0:
        return column
    return column.fill_null("" if pa.types.is_string(column.type) else 0)
