"""From what is held for conversions to attributed conversions, as columns."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.attribution.credit import CreditRules, Shares, shares_by_model, split_micros
from processors.attribution.facts import ConversionContent, Retention, Touchpoint
from processors.attribution.identified import CreditedAd, credited_ads
from processors.attribution.links import LinkFact, counting_links, read_links
from processors.attribution.paths import Cases, Paths, Touchpoints, is_overfull
from processors.attribution.person import Person
from processors.attribution.probable import Match
from processors.attribution.use import Thresholds
from processors.deals.facts import is_forgotten
from processors.matching.deterministic import CLICK_IDS
from processors.matching.model import MatchModel
from schemas.definitions import arrow_schema, definition
from schemas.facts import Held, Identifier

__all__ = [
    "Origin",
    "Pending",
    "Split",
    "arrived_conversions",
    "assemble",
    "batch_of",
    "changed_conversions",
    "confidence_ad",
    "credited_click_id",
    "lists_of",
    "model_version",
    "settling_conversions",
    "split_of",
    "touchpoints_of",
    "version_columns",
    "with_credited_ads",
    "with_match",
]

MODEL_VERSION = "rules-3"
#: More clicks before one conversion are not a person's: a broken tag gave many the same id, which therefore says
#: nothing. The bound also keeps every result below what its topic takes.
MAX_TOUCHPOINTS = 500
#: What a bucket with more touchpoints than identify anybody counts for: more than any that has fewer.
OVERFULL_FACTS = 1_000_000
#: Conversions that are looked at together: what all of them may have is laid out in memory.
AT_ONCE = 500
DEFAULT_THRESHOLDS = Thresholds()
SCHEMA = arrow_schema(definition("attributed-conversions").text)


@dataclass(frozen=True, slots=True)
class Origin:
    """The chunk of records whose arrival is being worked on."""

    topic: str
    topic_id: str
    partition: int


#: Where nothing has arrived: something was settled by the clock.
NOWHERE = Origin("", "", -1)


class Pending(NamedTuple):
    """A conversion or deal to be attributed anew: its content that counts, its touchpoints, and what caused it.

    name: the account and the conversion_id, or the deal's name. layer: how the person was recognised, by the surest
    of what says so. settled: how often it was begun to be settled. match: what evidence says where no identifier does.
    credited: where an identifier names the person, which ad it was, as far as a model tells.
    """

    name: Identifier
    conversion: ConversionContent
    touchpoints: Sequence[Touchpoint]
    layer: str
    lookback_s: int
    facts_held: int
    offset: int
    settled: int
    match: Match | None = None
    credited: CreditedAd | None = None


Ids = Mapping[tuple[str, str], int]
LinkOffsets = Mapping[tuple[str, LinkFact], int]


def arrived_conversions(held: Held, offsets: Ids, since_ms: int, retention: Retention) -> list[Pending]:
    """What is to be attributed for conversions that arrived, with their offsets by (account, conversion_id).

    `since_ms`: ingest time of the oldest that arrived now. What arrives for a conversion that is frozen changes
    nothing: its touchpoints may have expired, and it was attributed when it came.
    """
    return [
        evidence.pending(row, offset)
        for evidence in _evidence(held, retention)
        for row, name in enumerate(evidence.names)
        if (offset := offsets.get(name)) is not None and not evidence.cases.is_frozen(row, since_ms)
    ]


def changed_conversions(held: Held, offsets: Ids, links: LinkOffsets, retention: Retention) -> list[Pending]:
    """The conversions whose result records that arrived may change: clicks, with their offsets by (account, click_id),
    and links, with theirs by (account, link).

    A click outside the window of a conversion changes nothing, nor does one that is too late for it: by then other
    facts of the window may have expired, and the conversion is frozen.
    """
    found = []
    for evidence in _evidence(held, retention):
        # A content inside the window counts as a cause even where a later one has moved the click out of it.
        for row, ((account_id, _), inside) in enumerate(zip(evidence.names, evidence.paths.inside(), strict=True)):
            causes = [offsets.get((account_id, touch.click_id), -1) for touch in inside]
            if links:
                causes += [links.get((account_id, fact), -1) for fact in evidence.links_in_time(row)]
            if (cause := max(causes, default=-1)) >= 0:
                found.append(evidence.pending(row, cause))
    return found


def settling_conversions(held: Held, until_ms: int, retention: Retention) -> list[Pending]:
    """What is to be settled, of that whose clicks are still held; nothing has arrived for it.

    Who has frozen is settled, too: a correction may have come so late that its first wait ends after that.
    """
    return [
        evidence.pending(row, -1)
        for evidence in _evidence(held, retention)
        for row, event_ms in enumerate(evidence.cases.event_ms.tolist())
        if until_ms <= retention.held_until_ms(event_ms)
    ]


def _evidence(held: Held, retention: Retention) -> Iterator["_Evidence"]:
    """Of all that is held for conversions what is to be looked at together."""
    touchpoints = Touchpoints(held.touchpoints)
    links = {name: read_links(name[1], item.contents, retention) for name, item in held.links.items() if item.contents}
    overfull = {name: item.overfull for name, item in held.links.items() if item.overfull}
    known = [item for item in held.conversions if not is_forgotten(item)]
    for start in range(0, len(known), AT_ONCE):
        cases = Cases(known[start : start + AT_ONCE], retention)
        yield _Evidence(cases, touchpoints, links, overfull, retention)


class _Evidence:
    """What is held for some conversions, by their rows."""

    def __init__(
        self,
        cases: Cases,
        touchpoints: Touchpoints,
        links: Mapping[Identifier, Sequence[LinkFact]],
        overfull_links: Mapping[Identifier, Collection[int]],
        retention: Retention,
    ) -> None:
        self.cases = cases
        self.paths = Paths(cases, touchpoints)
        self.names = [(held.account_id, held.conversion_id) for held in cases.conversions]
        self._counting = self.paths.counting()
        self._overfull = touchpoints.overfull
        self._links, self._overfull_links = links, overfull_links
        self._retention = retention

    def pending(self, row: int, offset: int) -> Pending:
        """What there is to attribute the conversion with."""
        cases, held = self.cases, self.cases.conversions[row]
        chosen, links = cases.chosen[row], self._links_of(row)
        person = Person(chosen, self._counting[row], counting_links(self._in_time(row, links)))
        own = person.touchpoints
        used = own if len(own) <= MAX_TOUCHPOINTS else []
        overfull = self._count_overfull(row) + held.steps_cut
        contents = len(cases.contents[row]) + self.paths.held[row] + len(links)
        facts_held = contents + overfull * OVERFULL_FACTS + held.settled
        layer = person.layer if used else "none"
        return Pending(self.names[row], chosen, used, layer, cases.lookback_s[row], facts_held, offset, held.settled)

    def links_in_time(self, row: int) -> list[LinkFact]:
        """What says, or takes back, that two identifiers are the same person's, and is not too late."""
        return self._in_time(row, self._links_of(row))

    def _in_time(self, row: int, links: Sequence[LinkFact]) -> list[LinkFact]:
        latest_ms = self.cases.latest_ingest_ms[row]
        return [fact for fact in links if fact.ingest_ms <= latest_ms]

    def _links_of(self, row: int) -> list[LinkFact]:
        """The links between what is reached, but for those of an identifier that too many share."""
        held = self.cases.conversions[row]
        account_id = held.account_id
        found = {fact: None for name in held.reached for fact in self._links.get((account_id, name), ())}
        if not found:
            return []
        bucket_of, buckets, overfull = (
            self._retention.link_bucket_of,
            self.cases.link_buckets(row),
            self._overfull_links,
        )
        return [
            fact
            for fact in found
            if bucket_of(fact.link.event_ms) in buckets
            and not any(
                is_overfull(overfull, (account_id, name), buckets) for name in (fact.link.first, fact.link.second)
            )
        ]

    def _count_overfull(self, row: int) -> int:
        """How many buckets, of those the conversion asks, hold more than identifies anybody."""
        if not (self._overfull or self._overfull_links):
            return 0
        held, cases = self.cases.conversions[row], self.cases
        return sum(
            bucket in buckets
            for overfull, buckets in (
                (self._overfull, cases.buckets(row)),
                (self._overfull_links, cases.link_buckets(row)),
            )
            for name in held.reached
            for bucket in overfull.get((held.account_id, name), ())
        )


