"""Dead letters of one role, replayed to it once their cause is mended: it alone works on them again."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from schemas.client.publisher import Publisher
from streams.admin import registry
from streams.clickhouse import connect
from streams.offsets import Offsets
from streams.settings import Settings
from tests.integration.roles import Role, running, wait_until, wait_until_attributed, wait_until_loaded

VISITORS = 30


def publish(settings: Settings) -> None:
    """Each visitor's click, too old for the first settings, and a conversion that needs it."""
    fixed = {"account_id": "acme", "consent": "granted", "limited_data_use": False}
    now = datetime.now(UTC)
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records(
            "clicks",
            [
                fixed | {"click_id": f"k{n}", "visitor_id": f"v{n}", "event_time": now - timedelta(days=3)}
                for n in range(VISITORS)
            ],
        )
        publisher.publish_records(
            "conversions",
            [
                fixed | {"conversion_id": f"c{n}", "visitor_id": f"v{n}", "event_time": now, "event_name": "Purchase"}
                for n in range(VISITORS)
            ],
        )


def replay(*arguments: str) -> str:
    command = [sys.executable, "-m", "streams.cli.main", "dlt", "replay", "attribution", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def wait_until_retried(settings: Settings, roles: list[Role]) -> None:
    with Offsets(settings) as offsets:
        wait_until(
            lambda: offsets.committed("attribution", "attribution.retry") == offsets.ends("attribution.retry"),
            roles,
            "attribution of what was replayed",
        )
    wait_until_loaded(settings, roles, "attributed-conversions")


def found(settings: Settings) -> dict[str, tuple[int, int]]:
    """By conversion: how many touchpoints, and of which version."""
    sql = "SELECT conversion_id, length(touchpoints.click_id) AS n, facts_held FROM attributed_conversions FINAL"
    with connect(settings) as clickhouse:
        return {row["conversion_id"]: (row["n"], row["facts_held"]) for row in clickhouse.query(sql).to_pylist()}


def test_a_replay_mends_what_lacked_the_dead_letters_and_touches_no_other_role(
    deployment: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("SPENDLOOP_EVENTS__MAX_AGE_D", '{"clicks": 1}')
        with running(tmp_path, "attribution", "loader") as roles:
            publish(deployment)
            wait_until_attributed(deployment, roles)
            wait_until_loaded(deployment, roles, "clicks", "attributed-conversions")
    assert set(found(deployment).values()) == {(0, 1)}
    assert f"{VISITORS}" in replay("--dry-run")
    with running(tmp_path, "attribution", "loader") as roles:
        replay("--yes")
        wait_until_retried(deployment, roles)
        once = found(deployment)
        assert set(once.values()) == {(1, 2)}
        replay("--yes")
        wait_until_retried(deployment, roles)
        assert found(deployment) == once
    with connect(deployment) as clickhouse:  # the loader's own letters were not replayed
        assert clickhouse.query("SELECT count() AS n FROM clicks").column("n")[0].as_py() == 0
