import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType

from schemas.client.registry import Registry
from schemas.definitions import Definition, compact, definition, history
from schemas.errors import ContractError, IncompatibleSchema, RegistryUnavailable
from schemas.topics import topics
from streams.admin import TopicError, apply_topics, registry
from streams.settings import Settings
from tests.schemas.client.gate import gate_to

UNKNOWN_ID = 2**31 - 1


@pytest.fixture
def client(settings: Settings) -> Iterator[Registry]:
    client = registry(settings)
    yield client
    client.close()


@pytest.fixture
def subject(settings: Settings) -> str:
    return f"{settings.namespace}clicks-value"


def version(number: int, **change: Any) -> Definition:
    """Clicks with one field more."""
    schema = json.loads(definition("clicks").text)
    schema["fields"].append({"name": "more", **change})
    return Definition("clicks", number, compact(json.dumps(schema)), tuple(schema["fields"]))


OPTIONAL = version(2, type=["null", "string"], default=None)


def test_registering_again_changes_nothing(client: Registry, subject: str) -> None:
    clicks = definition("clicks")
    assert client.register(subject, [clicks]) == 1
    schema_id = client.schema_id(subject, clicks)
    assert client.register(subject, [clicks]) == 0
    assert client.register(subject, [clicks, OPTIONAL]) == 1
    assert client.schema_id(subject, clicks) == schema_id
    assert client.schema_id(subject, OPTIONAL) != schema_id


def test_what_was_registered_is_what_is_read(client: Registry, subject: str) -> None:
    versions = [definition("clicks"), OPTIONAL]
    client.register(subject, versions)
    ids = [client.schema_id(subject, item) for item in versions]
    found = client.writer_schemas(subject, ids)
    assert {schema_id: compact(text) for schema_id, text in found.items()} == {
        schema_id: item.text for schema_id, item in zip(ids, versions, strict=True)
    }


@pytest.mark.parametrize(
    "refused",
    [
        version(2, type="string"),
        version(2, type="long"),
        Definition(
            "clicks", 2, compact('{"type": "record", "name": "Click", "namespace": "spendloop", "fields": []}'), ()
        ),
    ],
    ids=["required string", "required long", "everything removed"],
)
def test_an_incompatible_version_is_refused(client: Registry, subject: str, refused: Definition) -> None:
    client.register(subject, [definition("clicks")])
    with pytest.raises(IncompatibleSchema, match="version 2 of clicks is refused"):
        client.register(subject, [refused])
    with pytest.raises(ContractError, match="spendloop topics apply"):
        client.schema_id(subject, refused)


def test_compatibility_is_with_every_version(client: Registry, subject: str) -> None:
    """The third goes with the second, which has no such field, but not with the first."""
    client.register(subject, [OPTIONAL, definition("clicks")])
    with pytest.raises(IncompatibleSchema):
        client.register(subject, [version(3, type=["null", "long"], default=None)])


def test_what_is_not_there(client: Registry, subject: str) -> None:
    # A topic in use has schemas: a registry that knows none has lost them, and good records must wait.
    with pytest.raises(RegistryUnavailable, match="no schema is registered"):
        client.writer_schemas(subject, [1, UNKNOWN_ID])
    with pytest.raises(ContractError, match="version 1 of clicks is not registered") as found:
        client.schema_id(subject, definition("clicks"))
    assert not isinstance(found.value, RegistryUnavailable)
    client.register(subject, [definition("clicks")])
    assert client.writer_schemas(subject, [UNKNOWN_ID]) == {}


def test_an_id_of_another_subject_is_not_there(client: Registry, subject: str) -> None:
    other = subject.replace("clicks", "conversions")
    client.register(subject, [definition("clicks")])
    client.register(other, [definition("conversions")])
    foreign = client.schema_id(other, definition("conversions"))
    assert client.writer_schemas(subject, [foreign]) == {}
    assert client.writer_schemas(other, [foreign]).keys() == {foreign}


