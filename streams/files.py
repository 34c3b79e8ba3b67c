"""Files of events, row by row, with the place of each for error messages."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq
from rich.progress import Progress

from schemas.client.publisher import Publisher
from schemas.definitions import Definition, definition
from schemas.topics import TOPICS

__all__ = [
    "FORMATS",
    "BadRow",
    "PublishResult",
    "Row",
    "RowReader",
    "UnreadableFile",
    "check_file",
    "columns_of",
    "publish_file",
    "read_rows",
]

#: File ending -> format.
FORMATS = {"csv": "csv", "jsonl": "jsonl", "ndjson": "jsonl", "json": "jsonl", "parquet": "parquet"}
BATCH_ROWS = 5_000


class UnreadableFile(Exception):
    """The file as a whole is not what it is said to be."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a file: where it stands, what it was, and the record it gives or why it gives none."""

    place: str
    raw: Any
    record: dict[str, Any] | None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class BadRow:
    """Where a bad row stands and what is wrong with it."""

    place: str
    message: str


@dataclass(slots=True)
class PublishResult:
    """How many rows were published, and which were not."""

    published: int = 0
    bad: list[BadRow] = field(default_factory=list)


#: The rows of a file of this format, meant for this topic.
RowReader = Callable[[Path, str, str], Iterator[Row]]


class _Rejects(Protocol):
    """Where bad rows are set aside, in the form they came in, to be mended and published."""

    def write(self, rows: Sequence[Row]) -> None: ...
    def close(self) -> None: ...


def read_rows(file: Path, form: str, topic: str) -> Iterator[Row]:
    """The rows of a file, in order."""
    return _READERS[form](file, definition(TOPICS[topic].schema))


def columns_of(file: Path, form: str) -> list[str] | None:
    """The columns that every row of a file has; None where each row names its own."""
    if form == "parquet":
        names: list[str] = pq.read_schema(file).names
        return names
    if form == "csv":
        with file.open(newline="", encoding="utf-8-sig") as lines:
            return next(csv.reader(lines), [])
    return None


def check_file(
    publisher: Publisher, topic: str, file: Path, form: str, progress: Progress, rows: RowReader = read_rows
) -> tuple[int, list[BadRow]]:
    """How many of the file's rows could be published, and which could not."""
    good, bad = 0, []
    for batch in _batches(file, form, topic, progress, "Checking", rows):
        found = _bad_rows(publisher, topic, batch)
        good += len(batch) - len(found)
        bad += [row for _, row in found]
    return good, bad


def publish_file(
    publisher: Publisher,
    topic: str,
    file: Path,
    form: str,
    reject: Path | None,
    progress: Progress,
    rows: RowReader = read_rows,
) -> PublishResult:
    """Publish the file's rows and flush. With `reject`, bad rows go there; without, one bad row stops it all."""
    if reject is not None and reject.resolve() == file.resolve():
        raise UnreadableFile(f"{reject} is the file to publish: set bad rows aside in another")
    result = PublishResult()
    if reject is None:
        result.bad = check_file(publisher, topic, file, form, progress, rows)[1]
        if result.bad:
            return result
    with ExitStack() as stack:
        rejects = stack.enter_context(closing(_WRITERS[form](file, reject))) if reject else None
        for batch in _batches(file, form, topic, progress, "Publishing", rows):
            found = _bad_rows(publisher, topic, batch)
            if rejects and found:
                rejects.write([row for row, _ in found])
            result.bad += [bad for _, bad in found]
            places = {bad.place for _, bad in found}
            good = [row.record for row in batch if row.record is not None and row.place not in places]
            publisher.publish_records(topic, good)
            result.published += len(good)
        publisher.flush()
    return result


