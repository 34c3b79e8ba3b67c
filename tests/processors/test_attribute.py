import io
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.attribution.attribute import (
    MAX_TOUCHPOINTS,
    Origin,
    Pending,
    arrived_conversions,
    assemble,
    changed_conversions,
    settling_conversions,
)
from processors.attribution.credit import CreditRules
from processors.attribution.facts import ConversionContent, Retention, Touchpoint
from schemas import wire
from schemas.client.writer import RecordWriter
from schemas.definitions import arrow_schema, definition, parse
from schemas.facts import Held, HeldContent, HeldConversion, HeldEntries
from schemas.topics import TOPICS
from tests.processors.records import (
    CLICK,
    CONVERSION,
    DECODERS,
    RULES,
    SCHEMA_ID,
    MemoryStore,
    Record,
    attribute,
    attribute_at_once,
    decode,
    facts_of,
    message,
)

LOOKBACK_S, LATENESS_S = 100, 50
RETENTION = Retention(LOOKBACK_S, LATENESS_S, {"patient": 1_000})
AT = 1_000_000  # event time of the conversion, ms


def click(click_id: str, before_ms: int, **fields: Any) -> dict[str, Any]:
    return {**CLICK, "click_id": click_id, "event_time": AT - before_ms, **fields}


def conversion(**fields: Any) -> dict[str, Any]:
    return {**CONVERSION, "event_time": AT, **fields}


def path(row: dict[str, Any]) -> list[str]:
    return [touch["click_id"] for touch in row["touchpoints"]]


def test_the_window_is_closed_at_both_ends() -> None:
    clicks = [
        click("too-old", LOOKBACK_S * 1000 + 1),
        click("oldest", LOOKBACK_S * 1000),
        click("newest", 0),
        click("too-new", -1),
    ]
    [row] = attribute_at_once(clicks, [conversion()], RETENTION).values()
    assert path(row) == ["oldest", "newest"]
    assert row["lookback_window_s"] == LOOKBACK_S
    assert row["facts_held"] == 5


def test_an_account_may_look_back_further() -> None:
    clicks = [click("k1", 900_000, account_id="patient"), click("k2", 0, account_id="patient")]
    [row] = attribute_at_once(clicks, [conversion(account_id="patient")], RETENTION).values()
    assert path(row) == ["k1", "k2"]
    assert row["lookback_window_s"] == 1_000


def test_tenants_with_the_same_ids_never_mix() -> None:
    clicks = [click("k1", 10, account_id=name, channel=name) for name in ("a", "b", "a:v:v1", "1:a")]
    conversions = [conversion(account_id=name, conversion_id=f"of {name}") for name in ("a", "b", "a:v:v1", "c")]
    rows = attribute_at_once(clicks, conversions, RETENTION)
    channels = {row["account_id"]: [touch["channel"] for touch in row["touchpoints"]] for row in rows.values()}
    assert channels == {"a": ["a"], "b": ["b"], "a:v:v1": ["a:v:v1"], "c": []}


@pytest.mark.parametrize(
    ("fields", "clicks", "layer", "confidence"),
    [
        ({"click_id": "k1"}, [("k1", "v1"), ("k2", "v1")], "click_id", 1.0),
        ({"click_id": "k1", "visitor_id": None}, [("k1", "v9")], "click_id", 1.0),
        ({"click_id": "lost"}, [("k1", "v1")], "visitor_id", 1.0),
        ({}, [("k1", "v1")], "visitor_id", 1.0),
        ({}, [("k1", "v9")], "none", None),
        ({"visitor_id": None}, [("k1", None)], "none", None),
        ({"visitor_id": "", "click_id": ""}, [("k1", "")], "none", None),
    ],
)
def test_layers(fields: dict[str, Any], clicks: list[tuple[str, str]], layer: str, confidence: float | None) -> None:
    published = [click(click_id, 10, visitor_id=visitor) for click_id, visitor in clicks]
    [row] = attribute_at_once(published, [conversion(**fields)], RETENTION).values()
    assert (row["layer"], row["confidence_person"]) == (layer, confidence)
    assert len(path(row)) == (0 if layer == "none" else len(clicks))


@pytest.mark.parametrize(
    ("fields", "credited"),
    [({}, "k3"), ({"click_id": "k1"}, "k1"), ({"fbclid": "f"}, "k2"), ({"click_id": "lost", "fbclid": "f"}, "k2")],
)
def test_the_credited_click_is_the_one_that_is_remembered_else_the_last(fields: dict[str, Any], credited: str) -> None:
    clicks = [click("k1", 30, fbclid="f"), click("k2", 20, fbclid="f"), click("k3", 10)]
    [row] = attribute_at_once(clicks, [conversion(**fields)], RETENTION).values()
    assert row["credited_click_id"] == credited


