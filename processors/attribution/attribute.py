"""From what is held for conversions to attributed conversions, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.credit import MODELS, split_micros
from processors.attribution.facts import (
    ConversionContent,
    Retention,
    Touchpoint,
    choose_conversion,
    choose_touchpoints,
    read_contents,
    read_touchpoints,
)
from schemas.definitions import arrow_schema, definition
from schemas.facts import Held, HeldConversion

__all__ = ["Origin", "Pending", "arrived_conversions", "assemble", "conversions_of_clicks"]

MODEL_VERSION = "rules-1"
#: More clicks before one conversion are not a person's: a broken tag gave many the same id, which therefore says
#: nothing. The bound also keeps every result below what its topic takes.
MAX_TOUCHPOINTS = 500
#: What a bucket with more touchpoints than identify anybody counts for: more than any that has fewer.
OVERFULL_FACTS = 1_000_000
SCHEMA = arrow_schema(definition("attributed-conversions").text)


@dataclass(frozen=True, slots=True)
class Origin:
    """The chunk of records whose arrival is being worked on."""

    topic: str
    topic_id: str
    partition: int


class Pending(NamedTuple):
    """A conversion to be attributed anew: its content that counts, its touchpoints, and what caused it."""

    conversion: ConversionContent
    touchpoints: Sequence[Touchpoint]
    lookback_s: int
    facts_held: int
    offset: int


Ids = Mapping[tuple[str, str], int]


def arrived_conversions(held: Held, offsets: Ids, retention: Retention) -> list[Pending]:
    """What is to be attributed for conversions that arrived, with their offsets by (account, conversion_id)."""
    evidence = _Evidence(held, retention)
    return [
        evidence.pending(conversion, offsets[conversion.account_id, conversion.conversion_id])
        for conversion in held.conversions
    ]


def conversions_of_clicks(held: Held, offsets: Ids, retention: Retention) -> list[Pending]:
    """The conversions whose result clicks that arrived may change; their offsets by (account, click_id).

    A click outside the window of a conversion changes nothing, nor does one that is too late for it: by then other
    facts of the window may have expired, and the conversion is frozen.
    """
    evidence = _Evidence(held, retention)
    found = []
    for conversion in held.conversions:
        # A content inside the window counts as a cause even where a later one has moved the click out of it.
        causes = [offsets.get((conversion.account_id, touch.click_id), -1) for touch in evidence.inside(conversion)]
        if (cause := max(causes, default=-1)) >= 0:
            found.append(evidence.pending(conversion, cause))
    return found


class _Evidence:
    """What is held, read once for all conversions that share it."""

    def __init__(self, held: Held, retention: Retention) -> None:
        self._held = held.touchpoints
        self._retention = retention
        contents = list({content for item in held.touchpoints.values() for content in item.contents})
        self._touchpoints = dict(zip(contents, read_touchpoints(contents), strict=True))

    def inside(self, conversion: HeldConversion) -> list[Touchpoint]:
        """The contents of touchpoints in a conversion's window that are not too late for it."""
        case = _Case(conversion, self._retention)
        return [touch for touch in self._in_time(case) if touch.event_ms in case.window]

    def pending(self, conversion: HeldConversion, offset: int) -> Pending:
        """What there is to attribute the conversion with."""
        case = _Case(conversion, self._retention)
        counting = choose_touchpoints(self._in_time(case))
        inside = [touch for touch in counting if touch.event_ms in case.window and case.chosen.is_of(touch)]
        used = inside if len(inside) <= MAX_TOUCHPOINTS else []
        facts_held = len(case.contents) + len(self._of(case)) + len(self._overfull(case)) * OVERFULL_FACTS
        return Pending(case.chosen, used, case.lookback_s, facts_held, offset)

    def _in_time(self, case: "_Case") -> list[Touchpoint]:
        # Too late is too late whenever it is read, or the result would depend on what was read first.
        return [touch for touch in self._of(case) if not self._retention.is_late(case.chosen.event_ms, touch.ingest_ms)]

    def _of(self, case: "_Case") -> list[Touchpoint]:
        """The contents of touchpoints that any content asks for; none under an identifier that says nothing.

        They only become more until the conversion is frozen. Others may have been read along for other conversions.
        """
        silent = {identifier for identifier, _ in self._overfull(case)}
        found = {
            content: None
            for identifier in case.identifiers
            if identifier not in silent and identifier in self._held
            for content in self._held[identifier].contents
        }
        touchpoints = (self._touchpoints[content] for content in found)
        return [touch for touch in touchpoints if self._retention.bucket_of(touch.event_ms) in case.buckets]

    def _overfull(self, case: "_Case") -> list[tuple[tuple[str, str], int]]:
        """Identifiers and buckets, of those the conversion asks, that hold more than identifies anybody."""
        return [
            (identifier, bucket)
            for identifier in case.identifiers
            if identifier in self._held
            for bucket in self._held[identifier].overfull
            if bucket in case.buckets
        ]


