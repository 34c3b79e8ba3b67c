import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from aiokafka.partitioner import DefaultPartitioner
from confluent_kafka import Producer

from schemas.client import publisher as module
from schemas.client.publisher import Publisher
from schemas.codec import Decoder
from schemas.definitions import arrow_schema, definition, without_logical_types
from schemas.errors import ContractError, DeliveryFailed, DeliveryPending, InvalidRecords
from schemas.identity import hash_identifier
from schemas.topics import topics
from streams.admin import registry
from streams.settings import Settings
from tests.schemas.client.gate import gate_to
from tests.schemas.client.test_edge import PERSON
from tests.schemas.client.topic import Tail
from tests.schemas.messages import INPUTS, NOW_MS, full_record

NOW = datetime.now(UTC).replace(microsecond=0)


def click(number: int, **change: Any) -> dict[str, Any]:
    return {
        "account_id": "acme",
        "click_id": f"k{number}",
        "event_time": NOW,
        "consent": "granted",
        "limited_data_use": False,
    } | change


@pytest.fixture
def clicks(shared_deployment: Settings) -> Tail:
    """What a test puts on the topic."""
    return Tail(shared_deployment, "clicks")


@pytest.fixture
def publisher(shared_deployment: Settings) -> Iterator[Publisher]:
    client = registry(shared_deployment)
    yield Publisher(shared_deployment.kafka.client(), client, prefix=shared_deployment.namespace)
    client.close()


def test_a_key_goes_where_the_java_client_and_aiokafka_put_it(
    shared_deployment: Settings, publisher: Publisher, clicks: Tail
) -> None:
    """Or clicks and conversions of other publishers would be on other partitions than ours."""
    records = [click(n, visitor_id=None if n % 3 else f"visitor-{n}-é") for n in range(300)]
    publisher.publish_records("clicks", records)
    publisher.flush()
    found = clicks.read()
    assert {record.key().decode() for record in found} == {r["visitor_id"] or r["click_id"] for r in records}
    partitions = list(range(shared_deployment.kafka.partitions))
    place = DefaultPartitioner()
    assert [record.partition() for record in found] == [place(record.key(), partitions, partitions) for record in found]
    assert {record.partition() for record in found} == set(partitions)


def test_what_is_framed_already_is_sent_as_it_is(shared_deployment: Settings, publisher: Publisher) -> None:
    retries = Tail(shared_deployment, "loader.retry")
    headers = [("text", b"a"), ("absent", None), ("text", b"\xff")]
    publisher.send("loader.retry", b"key", b"\x00value", headers)
    publisher.send("loader.retry", None, None)
    publisher.flush()
    found = [(record.key(), record.value(), record.headers()) for record in retries.read()]
    assert sorted(found, key=repr) == [(None, None, None), (b"key", b"\x00value", headers)]


