"""What the contract asks of values beyond their Avro types, checked column by column.

The rules are attributes of the fields in the `.avsc` files, so that they are in the registry too:

- `non_empty`: an id of no characters identifies nothing (and is what a null written through a nullable
  union looks like on the wire: the same zero byte).
- `max_length`: bytes of UTF-8. No field may fill a topic, a key or a log line.
- `pattern`: the record is refused where a value does not match.
- `drop_unless`: the value is dropped, never the record; hashed identifiers have it, so that an e-mail
  address written where its hash belongs goes no further.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from schemas.definitions import Definition
from schemas.errors import BadRecord

__all__ = ["EventTimeBounds", "Validator"]

Mask = npt.NDArray[np.bool_]
DAY_MS = 86_400_000


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
        self._checks: list[tuple[str, str, Callable[[pa.Array], Mask | None], str]] = []
        self._drops: list[tuple[str, str]] = []
        for field in schema.fields:
            self._read_rules(field["name"], field)

    def _read_rules(self, name: str, rules: Mapping[str, Any]) -> None:
        if rules.get("non_empty"):
            self._checks.append((name, "missing_id", _is_empty, f"{name} is empty"))
        if limit := rules.get("max_length"):
            message = f"{name} is longer than {limit} bytes"
            self._checks.append((name, "field_too_long", _longer_than(limit), message))
        if pattern := rules.get("pattern"):
            message = f"{name} does not match {pattern}"
            self._checks.append((name, "bad_value", _mismatch(pattern), message))
        if pattern := rules.get("drop_unless"):
            self._drops.append((name, pattern))

    def drop_bad_fields(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[str, int]]:
        """The batch without the values that a `drop_unless` rule refuses, and how many there were by field."""
        dropped: dict[str, int] = {}
        for name, pattern in self._drops:
            column = batch.column(name)
            kept, count = _drop_mismatches(column, pattern)
            if count:
                batch = batch.set_column(batch.schema.get_field_index(name), batch.schema.field(name), kept)
                dropped[name] = count
        return batch, dropped

    def refuse(self, batch: pa.RecordBatch, ingest_ms: npt.NDArray[np.int64]) -> list[BadRecord]:
        """The rows that break a rule, each once, with the first rule it breaks, in row order.

        `ingest_ms` has shape (rows,): Kafka's timestamp of each record, milliseconds since the epoch.
        """
        bad: dict[int, BadRecord] = {}
        for name, error, check, message in self._checks:
            mask = check(batch.column(name))
            if mask is not None:
                for row in np.flatnonzero(mask).tolist():
                    bad.setdefault(row, BadRecord(row, error, message))
        for row, message in self._out_of_time(batch, ingest_ms):
            bad.setdefault(row, BadRecord(row, "event_time_out_of_range", message))
        return [bad[row] for row in sorted(bad)]

    def _out_of_time(self, batch: pa.RecordBatch, ingest_ms: npt.NDArray[np.int64]) -> Iterator[tuple[int, str]]:
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


def _mask(condition: pa.Array) -> Mask | None:
    """A Boolean Arrow array as a numpy mask with null as false; None where nothing is true."""
    if not pc.any(condition).as_py():
        return None
    return np.asarray(condition.fill_null(False).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _is_empty(column: pa.Array) -> Mask | None:
    return _mask(pc.equal(pc.binary_length(column), 0))


def _longer_than(limit: int) -> Callable[[pa.Array], Mask | None]:
    return lambda column: _mask(pc.greater(pc.binary_length(column), limit))


def _mismatch(pattern: str) -> Callable[[pa.Array], Mask | None]:
    return lambda column: _mask(pc.invert(pc.match_substring_regex(column, pattern)))


def _drop_mismatches(column: pa.Array, pattern: str) -> tuple[pa.Array, int]:
    if pa.types.is_map(column.type):
        return _drop_map_mismatches(column, pattern)
    if column.null_count == len(column):
        return column, 0
    matches = pc.match_substring_regex(column, pattern)
    count = len(column) - column.null_count - (pc.sum(matches).as_py() or 0)
    return (pc.if_else(matches, column, pa.scalar(None, column.type)), count) if count else (column, 0)


def _drop_map_mismatches(column: pa.MapArray, pattern: str) -> tuple[pa.MapArray, int]:
    matches = pc.match_substring_regex(column.items, pattern)
    if pc.all(matches).as_py() is not False:
        return column, 0
    keep = iter(matches.to_pylist())
    entries: Sequence[Sequence[tuple[str, str]]] = column.to_pylist()
    kept = [[entry for entry in row if next(keep)] for row in entries]
    return pa.array(kept, column.type), matches.false_count
