"""Messages of a topic to Arrow, by schema id, finding exactly the bad ones.

The fast path decodes a whole chunk at once in Rust (pyruhvro). It has three gaps, each closed here:

1. It panics on Avro types it does not know. Every schema is probed before its first use: a sample of
   records must come out as fastavro reads them, or the schema is decoded record by record.
2. It accepts trailing bytes. A random number, the seal, is appended to each body and a field for it to
   the schema: only a body that was consumed to its last byte leaves the seal where it is read.
3. One bad record fails its batch. The batch is halved until the refusals are few, and fastavro judges
   those one by one.

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
from schemas.definitions import Definition, arrow_schema, compact, definition, from_records, parse
from schemas.errors import BadRecord
from schemas.topics import Topic
from schemas.validation import EventTimeBounds, Validator

__all__ = ["Decoded", "Decoder", "SchemaSource"]

Rows = npt.NDArray[np.int64]
#: Fewer refused records than this are not worth halving again.
JUDGE_ONE_BY_ONE = 8
PROBE_RECORDS = 64
SEAL_FIELD = "__seal"


class SchemaSource(Protocol):
    """Where schemas come from: the registry client, or a table in a test."""

    def writer_schemas(self, subject: str, schema_ids: Collection[int]) -> Mapping[int, str]:
        """The text of those of these schemas that are registered under this subject, by id.

        Raises RegistryUnavailable where nobody can tell at the moment.
        """


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
        self._writers: dict[int, _WriterSchema] = {}

    def decode(self, messages: Sequence[bytes | None], ingest_ms: Rows) -> Decoded:
        """Decode a chunk. `ingest_ms` has shape (len(messages),): Kafka's timestamps.

        Raises RegistryUnavailable; anything wrong with a record is in the result instead.
        """
        ids = wire.schema_ids(messages)
        batches: list[pa.RecordBatch] = []
        rows: list[Rows] = []
        bad: list[BadRecord] = []
        present = np.unique(ids).tolist()
        self._learn(present)
        for schema_id in present:
            where = np.flatnonzero(ids == schema_id)
            writer = self._writers.get(schema_id)
            if writer is None:
                bad.extend(self._refuse(schema_id, where, messages))
                continue
            good = writer.decode([messages[row] or b"" for row in where.tolist()], where, bad)
            batches.extend(self._project(batch, writer) for batch, _ in good)
            rows.extend(positions for _, positions in good)
        batch, positions = self._join(batches, rows)
        return self._validate(batch, positions, bad, ingest_ms)

    def _learn(self, schema_ids: Collection[int]) -> None:
        new = {schema_id for schema_id in schema_ids if schema_id not in self._writers} - {wire.UNFRAMED}
        if new:
            for schema_id, text in self._source.writer_schemas(self._topic.subject, new).items():
                self._writers[schema_id] = _WriterSchema(schema_id, text)

    def _refuse(self, schema_id: int, where: Rows, messages: Sequence[bytes | None]) -> Sequence[BadRecord]:
        if schema_id == wire.UNFRAMED:
            return [BadRecord(row, *wire.why_unframed(messages[row])) for row in where.tolist()]
        message = f"schema id {schema_id} is not registered under {self._topic.subject}"
        return [BadRecord(row, "unknown_schema", message, schema_id) for row in where.tolist()]

    def _project(self, batch: pa.RecordBatch, writer: "_WriterSchema") -> pa.RecordBatch:
        """Columns of the newest schema: what the writer did not know gets its default."""
        if writer.text == self._reader.text:
            return batch
        target = arrow_schema(self._reader.text)
        columns = [
            batch.column(field.name).cast(field.type)
            if field.name in batch.schema.names
            else _default_column(self._reader, field, batch.num_rows)
            for field in target
        ]
        return pa.RecordBatch.from_arrays(columns, schema=target)

    def _join(self, batches: Sequence[pa.RecordBatch], rows: Sequence[Rows]) -> tuple[pa.RecordBatch, Rows]:
        if not batches:
            return pa.RecordBatch.from_pylist([], arrow_schema(self._reader.text)), np.empty(0, np.int64)
        if len(batches) == 1:
            return batches[0], rows[0]
        positions = np.concatenate(rows)
        order = np.argsort(positions, kind="stable")
        table = pa.Table.from_batches(batches).take(order).combine_chunks()
        return table.to_batches()[0], positions[order]

    def _validate(self, batch: pa.RecordBatch, positions: Rows, bad: list[BadRecord], ingest_ms: Rows) -> Decoded:
        refused = self._validator.refuse(batch, ingest_ms[positions])
        if refused:
            accounts = batch.column("account_id") if "account_id" in batch.schema.names else None
            for record in refused:
                account = accounts[record.row].as_py()[:256] if accounts is not None else None
                bad.append(replace(record, row=int(positions[record.row]), account_id=account))
            keep = np.ones(batch.num_rows, np.bool_)
            keep[[record.row for record in refused]] = False
            batch, positions = batch.filter(pa.array(keep)), positions[keep]
        batch, dropped = self._validator.drop_bad_fields(batch)
        return Decoded(batch, positions, sorted(bad, key=lambda record: record.row), dropped)


class _WriterSchema:
    """Decodes bodies written with one schema."""

    def __init__(self, schema_id: int, text: str) -> None:
        self.schema_id = schema_id
        self.text = compact(text)
        self._parsed = parse(text)
        self._sealed = _with_seal(text)
        self._seal = secrets.randbits(62)
        self._seal_bytes = _encode(parse('{"type": "long"}'), self._seal)
        self.arrow = arrow_schema(text)
        self._in_rust = self._probe()

    def decode(self, messages: Sequence[bytes], rows: Rows, bad: list[BadRecord]) -> list[tuple[pa.RecordBatch, Rows]]:
        """Good records as batches with their positions; bad ones are appended to `bad`."""
        bodies = [message[wire.HEADER_BYTES :] for message in messages]
        if self._in_rust:
            return self._in_batch(bodies, rows, bad)
        return self._one_by_one(bodies, rows, bad)

    def _in_batch(self, bodies: Sequence[bytes], rows: Rows, bad: list[BadRecord]) -> list[tuple[pa.RecordBatch, Rows]]:
        try:
            batch = self._decode_sealed(bodies)
        except _Refused:
            if len(bodies) <= JUDGE_ONE_BY_ONE:
                return self._one_by_one(bodies, rows, bad)
            half = len(bodies) // 2
            return [
                *self._in_batch(bodies[:half], rows[:half], bad),
                *self._in_batch(bodies[half:], rows[half:], bad),
            ]
        seals = batch.column(batch.num_columns - 1).to_numpy()
        batch = pa.RecordBatch.from_arrays(batch.columns[:-1], schema=self.arrow)
        whole = seals == self._seal
        if whole.all():
            return [(batch, rows)]
        suspects = np.flatnonzero(~whole)
        return [
            (batch.filter(pa.array(whole)), rows[whole]),
            *self._one_by_one([bodies[i] for i in suspects.tolist()], rows[suspects], bad),
        ]

    def _decode_sealed(self, bodies: Sequence[bytes]) -> pa.RecordBatch:
        seal = self._seal_bytes
        try:
            return pyruhvro.deserialize_array([body + seal for body in bodies], self._sealed)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # a Rust panic is not an Exception
            raise _Refused from error

    def _one_by_one(
        self, bodies: Sequence[bytes], rows: Rows, bad: list[BadRecord]
    ) -> list[tuple[pa.RecordBatch, Rows]]:
        good: list[Any] = []
        positions: list[int] = []
        for body, row in zip(bodies, rows.tolist(), strict=True):
            stream = io.BytesIO(body)
            try:
                record = fastavro.schemaless_reader(stream, self._parsed, None)
            except Exception as error:
                message = f"not a record of schema {self.schema_id} ({type(error).__name__} in {len(body)} bytes)"
                bad.append(BadRecord(row, "undecodable", message, self.schema_id))
                continue
            if trailing := len(body) - stream.tell():
                message = f"{trailing} bytes after the end of the record"
                bad.append(BadRecord(row, "trailing_bytes", message, self.schema_id))
                continue
            good.append(record)
            positions.append(row)
        return [(from_records(good, self.arrow), np.array(positions, np.int64))] if good else []

    def _probe(self) -> bool:
        """Whether the fast path reads this schema as fastavro does."""
        records = list(generate_many(self._parsed, PROBE_RECORDS))
        bodies = [_encode(self._parsed, record) for record in records]
        try:
            batch = self._decode_sealed(bodies)
        except _Refused:
            return False
        expected = from_records(
            [fastavro.schemaless_reader(io.BytesIO(body), self._parsed, None) for body in bodies], self.arrow
        )
        return bool(batch.drop_columns([SEAL_FIELD]).equals(expected))


class _Refused(Exception):
    """The batch decoder would not have it."""


def _with_seal(text: str) -> str:
    schema = json.loads(text)
    schema["fields"].append({"name": SEAL_FIELD, "type": "long"})
    return json.dumps(schema)


def _encode(parsed: Any, value: Any) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, parsed, value)
    return stream.getvalue()


def _default_column(reader: Definition, field: pa.Field, length: int) -> pa.Array:
    default = reader.defaults[field.name]
    return pa.array([list(default.items()) if isinstance(default, dict) else default] * length, field.type)