def test_delivery_settings_are_not_for_a_caller_to_weaken(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def spy(conf: dict[str, Any]) -> Producer:
        given.update(conf)
        return Producer(conf)

    monkeypatch.setattr(module, "Producer", spy)
    weak = {"acks": 0, "enable.idempotence": False, "partitioner": "random", "linger.ms": 5}
    Publisher(settings.kafka.client() | weak, registry(settings))
    assert {name: given[name] for name in weak} == {
        "acks": "all",
        "enable.idempotence": True,
        "partitioner": "murmur2_random",
        "linger.ms": 5,
    }


def test_one_bad_record_and_nothing_is_sent(publisher: Publisher, clicks: Tail) -> None:
    bad = click(2, channel="x" * 257)
    with pytest.raises(InvalidRecords, match="record 1: field_too_long: channel is longer than 256 bytes") as found:
        publisher.publish_records("clicks", [click(1), bad, click(3, click_id=None)])
    assert [(item.row, item.error) for item in found.value.bad] == [(1, "field_too_long"), (2, "missing_field")]
    assert publisher.validate("clicks", [click(1), bad]) == found.value.bad[:1]
    with pytest.raises(InvalidRecords):
        publisher.publish("clicks", bad)
    rows = pa.Table.from_pylist([click(n, channel="x" * 257 if n == 25_000 else "x") for n in range(25_001)])
    with pytest.raises(InvalidRecords, match="record 25000: field_too_long"):
        publisher.publish_table("clicks", rows)
    publisher.flush()
    assert clicks.read() == []
    assert not publisher.dropped_fields


def test_a_record_the_broker_refuses_fails_the_flush_and_the_next_is_fine(publisher: Publisher, clicks: Tail) -> None:
    incompressible = random.Random(1).randbytes(3 << 20)
    publisher.send("clicks", b"key", incompressible)
    publisher.publish("clicks", click(1))
    with pytest.raises(DeliveryFailed, match=r"clicks: .*too large") as failed:
        publisher.flush()
    assert not isinstance(failed.value, DeliveryPending)
    publisher.publish("clicks", click(2))
    publisher.flush()
    assert sorted(record.key() for record in clicks.read()) == [b"k1", b"k2"]


def test_a_record_larger_than_any_topic_takes_fails_at_once(publisher: Publisher) -> None:
    with pytest.raises(DeliveryFailed, match="too large"):
        publisher.send("clicks", b"key", bytes(5 << 20))
    publisher.flush()


def test_a_broker_out_of_reach_is_waited_for(shared_deployment: Settings, clicks: Tail) -> None:
    kafka = shared_deployment.kafka.client()
    with gate_to(kafka["bootstrap.servers"].split(",")[0]) as gate:
        quick = {"bootstrap.servers": gate.address, "reconnect.backoff.max.ms": 200, "log_level": 0}
        publisher = Publisher(kafka | quick, registry(shared_deployment), prefix=shared_deployment.namespace)
        publisher.publish("clicks", click(1))
        with pytest.raises(DeliveryPending, match="1 records were not acknowledged"):
            publisher.flush(0.3)
        gate.open()
        publisher.flush()
        assert [record.key() for record in clicks.read()] == [b"k1"]


def test_leaving_the_block_flushes(shared_deployment: Settings, clicks: Tail) -> None:
    slow = shared_deployment.kafka.client() | {"linger.ms": 60_000}
    with Publisher(slow, registry(shared_deployment), prefix=shared_deployment.namespace) as publisher:
        publisher.publish("clicks", click(1))
    assert [record.key() for record in clicks.read()] == [b"k1"]


def test_leaving_the_block_by_an_exception_drops_what_is_not_sent(shared_deployment: Settings, clicks: Tail) -> None:
    slow = shared_deployment.kafka.client() | {"linger.ms": 60_000}
    publisher = Publisher(slow, registry(shared_deployment), prefix=shared_deployment.namespace)

    def work() -> None:
        with publisher:
            publisher.publish("clicks", click(1))
            raise KeyError

    with pytest.raises(KeyError):
        work()
    with pytest.raises(DeliveryFailed):
        publisher.flush()
    publisher.publish("clicks", click(2))
    publisher.flush()
    assert [record.key() for record in clicks.read()] == [b"k2"]


def test_a_topic_without_its_schema_says_what_to_do(settings: Settings) -> None:
    with pytest.raises(ContractError, match="run `spendloop topics apply`"):
        Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace).publish("clicks", click(1))


