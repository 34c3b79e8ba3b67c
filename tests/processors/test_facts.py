import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from processors.attribution.facts import Retention, choose_conversion, choose_touchpoints, read_touchpoints
from schemas.facts import HeldFact
from tests.processors.records import CLICK, CONVERSION, Record, facts_of, message

RETENTION = Retention(default_lookback_s=100, lateness_s=50, lookback_s={"patient": 1_000})


def held(topic: str, *arrivals: tuple[int, Mapping[str, Any]]) -> list[HeldFact]:
    """Contents held after these arrivals at (ms, fields)."""
    records = [Record(row, ingest_ms, message(topic, fields)) for row, (ingest_ms, fields) in enumerate(arrivals)]
    kept: dict[tuple[str, bytes], HeldFact] = {}
    for fact in facts_of(topic, records, RETENTION):
        kept.setdefault((fact.id, fact.digest), HeldFact(fact.id, fact.digest, fact.content))
    return list(kept.values())


def test_a_click_is_known_by_visitor_and_click_id_inside_its_tenant() -> None:
    fields = [
        {**CLICK, "event_time": 5_000},
        {**CLICK, "event_time": 5_000, "visitor_id": None},
        {**CLICK, "event_time": 5_000, "visitor_id": ""},
        {**CLICK, "event_time": 5_000, "account_id": "patient"},
    ]
    facts = facts_of("clicks", [Record(0, 0, message("clicks", item)) for item in fields], RETENTION)
    assert [fact.identifiers for fact in facts] == [
        ["4:acme:v:v1", "4:acme:k:k1"],
        ["4:acme:k:k1"],
        ["4:acme:k:k1"],
        ["7:patient:v:v1", "7:patient:k:k1"],
    ]
    assert [fact.expires_at_s for fact in facts] == [155, 155, 155, 1_055]
    assert len({fact.digest for fact in facts}) == 4


def test_a_conversion_is_known_by_visitor_and_by_the_click_it_remembers() -> None:
    fields = [{**CONVERSION, "event_time": 0, "click_id": "k9"}, {**CONVERSION, "event_time": 0, "visitor_id": None}]
    facts = facts_of("conversions", [Record(0, 0, message("conversions", item)) for item in fields], RETENTION)
    assert [fact.identifiers for fact in facts] == [["4:acme:v:v1", "4:acme:k:k9"], []]


CORRECTIONS = {
    "source_version wins over ingest time": [
        (300, {"source_version": 1, "channel": "b"}),
        (100, {"source_version": 2, "channel": "a"}),
        (200, {"source_version": 0, "channel": "c"}),
    ],
    "ingest time decides between equal versions": [(100, {"channel": "b"}), (300, {"channel": "a"})],
    "a negative version is a version": [(300, {"source_version": -2}), (100, {"source_version": -1, "channel": "a"})],
}


@pytest.mark.parametrize("arrivals", CORRECTIONS.values(), ids=CORRECTIONS)
def test_the_click_that_counts_does_not_depend_on_order(arrivals: list[tuple[int, dict[str, Any]]]) -> None:
    full = [(ms, {**CLICK, "event_time": 1_000, **fields}) for ms, fields in arrivals]
    for order in itertools.permutations(full):
        chosen = choose_touchpoints(read_touchpoints(held("clicks", *order)))
        assert [touch.channel for touch in chosen] == ["a"]


@pytest.mark.parametrize("arrivals", CORRECTIONS.values(), ids=CORRECTIONS)
def test_the_conversion_that_counts_does_not_depend_on_order(arrivals: list[tuple[int, dict[str, Any]]]) -> None:
    renamed = [(ms, {"order_id" if k == "channel" else k: v for k, v in fields.items()}) for ms, fields in arrivals]
    full = [(ms, {**CONVERSION, "event_time": 1_000, **fields}) for ms, fields in renamed]
    wanted = next(message("conversions", fields) for _, fields in full if fields.get("order_id") == "a")
    for order in itertools.permutations(full):
        assert choose_conversion(held("conversions", *order)).message == wanted


def test_equal_in_version_and_time_the_digest_decides() -> None:
    full = [(5, {**CLICK, "event_time": 1_000, "channel": channel}) for channel in "abcd"]
    chosen = {
        choose_touchpoints(read_touchpoints(held("clicks", *order)))[0].channel
        for order in itertools.permutations(full)
    }
    assert len(chosen) == 1


def test_a_content_that_comes_again_keeps_the_time_of_its_first_arrival() -> None:
    """So taking a correction back needs a source_version, as the module says."""
    old, new = ({**CLICK, "event_time": 1_000, "channel": channel} for channel in ("old", "new"))
    [chosen] = choose_touchpoints(read_touchpoints(held("clicks", (1, old), (2, new), (3, old))))
    assert chosen.channel == "new"
    again = {**old, "source_version": 1}
    [chosen] = choose_touchpoints(read_touchpoints(held("clicks", (1, old), (2, new), (3, again))))
    assert chosen.channel == "old"


def test_touchpoints_are_in_the_order_of_events_then_ids() -> None:
    clicks = [("k3", 20), ("k1", 30), ("k2", 20)]
    contents = held("clicks", *((9, {**CLICK, "click_id": name, "event_time": time}) for name, time in clicks))
    assert [touch.click_id for touch in choose_touchpoints(read_touchpoints(contents))] == ["k2", "k3", "k1"]


def test_what_is_stored_of_a_click_is_what_attribution_needs() -> None:
    personal = {"ip": "192.0.2.1", "user_agent": "UA-1", "email_sha256": "a" * 64, "landing_url": "https://x.example/"}
    needed = {"channel": "ch", "ad_account_id": "aa", "campaign_id": "ca", "adset_id": "as", "ad_id": "ad"}
    more = {"creative_id": "cr", "fbclid": "fb", "interaction": "view"}
    [content] = held("clicks", (7, {**CLICK, "event_time": 1_000, "source_version": 3, **personal, **needed, **more}))
    [touch] = read_touchpoints([content])
    assert touch._asdict() == {
        **needed,
        **more,
        "click_id": "k1",
        "visitor_id": "v1",
        "source_version": 3,
        "ingest_ms": 7,
        "event_ms": 1_000,
        "digest": content.digest,
    }
    assert not any(value.encode() in content.content for value in personal.values())