def assemble(
    conversions: pa.RecordBatch,
    pending: Sequence[Pending],
    origin: Origin,
    rules: CreditRules,
    thresholds: Thresholds = DEFAULT_THRESHOLDS,
    epoch: int = 0,
) -> pa.RecordBatch:
    """Attributed conversions, a row for each row of `conversions`, which are decoded from `pending`.

    `epoch` is the state's: a later one goes before any number of facts.
    """
    columns: dict[str, Any] = {name: conversions.column(name) for name in conversions.schema.names}
    latest_fbclid = [_latest_fbclid(item.touchpoints) for item in pending]
    touchpoints = touchpoints_of(pending, SCHEMA.field("touchpoints").type)
    columns |= {
        "conversion_ingest_time": [item.conversion.ingest_ms for item in pending],
        **version_columns(pending, origin, epoch),
        **_recognised(pending, thresholds),
        "lookback_window_s": [item.lookback_s for item in pending],
        "model_version": [model_version(item) for item in pending],
        "touchpoints": touchpoints,
        "credits": _credits(conversions.column("value_micros"), touchpoints, rules),
        "attributed_fbclid": [touch.fbclid if touch else None for touch in latest_fbclid],
        "fbclid_first_seen": [touch.event_ms if touch else None for touch in latest_fbclid],
    }
    return batch_of(columns, SCHEMA)


