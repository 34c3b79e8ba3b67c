"""The real stack: one start, shared by the tests that leave it running; the test of a restart comes last."""

import gzip
import io
import os
import socket
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import clickhouse_connect
import lz4.frame
import psutil
import pyarrow as pa
import pytest
import redis
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, ResourceType
from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaRegistryClient,
    ServerConfig,
)
from confluent_kafka.schema_registry.error import SchemaRegistryError

from deploy.local.kafka import Kafka
from deploy.local.stack import LocalStack, StackError, read_state

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CREATE_EVENTS = (
    "CREATE TABLE events (id UInt64, name LowCardinality(String)) ENGINE = MergeTree ORDER BY id "
    "SETTINGS non_replicated_deduplication_window = 100"
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        stack.up(print)
        yield stack
    finally:
        stack.down(wipe=True)


def clickhouse(stack: LocalStack, database: str = "default") -> Client:
    port = read_state(stack.directory).ports["clickhouse"]
    return clickhouse_connect.get_client(host="127.0.0.1", port=port, database=database)


@pytest.fixture
def database(stack: LocalStack, request: pytest.FixtureRequest) -> Iterator[Client]:
    name = request.node.name
    clickhouse(stack).command(f"CREATE DATABASE {name}")
    client = clickhouse(stack, name)
    client.command(CREATE_EVENTS)
    yield client
    clickhouse(stack).command(f"DROP DATABASE {name}")


def events(count: int) -> pa.Table:
    return pa.table({"id": pa.array(range(count), pa.uint64()), "name": [f"n{i % 10}" for i in range(count)]})


def pids(stack: LocalStack) -> dict[str, int | None]:
    return {service.name: service.pid for service in stack.status()}


# The four servers


def test_a_cluster_id_may_begin_with_a_dash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(bytes=b"\xf8" + bytes(15)))
    Kafka(tmp_path, {"kafka": 1, "kafka-controller": 2}).command(print)
    assert "cluster.id=-" in (tmp_path / "log" / "meta.properties").read_text()


def test_all_are_healthy_and_where_they_say(stack: LocalStack) -> None:
    assert {service.name: service.health for service in stack.status()} == dict.fromkeys(
        ("kafka", "registry", "redis", "clickhouse"), "healthy"
    )
    assert {service.name: service.address for service in stack.status()} == stack.addresses()
    assert all(service.data and service.data.is_dir() and service.log.is_file() for service in stack.status())


def test_kafka_takes_large_records_and_creates_no_topics_by_itself(stack: LocalStack) -> None:
    address = {"bootstrap.servers": stack.addresses()["kafka"]}
    admin = AdminClient(address)
    admin.create_topics([NewTopic("large", 1, 1)])["large"].result(10)
    producer = Producer(address | {"message.max.bytes": 4_000_000})
    failures: list[object] = []
    producer.produce("large", os.urandom(3_000_000), on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(10) == 0
    assert failures == [None]
    assert admin.list_topics("typo", timeout=5).topics["typo"].error is not None
    resource = ConfigResource(ResourceType.BROKER, "1")
    settings = admin.describe_configs([resource])[resource].result(10)
    assert settings["auto.create.topics.enable"].value == "false"
    assert settings["message.max.bytes"].value == "4194304"


def test_registry_refuses_incompatible_schemas(stack: LocalStack) -> None:
    registry = SchemaRegistryClient({"url": stack.addresses()["registry"]})
    registry.set_config("r-value", ServerConfig(compatibility=ConfigCompatibilityLevel.FULL_TRANSITIVE))
    registry.register_schema("r-value", Schema('{"type":"record","name":"r","fields":[]}', "AVRO"))
    stricter = Schema('{"type":"record","name":"r","fields":[{"name":"a","type":"int"}]}', "AVRO")
    with pytest.raises(SchemaRegistryError):
        registry.register_schema("r-value", stricter)


def test_redis_has_its_durability(stack: LocalStack) -> None:
    client = redis.Redis.from_url(stack.addresses()["redis"])
    found = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "save", "maxmemory-policy")}
    assert found == {
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
    }