class _Case:
    """One conversion: its contents, the one that counts, and where its touchpoints may lie."""

    def __init__(self, conversion: HeldConversion, retention: Retention) -> None:
        self.contents = read_contents(conversion.contents)
        self.chosen = choose_conversion(self.contents, retention)
        self.lookback_s = retention.lookback_of(conversion.account_id)
        self.window = range(self.chosen.event_ms - self.lookback_s * 1000, self.chosen.event_ms + 1)
        #: Of all contents together, so that a correction never takes anything away.
        self.buckets = {
            bucket
            for content in self.contents
            for bucket in retention.touchpoint_buckets(conversion.account_id, content.event_ms)
        }
        self.identifiers = {
            (conversion.account_id, name) for content in conversion.contents for name in content.identifiers
        }


def assemble(conversions: pa.RecordBatch, pending: Sequence[Pending], origin: Origin) -> pa.RecordBatch:
    """Attributed conversions, a row for each row of `conversions`, which are decoded from `pending`."""
    columns: dict[str, Any] = {name: conversions.column(name) for name in conversions.schema.names}
    latest_fbclid = [_latest_fbclid(item.touchpoints) for item in pending]
    ids = conversions.column("click_id").to_pylist()
    layers = [_layer(item.touchpoints, click_id) for item, click_id in zip(pending, ids, strict=True)]
    count = len(pending)
    columns |= {
        "conversion_ingest_time": [item.conversion.ingest_ms for item in pending],
        "epoch": [0] * count,
        "facts_held": [item.facts_held for item in pending],
        "origin_topic": [origin.topic] * count,
        "origin_topic_id": [origin.topic_id] * count,
        "origin_partition": [origin.partition] * count,
        "origin_offset": [item.offset for item in pending],
        "layer": layers,
        "confidence_person": [None if layer == "none" else 1.0 for layer in layers],
        "confidence_ad": [None] * count,
        "probability_none": [None] * count,
        "margin": [None] * count,
        "candidates": [[]] * count,
        "lookback_window_s": [item.lookback_s for item in pending],
        "model_version": [MODEL_VERSION] * count,
        "touchpoints": _touchpoints(pending),
        "credits": _credits(conversions, pending),
        "attributed_fbclid": [touch.fbclid if touch else None for touch in latest_fbclid],
        "fbclid_first_seen": [touch.event_ms if touch else None for touch in latest_fbclid],
    }
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for field in SCHEMA
        for column in [columns[field.name]]
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _layer(touchpoints: Sequence[Touchpoint], click_id: str | None) -> str:
    if not touchpoints:
        return "none"
    return "click_id" if any(touch.click_id == click_id for touch in touchpoints) else "visitor_id"


def _latest_fbclid(touchpoints: Sequence[Touchpoint]) -> Touchpoint | None:
    return next((touch for touch in reversed(touchpoints) if touch.fbclid), None)


def _offsets(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def _touchpoints(pending: Sequence[Pending]) -> pa.ListArray:
    """list<struct>, a list for each conversion."""
    list_type = SCHEMA.field("touchpoints").type
    flat = [touch for item in pending for touch in item.touchpoints]
    members = ["event_ms" if field.name == "event_time" else field.name for field in list_type.value_type]
    positions = [Touchpoint._fields.index(name) for name in members]
    children = [
        pa.array([touch[position] for touch in flat], field.type)
        for position, field in zip(positions, list_type.value_type, strict=True)
    ]
    offsets = _offsets([len(item.touchpoints) for item in pending])
    values = pa.StructArray.from_arrays(children, fields=list(list_type.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values, type=list_type)


def _credits(conversions: pa.RecordBatch, pending: Sequence[Pending]) -> pa.ListArray:
    """list<struct<model, shares, value_micros>>: for each conversion with touchpoints one entry a model."""
    list_type = SCHEMA.field("credits").type
    counts = np.array([len(item.touchpoints) for item in pending], np.int64)
    matched = counts > 0
    offsets = _offsets(counts[matched])
    value = conversions.column("value_micros")
    has_value = np.asarray(value.is_valid())[matched]
    micros = value.fill_null(0).to_numpy()[matched]

    by_model = {name: model(offsets) for name, model in MODELS.items()}
    parts = {name: split_micros(micros, shares, offsets) for name, shares in by_model.items()}
    entries: list[list[dict[str, Any]]] = []
    bounds = iter(zip(offsets[:-1].tolist(), offsets[1:].tolist(), has_value.tolist(), strict=True))
    for found in matched.tolist():
        if not found:
            entries.append([])
            continue
        begin, end, valued = next(bounds)
        entries.append(
            [
                {
                    "model": name,
                    "shares": by_model[name][begin:end],
                    "value_micros": parts[name][begin:end] if valued else [],
                }
                for name in MODELS
            ]
        )
    return pa.array(entries, list_type)
