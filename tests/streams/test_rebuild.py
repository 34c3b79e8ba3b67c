"""A role's state lost, and built anew out of its topics: the same facts, and the same results from then on."""

import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.client.publisher import Publisher
from schemas.topics import topics
from streams.admin import registry
from streams.clickhouse import connect
from streams.loader.blocks import CommitNote
from streams.offsets import Offsets
from streams.settings import Settings
from tests.integration.roles import Role, running, wait_until_attributed, wait_until_loaded

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def server(deployment: Settings) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(deployment.redis.url.get_secret_value()) as client:
        yield client


def publish(settings: Settings, visitors: range, *, clicks: int = 2, conversions: int = 1) -> None:
    fixed = {"account_id": "acme", "consent": "granted", "limited_data_use": False}
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records(
            "clicks",
            [
                # Over several buckets, some of them so old that what is held of them has long expired.
                fixed | {"click_id": f"k{n}-{m}", "visitor_id": f"v{n}", "event_time": NOW - timedelta(days=n % 80)}
                for n in visitors
                for m in range(clicks)
            ],
        )
        publisher.publish_records(
            "conversions",
            [
                fixed
                | {
                    "conversion_id": f"c{n}-{m}",
                    "visitor_id": f"v{n}",
                    "event_name": "Purchase",
                    "event_time": NOW - timedelta(days=n % 80),
                }
                for n in visitors
                for m in range(conversions)
            ],
        )


def spendloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "streams.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def state(server: redis.Redis, settings: Settings) -> dict[bytes, Any]:
    """Keys, sets of entries, expiries and fences; what is still to be settled, and until when, is not of the facts."""
    found: dict[bytes, Any] = {}
    for key in server.scan_iter(count=1000):
        prefix = f"sl:2:{{s0}}:{settings.namespace}".encode()
        if not key.startswith(prefix) or key in (prefix + b"d", prefix + b"w"):
            continue
        if server.type(key) == b"set":
            value: Any = server.smembers(key)
        else:
            # A fence before the first record says no more than none.
            fields = {field: entries for field, entries in server.hgetall(key).items() if entries != b"-1"}
            fields.pop(b"epoch", None)  # a rebuild begins another
            value = {field: sorted_entries(entries) for field, entries in fields.items()}
        found[key] = (value, server.expiretime(key))
    return found


def sorted_entries(entries: bytes) -> list[bytes]:
    found, position = [], 0
    while position + 2 <= len(entries) and b":" not in entries[:1]:
        length = int.from_bytes(entries[position : position + 2], "big")
        found.append(entries[position + 2 : position + 2 + length])
        position += 2 + length
    return sorted(found) if position == len(entries) else [entries]


def test_a_lost_state_is_refused_and_rebuilt(deployment: Settings, server: redis.Redis, tmp_path: Path) -> None:
    with running(tmp_path, "attribution") as roles:
        publish(deployment, range(300))
        wait_until_attributed(deployment, roles)
    before = state(server, deployment)
    assert any(b"}:" + deployment.namespace.encode() + b"f:" in key for key in before)
    server.delete(*before)

    refused = Role("attribution", tmp_path / "refused.log")
    assert refused.process.wait(60) == 1
    assert "spendloop rebuild attribution" in refused.log.read_text()

    done = spendloop("rebuild", "attribution", "--yes")
    assert done.returncode == 0, done.stderr
    assert "900 records read, 0 of them bad" in done.stdout
    assert state(server, deployment) == before

    with running(tmp_path, "attribution", "loader") as roles:
        publish(deployment, range(300, 310))
        publish(deployment, range(5), clicks=0, conversions=2)
        wait_until_attributed(deployment, roles)
        wait_until_loaded(deployment, roles, "attributed-conversions")
    with connect(deployment) as clickhouse:
        rows = clickhouse.query(
            "SELECT conversion_id, length(touchpoints.click_id) AS n, epoch FROM attributed_conversions FINAL"
        ).to_pylist()
    found = {row["conversion_id"]: row["n"] for row in rows}
    # Found by clicks from before the loss.
    assert [found[f"c{n}-1"] for n in range(5)] == [2] * 5
    assert len(found) == 315
    # What comes of the rebuilt state goes before what came of the one before, however many facts that had counted.
    began_ms = {row["epoch"] for row in rows if row["conversion_id"].endswith("-1")} - {0}
    assert len(began_ms) == 1
    assert {row["epoch"] for row in rows} == began_ms | {0}
    assert abs(time.time() * 1000 - began_ms.pop()) < 600_000


