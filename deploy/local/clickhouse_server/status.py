"""The HTTP status ClickHouse gives an error, by the error's name."""

from __future__ import annotations

__all__ = ["http_status"]

STATUS = {
    "DUPLICATE_COLUMN": 400,
    "ILLEGAL_COLUMN": 400,
    "INCORRECT_DATA": 400,
    "SYNTAX_ERROR": 400,
    "TOO_BIG_AST": 400,
    "TOO_DEEP_AST": 400,
    "TYPE_MISMATCH": 400,
    "UNEXPECTED_AST_STRUCTURE": 400,
    "UNKNOWN_ELEMENT_IN_AST": 400,
    "UNKNOWN_TYPE_OF_AST_NODE": 400,
    "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE": 400,
    "UNKNOWN_AGGREGATE_FUNCTION": 404,
    "UNKNOWN_DATABASE": 404,
    "UNKNOWN_DATABASE_ENGINE": 404,
    "UNKNOWN_FORMAT": 404,
    "UNKNOWN_FUNCTION": 404,
    "UNKNOWN_IDENTIFIER": 404,
    "UNKNOWN_SETTING": 404,
    "UNKNOWN_STORAGE": 404,
    "UNKNOWN_TABLE": 404,
    "UNKNOWN_TYPE": 404,
    "UNKNOWN_TYPE_OF_QUERY": 404,
    "QUERY_IS_TOO_LARGE": 413,
    "NOT_IMPLEMENTED": 501,
}


def http_status(name: str) -> int:
    """The status for the error of that name; 500 for those ClickHouse has no other for.

    >>> http_status("UNKNOWN_TABLE"), http_status("CANNOT_PARSE_DATE"), http_status("MEMORY_LIMIT_EXCEEDED")
    (404, 400, 500)
    """
    return 400 if name.startswith("CANNOT_PARSE") else STATUS.get(name, 500)
