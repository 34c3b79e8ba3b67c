"""The publisher: from what a tracker has to what Kafka has acknowledged."""

import pyarrow as pa

from schemas.client.publisher import Publisher
from streams.admin import registry
from streams.settings import load_settings
from tests.bench.journeys import journeys
from tests.bench.subjects.process import Job, Stopwatch, main

RECORDS_AT_ONCE = 1_000


def table(job: Job, stopwatch: Stopwatch) -> None:
    """A table, column by column."""
    clicks, _ = journeys(job.events, 0)
    publisher = _publisher()
    stopwatch.start()
    publisher.publish_table("clicks", clicks)
    publisher.flush()
    stopwatch.add(clicks.num_rows)


def records(job: Job, stopwatch: Stopwatch) -> None:
    """Records, as a service that collects clicks has them."""
    clicks, _ = journeys(job.events, 0)
    milliseconds = clicks.column("event_time").cast(pa.int64())
    rows = clicks.set_column(clicks.schema.get_field_index("event_time"), "event_time", milliseconds).to_pylist()
    publisher = _publisher()
    stopwatch.start()
    for start in range(0, len(rows), RECORDS_AT_ONCE):
        publisher.publish_records("clicks", rows[start : start + RECORDS_AT_ONCE])
    publisher.flush()
    stopwatch.add(len(rows))


def _publisher() -> Publisher:
    settings = load_settings()
    publisher = Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace)
    publisher.validate("clicks", [])  # asks the registry, which is not what is measured
    return publisher


if __name__ == "__main__":
    main({"table": table, "records": records})