def test_everything_listens_on_loopback_only(stack: LocalStack) -> None:
    listening = {
        (service.name, connection.laddr.ip.removeprefix("::ffff:"))
        for service in stack.status()
        for connection in psutil.Process(service.pid).net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {(service.name, "127.0.0.1") for service in stack.status()}


def test_up_again_and_at_once_starts_nothing_twice(stack: LocalStack) -> None:
    before = pids(stack)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda _: LocalStack(stack.directory).up(print), range(2)))
    assert pids(stack) == before


# ClickHouse's endpoint


def test_an_insert_is_deduplicated_by_its_token(database: Client) -> None:
    for token in ("a", "a", "b"):
        database.insert_arrow("events", events(100_000), settings={"insert_deduplication_token": token})
    assert database.query("SELECT count() FROM events").result_rows == [(200_000,)]
    assert database.query_df("SELECT name, count() AS c FROM events GROUP BY name").shape == (10, 2)
    assert database.query_arrow("SELECT * FROM events").num_rows == 200_000


@pytest.mark.parametrize(
    ("encoding", "compress"),
    [(None, bytes), ("gzip", gzip.compress), ("lz4", lz4.frame.compress), ("zstd", zstd.compress)],
)
def test_compressed_bodies(stack: LocalStack, encoding: str | None, compress: Callable[[bytes], bytes]) -> None:
    client = clickhouse(stack)
    client.command("CREATE OR REPLACE TABLE compressed (id UInt64) ENGINE = Memory")
    body = compress(b"".join(b"%d\n" % number for number in range(1000)))
    assert client.raw_insert("compressed", ["id"], body, fmt="CSV", compression=encoding).written_rows == 1000


def test_a_damaged_body_is_refused(stack: LocalStack) -> None:
    client = clickhouse(stack)
    with pytest.raises(DatabaseError, match="CANNOT_DECOMPRESS"):
        client.raw_insert("compressed", ["id"], b"not lz4", fmt="CSV", compression="lz4")


@pytest.mark.parametrize("form", ["ArrowStream", "Avro", "Native", "Parquet"])
def test_what_a_format_gives_it_takes_back(stack: LocalStack, form: str) -> None:
    client = clickhouse(stack)
    client.command("CREATE OR REPLACE TABLE formats (id UInt64, name String) ENGINE = Memory")
    block = client.raw_query("SELECT number AS id, toString(number) AS name FROM numbers(5)", fmt=form)
    client.raw_insert("formats", ["id", "name"], block, fmt=form)
    assert client.query("SELECT sum(id), any(length(name)) FROM formats").result_rows == [(10, 1)]


def test_arrow_files_are_taken(database: Client) -> None:
    file = io.BytesIO()
    with pa.ipc.new_file(file, events(10).schema) as writer:
        writer.write_table(events(10))
    assert database.raw_insert("events", ["id", "name"], file.getvalue(), fmt="Arrow").written_rows == 10


def test_settings_hold_for_one_query(stack: LocalStack) -> None:
    client = clickhouse(stack)
    query = "SELECT getSetting('max_threads'), getSetting('insert_deduplication_token')"
    settings = {"max_threads": 7, "insert_deduplication_token": "it's"}
    before = client.query(query).result_rows
    assert client.query(query, settings=settings).result_rows == [(7, "it's")]
    assert client.query(query).result_rows == before != [(7, "it's")]


def test_parameters_are_bound_by_the_server(stack: LocalStack) -> None:
    values = {"n": 3, "s": "it's\n\t\\", "l": ["a'", "b"]}
    query = "SELECT {n:UInt8}, {s:String}, {l:Array(String)}"
    assert clickhouse(stack).query(query, parameters=values).result_rows == [(3, "it's\n\t\\", ["a'", "b"])]


