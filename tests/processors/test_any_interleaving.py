"""The result is a function of the records, not of how they came to be processed."""

import asyncio
import itertools
import time
import uuid
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from schemas.spans import Partition as LogPartition
from schemas.spans import Span
from sinks.redis.attribution_store import AttributionStore
from tests.processors.definition import (
    LATENESS_S,
    RETENTION,
    STEP_MS,
    Chosen,
    Version,
    names_of,
    touchpoints_of,
)
from tests.processors.records import ORIGIN, REQUIRED, Record, attribute, facts_of, links_of, message

PARTITIONS = 2
Partition = tuple[str, int]
Rows = list[dict[str, Any]]


class Published(NamedTuple):
    topic: str
    fields: dict[str, Any]
    ingest_ms: int


VISITORS = st.sampled_from(["v1", "v1", "v2", None])
EMAILS = st.sampled_from([None, None, "a" * 64, "b" * 64])
CLICK_IDS = ("k1", "k2")


def record(topic: str) -> st.SearchStrategy[tuple[str, dict[str, Any]]]:
    common = {
        "account_id": st.sampled_from(["a", "a", "a", "b"]),
        "visitor_id": VISITORS,
        "email_sha256": EMAILS,
        "event_time": st.sampled_from([0, 1, 4, 5, 6]),
        "source_version": st.sampled_from([0, 0, 0, 1]),
    }
    if topic == "clicks":
        own = {"click_id": st.sampled_from(CLICK_IDS), "channel": st.sampled_from(["x", "y"])}
    else:
        own = {
            "conversion_id": st.sampled_from(["c1", "c1", "c2"]),
            "click_id": st.sampled_from([*CLICK_IDS, None]),
            "order_id": st.sampled_from([None, None, "o1"]),
            "event_name": st.just("Purchase"),
            "value_micros": st.sampled_from([None, 100]),
        }
    return st.tuples(st.just(topic), st.fixed_dictionaries({**common, **own}))


#: Records with the seconds that pass before each, sometimes enough to be late; some come twice.
HISTORIES = st.lists(
    st.tuples(st.one_of(record("clicks"), record("clicks"), record("conversions")), st.sampled_from([0, 1, 30, 90])),
    min_size=3,
    max_size=14,
)
REPEATS = st.lists(st.integers(0, 13), max_size=4)
#: What is done next: in which partition, with how many records, and how far a worker gets before it dies.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 2 * PARTITIONS - 1),
        st.integers(1, 5),
        st.sampled_from(["acknowledged", "acknowledged", "stored only", "emitted, not acknowledged"]),
    ),
    max_size=20,
)