def _batches(file: Path, form: str, topic: str, progress: Progress, title: str, read: RowReader) -> Iterator[list[Row]]:
    task = progress.add_task(f"{title} {file.name}", total=None)
    try:
        rows = read(file, form, topic)
        while batch := list(islice(rows, BATCH_ROWS)):
            yield batch
            progress.advance(task, len(batch))
    except (UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise UnreadableFile(f"{file} cannot be read as {form}: {error}") from error
    progress.update(task, total=progress.tasks[task].completed)


def _bad_rows(publisher: Publisher, topic: str, rows: Sequence[Row]) -> list[tuple[Row, BadRow]]:
    """The rows that cannot be published, in the file's order."""
    readable = [row for row in rows if row.record is not None]
    refused = publisher.validate(topic, [row.record for row in readable if row.record is not None])
    messages = {readable[item.row].place: f"{item.error}: {item.message}" for item in refused}
    return [
        (row, BadRow(row.place, row.problem or messages[row.place]))
        for row in rows
        if row.record is None or row.place in messages
    ]


def _read_csv(file: Path, schema: Definition) -> Iterator[Row]:
    parse = _parser(schema)
    with file.open(newline="", encoding="utf-8-sig") as lines:
        reader = csv.reader(lines)
        header = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            place = f"line {reader.line_num}"
            if len(cells) != len(header):
                yield Row(place, cells, None, f"{len(cells)} cells where the header has {len(header)}")
                continue
            given = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
            yield _row(place, cells, given, parse)


def _read_jsonl(file: Path, schema: Definition) -> Iterator[Row]:
    parse = _parser(schema)
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                given = json.loads(line)
            except json.JSONDecodeError as error:
                yield Row(f"line {number}", line, None, f"not JSON: {error.msg} at column {error.colno}")
                continue
            if not isinstance(given, dict):
                yield Row(f"line {number}", line, None, "not a JSON object")
                continue
            yield _row(f"line {number}", line, given, parse)


def _read_parquet(file: Path, schema: Definition) -> Iterator[Row]:
    parse = _parser(schema)
    number = 0
    for batch in pq.ParquetFile(file).iter_batches(BATCH_ROWS):
        for given in _with_zones(batch).to_pylist(maps_as_pydicts="lossy"):
            number += 1
            yield _row(f"row {number}", given, {k: v for k, v in given.items() if v is not None}, parse)


def _with_zones(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Times without a zone are UTC in Parquet."""
    for position, column in enumerate(batch.schema):
        if pa.types.is_timestamp(column.type) and column.type.tz is None:
            zoned = batch.column(position).cast(pa.timestamp("ms"), safe=False).cast(pa.timestamp("ms", "UTC"))
            batch = batch.set_column(position, column.name, zoned)
    return batch


def _row(place: str, raw: Any, given: dict[str, Any], parse: Callable[[str, Any], Any]) -> Row:
    record = {}
    for name, value in given.items():
        try:
            record[name] = parse(name, value)
        except (ValueError, TypeError) as error:
            return Row(place, raw, None, f"{name}: {error}")
    return Row(place, raw, record)


def _parser(schema: Definition) -> Callable[[str, Any], Any]:
    """Text to the type its field has; what is not text stays as it is."""
    parsers = {item["name"]: _parser_of(item["type"]) for item in schema.fields}

    def parse(name: str, value: Any) -> Any:
        parser = parsers.get(name)
        return parser(value) if parser is not None and isinstance(value, str) else value

    return parse


def _parser_of(avro: Any) -> Callable[[str], Any] | None:
    if isinstance(avro, list):
        avro = next(branch for branch in avro if branch != "null")
    if isinstance(avro, dict):
        logical: Callable[[str], Any] = _LOGICAL.get(avro.get("logicalType", ""), json.loads)
        return logical
    return _PRIMITIVE.get(str(avro))


def _boolean(text: str) -> bool:
    try:
        return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
    except KeyError:
        raise ValueError("neither true nor false") from None


def _time(text: str) -> datetime | int:
    if text.lstrip("-").isdigit():
        return int(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("neither ISO 8601 nor milliseconds since 1970") from None


def _number(kind: Callable[[str], Any], name: str) -> Callable[[str], Any]:
    def parse(text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"not {name}") from None

    return parse


_PRIMITIVE: dict[str, Callable[[str], Any]] = {
    "int": _number(int, "a whole number"),
    "long": _number(int, "a whole number"),
    "double": _number(float, "a number"),
    "boolean": _boolean,
}
_LOGICAL: dict[str, Callable[[str], Any]] = {
    "timestamp-millis": _time,
    "date": _number(date.fromisoformat, "a date such as 2026-01-31"),
}
_READERS: dict[str, Callable[[Path, Definition], Iterator[Row]]] = {
    "csv": _read_csv,
    "jsonl": _read_jsonl,
    "parquet": _read_parquet,
}


class _CsvRejects:
    def __init__(self, source: Path, target: Path) -> None:
        with source.open(newline="", encoding="utf-8-sig") as lines:
            header = next(csv.reader(lines), [])
        self._file = target.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._file)
        self._writer.writerow(header)

    def write(self, rows: Iterable[Row]) -> None:
        self._writer.writerows(row.raw for row in rows)

    def close(self) -> None:
        self._file.close()


class _JsonlRejects:
    def __init__(self, source: Path, target: Path) -> None:
        self._file = target.open("w", encoding="utf-8")

    def write(self, rows: Iterable[Row]) -> None:
        self._file.writelines(row.raw.rstrip("\n") + "\n" for row in rows)

    def close(self) -> None:
        self._file.close()


class _ParquetRejects:
    def __init__(self, source: Path, target: Path) -> None:
        self._schema = pq.read_schema(source)
        self._writer = pq.ParquetWriter(target, self._schema)

    def write(self, rows: Iterable[Row]) -> None:
        self._writer.write_batch(pa.RecordBatch.from_pylist([row.raw for row in rows], self._schema))

    def close(self) -> None:
        self._writer.close()


_WRITERS: dict[str, Callable[[Path, Path], _Rejects]] = {
    "csv": _CsvRejects,
    "jsonl": _JsonlRejects,
    "parquet": _ParquetRejects,
}