@pytest.mark.parametrize(
    ("query", "code", "status"),
    [
        ("SELECT * FROM nowhere", 60, 404),
        ("SELECTED 1", 62, 400),
        ("SELECT throwIf(1)", 395, 500),
        ("INSERT INTO system.one FORMAT CSV\n1", 48, 501),
    ],
)
def test_errors_are_clickhouses(stack: LocalStack, query: str, code: int, status: int) -> None:
    client = clickhouse(stack)
    with pytest.raises(DatabaseError, match=rf"Code: {code}\. DB::Exception") as raised:
        client.command(query)
    assert raised.value.code == code
    connection = HTTPConnection("127.0.0.1", read_state(stack.directory).ports["clickhouse"])
    connection.request("POST", "/", query)
    answer = connection.getresponse()
    assert (answer.status, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))


def test_rows_that_a_constraint_or_a_view_refuses_are_an_error(database: Client) -> None:
    database.command("CREATE TABLE guarded (id Int64, CONSTRAINT one CHECK id != 1) ENGINE = MergeTree ORDER BY id")
    view = "CREATE MATERIALIZED VIEW guard (id Int64) ENGINE = Null AS SELECT id FROM guarded WHERE NOT throwIf(id = 2)"
    database.command(view)
    for row, error in (1, "VIOLATED_CONSTRAINT"), (2, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"):
        with pytest.raises(DatabaseError, match=error):
            database.raw_insert("guarded", ["id"], b"%d\n" % row, fmt="CSV")
    database.raw_insert("guarded", ["id"], b"3\n", fmt="CSV")
    assert (3,) in database.query("SELECT id FROM guarded").result_rows
    assert (1,) not in database.query("SELECT id FROM guarded").result_rows


def test_a_long_query_does_not_hold_up_an_insert(stack: LocalStack, database: Client) -> None:
    analyst = clickhouse(stack)
    long_query = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(sipHash64(number))"
    limit = {"max_execution_time": 2}

    def analyse() -> None:
        with pytest.raises(DatabaseError, match="TIMEOUT_EXCEEDED"):
            analyst.query(long_query, settings=limit)

    with ThreadPoolExecutor(1) as pool:
        analysis = pool.submit(analyse)
        time.sleep(0.3)
        database.insert_arrow("events", events(1000))
        assert database.query("SELECT count() FROM events").result_rows == [(1000,)]
        assert not analysis.done()
        analysis.result()


def test_data_survives_a_killed_endpoint(stack: LocalStack, database: Client) -> None:
    database.insert_arrow("events", events(1000))
    before = pids(stack)
    psutil.Process(before["clickhouse"]).kill()
    wait_for(lambda: health(stack, "clickhouse") == "dead")
    stack.up(print)
    assert database.query("SELECT count() FROM events").result_rows == [(1000,)]
    after = pids(stack)
    assert after.pop("clickhouse") != before.pop("clickhouse")
    assert after == before


# The project's own processes


def test_a_role_is_run_shown_and_left_alone(stack: LocalStack) -> None:
    marker = stack.directory / "ready"
    script = "import os, pathlib, time; pathlib.Path(os.environ['MARKER']).touch(); time.sleep(60)"
    argv = [sys.executable, "-c", script]
    environment = {"MARKER": str(marker)}
    started = stack.start_process("worker", argv, env=environment, is_healthy=marker.exists, timeout_s=10)
    again = stack.start_process("worker", argv, env=environment, is_healthy=marker.exists, timeout_s=10)
    assert again.pid == started.pid
    assert health(stack, "worker") == "running"
    psutil.Process(started.pid).kill()
    wait_for(lambda: health(stack, "worker") == "dead")


def test_a_role_that_fails_shows_its_log(stack: LocalStack) -> None:
    argv = [sys.executable, "-c", "raise SystemExit('no such topic')"]
    with pytest.raises(StackError, match=r"broken ended while starting(.|\n)*no such topic"):
        stack.start_process("broken", argv, is_healthy=lambda: False, timeout_s=10)


# Down and up


def test_down_ends_all_and_up_brings_all_back(stack: LocalStack) -> None:
    write_everywhere(stack)
    ports_before, pids_before = read_state(stack.directory).ports, pids(stack)
    order = start_roles_that_record_their_end(stack)
    stack.down()
    assert order.read_text() == "second: kafka up\nfirst: kafka up\n"
    assert not any(pid and psutil.pid_exists(pid) for pid in pids_before.values())
    assert {service.health for service in stack.status()} == {"stopped"}

    with socket.socket() as intruder:
        intruder.bind(("127.0.0.1", ports_before["redis"]))
        intruder.listen()
        stack.up(print)
        ports = dict(read_state(stack.directory).ports)
        assert ports.pop("redis") != ports_before["redis"]
        assert ports.items() <= ports_before.items()
    assert_all_is_still_there(stack)


def health(stack: LocalStack, name: str) -> str:
    return next(service.health for service in stack.status() if service.name == name)


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    pytest.fail("It did not happen within 10 s")


RECORD_THE_END = """
import pathlib, signal, socket, sys, time

name, port, order, ready = sys.argv[1:]

def end(*_):
    kafka = "down" if socket.socket().connect_ex(("127.0.0.1", int(port))) else "up"
    with open(order, "a") as file:
        print(f"{name}: kafka {kafka}", file=file)
    sys.exit()

signal.signal(signal.SIGTERM, end)
pathlib.Path(ready).touch()
time.sleep(60)
"""


def start_roles_that_record_their_end(stack: LocalStack) -> Path:
    order, port = stack.directory / "order", read_state(stack.directory).ports["kafka"]
    for name in ("first", "second"):
        ready = stack.directory / name
        argv = [sys.executable, "-c", RECORD_THE_END, name, str(port), str(order), str(ready)]
        stack.start_process(name, argv, is_healthy=ready.exists, timeout_s=10)
    return order


def write_everywhere(stack: LocalStack) -> None:
    addresses = stack.addresses()
    admin = AdminClient({"bootstrap.servers": addresses["kafka"]})
    admin.create_topics([NewTopic("kept", 1, 1)])["kept"].result(10)
    producer = Producer({"bootstrap.servers": addresses["kafka"]})
    producer.produce("kept", b"record")
    assert producer.flush(10) == 0
    registry = SchemaRegistryClient({"url": addresses["registry"]})
    registry.set_config(config=ServerConfig(compatibility=ConfigCompatibilityLevel.FULL_TRANSITIVE))
    registry.set_config("kept-value", ServerConfig(compatibility=ConfigCompatibilityLevel.BACKWARD))
    schema_id = registry.register_schema("kept-value", Schema('{"type":"record","name":"k","fields":[]}', "AVRO"))
    redis.Redis.from_url(addresses["redis"]).set("schema-id", schema_id)
    client = clickhouse(stack)
    client.command(CREATE_EVENTS)
    client.insert_arrow("events", events(1000), settings={"insert_deduplication_token": "kept"})


def assert_all_is_still_there(stack: LocalStack) -> None:
    addresses = stack.addresses()
    consumer = Consumer({"bootstrap.servers": addresses["kafka"], "group.id": "g"})
    consumer.assign([TopicPartition("kept", 0, 0)])
    assert [record.value() for record in consumer.consume(1, timeout=10)] == [b"record"]
    consumer.close()
    schema_id = int(redis.Redis.from_url(addresses["redis"]).get("schema-id"))
    registry = SchemaRegistryClient({"url": addresses["registry"]})
    assert registry.get_latest_version("kept-value").schema_id == schema_id
    assert registry.get_config().compatibility_level is ConfigCompatibilityLevel.FULL_TRANSITIVE
    assert registry.get_config("kept-value").compatibility_level is ConfigCompatibilityLevel.BACKWARD
    client = clickhouse(stack)
    client.insert_arrow("events", events(1000), settings={"insert_deduplication_token": "kept"})
    assert client.query("SELECT count() FROM events").result_rows == [(1000,)]
