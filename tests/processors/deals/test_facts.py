"""Deals: where their window ends, what identifies them, and what still changes them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from processors.attribution.facts import Retention
from processors.deals.facts import deal_name, without_past
from tests.processors.records import (
    CLICK,
    CONVERSION,
    EVENT,
    MemoryStore,
    Record,
    attribute,
    facts_of,
    match_deals,
    message,
)

LOOKBACK_S, LATENESS_S = 100, 50
RETENTION = Retention(LOOKBACK_S, LATENESS_S)
AT = 1_000_000  # when the lead was created, ms
DAY_MS = 86_400_000
Row = dict[str, Any]


def click(click_id: str, before_ms: int, **fields: Any) -> Row:
    return {**CLICK, "click_id": click_id, "event_time": AT - before_ms, **fields}


def event(**fields: Any) -> Row:
    return {**EVENT, "event_time": AT, **fields}


def matched(*arrivals: tuple[str, int, Mapping[str, Any]]) -> list[Row]:
    """What is emitted of deals for records that arrive one by one, as (topic, ms, fields), in order."""
    store, emitted = MemoryStore(), list[Row]()
    for offset, (topic, ingest_ms, fields) in enumerate(arrivals):
        records = [Record(offset, ingest_ms, message(topic, fields))]
        emitted += match_deals(topic, records, store.add(topic, records, RETENTION), RETENTION)
    return emitted


def path(row: Row) -> list[str]:
    return [touch["click_id"] for touch in row["touchpoints"]]


def end_ms(row: Row) -> int:
    return int(row["window_end_time"].timestamp() * 1000)


def test_the_window_runs_from_the_click_to_the_leads_creation() -> None:
    clicks = [click("too-old", 100_001), click("oldest", 100_000), click("newest", 0), click("too-new", -1)]
    created = event(event_time=AT + 40_000, lead_created_time=AT, deal_created_time=AT + 20_000)
    *_, row = matched(*(("clicks", AT, item) for item in clicks), ("crm-events", AT + 40_000, created))
    assert path(row) == ["oldest", "newest"]
    assert (row["layer"], row["confidence_person"], row["credited_click_id"]) == ("visitor_id", 1.0, "newest")
    assert (row["lookback_window_s"], row["facts_held"], row["origin_offset"]) == (LOOKBACK_S, 5, 4)
    assert {credit["model"]: credit["shares"] for credit in row["credits"]}["linear"] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("times", "end"),
    [
        ([{"lead_created_time": AT - 3, "deal_created_time": AT - 9}], AT - 3),
        ([{"deal_created_time": AT - 3, "stage_entered_time": AT - 9}], AT - 3),
        ([{"stage_entered_time": AT - 3}], AT - 3),
        ([{}], AT),
        # Of several events whatever is surest, and then the earliest.
        ([{}, {"stage_entered_time": AT - 3}, {"stage_entered_time": AT - 2}], AT - 3),
        ([{"stage_entered_time": AT - 9}, {"deal_created_time": AT - 2}], AT - 2),
        ([{"deal_created_time": AT - 9}, {"lead_created_time": AT - 1}, {"lead_created_time": AT - 2}], AT - 2),
        # Nothing is told before it has happened.
        ([{"lead_created_time": AT + 1}], AT),
        ([{"stage_entered_time": AT + 1}], AT),
    ],
)
def test_where_the_window_ends(times: Sequence[Row], end: int) -> None:
    events = [event(event_id=f"e{number}", **given) for number, given in enumerate(times)]
    assert end_ms(matched(*(("crm-events", AT, item) for item in events))[-1]) == end


def test_a_deal_that_closes_later_keeps_its_match() -> None:
    late_ms = AT + 200 * DAY_MS
    rows = matched(
        ("clicks", AT, click("k1", 10)),
        ("crm-events", AT, event()),
        ("crm-events", late_ms, event(event_id="e2", event_time=late_ms, to_stage="won", visitor_id="v2")),
        ("clicks", late_ms, click("k2", -200 * DAY_MS + 10, visitor_id="v2")),
        ("clicks", late_ms, click("k3", 5)),
    )
    assert [path(row) for row in rows] == [["k1"]]


def test_an_event_that_comes_in_time_adds_what_it_knows() -> None:
    rows = matched(
        ("clicks", AT, click("k1", 10, visitor_id="v2")),
        ("clicks", AT, click("k2", 5, visitor_id=None, email_sha256="a" * 64)),
        ("crm-events", AT, event()),
        ("crm-events", AT + 50_000, event(event_id="e2", visitor_id="v2", event_time=AT + 7)),
        ("crm-events", AT + 50_000, event(event_id="e3", email_sha256="a" * 64, event_time=AT + 8)),
        ("crm-events", AT + 50_001, event(event_id="e4", visitor_id="v4", event_time=AT + 9)),
    )
    assert [path(row) for row in rows] == [[], ["k1"], ["k1", "k2"]]
    assert [row["facts_held"] for row in rows] == sorted({row["facts_held"] for row in rows})
    assert rows[-1]["layer"] == "email"


def test_an_event_that_moves_the_end_back_counts_though_nothing_after_it_would() -> None:
    earlier = event(event_id="e2", lead_created_time=AT - 60_000)
    rows = matched(
        ("clicks", AT, click("k1", 10)),
        ("crm-events", AT, event()),
        ("crm-events", AT + 40_000, earlier),
        ("crm-events", AT + 41_000, event(event_id="e3", lead_created_time=AT)),
    )
    assert [(path(row), end_ms(row)) for row in rows] == [(["k1"], AT), ([], AT - 60_000)]


def test_the_click_and_the_address_of_the_earliest_stage_are_the_leads() -> None:
    [*_, row] = matched(
        ("clicks", AT, click("k1", 10, visitor_id=None, email_sha256="a" * 64)),
        ("clicks", AT, click("k2", 9, visitor_id=None, email_sha256="b" * 64)),
        ("crm-events", AT, event(event_id="e2", event_time=AT + 5, email_sha256="b" * 64, click_id="k2")),
        ("crm-events", AT, event(event_id="e1", click_id="k1", email_sha256="a" * 64)),
    )
    assert (path(row), row["layer"], row["credited_click_id"]) == (["k1"], "click_id", "k1")


def test_contacts_are_joined_in_the_device_graph() -> None:
    rows = {
        row["deal_id"]: row
        for row in matched(
            ("clicks", AT, click("k1", 10, visitor_id=None, email_sha256="a" * 64)),
            ("crm-events", AT, event(visitor_id=None, contact_id="person")),
            ("crm-events", AT, event(deal_id="d2", event_id="e2", contact_id="person", email_sha256="a" * 64)),
        )
    }
    assert (rows["d1"]["layer"], path(rows["d1"])) == ("device_graph", ["k1"])
    assert (rows["d2"]["layer"], path(rows["d2"])) == ("email", ["k1"])


def test_a_deal_links_what_conversions_are_known_by() -> None:
    store = MemoryStore()
    for topic, fields in (
        ("clicks", click("k1", 10, visitor_id=None, email_sha256="a" * 64)),
        ("conversions", {**CONVERSION, "event_time": AT}),
    ):
        records = [Record(0, AT, message(topic, fields))]
        store.add(topic, records, RETENTION)
    records = [Record(0, AT, message("crm-events", event(email_sha256="a" * 64)))]
    held = store.add("crm-events", records, RETENTION)
    [row] = attribute("crm-events", records, held, RETENTION)
    assert (row["conversion_id"], row["layer"], path(row)) == ("c1", "device_graph", ["k1"])


def test_a_deal_and_a_conversion_of_one_id_are_two() -> None:
    store = MemoryStore()
    records = [Record(0, AT, message("conversions", {**CONVERSION, "conversion_id": "d1", "event_time": AT}))]
    store.add("conversions", records, RETENTION)
    records = [Record(0, AT, message("crm-events", event()))]
    held = store.add("crm-events", records, RETENTION)
    assert attribute("crm-events", records, held, RETENTION) == []
    assert [row["deal_id"] for row in match_deals("crm-events", records, held, RETENTION)] == ["d1"]


def test_no_conversion_id_is_a_deals_name() -> None:
    with pytest.raises(UnicodeEncodeError):
        deal_name("d1").encode()


def test_a_deal_known_only_by_its_match_is_not_attributed_anew() -> None:
    """As after a rebuild, where the topic has lost the events that the match was made of."""
    store = MemoryStore()
    [match] = matched(("crm-events", AT, event()))
    late_ms = AT + 420 * DAY_MS
    for topic, fields, ingest_ms in (
        ("deal-matches", match, AT),
        ("crm-events", event(event_id="e2", event_time=late_ms), late_ms),
        ("clicks", click("k1", -420 * DAY_MS + 10), late_ms),
    ):
        records = [Record(0, ingest_ms, message(topic, fields))]
        held = store.add(topic, records, RETENTION)
        assert match_deals(topic, records, held, RETENTION) == []
    # Without the match it would have been a new deal.
    assert matched(("crm-events", late_ms, event(event_id="e2", event_time=late_ms)))


def test_a_match_that_is_read_back_behind_a_newer_one_is_followed_by_that() -> None:
    store = MemoryStore()
    arrivals = [("crm-events", event()), ("clicks", click("k1", 10))]
    rows = []
    for topic, fields in arrivals:
        records = [Record(0, AT, message(topic, fields))]
        rows += match_deals(topic, records, store.add(topic, records, RETENTION), RETENTION)
    older, newer = rows

    def read_back(*matches: Row) -> list[Row]:
        records = [Record(row, AT, message("deal-matches", match)) for row, match in enumerate(matches)]
        return match_deals("deal-matches", records, store.add("deal-matches", records, RETENTION), RETENTION)

    assert read_back(older, newer) == []
    [again] = read_back(newer, older)
    assert (again["facts_held"], path(again)) == (newer["facts_held"], ["k1"])


def test_a_deal_that_was_matched_is_left_alone_when_its_clicks_may_have_expired() -> None:
    """As where its events are replayed: the match would lose the clicks that are gone."""
    until_ms = RETENTION.held_until_ms(AT)
    records = [Record(0, AT, message("crm-events", event()))]
    store = MemoryStore()
    held = store.add("crm-events", records, RETENTION)
    assert without_past(held, until_ms + 1, RETENTION) == held, "nothing is known of it but this"
    [match] = match_deals("crm-events", records, held, RETENTION)
    store.add("deal-matches", [Record(0, AT, message("deal-matches", match))], RETENTION)
    held = store.add("crm-events", records, RETENTION)
    assert without_past(held, until_ms, RETENTION) == held
    assert without_past(held, until_ms + 1, RETENTION).conversions == []


def test_clicks_are_held_for_so_long() -> None:
    """To the one that happened first and arrived at once."""
    for first_ms in (0, 6 * DAY_MS + 1, 7 * DAY_MS - 1, 7 * DAY_MS):
        [fact, *_] = facts_of("clicks", [Record(0, 0, message("clicks", {**CLICK, "event_time": first_ms}))], RETENTION)
        assert fact.expires_at_s * 1000 >= RETENTION.held_until_ms(first_ms + LOOKBACK_S * 1000)
