import asyncio

import pytest
from prometheus_client import CollectorRegistry

from schemas.errors import RegistryUnavailable
from sinks.errors import Unavailable
from streams.metrics import RoleMetrics
from streams.patience import Patience


class Dependency:
    """Down for so many calls."""

    def __init__(self, down_for: int, error: Exception) -> None:
        self.left = down_for
        self.error = error

    def answer(self) -> str:
        if self.left:
            self.left -= 1
            raise self.error
        return "here"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def patience(registry: CollectorRegistry) -> Patience:
    return Patience(RoleMetrics(registry), seed=1)


def test_waits_with_growing_jittered_pauses_and_says_so_once(
    patience: Patience, registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pauses: list[float] = []
    down = Dependency(30, Unavailable("gone"))
    assert patience.wait_for_blocking("insert", down.answer, pauses.append) == "here"
    assert len(pauses) == 30
    assert max(pauses[:2]) < 0.5 < max(pauses)
    assert max(pauses) <= 10.0
    assert len(set(pauses)) == 30
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert registry.get_sample_value("errors_total", {"stage": "insert"}) == 30
    assert registry.get_sample_value("waiting_for_dependency", {"stage": "insert"}) == 0


def test_says_that_it_waits(patience: Patience, registry: CollectorRegistry) -> None:
    seen: list[float | None] = []

    def keep_alive(delay_s: float) -> None:
        seen.append(registry.get_sample_value("waiting_for_dependency", {"stage": "decode"}))

    patience.wait_for_blocking("decode", Dependency(1, RegistryUnavailable("gone")).answer, keep_alive)
    assert seen == [1]


def test_what_is_no_outage_is_not_waited_for(patience: Patience) -> None:
    with pytest.raises(ValueError, match="broken"):
        patience.wait_for_blocking("insert", Dependency(1, ValueError("broken")).answer, lambda delay_s: None)


def test_only_what_may_pass_is_waited_for(patience: Patience) -> None:
    async def step() -> None:
        raise Unavailable("gone")

    with pytest.raises(Unavailable):
        asyncio.run(patience.wait_for("flush", step, passing=(RegistryUnavailable,)))
