"""Ten kinds of bad message in every input topic: each in the dead letters with its bytes, every good one processed."""

import io
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import numpy as np
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import definition, parse
from schemas.topics import topics
from sinks.clickhouse.tables import table_name
from streams.admin import registry, topic_ids
from streams.clickhouse import connect
from streams.settings import Settings
from tests.integration.roles import Role, running, wait_until_attributed, wait_until_loaded

GOOD = 40
INPUTS = {
    "clicks": ("click_id", "event_time"),
    "conversions": ("conversion_id", "event_time"),
    "crm-events": ("event_id", "event_time"),
    "ad-performance": ("ad_id", "as_of"),
}
BOUNDED = {
    "clicks": "channel",
    "conversions": "order_id",
    "crm-events": "close_reason",
    "ad-performance": "campaign_id",
}
NOW = datetime.now(UTC).replace(microsecond=0)


def record(contract: str, name: str) -> dict[str, Any]:
    """A good record; `name` makes it unlike the others."""
    base: dict[str, Any] = dict(definition(contract).defaults) | {"account_id": "acme"}
    base |= {"consent": "granted", "limited_data_use": False, "event_time": NOW}
    base |= {"click_id": name, "conversion_id": name, "event_id": name, "ad_id": name, "visitor_id": name}
    base |= {"event_name": "Purchase", "portal_id": "p", "deal_id": "d", "to_stage": "won", "ad_account_id": "1"}
    base |= {"day": NOW.date(), "time_zone": "UTC", "as_of": NOW, "spend_micros": 1, "currency": "EUR"}
    base |= {"impressions": 2, "clicks": 1}
    known = {field["name"] for field in definition(contract).fields}
    return {field: value for field, value in base.items() if field in known}


def encode(contract: str, value: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, parse(definition(contract).text), value)
    return stream.getvalue()


def bad_messages(contract: str, ids: Mapping[str, int]) -> dict[str, bytes | None]:
    """By kind, with the error that must be named."""
    id_field, time_field = INPUTS[contract]
    own = ids[contract]
    body = encode(contract, record(contract, "spoilt"))
    other = "conversions" if contract != "conversions" else "clicks"
    return {
        "empty/empty": b"",
        "null/empty": None,
        "short/too_short": wire.header(own),
        "wrong magic/wrong_magic": b"\x01" + struct.pack(">I", own) + body,
        "unknown schema/unknown_schema": wire.frame(987_654, body),
        "truncated/undecodable": wire.frame(own, body[:-3]),
        "trailing bytes/trailing_bytes": wire.frame(own, body + b"\x00"),
        "another schema/unknown_schema": wire.frame(ids[other], encode(other, record(other, "foreign"))),
        "null id/missing_id": wire.frame(own, encode(contract, record(contract, "x") | {id_field: ""})),
        "1970/event_time_out_of_range": wire.frame(
            own, encode(contract, record(contract, "x") | {time_field: datetime(1970, 1, 2, tzinfo=UTC)})
        ),
        "2100/event_time_out_of_range": wire.frame(
            own, encode(contract, record(contract, "x") | {time_field: datetime(2100, 1, 1, tzinfo=UTC)})
        ),
        "1 MB/field_too_long": wire.frame(
            own, encode(contract, record(contract, "x") | {BOUNDED[contract]: "x" * 1_000_000})
        ),
    }


@pytest.fixture(scope="module")
def roles(shared_deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Role]]:
    with running(tmp_path_factory.mktemp("roles"), "attribution", "loader") as roles:
        yield roles


