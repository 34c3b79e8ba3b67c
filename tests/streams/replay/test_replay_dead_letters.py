"""From the dead letters back into the tables, by the loader that runs and the command as it is typed."""

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import compact, definition
from schemas.topics import topics
from streams.admin import registry
from streams.clickhouse import connect
from streams.loader.loader import Loader
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
from tests.schemas.client.topic import Tail
from tests.sinks.test_dead_letters import letters
from tests.streams.replay.commands import done, spendloop

TIMEOUT_S = 60
NOW = datetime.now(UTC).replace(microsecond=0)
OLD = NOW - timedelta(days=100)
READ = ("clicks", "conversions", "loader.retry")


def click(name: str, account: str, event_time: datetime) -> dict[str, Any]:
    fixed = {"consent": "granted", "limited_data_use": False, "email_sha256": "ab" * 32}
    return fixed | {"account_id": account, "click_id": name, "visitor_id": f"v-{name}", "event_time": event_time}


def conversion(name: str, account: str, event_time: datetime) -> dict[str, Any]:
    fixed = {"consent": "granted", "limited_data_use": False, "event_name": "Purchase"}
    return fixed | {"account_id": account, "conversion_id": name, "event_time": event_time}


def publish(settings: Settings, topic: str, records: Sequence[Mapping[str, Any]]) -> None:
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records(topic, records)


def load(loader: Loader) -> None:
    """Run it until it has committed all there is."""
    stop = threading.Event()
    timer = threading.Timer(TIMEOUT_S, stop.set)
    timer.start()
    with Offsets(load_settings()) as offsets:
        ends = {contract: offsets.ends(contract) for contract in READ}

        def is_done() -> bool:
            return all(offsets.committed("loader", contract) == ends[contract] for contract in READ)

        loader.run(lambda: stop.is_set() or is_done())
        timer.cancel()
        assert is_done()


def new_loader() -> Loader:
    return Loader(load_settings(), RoleMetrics(CollectorRegistry()))


def rows(settings: Settings, table: str, id_field: str, final: str = "FINAL") -> list[dict[str, Any]]:
    with connect(settings) as clickhouse:
        sql = f"SELECT *, {id_field} AS id FROM {table} {final} ORDER BY account_id, {id_field}"
        return clickhouse.query(sql).to_pylist()


def ids(settings: Settings, table: str, id_field: str, final: str = "FINAL") -> list[str]:
    return [row["id"] for row in rows(settings, table, id_field, final)]


