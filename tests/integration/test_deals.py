"""Deals on the real stack: what led to them, and what has become of them when their clicks have long gone."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from confluent_kafka import Producer

from schemas.client.publisher import Publisher
from schemas.topics import topics
from streams.admin import registry
from streams.clickhouse import connect
from streams.offsets import Offsets
from streams.settings import Settings
from tests.crash.dealt import ending_outdated
from tests.crash.outcome import read_topic
from tests.integration.roles import Role, running, wait_until_attributed, wait_until_loaded
from tests.streams.loader.test_loader import recreate
from tests.streams.replay.commands import done

NOW = datetime.now(UTC).replace(microsecond=0)
FIXED = {"account_id": "acme", "consent": "granted", "limited_data_use": False}
Row = dict[str, Any]


def click(name: str, days: float, **fields: Any) -> Row:
    given = {"click_id": name, "visitor_id": "v1", "ad_id": f"ad-{name}", "event_time": NOW - timedelta(days=days)}
    return {**FIXED, **given, **fields}


def event(name: str, days: float, stage: str = "lead", deal: str = "d1", **fields: Any) -> Row:
    given = {"event_id": name, "portal_id": "p", "deal_id": deal, "to_stage": stage, "visitor_id": "v1"}
    return {**FIXED, **given, "event_time": NOW - timedelta(days=days), **fields}


def publish(settings: Settings, topic: str, *records: Row) -> None:
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records(topic, records)


def matches(settings: Settings) -> dict[str, Mapping[str, Any]]:
    sql = "SELECT deal_id, layer, facts_held, touchpoints.click_id AS path FROM deal_matches FINAL"
    with connect(settings) as clickhouse:
        return {row["deal_id"]: row for row in clickhouse.query(sql).to_pylist()}


def value_by_ad(settings: Settings) -> dict[tuple[str, str], Decimal]:
    sql = "SELECT ad_id, outcome, sum(value) AS value FROM deals_by_ad WHERE model = 'linear' GROUP BY ad_id, outcome"
    with connect(settings) as clickhouse:
        return {(row["ad_id"], row["outcome"]): row["value"] for row in clickhouse.query(sql).to_pylist()}


def worked_through(settings: Settings, roles: list[Role]) -> None:
    wait_until_attributed(settings, roles)
    wait_until_loaded(settings, roles, "crm-events", "deal-matches")


@pytest.fixture
def server(deployment: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(deployment.redis.url.get_secret_value()) as client:
        yield client


def test_a_deal_keeps_its_ads_when_their_clicks_have_expired(
    deployment: Settings, server: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    created = {"lead_created_time": NOW - timedelta(days=12)}
    with running(tmp_path, "attribution", "loader") as roles:
        publish(deployment, "clicks", click("k1", 15), click("k2", 13), click("k3", 11))
        wait_until_attributed(deployment, roles)
        publish(deployment, "crm-events", event("e1", 12, amount_micros=30_000_000, currency="EUR", **created))
        worked_through(deployment, roles)
        before = matches(deployment)
        assert (before["d1"]["layer"], list(before["d1"]["path"])) == ("visitor_id", ["k1", "k2"])
        assert value_by_ad(deployment) == {("ad-k1", "open"): 15, ("ad-k2", "open"): 15}

    touchpoints = list(server.scan_iter(f"sl:2:{{s0}}:{deployment.namespace}t:*"))
    assert server.delete(*touchpoints) == len(touchpoints) > 0
    # From now on the deal is as frozen as if weeks had passed.
    monkeypatch.setenv("SPENDLOOP_ATTRIBUTION__LATENESS_D", "1")
    with running(tmp_path, "attribution", "loader") as roles:
        won = {"outcome": "won", "amount_micros": 100_000_001, "currency": "EUR"}
        publish(deployment, "crm-events", event("e2", 0, "closed", **won), event("e2", 0, "closed", **won))
        worked_through(deployment, roles)
        # Nor is anything said anew where all of it is replayed.
        for topic in ("crm-events", "deal-matches"):
            done("replay", topic, "--from", "2020-01-01T00:00Z", "--role", "attribution", "--yes")
        worked_through(deployment, roles)
    assert matches(deployment) == before
    assert len(read_topic(deployment, "deal-matches")) == 1
    assert sorted(value_by_ad(deployment).items()) == [
        (("ad-k1", "won"), Decimal("50.000000")),
        (("ad-k2", "won"), Decimal("50.000001")),
    ]


def test_what_comes_later_re_attributes_a_deal(deployment: Settings, tmp_path: Path) -> None:
    address = {"visitor_id": None, "email_sha256": "a" * 64}
    with running(tmp_path, "attribution", "loader") as roles:
        publish(deployment, "crm-events", event("e1", 2), event("other", 2, deal="d2", visitor_id=None))
        worked_through(deployment, roles)
        assert {name: row["layer"] for name, row in matches(deployment).items()} == {"d1": "none", "d2": "none"}
        # A click of the visitor's, one that only an address leads to, and an event that gives the address.
        publish(deployment, "clicks", click("k1", 3), click("k2", 4, **address))
        worked_through(deployment, roles)
        assert list(matches(deployment)["d1"]["path"]) == ["k1"]
        publish(deployment, "crm-events", event("e2", 1, "talk", **address))
        worked_through(deployment, roles)
    assert list(matches(deployment)["d1"]["path"]) == ["k2", "k1"]
    assert matches(deployment)["d2"]["layer"] == "none"


@pytest.mark.parametrize("seed", [1, 2])
def test_random_interleavings_with_duplicates(deployment: Settings, tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    visitors = range(60)
    clicks = [click(f"k{n}-{m}", 3 + m, visitor_id=f"v{n}") for n in visitors for m in range(n % 4)]
    events = [
        event(f"e{n}-{m}", 2 - m, ("lead", "talk", "closed")[m], f"d{n}", visitor_id=f"v{n}" if m == n % 2 else None)
        for n in visitors
        for m in range(1 + n % 3)
    ]
    pieces = [
        (topic, [records[place] for place in part])
        for topic, records in (("clicks", clicks), ("crm-events", events))
        for part in np.array_split(random.permutation(len(records)), 8)
    ]
    pieces += [pieces[place] for place in random.integers(0, len(pieces), 4)]
    with running(tmp_path, "attribution", "attribution", "loader") as roles:
        for place in random.permutation(len(pieces)):
            publish(deployment, pieces[place][0], *pieces[place][1])
        worked_through(deployment, roles)
    # The visitor is known where there is an event that names it.
    known = {n: n % 4 if n % 2 < 1 + n % 3 else 0 for n in visitors}
    assert {name: list(row["path"]) for name, row in matches(deployment).items()} == {
        f"d{n}": [f"k{n}-{m}" for m in reversed(range(known[n]))] for n in visitors
    }
    assert ending_outdated(deployment) == {}


@pytest.mark.parametrize("topic", ["crm-events", "deal-matches"])
def test_a_topic_created_anew_is_accepted(deployment: Settings, tmp_path: Path, topic: str) -> None:
    with running(tmp_path, "attribution", "loader") as roles:
        publish(deployment, "clicks", click("k1", 3))
        publish(deployment, "crm-events", event("e1", 2))
        worked_through(deployment, roles)
        recreate(deployment, topics(deployment.namespace)[topic].name)
        assert roles[0].process.wait(120) == 1
        assert "`spendloop topics accept`" in roles[0].log.read_text()
    done("topics", "accept", topic, "--yes")
    with running(tmp_path, "attribution", "loader") as roles:
        publish(deployment, "clicks", click("k2", 2.5))
        publish(deployment, "crm-events", event("e2", 2, deal="d2"))
        worked_through(deployment, roles)
    assert {name: list(row["path"]) for name, row in matches(deployment).items()} == {
        "d1": ["k1", "k2"],
        "d2": ["k1", "k2"],
    }


def test_a_match_that_cannot_be_read_is_a_dead_letter(deployment: Settings, tmp_path: Path) -> None:
    producer = Producer(deployment.kafka.client())
    producer.produce(topics(deployment.namespace)["deal-matches"].name, b"no record", key=b"d1")
    assert producer.flush(30) == 0
    with running(tmp_path, "attribution", "loader") as roles:
        worked_through(deployment, roles)
    with Offsets(deployment) as offsets:
        letters = {role: sum(offsets.ends(f"{role}.dlt").values()) for role in ("attribution", "loader")}
    assert letters == {"attribution": 1, "loader": 1}