def test_every_bad_message_is_a_dead_letter_and_every_good_one_is_processed(
    shared_deployment: Settings, roles: list[Role]
) -> None:
    settings = shared_deployment
    names = topics(settings.namespace)
    client = registry(settings)
    ids = {name: client.schema_id(names[name].subject, definition(name)) for name in INPUTS}
    producer = Producer({**settings.kafka.client(), "partitioner": "murmur2_random", "message.max.bytes": 4 << 20})
    random = np.random.default_rng(5)
    for contract in INPUTS:
        good = [("", wire.frame(ids[contract], encode(contract, record(contract, f"g{n}")))) for n in range(GOOD)]
        mixed = good + list(bad_messages(contract, ids).items())
        for index in random.permutation(len(mixed)):
            kind, value = mixed[index]
            headers = [("kind", kind.encode()), ("nothing", None), ("bytes", b"\x00\xff")]
            producer.produce(names[contract].name, value, key=f"key-{index}".encode(), headers=headers)
    assert producer.flush(30) == 0

    wait_until_attributed(settings, roles)
    wait_until_loaded(settings, roles, *INPUTS, "attributed-conversions")
    for role, contracts in {"attribution": ("clicks", "conversions", "crm-events"), "loader": tuple(INPUTS)}.items():
        letters = read_letters(settings, role)
        for contract in contracts:
            found = {dict(letter["kind"])["kind"]: letter for letter in letters if letter["contract"] == contract}
            assert found.keys() == bad_messages(contract, ids).keys(), (role, contract)
            for kind, value in bad_messages(contract, ids).items():
                assert_is_original(settings, found[kind], role, contract, kind, value)
    with connect(settings) as clickhouse:
        for contract, (id_field, _) in INPUTS.items():
            rows = clickhouse.query(f"SELECT {id_field} AS id FROM {table_name(contract)} FINAL").to_pylist()
            assert sorted(row["id"] for row in rows) == sorted(f"g{n}" for n in range(GOOD)), contract
        attributed = clickhouse.query("SELECT conversion_id, layer FROM attributed_conversions FINAL").to_pylist()
    # Each good conversion has the visitor_id and the click_id of the good click of its number.
    assert {row["conversion_id"]: row["layer"] for row in attributed} == {f"g{n}": "click_id" for n in range(GOOD)}


def test_conversions_older_than_facts_are_held_go_through(shared_deployment: Settings, roles: list[Role]) -> None:
    with Publisher(
        shared_deployment.kafka.client(), registry(shared_deployment), prefix=shared_deployment.namespace
    ) as publisher:
        for age_d in (1, 30, 55, 89):
            event_time = NOW - timedelta(days=age_d)
            publisher.publish("conversions", record("conversions", f"old-{age_d}") | {"event_time": event_time})
    wait_until_attributed(shared_deployment, roles)
    wait_until_loaded(shared_deployment, roles, "attributed-conversions")
    with connect(shared_deployment) as clickhouse:
        found = clickhouse.query(
            "SELECT conversion_id FROM attributed_conversions FINAL WHERE conversion_id LIKE 'old-%'"
        ).column("conversion_id")
    assert sorted(found.to_pylist()) == ["old-1", "old-30", "old-55", "old-89"]


def assert_is_original(
    settings: Settings, letter: Mapping[str, Any], role: str, contract: str, kind: str, value: bytes | None
) -> None:
    name = topics(settings.namespace)[contract].name
    assert letter["role"] == role
    assert letter["error_class"] == kind.rpartition("/")[2], kind
    assert letter["value"] == value, kind
    original = read_one(settings, name, letter["partition"], letter["offset"])
    assert letter["key"] == original.key()
    assert [(header["key"], header["value"]) for header in letter["headers"]] == original.headers()
    assert letter["topic"] == name
    assert letter["topic_id"] == topic_ids(settings.kafka.client(), [name])[name]
    assert letter["record_time"].timestamp() * 1000 == pytest.approx(original.timestamp()[1])
    # 1 MB of x is in the value alone.
    assert len(letter["error_message"]) < 300


def read_letters(settings: Settings, role: str) -> list[dict[str, Any]]:
    """All dead letters of a role, each with the contract of its topic and the header that names its kind."""
    name = topics(settings.namespace)[f"{role}.dlt"].name
    letters = []
    for partition in range(settings.kafka.partitions):
        consumer = reader(settings)
        tp = TopicPartition(name, partition, 0)
        consumer.assign([tp])
        _, end = consumer.get_watermark_offsets(tp, 30)
        while sum(letter["at"] == partition for letter in letters) < end:
            message = consumer.poll(30)
            assert message is not None
            assert not message.error(), message.error()
            letter = fastavro.schemaless_reader(
                io.BytesIO(message.value()[wire.HEADER_BYTES :]), parse(definition("dead-letters").text), None
            )
            assert isinstance(letter, dict)
            kind = [(header["key"], (header["value"] or b"").decode(errors="ignore")) for header in letter["headers"]]
            contract = letter["topic"].removeprefix(settings.namespace)
            letters.append(letter | {"at": partition, "kind": kind, "contract": contract})
        consumer.close()
    return letters


def read_one(settings: Settings, name: str, partition: int, offset: int) -> Any:
    consumer = reader(settings)
    consumer.assign([TopicPartition(name, partition, offset)])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.offset() == offset
    return message


def reader(settings: Settings) -> Consumer:
    return Consumer({**settings.kafka.client(), "group.id": "reader", "enable.auto.commit": False})
