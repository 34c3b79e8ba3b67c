"""Waiting out an outage: a dependency that is down is not a bad record."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from schemas.errors import DeliveryFailed, RegistryUnavailable
from sinks.errors import Unavailable
from streams.metrics import RoleMetrics

__all__ = ["OUTAGES", "Patience"]

T = TypeVar("T")
Outages = tuple[type[Exception], ...]
#: What passes by itself. Everything else stops the role, uncommitted.
OUTAGES: Outages = (Unavailable, RegistryUnavailable, DeliveryFailed)
FIRST_DELAY_S, LONGEST_DELAY_S = 0.2, 10.0

log = logging.getLogger(__name__)


class Patience:
    """Repeats a step until its dependency is back. Says so once when it goes and once when it returns."""

    def __init__(self, metrics: RoleMetrics, seed: int | None = None) -> None:
        self._metrics = metrics
        self._random = random.Random(seed)  # noqa: S311  # jitter, not a secret

    async def wait_for(
        self,
        stage: str,
        step: Callable[[], Awaitable[T]],
        passing: Outages = OUTAGES,
        require_wanted: Callable[[], None] = lambda: None,
    ) -> T:
        """The result of `step`, which must be safe to repeat; it is repeated after what is `passing`.

        `require_wanted` raises where nobody waits for the result any more; it is asked before each repeat.
        """
        attempt = 0
        try:
            while True:
                try:
                    return await step()
                except passing as error:
                    await asyncio.sleep(self._note(stage, attempt, error))
                    require_wanted()
                    attempt += 1
        finally:
            self._waited(stage, attempt)

    def wait_for_blocking(
        self, stage: str, step: Callable[[], T], keep_alive: Callable[[float], None] = time.sleep
    ) -> T:
        """The same without an event loop; `keep_alive` waits for that many seconds."""
        attempt = 0
        try:
            while True:
                try:
                    return step()
                except OUTAGES as error:
                    keep_alive(self._note(stage, attempt, error))
                    attempt += 1
        finally:
            self._waited(stage, attempt)

    def _note(self, stage: str, attempt: int, error: Exception) -> float:
        """Count and report a failure; how long to wait now, seconds (full jitter)."""
        self._metrics.errors.labels(stage).inc()
        if attempt == 0:
            self._metrics.waiting.labels(stage).inc()
            log.warning("%s: waiting: %s", stage, error)
        ceiling = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2**attempt)
        return self._random.uniform(FIRST_DELAY_S / 2, ceiling)

    def _waited(self, stage: str, attempts: int) -> None:
        if attempts:
            self._metrics.waiting.labels(stage).dec()
            log.info("%s: waited no longer after %d attempts", stage, attempts)
