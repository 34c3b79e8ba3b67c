"""A role's state from nothing, out of the topics it reads (delivery.md, rule 9).

What is read are the inputs and the retries up to what the role has committed; nothing is emitted. The role then goes
on from its commits, and emits again what it had stored and perhaps not emitted. Facts that have expired expire again
on arrival, for their expiries follow from their own times.

Guarantee: until the rebuild has ended the role finds no fences and refuses to start; one that was broken off is
simply run again.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas.spans import Partition
from sinks.errors import Unavailable
from sinks.redis.attribution_store import REBUILD, ROLE
from streams.accept import require_stopped
from streams.admin import RecordsGone, registry
from streams.attribution_inputs import Inputs, attribution_store
from streams.offsets import Offsets, require_commits_of
from streams.roles import ROLES
from streams.settings import Settings
from streams.transport.fetched import MAX_CHUNK_RECORDS
from streams.transport.unreadable import PlainRecord, plain

__all__ = ["Rebuilt", "rebuild_attribution"]

POLL_S = 0.5
#: Kafka answers within that, or it is away.
SILENCE_S = 30.0


class Rebuilt(NamedTuple):
    """What a rebuild did: keys forgotten first, records read, and how many of them the dead letters have."""

    forgotten: int
    records: int
    bad: int


@dataclass(slots=True)
class _Chunk:
    topic: str
    partition: int
    start: int
    end: int
    records: list[PlainRecord]

    @property
    def values(self) -> list[bytes | None]:
        return [record.value for record in self.records]


class _Range(NamedTuple):
    topic: str
    partition: int
    start: int
    end: int


async def rebuild_attribution(settings: Settings, report: Callable[[int, int], None]) -> Rebuilt:
    """Forget the state of the attribution role and build it anew.

    `report` is told how many records are done, of how many offsets. Raises RoleRunning, Unavailable, Refused.
    """
    require_stopped(settings, [ROLES[ROLE]])
    store = attribution_store(settings, REBUILD)
    schemas = registry(settings)
    try:
        inputs = Inputs(settings, schemas, store)
        ranges = _ranges(settings, inputs)
        total = sum(item.end - item.start for item in ranges)
        forgotten = await store.wipe()
        await store.fences.begin({_partition(inputs, item): item.start for item in ranges})
        records = bad = 0
        for item in ranges:
            for chunk in _chunks(settings, item):
                bad += await _store(inputs, chunk)
                records += len(chunk.records)
                report(records, total)
        if ranges:
            # How often a conversion was settled is not on any topic, and its versions counted that, too.
            await store.begin_epoch(int(time.time() * 1000))
            await store.end_rebuild()
        return Rebuilt(forgotten, records, bad)
    finally:
        await store.close()
        schemas.close()


def _ranges(settings: Settings, inputs: Inputs) -> list[_Range]:
    """What the role has worked on and the log still has, by partition."""
    found = []
    with Offsets(settings) as offsets:
        require_commits_of(offsets, ROLE, inputs.topics.values(), inputs.topic_ids, settings.group(ROLE))
        for name, topic in inputs.topics.items():
            bounds = offsets.bounds(topic.contract)
            for partition, commit in offsets.commits(ROLE, topic.contract).items():
                low, high = bounds[partition]
                if commit.offset is not None and not low <= commit.offset <= high:
                    raise RecordsGone(name, partition, commit.offset, low, high)
                if commit.offset is not None:
                    found.append(_Range(name, partition, low, commit.offset))
    return found


def _chunks(settings: Settings, wanted: _Range) -> Iterator[_Chunk]:
    """The records of a range, in chunks that cover it without a gap."""
    conf: dict[str, Any] = {"group.id": settings.group("rebuild"), "enable.auto.commit": False}
    # The log may end with what is no record, such as a transaction's marker: the position does not pass that.
    conf |= {"auto.offset.reset": "error", "enable.partition.eof": True}
    consumer = Consumer({**settings.kafka.client(), **conf})
    consumer.assign([TopicPartition(wanted.topic, wanted.partition, wanted.start)])
    position, heard_at = wanted.start, time.monotonic()
    try:
        while position < wanted.end:
            records, reached = [], position
            for message in consumer.consume(MAX_CHUNK_RECORDS, POLL_S):
                if message.error() is None and message.offset() < wanted.end:
                    records.append(plain(message))
                    reached = message.offset() + 1
                elif message.error() is None or message.error().code() == KafkaError._PARTITION_EOF:
                    reached = wanted.end
                else:
                    raise Unavailable(f"{wanted.topic}/{wanted.partition}: {message.error().str()}")
            if reached > position:
                yield _Chunk(wanted.topic, wanted.partition, position, reached, records)
                position, heard_at = reached, time.monotonic()
            elif time.monotonic() - heard_at > SILENCE_S:
                raise Unavailable(f"{wanted.topic}/{wanted.partition} could not be read on: nothing more came")
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
    finally:
        consumer.close()


async def _store(inputs: Inputs, chunk: _Chunk) -> int:
    """Store the facts of a chunk; how many records were bad."""
    span = inputs.span(chunk)
    parts, bad = inputs.parts(chunk)
    count = len(bad)
    for number, part in enumerate(parts, 1):
        decoded = inputs.decode(part)
        count += len(decoded.bad)
        await inputs.store(span, part, decoded, inputs.links(part, decoded), is_end=number == len(parts))
    if not parts:
        await inputs.store_nothing(span)
    return count


def _partition(inputs: Inputs, item: _Range) -> Partition:
    return Partition(inputs.topic_ids[item.topic], item.partition)
