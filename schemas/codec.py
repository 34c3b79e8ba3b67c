"""Messages of a topic to Arrow, by schema id, finding exactly the bad ones.

The fast path decodes a whole chunk at once in Rust (pyruhvro). It has five gaps, each closed here:

1. It panics on Avro types it does not know. Every schema is probed before its first use: a sample of
   records must come out as fastavro reads them, or the schema is decoded record by record.
2. It accepts trailing bytes. A random number, the seal, is appended to each body and a field for it to
   the schema: only a body that was consumed to its last byte leaves the seal where it is read.
3. It accepts strings that are not UTF-8, which would fail whoever reads them. Arrow finds them.
4. It wraps a number that is too large for an `int`. It is given `long` in its place, which Arrow narrows.
5. One bad record fails its batch, as do 3 and 4. The batch is halved until the refusals are few, and
   fastavro judges those one by one.

Costs are measured by `python -m tests.bench codec` and reported in docs/performance.md.
"""

import io
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import fastavro
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyruhvro
from fastavro.utils import generate_many

from schemas import wire
from schemas.definitions import (
    Definition,
    arrow_schema,
    compact,
    definition,
    encode,
    from_records,
    parse,
    without_logical_types,
)
from schemas.errors import BadRecord
from schemas.strings import holds_text, require_utf8
from schemas.topics import Topic
from schemas.validation import EventTimeBounds, Validator

__all__ = ["Decoded", "Decoder", "SchemaSource"]

Rows = npt.NDArray[np.int64]
#: Good records as a batch, with the positions they came from.
Part = tuple[pa.RecordBatch, Rows]
#: Fewer refused records than this are not worth halving again.
JUDGE_ONE_BY_ONE = 16
#: Enough that every nullable field is both null and not, but once in thousands of times.
PROBE_RECORDS = 24
SEAL_FIELD = "__seal"
#: Attributes that hold types.
AVRO_TYPES = ("type", "fields", "items", "values")
#: What a dead letter may hold of these.
ACCOUNT_ID_BYTES = 256
GREATEST_SCHEMA_ID = 2**31 - 1


class SchemaSource(Protocol):
    """Where schemas come from: the registry client, or a table in a test."""

    def writer_schemas(self, subject: str, schema_ids: Collection[int]) -> Mapping[int, str]:
        """The text of those of these schemas that are registered under this subject, by id.

        Raises RegistryUnavailable where nobody can tell at the moment.
        """

    def registered_schemas(self, subject: str) -> Mapping[int, str]:
        """The text of all that are registered under it now, by id. Raises RegistryUnavailable."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The good records of a chunk as columns, and the bad ones.

    batch: the topic's newest schema, as Arrow; values refused by a `drop_unless` rule are null.
    rows: shape (batch.num_rows,), the position of each of its rows in the chunk, ascending.
    bad: the rest of the chunk, by position.
    dropped_fields: how many values were dropped, by field.
    """

    batch: pa.RecordBatch
    rows: Rows
    bad: list[BadRecord]
    dropped_fields: Mapping[str, int]


class Decoder:
    """Decodes the messages of one topic."""

    def __init__(self, topic: Topic, source: SchemaSource, bounds: EventTimeBounds | None = None) -> None:
        self._topic = topic
        self._source = source
        self._reader = definition(topic.schema)
        self._validator = Validator(self._reader, topic.event_time, bounds)
        self._writers: dict[int, _WriterSchema | None] = {}

    def prepare(self) -> None:
        """Learn the schemas that are there already, or the first chunk waits for them. Raises RegistryUnavailable."""
        self._learn(self._source.registered_schemas(self._topic.subject))

    def decode(self, messages: Sequence[bytes | None], ingest_ms: Rows) -> Decoded:
        """Decode a chunk. `ingest_ms` has shape (len(messages),): Kafka's timestamps.

        Raises RegistryUnavailable; anything wrong with a record is in the result instead.
        """
        ids = wire.schema_ids(messages)
        parts: list[Part] = []
        bad: list[BadRecord] = []
        present = np.unique(ids).tolist()
        self._learn(present)
        for schema_id in present:
            rows = np.flatnonzero(ids == schema_id)
            writer = self._writers.get(schema_id)
            if writer is None:
                bad += self._refuse(schema_id, rows, messages)
            else:
                parts += writer.decode([messages[row] or b"" for row in rows.tolist()], rows, bad)
        batch, positions = _join(parts, self._reader)
        return self._validate(batch, positions, bad, ingest_ms)

    def _learn(self, schema_ids: Collection[int]) -> None:
        new = set(schema_ids) - self._writers.keys() - {wire.UNFRAMED}
        if new:
            for schema_id, text in self._source.writer_schemas(self._topic.subject, new).items():
                self._writers[schema_id] = _writer_schema(schema_id, text, self._reader)

    def _refuse(self, schema_id: int, rows: Rows, messages: Sequence[bytes | None]) -> list[BadRecord]:
        if schema_id == wire.UNFRAMED:
            return [BadRecord(row, *wire.why_unframed(messages[row])) for row in rows.tolist()]
        known = schema_id in self._writers
        reason = f"cannot be read as {self._reader.name}" if known else f"is not registered under {self._topic.subject}"
        reported = schema_id if schema_id <= GREATEST_SCHEMA_ID else None
        message = f"schema id {schema_id} {reason}"
        return [BadRecord(row, "unknown_schema", message, reported) for row in rows.tolist()]

    def _validate(self, batch: pa.RecordBatch, positions: Rows, bad: list[BadRecord], ingest_ms: Rows) -> Decoded:
        refused = self._validator.refuse(batch, ingest_ms[positions])
        if refused:
            for record in refused:
                account_id = _account_id(batch, record.row)
                bad.append(replace(record, row=int(positions[record.row]), account_id=account_id))
            keep = np.ones(batch.num_rows, np.bool_)
            keep[[record.row for record in refused]] = False
            batch, positions = batch.filter(pa.array(keep)), positions[keep]
        batch, dropped = self._validator.drop_bad_fields(batch)
        return Decoded(batch, positions, sorted(bad, key=lambda record: record.row), dropped)


