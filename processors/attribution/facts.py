"""Clicks and conversions as facts: what is stored of them, under which identifiers, for how long.

What is stored of a click is the touchpoint: an Avro record of what attribution needs, with the ingest time. Of a
conversion the whole message is stored, which forwarding needs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

import msgpack
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro

from processors.attribution.graph import KINDS
from processors.attribution.identifiers import HASH_DIGITS, IDENTIFIERS, SHARED, identifiers_of, remembered_fbclids
from processors.matching.evidence import Evidence
from processors.matching.surroundings import SURROUNDINGS_BYTES, surroundings_of
from processors.matching.traces import keys_of, traces_of
from schemas.facts import ConversionFact, Entries, HeldContent

__all__ = [
    "ConversionContent",
    "Retention",
    "Touchpoint",
    "choose_conversion",
    "choose_touchpoints",
    "click_facts",
    "conversion_facts",
    "read_contents",
    "read_touchpoints",
    "trace_facts",
]

Times = npt.NDArray[np.int64]
#: One, or a column of them.
Time = TypeVar("Time", int, Times)
Name = TypeVar("Name", str, bytes)
DAY_S = 86_400
WEEK_S = 7 * DAY_S
MONTH_S = 30 * DAY_S
#: By how many buckets a correction may move a click away from where conversions look for it, and still be seen.
MARGIN = 1


@dataclass(frozen=True, slots=True)
class Retention:
    """How far back a conversion looks for clicks, and how long facts are held beyond that.

    lookback_s: by account, with a default; seconds.
    lateness_s: what the slowest record may be late, with the longest outage and the age of a replay; seconds.
    link_reach_s: how long before a conversion two identifiers may have been seen together; seconds.
    bucket_s, link_bucket_s: event time of which facts, and links, are held, found and forgotten together; seconds.
    link_resolution_s: two identifiers are linked once in so much time, however often they are seen together; seconds.
    These three are fixed for the life of a state.
    deal_memory_s: how long a deal is known after something was heard of it; seconds.
    """

    default_lookback_s: int
    lateness_s: int
    lookback_s: Mapping[str, int] = field(default_factory=dict)
    link_reach_s: int = 3 * MONTH_S
    bucket_s: int = WEEK_S
    link_bucket_s: int = MONTH_S
    link_resolution_s: int = DAY_S
    deal_memory_s: int = 400 * DAY_S

    def lookback_of(self, account_id: str) -> int:
        """The account's lookback window, seconds."""
        return self.lookback_s.get(account_id, self.default_lookback_s)

    def expire_at_s(self, lookback_s: Time, event_ms: Time, ingest_ms: Time) -> Time:
        """When nothing that looks back so far can ask for a fact any more, seconds since the epoch.

        However old the event, the fact outlives an outage after its arrival: its record may be delivered again.
        """
        found: Time = np.maximum(event_ms // 1000 + lookback_s, ingest_ms // 1000) + self.lateness_s
        return found

    def buckets_expire_at_s(self, lookback_s: Time, bucket: Time, newest_ingest_ms: Time) -> Time:
        """When nothing that looks back so far can ask for any fact of a bucket, seconds since the epoch."""
        return self.expire_at_s(lookback_s, (bucket + 1 + MARGIN) * self.bucket_s * 1000, newest_ingest_ms)

    def bucket_expires_at_s(self, account_id: str, bucket: int, newest_ingest_ms: int) -> int:
        """The same for an account."""
        return int(self.buckets_expire_at_s(self.lookback_of(account_id), bucket, newest_ingest_ms))

    def bucket_of(self, event_ms: Time) -> Time:
        """The bucket an event time lies in."""
        return event_ms // (self.bucket_s * 1000)

    def touchpoint_buckets(self, account_id: str, event_ms: int) -> range:
        """In which buckets touchpoints lie that a conversion at this time has to know of."""
        first, last = self.touchpoint_span(event_ms - self.lookback_of(account_id) * 1000, event_ms)
        return range(first, last + 1)

    def touchpoint_span(self, earliest_ms: Time, event_ms: Time) -> tuple[Time, Time]:
        """The first and the last of these, of conversions that look back so far."""
        return self.bucket_of(earliest_ms) - MARGIN, self.bucket_of(event_ms) + MARGIN

    def conversion_buckets(self, account_id: str, earliest_ms: int, latest_ms: int) -> range:
        """In which buckets conversions lie that have to know of clicks between these times."""
        latest_ms += self.lookback_of(account_id) * 1000
        return range(self.bucket_of(earliest_ms) - MARGIN, self.bucket_of(latest_ms) + MARGIN + 2)

    def link_bucket_of(self, event_ms: Time) -> Time:
        """The bucket of links an event time lies in."""
        return event_ms // (self.link_bucket_s * 1000)

    def link_buckets(self, event_ms: int) -> range:
        """In which buckets links lie that concern a conversion at this time; they may be seen after it."""
        first, last = self.link_span(event_ms)
        return range(first, last + 1)

    def link_span(self, event_ms: Time) -> tuple[Time, Time]:
        """The first and the last of these."""
        earliest_ms, latest_ms = event_ms - self.link_reach_s * 1000, self.latest_ingest_ms(event_ms)
        return self.link_bucket_of(earliest_ms), self.link_bucket_of(latest_ms)

    def conversion_buckets_of_links(self, bucket: int) -> range:
        """In which buckets conversions lie that links of a bucket concern."""
        begin_ms, end_ms = bucket * self.link_bucket_s * 1000, (bucket + 1) * self.link_bucket_s * 1000
        earliest_ms, latest_ms = begin_ms - self.lateness_s * 1000, end_ms + self.link_reach_s * 1000
        return range(self.bucket_of(earliest_ms), self.bucket_of(latest_ms) + 1)

    def link_bucket_expires_at_s(self, bucket: int, newest_ingest_ms: int) -> int:
        """When nothing can ask for any link of a bucket any more, seconds since the epoch."""
        end_s = (bucket + 1) * self.link_bucket_s
        return max(end_s + self.link_reach_s, newest_ingest_ms // 1000) + self.lateness_s

    def latest_ingest_ms(self, event_ms: Time) -> Time:
        """After this, facts in the window of a conversion of that event time may have expired: it is frozen."""
        return event_ms + self.lateness_s * 1000

    def held_until_ms(self, event_ms: int) -> int:
        """Until then, by the clock, clicks in the window of that event time are held: they expire by whole buckets."""
        return self.latest_ingest_ms(event_ms) + MARGIN * self.bucket_s * 1000


class Touchpoint(NamedTuple):
    """What attribution needs of one content of a click. `content` is that content as it is stored.

    external_id, email, phone: the first HASH_DIGITS of the hash. has_surroundings: they are the content's end.
    known_as: the identifiers of the person who clicked, the surest first, with the letters of IDENTIFIERS in front.
    """

    click_id: str
    visitor_id: str | None
    external_id: str | None
    email: str | None
    phone: str | None
    source_version: int
    ingest_ms: int
    event_ms: int
    interaction: str
    channel: str | None
    ad_account_id: str | None
    campaign_id: str | None
    adset_id: str | None
    ad_id: str | None
    creative_id: str | None
    fbclid: str | None
    has_surroundings: bool
    content: bytes
    known_as: Sequence[str] = ()

    @property
    def surroundings(self) -> bytes | None:
        """What is compared besides identifiers, see processors/matching/surroundings.py."""
        return self.content[-SURROUNDINGS_BYTES:] if self.has_surroundings else None

    @property
    def order(self) -> tuple[int, int, bytes]:
        """Of the contents of one click_id the greatest counts."""
        return self.source_version, self.ingest_ms, self.content


class ConversionContent(NamedTuple):
    """One content of a conversion: the message as it was published, and when it arrived.

    known_as: what identifies the person in it, with the letters of IDENTIFIERS and SHARED in front.
    """

    source_version: int
    ingest_ms: int
    event_ms: int
    click_id: str | None
    fbclid: str | None
    known_as: Sequence[str]
    message: bytes

    @property
    def order(self) -> tuple[int, int, bytes]:
        """Of the contents of one conversion_id the greatest counts."""
        return self.source_version, self.ingest_ms, self.message

    def remembers(self, touchpoint: Touchpoint) -> bool:
        """Whether it says itself that this was the click."""
        if self.click_id and touchpoint.click_id == self.click_id:
            return True
        return bool(self.fbclid) and touchpoint.fbclid == self.fbclid


#: Avro type of each column that is stored of a click, in the order of Touchpoint. Part of the state's version: what
#: is changed here cannot read what is held.
#: The script that stores reads the first ones, by their places.
STORED_TYPES: Mapping[str, str | list[str]] = {
    "click_id": "string",
    "visitor_id": ["null", "string"],
    "external_id": ["null", "string"],
    "email": ["null", "string"],
    "phone": ["null", "string"],
    "source_version": "long",
    "ingest_ms": "long",
    "event_ms": "long",
    "interaction": "string",
    "channel": ["null", "string"],
    "ad_account_id": ["null", "string"],
    "campaign_id": ["null", "string"],
    "adset_id": ["null", "string"],
    "ad_id": ["null", "string"],
    "creative_id": ["null", "string"],
    "fbclid": ["null", "string"],
    "has_surroundings": "boolean",
}
#: Those that identify the person who clicked, by the letter in front of their values; the surest first.
PERSONAL: Mapping[str, str] = {"x": "external_id", "e": "email", "p": "phone", "v": "visitor_id"}
STORED = json.dumps(
    {
        "type": "record",
        "name": "Touchpoint",
        "fields": [{"name": name, "type": avro} for name, avro in STORED_TYPES.items()],
    }
)


def click_facts(
    clicks: pa.RecordBatch,
    ingest_ms: Times,
    retention: Retention,
    match_on: Iterable[str] = IDENTIFIERS,
    evidence: Evidence | None = None,
) -> list[Entries]:
    """The touchpoints of a batch, by tenant and bucket. `ingest_ms` has shape (clicks.num_rows,).

    `match_on` are fields of IDENTIFIERS: those a conversion may be matched by. `evidence` is that of the clicks, to be
    held with them.
    """
    event_ms = clicks.column("event_time").cast(pa.int64()).to_numpy()
    contents = _stored(clicks, ingest_ms, evidence)
    values = identifiers_of(clicks, match_on, clicks=None if evidence is None else evidence.click_id)
    facts = []
    for account_id, bucket, rows in _groups(clicks.column("account_id"), event_ms // (retention.bucket_s * 1000)):
        times = event_ms[rows]
        facts.append(
            Entries(
                account_id,
                bucket,
                retention.bucket_expires_at_s(account_id, bucket, int(ingest_ms[rows].max())),
                list(retention.conversion_buckets(account_id, int(times.min()), int(times.max()))),
                *_under_each(values, contents, rows),
            )
        )
    return facts


def trace_facts(clicks: pa.RecordBatch, evidence: Evidence, ingest_ms: Times, retention: Retention) -> list[Entries]:
    """The traces of a batch of clicks, by tenant and bucket. All have a row for each of `clicks`."""
    traces = traces_of(evidence, ingest_ms)
    columns = [keys for keys in keys_of(evidence).values() if any(keys)]
    if not columns:
        return []
    facts = []
    for account_id, bucket, rows in _groups(
        clicks.column("account_id"), evidence.event_ms // (retention.bucket_s * 1000)
    ):
        facts.append(
            Entries(
                account_id,
                bucket,
                retention.bucket_expires_at_s(account_id, bucket, int(ingest_ms[rows].max())),
                (),
                *_under_each(columns, traces, rows),
            )
        )
    return facts


def conversion_facts(
    conversions: pa.RecordBatch,
    messages: Sequence[bytes],
    ingest_ms: Times,
    retention: Retention,
    match_on: Iterable[str] = IDENTIFIERS,
    settle_after_s: int | None = None,
) -> list[ConversionFact]:
    """One fact a conversion, holding the whole message. All have a row for each of `conversions`.

    `settle_after_s`: seconds from their arrival to when they are first settled; None for never.
    """
    fbclids = remembered_fbclids(conversions)
    columns = identifiers_of(conversions, match_on, fbclids) + identifiers_of(conversions, SHARED)
    accounts = conversions.column("account_id").to_pylist()
    lookback_s = np.array([retention.lookback_of(account_id) for account_id in accounts], np.int64)
    event_ms = conversions.column("event_time").cast(pa.int64()).to_numpy()
    bucket = retention.bucket_of(event_ms)
    first, last = retention.touchpoint_span(event_ms - lookback_s * 1000, event_ms)
    first_link, last_link = retention.link_span(event_ms)
    due_ms = [None] * len(accounts) if settle_after_s is None else (ingest_ms + settle_after_s * 1000).tolist()
    listed = lru_cache(lambda first, last: list(range(first, last + 1)))
    pack = msgpack.Packer().pack
    facts = []
    for account, conversion_id, version, event, ingest, message, click_id, fbclid, times, due, *known in zip(
        accounts,
        conversions.column("conversion_id").to_pylist(),
        conversions.column("source_version").to_pylist(),
        event_ms.tolist(),
        ingest_ms.tolist(),
        messages,
        conversions.column("click_id").to_pylist(),
        fbclids,
        np.stack(
            [
                bucket,
                first,
                last,
                first_link,
                last_link,
                retention.expire_at_s(lookback_s, event_ms, ingest_ms),
                retention.buckets_expire_at_s(lookback_s, bucket, ingest_ms),
            ],
            axis=1,
        ).tolist(),
        due_ms,
        *columns,
        strict=True,
    ):
        identifiers = [name for name in known if name]
        known_as = [name for name in identifiers if name[0] in KINDS]
        own, *spans, expires_at_s, bucket_expires_at_s = times
        facts.append(
            ConversionFact(
                account,
                conversion_id,
                pack((version, ingest, event, click_id, fbclid, known_as, message)),
                identifiers,
                own,
                listed(*spans[:2]),
                listed(*spans[2:]),
                expires_at_s,
                bucket_expires_at_s,
                due,
            )
        )
    return facts


def read_touchpoints(contents: Sequence[bytes]) -> list[Touchpoint]:
    """Of each content the touchpoint, in the same order."""
    if not contents:
        return []
    columns = {
        name: column.to_pylist()
        for name, column in zip(STORED_TYPES, pyruhvro.deserialize_array(list(contents), STORED).columns, strict=True)
    }
    names = ([kind + value if value else None for value in columns[name]] for kind, name in PERSONAL.items())
    known_as = [tuple(filter(None, known)) for known in zip(*names, strict=True)]
    return list(map(Touchpoint._make, zip(*columns.values(), contents, known_as, strict=True)))


def choose_touchpoints(touchpoints: Iterable[Touchpoint]) -> list[Touchpoint]:
    """The touchpoints that count, one a click_id, oldest first, click_id deciding between equals."""
    chosen: dict[str, Touchpoint] = {}
    for touchpoint in touchpoints:
        other = chosen.get(touchpoint.click_id)
        if other is None or touchpoint.order > other.order:
            chosen[touchpoint.click_id] = touchpoint
    return sorted(chosen.values(), key=lambda touchpoint: (touchpoint.event_ms, touchpoint.click_id))


def read_contents(contents: Sequence[HeldContent]) -> list[ConversionContent]:
    """Of each content of a conversion what it says, in the same order."""
    return [ConversionContent(*msgpack.unpackb(held.content)) for held in contents]


def choose_conversion(contents: Sequence[ConversionContent], retention: Retention) -> ConversionContent:
    """The content of a conversion that counts. A correction that comes too late for what was known then does not."""
    if len(contents) == 1:
        return contents[0]
    greatest_first = sorted(contents, key=lambda content: content.order, reverse=True)
    by_arrival = sorted(greatest_first, key=lambda content: content.ingest_ms)
    chosen = by_arrival[0]
    for content in by_arrival[1:]:
        if content.ingest_ms <= retention.latest_ingest_ms(chosen.event_ms):
            chosen = max(chosen, content, key=lambda content: content.order)
    return chosen


def _stored(clicks: pa.RecordBatch, ingest_ms: Times, evidence: Evidence | None) -> list[bytes]:
    """The stored content of each click."""
    given = {"ingest_ms": pa.array(ingest_ms), "event_ms": clicks.column("event_time").cast(pa.int64())}
    ends = [b""] * clicks.num_rows if evidence is None else surroundings_of(evidence)
    given["has_surroundings"] = pa.array([bool(end) for end in ends], pa.bool_())
    given |= {
        name: pc.utf8_slice_codeunits(clicks.column(f"{name}_sha256"), 0, HASH_DIGITS)
        for name in ("external_id", "email", "phone")
    }
    columns = [given[name] if name in given else clicks.column(name) for name in STORED_TYPES]
    batch = pa.RecordBatch.from_arrays(columns, list(STORED_TYPES))
    parts = pyruhvro.serialize_record_batch(batch, STORED, 1) if batch.num_rows else []
    contents = [content for part in parts for content in part.to_pylist()]
    return contents if evidence is None else [content + end for content, end in zip(contents, ends, strict=True)]


def _under_each(
    columns: Sequence[Sequence[Name | None]], contents: Sequence[bytes], rows: Times
) -> tuple[list[Name], list[bytes]]:
    """Of each name that some rows have in columns of names, the name and the row's content."""
    positions = rows.tolist()
    found = [(name, row) for column in columns for row in positions if (name := column[row])]
    return [name for name, _ in found], [contents[row] for _, row in found]


def _groups(accounts: pa.Array, buckets: Times) -> Iterator[tuple[str, int, Times]]:
    """Tenant, bucket and rows, for each pair there is."""
    encoded = accounts.dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    if not len(codes):
        return
    first, width = int(buckets.min()), int(buckets.max()) - int(buckets.min()) + 1
    keys = codes * width + (buckets - first)
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=keys[order[0]] - 1))
    for rows in np.split(order, starts[1:]):
        key = int(keys[rows[0]])
        yield encoded.dictionary[key // width].as_py(), first + key % width, rows
