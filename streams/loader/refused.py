"""Which rows of a refused block are at fault."""

from collections.abc import Callable

import pyarrow as pa

from sinks.errors import Refused

__all__ = ["BlockRefused", "refused_rows"]

#: Errors that no other values would have avoided: the table, or what the loader may do, is not what it should be.
NOT_THE_ROWS = frozenset(
    {
        "ACCESS_DENIED",
        "AUTHENTICATION_FAILED",
        "CANNOT_CONVERT_TYPE",
        "ILLEGAL_COLUMN",
        "ILLEGAL_TYPE_OF_ARGUMENT",
        "LOGICAL_ERROR",
        "NOT_IMPLEMENTED",
        "NO_SUCH_COLUMN_IN_TABLE",
        "READONLY",
        "SYNTAX_ERROR",
        "THERE_IS_NO_COLUMN",
        "TYPE_MISMATCH",
        "UNKNOWN_DATABASE",
        "UNKNOWN_IDENTIFIER",
        "UNKNOWN_SETTING",
        "UNKNOWN_TABLE",
    }
)


class BlockRefused(Refused):
    """ClickHouse refuses a block, and not because of some of its rows: a person has to look."""


def refused_rows(rows: pa.Table, refusal: Refused, attempt: Callable[[pa.Table], None]) -> dict[int, Refused]:
    """The rows that `attempt` refuses on their own, by position, found by halving; `refusal` is that of them all.

    `attempt` must leave nothing behind. It is called for no rows at all first: where even these are refused, the
    rows are not at fault. Raises BlockRefused then, and where all rows are taken after all.
    """
    try:
        attempt(rows.slice(0, 0))
    except Refused as empty:
        raise BlockRefused(f"{empty}, also where there are no rows: it is not the rows", empty.reason) from None
    found = _refused(rows, 0, attempt)
    if not found:
        raise BlockRefused(
            f"{refusal}. It takes the rows into a table of the same columns and constraints: it is something attached "
            "to the table, such as a materialized view, or its engine",
            refusal.reason,
        )
    return found


def _refused(rows: pa.Table, first: int, attempt: Callable[[pa.Table], None]) -> dict[int, Refused]:
    try:
        attempt(rows)
        return {}
    except Refused as refusal:
        if refusal.reason in NOT_THE_ROWS:
            raise BlockRefused(f"{refusal}, which is not for its values", refusal.reason) from None
        if rows.num_rows == 1:
            return {first: refusal}
    half = rows.num_rows // 2
    return _refused(rows.slice(0, half), first, attempt) | _refused(rows.slice(half), first + half, attempt)