class _WriterSchema:
    """Decodes messages written with one schema to columns of the schema this build reads."""

    def __init__(self, schema_id: int, text: str, reader: Definition) -> None:
        self._schema_id = schema_id
        self._reader = reader
        self._is_reader = compact(text) == reader.text
        self._arrow = arrow_schema(text)
        _require_readable(self._arrow, reader)
        read = {field["name"] for field in reader.fields}
        self._read_arrow = pa.schema([field for field in self._arrow if field.name in read])
        # Times and dates as whole numbers: what no calendar has is for the rules to refuse, by name.
        self._parsed = parse(without_logical_types(text))
        self._sealed = with_seal(text)
        widened = arrow_schema(self._sealed)
        self._narrow = [(n, field) for n, field in enumerate(self._arrow) if widened.field(n).type != field.type]
        self._texts = [n for n, field in enumerate(self._arrow) if holds_text(field.type)]
        self._seal = secrets.randbits(62)
        self._seal_bytes = encode(parse('{"type": "long"}'), self._seal)
        self._in_rust = self._probe()

    def decode(self, messages: Sequence[bytes], rows: Rows, bad: list[BadRecord]) -> list[Part]:
        """Good records as batches with their positions; bad ones are appended to `bad`."""
        parts = (self._in_batch if self._in_rust else self._one_by_one)(messages, rows, bad)
        return [(self._project(batch), positions) for batch, positions in parts]

    def _in_batch(self, messages: Sequence[bytes], rows: Rows, bad: list[BadRecord]) -> list[Part]:
        decoded = self._decode_sealed(messages)
        if decoded is None:
            if len(messages) <= JUDGE_ONE_BY_ONE:
                return self._one_by_one(messages, rows, bad)
            half = len(messages) // 2
            return [
                *self._in_batch(messages[:half], rows[:half], bad),
                *self._in_batch(messages[half:], rows[half:], bad),
            ]
        batch, whole = decoded
        if whole.all():
            return [(batch, rows)]
        suspects = np.flatnonzero(~whole)
        return [
            (batch.filter(pa.array(whole)), rows[whole]),
            *self._one_by_one([messages[i] for i in suspects.tolist()], rows[suspects], bad),
        ]

    def _decode_sealed(self, messages: Sequence[bytes]) -> tuple[pa.RecordBatch, npt.NDArray[np.bool_]] | None:
        """All records, and of which the body was consumed to its last byte and no further; None where one is bad."""
        seal = self._seal_bytes
        try:
            sealed = pyruhvro.deserialize_array([m[wire.HEADER_BYTES :] + seal for m in messages], self._sealed)
            columns = sealed.columns[:-1]
            for position, field in self._narrow:
                columns[position] = _as_declared(columns[position], field)
            for position in self._texts:
                require_utf8(columns[position])
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:  # a Rust panic is not an Exception
            return None
        whole = sealed.column(SEAL_FIELD).to_numpy() == self._seal
        return pa.RecordBatch.from_arrays(columns, schema=self._arrow), whole

    def _one_by_one(self, messages: Sequence[bytes], rows: Rows, bad: list[BadRecord]) -> list[Part]:
        good: list[tuple[int, Any]] = []
        for message, row in zip(messages, rows.tolist(), strict=True):
            stream = io.BytesIO(message)
            stream.seek(wire.HEADER_BYTES)
            try:
                record = fastavro.schemaless_reader(stream, self._parsed, None)
            except Exception as error:
                bad.append(self._undecodable(row, f"{type(error).__name__} in {len(message)} bytes"))
                continue
            if trailing := len(message) - stream.tell():
                sentence = f"{trailing} bytes after the end of the record"
                bad.append(BadRecord(row, "trailing_bytes", sentence, self._schema_id))
                continue
            good.append((row, record))
        return self._to_part(good, bad)

    def _to_part(self, good: Sequence[tuple[int, Any]], bad: list[BadRecord]) -> list[Part]:
        if not good:
            return []
        positions = np.array([row for row, _ in good], np.int64)
        try:
            return [(from_records([record for _, record in good], self._read_arrow), positions)]
        except (OverflowError, pa.ArrowException):  # which fastavro lets pass
            if len(good) > 1:
                return [part for one in good for part in self._to_part([one], bad)]
            bad.append(self._undecodable(good[0][0], "a number has more bits than its type"))
            return []

    def _undecodable(self, row: int, reason: str) -> BadRecord:
        message = f"not a record of schema {self._schema_id} ({reason})"
        return BadRecord(row, "undecodable", message, self._schema_id)

    def _probe(self) -> bool:
        """Whether the fast path reads this schema as fastavro does."""
        records = list(generate_many(self._parsed, PROBE_RECORDS))
        messages = [wire.frame(self._schema_id, encode(self._parsed, record)) for record in records]
        decoded = self._decode_sealed(messages)
        if decoded is None:
            return False
        batch, whole = decoded
        return bool(whole.all() and batch.equals(from_records(records, self._arrow)))

    def _project(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Columns of the schema this build reads: what the writer did not know gets its default."""
        if self._is_reader:
            return batch
        target = arrow_schema(self._reader.text)
        columns = [
            _as_declared(batch.column(field.name), field)
            if field.name in batch.schema.names
            else _default_column(self._reader, field, batch.num_rows)
            for field in target
        ]
        return pa.RecordBatch.from_arrays(columns, schema=target)


def _writer_schema(schema_id: int, text: str, reader: Definition) -> _WriterSchema | None:
    """None for a schema whose records cannot be read as the reader's, were it registered all the same."""
    try:
        return _WriterSchema(schema_id, text, reader)
    except Exception:
        return None


def _require_readable(writer: pa.Schema, reader: Definition) -> None:
    """Raises ValueError where records of one schema have no place in the columns of the other."""
    for field in arrow_schema(reader.text):
        if field.name not in writer.names:
            if field.name not in reader.defaults:
                raise ValueError(f"{field.name} is missing")
            continue
        written = writer.field(field.name).type
        if written != field.type and not (pa.types.is_nested(written) and pa.types.is_nested(field.type)):
            raise ValueError(f"{field.name} is {written}, not {field.type}")
        pa.array([], written).cast(field.type)


def _as_declared(column: pa.Array, field: pa.Field) -> pa.Array:
    """The column in the field's type. Raises ArrowInvalid for a number of more bits than that has."""
    if column.type == field.type:
        return column
    if pa.types.is_date32(field.type):
        column = column.cast(pa.int32())
    return column.cast(field.type)


def with_seal(text: str) -> str:
    schema = _with_long_for_int(json.loads(text))
    schema["fields"].append({"name": SEAL_FIELD, "type": "long"})
    return json.dumps(schema)


def _with_long_for_int(avro: Any) -> Any:
    if isinstance(avro, list):
        return [_with_long_for_int(item) for item in avro]
    if isinstance(avro, dict):
        return {name: _with_long_for_int(value) if name in AVRO_TYPES else value for name, value in avro.items()}
    return "long" if avro == "int" else avro


def _default_column(reader: Definition, field: pa.Field, length: int) -> pa.Array:
    default = reader.defaults[field.name]
    return pa.array([list(default.items()) if isinstance(default, dict) else default] * length, field.type)


def _join(parts: Sequence[Part], reader: Definition) -> Part:
    """All parts as one, in the order of the chunk."""
    if not parts:
        return pa.RecordBatch.from_pylist([], arrow_schema(reader.text)), np.empty(0, np.int64)
    if len(parts) == 1:
        return parts[0]
    batch, positions = pa.concat_batches([part for part, _ in parts]), np.concatenate([rows for _, rows in parts])
    if (np.diff(positions) > 0).all():
        return batch, positions
    order = np.argsort(positions)
    return batch.take(order), positions[order]


def _account_id(batch: pa.RecordBatch, row: int) -> str | None:
    if "account_id" not in batch.schema.names:
        return None
    account_id: bytes = batch.column("account_id")[row].as_py().encode()
    return account_id[:ACCOUNT_ID_BYTES].decode(errors="ignore")
