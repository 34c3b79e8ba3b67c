"""Files of audits: what a row may leave out, and what it must not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from streams.files import Row, RowReader, UnreadableFile, columns_of, read_rows
from streams.import_rows import of_account

__all__ = ["audit_rows"]

REQUIRED = ("conversion_id", "ad_id")


def audit_rows(account_id: str | None) -> RowReader:
    """Reads rows of a file of audits, which are of this account where they do not say so.

    Where no ad led to a conversion its ad_id is empty, or null. A file or a row that has none at all says nothing,
    and is refused: it would count as so many conversions without an ad. Raises UnreadableFile.
    """

    def rows(file: Path, form: str, topic: str) -> Iterator[Row]:
        columns = columns_of(file, form)
        if columns is not None and (missing := [name for name in REQUIRED if name not in columns]):
            raise UnreadableFile(f"{file} has no column {' and no '.join(missing)}")
        named = columns is not None
        return (_complete(row, account_id, named) for row in read_rows(file, form, topic))

    return rows


def _complete(row: Row, account_id: str | None, named: bool) -> Row:
    """The row with what it may leave out. `named`: that it has an ad_id, the file's columns say."""
    if row.record is not None and not named and "ad_id" not in row.record:
        return replace(row, record=None, problem="missing_field: ad_id not given; null where no ad led to it")
    return of_account(row, account_id)
