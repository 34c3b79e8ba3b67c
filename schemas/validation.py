"""What the contract asks of values beyond their Avro types, checked column by column.

The rules are attributes of the fields in the `.avsc` files, so that they are in the registry too. They hold
for the members of records in arrays as well.

- `non_empty`: an id of no characters identifies nothing (and is what a null written through a nullable
  union looks like on the wire: the same zero byte).
- `max_length`: bytes of UTF-8. No field may fill a topic, a key or a log line.
- `pattern`: the record is refused where a value does not match.
- `range`: the least and the greatest whole number.
- `drop_unless`: the value is dropped, never the record; hashed identifiers have it, so that an e-mail
  address written where its hash belongs goes no further.
- `drop_unless_key`: the same for the keys of a map.

Two rules follow from the types and need no attribute. Times and dates lie between 1970 and 2200: ClickHouse
refuses the whole block for one that its types cannot hold. A double is a finite number: one NaN makes every
sum over it NaN.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.definitions import Definition
from schemas.errors import BadRecord
from schemas.strings import mismatches

__all__ = ["DAY_MS", "LAST", "EventTimeBounds", "Validator"]

Mask = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
Avro = Any
DAY_MS = 86_400_000
#: The last moment and day that a value of these types may have; the first is 1970.
LAST: Mapping[str, int] = {
    "timestamp-millis": int(datetime(2200, 1, 1, tzinfo=UTC).timestamp()) * 1000,
    "date": (date(2200, 1, 1) - date(1970, 1, 1)).days,
}


@dataclass(frozen=True, slots=True)
class EventTimeBounds:
    """How far an event time may lie before and after the record's ingest time, in milliseconds."""

    max_age_ms: int
    max_ahead_ms: int


class Validator:
    """Checks record batches of one schema."""

    def __init__(self, schema: Definition, event_time: str | None, bounds: EventTimeBounds | None) -> None:
        """`event_time` names the field held against the ingest time; without `bounds` none is."""
        self._event_time = event_time if bounds else None
        self._bounds = bounds
        leaves = [leaf for field in schema.fields for leaf in _leaves((field["name"],), field["type"], field)]
        self._checks = [(leaf, _checks(leaf)) for leaf in leaves if leaf.name != self._event_time]
        self._required = [field["name"] for field in schema.fields if not _is_nullable(field["type"])]
        self._required_members = [leaf for leaf in leaves if len(leaf.path) > 1 and not leaf.nullable]
        self._drops = [_Drop(field) for field in schema.fields if "drop_unless" in field]

    def refuse(self, batch: pa.RecordBatch, ingest_ms: Rows) -> list[BadRecord]:
        """The rows that break a rule, each once, with the first rule it breaks, in row order.

        `ingest_ms` has shape (rows,): Kafka's timestamp of each record, milliseconds since the epoch.
        """
        bad: dict[int, BadRecord] = {}
        for leaf, checks in self._checks:
            column = batch.column(leaf.path[0])
            if not checks or column.null_count == len(column):
                continue
            values, owners = _values(column, leaf.path)
            for error, message, check in checks:
                for row in _rows(check(values), owners):
                    bad.setdefault(row, BadRecord(row, error, message))
        for row, message in self._out_of_time(batch, ingest_ms):
            bad.setdefault(row, BadRecord(row, "event_time_out_of_range", message))
        return [bad[row] for row in sorted(bad)]

    def refuse_absent(self, batch: pa.RecordBatch) -> list[BadRecord]:
        """The rows without a value that the schema requires. A decoded batch has none such."""
        found: list[tuple[str, pa.Array, Rows | None]] = [(name, batch.column(name), None) for name in self._required]
        found += [(leaf.name, *_values(batch.column(leaf.path[0]), leaf.path)) for leaf in self._required_members]
        return [
            BadRecord(row, "missing_field", f"{name} not given")
            for name, values, owners in found
            if values.null_count
            for row in _rows(_to_mask(values.is_null()), owners)
        ]

    def refuse_droppable(self, batch: pa.RecordBatch) -> list[BadRecord]:
        """The rows of which `drop_bad_fields` would drop a value."""
        return [
            BadRecord(row, "bad_value", f"{drop.name} does not match {drop.pattern}")
            for drop in self._drops
            for row in np.unique(drop.apply(batch.column(drop.name))[1]).tolist()
        ]

    def drop_bad_fields(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, int]]:
        """The batch without the values that a `drop_unless` rule refuses, and how many there were by field."""
        dropped: dict[str, int] = {}
        for drop in self._drops:
            kept, rows = drop.apply(batch.column(drop.name))
            if len(rows):
                position = batch.schema.get_field_index(drop.name)
                batch = batch.set_column(position, batch.schema.field(position), kept)
                dropped[drop.name] = len(rows)
        return batch, dropped

    def _out_of_time(self, batch: pa.RecordBatch, ingest_ms: Rows) -> Iterator[tuple[int, str]]:
        if self._event_time is None or self._bounds is None:
            return
        event_ms = batch.column(self._event_time).cast(pa.int64()).to_numpy()
        # Compared, not subtracted first: an event time near the end of the 64-bit range would wrap around.
        early = event_ms < ingest_ms - self._bounds.max_age_ms
        late = event_ms > ingest_ms + self._bounds.max_ahead_ms
        for row in np.flatnonzero(early | late).tolist():
            days = abs(int(event_ms[row]) - int(ingest_ms[row])) / DAY_MS
            side = "before" if early[row] else "after"
            limit = self._bounds.max_age_ms if early[row] else self._bounds.max_ahead_ms
            yield (
                row,
                f"{self._event_time} is {days:.1f} days {side} the ingest time; {limit / DAY_MS:.3g} are allowed",
            )


