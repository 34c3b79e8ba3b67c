"""What ClickHouse cannot take now is waited for, seen in the metrics, and loaded once it can."""

from collections.abc import Callable

import pytest

from streams.settings import Settings, load_settings
from tests.streams.loader.loading import (
    AtWork,
    command,
    ids,
    is_caught_up,
    loaded,
    publish,
    running,
    wait_for,
)
from tests.streams.loader.proxies import Limiting, through


def require_waits_and_resumes(
    settings: Settings, loader: AtWork, stop: Callable[[], None], resume: Callable[[], None]
) -> None:
    publish(settings, 0, 200)
    wait_for(lambda: is_caught_up(settings))
    stop()
    publish(settings, 200, 200)
    wait_for(lambda: loader.metric("waiting_for_dependency", stage="insert") == 1)
    before = loader.metric("errors_total", stage="insert")
    wait_for(lambda: loader.metric("errors_total", stage="insert") > before, "another attempt")
    assert any(loader.metric("commit_age_seconds", topic="clicks", partition=str(p)) > 0 for p in range(4))
    assert set(loaded(settings)) < set(ids(*range(400)))
    resume()
    wait_for(lambda: is_caught_up(settings))
    wait_for(lambda: loader.metric("waiting_for_dependency", stage="insert") == 0)
    assert all(loader.metric("commit_age_seconds", topic="clicks", partition=str(p)) == 0 for p in range(4))
    assert loaded(settings) == ids(*range(400))


def test_too_many_parts(deployment: Settings, caplog: pytest.LogCaptureFixture) -> None:
    def stop() -> None:
        command(deployment, "SYSTEM STOP MERGES clicks")
        command(deployment, "ALTER TABLE clicks MODIFY SETTING parts_to_delay_insert = 1, parts_to_throw_insert = 1")

    def resume() -> None:
        command(deployment, "ALTER TABLE clicks RESET SETTING parts_to_delay_insert, parts_to_throw_insert")

    with running(deployment) as loader:
        require_waits_and_resumes(deployment, loader, stop, resume)
    assert "TOO_MANY_PARTS" in caplog.text


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        ("max_memory_usage=100000&max_untracked_memory=0", "MEMORY_LIMIT_EXCEEDED"),
        ("max_execution_time=0.000001", "TIMEOUT_EXCEEDED"),
    ],
)
def test_limits_of_the_server(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: str, error: str
) -> None:
    with through(Limiting, deployment.clickhouse.url) as proxy:
        monkeypatch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{proxy.address}")

        def set_limit(text: str) -> None:
            proxy.settings = text.encode()

        with running(load_settings()) as loader:
            require_waits_and_resumes(deployment, loader, lambda: set_limit(f"&{limit}"), lambda: set_limit(""))
    assert error in caplog.text
