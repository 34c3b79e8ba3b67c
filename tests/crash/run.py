"""Runs a window: a deployment of its own, a load published in the background, kills, and the comparison."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from zlib import crc32

import numpy as np
import pytest
import redis
from confluent_kafka.admin import AdminClient

from deploy.local.stack import LocalStack
from schemas.client.publisher import Publisher
from schemas.topics import topics
from streams.admin import apply_topics, registry
from streams.clickhouse import connect
from streams.offsets import Offsets
from streams.settings import Settings
from tests.conftest import isolate
from tests.crash.crew import Crew, CrewFailed
from tests.crash.disturbances import Disturbance
from tests.crash.feed import Feed
from tests.crash.load import Piece, journeys
from tests.crash.outcome import Found
from tests.crash.recovery import seconds_to_recover
from tests.crash.windows import Window

__all__ = ["Outcome", "run_window"]

#: What a role works on, as far as it reads it: nothing is on a topic that the window's role does not read.
SOURCES = ("clicks", "conversions", "crm-events", "deal-matches")
WINDOW_TIMEOUT_S = 900.0
#: All has been worked through for so long: a kill that is still to come will not, nor will more work.
OUT_OF_WORK_S = 5.0
STEP_S = 0.02
ASK_EVERY_S = 0.5


@dataclass
class Outcome:
    """What a window found. problems: whatever else makes it fail."""

    events: int
    kills_wanted: int
    seed: int
    kills: int = 0
    own_ends: int = 0
    seconds_to_recover: list[float] = field(default_factory=list)
    seconds: float = 0.0
    found: Found = field(default_factory=Found)
    problems: list[str] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Nothing is missing or doubled, dead letters are those there should be, and every kill took place."""
        found = self.found
        is_exact = found.sent == found.found > 0 and not (found.missing or found.doubled)
        return is_exact and found.dead_lettered == found.to_dead_letter and not self.problems

    def report(self) -> dict[str, Any]:
        """As it is written to the report."""
        recovery = [round(seconds, 2) for seconds in self.seconds_to_recover]
        return {
            **asdict(self.found),
            "kills": self.kills,
            "kills_wanted": self.kills_wanted,
            "stopped_by_itself": self.own_ends,
            "events": self.events,
            "seed": self.seed,
            "seconds_to_recover": {
                "median": round(median(recovery), 2) if recovery else None,
                "max": max(recovery, default=None),
                "each": recovery,
            },
            "seconds": round(self.seconds, 1),
            "is_well": self.is_well,
            "problems": self.problems,
        }


def run_window(
    name: str,
    window: Window,
    stack: LocalStack,
    directory: Path,
    *,
    events: int,
    kills: int,
    seed: int,
    tell: Callable[[str], None] = lambda text: None,
) -> Outcome:
    """Run it; logs of the workers stay in `directory`. `tell` receives how far it is."""
    began = time.monotonic()
    outcome = Outcome(events, kills, seed)
    random = np.random.default_rng([seed, crc32(name.encode())])
    load = journeys(events, seed, window.repeats, window.forbidden, window.deals)
    with _deployment(stack) as settings:
        window.prepare(settings)
        with (
            Crew(window.role, directory, lambda: window.options(random)) as crew,
            _publisher(settings) as publisher,
            Feed(
                load.pieces, kills + 1, lambda piece: _publish(publisher, piece), publisher.flush, window.portion_s
            ) as feed,
        ):
            disturbance = window.disturb(crew, random, kills, stack)
            try:
                _work_through(settings, window.role, disturbance, feed, kills, tell)
                crew.stop()
            except (CrewFailed, TimeoutError) as error:
                outcome.problems.append(str(error))
            outcome.kills = len(disturbance.kills)
            outcome.own_ends = crew.own_ends
            outcome.seconds_to_recover = seconds_to_recover(disturbance.kills, crew.entries())
            if outcome.kills < kills:
                outcome.problems.append(f"{outcome.kills} of {kills} kills: the load is too small for more")
            if outcome.problems:
                outcome.problems.append(crew.logs())
        if not outcome.problems:
            tell("comparing")
            outcome.found = window.compare(settings, load)
    outcome.seconds = time.monotonic() - began
    return outcome


def _work_through(
    settings: Settings, role: str, disturbance: Disturbance, feed: Feed, kills: int, tell: Callable[[str], None]
) -> None:
    """Until all is published and worked through. Raises CrewFailed, TimeoutError, and what publishing failed with."""
    disturbance.begin()
    deadline = time.monotonic() + WINDOW_TIMEOUT_S
    asked_at, done_since = 0.0, None
    with Offsets(settings) as offsets:
        while time.monotonic() < deadline:
            disturbance.step()
            feed.require_well()
            count = len(disturbance.kills)
            feed.allow(count + 1)
            tell(f"{feed.share:.0%} published, {count} of {kills} kills")
            now = time.monotonic()
            if feed.is_done and now - asked_at > ASK_EVERY_S:
                asked_at = now
                is_done = all(offsets.committed(role, source) == offsets.ends(source) for source in SOURCES)
                done_since = (done_since or now) if is_done else None
            # Who finds out that a server has forgotten something works again: it takes them a moment.
            if done_since is not None and now - done_since > OUT_OF_WORK_S:
                return
            time.sleep(STEP_S)
    raise TimeoutError(f"not worked through within {WINDOW_TIMEOUT_S:g} s")


@contextmanager
def _deployment(stack: LocalStack) -> Iterator[Settings]:
    """A deployment of its own, removed afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        settings = isolate(stack, patch)
        apply_topics(settings)
        yield settings
        admin = AdminClient(settings.kafka.client())
        for future in admin.delete_topics([topic.name for topic in topics(settings.namespace).values()]).values():
            future.result()
        with connect(settings) as clickhouse:
            clickhouse.command(f"DROP DATABASE {clickhouse.database}")
        with redis.Redis.from_url(settings.redis.url.get_secret_value()) as client:
            for key in client.scan_iter(f"sl:2:{{s*}}:{settings.namespace}*", count=10_000):
                client.unlink(key)


@contextmanager
def _publisher(settings: Settings) -> Iterator[Publisher]:
    client = registry(settings)
    # A broker that is away is part of some windows.
    with Publisher({**settings.kafka.client(), "log_level": 0}, client, prefix=settings.namespace) as publisher:
        yield publisher
    client.close()


def _publish(publisher: Publisher, piece: Piece) -> None:
    publisher.publish_table(piece.contract, piece.table)