# --- Where values are: in a column, or in the members of the records of a list ---


class _Leaf(NamedTuple):
    """Scalars of one name: the path of members to them, their Avro type without null, and their rules."""

    path: tuple[str, ...]
    avro: Avro
    nullable: bool
    rules: Mapping[str, Any]

    @property
    def name(self) -> str:
        return ".".join(self.path)


def _is_nullable(avro: Avro) -> bool:
    return isinstance(avro, list)


def _leaves(path: tuple[str, ...], avro: Avro, rules: Mapping[str, Any]) -> Iterator[_Leaf]:
    nullable = _is_nullable(avro)
    if nullable:
        avro = next(branch for branch in avro if branch != "null")
    kind = avro["type"] if isinstance(avro, dict) else avro
    if kind == "array":
        yield from _leaves(path, avro["items"], rules)
    elif kind == "record":
        for field in avro["fields"]:
            yield from _leaves((*path, field["name"]), field["type"], field)
    elif kind != "map":
        yield _Leaf(path, avro, nullable, rules)


def _values(column: pa.Array, path: Sequence[str]) -> tuple[pa.Array, Rows | None]:
    """The scalars at the path, and the row of the column each belongs to; None where they are the rows."""
    members = iter(path[1:])
    owners: Rows | None = None
    while pa.types.is_nested(column.type):
        if pa.types.is_struct(column.type):
            column = pc.struct_field(column, next(members))
        else:
            parents = pc.list_parent_indices(column).to_numpy()
            owners = parents if owners is None else owners[parents]
            column = pc.list_flatten(column)
    return column, owners


def _rows(mask: Mask | None, owners: Rows | None) -> list[int]:
    if mask is None:
        return []
    found = np.flatnonzero(mask)
    rows: list[int] = (found if owners is None else owners[found]).tolist()
    return rows


# --- Which values are refused: each check gives a mask, or None where nothing is wrong ---

Check = Callable[[pa.Array], Mask | None]


