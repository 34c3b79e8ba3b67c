"""Applies the DDL files in order, each once."""

import hashlib
import re
from collections.abc import Sequence
from typing import NamedTuple

from sinks.clickhouse.client import ClickHouse

__all__ = ["Migration", "MigrationError", "apply", "statements"]

_STRING = r"""'(?:\\.|[^'\\])*' | "(?:\\.|[^"\\])*" | `(?:\\.|[^`\\])*`"""
_COMMENT = r"--[^\n]* | /\*.*?\*/"
_STATEMENT = re.compile(rf"(?: {_STRING} | {_COMMENT} | [^;] )+", re.VERBOSE | re.DOTALL)
_BLANK = re.compile(rf"(?: {_COMMENT} | \s )*", re.VERBOSE | re.DOTALL)


class Migration(NamedTuple):
    """A DDL file: its name, which gives the order, and its statements, each ended by a semicolon."""

    name: str
    sql: str


class MigrationError(Exception):
    """A file that was applied has been changed since: what is in the database is not what it says."""


def apply(clickhouse: ClickHouse, migrations: Sequence[Migration]) -> list[str]:
    """Apply those not applied yet; returns their names. Raises MigrationError, Unavailable, Refused.

    Every statement is one that may be repeated, so that two loaders starting at once do no harm.
    """
    clickhouse.command(
        "CREATE TABLE IF NOT EXISTS schema_migrations "
        "(name String, checksum String, applied_at DateTime DEFAULT now()) "
        "ENGINE = ReplacingMergeTree(applied_at) ORDER BY name"
    )
    known = clickhouse.query("SELECT name, checksum FROM schema_migrations FINAL")
    checksums = dict(zip(known.column("name").to_pylist(), known.column("checksum").to_pylist(), strict=True))
    applied = []
    for migration in sorted(migrations):
        checksum = hashlib.sha256(migration.sql.encode()).hexdigest()
        if migration.name in checksums:
            if checksums[migration.name] != checksum:
                raise MigrationError(f"{migration.name} was changed after it had been applied: add a new file instead")
            continue
        for statement in statements(migration.sql):
            clickhouse.command(statement)
        clickhouse.command(f"INSERT INTO schema_migrations (name, checksum) VALUES ('{migration.name}', '{checksum}')")
        applied.append(migration.name)
    return applied


def statements(sql: str) -> list[str]:
    """The statements of a file, which semicolons end, but for those inside strings and comments.

    >>> statements("SELECT ';' -- one; statement\\n; SELECT 2;\\n-- the end;")
    ["SELECT ';' -- one; statement\\n", ' SELECT 2']
    """
    return [found[0] for found in _STATEMENT.finditer(sql) if not _BLANK.fullmatch(found[0])]