def version_columns(pending: Sequence[Pending], origin: Origin, epoch: int) -> dict[str, Any]:
    """Columns that order the versions of one conversion or deal, and say whose arrival caused each."""
    count = len(pending)
    return {
        "epoch": [epoch] * count,
        "facts_held": [item.facts_held for item in pending],
        "origin_topic": [origin.topic] * count,
        "origin_topic_id": [origin.topic_id] * count,
        "origin_partition": [origin.partition] * count,
        "origin_offset": [item.offset for item in pending],
    }


def batch_of(columns: Mapping[str, Any], schema: pa.Schema) -> pa.RecordBatch:
    """Columns by name, as Arrow or as lists, as a batch of the schema."""
    arrays = [
        column if isinstance(column, pa.Array) else pa.array(column, field.type)
        for field in schema
        for column in [columns[field.name]]
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def with_match(pending: Pending, match: Match, thresholds: Thresholds) -> Pending:
    """A conversion that no identifier matches, with what evidence says: its touchpoints where that is sure enough."""
    own = match.own if thresholds.is_for_reporting(match) else []
    return pending._replace(layer=match.layer, touchpoints=own[-MAX_TOUCHPOINTS:], match=match)


def with_credited_ads(pending: Sequence[Pending], model_of: Callable[[str, int], MatchModel | None]) -> list[Pending]:
    """The same with the ad of those whose person an identifier names, where their tenant has a model.

    `model_of` gives the model that conversions of a tenant are matched with which arrived at a time, ms.
    """
    rows_of: dict[str, tuple[MatchModel, list[int]]] = {}
    for row, item in enumerate(pending):
        if item.touchpoints and item.layer not in CLICK_IDS and item.match is None:
            model = model_of(item.name[0], item.conversion.ingest_ms)
            if model is not None:
                rows_of.setdefault(model.version, (model, []))[1].append(row)
    found = list(pending)
    for model, rows in rows_of.values():
        times = [pending[row].conversion.event_ms for row in rows]
        credited = credited_ads(times, [pending[row].touchpoints for row in rows], model)
        for row, ad in zip(rows, credited, strict=True):
            found[row] = pending[row]._replace(credited=ad)
    return found


def _recognised(pending: Sequence[Pending], thresholds: Thresholds) -> dict[str, Any]:
    """Columns that say how the person was recognised, and how sure that is."""
    matches = [item.match for item in pending]
    matched = [item.layer != "none" for item in pending]
    return {
        "layer": [item.layer for item in pending],
        "confidence_person": [
            match.person if match else 1.0 if is_matched else None
            for match, is_matched in zip(matches, matched, strict=True)
        ],
        "confidence_ad": [confidence_ad(item) for item in pending],
        "probability_none": [match.none if match else None for match in matches],
        "credited_click_id": [credited_click_id(item) for item in pending],
        "margin": [match.margin if match else None for match in matches],
        "candidates": [_candidates(match) if match else [] for match in matches],
        "is_used_for_reporting": [thresholds.is_for_reporting(match) if match else True for match in matches],
        "is_used_for_optimisation": [thresholds.is_for_optimisation(match) if match else True for match in matches],
    }


def confidence_ad(item: Pending) -> float | None:
    """That the ad of the credited click is the right one: a click that is remembered is sure of it."""
    if item.match:
        return item.match.ad
    if item.credited:
        return item.credited.confidence
    return 1.0 if item.touchpoints and item.layer in CLICK_IDS else None


def model_version(item: Pending) -> str:
    """By what the confidences were given."""
    model = item.match or item.credited
    return model.model_version if model else MODEL_VERSION


def credited_click_id(item: Pending) -> str | None:
    """Of the click that is held for the cause: what evidence or the delays say, or is remembered, else the last."""
    if item.match:
        return item.match.credited.click_id if item.match.credited else None
    if item.credited:
        return item.credited.click_id
    if not item.touchpoints:
        return None
    if item.layer == "click_id":
        return item.conversion.click_id
    remembered = [touch for touch in item.touchpoints if item.layer == "fbclid" and item.conversion.remembers(touch)]
    return (remembered or item.touchpoints)[-1].click_id


def _candidates(match: Match) -> list[dict[str, Any]]:
    return [
        {"click_id": touch.click_id, "ad_id": touch.ad_id, "probability": probability}
        for touch, probability in match.candidates
    ]


def _latest_fbclid(touchpoints: Sequence[Touchpoint]) -> Touchpoint | None:
    for touch in reversed(touchpoints):
        if touch.fbclid:
            return touch
    return None


def _offsets(counts: npt.ArrayLike) -> npt.NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))


