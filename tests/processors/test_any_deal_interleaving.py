"""What a deal is attributed to is a function of the records, not of how they came to be processed."""

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
from schemas.definitions import definition
from schemas.spans import Partition as LogPartition
from schemas.spans import Span
from sinks.redis.attribution_store import AttributionStore
from tests.processors.definition import LATENESS_S, RETENTION, STEP_MS, Chosen, Version, names_of, touchpoints_of
from tests.processors.records import ORIGIN, REQUIRED, Record, facts_of, links_of, match_deals, message

PARTITIONS = 2
MATCHES = "deal-matches"
Partition = tuple[str, int]
Row = dict[str, Any]
Name = tuple[str, str]


class Published(NamedTuple):
    topic: str
    fields: dict[str, Any]
    ingest_ms: int


TIMES = st.sampled_from([0, 1, 4, 5, 6])
CLICK_IDS = ("k1", "k2")
COMMON = {
    "account_id": st.sampled_from(["a", "a", "a", "a", "a", "b"]),
    "visitor_id": st.sampled_from(["v1", "v1", "v2", None]),
    "email_sha256": st.sampled_from([None, None, "a" * 64, "b" * 64]),
    "event_time": TIMES,
    "source_version": st.sampled_from([0, 0, 0, 1]),
}
CLICKS = st.fixed_dictionaries(
    {**COMMON, "click_id": st.sampled_from(CLICK_IDS), "channel": st.sampled_from(["x", "y"])}
)
EVENTS = st.fixed_dictionaries(
    {
        **COMMON,
        "deal_id": st.sampled_from(["d1", "d1", "d1", "d2"]),
        "event_id": st.sampled_from(["e1", "e1", "e2"]),
        "to_stage": st.sampled_from(["lead", "won"]),
        "click_id": st.sampled_from([*CLICK_IDS, None]),
        "contact_id": st.sampled_from([None, None, "c1"]),
        "stage_entered_time": st.one_of(st.none(), TIMES),
        "deal_created_time": st.one_of(st.none(), st.none(), TIMES),
        "lead_created_time": st.one_of(st.none(), st.none(), TIMES),
    }
)
#: Records with the seconds that pass before each, sometimes enough to be late, or for the deal to be frozen.
HISTORIES = st.lists(
    st.tuples(
        st.one_of(st.tuples(st.just("clicks"), CLICKS), st.tuples(st.just("crm-events"), EVENTS)),
        st.sampled_from([0, 1, 30, 150]),
    ),
    min_size=3,
    max_size=14,
)
REPEATS = st.lists(st.integers(0, 13), max_size=4)
#: What is done next: in which partition, with how many records, and how far a worker gets. One that is slow publishes
#: when others have published after it.
STEPS = st.lists(
    st.tuples(
        st.integers(0, 3 * PARTITIONS - 1),
        st.integers(1, 5),
        st.sampled_from(["acknowledged", "acknowledged", "slow", "stored only", "emitted, not acknowledged"]),
    ),
    max_size=24,
)