def test_nothing_known_is_a_record_too() -> None:
    [row] = attribute_at_once([], [conversion(value_micros=5, currency="EUR")], RETENTION).values()
    assert (row["touchpoints"], row["credits"], row["layer"], row["facts_held"]) == ([], [], "none", 1)
    assert (row["attributed_fbclid"], row["fbclid_first_seen"], row["credited_click_id"]) == (None, None, None)
    assert (row["value_micros"], row["currency"]) == (5, "EUR")


def test_fbclid_is_the_latest_touchpoints_that_has_one() -> None:
    clicks = [click("k1", 30, fbclid="old"), click("k2", 20, fbclid="new"), click("k3", 10), click("k4", 5, fbclid="")]
    [row] = attribute_at_once(clicks, [conversion()], RETENTION).values()
    assert row["attributed_fbclid"] == "new"
    assert row["fbclid_first_seen"].timestamp() * 1000 == AT - 20


@pytest.mark.parametrize(("value", "currency"), [(None, None), (None, "EUR"), (0, "EUR"), (-7, None), (10**18, "EUR")])
def test_value_is_split_where_there_is_one(value: int | None, currency: str | None) -> None:
    clicks = [click("k1", 30), click("k2", 20), click("k3", 10)]
    fields = {"value_micros": value, "currency": currency}
    [row] = attribute_at_once(clicks, [conversion(**fields)], RETENTION).values()
    assert {name: row[name] for name in fields} == fields
    assert {credit["model"]: credit["shares"] for credit in row["credits"]} == {
        "first": [1, 0, 0],
        "last": [0, 0, 1],
        "linear": [1 / 3] * 3,
        "position_based": [0.4, 0.2, 0.4],
        "time_decay": pytest.approx([1 / 3] * 3, abs=1e-3),  # 10 ms apart, of a half-life of 10 s
        "last_non_direct": [0, 0, 1],
    }
    for credit in row["credits"]:
        assert (sum(credit["value_micros"]) if credit["value_micros"] else None) == value


def credits_by_model(row: dict[str, Any]) -> dict[str, list[float]]:
    return {credit["model"]: credit["shares"] for credit in row["credits"]}


def test_time_decay_halves_with_every_half_life() -> None:
    half_life_ms = int(RULES.half_life_s * 1000)
    clicks = [click("k1", 2 * half_life_ms + 5), click("k2", half_life_ms + 5), click("k3", 5)]
    [row] = attribute_at_once(clicks, [conversion(value_micros=70)], RETENTION).values()
    assert credits_by_model(row)["time_decay"] == pytest.approx([1 / 7, 2 / 7, 4 / 7])
    [micros] = [credit["value_micros"] for credit in row["credits"] if credit["model"] == "time_decay"]
    assert micros == [10, 20, 40]


@pytest.mark.parametrize(
    ("channels", "credited"),
    [
        (["search", "direct"], 0),
        (["search", "direct", "social", "direct", "direct"], 2),
        (["direct", "direct"], 1),
        (["search", None], 1),
        (["search", "Direct"], 1),
    ],
)
def test_last_non_direct_passes_over_the_channels_that_count_as_direct(
    channels: list[str | None], credited: int
) -> None:
    clicks = [click(f"k{n}", 100 - n, channel=channel) for n, channel in enumerate(channels)]
    [row] = attribute_at_once(clicks, [conversion()], RETENTION).values()
    assert credits_by_model(row)["last_non_direct"] == [float(n == credited) for n in range(len(channels))]


def _touch(visitor_id: str | None, click_id: str) -> Touchpoint:
    return Touchpoint(click_id, visitor_id, None, None, None, 0, 0, AT, "click", *[None] * 7, False, b"")


def test_clicks_without_a_channel_are_direct_where_the_settings_say_so() -> None:
    touchpoints = [_touch("v1", "k1")._replace(channel="search"), _touch("v1", "k2")]
    body = message("conversions", conversion())
    content = ConversionContent(0, 0, AT, None, None, ["vv1"], body)
    pending = [Pending(("acme", "c1"), content, touchpoints, "visitor_id", LOOKBACK_S, 3, 0, 0)]
    rules = CreditRules(half_life_s=10, direct_channels=frozenset({""}))
    [row] = assemble(decode("conversions", [body]), pending, Origin("t", "id", 0), rules).to_pylist()
    assert credits_by_model(row)["last_non_direct"] == [1, 0]