def test_an_outage_is_told_from_an_unknown_id_and_passes(settings: Settings, subject: str) -> None:
    with gate_to(urlsplit(settings.registry.url).netloc) as gate:
        url = urlsplit(settings.registry.url)._replace(netloc=gate.address).geturl()
        client = Registry(url, timeout_s=2.0)
        clicks = definition("clicks")
        calls = [
            lambda: client.writer_schemas(subject, [UNKNOWN_ID]),
            lambda: client.schema_id(subject, clicks),
            lambda: client.register(subject, [clicks]),
            client.ping,
        ]
        for call in calls:
            with pytest.raises(RegistryUnavailable, match="does not answer"):
                call()
        gate.open()
        client.ping()
        assert client.register(subject, [clicks]) == 1
        schema_id = client.schema_id(subject, clicks)
        known = client.writer_schemas(subject, [schema_id])
        gate.shut()
        assert client.writer_schemas(subject, [schema_id]) == known  # from the cache
        with pytest.raises(RegistryUnavailable):
            client.writer_schemas(subject, [schema_id, UNKNOWN_ID])
        gate.open()
        assert client.writer_schemas(subject, [schema_id, UNKNOWN_ID]) == known
        client.close()


class TestApply:
    def test_twice_is_once(self, settings: Settings) -> None:
        first = apply_topics(settings)
        wanted = topics(settings.namespace)
        assert {item.topic for item in first} == {topic.name for topic in wanted.values()}
        assert all(item.created for item in first)
        assert all(
            item.new_versions == (len(history(topic.schema)) if topic.schema else 0)
            for item, topic in zip(first, wanted.values(), strict=True)
        )
        second = apply_topics(settings)
        assert [(item.topic, item.partitions) for item in second] == [(item.topic, item.partitions) for item in first]
        assert not any(item.created or item.new_versions for item in second)

    def test_a_compacted_topic_keeps_the_last_record_of_a_key(self, deployment: Settings) -> None:
        names = {name: topics(deployment.namespace)[name].name for name in ("match-models", "audits")}
        resources = {name: ConfigResource(ResourceType.TOPIC, topic) for name, topic in names.items()}
        admin = AdminClient(deployment.kafka.client())
        found = admin.describe_configs(list(resources.values()))
        config = {
            name: {key: entry.value for key, entry in found[resource].result(30).items()}
            for name, resource in resources.items()
        }
        assert config["match-models"]["cleanup.policy"] == "compact"
        assert config["match-models"]["min.compaction.lag.ms"] == str(60 * 86_400_000)
        assert config["audits"]["cleanup.policy"] == "delete"
        assert config["audits"]["retention.ms"] == str(400 * 86_400_000)

    def test_a_topic_of_retries_has_no_subject(self, deployment: Settings) -> None:
        """Its records are those of other topics: a subject of its own could only be wrong."""
        topic = topics(deployment.namespace)["loader.retry"]
        client = registry(deployment)
        with pytest.raises(RegistryUnavailable, match="no schema is registered"):
            client.writer_schemas(topic.subject, [1])
        client.close()

    def test_another_number_of_partitions_is_refused(self, deployment: Settings) -> None:
        changed = deployment.model_copy(update={"kafka": deployment.kafka.model_copy(update={"partitions": 6})})
        with pytest.raises(TopicError, match=r"has 4 partitions and the settings say 6.*kafka.partitions = 4"):
            apply_topics(changed)
        assert {item.partitions for item in apply_topics(deployment)} == {4}


def test_a_404_of_something_in_between_is_an_outage() -> None:
    class Nothing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def do_POST(self) -> None:
            self.send_error(404)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Nothing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = Registry(f"http://127.0.0.1:{server.server_port}")
    try:
        with pytest.raises(RegistryUnavailable):
            client.writer_schemas("clicks-value", [1])
        with pytest.raises(RegistryUnavailable):
            client.schema_id("clicks-value", definition("clicks"))
    finally:
        client.close()
        server.shutdown()
        server.server_close()