def publish(history: Sequence[tuple[tuple[str, Row], int]], repeats: Sequence[int]) -> list[Published]:
    # In the future, so that Redis forgets nothing while the test runs; the same all day, so that a failure repeats.
    base_ms = (int(time.time()) // 86_400 + 2) * 86_400_000
    now_ms = base_ms + 3 * STEP_MS
    published = []
    repeated = [history[index % len(history)] for index in repeats]
    for (topic, fields), pause_s in [*history, *repeated]:
        now_ms += pause_s * 1000
        times = {
            name: base_ms + at * STEP_MS for name, at in fields.items() if name.endswith("_time") and at is not None
        }
        portal = {"portal_id": "p"} if topic == "crm-events" else {}
        published.append(Published(topic, {**REQUIRED, **portal, **fields, **times}, now_ms))
    return published


class Logs:
    """The partitions by key, as every publisher writes them; what workers emit is appended to the role's own topic."""

    def __init__(self, published: Sequence[Published]) -> None:
        self.of: defaultdict[Partition, list[Record]] = defaultdict(list)
        self.emitted: list[Row] = []
        for topic, fields, ingest_ms in published:
            key = (fields["visitor_id"] or fields["click_id"]) if topic == "clicks" else fields["deal_id"]
            self._append(topic, key, ingest_ms, message(topic, fields))

    def emit(self, rows: Sequence[Row], now_ms: int) -> None:
        for row in rows:
            self.emitted.append(row)
            self._append(MATCHES, row["deal_id"], now_ms, message(MATCHES, row))

    def _append(self, topic: str, key: str, ingest_ms: int, body: bytes) -> None:
        log = self.of[topic, zlib.crc32(key.encode()) % PARTITIONS]
        log.append(Record(len(log), ingest_ms, body))


async def work(store: AttributionStore, partition: Partition, records: Sequence[Record], start: int) -> list[Row]:
    topic, _ = partition
    facts = facts_of(topic, records, RETENTION)
    add = store.add_touchpoints if topic == "clicks" else store.add_conversions
    span = Span(LogPartition(*partition), start, start + len(records))
    readings = await add(span, facts, links_of(topic, records, RETENTION))
    return [row for held in readings for row in match_deals(topic, records, held, RETENTION)]


class Workers:
    """Several workers that die or are held up now and then; who does a step makes no difference to the store."""

    def __init__(self, store: AttributionStore, published: Sequence[Published]) -> None:
        self._store, self.logs = store, Logs(published)
        self.partitions = [*self.logs.of, *((MATCHES, number) for number in range(PARTITIONS))]
        self._committed = dict.fromkeys(self.partitions, 0)
        self._held_up: dict[Partition, tuple[list[Row], int, int]] = {}

    @property
    def are_done(self) -> bool:
        ends = {partition: len(self.logs.of[partition]) for partition in self.partitions}
        return not self._held_up and self._committed == ends

    async def step(self, partition: Partition, size: int, outcome: str) -> None:
        if partition in self._held_up:
            rows, now_ms, end = self._held_up.pop(partition)
            self.logs.emit(rows, now_ms)
            self._committed[partition] = end
        start = self._committed[partition]
        records = self.logs.of[partition][start : start + size]
        if not records:
            return
        rows = await work(self._store, partition, records, start)
        now_ms, end = max(record.ingest_ms for record in records), start + len(records)
        if outcome == "slow":
            self._held_up[partition] = rows, now_ms, end
        elif outcome != "stored only":
            self.logs.emit(rows, now_ms)
        if outcome == "acknowledged":
            self._committed[partition] = end


async def in_pieces(store: AttributionStore, published: Sequence[Published], steps: Sequence[Any]) -> list[Row]:
    """By workers, until nothing is left to be read."""
    workers = Workers(store, published)
    await store.fences.begin({LogPartition(*partition): 0 for partition in workers.partitions})
    for number, size, outcome in steps:
        await workers.step(workers.partitions[number % len(workers.partitions)], size, outcome)
    while not workers.are_done:
        for partition in workers.partitions:
            await workers.step(partition, 100, "acknowledged")
    return workers.logs.emitted


async def at_once(store: AttributionStore, published: Sequence[Published]) -> list[Row]:
    rows: list[Row] = []
    logs = Logs(published).of
    for topic in ("clicks", "crm-events"):
        records = [record for (name, _), log in logs.items() if name == topic for record in log]
        await store.fences.begin({LogPartition(topic, 0): 0})
        rows = await work(store, (topic, 0), records, 0) if records else []
    return rows


def without_origin(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in ORIGIN}


def final(rows: Sequence[Row]) -> dict[Name, Row]:
    """What a consumer keeps: of each deal the greatest version. Equal versions have to be equal."""
    versions: dict[tuple[str, str, int], Row] = {}
    for row in map(without_origin, rows):
        version = (row["account_id"], row["deal_id"], row["facts_held"])
        assert versions.setdefault(version, row) == row
    # How many facts there are, of which some change nothing, depends on when it was asked.
    return {version[:2]: {**versions[version], "facts_held": None} for version in sorted(versions)}


def path_of(row: Row) -> tuple[int, list[tuple[str, str]]]:
    """Where the window ends, ms, and (click_id, channel) of the touchpoints."""
    touchpoints = [(touch["click_id"], touch["channel"]) for touch in row["touchpoints"]]
    return int(row["window_end_time"].timestamp() * 1000), touchpoints


def expected(published: Sequence[Published]) -> dict[Name, tuple[int, list[tuple[str, str]]]]:
    """The same of each deal, straight from the definition."""
    contents: dict[tuple[Any, ...], Version] = {}
    for topic, fields, ingest_ms in published:
        [fact] = facts_of(topic, [Record(0, ingest_ms, message(topic, fields))], RETENTION)
        body = fact.contents[0] if topic == "clicks" else fact.content
        own_id = fields["click_id" if topic == "clicks" else "deal_id"]
        order = (fields["source_version"], ingest_ms, body)
        contents[topic, fields["account_id"], own_id, ingest_ms, body] = (order, fields)
    found = {}
    deals = sorted((key, value) for key, value in contents.items() if key[0] == "crm-events")
    for (_, account, deal_id), group in itertools.groupby(deals, key=lambda item: item[0][:3]):
        versions = [value for _, value in group]
        chosen = chosen_of(versions)
        of_account = [value for key, value in contents.items() if key[1] == account]
        # A deal looks for clicks before what each of its events takes for the end.
        looking = [(order, {**fields, "event_time": end_of([fields])}) for order, fields in versions]
        found[account, deal_id] = (chosen.event_ms, touchpoints_of(chosen, looking, of_account))
    return found


def end_of(events: Sequence[Row]) -> int:
    for name in ("lead_created_time", "deal_created_time"):
        if times := [min(event[name], event["event_time"]) for event in events if event[name] is not None]:
            return int(min(times))
    return min(stage_of(event) for event in events)


def stage_of(event: Row) -> int:
    entered = event["stage_entered_time"]
    return int(event["event_time"] if entered is None else min(entered, event["event_time"]))


def chosen_of(versions: Sequence[Version]) -> Chosen:
    counting: dict[str, Version] = {}
    for order, event in sorted(versions, key=lambda value: (value[0][1], value[0])):
        latest_ms = end_of([fields for _, fields in counting.values()]) + LATENESS_S * 1000 if counting else order[1]
        if order[1] <= latest_ms and order > counting.get(event["event_id"], ((-1, 0, b""), {}))[0]:
            counting[event["event_id"]] = (order, event)
    events = sorted(
        (fields for _, fields in counting.values()), key=lambda fields: (stage_of(fields), fields["event_id"])
    )
    names: dict[str, set[str]] = {}
    for event in events:
        for name in names_of(event):
            of_kind = names.setdefault(name[0], set())
            if name[0] == "v" or not of_kind:
                of_kind.add(name)
    click_id = next((event["click_id"] for event in events if event["click_id"]), None)
    return Chosen(end_of(events), click_id, set().union(*names.values()))


async def compare(url: str, published: Sequence[Published], steps: Sequence[Any]) -> None:
    name = uuid.uuid4().hex
    stores = [AttributionStore(url, namespace=f"{name}.{number}.", shards=number + 1) for number in range(2)]
    try:
        reference = final(await at_once(stores[0], published))
        assert {key: path_of(row) for key, row in reference.items()} == expected(published)
        emitted = await in_pieces(stores[1], published, steps)
        assert final(emitted) == reference
        require_newest_last(emitted)
    finally:
        for store in stores:
            await store.close()


def require_newest_last(emitted: Sequence[Row]) -> None:
    """Compaction keeps a deal's last record, which has to be the greatest version."""
    last = {(row["account_id"], row["deal_id"]): row["facts_held"] for row in emitted}
    assert last == {
        name: max(row["facts_held"] for row in emitted if (row["account_id"], row["deal_id"]) == name) for name in last
    }


@pytest.fixture(scope="module")
def redis_url(stack: LocalStack) -> str:
    return read_state(stack.directory).addresses()["redis"]


def click(**fields: Any) -> tuple[str, Row]:
    given = {"account_id": "a", "visitor_id": "v1", "email_sha256": None, "click_id": "k1", "channel": "x"}
    return "clicks", {**given, "event_time": 4, "source_version": 0, **fields}


def event(**fields: Any) -> tuple[str, Row]:
    given = {
        **{name: default for name, default in definition("crm-events").defaults.items() if name != "ingest_time"},
        "account_id": "a",
        "visitor_id": "v1",
        "deal_id": "d1",
        "event_id": "e1",
        "to_stage": "lead",
    }
    return "crm-events", {**given, "event_time": 5, **fields}


#: The worker that has stored the deal's first event publishes behind the one that has found the click.
OVERTAKEN = {
    "history": [(event(), 0), (click(), 0)],
    "repeats": [],
    "steps": [(0, 1, "slow"), (1, 1, "acknowledged")],
}
#: It closes when its window is long frozen, by another visitor's browser.
CLOSED_LATE = {
    "history": [
        (click(), 0),
        (event(), 1),
        (click(visitor_id="v2", click_id="k2"), 1),
        (event(event_id="e2", visitor_id="v2", event_time=6), 150),
    ],
    "repeats": [],
    "steps": [(0, 1, "acknowledged"), (1, 1, "acknowledged"), (1, 1, "acknowledged")],
}
#: The second event says that the lead was created before the click.
CREATED_EARLIER = {
    "history": [(click(), 0), (event(), 1), (event(event_id="e2", lead_created_time=1), 30)],
    "repeats": [],
    "steps": [(0, 1, "acknowledged"), (1, 1, "acknowledged"), (1, 1, "acknowledged")],
}

#: The event is corrected: it was another person's deal.
CORRECTED = {
    "history": [(click(), 0), (event(), 1), (event(visitor_id="v2", source_version=1), 1)],
    "repeats": [1],
    "steps": [(0, 1, "acknowledged"), (1, 1, "acknowledged"), (1, 1, "acknowledged")],
}


@example(**CORRECTED)
@example(**CREATED_EARLIER)
@example(**CLOSED_LATE)
@example(**OVERTAKEN)
@given(history=HISTORIES, repeats=REPEATS, steps=STEPS)
@settings(max_examples=150)
def test_any_split_interleaving_and_repetition_give_the_same_match(
    redis_url: str, history: Any, repeats: Any, steps: Any
) -> None:
    asyncio.run(compare(redis_url, publish(history, repeats), steps))
