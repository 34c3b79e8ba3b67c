"""Files of paths: how many journeys took each, a line a path."""

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from processors.credit.paths import PathCounts
from streams.files import UnreadableFile

__all__ = ["read_path_counts"]

COLUMNS = ("path", "total_conversions", "total_conversion_value", "total_null")
SEPARATOR = " > "
MICROS = 1_000_000
#: More is nobody's, and would only take memory.
MAX_COUNT, MAX_VALUE = 10**15, 10**12
MAX_ERRORS_SHOWN = 20
#: What Python reads bytes as that are no character.
NOT_UTF8 = re.compile("[\udc80-\udcff]")


def read_path_counts(file: Path) -> PathCounts:
    """The counts of a CSV file with COLUMNS, of which lines with the same path are added up.

    A path is channels joined by " > ", a value a decimal number, rounded to micros. Other columns are not looked at.
    Raises UnreadableFile, naming the lines that are not usable.
    """
    counts = PathCounts()
    problems = []
    for line, row in _rows(file):
        try:
            _add(counts, row)
        except ValueError as error:
            problems.append(f"{file} line {line}: {error}")
    if len(problems) > MAX_ERRORS_SHOWN:
        problems[MAX_ERRORS_SHOWN:] = [f"... and {len(problems) - MAX_ERRORS_SHOWN} more bad lines"]
    if problems:
        raise UnreadableFile("\n".join(problems))
    return counts


def _rows(file: Path) -> Iterator[tuple[int, Mapping[str, str] | None]]:
    """Each row by its columns, None where it has more or fewer cells than the header, and the line it ends on."""
    # What is not UTF-8 is read for the sake of its line's number.
    with file.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            header = next(reader, [])
            _require_columns(file, header)
            for cells in reader:
                if cells:
                    is_whole = len(cells) == len(header)
                    yield reader.line_num, dict(zip(header, cells, strict=True)) if is_whole else None
        except csv.Error as error:
            raise UnreadableFile(f"{file} line {reader.line_num}: {error}") from error


def _require_columns(file: Path, header: Sequence[str]) -> None:
    for name in COLUMNS:
        if (count := header.count(name)) != 1:
            raise UnreadableFile(f"{file} line 1: {count or 'no'} columns {name}; needed are {', '.join(COLUMNS)}")


def _add(counts: PathCounts, row: Mapping[str, str] | None) -> None:
    if row is None:
        raise ValueError("not as many cells as the header has")
    path = _path(row["path"])
    conversions, nulls = (_count(name, row[name]) for name in ("total_conversions", "total_null"))
    value = _number("total_conversion_value", row["total_conversion_value"], MAX_VALUE)
    if value and not conversions:
        raise ValueError(f"total_conversion_value: {value} without a conversion")
    counts.add(path, conversions, round(value * MICROS), nulls)


def _path(text: str) -> list[str]:
    if NOT_UTF8.search(text):
        raise ValueError(f"path: {text!r} is not UTF-8")
    path = [channel.strip() for channel in text.split(SEPARATOR)]
    if not all(path):
        raise ValueError(f"path: a channel is missing in {text!r}")
    if any(">" in channel for channel in path):
        raise ValueError(f"path: {text!r} is not joined by {SEPARATOR!r}")
    return path


def _count(name: str, text: str) -> int:
    number = _number(name, text, MAX_COUNT)
    if number < 0 or number != int(number):
        raise ValueError(f"{name}: {text!r} is not a whole number from zero up")
    return int(number)


def _number(name: str, text: str, limit: int) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"{name}: {text!r} is not a number") from None
    if not (number.is_finite() and -limit <= number <= limit):
        raise ValueError(f"{name}: {text!r} is not between -{limit} and {limit}")
    return number