def _checks(leaf: _Leaf) -> list[tuple[str, str, Check]]:
    """(error, message, check) for each rule of these scalars."""
    rules, name = leaf.rules, leaf.name
    checks: list[tuple[str, str, Check]] = []
    if rules.get("non_empty"):
        checks.append(("missing_id", f"{name} is empty", _is_empty))
    if limit := rules.get("max_length"):
        checks.append(("field_too_long", f"{name} is longer than {limit} bytes", _longer_than(limit)))
    if pattern := rules.get("pattern"):
        message = f"{name} does not match {pattern}"
        checks.append(("bad_value", message, lambda values: mismatches(values, pattern)))
    if bounds := rules.get("range"):
        checks.append(("bad_value", f"{name} is not between {bounds[0]} and {bounds[1]}", _outside(*bounds)))
    if leaf.avro == "double":
        checks.append(("bad_value", f"{name} is not a finite number", _not_finite))
    if isinstance(leaf.avro, dict) and (last := LAST.get(leaf.avro.get("logicalType", ""))):
        checks.append(("bad_value", f"{name} is not between 1970 and 2200", _outside(0, last)))
    return checks


def _to_mask(condition: pa.Array) -> Mask:
    """A Boolean Arrow array as a numpy mask with null as false."""
    return np.asarray(condition.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _is_empty(values: pa.Array) -> Mask | None:
    lengths = pc.binary_length(values)
    return _to_mask(pc.equal(lengths, 0)) if pc.min(lengths).as_py() == 0 else None


def _longer_than(limit: int) -> Check:
    def check(values: pa.Array) -> Mask | None:
        lengths = pc.binary_length(values)
        return _to_mask(pc.greater(lengths, limit)) if (pc.max(lengths).as_py() or 0) > limit else None

    return check


def _outside(least: int, greatest: int) -> Check:
    def check(values: pa.Array) -> Mask | None:
        if pa.types.is_date32(values.type):
            values = values.cast(pa.int32())
        numbers = values.cast(pa.int64())
        found = pc.min_max(numbers).as_py()
        if found["min"] is None or (found["min"] >= least and found["max"] <= greatest):
            return None
        return _to_mask(pc.or_(pc.less(numbers, least), pc.greater(numbers, greatest)))

    return check


def _not_finite(values: pa.Array) -> Mask | None:
    finite = pc.is_finite(values)
    return None if pc.all(finite).as_py() is not False else _to_mask(pc.invert(finite))


# --- Which values are dropped ---


class _Drop:
    """The `drop_unless` rule of one field."""

    def __init__(self, field: Mapping[str, Any]) -> None:
        self.name: str = field["name"]
        self.pattern: str = field["drop_unless"]
        self._key_pattern: str = field.get("drop_unless_key", "")

    def apply(self, column: pa.Array) -> tuple[pa.Array, Rows]:
        """The column without its bad values, and the row of each value that was dropped."""
        if pa.types.is_map(column.type):
            return self._apply_to_map(column)
        mask = mismatches(column, self.pattern)
        if mask is None:
            return column, np.empty(0, np.int64)
        return pc.if_else(pa.array(~mask), column, pa.scalar(None, column.type)), np.flatnonzero(mask)

    def _apply_to_map(self, column: pa.MapArray) -> tuple[pa.MapArray, Rows]:
        # These are the entries of the whole array, also where the column is a slice of it: good ones suffice.
        if self._all_match(column.keys, column.items):
            return column, np.empty(0, np.int64)
        rows = [list(entries or []) for entries in column.to_pylist()]
        owners = np.repeat(np.arange(len(rows)), [len(entries) for entries in rows])
        keys = pa.array([key for entries in rows for key, _ in entries], pa.string())
        values = pa.array([value for entries in rows for _, value in entries], pa.string())
        bad = _to_mask(values.is_null())
        for strings, pattern in ((values, self.pattern), (keys, self._key_pattern)):
            if (mask := mismatches(strings, pattern)) is not None:
                bad |= mask
        verdicts = iter(bad.tolist())
        kept = [[entry for entry in entries if not next(verdicts)] for entries in rows]
        return pa.array(kept, column.type), owners[bad]

    def _all_match(self, keys: pa.Array, values: pa.Array) -> bool:
        return (
            values.null_count == 0
            and mismatches(values, self.pattern) is None
            and mismatches(keys, self._key_pattern) is None
        )
