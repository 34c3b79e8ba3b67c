"""The roles themselves, from Kafka to where they write."""

from collections.abc import Callable
from typing import Any

import confluent_kafka

from streams.agents.attribution import create_attribution_app
from streams.loader import partitions
from streams.loader.loader import Loader
from streams.metrics import RoleMetrics
from streams.settings import load_settings
from tests.bench.subjects.lane import run_until_over
from tests.bench.subjects.process import Job, Stopwatch, main


def attribution(job: Job, stopwatch: Stopwatch) -> None:
    """Whatever is left of its inputs; the records of one of them count."""
    run_until_over(create_attribution_app(load_settings(), RoleMetrics()), job.topic, stopwatch)


def load(job: Job, stopwatch: Stopwatch) -> None:
    """Clicks into ClickHouse; the last blocks are full or have waited for as long as the settings say."""

    class Timed(confluent_kafka.Consumer):
        def subscribe(self, topics: Any, on_assign: Callable[..., None], **callbacks: Any) -> None:
            def assign(*arguments: Any) -> None:
                on_assign(*arguments)
                stopwatch.start()

            super().subscribe(topics, on_assign=assign, **callbacks)

    partitions.Consumer = Timed
    metrics = RoleMetrics()
    sent = metrics.sent.labels("clicks")

    def should_stop() -> bool:
        [metric] = sent.collect()
        if rows := int(metric.samples[0].value) - stopwatch.count:
            stopwatch.add(rows)
        return stopwatch.is_over

    Loader(load_settings(), metrics).run(should_stop)


if __name__ == "__main__":
    main({"attribution": attribution, "load": load})
