"""From what is held for conversions to attributed conversions, as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.credit import MODELS, split_micros
from processors.attribution.facts import (
    ChosenConversion,
    Retention,
    Touchpoint,
    choose_conversion,
    choose_touchpoints,
    read_touchpoints,
)
from schemas.definitions import arrow_schema, definition
from schemas.facts import HeldConversion

__all__ = ["Origin", "Pending", "assemble", "concerned"]

MODEL_VERSION = "rules-1"
#: More clicks before one conversion are not a person's: a broken tag gave many the same id, which therefore says
#: nothing. The bound also keeps every result below what its topic takes.
MAX_TOUCHPOINTS = 500
SCHEMA = arrow_schema(definition("attributed-conversions").text)


@dataclass(frozen=True, slots=True)
class Origin:
    """The chunk of records whose arrival is being worked on."""

    topic: str
    topic_id: str
    partition: int


class Pending(NamedTuple):
    """A conversion to be attributed anew: its content that counts, its touchpoints, and what caused it."""

    conversion: ChosenConversion
    touchpoints: Sequence[Touchpoint]
    lookback_s: int
    facts_held: int
    offset: int


def concerned(
    held: Sequence[HeldConversion],
    retention: Retention,
    *,
    conversions: Mapping[tuple[str, str], int] | None = None,
    clicks: Mapping[tuple[str, str], int] | None = None,
) -> list[Pending]:
    """The conversions whose result the arrived records may change.

    `conversions`: offsets of arrived conversions by (account, conversion_id).
    `clicks`: offsets of arrived clicks by (account, click_id). A click outside the window of a conversion changes
    nothing, nor does one that is too late for it: by then other facts of the window may have expired, and the
    conversion is frozen.
    """
    pending = []
    for item in held:
        conversion = choose_conversion(item.contents)
        lookback_s = retention.lookback_of(item.account_id)
        window = range(conversion.event_ms - lookback_s * 1000, conversion.event_ms + 1)
        # Too late is too late whenever it is read, or the result would depend on what was read first.
        contents = [
            touch
            for touch in read_touchpoints(item.touchpoints)
            if not retention.is_late(conversion.event_ms, touch.ingest_ms)
        ]
        causes = [(conversions or {}).get((item.account_id, item.conversion_id), -1)]
        # A content inside the window counts as a cause even where a later one has moved the click out of it.
        if clicks:
            inside_window = (touch for touch in contents if touch.event_ms in window)
            causes += [clicks.get((item.account_id, touch.click_id), -1) for touch in inside_window]
        if max(causes) >= 0:
            chosen = choose_touchpoints(contents)
            inside = [touch for touch in chosen if touch.event_ms in window and conversion.is_of(touch)]
            if len(inside) > MAX_TOUCHPOINTS:
                inside = []
            pending.append(Pending(conversion, inside, lookback_s, item.facts_held, max(causes)))
    return pending


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
