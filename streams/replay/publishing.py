"""Records on their way to the retry topic of a role, no faster than they should be."""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from schemas.client.publisher import Publisher
from schemas.retries import Headers, Origin, foreign, to_headers
from schemas.topics import retry_topic
from streams.replay.letters import Letter
from streams.replay.origins import headers_of

__all__ = ["RetryPublisher"]

#: Shorter pauses would not be kept to.
LEAST_PAUSE_S = 0.005
#: Often enough that a failure is seen before much more is sent.
FLUSH_EVERY = 1_000
#: What a message takes beside its key, value and headers, with room to spare.
OVERHEAD_BYTES = 4 << 10


class RetryPublisher:
    """Publishes retries for one role. Publishing one twice changes nothing: its effects are those of its origin.

    Guarantee: at-least-once. What a method was given is acknowledged by Kafka when it returns; it raises
    DeliveryFailed otherwise.
    """

    def __init__(self, publisher: Publisher, role: str, rate_per_s: float) -> None:
        self._publisher = publisher
        self._topic = retry_topic(role)
        self._interval_s = 1 / rate_per_s
        self._next_at = time.monotonic()
        #: Records published.
        self.published = 0
        #: Records left out: uncompressed they are larger than any message may be.
        self.too_large = 0

    def letters(self, letters: Iterable[Letter], advance: Callable[[int], None]) -> None:
        """Publish the originals of dead letters, each as its next attempt."""
        for letter in letters:
            origin, headers = letter.retry()
            self._put(origin, letter.fields["key"], letter.fields["value"], headers)
            advance(1)
        self._publisher.flush()

    def records(
        self,
        topic_id: str,
        batches: Iterable[Sequence[Any]],
        is_meant: Callable[[int], bool],
        advance: Callable[[int], None],
    ) -> None:
        """Publish the records of a topic again, as first attempts, where `is_meant` says so of their time (ms)."""
        for records in batches:
            for record in records:
                _, time_ms = record.timestamp()
                if is_meant(time_ms):
                    origin = Origin(record.topic(), topic_id, record.partition(), record.offset(), time_ms, attempt=1)
                    self._put(origin, record.key(), record.value(), foreign(headers_of(record)))
                advance(1)
        self._publisher.flush()

    def _put(self, origin: Origin, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        headers = [*headers, *to_headers(origin)]
        if _size(key, value, headers) > self._topic.max_message_bytes:
            self.too_large += 1
            return
        self._pause()
        self._publisher.send(self._topic.contract, key, value, headers)
        self.published += 1
        if self.published % FLUSH_EVERY == 0:
            self._publisher.flush()

    def _pause(self) -> None:
        pause_s = self._next_at - time.monotonic()
        if pause_s >= LEAST_PAUSE_S:
            time.sleep(pause_s)
        self._next_at = max(self._next_at, time.monotonic()) + self._interval_s


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    own = sum(len(name.encode()) + len(content or b"") for name, content in headers)
    return len(key or b"") + len(value or b"") + own + OVERHEAD_BYTES
