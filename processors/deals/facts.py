"""CRM events as facts of deals: a deal is attributed as a conversion is that happened when its lead was created.

Each event of a deal is a content of one fact, whose identifiers it adds to. What makes a deal another thing than a
conversion: its window ends where its events together say, and it is heard of long after its clicks have expired. What
comes then is stored and changes nothing.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgpack
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.facts import ConversionContent, Retention
from processors.attribution.graph import KINDS, STRONG
from processors.attribution.identifiers import IDENTIFIERS, SHARED, identifiers_of
from schemas.facts import ConversionFact, Held, HeldContent, HeldConversion

__all__ = [
    "DealEvent",
    "choose_deal",
    "deal_facts",
    "deal_id_of",
    "deal_name",
    "is_deal",
    "is_forgotten",
    "match_facts",
    "read_events",
    "without_past",
]

Times = npt.NDArray[np.int64]
#: In front of a deal_id among the ids of conversions: no text in UTF-8 has it, and so no conversion_id.
MARK = "\udcff"
#: What a window ends with, the first that is given; else the earliest time of a stage.
CREATED = ("lead_created_time", "deal_created_time")


class DealEvent(NamedTuple):
    """What attribution needs of one content of a CRM event.

    stage_ms: when the stage was entered. certainty, event_ms: the window ends there as far as this event says; of
    several events the least certainty, a place in CREATED or behind it, and then the earliest time.
    known_as: what identifies the person, with the letters of IDENTIFIERS and SHARED in front. content: as it is held.
    """

    event_id: str
    source_version: int
    ingest_ms: int
    stage_ms: int
    certainty: int
    event_ms: int
    click_id: str | None
    fbclid: str | None
    known_as: Sequence[str]
    content: bytes

    @property
    def order(self) -> tuple[int, int, bytes]:
        """Of the contents of one event_id the greatest counts."""
        return self.source_version, self.ingest_ms, self.content


def deal_name(deal_id: str) -> str:
    """The deal's id among those of conversions."""
    return MARK + deal_id


def deal_id_of(name: str) -> str:
    """The deal_id of a name that `deal_name` made."""
    return name.removeprefix(MARK)


def is_deal(name: str) -> bool:
    """Whether an id among those of conversions is a deal's."""
    return name.startswith(MARK)


def deal_facts(
    events: pa.RecordBatch, ingest_ms: Times, retention: Retention, match_on: Iterable[str] = IDENTIFIERS
) -> list[ConversionFact]:
    """One fact an event, under its deal's name. `ingest_ms` has shape (events.num_rows,)."""
    columns = identifiers_of(events, match_on) + identifiers_of(events, SHARED)
    created = [_times(events, name) for name in CREATED]
    facts = []
    for row, (account_id, deal_id, event_id, version, ingest, event, entered, click_id, fbclid) in enumerate(
        zip(
            *(events.column(name).to_pylist() for name in ("account_id", "deal_id", "event_id", "source_version")),
            ingest_ms.tolist(),
            _times(events, "event_time"),
            _times(events, "stage_entered_time"),
            *(events.column(name).to_pylist() for name in ("click_id", "fbclid")),
            strict=True,
        )
    ):
        identifiers = [name for column in columns if (name := column[row])]
        known_as = [name for name in identifiers if name[0] in KINDS]
        stage_ms = event if entered is None else min(entered, event)
        given = [place for place, times in enumerate(created) if times[row] is not None]
        certainty = given[0] if given else len(CREATED)
        # A lead was created before what is told of it happened, whatever a clock says.
        end_ms = min(created[certainty][row] or 0, event) if given else stage_ms
        content = event_id, version, ingest, stage_ms, certainty, end_ms, click_id, fbclid, known_as
        facts.append(_fact(account_id, deal_id, msgpack.packb(content), identifiers, end_ms, ingest, retention))
    return facts


def match_facts(matches: pa.RecordBatch, ingest_ms: Times, retention: Retention) -> list[ConversionFact]:
    """Of each deal match that was published, that it was, and how new the events were that it was made of. Shapes as
    above.

    It stays where these events have gone from their topic: then the deal is not attributed anew.
    """
    return [
        _fact(account_id, deal_id, msgpack.packb((newest_ms,)), [], end_ms, ingest, retention)
        for account_id, deal_id, newest_ms, end_ms, ingest in zip(
            *(matches.column(name).to_pylist() for name in ("account_id", "deal_id")),
            *(_times(matches, name) for name in ("deal_ingest_time", "window_end_time")),
            ingest_ms.tolist(),
            strict=True,
        )
    ]


