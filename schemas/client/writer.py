"""Records and tables of one topic, checked against the contract and encoded."""

import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro
from fastavro.utils import generate_many

from schemas import wire
from schemas.client.edge import clean
from schemas.definitions import Definition, arrow_schema, encode, from_records, parse, without_logical_types
from schemas.errors import BadRecord
from schemas.topics import Topic
from schemas.validation import EventTimeBounds, Validator

__all__ = ["RecordWriter"]

#: What Arrow raises for a value that a column of this type cannot have.
MISFITS = (pa.ArrowException, TypeError, ValueError, OverflowError, AttributeError)
PROBE_RECORDS = 24
#: What may be the name of a field. Where a file has no line of names, its first values are taken for them.
NAME = re.compile(r"[A-Za-z_][\w-]{0,63}", re.ASCII)


class RecordWriter:
    """Checks and encodes the records of one topic, for the publisher."""

    def __init__(self, topic: Topic, schema: Definition, schema_id: int, bounds: EventTimeBounds | None) -> None:
        self.topic = topic
        self.known = frozenset(field["name"] for field in schema.fields)
        self._schema = schema
        self._arrow = arrow_schema(schema.text)
        self._types = {field.name: field.type for field in self._arrow}
        self._nothing = pa.RecordBatch.from_pylist([], self._arrow)
        self._validator = Validator(schema, topic.event_time, bounds)
        self._header = wire.header(schema_id)
        plain = without_logical_types(schema.text)
        self._parsed = parse(plain)
        self._plain_arrow = arrow_schema(plain)
        self._in_rust = self._probe()

    def from_records(
        self, records: Sequence[Mapping[str, Any]], dropped: Counter[str]
    ) -> tuple[pa.RecordBatch, list[BadRecord]]:
        """Records with every field of the schema, and those that are bad; where there are any, send none.

        Values that were left out are counted in `dropped`.
        """
        bad: dict[int, BadRecord] = {}
        complete: dict[int, Mapping[str, Any]] = {}
        for row, record in enumerate(records):
            given = {name: value for name, value in record.items() if value is not None}
            if problem := self._problem(given):
                bad[row] = BadRecord(row, *problem)
            else:
                complete[row] = {**self._schema.defaults, **given}
        batch = self._to_batch(complete, bad)
        batch, refused = self._check(batch, dropped)
        rows = [row for row in complete if row not in bad]
        for found in refused:
            bad.setdefault(rows[found.row], replace(found, row=rows[found.row]))
        return batch, [bad[row] for row in sorted(bad)]

    def from_table(self, table: pa.Table, dropped: Counter[str]) -> tuple[pa.RecordBatch, list[BadRecord]]:
        """The same for a table; bad columns, rather than values, are reported at row 0."""
        missing = [name for name in self._schema.required if name not in table.column_names]
        unknown = sorted(set(table.column_names) - self.known)
        if missing or unknown:
            found = [("missing_field", f"{name} not given") for name in missing]
            found += [("unknown_field", f"{self.topic.contract} has no {_shown(name)}") for name in unknown]
            return self._nothing, [BadRecord(0, *problem) for problem in found]
        columns = []
        for field in self._arrow:
            try:
                columns.append(self._column(table, field))
            except pa.ArrowException:
                reason = f"{field.name} is {table.column(field.name).type}, not {field.type}"
                return self._nothing, [BadRecord(0, "wrong_type", reason)]
        return self._check(pa.RecordBatch.from_arrays(columns, schema=self._arrow), dropped)

    def keys(self, batch: pa.RecordBatch) -> list[bytes | None]:
        """The record keys: the first of the topic's key fields with a value; of a scoped topic the tenant in front.

        A scoped key is "length:account_id:value", the length in bytes, so that no two are the same.
        """
        columns = [batch.column(name) for name in self.topic.key]
        empty = pa.scalar(None, pa.string())
        given = [pc.if_else(pc.equal(pc.binary_length(column), 0), empty, column) for column in columns]
        found = pc.coalesce(*given)
        if self.topic.is_scoped:
            account_id = batch.column("account_id")
            length = pc.binary_length(account_id).cast(pa.string())
            found = pc.binary_join_element_wise(length, account_id, found, ":")
        keys: list[bytes | None] = found.cast(pa.binary()).to_pylist()
        return keys

    def encode(self, batch: pa.RecordBatch) -> list[bytes]:
        """Framed messages, a row each."""
        header = self._header
        if self._in_rust:
            bodies = self._encode_in_batch(batch)
        else:
            plain = batch.cast(self._plain_arrow).to_pylist(maps_as_pydicts="lossy")
            bodies = [encode(self._parsed, record) for record in plain]
        return [header + body for body in bodies]

    def _encode_in_batch(self, batch: pa.RecordBatch) -> list[bytes]:
        parts = pyruhvro.serialize_record_batch(batch, self._schema.text, 1)
        return [body for part in parts for body in part.to_pylist()]

    def _probe(self) -> bool:
        """Whether the batch encoder writes this schema as fastavro does."""
        records = list(generate_many(self._parsed, PROBE_RECORDS))
        try:
            bodies = self._encode_in_batch(from_records(records, self._arrow))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a Rust panic is not an Exception
            return False
        return bodies == [encode(self._parsed, record) for record in records]

    def _problem(self, given: Mapping[str, Any]) -> tuple[str, str] | None:
        if missing := [name for name in self._schema.required if name not in given]:
            return "missing_field", f"{', '.join(missing)} not given"
        if unknown := given.keys() - self.known:
            return "unknown_field", f"{self.topic.contract} has no {', '.join(map(_shown, sorted(unknown)))}"
        for name, value in given.items():
            if not _is_exact(value, self._types[name]):
                return "wrong_type", f"{name} is not exactly a {self._types[name]}"
        return None

    def _to_batch(self, complete: Mapping[int, Mapping[str, Any]], bad: dict[int, BadRecord]) -> pa.RecordBatch:
        """Records as columns; those that do not fit are added to `bad` and left out."""
        try:
            return from_records(list(complete.values()), self._arrow)
        except MISFITS:
            for row, record in complete.items():
                if misfit := next((field for field in self._arrow if not _fits(record, field)), None):
                    bad[row] = BadRecord(row, "wrong_type", f"{misfit.name} is not a {misfit.type}")
            return from_records([record for row, record in complete.items() if row not in bad], self._arrow)

    def _column(self, table: pa.Table, field: pa.Field) -> pa.Array:
        """The table's column, or what stands for it, in the field's type. Raises ArrowException."""
        default = self._schema.defaults.get(field.name)
        filler = pa.scalar(list(default.items()) if isinstance(default, dict) else default, field.type)
        if field.name not in table.column_names:
            return pa.array([filler.as_py()] * table.num_rows, field.type)
        column = table.column(field.name)
        if pa.types.is_timestamp(column.type) and column.type.tz:
            column = column.cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp("ms"))
        cast = column.cast(field.type).combine_chunks()
        return cast.fill_null(filler) if filler.is_valid and cast.null_count else cast

    def _check(self, batch: pa.RecordBatch, dropped: Counter[str]) -> tuple[pa.RecordBatch, list[BadRecord]]:
        """The batch as it may be published, and what consumers would refuse, or drop values of."""
        absent = self._validator.refuse_absent(batch)
        if absent:
            return batch, absent
        batch = clean(batch, dropped)
        now = np.full(batch.num_rows, int(time.time() * 1000), np.int64)
        bad = self._validator.refuse(batch, now) + self._validator.refuse_droppable(batch)
        return batch, sorted(bad, key=lambda found: found.row)


def _fits(record: Mapping[str, Any], field: pa.Field) -> bool:
    try:
        from_records([record], pa.schema([field]))
    except MISFITS:
        return False
    return True


def _is_exact(value: Any, kind: pa.DataType) -> bool:
    """False for what Arrow takes for another value: fractions are cut off, a local time is read as UTC."""
    if isinstance(value, float):
        return pa.types.is_floating(kind) or value.is_integer()
    if isinstance(value, datetime):
        return value.tzinfo is not None
    if isinstance(value, list) and pa.types.is_list(kind):
        return all(_is_exact(item, kind.value_type) for item in value)
    if isinstance(value, Mapping) and pa.types.is_struct(kind):
        return all(_is_exact(value.get(field.name), field.type) for field in kind)
    return True


def _shown(name: str) -> str:
    """A name that somebody gave to a field; what cannot be one may be anything, somebody's address above all."""
    return name if NAME.fullmatch(name) else "field with one of the names given"