@pytest.mark.parametrize("contract", INPUTS)
def test_what_is_published_is_what_consumers_read(
    shared_deployment: Settings, publisher: Publisher, contract: str
) -> None:
    """By record and by table alike, byte for byte."""
    day = timedelta(days=1) // timedelta(milliseconds=1)
    shift = int(NOW.timestamp() * 1000) - NOW_MS
    records = [full_record(contract, seed) for seed in range(50)]
    for seed, record in enumerate(records):
        for name in {"event_time", "as_of"} & record.keys():
            record[name] += shift - day
        for name in {"visitor_id", "deal_id", "ad_account_id", "conversion_id"} & record.keys():
            record[name] = f"{name}-{seed % 17}"
    topic = Tail(shared_deployment, contract)
    publisher.publish_records(contract, records)
    publisher.flush()
    once = topic.read()
    plain = arrow_schema(without_logical_types(definition(contract).text))
    entries = [
        {name: list(value.items()) if isinstance(value, dict) else value for name, value in record.items()}
        for record in records
    ]
    publisher.publish_table(contract, pa.Table.from_pylist(entries, plain))
    publisher.flush()
    twice = topic.read()

    def contents(found: list[Any], partition: int) -> list[tuple[bytes, bytes]]:
        return [(record.key(), record.value()) for record in found if record.partition() == partition]

    for partition in range(shared_deployment.kafka.partitions):
        assert contents(twice, partition) == contents(once, partition) * 2
    assert len(once) == len(records)

    names = topics(shared_deployment.namespace)
    decoder = Decoder(names[contract], registry(shared_deployment), shared_deployment.event_time_bounds(contract))
    times = np.array([record.timestamp()[1] for record in once], np.int64)
    decoded = decoder.decode([record.value() for record in once], times)
    assert (decoded.bad, decoded.dropped_fields) == ([], {})
    rows = decoded.batch.cast(plain).to_pylist(maps_as_pydicts="strict")
    # The malformed ones of what Meta takes unhashed were left out.
    left_out = dict.fromkeys({"ip", "fbp", "fbc", "lead_id"} & records[0].keys())
    assert all(publisher.dropped_fields[name] == 100 for name in left_out)
    by_content = sorted(map(repr, rows))
    assert by_content == sorted(repr({name: (record | left_out)[name] for name in rows[0]}) for record in records)


def test_no_direct_identifier_is_in_any_byte_of_a_topic(
    shared_deployment: Settings, publisher: Publisher, clicks: Tail
) -> None:
    secrets = ["jo.doe@example.com", "jo.doe%40example.com", "7946", "customer-7", "jo-ann", "o'doe", "1980", "ives"]
    url = "https://jo.doe%40example.com@shop.example/u/Jo.Doe@Example.com/?first_name=Jo-Ann&phone=7946&z=1#ives"
    conversion = {
        "account_id": "acme",
        "conversion_id": "c1",
        "event_name": "Purchase",
        "event_time": int(NOW.timestamp() * 1000),
        "consent": "granted",
        "limited_data_use": False,
        "event_source_url": url,
        **PERSON,
    }
    conversions = Tail(shared_deployment, "conversions")
    publisher.publish("conversions", conversion)
    publisher.publish_table("conversions", pa.Table.from_pylist([conversion | {"conversion_id": "c2"}]))
    seen = click(1, landing_url=url, referrer=url, **{name: PERSON[name] for name in ("email", "phone", "external_id")})
    publisher.publish("clicks", seen)
    publisher.publish_table("clicks", pa.Table.from_pylist([seen | {"click_id": "k2"}]))
    publisher.flush()
    found = conversions.read() + clicks.read()
    assert len(found) == 4
    for record in found:
        everything = (record.key() + record.value() + repr(record.headers()).encode()).lower()
        assert not [secret for secret in secrets if secret.encode() in everything]
        assert str(hash_identifier("em", PERSON["email"])).encode() in everything
        assert b"/u/redacted/?first_name=redacted&phone=redacted&z=1" in everything
    for name in ("first_name", "zip", "country"):
        digest = hash_identifier({"first_name": "fn", "zip": "zp", "country": "country"}[name], PERSON[name])
        assert all(str(digest).encode() in record.value() for record in found[:2])
    assert publisher.dropped_fields == {"phone": 2}  # of the clicks, which do not say in what country
