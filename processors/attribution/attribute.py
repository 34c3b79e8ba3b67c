"""From what is held for conversions to attributed conversions, as columns."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.attribution.credit import CreditRules, Shares, shares_by_model, split_micros
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

MODEL_VERSION = "rules-2"
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


def arrived_conversions(held: Held, offsets: Ids, since_ms: int, retention: Retention) -> list[Pending]:
    """What is to be attributed for conversions that arrived, with their offsets by (account, conversion_id).

    `since_ms`: ingest time of the oldest that arrived now. What arrives for a conversion that is frozen changes
    nothing: its touchpoints may have expired, and it was attributed when it came.
    """
    evidence = _Evidence(held, retention)
    return [
        evidence.pending(conversion, offsets[conversion.account_id, conversion.conversion_id])
        for conversion in held.conversions
        if not evidence.is_frozen(conversion, since_ms)
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
        self._overfull = {name: item.overfull for name, item in held.touchpoints.items() if item.overfull}

    def is_frozen(self, conversion: HeldConversion, now_ms: int) -> bool:
        """Whether it came before, and so long ago that its window may no longer be held whole."""
        chosen = _Case(conversion, self._retention).chosen
        return chosen.ingest_ms < now_ms and now_ms > self._retention.latest_ingest_ms(chosen.event_ms)

    def inside(self, conversion: HeldConversion) -> list[Touchpoint]:
        """The contents of touchpoints in a conversion's window that are not too late for it."""
        case = _Case(conversion, self._retention)
        return [touch for touch in self._in_time(case, self._of(case)) if touch.event_ms in case.window]

    def pending(self, conversion: HeldConversion, offset: int) -> Pending:
        """What there is to attribute the conversion with."""
        case = _Case(conversion, self._retention)
        held = self._of(case)
        counting = choose_touchpoints(self._in_time(case, held))
        inside = [touch for touch in counting if touch.event_ms in case.window and case.chosen.is_of(touch)]
        used = inside if len(inside) <= MAX_TOUCHPOINTS else []
        facts_held = len(case.contents) + len(held) + self._count_overfull(case) * OVERFULL_FACTS
        return Pending(case.chosen, used, case.lookback_s, facts_held, offset)

    def _in_time(self, case: "_Case", held: Iterable[Touchpoint]) -> list[Touchpoint]:
        # Too late is too late whenever it is read, or the result would depend on what was read first.
        latest_ms = self._retention.latest_ingest_ms(case.chosen.event_ms)
        return [touch for touch in held if touch.ingest_ms <= latest_ms]

    def _of(self, case: "_Case") -> list[Touchpoint]:
        """The contents of touchpoints that any content asks for; none under an identifier that says nothing.

        They only become more until the conversion is frozen. Others may have been read along for other conversions.
        """
        found: dict[bytes, None] = {}
        for identifier in case.identifiers:
            held = self._held.get(identifier)
            if held is not None and not self._says_nothing(identifier, case):
                found |= dict.fromkeys(held.contents)
        bucket_of, buckets = self._retention.bucket_of, case.buckets
        touchpoints = map(self._touchpoints.__getitem__, found)
        return [touch for touch in touchpoints if bucket_of(touch.event_ms) in buckets]

    def _says_nothing(self, identifier: tuple[str, str], case: "_Case") -> bool:
        return any(bucket in case.buckets for bucket in self._overfull.get(identifier, ()))

    def _count_overfull(self, case: "_Case") -> int:
        """How many buckets, of those the conversion asks, hold more than identifies anybody."""
        if not self._overfull:
            return 0
        return sum(bucket in case.buckets for name in case.identifiers for bucket in self._overfull.get(name, ()))


class _Case:
    """One conversion: its contents, the one that counts, and where its touchpoints may lie."""

    def __init__(self, conversion: HeldConversion, retention: Retention) -> None:
        account_id = conversion.account_id
        self.contents = read_contents(conversion.contents)
        self.chosen = choose_conversion(self.contents, retention)
        self.lookback_s = retention.lookback_of(account_id)
        self.window = range(self.chosen.event_ms - self.lookback_s * 1000, self.chosen.event_ms + 1)
        #: Of all contents together, so that a correction never takes anything away.
        self.buckets: Container[int] = retention.touchpoint_buckets(account_id, self.chosen.event_ms)
        if len(self.contents) > 1:
            asked = (retention.touchpoint_buckets(account_id, content.event_ms) for content in self.contents)
            self.buckets = set(chain.from_iterable(asked))
        self.identifiers = {(account_id, name) for content in conversion.contents for name in content.identifiers}


def assemble(
    conversions: pa.RecordBatch, pending: Sequence[Pending], origin: Origin, rules: CreditRules
) -> pa.RecordBatch:
    """Attributed conversions, a row for each row of `conversions`, which are decoded from `pending`."""
    columns: dict[str, Any] = {name: conversions.column(name) for name in conversions.schema.names}
    latest_fbclid = [_latest_fbclid(item.touchpoints) for item in pending]
    ids = conversions.column("click_id").to_pylist()
    layers = [_layer(item.touchpoints, click_id) for item, click_id in zip(pending, ids, strict=True)]
    touchpoints = _touchpoints(pending)
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
        "touchpoints": touchpoints,
        "credits": _credits(conversions.column("value_micros"), touchpoints, rules),
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


def _credits(value: pa.Array, touchpoints: pa.ListArray, rules: CreditRules) -> pa.ListArray:
    """list<struct<model, shares, value_micros>>: for each conversion with touchpoints one entry a model."""
    list_type = SCHEMA.field("credits").type
    counts = touchpoints.value_lengths().to_numpy()
    matched = counts > 0
    offsets = _offsets(counts[matched])
    by_model = _shares(offsets, touchpoints.values, rules)
    # An entry for each conversion and model, in this order; of each the part of `by_model` that is its.
    lengths = np.repeat(counts[matched], len(by_model))
    model_of = np.repeat(np.tile(np.arange(len(by_model)), len(offsets) - 1), lengths)
    starts = _offsets(lengths)
    touch_of = np.arange(starts[-1]) - np.repeat(starts[:-1] - np.repeat(offsets[:-1], len(by_model)), lengths)
    shares = np.array(list(by_model.values()))[model_of, touch_of]

    micros = np.repeat(value.fill_null(0).to_numpy()[matched], len(by_model))
    valued = np.repeat(np.asarray(value.is_valid())[matched], len(by_model))
    parts = split_micros(micros, shares, starts)
    entries = pa.StructArray.from_arrays(
        [
            pa.array(list(by_model) * (len(offsets) - 1), pa.string()),
            _lists(starts, pa.array(shares, pa.float64())),
            _lists(_offsets(lengths * valued), pa.array(parts[np.repeat(valued, lengths)], pa.int64())),
        ],
        fields=list(list_type.value_type),
    )
    return pa.ListArray.from_arrays(pa.array(_offsets(matched * len(by_model)), pa.int32()), entries, type=list_type)


def _shares(offsets: npt.NDArray[np.int64], touchpoints: pa.StructArray, rules: CreditRules) -> dict[str, Shares]:
    """Every model's share of each touchpoint."""
    event_ms = touchpoints.field("event_time").cast(pa.int64()).to_numpy()
    channels = touchpoints.field("channel").fill_null("")
    is_direct = pc.is_in(channels, pa.array(sorted(rules.direct_channels), pa.string())).to_numpy(zero_copy_only=False)
    return shares_by_model(offsets, event_ms, is_direct, rules.half_life_s)


def _lists(offsets: npt.NDArray[np.int64], values: pa.Array) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
