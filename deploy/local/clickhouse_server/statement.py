"""Tell apart what ClickHouse's HTTP interface carries in one text: a statement and the data of an insert."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["DataInsert", "result_format", "split_insert"]

_BLANK = rb"(?:\s|--[^\n]*(?:\n|\Z)|/\*.*?\*/)"
_INSERT = re.compile(rb"%s*INSERT\s" % _BLANK, re.IGNORECASE | re.DOTALL)
_READS = re.compile(
    rb"(?:%s|\()*(?:SELECT|WITH|SHOW|DESC|DESCRIBE|EXISTS|EXPLAIN|CHECK|FROM|VALUES|KILL)\b" % _BLANK,
    re.IGNORECASE | re.DOTALL,
)
# Quoted names, strings and comments are matched first, so that words inside of them count for nothing.
_INSERT_WORD = re.compile(
    rb"""'(?:\\.|''|[^'\\])*' | "(?:\\.|[^"\\])*" | `(?:\\.|[^`\\])*` | --[^\n]* | /\*.*?\*/
    | \b(?P<other>SELECT|WITH|VALUES|FROM|WATCH)\b
    | \b(?P<settings>SETTINGS)\b
    | \bFORMAT\s+(?P<format>\w+)[ \t\f]*(?:\r?\n)?""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
_LAST_FORMAT = re.compile(rb"\bFORMAT\s+(\w+)(?:\s+SETTINGS\s[^']*)?\s*;?\s*$", re.IGNORECASE)
_LAST_BYTES = 1000


@dataclass(frozen=True)
class DataInsert:
    """`INSERT INTO … SETTINGS … FORMAT x` and the data that follows it: the statement in its three parts."""

    target: str
    settings: str
    format: str
    data: memoryview

    def from_file(self, path: str) -> str:
        """The statement that takes the data from a file."""
        return f"{self.target} FROM INFILE '{path}' {self.settings} FORMAT {self.format}"


def split_insert(text: bytes) -> DataInsert | None:
    """The insert whose data `text` carries in a format; None for every other statement.

    An INSERT … VALUES or … SELECT is a statement like others, as its text is all there is to it.

    >>> insert = split_insert(b"INSERT INTO `a format b` (x) FORMAT CSV\\n1\\n2\\n")
    >>> insert.from_file("/tmp/x"), bytes(insert.data)
    ("INSERT INTO `a format b` (x)  FROM INFILE '/tmp/x'  FORMAT CSV", b'1\\n2\\n')
    >>> split_insert(b"INSERT INTO t SELECT 1 FORMAT CSV") is None
    True
    """
    if not _INSERT.match(text):
        return None
    settings = None
    for word in _INSERT_WORD.finditer(text):
        if word["other"]:
            return None
        if word["settings"] and settings is None:
            settings = word.start()
        if word["format"]:
            end = word.start()
            target, given = text[:settings] if settings else text[:end], text[settings:end] if settings else b""
            return DataInsert(target.decode(), given.decode(), word["format"].decode(), memoryview(text)[word.end() :])
    return None


def result_format(text: bytes, default: str) -> str | None:
    """The format in which `text` returns rows; None if it returns none.

    >>> result_format(b"-- how many\\nSELECT 1 FORMAT JSON", "TabSeparated")
    'JSON'
    >>> result_format(b"CREATE TABLE t (a Int8) ENGINE = Memory", "TabSeparated")
    """
    if not _READS.match(text):
        return None
    named = _LAST_FORMAT.search(text[-_LAST_BYTES:])
    return named[1].decode() if named else default
