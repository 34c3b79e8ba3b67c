"""Files of hold-out tests."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from streams.files import Row, RowReader, read_rows
from streams.import_rows import of_account
from streams.totals.holdouts import REQUIRED, holdout_test

__all__ = ["holdout_rows"]


def holdout_rows(account_id: str | None) -> RowReader:
    """Reads rows of a file of hold-out tests, which are of this account where they do not say so."""

    def rows(file: Path, form: str, topic: str) -> Iterator[Row]:
        return (_checked(of_account(row, account_id)) for row in read_rows(file, form, topic))

    return rows


def _checked(row: Row) -> Row:
    """The row, refused where its fields do not go together. What each has to be by itself, the contract says."""
    if row.record is None or not row.record.keys() >= REQUIRED:
        return row
    try:
        holdout_test(row.record)
    except (ValueError, TypeError) as error:
        return replace(row, record=None, problem=f"bad_value: {error}")
    return row