def publish(history: Sequence[tuple[tuple[str, dict[str, Any]], int]], repeats: Sequence[int]) -> list[Published]:
    # In the future, so that Redis forgets nothing while the test runs; the same all day, so that a failure repeats.
    base_ms = (int(time.time()) // 86_400 + 2) * 86_400_000
    now_ms = base_ms + 3 * STEP_MS
    published = []
    repeated = [history[index % len(history)] for index in repeats]
    for (topic, fields), pause_s in [*history, *repeated]:
        now_ms += pause_s * 1000
        event_time = base_ms + fields["event_time"] * STEP_MS
        published.append(Published(topic, {**REQUIRED, **fields, "event_time": event_time}, now_ms))
    return published


def partitioned(published: Sequence[Published]) -> dict[Partition, list[Record]]:
    """By key, as every publisher does: what is equal is in one partition, in the order of its arrival."""
    topics: defaultdict[Partition, list[Record]] = defaultdict(list)
    for topic, fields, ingest_ms in published:
        key = (fields["visitor_id"] or fields["click_id"]) if topic == "clicks" else fields["conversion_id"]
        log = topics[topic, zlib.crc32(key.encode()) % PARTITIONS]
        log.append(Record(len(log), ingest_ms, message(topic, fields)))
    return dict(topics)


async def work(store: AttributionStore, partition: Partition, records: Sequence[Record], span: Span) -> Rows:
    topic, _ = partition
    facts = facts_of(topic, records, RETENTION)
    add = store.add_touchpoints if topic == "clicks" else store.add_conversions
    readings = await add(span, facts, links_of(topic, records, RETENTION))
    return [row for held in readings for row in attribute(topic, records, held, RETENTION)]


def span_of(partition: Partition, start: int, end: int) -> Span:
    return Span(LogPartition(*partition), start, end)


async def in_pieces(store: AttributionStore, logs: dict[Partition, list[Record]], steps: Sequence[Any]) -> Rows:
    """As several workers do it that die now and then; who does a step makes no difference to the store."""
    emitted: Rows = []
    committed = dict.fromkeys(logs, 0)
    await store.fences.begin({LogPartition(*partition): 0 for partition in logs})
    rest = [(number, len(log), "acknowledged") for number, log in enumerate(logs.values())]
    for number, size, outcome in [*steps, *rest]:
        partition = list(logs)[number % len(logs)]
        begin = committed[partition]
        records = logs[partition][begin : begin + size]
        if not records:
            continue
        rows = await work(store, partition, records, span_of(partition, begin, begin + len(records)))
        if outcome != "stored only":
            emitted += rows
        if outcome == "acknowledged":
            committed[partition] += len(records)
    assert committed == {partition: len(log) for partition, log in logs.items()}
    return emitted


async def at_once(store: AttributionStore, logs: dict[Partition, list[Record]]) -> Rows:
    rows: Rows = []
    for topic in ("clicks", "conversions"):
        records = [record for (name, _), log in logs.items() if name == topic for record in log]
        await store.fences.begin({LogPartition(topic, 0): 0})
        rows = await work(store, (topic, 0), records, span_of((topic, 0), 0, len(records))) if records else []
    return rows


def without_origin(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ORIGIN}


def final(rows: Rows) -> dict[tuple[str, str], dict[str, Any]]:
    """What a consumer keeps: of each conversion the greatest version. Equal versions have to be equal."""
    versions: dict[tuple[str, str, int, int], dict[str, Any]] = {}
    for row in map(without_origin, rows):
        version = (row["account_id"], row["conversion_id"], row["epoch"], row["facts_held"])
        assert versions.setdefault(version, row) == row
    kept = {}
    for version in sorted(versions):
        # How many facts there are, of which some change nothing, depends on when it was asked.
        kept[version[:2]] = {**versions[version], "facts_held": None}
    return kept


def expected(published: Sequence[Published]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    """(click_id, channel) of each conversion's touchpoints, straight from the definition."""
    contents: dict[tuple[Any, ...], Version] = {}
    for topic, fields, ingest_ms in published:
        body = message(topic, fields)
        if topic == "clicks":  # of equals it is the stored content that decides
            [fact] = facts_of(topic, [Record(0, ingest_ms, body)], RETENTION)
            body = fact.contents[0]
        own_id = fields["click_id" if topic == "clicks" else "conversion_id"]
        order = (fields["source_version"], ingest_ms, body)
        contents[topic, fields["account_id"], own_id, ingest_ms, body] = (order, fields)
    found = {}
    conversions = sorted((key, value) for key, value in contents.items() if key[0] == "conversions")
    for (_, account, conversion_id), group in itertools.groupby(conversions, key=lambda item: item[0][:3]):
        versions = [value for _, value in group]
        fields = chosen_of(versions)
        chosen = Chosen(fields["event_time"], fields["click_id"], names_of(fields))
        of_account = [value for key, value in contents.items() if key[1] == account]
        found[account, conversion_id] = touchpoints_of(chosen, versions, of_account)
    return found


def chosen_of(versions: Sequence[Version]) -> dict[str, Any]:
    """In the order of arrival; of those that arrived together the greatest first."""
    ordered = sorted(versions, key=lambda value: value[0], reverse=True)
    ordered.sort(key=lambda value: value[0][1])
    order, chosen = ordered[0]
    for later_order, later in ordered[1:]:
        if later_order[1] <= chosen["event_time"] + LATENESS_S * 1000 and later_order > order:
            order, chosen = later_order, later
    return chosen


def touched(rows: dict[tuple[str, str], dict[str, Any]]) -> dict[tuple[str, str], list[tuple[str, str]]]:
    return {key: [(t["click_id"], t["channel"]) for t in row["touchpoints"]] for key, row in rows.items()}


async def compare(url: str, published: Sequence[Published], steps: Sequence[Any]) -> None:
    logs = partitioned(published)
    name = uuid.uuid4().hex
    stores = [AttributionStore(url, namespace=f"{name}.{number}.", shards=number + 1) for number in range(2)]
    try:
        reference = final(await at_once(stores[0], logs))
        assert touched(reference) == expected(published)
        assert final(await in_pieces(stores[1], logs, steps)) == reference
    finally:
        for store in stores:
            await store.close()


@pytest.fixture(scope="module")
def redis_url(stack: LocalStack) -> str:
    return read_state(stack.directory).addresses()["redis"]


def click(event_time: int, source_version: int, **fields: Any) -> tuple[str, dict[str, Any]]:
    given = {"account_id": "a", "visitor_id": "v1", "email_sha256": None, "click_id": "k1", "channel": "x", **fields}
    return "clicks", {**given, "event_time": event_time, "source_version": source_version}


CONVERSION = (
    "conversions",
    {
        "account_id": "a",
        "visitor_id": "v1",
        "email_sha256": None,
        "order_id": None,
        "click_id": None,
        "event_time": 5,
        "source_version": 0,
        "conversion_id": "c1",
        "event_name": "Purchase",
        "value_micros": 100,
    },
)
#: A correction moves the click out of the window when all else has been done.
CORRECTED_LAST = {
    "history": [(click(4, 0), 0), (CONVERSION, 0), (click(6, 1), 0)],
    "repeats": [],
    "steps": [(0, 1, "acknowledged"), (1, 1, "acknowledged"), (0, 1, "acknowledged")],
}
#: A click of another browser comes last, of a person whom a link has made known before.
LINKED_LAST = {
    "history": [
        (click(4, 0, email_sha256="a" * 64), 0),
        (CONVERSION, 0),
        (click(5, 0, click_id="k2", visitor_id="v2", email_sha256="a" * 64), 0),
    ],
    "repeats": [],
    "steps": [(0, 1, "acknowledged"), (1, 1, "acknowledged"), (2, 1, "acknowledged")],
}
#: The link comes last, between what a click and a conversion are known by.
LINK_LAST = {
    "history": [
        (click(4, 0, visitor_id=None, email_sha256="a" * 64), 0),
        (CONVERSION, 0),
        (click(6, 0, click_id="k2", email_sha256="a" * 64), 0),
    ],
    "repeats": [],
    "steps": [(0, 1, "acknowledged"), (1, 1, "acknowledged"), (2, 1, "acknowledged")],
}


@example(**LINK_LAST)
@example(**LINKED_LAST)
@example(**CORRECTED_LAST)
@given(history=HISTORIES, repeats=REPEATS, steps=STEPS)
@settings(max_examples=150)
def test_any_split_interleaving_and_repetition_give_the_same_result(
    redis_url: str, history: Any, repeats: Any, steps: Any
) -> None:
    asyncio.run(compare(redis_url, publish(history, repeats), steps))
