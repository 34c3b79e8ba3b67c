"""Rows of files that somebody has written by hand: of which account they are, and what they leave out."""

from dataclasses import replace

from streams.files import Row

__all__ = ["of_account"]


def of_account(row: Row, account_id: str | None) -> Row:
    """The row without what is empty or null; of this account where it does not say so, and of no other."""
    if row.record is None:
        return row
    record = {name: value for name, value in row.record.items() if value not in (None, "")}
    if account_id is not None and record.setdefault("account_id", account_id) != account_id:
        return replace(row, record=None, problem=f"bad_value: account_id is not {account_id}")
    return replace(row, record=record)