def touchpoints_of(pending: Sequence[Pending], list_type: pa.ListType) -> pa.ListArray:
    """list<struct>, a list for each of `pending`; the members are those of `list_type`."""
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


class Split(NamedTuple):
    """Shares by conversion and model.

    matched: which conversions have touchpoints; of each there is an entry a model, in the order of `models`.
    shares: those of the entries end to end; starts: where each begins, and the end of the last.
    """

    matched: npt.NDArray[np.bool_]
    models: Sequence[str]
    shares: Shares
    starts: npt.NDArray[np.int64]

    @property
    def entries(self) -> pa.Array:
        """Where the entries of each conversion begin, and the end of the last."""
        return pa.array(_offsets(self.matched * len(self.models)), pa.int32())

    @property
    def names(self) -> pa.Array:
        """The model of each entry."""
        return pa.array([*self.models] * int(self.matched.sum()), pa.string())


def split_of(touchpoints: pa.ListArray, rules: CreditRules) -> Split:
    """How every model splits conversions with these touchpoints."""
    counts = touchpoints.value_lengths().to_numpy()
    matched = counts > 0
    offsets = _offsets(counts[matched])
    by_model = _shares(offsets, touchpoints.values, rules)
    # An entry for each conversion and model, in this order; of each the part of `by_model` that is its.
    lengths = np.repeat(counts[matched], len(by_model))
    model_of = np.repeat(np.tile(np.arange(len(by_model)), len(offsets) - 1), lengths)
    starts = _offsets(lengths)
    touch_of = np.arange(starts[-1]) - np.repeat(starts[:-1] - np.repeat(offsets[:-1], len(by_model)), lengths)
    return Split(matched, list(by_model), np.array(list(by_model.values()))[model_of, touch_of], starts)


def _credits(value: pa.Array, touchpoints: pa.ListArray, rules: CreditRules) -> pa.ListArray:
    """list<struct<model, shares, value_micros>>: for each conversion with touchpoints one entry a model."""
    list_type = SCHEMA.field("credits").type
    split = split_of(touchpoints, rules)
    lengths, count = np.diff(split.starts), len(split.models)
    micros = np.repeat(value.fill_null(0).to_numpy()[split.matched], count)
    valued = np.repeat(np.asarray(value.is_valid())[split.matched], count)
    parts = split_micros(micros, split.shares, split.starts)
    entries = pa.StructArray.from_arrays(
        [
            split.names,
            lists_of(split.starts, pa.array(split.shares, pa.float64())),
            lists_of(_offsets(lengths * valued), pa.array(parts[np.repeat(valued, lengths)], pa.int64())),
        ],
        fields=list(list_type.value_type),
    )
    return pa.ListArray.from_arrays(split.entries, entries, type=list_type)


def _shares(offsets: npt.NDArray[np.int64], touchpoints: pa.StructArray, rules: CreditRules) -> dict[str, Shares]:
    """Every model's share of each touchpoint."""
    event_ms = touchpoints.field("event_time").cast(pa.int64()).to_numpy()
    channels = touchpoints.field("channel").fill_null("")
    is_direct = pc.is_in(channels, pa.array(sorted(rules.direct_channels), pa.string())).to_numpy(zero_copy_only=False)
    return shares_by_model(offsets, event_ms, is_direct, rules.half_life_s)


def lists_of(offsets: npt.NDArray[np.int64], values: pa.Array) -> pa.ListArray:
    """Values end to end as lists, which begin at the offsets."""
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), values)