def test_conversions_of_one_batch_keep_to_their_own_rows() -> None:
    clicks = [click(f"{v}-{n}", 10 * n, visitor_id=v, channel=f"{v}{n}") for v in ("v0", "v2", "v3") for n in (2, 1)]
    values = {"v0": 10, "v1": 20, "v2": None, "v3": 41}
    conversions = [conversion(conversion_id=v, visitor_id=v, value_micros=value) for v, value in values.items()]
    rows = attribute_at_once(clicks, conversions, RETENTION)
    assert {name: path(row) for name, row in rows.items()} == {
        "v0": ["v0-2", "v0-1"],
        "v1": [],
        "v2": ["v2-2", "v2-1"],
        "v3": ["v3-2", "v3-1"],
    }
    for name, row in rows.items():
        alone = attribute_at_once(clicks, [c for c in conversions if c["conversion_id"] == name], RETENTION)
        assert row["credits"] == alone[name]["credits"]
    linear = {name: [c["value_micros"] for c in row["credits"] if c["model"] == "linear"] for name, row in rows.items()}
    assert linear == {"v0": [[5, 5]], "v1": [], "v2": [[]], "v3": [[21, 20]]}
    assert [touch["channel"] for touch in rows["v3"]["touchpoints"]] == ["v32", "v31"]


class Worker:
    """Publishes one record after the other, each at its time."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._offset = 0

    def arrives(self, topic: str, fields: dict[str, Any], ingest_ms: int = AT) -> list[dict[str, Any]]:
        records = [Record(self._offset, ingest_ms, message(topic, fields))]
        self._offset += 1
        return attribute(topic, records, self._store.add(topic, records, RETENTION), RETENTION)


def test_a_correction_moves_a_click_out_of_the_window() -> None:
    worker = Worker()
    worker.arrives("clicks", click("k1", 10))
    worker.arrives("clicks", click("k2", 20))
    [before] = worker.arrives("conversions", conversion())
    [after] = worker.arrives("clicks", click("k1", -10, source_version=1))
    assert (path(before), path(after)) == (["k2", "k1"], ["k2"])
    assert after["facts_held"] > before["facts_held"]


def test_a_correction_of_the_visitor_leaves_the_other_visitors_clicks() -> None:
    worker = Worker()
    worker.arrives("clicks", click("k1", 10))
    worker.arrives("clicks", click("k2", 20, visitor_id="v2"))
    [before] = worker.arrives("conversions", conversion())
    [after] = worker.arrives("conversions", conversion(visitor_id="v2", source_version=1))
    assert (path(before), path(after)) == (["k1"], ["k2"])
    assert after["facts_held"] > before["facts_held"]


def test_a_correction_of_the_time_moves_the_window() -> None:
    worker = Worker()
    worker.arrives("clicks", click("k1", LOOKBACK_S * 1000))
    worker.arrives("clicks", click("k2", 0))
    [before] = worker.arrives("conversions", conversion())
    [after] = worker.arrives("conversions", conversion(event_time=AT - 1, source_version=1))
    assert (path(before), path(after)) == (["k1", "k2"], ["k1"])


def test_a_click_outside_the_window_changes_nothing() -> None:
    worker = Worker()
    worker.arrives("conversions", conversion())
    assert worker.arrives("clicks", click("k1", -1)) == []
    assert worker.arrives("clicks", click("k2", LOOKBACK_S * 1000 + 1)) == []
    assert len(worker.arrives("clicks", click("k3", 0))) == 1


def test_a_conversion_is_frozen_for_clicks_that_come_too_late() -> None:
    deadline = AT + LATENESS_S * 1000
    worker = Worker()
    worker.arrives("conversions", conversion())
    [in_time] = worker.arrives("clicks", click("k1", 10), deadline)
    assert path(in_time) == ["k1"]
    assert worker.arrives("clicks", click("k2", 10), deadline + 1) == []
    [again] = worker.arrives("conversions", conversion(source_version=1), AT)
    assert path(again) == ["k1"], "too late for one reading, in time for the next"


def test_a_conversion_is_frozen_for_corrections_that_come_too_late() -> None:
    """By then touchpoints may have expired: what it was attributed to stays."""
    worker = Worker()
    worker.arrives("clicks", click("k1", 10))
    [before] = worker.arrives("conversions", conversion(order_id="first"))
    late = AT + LATENESS_S * 1000 + 1
    assert worker.arrives("conversions", conversion(order_id="late", source_version=9), late) == []
    assert before["order_id"] == "first"
    [in_time] = worker.arrives("conversions", conversion(order_id="in time", source_version=2), late - 1)
    assert in_time["order_id"] == "in time"


def test_a_conversion_that_comes_late_is_attributed_with_what_is_there() -> None:
    worker = Worker()
    worker.arrives("clicks", click("k1", 10))
    late = AT + LATENESS_S * 1000 + 1
    [row] = worker.arrives("conversions", conversion(), late)
    assert path(row) == ["k1"]
    assert worker.arrives("conversions", conversion(order_id="again"), late + 1) == []


def test_what_is_read_for_another_conversion_changes_nothing() -> None:
    """One visitor's conversions are read together, each with all their touchpoints."""
    store = MemoryStore()
    week_ms = RETENTION.bucket_s * 1000
    clicks = [click("k1", 10), click("k2", -3 * week_ms), click("k3", 10 - 3 * week_ms)]
    records = [Record(n, AT, message("clicks", fields)) for n, fields in enumerate(clicks)]
    store.add("clicks", records, RETENTION)
    later = conversion(conversion_id="later", event_time=AT + 3 * week_ms)
    both = [Record(n, AT, message("conversions", fields)) for n, fields in enumerate((conversion(), later))]
    held = store.add("conversions", both, RETENTION)
    together = {row["conversion_id"]: row for row in attribute("conversions", both, held, RETENTION)}
    for record in both:
        held = store.add("conversions", [record], RETENTION)
        [alone] = attribute("conversions", [record], held, RETENTION)
        assert {**together[alone["conversion_id"]], "origin_offset": None} == {**alone, "origin_offset": None}
    assert together["c1"]["facts_held"] == 2
    assert together["later"]["facts_held"] == 3


