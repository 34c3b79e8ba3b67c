"""Records of a topic as columns, so many at a time, whatever group reads the topic otherwise."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.client.registry import Registry
from schemas.codec import Decoder
from schemas.topics import topics
from streams.replay.reading import Span, TopicReader
from streams.settings import Settings

__all__ = ["Columns", "Part"]

#: What is decoded at once, at most: records, and bytes of them.
PART_RECORDS, PART_BYTES = 50_000, 32 << 20


class Part(NamedTuple):
    """Good records as columns, and when Kafka took each, milliseconds. Shape (batch.num_rows,)."""

    batch: pa.RecordBatch
    ingest_ms: npt.NDArray[np.int64]


class Columns:
    """Reads a topic, or what of it arrived between two times. Bad records are left out, and counted.

    Every method raises Unavailable or RegistryUnavailable where somebody does not answer.
    """

    def __init__(self, settings: Settings, schemas: Registry, contract: str) -> None:
        self._settings = settings
        self._topic = topics(settings.namespace)[contract]
        self._decoder = Decoder(self._topic, schemas, settings.event_time_bounds(contract))
        self.bad = 0

    def everything(self, keys: Collection[bytes] | None = None) -> Iterator[Part]:
        """All there is, or what has one of these keys."""
        with TopicReader(self._settings, self._topic.name) as reader:
            yield from self._read(reader, reader.everything(), keys)

    def between(self, from_ms: int, to_ms: int) -> Iterator[Part]:
        """What Kafka took from one time to before another, milliseconds."""
        with TopicReader(self._settings, self._topic.name) as reader:
            yield from self._read(reader, reader.between(from_ms, to_ms), None)

    def _read(self, reader: TopicReader, spans: Mapping[int, Span], keys: Collection[bytes] | None) -> Iterator[Part]:
        waiting: list[Any] = []
        size = 0
        for records in reader.read(spans):
            for record in records:
                if keys is None or record.key() in keys:
                    waiting.append(record)
                    size += len(record.value() or b"")
            if len(waiting) >= PART_RECORDS or size >= PART_BYTES:
                yield self._decode(waiting)
                waiting, size = [], 0
        if waiting:
            yield self._decode(waiting)

    def _decode(self, records: list[Any]) -> Part:
        ingest_ms = np.fromiter((record.timestamp()[1] for record in records), np.int64, len(records))
        decoded = self._decoder.decode([record.value() for record in records], ingest_ms)
        self.bad += len(decoded.bad)
        return Part(decoded.batch, ingest_ms[decoded.rows])
