"""The Avro schemas of the contract, read from `avro/<name>.v<N>.avsc`.

A released version is never edited: a change is a new file with the next number, and every version stays,
because topics are replayed. `avro/released.json` holds the fingerprint of each released file.
"""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import fastavro
import pyarrow as pa
import pyruhvro

__all__ = [
    "Definition",
    "arrow_schema",
    "compact",
    "definition",
    "encode",
    "from_records",
    "history",
    "parse",
    "without_logical_types",
]

_FILE = re.compile(r"(?P<name>[a-z-]+)\.v(?P<version>\d+)\.avsc")


@dataclass(frozen=True, slots=True)
class Definition:
    """One version of one schema: its JSON text as registered, and the same parsed."""

    name: str
    version: int
    text: str
    fields: tuple[Mapping[str, Any], ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Fields a record must give, in order."""
        return tuple(field["name"] for field in self.fields if "default" not in field)

    @property
    def defaults(self) -> Mapping[str, Any]:
        """The value of each other field where a record does not give it."""
        return {field["name"]: field["default"] for field in self.fields if "default" in field}


@cache
def history(name: str | None) -> Sequence[Definition]:
    """Every version of a schema, oldest first. Raises KeyError for a name without a file, and for none."""
    versions = []
    for file in (files("schemas") / "avro").iterdir():
        match = _FILE.fullmatch(file.name)
        if match and match["name"] == name:
            text = compact(file.read_text(encoding="utf-8"))
            versions.append(Definition(match["name"], int(match["version"]), text, tuple(json.loads(text)["fields"])))
    if not versions:
        raise KeyError(f"no schema {name!r} in schemas/avro")
    return sorted(versions, key=lambda found: found.version)


def compact(text: str) -> str:
    """The same schema without white space, so that two copies of it compare as equal."""
    return json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False)


def definition(name: str | None) -> Definition:
    """The version this build reads and writes: the newest. Raises KeyError as `history` does."""
    return history(name)[-1]


def parse(text: str) -> Any:
    """A schema in the form fastavro reads and writes with."""
    return fastavro.parse_schema(json.loads(text), named_schemas={})


def without_logical_types(text: str) -> str:
    """The same schema with times and dates as the whole numbers they are on the wire."""

    def strip(avro: Any) -> Any:
        if isinstance(avro, list):
            return [strip(item) for item in avro]
        if isinstance(avro, dict):
            return {name: strip(value) for name, value in avro.items() if name != "logicalType"}
        return avro

    return json.dumps(strip(json.loads(text)))


def encode(parsed: Any, record: Any) -> bytes:
    """A value as the Avro body of a message; `parsed` is from `parse`."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, parsed, record)
    return stream.getvalue()


@cache
def arrow_schema(text: str) -> pa.Schema:
    """The Arrow schema that Avro records of this schema decode to. Raises ValueError where there is none."""
    try:
        return pyruhvro.deserialize_array([], text).schema
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a Rust panic is not an Exception
        raise ValueError(f"no Arrow schema for it: {error}") from None


def from_records(records: Sequence[Mapping[str, Any]], schema: pa.Schema) -> pa.RecordBatch:
    """Records as fastavro reads them, to Arrow: maps become pairs, which is what Arrow takes for them."""
    columns = []
    for field in schema:
        values: list[Any] = [record[field.name] for record in records]
        if pa.types.is_map(field.type):
            values = [None if value is None else list(value.items()) for value in values]
        columns.append(pa.array(values, field.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)
