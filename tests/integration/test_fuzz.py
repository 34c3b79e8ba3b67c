"""Messages of which most are damaged: no role stops, each good one is processed, each bad one is a dead letter.

SPENDLOOP_FUZZ_MESSAGES=100000 is the long form.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import hypothesis
import numpy as np
import pytest
from confluent_kafka import Producer

from schemas import wire
from schemas.definitions import definition, encode
from schemas.topics import TOPICS, topics
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.tables import table_name
from streams.admin import registry
from streams.clickhouse import connect
from streams.demo.journeys import expand, read_paths
from streams.replay.letters import Letters
from streams.settings import Settings
from tests.crash.outcome import read_topic
from tests.integration.roles import running, wait_until_attributed, wait_until_loaded
from tests.schemas.messages import ID_FIELD, INPUTS, NOW_MS, OWN_ID, PLAIN, full_record, records
from tests.schemas.oracle import judge

MESSAGES = int(os.environ.get("SPENDLOOP_FUZZ_MESSAGES", "20000"))
#: Of each topic.
SHARES = {"clicks": 0.45, "conversions": 0.35, "crm-events": 0.1, "ad-performance": 0.1}
#: Records that Hypothesis makes up, a topic.
INVENTED = 200
READS = {"attribution": ("clicks", "conversions", "crm-events"), "loader": INPUTS}

Place = tuple[str, int, int]


class Sent(NamedTuple):
    """A message as it is on its topic, and the record it holds; None where it holds none."""

    value: bytes | None
    record: Mapping[str, Any] | None


def test_damaged_messages_stop_nothing_and_hide_nothing(
    deployment: Settings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    ids = schema_ids(deployment)
    publish(deployment, ids)
    with running(tmp_path_factory.mktemp("roles"), "attribution", "loader") as roles:
        wait_until_attributed(deployment, roles)
        wait_until_loaded(deployment, roles, *INPUTS, "attributed-conversions")

    sent = {contract: read_back(deployment, contract, ids[contract]) for contract in INPUTS}
    shares = {contract: np.mean([found.record is not None for found in sent[contract].values()]) for contract in INPUTS}
    assert all(0.25 < share < 0.75 for share in shares.values()), shares
    for role, contracts in READS.items():
        bad = {place: found.value for name in contracts for place, found in sent[name].items() if found.record is None}
        assert read_letters(deployment, role) == bad
    with connect(deployment) as clickhouse:
        for contract in INPUTS:
            assert loaded_ids(clickhouse, contract, contract) == good_ids(contract, sent[contract].values())
        attributed = loaded_ids(clickhouse, "attributed-conversions", "conversions")
    assert attributed == good_ids("conversions", sent["conversions"].values())


def loaded_ids(clickhouse: ClickHouse, table: str, contract: str) -> set[tuple[str, str]]:
    """Tenant and id of each row of a table."""
    rows = clickhouse.query(f"SELECT account_id, {ID_FIELD[contract]} FROM {table_name(table)} FINAL")
    return set(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def good_ids(contract: str, messages: Iterable[Sent]) -> set[tuple[str, str]]:
    """Tenant and id of each good record."""
    records = (message.record for message in messages if message.record is not None)
    return {(record["account_id"], record[ID_FIELD[contract]]) for record in records}


def publish(settings: Settings, ids: Mapping[str, int]) -> None:
    """All messages, in no order."""
    random = np.random.default_rng(7)
    producer = Producer({**settings.kafka.client(), "partitioner": "murmur2_random", "linger.ms": 20})
    originals = {
        contract: [
            wire.frame(ids[contract], encode(PLAIN[contract], record))
            for record in [*real_records(contract), *invented_records(contract)]
        ]
        for contract in INPUTS
    }
    everything = [message for messages in originals.values() for message in messages]
    for contract in random.choice(INPUTS, MESSAGES, p=[SHARES[name] for name in INPUTS]):
        messages = originals[contract]
        value = messages[random.integers(len(messages))]
        if random.random() < 0.6:
            value = damaged(value, everything[random.integers(len(everything))], random)
        producer.produce(topics(settings.namespace)[contract].name, value, key=str(random.integers(1000)).encode())
        producer.poll(0)
    assert producer.flush(60) == 0


def damaged(message: bytes, other: bytes, random: np.random.Generator) -> bytes | None:
    """Some bits flipped, or a part of it, which may be its header, its tail or its end, replaced."""
    if random.random() < 0.05:
        return None
    content = bytearray(message)
    if random.random() < 0.4:
        for _ in range(random.integers(1, 9)):
            content[random.integers(len(content))] ^= 1 << int(random.integers(8))
        return bytes(content)
    size = len(content)
    cut, end = sorted(random.integers(0, size + 1, 2).tolist())
    first, last = ((cut, end), (cut, size), (size, size), (0, wire.HEADER_BYTES))[random.integers(4)]
    part = bytes(content[first:last])
    noise = random.bytes(int(random.integers(1, 20)))
    content[first:last] = (b"", part * 2, other[first:last], noise, random.bytes(len(part)))[random.integers(5)]
    return bytes(content)


def real_records(contract: str) -> Sequence[Mapping[str, Any]]:
    """Of the demo's journeys, and where they have none of a topic, records with every field given."""
    if contract not in ("clicks", "conversions"):
        return [of_today(contract, full_record(contract, seed)) for seed in range(1000)]
    clicks, conversions = expand(read_paths(), (datetime.now(UTC) - timedelta(days=1)).date())
    table = (clicks if contract == "clicks" else conversions).slice(0, 5000)
    rows = table.set_column(
        table.schema.get_field_index("event_time"), "event_time", table.column("event_time").cast("int64")
    ).to_pylist()
    return [{**definition(contract).defaults, **row} for row in rows]