def test_an_identifier_that_many_share_in_one_bucket_says_nothing_where_that_is_asked() -> None:
    [fact] = facts_of("conversions", [Record(0, AT, message("conversions", conversion()))], RETENTION)
    [touch] = facts_of("clicks", [Record(0, AT, message("clicks", click("k1", 10)))], RETENTION)
    held = HeldConversion("acme", "c1", [HeldContent(fact.identifiers, fact.content)], fact.identifiers)

    def path_with(overfull: list[int]) -> tuple[int, int]:
        touchpoints = {("acme", "vv1"): HeldEntries(touch.contents[:1], overfull)}
        [pending] = arrived_conversions(Held([held], touchpoints, {}), {("acme", "c1"): 0}, AT, RETENTION)
        return len(pending.touchpoints), pending.facts_held

    asked = RETENTION.bucket_of(AT)
    assert path_with([]) == (1, 2)
    assert path_with([asked + 5]) == (1, 2)
    none, facts_held = path_with([asked])
    assert none == 0
    assert facts_held > 2


def test_nothing_arrived_that_concerns_it() -> None:
    worker = Worker()
    worker.arrives("conversions", conversion())
    assert worker.arrives("clicks", click("k1", 10, visitor_id="v2")) == []
    assert changed_conversions(Held([], {}, {}), {("acme", "k1"): 0}, {}, RETENTION) == []


def test_the_origin_is_the_newest_record_that_caused_it() -> None:
    store = MemoryStore()
    first = [Record(70, AT, message("conversions", conversion()))]
    store.add("conversions", first, RETENTION)
    clicks = [click("k1", 10), click("k2", 10), click("outside", -10)]
    arrived = [Record(80 + row, AT, message("clicks", fields)) for row, fields in enumerate(clicks)]
    [row] = attribute("clicks", arrived, store.add("clicks", arrived, RETENTION), RETENTION)
    assert (row["origin_topic"], row["origin_topic_id"], row["origin_partition"]) == ("clicks", "id", 0)
    assert row["origin_offset"] == 81


EVERYTHING = {
    "ingest_time": AT + 1,
    "source_version": 3,
    "pixel_id": "px",
    "ad_account_id": "aa",
    "order_id": "o1",
    "value_micros": 1_000_001,
    "currency": "EUR",
    "click_id": "k1",
    "lead_id": "123456789012345",
    "fbclid": "fb",
    "fbp": "fb.1.1.1",
    "fbc": "fb.1.1.fb",
    "gclid": "g",
    "email_sha256": "a" * 64,
    "phone_sha256": "b" * 64,
    "external_id_sha256": "c" * 64,
    "user_data_sha256": {"fn": "d" * 64, "ln": "e" * 64},
    "user_agent": "UA",
    "ip": "192.0.2.1",
    "language": "de",
    "time_zone": "Europe/Berlin",
    "screen_width": 100,
    "screen_height": 200,
    "pixel_ratio": 1.5,
    "action_source": "app",
    "event_source_url": "https://x.example/",
    "consent_string": "CP",
    "limited_data_use_country": 1,
    "limited_data_use_state": 1000,
}


