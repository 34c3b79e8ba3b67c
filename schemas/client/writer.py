"""Records and tables of one topic, checked against the contract and encoded."""

import io
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyruhvro
from fastavro.utils import generate_many

from schemas import wire
from schemas.definitions import Definition, arrow_schema, from_records, parse
from schemas.errors import BadRecord, InvalidRecords
from schemas.topics import Topic
from schemas.validation import EventTimeBounds, Validator

__all__ = ["RecordWriter"]


class RecordWriter:
    """Checks and encodes the records of one topic, for the publisher."""

    def __init__(self, topic: Topic, schema: Definition, schema_id: int, bounds: EventTimeBounds | None) -> None:
        self.topic = topic
        self.schema_id = schema_id
        self.known = frozenset(field["name"] for field in schema.fields)
        self._schema = schema
        self._parsed = parse(schema.text)
        self._arrow = arrow_schema(schema.text)
        self._validator = Validator(schema, topic.event_time, bounds)
        self._header = wire.header(schema_id)
        self._in_rust = self._probe()

    def to_batch(self, records: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
        """Records with every field of the schema. Raises InvalidRecords."""
        complete = []
        for row, record in enumerate(records):
            self._require_fields(row, record)
            complete.append({**self._schema.defaults, **{k: _plain(v) for k, v in record.items()}})
        try:
            return from_records(complete, self._arrow)
        except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
            raise InvalidRecords(self._find_misfits(complete)) from None

    def from_table(self, table: pa.Table) -> pa.RecordBatch:
        """The table's columns as the schema has them. Raises InvalidRecords."""
        self._require_fields(0, dict.fromkeys(table.column_names, ""))
        columns = []
        for field in self._arrow:
            if field.name in table.column_names:
                columns.append(self._cast(field, table.column(field.name)))
            else:
                default = self._schema.defaults[field.name]
                value = list(default.items()) if isinstance(default, dict) else default
                columns.append(pa.array([value] * table.num_rows, field.type))
        return pa.RecordBatch.from_arrays(columns, schema=self._arrow)

    def require_valid(self, batch: pa.RecordBatch) -> None:
        """Raises InvalidRecords for what consumers would put into the dead letters, or drop."""
        now = np.full(batch.num_rows, int(time.time() * 1000), np.int64)
        bad = self._validator.refuse(batch, now)
        bad.extend(self._nulls(batch))
        _, dropped = self._validator.drop_bad_fields(batch)
        bad.extend(BadRecord(0, "bad_value", f"{name} is not a SHA-256 in hex") for name in dropped)
        if bad:
            raise InvalidRecords(sorted(bad, key=lambda record: record.row))

    def problems(self, records: Sequence[Mapping[str, Any]]) -> list[BadRecord]:
        """What is wrong with the records; empty where nothing is."""
        try:
            self.require_valid(self.to_batch(records))
        except InvalidRecords as error:
            return error.bad
        return []

    def keys(self, batch: pa.RecordBatch) -> Iterable[bytes | None]:
        """The record keys: the first of the topic's key fields that has a value."""
        columns = [batch.column(name).to_pylist() for name in self.topic.key]
        for values in zip(*columns, strict=True):
            key = next((value for value in values if value), None)
            yield key.encode() if key is not None else None

    def encode(self, batch: pa.RecordBatch) -> Iterable[bytes]:
        """Framed messages, a row each."""
        header = self._header
        if self._in_rust:
            for part in pyruhvro.serialize_record_batch(batch, self._schema.text, 1):
                for body in part.to_pylist():
                    yield header + body
            return
        for record in batch.to_pylist(maps_as_pydicts="strict"):
            yield header + self._encode_one(record)

    def _encode_one(self, record: Mapping[str, Any]) -> bytes:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, self._parsed, record)
        return stream.getvalue()

    def _probe(self) -> bool:
        """Whether the batch encoder writes this schema as fastavro reads it."""
        sample = from_records(list(generate_many(self._parsed, 64)), self._arrow)
        try:
            bodies = [
                body
                for part in pyruhvro.serialize_record_batch(sample, self._schema.text, 1)
                for body in part.to_pylist()
            ]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a Rust panic is not an Exception
            return False
        decoded = [fastavro.schemaless_reader(io.BytesIO(body), self._parsed, None) for body in bodies]
        return bool(from_records(decoded, self._arrow).equals(sample))

    def _require_fields(self, row: int, record: Mapping[str, Any]) -> None:
        missing = [name for name in self._schema.required if record.get(name) is None]
        if missing:
            raise InvalidRecords([BadRecord(row, "missing_field", f"{', '.join(missing)} not given")])
        if unknown := record.keys() - self.known:
            names = ", ".join(sorted(unknown))
            raise InvalidRecords([BadRecord(row, "unknown_field", f"{self.topic.contract} has no {names}")])

    def _find_misfits(self, records: Sequence[Mapping[str, Any]]) -> list[BadRecord]:
        return [
            BadRecord(row, "wrong_type", f"{field.name} is not a {field.type}")
            for row, record in enumerate(records)
            for field in self._arrow
            if not _fits(record, field)
        ]

    def _cast(self, field: pa.Field, column: pa.ChunkedArray) -> pa.Array:
        try:
            if pa.types.is_timestamp(column.type) and column.type.tz:
                column = column.cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("ms"))
            return column.cast(field.type).combine_chunks()
        except pa.ArrowException as error:
            reason = f"{field.name} is {column.type}, not {field.type}"
            raise InvalidRecords([BadRecord(0, "wrong_type", reason)]) from error

    def _nulls(self, batch: pa.RecordBatch) -> list[BadRecord]:
        return [
            BadRecord(int(row), "missing_field", f"{name} not given")
            for name in self._schema.required
            if batch.column(name).null_count
            for row in np.flatnonzero(batch.column(name).is_null().to_numpy(zero_copy_only=False))
        ]


def _fits(record: Mapping[str, Any], field: pa.Field) -> bool:
    try:
        from_records([record], pa.schema([field]))
    except (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError):
        return False
    return True


def _plain(value: Any) -> Any:
    """A time without a zone would be read as UTC by one library and as local by the next: refused."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidRecords([BadRecord(0, "wrong_type", "a datetime has no time zone")])
        return value.astimezone(UTC)
    return value
