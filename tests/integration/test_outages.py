"""Each server away for a while under load: the roles wait, say so, go on; nothing is lost, doubled or dead-lettered.

`SPENDLOOP_OUTAGE_S=60` for outages as long as the guarantee speaks of.
"""

import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from deploy.local.processes import stop
from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from schemas.client.publisher import Publisher
from schemas.errors import DeliveryFailed
from streams.admin import apply_topics, registry
from streams.clickhouse import connect
from streams.offsets import Offsets
from streams.settings import Settings
from tests.conftest import isolate
from tests.integration.roles import Role, running, wait_until, wait_until_attributed, wait_until_loaded

OUTAGE_S = float(os.environ.get("SPENDLOOP_OUTAGE_S", "6"))
#: A role that is told to end does, whatever is away.
END_S = 60.0
#: What waits where a server is away, by role.
WAITING = {
    "kafka": {},
    "redis": {0: "store"},
    "clickhouse": {1: "insert"},
}


@pytest.fixture(scope="module")
def own_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    stack = LocalStack(tmp_path_factory.mktemp("stack"))
    try:
        stack.up(print)
        yield stack
    finally:
        stack.down()


@pytest.fixture(scope="module")
def deployment(own_stack: LocalStack) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        settings = isolate(own_stack, patch)
        apply_topics(settings)
        yield settings


@pytest.fixture(scope="module")
def roles(deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Role]]:
    with running(tmp_path_factory.mktemp("roles"), "attribution", "loader") as roles:
        yield roles


class Load(threading.Thread):
    """Publishes a visitor's two clicks and their conversion, visitor after visitor, until it is told to stop."""

    def __init__(self, settings: Settings, account: str) -> None:
        super().__init__(daemon=True)
        self._settings = settings
        self.account = account
        self._enough = threading.Event()
        self.visitors = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            with Publisher(
                self._settings.kafka.client(), registry(self._settings), prefix=self._settings.namespace
            ) as publisher:
                while not self._enough.is_set():
                    self._publish(publisher, range(self.visitors, self.visitors + 40))
                    self.visitors += 40
                    time.sleep(0.05)
        except Exception as error:
            self.failure = error

    def stop(self) -> None:
        self._enough.set()
        self.join(180)
        assert not self.is_alive()
        assert self.failure is None, self.failure

    def _publish(self, publisher: Publisher, visitors: range) -> None:
        fixed = {"account_id": self.account, "consent": "granted", "limited_data_use": False}
        now = datetime.now(UTC)
        clicks = [
            fixed | {"click_id": f"k{n}-{m}", "visitor_id": f"v{n}", "event_time": now}
            for n in visitors
            for m in range(2)
        ]
        conversions: list[dict[str, Any]] = [
            fixed | {"conversion_id": f"c{n}", "visitor_id": f"v{n}", "event_name": "Purchase", "event_time": now}
            for n in visitors
        ]
        while not self._sent(publisher, clicks, conversions):
            time.sleep(0.2)

    @staticmethod
    def _sent(publisher: Publisher, clicks: list[dict[str, Any]], conversions: list[dict[str, Any]]) -> bool:
        """Whether Kafka has acknowledged both; otherwise they are to be sent again."""
        try:
            publisher.publish_records("conversions", conversions[::2])  # some before their clicks
            publisher.publish_records("clicks", clicks)
            publisher.publish_records("conversions", conversions[1::2])
            publisher.flush()
        except DeliveryFailed:
            return False
        return True


@pytest.mark.parametrize("name", ["redis", "clickhouse", "kafka", "registry"])
def test_an_outage_is_waited_out(
    own_stack: LocalStack, deployment: Settings, roles: list[Role], tmp_path: Path, name: str
) -> None:
    load = Load(deployment, name)
    load.start()
    try:
        before = [received(role) for role in roles]
        wait_until(lambda: all(received(role) > n for role, n in zip(roles, before, strict=True)), roles, "work")
        process = read_state(own_stack.directory).process(name)
        assert process is not None
        stop(process, grace_s=0)
        if name == "registry":  # what runs knows all schemas; what starts has to ask for them
            roles[1].stop()
            roles[1] = Role("loader", tmp_path / "loader.log")
        time.sleep(OUTAGE_S)
        for number, stage in WAITING.get(name, {}).items():
            assert roles[number].metric(f'waiting_for_dependency{{stage="{stage}"}}') >= 1
        own_stack.up(print)
        time.sleep(2)
    finally:
        load.stop()
    require_all_of(load, deployment, roles)


def test_roles_that_are_told_to_end_while_kafka_is_away_do_and_lose_nothing(
    own_stack: LocalStack, deployment: Settings, roles: list[Role], tmp_path: Path
) -> None:
    load = Load(deployment, "ended")
    load.start()
    try:
        before = [received(role) for role in roles]
        wait_until(lambda: all(received(role) > n for role, n in zip(roles, before, strict=True)), roles, "work")
        process = read_state(own_stack.directory).process("kafka")
        assert process is not None
        stop(process, grace_s=0)
        time.sleep(2)  # there is something now that cannot be published, or committed
        for role in roles:
            role.process.terminate()
        assert [role.process.wait(END_S) for role in roles] == [0, 0]
        own_stack.up(print)
        roles[:] = [Role(name, tmp_path / f"{name}.log") for name in ("attribution", "loader")]
    finally:
        load.stop()
    require_all_of(load, deployment, roles)


def require_all_of(load: Load, settings: Settings, roles: list[Role]) -> None:
    """Nothing of the load is lost, doubled or dead-lettered."""
    wait_until_attributed(settings, roles)
    wait_until_loaded(settings, roles, "clicks", "conversions", "attributed-conversions")
    assert found(settings, load.account) == {
        "clicks": 2 * load.visitors,
        "conversions": load.visitors,
        "attributed with both": load.visitors,
    }
    with Offsets(settings) as offsets:
        assert not any(offsets.ends("attribution.dlt").values())
        assert not any(offsets.ends("loader.dlt").values())


def received(role: Role) -> float:
    return role.metric('received_events_total{topic="conversions"}') if role.is_serving() else 0.0


def found(settings: Settings, account: str) -> dict[str, int]:
    counts = {
        "clicks": f"SELECT count() AS n FROM clicks FINAL WHERE account_id = '{account}'",
        "conversions": f"SELECT count() AS n FROM conversions FINAL WHERE account_id = '{account}'",
        "attributed with both": "SELECT count() AS n FROM attributed_conversions FINAL "
        f"WHERE account_id = '{account}' AND length(touchpoints.click_id) = 2",
    }
    with connect(settings) as clickhouse:
        return {what: int(clickhouse.query(sql).column("n")[0].as_py()) for what, sql in counts.items()}