def test_forwarding_finds_all_that_the_conversion_said() -> None:
    fields = conversion(**EVERYTHING)
    said = decode("conversions", [message("conversions", fields)]).to_pylist()[0]
    assert not [name for name, value in said.items() if value is None], "EVERYTHING has to name every field"
    [row] = attribute_at_once([click("k1", 1)], [fields], RETENTION, ingest_ms=AT + 9).values()
    assert {name: row[name] for name in said} == said
    assert row["conversion_ingest_time"].timestamp() * 1000 == AT + 9


PATHS = st.lists(st.integers(0, 4), min_size=0, max_size=6)


@settings(max_examples=30)
@given(paths=PATHS, values=st.lists(st.none() | st.integers(-(10**18), 10**18), min_size=6, max_size=6))
def test_every_batch_round_trips_through_avro(paths: list[int], values: list[int | None]) -> None:
    clicks = [
        click(f"k{v}-{n}", n, visitor_id=f"v{v}", fbclid="f" if n % 2 else None)
        for v, count in enumerate(paths)
        for n in range(count)
    ]
    conversions = [
        conversion(conversion_id=f"c{v}", visitor_id=f"v{v}", value_micros=values[v]) for v in range(len(paths))
    ]
    store = MemoryStore()
    if clicks:
        arrived = [Record(n, AT, message("clicks", fields)) for n, fields in enumerate(clicks)]
        store.add("clicks", arrived, RETENTION)
    arrived = [Record(n, AT, message("conversions", fields)) for n, fields in enumerate(conversions)]
    facts = facts_of("conversions", arrived, RETENTION)
    ids = {(fact.account_id, fact.id): n for n, fact in enumerate(facts)}
    pending = arrived_conversions(store.add("conversions", arrived, RETENTION), ids, AT, RETENTION)
    batch = assemble(
        decode("conversions", [p.conversion.message for p in pending]), pending, Origin("t", "id", 1), RULES
    )

    text = definition("attributed-conversions").text
    assert batch.schema == arrow_schema(text)
    batch.validate(full=True)
    writer = RecordWriter(TOPICS["attributed-conversions"], definition("attributed-conversions"), SCHEMA_ID, None)
    messages = list(writer.encode(batch))
    if messages:
        assert decode("attributed-conversions", messages).equals(batch)
    for body, row in zip(messages, batch.to_pylist(maps_as_pydicts="strict"), strict=True):
        stream = io.BytesIO(body[wire.HEADER_BYTES :])
        read = fastavro.schemaless_reader(stream, parse(text), None)
        assert (read["conversion_id"], read["credits"]) == (row["conversion_id"], row["credits"])
        assert len(read["touchpoints"]) == len(row["touchpoints"])


def test_an_empty_batch_has_the_schema() -> None:
    nothing: list[Pending] = []
    decoded = DECODERS["conversions"].decode([], np.empty(0, np.int64))
    empty = assemble(decoded.batch, nothing, Origin("t", "id", 0), RULES)
    assert (empty.num_rows, empty.schema) == (0, arrow_schema(definition("attributed-conversions").text))


@pytest.mark.parametrize(("count", "layer"), [(MAX_TOUCHPOINTS, "visitor_id"), (MAX_TOUCHPOINTS + 1, "none")])
def test_an_id_that_too_many_share_identifies_nobody(count: int, layer: str) -> None:
    clicks = [click(f"k{number}", number + 1) for number in range(count)]
    [row] = attribute_at_once(clicks, [conversion()], RETENTION).values()
    assert row["layer"] == layer
    assert len(row["touchpoints"]) == (count if layer == "visitor_id" else 0)


def test_a_correction_whose_first_wait_ends_after_freezing_is_settled_all_the_same() -> None:
    frozen_at = RETENTION.latest_ingest_ms(AT)
    store = MemoryStore()
    for offset, (ingest_ms, version) in enumerate([(AT, 0), (frozen_at - 1, 1)]):
        content = message("conversions", conversion(source_version=version))
        held = store.add("conversions", [Record(offset, ingest_ms, content)], RETENTION)
    for until_ms, count in [(frozen_at, 1), (frozen_at + 3_600_000, 1), (RETENTION.held_until_ms(AT) + 1, 0)]:
        found = settling_conversions(held, until_ms, RETENTION)
        assert [item.conversion.source_version for item in found] == [1] * count
