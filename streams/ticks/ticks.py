"""What the roles have in common that compute something of every account at scheduled times."""

import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pyarrow as pa

from schemas.client.publisher import Publisher
from schemas.topics import topics
from sinks.clickhouse.migrations import apply
from streams.admin import registry, require_same_topics, topic_ids
from streams.clickhouse import connect, migrations
from streams.liveness import DELIVERY_TIMEOUT_S
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.patience import Patience
from streams.settings import Settings
from streams.ticks.cut import Cut, read_cut
from streams.ticks.ownership import Ownership, Stopping, partition_of

__all__ = ["Schedule", "Tick", "Ticks"]

POLL_S = 0.5

Positions = Mapping[int, int]
T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a role publishes, and when.

    role: its name. output: the topic of the contract it publishes to, by whose partitions its processes share out the
    accounts. loaded: topics of which it waits for the loader. interval_s: between scheduled times, which are whole
    multiples of it since 1970. after_s: from a scheduled time until its turn.
    """

    role: str
    output: str
    loaded: tuple[str, ...]
    interval_s: float
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Tick:
    """A scheduled time, and whether an account is to be computed for it by this process, as of now."""

    as_of_ms: int
    is_due: Callable[[str], bool]


class Ticks:
    """Runs a computation at scheduled times, each once, for the accounts this process owns.

    A process that is gained for a partition computes the newest scheduled time for its accounts, whether somebody else
    has or not; of earlier ones none. So what is published has to replace, or equal, what another process published.

    clickhouse: the database, its tables there. topic_ids: Kafka's, of the topics waited for, by contract.
    """

    def __init__(
        self, settings: Settings, metrics: RoleMetrics, schedule: Schedule, should_stop: Callable[[], bool]
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._schedule = schedule
        self._patience = Patience(metrics)
        names = topics(settings.namespace)
        self._kafka = settings.kafka.client()
        self._known_ids = topic_ids(self._kafka, [names[name].name for name in {*schedule.loaded, schedule.output}])
        self.topic_ids = {name: self._known_ids[names[name].name] for name in schedule.loaded}
        producer = {**self._kafka, "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000)}
        self._publisher = Publisher(producer, registry(settings), prefix=settings.namespace, bounds=None)
        self.clickhouse = connect(settings)
        apply(self.clickhouse, migrations())
        self._offsets = Offsets(settings)
        group = settings.group(schedule.role)
        self._ownership = Ownership(settings.kafka, group, names[schedule.output].name, should_stop)
        #: By partition: the scheduled time that is done with.
        self._done: dict[int, int] = {}

    def run(self, compute: Callable[[Tick], int]) -> None:
        """Compute until told to stop. `compute` says how many it has computed. Raises what is unexpected."""
        try:
            while True:
                self._ownership.wait(POLL_S)
                as_of_ms = self._scheduled_ms()
                self._done = {number: self._done.get(number, 0) for number in self._ownership.partitions}
                due = frozenset(number for number, done_ms in self._done.items() if done_ms < as_of_ms)
                if due:
                    self._tick(as_of_ms, due, compute)
        except Stopping:
            log.info("stopped; what is due is computed at the next start")

    def close(self) -> None:
        """Leave the group: until a member has, or is taken for dead, the others of a group that changes wait for it."""
        self._ownership.leave()
        self._offsets.close()
        self.clickhouse.close()

    def breathe(self) -> None:
        """Stay in the group, in the midst of a long computation. Raises Stopping."""
        self._ownership.wait(0.0)

    def wait(self, stage: str, step: Callable[[], T]) -> T:
        """The result of `step`, repeated while what it needs is away. Raises Stopping."""
        return self._patience.wait_for_blocking(stage, step, self._ownership.wait)

    def ends(self, contract: str) -> dict[int, int]:
        """How far a topic reaches now."""
        return self.wait("offsets", partial(self._offsets.ends, contract))

    def wait_until_attributed(self, contract: str, ends: Positions) -> None:
        """Until attribution has worked on a topic up to there."""
        self._wait_until(f"attribution of {contract}", partial(self._offsets.committed, "attribution", contract), ends)

    def wait_until_loaded(self, contract: str, ends: Positions) -> None:
        """Until a topic of the schedule's is in ClickHouse up to there."""
        self._wait_until(f"loading of {contract}", partial(self._loaded, contract), ends)

    def cut(self, contracts: Collection[str]) -> list[Cut]:
        """How far these topics of the schedule's are loaded; first, that they are the topics they were."""
        self.wait("topics", self._require_same_topics)
        return self.wait("query", partial(self._read_cut, contracts))

    def publish(self, records: list[dict[str, Any]]) -> None:
        """Publish records, and return when Kafka has them."""
        self._publish(lambda: self._publisher.publish_records(self._schedule.output, records), len(records))

    def publish_batch(self, batch: pa.RecordBatch) -> None:
        """The same of columns of the contract."""
        self._publish(lambda: self._publisher.publish_batch(self._schedule.output, batch), batch.num_rows)

    def _publish(self, hand_over: Callable[[], object], count: int) -> None:
        def step() -> None:
            hand_over()
            self._publisher.flush(DELIVERY_TIMEOUT_S)

        self.wait("emit", step)
        self._metrics.sent.labels(self._schedule.output).inc(count)

    def _scheduled_ms(self) -> int:
        interval_ms = int(self._schedule.interval_s * 1000)
        return int((time.time() - self._schedule.after_s) * 1000) // interval_ms * interval_ms

    def _tick(self, as_of_ms: int, due: frozenset[int], compute: Callable[[Tick], int]) -> None:
        began = time.perf_counter()
        kept = set(due)
        count = self._settings.kafka.partitions

        def is_due(account_id: str) -> bool:
            self.breathe()
            # Of what is taken away meanwhile its next owner computes all, also where that is this process again.
            kept.intersection_update(self._ownership.partitions)
            return partition_of(account_id, count) in kept

        self.wait("topics", self._require_same_topics)
        computed = compute(Tick(as_of_ms, is_due))
        self._done |= dict.fromkeys(kept & self._ownership.partitions, as_of_ms)
        seconds = time.perf_counter() - began
        self._metrics.batch_duration.labels("tick").observe(seconds)
        log.info("%s: %d computed in %.1f s", self._schedule.output, computed, seconds)

    def _wait_until(self, what: str, position: Callable[[], Positions], wanted: Positions) -> None:
        is_told = False
        while not _has_reached(self.wait("offsets", position), wanted):
            if not is_told:
                log.info("waiting for the %s", what)
                is_told = True
            self._ownership.wait(POLL_S)

    def _require_same_topics(self) -> None:
        require_same_topics(self._kafka, self._known_ids, self._settings.group(self._schedule.role))

    def _loaded(self, contract: str) -> Positions:
        return {part.partition: part.end_offset for part in self._read_cut([contract])}

    def _read_cut(self, contracts: Collection[str]) -> list[Cut]:
        return read_cut(self.clickhouse, {name: self.topic_ids[name] for name in contracts})


def _has_reached(found: Positions, wanted: Positions) -> bool:
    return all(found.get(number, 0) >= end for number, end in wanted.items())
