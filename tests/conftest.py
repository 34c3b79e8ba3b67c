"""The real stack, once a test run; every test has topics, keys, groups and a database of its own in it."""

import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from deploy.local.stack import LocalStack
from streams.admin import apply_topics
from streams.settings import Settings, load_settings

# No test asserts a time: a shared machine may stand still for a second.
hypothesis.settings.register_profile(
    "spendloop", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("spendloop")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """Kafka, registry, Redis and ClickHouse. SPENDLOOP_TEST_STACK names one that is up already."""
    if running := os.environ.get("SPENDLOOP_TEST_STACK"):
        yield LocalStack(Path(running))
        return
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        stack.up(print)
        yield stack
    finally:
        stack.down()


def isolate(stack: LocalStack, patch: pytest.MonkeyPatch) -> Settings:
    """Settings, here and for processes a test starts, of a deployment of its own, without topics."""
    name = f"t{uuid.uuid4().hex[:8]}"
    patch.setenv("SPENDLOOP_DIR", str(stack.directory))
    patch.setenv("SPENDLOOP_NAMESPACE", f"{name}.")
    patch.setenv("SPENDLOOP_CLICKHOUSE__DATABASE", name)
    patch.delenv("SPENDLOOP_SETTINGS", raising=False)
    return load_settings()


@pytest.fixture
def settings(stack: LocalStack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A deployment without topics."""
    return isolate(stack, monkeypatch)


@pytest.fixture
def deployment(settings: Settings) -> Settings:
    """A deployment with its topics created and schemas registered."""
    apply_topics(settings)
    return settings


@pytest.fixture(scope="module")
def shared_deployment(stack: LocalStack) -> Iterator[Settings]:
    """A deployment that the tests of a module share."""
    with pytest.MonkeyPatch.context() as patch:
        settings = isolate(stack, patch)
        apply_topics(settings)
        yield settings