def invented_records(contract: str) -> Sequence[Mapping[str, Any]]:
    """What no person would think of: any record that breaks no rule, of the same age as if now were its time."""
    found: list[Mapping[str, Any]] = []

    @hypothesis.settings(max_examples=INVENTED, database=None, derandomize=True)
    @hypothesis.given(records(contract))
    def collect(record: Mapping[str, Any]) -> None:
        found.append(of_today(contract, record))

    collect()
    return found


def of_today(contract: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """A made-up record as if now were its time."""
    field = TOPICS[contract].event_time
    assert field
    return {**record, field: record[field] - NOW_MS + int(datetime.now(UTC).timestamp() * 1000)}


def schema_ids(settings: Settings) -> Mapping[str, int]:
    client = registry(settings)
    names = topics(settings.namespace)
    return {contract: client.schema_id(names[contract].subject, definition(contract)) for contract in INPUTS}


def read_back(settings: Settings, contract: str, schema_id: int) -> Mapping[Place, Sent]:
    """Each message of a topic by its place, judged the slow way."""
    found = {}
    own, real = wire.header(OWN_ID[contract]), wire.header(schema_id)
    bounds = settings.event_time_bounds(contract)
    assert bounds
    for message in read_topic(settings, contract):
        value = message.value()
        judged = own + value[len(real) :] if value and value.startswith(real) else None
        record = judge(contract, judged, message.timestamp()[1], bounds)
        found[contract, message.partition(), message.offset()] = Sent(value, record)
    return found


def read_letters(settings: Settings, role: str) -> Mapping[Place, bytes | None]:
    """The original of each dead letter by its place."""
    found = {}
    with Letters(settings, role) as letters:
        index = letters.index()
        assert not letters.unreadable
        for letter in letters.fetch(index):
            fields = letter.fields
            contract = fields["topic"].removeprefix(settings.namespace)
            found[contract, fields["partition"], fields["offset"]] = fields["value"]
    assert len(found) == index.num_rows
    return found