def test_a_log_that_ends_with_what_is_no_record_is_read_to_its_end(
    deployment: Settings, server: redis.Redis, tmp_path: Path
) -> None:
    click = {"account_id": "acme", "consent": "granted", "limited_data_use": False, "event_time": NOW}
    kafka = {**deployment.kafka.client(), "transactional.id": deployment.namespace}
    with Publisher(kafka, registry(deployment), prefix=deployment.namespace) as publisher:
        publisher._producer.init_transactions()
        publisher._producer.begin_transaction()
        publisher.publish_records("clicks", [click | {"click_id": f"k{n}", "visitor_id": f"v{n}"} for n in range(40)])
        publisher._producer.commit_transaction()
    with running(tmp_path, "attribution") as roles:
        wait_until_attributed(deployment, roles)
    before = state(server, deployment)
    server.delete(*before)

    done = spendloop("rebuild", "attribution", "--yes")
    assert done.returncode == 0, done.stderr
    assert "40 records read, 0 of them bad" in done.stdout
    assert state(server, deployment) == before


def test_a_rebuild_may_be_run_again_and_needs_the_role_to_be_stopped(
    deployment: Settings, server: redis.Redis, tmp_path: Path
) -> None:
    with running(tmp_path, "attribution") as roles:
        publish(deployment, range(50))
        wait_until_attributed(deployment, roles)
        running_refusal = spendloop("rebuild", "attribution", "--yes")
        assert running_refusal.returncode == 1
        assert "stop every" in running_refusal.stderr
    before = state(server, deployment)
    assert spendloop("rebuild", "attribution", "--yes").returncode == 0
    assert state(server, deployment) == before
    # As it is where a rebuild was broken off: facts, but no fences of the role's.
    server.rename(
        f"sl:2:{{s0}}:{deployment.namespace}f:attribution", f"sl:2:{{s0}}:{deployment.namespace}f:attribution.rebuild"
    )
    refused = Role("attribution", tmp_path / "refused.log")
    assert refused.process.wait(60) == 1
    assert spendloop("rebuild", "attribution", "--yes").returncode == 0
    assert state(server, deployment) == before


def test_redis_wiped_under_a_running_role_stops_it(deployment: Settings, server: redis.Redis, tmp_path: Path) -> None:
    with running(tmp_path, "attribution") as roles:
        publish(deployment, range(20))
        wait_until_attributed(deployment, roles)
        server.delete(*state(server, deployment))
        publish(deployment, range(20, 40))
        assert roles[0].process.wait(60) == 1
        assert "spendloop rebuild attribution" in roles[0].log.read_text()


def test_a_commit_for_another_topic_of_the_name_is_not_taken_for_a_lost_state(
    deployment: Settings, tmp_path: Path
) -> None:
    """A rebuild would pass over records that nobody has worked on."""
    publish(deployment, range(20))
    name = topics(deployment.namespace)["clicks"].name
    consumer = Consumer({**deployment.kafka.client(), "group.id": deployment.group("attribution")})
    note = CommitNote("the-topic-before").text()
    consumer.commit(offsets=[TopicPartition(name, 0, 2, note)], asynchronous=False)
    consumer.close()
    refused = Role("attribution", tmp_path / "refused.log")
    assert refused.process.wait(60) == 1
    assert "created anew" in refused.log.read_text()
    done = spendloop("rebuild", "attribution", "--yes")
    assert done.returncode == 1
    assert "created anew" in done.stderr


def test_a_deal_stays_matched_whose_events_are_gone_from_their_topic(
    deployment: Settings, server: redis.Redis, tmp_path: Path
) -> None:
    def publish_event(name: str) -> None:
        fixed = {"account_id": "acme", "consent": "granted", "limited_data_use": False, "portal_id": "p"}
        event = {"event_id": name, "deal_id": "d1", "to_stage": name, "visitor_id": "v1", "event_time": NOW}
        with Publisher(deployment.kafka.client(), registry(deployment), prefix=deployment.namespace) as publisher:
            publisher.publish_records("crm-events", [fixed | event])

    def versions() -> int:
        with Offsets(deployment) as offsets:
            return sum(offsets.ends("deal-matches").values())

    publish(deployment, range(3))
    publish_event("lead")
    with running(tmp_path, "attribution") as roles:
        wait_until_attributed(deployment, roles)
    before, published = state(server, deployment), versions()
    assert published
    assert any(key.endswith(b"4:acme:\xffd1") for key in before)
    assert spendloop("rebuild", "attribution", "--yes").returncode == 0
    assert state(server, deployment) == before

    remove_records(deployment, "crm-events")
    assert spendloop("rebuild", "attribution", "--yes").returncode == 0
    assert any(key.endswith(b"4:acme:\xffd1") for key in state(server, deployment))
    # To a state that knew nothing of the deal it would be a new one.
    publish_event("closed")
    publish(deployment, range(1, 2))
    with running(tmp_path, "attribution") as roles:
        wait_until_attributed(deployment, roles)
    assert versions() == published


def remove_records(settings: Settings, contract: str) -> None:
    """As retention does."""
    name = topics(settings.namespace)[contract].name
    with Offsets(settings) as offsets:
        ends = offsets.ends(contract)
    admin = AdminClient(settings.kafka.client())
    for future in admin.delete_records([TopicPartition(name, *end) for end in ends.items()]).values():
        future.result()
