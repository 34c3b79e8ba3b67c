"""The models of matching, as `spendloop learn matching` publishes them, for whoever matches conversions.

Guarantee: at its start a reader has every model that was published before, and it takes up others as often as it is
asked to. A model is in force for conversions that arrive some minutes after it was published: whoever follows more
often than that knows it in time, and every process matches a conversion with the same one. Versions that are no longer
in force stay on the topic for 60 days at least, so that what is matched anew finds the model it was matched with.
"""

import logging
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, Self

import numpy as np
import pyarrow as pa
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.matching.model import MatchModel
from processors.matching.versions import Versions
from schemas.client.registry import Registry
from schemas.codec import Decoder
from schemas.topics import topics
from sinks.errors import Unavailable
from streams.offsets import patiently
from streams.settings import Settings

__all__ = ["MODELS", "MatchModels"]

MODELS = "match-models"
TIMEOUT_S = 30.0
POLL_S = 0.2
RECORDS_AT_ONCE = 200
#: Of a tenant. One is about 12 kB in memory; learned daily, they reach back as long as the topic keeps them.
VERSIONS = 64

logger = logging.getLogger(__name__)


class MatchModels:
    """Every tenant's models. `load` once, then `follow` on a timer, from one thread; `model_for` from any."""

    def __init__(self, settings: Settings, schemas: Registry) -> None:
        topic = topics(settings.namespace)[MODELS]
        self._name = topic.name
        self._decoder = Decoder(topic, schemas)
        self._versions: Versions[MatchModel | None] = Versions(VERSIONS)
        conf: dict[str, Any] = {
            "group.id": settings.group("match-models"),  # the client asks for one; nothing is ever committed under it
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
        self._consumer = Consumer({**settings.kafka.client(), **conf})
        #: Records that have come and that nobody could decode yet.
        self._taken: list[Message] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._consumer.close()

    def load(self) -> int:
        """Read the topic to its end as it is now; how many records there were.

        Raises Unavailable, RegistryUnavailable.
        """
        found = patiently(lambda: self._consumer.list_topics(self._name, TIMEOUT_S)).topics[self._name]
        if found.error is not None:
            raise Unavailable(f"{self._name}: {found.error.str()}; `spendloop topics apply` creates what is missing")
        self._decoder.prepare()
        self._taken = []
        partitions = [TopicPartition(self._name, number, OFFSET_BEGINNING) for number in found.partitions]
        # Kafka takes half a second to say that a partition ends where nothing more comes: that is known before.
        last = self._last_offsets(partitions)
        self._consumer.assign(partitions)
        unread, count = set(last), 0
        heard_at = time.monotonic()
        while unread:
            records, ended = self._take(POLL_S)
            count += len(records)
            unread -= ended | {record.partition() for record in records if record.offset() >= last[record.partition()]}
            if records or ended:
                heard_at = time.monotonic()
            elif time.monotonic() - heard_at > TIMEOUT_S:
                raise Unavailable(f"{self._name} could not be read to its end: nothing more came")
        return count

    def follow(self) -> int:
        """Take up what has been published since, without waiting for more; how many records that was.

        Raises Unavailable, RegistryUnavailable.
        """
        count = 0
        while records := self._take(0)[0]:
            count += len(records)
        return count

    def model_for(self, account_id: str, ingest_ms: int) -> MatchModel | None:
        """The model that conversions of a tenant are matched with which Kafka took at that time; None for none."""
        return self._versions.at(account_id, ingest_ms)

    def _last_offsets(self, partitions: Iterable[TopicPartition]) -> dict[int, int]:
        """The offset before the end of each partition that is not empty."""
        ask = self._consumer.get_watermark_offsets
        bounds = {tp.partition: patiently(partial(ask, tp, TIMEOUT_S)) for tp in partitions}
        return {partition: high - 1 for partition, (low, high) in bounds.items() if low < high}

    def _take(self, within_s: float) -> tuple[list[Message], set[int]]:
        """What came, and the partitions of which the end was reached."""
        try:
            messages = self._consumer.consume(RECORDS_AT_ONCE, within_s)
        except KafkaException as error:
            raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
        records = [message for message in messages if message.error() is None]
        errors = [message for message in messages if message.error() is not None]
        # What has come does not come again: it is kept until it is decoded.
        self._taken += records
        if self._taken:
            self._add(self._taken)
            self._taken = []
        ended = {message.partition() for message in errors if message.error().code() == KafkaError._PARTITION_EOF}
        for said in (message.error() for message in errors):
            if said.code() != KafkaError._PARTITION_EOF and not said.retriable():
                raise Unavailable(f"{self._name}: {said.str()}")
        return records, ended

    def _add(self, records: list[Message]) -> None:
        ingest_ms = np.fromiter((record.timestamp()[1] for record in records), np.int64, len(records))
        decoded = self._decoder.decode([record.value() for record in records], ingest_ms)
        for bad in decoded.bad:
            logger.error("%s: a record was left out: %s: %s", self._name, bad.error, bad.message)
        times = decoded.batch.column("in_force_from").cast(pa.int64()).to_pylist()
        texts = (decoded.batch.column(name).to_pylist() for name in ("account_id", "version", "model"))
        for from_ms, account_id, version, text in zip(times, *texts, strict=True):
            self._versions.add(account_id, from_ms, self._readable(account_id, version, text))

    def _readable(self, account_id: str, version: str, text: str | None) -> MatchModel | None:
        """The model; None where there is none any more, or none that this build reads."""
        try:
            return None if text is None else MatchModel.from_json(text)
        except ValueError as error:
            logger.error("model %s of %s: %s; nothing is matched by it", version, account_id, error)  # noqa: TRY400
            return None
