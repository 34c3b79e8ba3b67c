"""The role that computes the models of channels: every account's, on a cadence."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from schemas.client.publisher import Publisher
from schemas.topics import topics
from sinks.clickhouse.migrations import apply
from sinks.clickhouse.path_counts import Period, converting_accounts
from streams.admin import registry, require_same_topics, topic_ids
from streams.clickhouse import connect, migrations
from streams.credit.journeys import SOURCES, Cut, period_until, read_cut, read_journeys
from streams.credit.ownership import Ownership, Stopping, partition_of
from streams.credit.records import Unusable, model_credit
from streams.liveness import DELIVERY_TIMEOUT_S
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.patience import Patience
from streams.settings import Settings

__all__ = ["ROLE", "ModelCredit"]

ROLE = "credit"
OUTPUT = "model-credit"
INPUTS = ("clicks", "conversions")
POLL_S = 0.5

Positions = dict[int, int]

log = logging.getLogger(__name__)


class ModelCredit:
    """Computes the models of every account it owns, each scheduled time once.

    1. At a scheduled time, note how far the inputs reach. Wait until attribution has worked on all of that, and the
       loader has loaded all of it and of what attribution made of it.
    2. Read the cut, then count each account's journeys that ended before the scheduled time.
    3. Publish the credit of every model, and flush. Only then the time is done with.

    It keeps nothing: what is counted is in ClickHouse, where a version that replaces another has done so, and a
    record that comes again is not there twice. A process that dies in between computes the newest scheduled time
    anew, from the same records or more; the greater number of them wins. Two that both take an account for theirs
    do no harm for the same reason.

    Guarantee: effectively once per (account, event, model, order, as_of); delivery.md, rules 4, 8, 11 and 12.
    """

    def __init__(self, settings: Settings, metrics: RoleMetrics, should_stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._metrics = metrics
        self._patience = Patience(metrics)
        names = topics(settings.namespace)
        kafka, schemas = settings.kafka.client(), registry(settings)
        self._topic_ids = topic_ids(kafka, [names[contract].name for contract in (*SOURCES, OUTPUT)])
        self._ids_by_contract = {contract: self._topic_ids[names[contract].name] for contract in SOURCES}
        producer = {**kafka, "delivery.timeout.ms": int(DELIVERY_TIMEOUT_S * 1000)}
        self._publisher = Publisher(producer, schemas, prefix=settings.namespace, bounds=None)
        self._clickhouse = connect(settings)
        apply(self._clickhouse, migrations())
        self._offsets = Offsets(settings)
        self._ownership = Ownership(settings.kafka, settings.group(ROLE), names[OUTPUT].name, should_stop)
        #: By partition: the scheduled time that is done with.
        self._done: dict[int, int] = {}

    def run(self) -> None:
        """Compute until told to stop. Raises what is unexpected."""
        try:
            while True:
                self._ownership.wait(POLL_S)
                as_of_ms = self._scheduled_ms()
                self._done = {number: self._done.get(number, 0) for number in self._ownership.partitions}
                due = frozenset(number for number, done_ms in self._done.items() if done_ms < as_of_ms)
                if due:
                    self._compute(as_of_ms, due)
        except Stopping:
            log.info("stopped; what is due is computed at the next start")
        finally:
            self._ownership.leave()
            self._offsets.close()
            self._clickhouse.close()

    def _scheduled_ms(self) -> int:
        interval_ms = int(self._settings.credit.interval_s * 1000)
        return int(time.time() * 1000) // interval_ms * interval_ms

    def _compute(self, as_of_ms: int, due: frozenset[int]) -> None:
        began = time.perf_counter()
        self._wait_until_loaded()
        self._wait("topics", self._require_same_topics)
        period = period_until(self._settings, as_of_ms)
        cut = self._wait("query", lambda: read_cut(self._clickhouse, self._ids_by_contract))
        accounts = self._wait("query", lambda: converting_accounts(self._clickhouse, period))
        count = self._settings.kafka.partitions
        computed = 0
        for account_id, event_name in accounts:
            self._ownership.wait(0.0)
            # Of what is taken away meanwhile its next owner computes all, also where that is this process again.
            due &= self._ownership.partitions
            if partition_of(account_id, count) in due:
                self._compute_account(account_id, event_name, period, cut)
                computed += 1
        self._done |= dict.fromkeys(due & self._ownership.partitions, as_of_ms)
        seconds = time.perf_counter() - began
        self._metrics.batch_duration.labels("tick").observe(seconds)
        log.info("credit of %d accounts and events in %.1f s", computed, seconds)

    def _compute_account(self, account_id: str, event_name: str, period: Period, cut: Sequence[Cut]) -> None:
        read = partial(read_journeys, self._clickhouse, self._settings, account_id, event_name, period)
        journeys = self._wait("query", read)
        results = list(model_credit(self._settings, account_id, event_name, period, cut, journeys))
        if records := [item for item in results if not isinstance(item, Unusable)]:
            self._publish(records)
        for item in results:
            if isinstance(item, Unusable):
                self._metrics.discarded.labels(OUTPUT, "unusable_counts").inc()
                log.warning(
                    "%s of order %d is not computed for %s: %s", item.model, item.order, account_id, item.problem
                )

    def _wait_until_loaded(self) -> None:
        """Until all that is on the inputs now is attributed, and that and the inputs are loaded."""
        inputs = {name: self._ends(name) for name in INPUTS}
        for name, ends in inputs.items():
            self._wait_for(f"attribution of {name}", partial(self._offsets.committed, "attribution", name), ends)
        # Attribution publishes before it commits: the end of its output stands.
        self._wait_for("loading of clicks", partial(self._loaded, "clicks"), inputs["clicks"])
        output = "attributed-conversions"
        self._wait_for(f"loading of {output}", partial(self._loaded, output), self._ends(output))

    def _ends(self, contract: str) -> Positions:
        ends: Positions = self._wait("offsets", partial(self._offsets.ends, contract))
        return ends

    def _wait_for(self, what: str, position: Callable[[], Positions], wanted: Positions) -> None:
        is_told = False
        while not _has_reached(self._wait("offsets", position), wanted):
            if not is_told:
                log.info("waiting for the %s", what)
                is_told = True
            self._ownership.wait(POLL_S)

    def _require_same_topics(self) -> None:
        require_same_topics(self._settings.kafka.client(), self._topic_ids, self._settings.group(ROLE))

    def _loaded(self, contract: str) -> Positions:
        cut = read_cut(self._clickhouse, self._ids_by_contract)
        return {part.partition: part.end_offset for part in cut if part.topic == contract}

    def _publish(self, records: list[dict[str, Any]]) -> None:
        def publish() -> None:
            self._publisher.publish_records(OUTPUT, records)
            self._publisher.flush(DELIVERY_TIMEOUT_S)

        self._wait("emit", publish)
        self._metrics.sent.labels(OUTPUT).inc(len(records))

    def _wait(self, stage: str, step: Callable[[], Any]) -> Any:
        return self._patience.wait_for_blocking(stage, step, self._ownership.wait)


def _has_reached(found: Positions, wanted: Positions) -> bool:
    return all(found.get(number, 0) >= end for number, end in wanted.items())