def accept_older_events(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_EVENTS__MAX_AGE_D", '{"clicks": 365, "conversions": 365}')


def test_found_counted_mended_and_replayed(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    publish(deployment, "clicks", [click("good", "acme", NOW)])
    publish(deployment, "clicks", [click("old-1", "acme", OLD), click("old-2", "acme", OLD)])
    publish(deployment, "conversions", [conversion("old-3", "beta", OLD)])
    producer = Producer(deployment.kafka.client())
    producer.produce(topics(deployment.namespace)["clicks"].name, b"\x00\x00\x00\x00\x07personal", key=b"k")
    producer.flush(30)
    load(new_loader())
    assert ids(deployment, "clicks", "click_id") == ["good"]

    # What an operator sees first.
    listed = done("dlt", "list", "loader")
    assert "4 dead letters of loader" in listed
    counted = {tuple(cell.strip() for cell in line.split("│")[1:5]) for line in listed.splitlines() if "│" in line}
    assert counted == {
        ("2", "event_time_out_of_range", "clicks", "acme"),
        ("1", "event_time_out_of_range", "conversions", "beta"),
        ("1", "unknown_schema", "clicks", ""),
    }
    assert "1 dead letters" in done("dlt", "list", "loader", "--account", "beta")
    assert "3 dead letters" in done("dlt", "list", "loader", "--topic", "clicks")
    assert "1 dead letters" in done("dlt", "list", "loader", "--topic", "clicks", "--error", "unknown_schema")

    # One that it looks at closely; what is in it goes to a file alone.
    shown = done("dlt", "show", "loader", "--error", "unknown_schema")
    assert "clicks/" in shown
    assert "13 bytes" in shown
    assert "personal" not in shown
    letter_id = next(line.split()[-1] for line in shown.splitlines() if line.startswith("dead letter"))
    file = tmp_path / "original"
    done("dlt", "show", "loader", letter_id, "--raw", str(file))
    assert file.read_bytes() == b"\x00\x00\x00\x00\x07personal"
    assert file.stat().st_mode & 0o077 == 0

    # The dry run, and a refusal, publish nothing.
    retries = Tail(deployment, "loader.retry")
    selected = ("--error", "event_time_out_of_range")
    assert "3 dead letters of loader to replay" in done("dlt", "replay", "loader", *selected, "--dry-run")
    assert spendloop("dlt", "replay", "loader", *selected).exit_code == 1  # nobody to ask
    assert retries.read() == []

    # Before the cause is mended, each fails again as the same letter.
    before = {letter["dead_letter_id"] for _, letter in letters(deployment, "loader")}
    assert "3 records published" in done("dlt", "replay", "loader", *selected, "--yes")
    load(new_loader())
    failed = [letter for _, letter in letters(deployment, "loader") if letter["attempt"] == 2]
    assert len(failed) == 3
    assert {letter["dead_letter_id"] for letter in failed} < before
    assert "4 dead letters of loader, of which 3 failed again" in done("dlt", "list", "loader")

    # After it, each is processed, as if it had been the first time.
    accept_older_events(monkeypatch)
    done("dlt", "replay", "loader", *selected, "--yes")
    assert [dict(record.headers())["spendloop-attempt"] for record in retries.read()].count(b"3") == 3
    load(new_loader())
    assert ids(deployment, "clicks", "click_id", "") == ["good", "old-1", "old-2"]
    assert ids(deployment, "conversions", "conversion_id", "") == ["old-3"]
    first = rows(deployment, "clicks", "click_id"), rows(deployment, "conversions", "conversion_id")
    places = {
        (letter["partition"], letter["offset"], letter["record_time"])
        for letter in failed
        if letter["topic"].endswith("clicks")
    }
    assert {(row["kafka_partition"], row["kafka_offset"], row["ingest_time"]) for row in first[0][1:]} == places

    # Once more changes nothing.
    done("dlt", "replay", "loader", *selected, "--yes")
    load(new_loader())
    assert (rows(deployment, "clicks", "click_id"), rows(deployment, "conversions", "conversion_id")) == first


def test_a_schema_that_was_registered_too_late(deployment: Settings) -> None:
    """The records of a publisher that was deployed before its schema."""
    client = registry(deployment)
    clicks = definition("clicks")
    schema = json.loads(clicks.text)
    schema["fields"].append({"name": "seen_by", "type": ["null", "string"], "default": None})
    newer = replace(clicks, version=2, text=compact(json.dumps(schema)))
    elsewhere = f"{deployment.namespace}elsewhere-value"
    client.register(elsewhere, [newer])
    schema_id = client.schema_id(elsewhere, newer)
    published = Tail(deployment, "clicks")
    publish(deployment, "clicks", [click("c", "acme", NOW)])
    [record] = published.read()
    producer = Producer({**deployment.kafka.client(), "partitioner": "murmur2_random"})
    body = record.value()[wire.HEADER_BYTES :].replace(b"v-c", b"v-d") + b"\x00"  # seen_by is null
    producer.produce(record.topic(), wire.frame(schema_id, body), key=b"v-d")
    producer.flush(30)
    load(new_loader())
    assert "unknown_schema" in done("dlt", "list", "loader")
    client.register(topics(deployment.namespace)["clicks"].subject, [newer])
    done("dlt", "replay", "loader", "--yes")
    load(new_loader())
    # The visitor is another, the click the same: the newer record of it counts.
    assert [row["visitor_id"] for row in rows(deployment, "clicks", "click_id")] == ["v-d"]


class Crash(Exception):
    """Stands for the process dying here."""


def test_a_crash_between_the_tables_of_a_block_doubles_no_row(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [f"old-{number}" for number in range(40)]
    publish(deployment, "clicks", [click(name, "acme", OLD) for name in old])
    publish(deployment, "conversions", [conversion(name, "acme", OLD) for name in old])
    load(new_loader())
    accept_older_events(monkeypatch)
    done("dlt", "replay", "loader", "--yes")
    loader = new_loader()
    insert, tables = loader._insert, []

    def dying(topic: str, block: Any, table: str, *rest: Any) -> None:
        if tables:
            raise Crash
        insert(topic, block, table, *rest)
        tables.append(table)

    monkeypatch.setattr(loader, "_insert", dying)
    with pytest.raises(Crash):
        loader.run(lambda: False)
    assert tables in (["clicks"], ["conversions"])
    load(new_loader())
    assert ids(deployment, "clicks", "click_id", "") == sorted(old)
    assert ids(deployment, "conversions", "conversion_id", "") == sorted(old)


def test_what_is_no_retry_is_a_dead_letter_that_cannot_be_replayed(deployment: Settings) -> None:
    producer = Producer(deployment.kafka.client())
    name = topics(deployment.namespace)["loader.retry"].name
    producer.produce(name, b"value", key=b"k", headers=[("spendloop-origin-topic", b"clicks")])
    producer.produce(name, None)
    producer.flush(30)
    load(new_loader())
    listed = done("dlt", "list", "loader")
    assert "2 dead letters" in listed
    assert "not_a_retry" in listed
    assert "2 cannot be replayed, being without an origin" in listed
    assert "0 dead letters of loader to replay" in done("dlt", "replay", "loader", "--yes")
