"""Quix Streams, at-least-once, set for throughput. Runs in an environment that has it (tests.bench.quix_environment).

What its documentation recommends for speed is few checkpoints, and five seconds between two is its default; the
client settings are those of our own consumers and publisher.
"""

from typing import Any

from tests.bench.subjects.process import Job, Stopwatch, main


def read(job: Job, stopwatch: Stopwatch) -> None:
    """Count the events."""
    app, frame = _app(job)
    counter = _Counter(app, job)
    frame.update(counter.count)
    _run(app, counter, stopwatch)


def produce(job: Job, stopwatch: Stopwatch) -> None:
    """Send each event on, under its key."""
    app, frame = _app(job)
    counter = _Counter(app, job)
    frame.update(counter.count)
    frame.to_topic(app.topic(job.output, value_serializer="bytes"))
    _run(app, counter, stopwatch)


def state(job: Job, stopwatch: Stopwatch) -> None:
    """Count the events of each key in RocksDB, with a changelog topic, which is the default."""
    _count_by_key(job, stopwatch, use_changelog_topics=True)


def local_state(job: Job, stopwatch: Stopwatch) -> None:
    """The same without the changelog: the state is gone with the machine."""
    _count_by_key(job, stopwatch, use_changelog_topics=False)


def _count_by_key(job: Job, stopwatch: Stopwatch, **options: Any) -> None:
    app, frame = _app(job, **options)
    counter = _Counter(app, job)
    count = counter.count

    def count_key(value: bytes, state: Any) -> None:
        count(value)
        state.set("count", state.get("count", 0) + 1)

    frame.update(count_key, stateful=True)
    _run(app, counter, stopwatch)


def _app(job: Job, **options: Any) -> tuple[Any, Any]:
    from quixstreams import Application

    app = Application(
        broker_address=job.servers,
        consumer_group=job.group,
        auto_offset_reset="earliest",
        processing_guarantee="at-least-once",
        commit_interval=5.0,
        consumer_extra_config={
            "fetch.message.max.bytes": 8 << 20,
            "queued.max.messages.kbytes": 64 << 10,
            "fetch.queue.backoff.ms": 10,
        },
        producer_extra_config={"linger.ms": 20, "compression.type": "lz4"},
        state_dir=job.directory,
        loglevel="WARNING",
        **options,
    )
    return app, app.dataframe(app.topic(job.topic, value_deserializer="bytes"))


class _Counter:
    """Counts messages, and stops the app at the last."""

    def __init__(self, app: Any, job: Job) -> None:
        self.seen = 0
        self._events = job.events
        self._stop = app.stop

    def count(self, value: bytes) -> None:
        self.seen += 1
        if self.seen == self._events:
            self._stop()


def _run(app: Any, counter: _Counter, stopwatch: Stopwatch) -> None:
    """From the assignment until the last record is processed and its checkpoint committed."""
    on_assign = app._on_assign

    def assign(*arguments: Any) -> None:
        on_assign(*arguments)
        stopwatch.start()

    app._on_assign = assign
    app.run()
    stopwatch.add(counter.seen)


if __name__ == "__main__":
    main({"read": read, "produce": produce, "state": state, "local_state": local_state})