def read_events(contents: Iterable[HeldContent]) -> list[DealEvent]:
    """The events among what is held of a deal, in the same order."""
    read = [(msgpack.unpackb(held.content), held.content) for held in contents]
    return [DealEvent._make((*fields, content)) for fields, content in read if len(fields) > 1]


def is_forgotten(held: HeldConversion) -> bool:
    """Whether it is a deal that was matched by events which are held no more: later ones say nothing of its clicks."""
    if not is_deal(held.conversion_id):
        return False
    events = [event.ingest_ms for event in read_events(held.contents)]
    return not events or min(_matched(held), default=events[0]) < min(events)


def without_past(held: Held, now_ms: int, retention: Retention) -> Held:
    """All but the deals that were matched, and whose clicks may have expired by now: there is nothing better to say.

    Whatever is read once more, such as records that are replayed, would otherwise be said without these clicks.
    """
    return held._replace(conversions=[item for item in held.conversions if not _is_past(item, now_ms, retention)])


def _is_past(held: HeldConversion, now_ms: int, retention: Retention) -> bool:
    if not is_deal(held.conversion_id) or not _matched(held):
        return False
    events = read_events(held.contents)
    return not events or now_ms > retention.held_until_ms(choose_deal(events, retention).event_ms)


def _matched(held: HeldConversion) -> list[int]:
    """How new the events were that each match of the deal was made of."""
    return [fields[0] for item in held.contents if len(fields := msgpack.unpackb(item.content)) == 1]


def choose_deal(events: Sequence[DealEvent], retention: Retention) -> ConversionContent:
    """The deal as a conversion at its window's end, by the events that came in time for what was known then.

    The click that it remembers is the earliest stage's; so is, of two of a strong kind, the identifier.
    """
    counting = sorted(_counting(events, retention), key=lambda event: (event.stage_ms, event.event_id))
    names = dict.fromkeys(name for event in counting for name in event.known_as)
    strong: dict[str, str] = {}
    for name in names:
        strong.setdefault(name[0], name)
    return ConversionContent(
        source_version=0,
        ingest_ms=max(event.ingest_ms for event in counting),
        event_ms=_end_ms(counting),
        click_id=next((event.click_id for event in counting if event.click_id), None),
        fbclid=next((event.fbclid for event in counting if event.fbclid), None),
        known_as=[name for name in names if name[0] not in STRONG or strong[name[0]] == name],
        message=b"",
    )


def _counting(events: Sequence[DealEvent], retention: Retention) -> Iterable[DealEvent]:
    """Of each event the content that counts. What comes after the window is no longer wholly held does not."""
    counting: dict[str, DealEvent] = {}
    for event in sorted(events, key=lambda event: (event.ingest_ms, event.order)):
        if counting and event.ingest_ms > retention.latest_ingest_ms(_end_ms(counting.values())):
            break
        other = counting.get(event.event_id)
        if other is None or event.order > other.order:
            counting[event.event_id] = event
    return counting.values()


def _end_ms(events: Iterable[DealEvent]) -> int:
    return min((event.certainty, event.event_ms) for event in events)[1]


def _fact(
    account_id: str,
    deal_id: str,
    content: bytes,
    identifiers: Sequence[str],
    end_ms: int,
    ingest_ms: int,
    retention: Retention,
) -> ConversionFact:
    bucket = retention.bucket_of(end_ms)
    expires_at_s = int(retention.expire_at_s(retention.lookback_of(account_id), end_ms, ingest_ms))
    return ConversionFact(
        account_id,
        deal_name(deal_id),
        content,
        identifiers,
        bucket,
        list(retention.touchpoint_buckets(account_id, end_ms)),
        list(retention.link_buckets(end_ms)),
        max(expires_at_s, ingest_ms // 1000 + retention.deal_memory_s),
        retention.bucket_expires_at_s(account_id, bucket, ingest_ms),
    )


def _times(records: pa.RecordBatch, name: str) -> list[int | None]:
    times: list[int | None] = records.column(name).cast(pa.int64()).to_pylist()
    return times
