"""What every role tells Prometheus. The names are a contract: dashboards and alerts go by them.

Instrumented are batches, not events. Personal data is never a label.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from schemas.codec import Decoded
from schemas.topics import Topic

__all__ = ["RoleMetrics", "serve_metrics"]

#: A match by evidence is claimed from this confidence in the ad.
CLAIMED = 0.5
DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
SIZE_BUCKETS = (1, 10, 100, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000)


class RoleMetrics:
    """The metrics of one role, of which a process has one."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.received = Counter("received_events_total", "Records taken from Kafka.", ["topic"], registry=registry)
        self.sent = Counter(
            "sent_events_total", "Records or rows handed on and acknowledged.", ["target"], registry=registry
        )
        self.errors = Counter(
            "errors_total", "Failures of a stage, each of them tried again.", ["stage"], registry=registry
        )
        self.discarded = Counter(
            "discarded_events_total",
            "Records in the dead letters, by error, and conversions that expired.",
            ["topic", "reason"],
            registry=registry,
        )
        self.dropped_fields = Counter(
            "dropped_fields_total",
            "Values left out because they were not what their field is for.",
            ["topic", "field"],
            registry=registry,
        )
        self.lag = Gauge(
            "consumer_lag_events",
            "Records between the position and the log's end.",
            ["topic", "partition"],
            registry=registry,
        )
        self.commit_age = Gauge(
            "commit_age_seconds",
            "Time since the oldest record taken and not yet committed was taken; 0 where all is committed.",
            ["topic", "partition"],
            registry=registry,
        )
        self.freshness = Gauge(
            "event_time_freshness_seconds",
            "Ingest time of the newest record worked on, less its event time.",
            ["topic", "partition"],
            registry=registry,
        )
        self.processed_until = Gauge(
            "processed_until_timestamp_seconds",
            "Ingest time of the newest record worked on.",
            ["topic", "partition"],
            registry=registry,
        )
        self.batch_size = Histogram(
            "batch_size_events", "Records in a batch.", ["topic"], buckets=SIZE_BUCKETS, registry=registry
        )
        self.batch_duration = Histogram(
            "batch_duration_seconds",
            "Time a stage took for a batch.",
            ["stage"],
            buckets=DURATION_BUCKETS,
            registry=registry,
        )
        self.waiting = Gauge(
            "waiting_for_dependency", "Batches whose stage waits for a dependency.", ["stage"], registry=registry
        )

        self.evaluated = Counter(
            "evaluated_conversions_total",
            "Conversions matched without their identifiers, with a confidence of .5 or more in the ad or not: an "
            "estimate, which overstates.",
            ["account", "method", "layer", "outcome"],
            registry=registry,
        )
        self.totals_as_of = Gauge(
            "totals_as_of_timestamp_seconds",
            "The time an account's newest totals are of.",
            ["account"],
            registry=registry,
        )
        self.totals_alarm = Gauge(
            "totals_alarm",
            "1 where an account's totals disagree by more than chance explains, and none should be relied on; else 0.",
            ["account"],
            registry=registry,
        )

    def observe_totals(self, account_id: str, as_of_ms: int, is_alarm: bool) -> None:
        """An account's totals were published."""
        self.totals_as_of.labels(account_id).set(as_of_ms / 1000)
        self.totals_alarm.labels(account_id).set(is_alarm)

    def forget_totals(self, accounts: Iterable[str]) -> None:
        """Say nothing any more of accounts whose totals were published here: somebody else computes them, or nobody."""
        for account_id in accounts:
            self.totals_as_of.remove(account_id)
            self.totals_alarm.remove(account_id)

    def observe_evaluated(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Rows of the topic attribution-quality."""
        for row in rows:
            outcome = "not_claimed"
            if row["confidence_ad"] >= CLAIMED:
                outcome = {True: "right", False: "wrong", None: "unknown"}[row["is_ad_right"]]
            self.evaluated.labels(row["account_id"], row["method"], row["layer"], outcome).inc()

    def observe_received(self, contract: str, partition: int, count: int, newest_ingest_ms: int) -> None:
        """A batch of one partition: its size, and the ingest time of its newest record."""
        self.received.labels(contract).inc(count)
        self.batch_size.labels(contract).observe(count)
        self.processed_until.labels(contract, str(partition)).set(newest_ingest_ms / 1000)

    def observe_decoded(self, topic: Topic, partition: int, decoded: Decoded, ingest_ms: npt.NDArray[np.int64]) -> None:
        """What was left out of a batch's records, and how fresh the newest is; `ingest_ms` is the whole batch's."""
        for field, count in decoded.dropped_fields.items():
            self.dropped_fields.labels(topic.contract, field).inc(count)
        if topic.event_time is not None and len(decoded.rows):
            event_ms = decoded.batch.column(topic.event_time)[-1].value
            age_ms = int(ingest_ms[decoded.rows[-1]]) - event_ms
            self.freshness.labels(topic.contract, str(partition)).set(age_ms / 1000)


def serve_metrics(host: str, port: int) -> int:
    """Serve /metrics in a thread; port 0 takes a free one. Returns the port."""
    server, _ = start_http_server(port, host, REGISTRY)
    return int(server.server_port)
