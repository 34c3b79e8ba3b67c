import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from processors.attribution.facts import (
    Retention,
    choose_conversion,
    choose_touchpoints,
    click_facts,
    read_contents,
    read_touchpoints,
)
from processors.attribution.identifiers import click_name
from schemas.facts import HeldContent
from tests.processors.records import CLICK, CONVERSION, Record, decode, facts_of, message

RETENTION = Retention(default_lookback_s=100, lateness_s=50, lookback_s={"patient": 1_000})


K1 = click_name("k1")
BUCKET_MS = 7 * 86_400_000


def touchpoints(*arrivals: tuple[int, Mapping[str, Any]]) -> list[bytes]:
    """Contents held after clicks arrived at (ms, fields)."""
    records = [Record(row, ingest_ms, message("clicks", fields)) for row, (ingest_ms, fields) in enumerate(arrivals)]
    return list({content for fact in facts_of("clicks", records, RETENTION) for content in fact.contents})


def conversions(*arrivals: tuple[int, Mapping[str, Any]]) -> list[HeldContent]:
    """Contents held after conversions arrived at (ms, fields)."""
    records = [Record(row, ms, message("conversions", fields)) for row, (ms, fields) in enumerate(arrivals)]
    return [HeldContent(fact.identifiers, fact.content) for fact in facts_of("conversions", records, RETENTION)]


def test_a_click_is_known_by_visitor_and_click_id_inside_its_tenant() -> None:
    fields = [
        {**CLICK, "event_time": 5_000},
        {**CLICK, "event_time": 5_000, "visitor_id": None},
        {**CLICK, "event_time": 5_000, "visitor_id": ""},
        {**CLICK, "event_time": 5_000, "account_id": "patient"},
    ]
    records = [Record(0, 0, message("clicks", item)) for item in fields]
    acme, patient = facts_of("clicks", records, RETENTION)
    assert (acme.account_id, patient.account_id) == ("acme", "patient")
    assert sorted(acme.identifiers) == [K1, K1, K1, "vv1"]
    assert sorted(patient.identifiers) == [K1, "vv1"]
    assert patient.contents[0] == patient.contents[1]
    assert len(set(acme.contents)) == 3


def test_a_conversion_may_be_matched_by_fewer_fields() -> None:
    batch = decode("clicks", [message("clicks", {**CLICK, "event_time": 5_000})])
    [fact] = click_facts(batch, np.zeros(1, np.int64), RETENTION, ["visitor_id"])
    assert fact.identifiers == ["vv1"]


def test_clicks_lie_in_buckets_of_their_event_times() -> None:
    times = [5, BUCKET_MS - 1, BUCKET_MS, 3 * BUCKET_MS + 7]
    fields = [{**CLICK, "event_time": time, "click_id": f"k{time}"} for time in times]
    facts = facts_of("clicks", [Record(0, 0, message("clicks", item)) for item in fields], RETENTION)
    assert [(fact.bucket, len(fact.contents)) for fact in facts] == [(0, 4), (1, 2), (3, 2)]
    # Held as long as a conversion within the lookback of the next bucket's last click may arrive late.
    assert [fact.expires_at_s for fact in facts] == [(n + 2) * BUCKET_MS // 1000 + 100 + 50 for n in (0, 1, 3)]
    assert [fact.conversion_buckets for fact in facts] == [[-1, 0, 1, 2, 3], [0, 1, 2, 3], [2, 3, 4, 5]]


def test_a_bucket_outlives_an_outage_after_its_newest_arrival() -> None:
    [fact] = facts_of("clicks", [Record(0, 9 * BUCKET_MS, message("clicks", {**CLICK, "event_time": 5}))], RETENTION)
    assert fact.expires_at_s == 9 * BUCKET_MS // 1000 + 50


def test_a_conversion_is_known_by_visitor_and_by_the_click_it_remembers() -> None:
    fields = [
        {**CONVERSION, "event_time": BUCKET_MS + 1, "click_id": "k9"},
        {**CONVERSION, "event_time": 0, "visitor_id": None},
    ]
    records = [Record(0, 0, message("conversions", item)) for item in fields]
    first, second = facts_of("conversions", records, RETENTION)
    assert (first.identifiers, second.identifiers) == ([click_name("k9"), "vv1"], [])
    assert (first.bucket, first.touchpoint_buckets) == (1, [-1, 0, 1, 2])
    assert second.expires_at_s == 150


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
        chosen = choose_touchpoints(read_touchpoints(touchpoints(*order)))
        assert [touch.channel for touch in chosen] == ["a"]


@pytest.mark.parametrize("arrivals", CORRECTIONS.values(), ids=CORRECTIONS)
def test_the_conversion_that_counts_does_not_depend_on_order(arrivals: list[tuple[int, dict[str, Any]]]) -> None:
    renamed = [(ms, {"order_id" if k == "channel" else k: v for k, v in fields.items()}) for ms, fields in arrivals]
    full = [(ms, {**CONVERSION, "event_time": 1_000, **fields}) for ms, fields in renamed]
    wanted = next(message("conversions", fields) for _, fields in full if fields.get("order_id") == "a")
    for order in itertools.permutations(full):
        assert choose_conversion(read_contents(conversions(*order)), RETENTION).message == wanted


def test_equal_in_version_and_time_the_content_decides() -> None:
    full = [(5, {**CLICK, "event_time": 1_000, "channel": channel}) for channel in "abcd"]
    chosen = {
        choose_touchpoints(read_touchpoints(touchpoints(*order)))[0].channel for order in itertools.permutations(full)
    }
    assert chosen == {"d"}


def test_of_equal_versions_the_last_to_arrive_counts_even_where_it_comes_again() -> None:
    old, new = ({**CLICK, "event_time": 1_000, "channel": channel} for channel in ("old", "new"))
    [chosen] = choose_touchpoints(read_touchpoints(touchpoints((1, old), (2, new), (3, old))))
    assert chosen.channel == "old"


def test_touchpoints_are_in_the_order_of_events_then_ids() -> None:
    clicks = [("k3", 20), ("k1", 30), ("k2", 20)]
    contents = touchpoints(*((9, {**CLICK, "click_id": name, "event_time": time}) for name, time in clicks))
    assert [touch.click_id for touch in choose_touchpoints(read_touchpoints(contents))] == ["k2", "k3", "k1"]


def test_what_is_stored_of_a_click_is_what_attribution_needs() -> None:
    personal = {"ip": "192.0.2.1", "user_agent": "UA-1", "email_sha256": "a" * 64, "landing_url": "https://x.example/"}
    needed = {"channel": "ch", "ad_account_id": "aa", "campaign_id": "ca", "adset_id": "as", "ad_id": "ad"}
    more = {"creative_id": "cr", "fbclid": "fb", "interaction": "view"}
    [content] = touchpoints((7, {**CLICK, "event_time": 1_000, "source_version": 3, **personal, **needed, **more}))
    [touch] = read_touchpoints([content])
    assert touch._asdict() == {
        **needed,
        **more,
        "click_id": "k1",
        "visitor_id": "v1",
        "external_id": None,
        "email": "a" * 32,
        "phone": None,
        "source_version": 3,
        "ingest_ms": 7,
        "event_ms": 1_000,
        "has_surroundings": False,
        "content": content,
        "known_as": ("e" + "a" * 32, "vv1"),
    }
    assert not any(value.encode() in content for value in personal.values())  # of a hash only a part
