"""The dead letters of a role: found, counted, read."""

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import fastavro
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from schemas import wire
from schemas.client.registry import Registry
from schemas.definitions import definition, parse, without_logical_types
from schemas.retries import Origin, foreign
from schemas.topics import Topic, dead_letter_topic, retry_topic
from streams.admin import registry, topic_ids
from streams.replay.reading import Span, TopicReader
from streams.settings import Settings

__all__ = ["Letter", "Letters", "Selection", "counts", "newest"]

#: One row a dead letter: what is known of it without its original, and where it is on its topic.
INDEX = pa.schema(
    [
        ("dead_letter_id", pa.string()),
        ("error_class", pa.string()),
        ("topic", pa.string()),  # of the contract, where it is one
        ("account_id", pa.string()),
        ("attempt", pa.int32()),
        ("written_ms", pa.int64()),
        ("obstacle", pa.string()),  # why it cannot be replayed; null where it can
        ("at_partition", pa.int32()),
        ("at_offset", pa.int64()),
    ]
)
#: Rows before they become columns: objects take ten times the memory.
ROWS_AT_ONCE = 10_000


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter with its original.

    fields: of schemas/avro/dead-letters, times in milliseconds.
    written_ms: when it was written, which is when the record failed.
    obstacle: why it cannot be replayed; None where it can.
    """

    fields: Mapping[str, Any]
    written_ms: int
    at_partition: int
    at_offset: int
    obstacle: str | None

    @property
    def headers(self) -> list[tuple[str, bytes | None]]:
        """Of the original."""
        return [(header["key"], header["value"]) for header in self.fields["headers"]]

    def retry(self) -> tuple[Origin, list[tuple[str, bytes | None]]]:
        """What its next attempt is published with: where it came from, and its own headers."""
        fields = self.fields
        origin = Origin(
            fields["topic"],
            fields["topic_id"],
            fields["partition"],
            fields["offset"],
            fields["record_time"],
            fields["attempt"] + 1,
        )
        return origin, foreign(self.headers)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which dead letters are meant; what is not given does not matter. Times are half-open, in milliseconds."""

    errors: Sequence[str] = ()
    accounts: Sequence[str] = ()
    topics: Sequence[str] = ()
    from_ms: int | None = None
    to_ms: int | None = None

    def of(self, index: pa.Table) -> pa.Table:
        """The rows that are meant."""
        for column, wanted in (
            ("error_class", self.errors),
            ("account_id", self.accounts),
            ("topic", self.topics),
        ):
            if wanted:
                index = index.filter(pc.is_in(index[column], pa.array(wanted, pa.string())))
        if self.from_ms is not None:
            index = index.filter(pc.greater_equal(index["written_ms"], self.from_ms))
        if self.to_ms is not None:
            index = index.filter(pc.less(index["written_ms"], self.to_ms))
        return index


class Letters:
    """The dead letters of one role as they are when this is made.

    Raises TopicError where the role's topic is not there; every method raises Unavailable, RegistryUnavailable.
    """

    def __init__(self, settings: Settings, role: str) -> None:
        topic = dead_letter_topic(role, settings.namespace)
        topic_ids(settings.kafka.client(), [topic.name])
        self._namespace = settings.namespace
        self._retry_topic = retry_topic(role, settings.namespace).name
        self._registry = registry(settings)
        self._read = _letter_reader(topic, self._registry)
        self._reader = TopicReader(settings, topic.name)
        self._spans = self._reader.everything()
        #: What is on the topic and cannot be read as a dead letter.
        self.unreadable = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.close()
        self._registry.close()

    def index(self, advance: Callable[[int], None] = lambda count: None) -> pa.Table:
        """A row each, with the columns of INDEX; `advance` is told how many records were read."""
        self.unreadable = 0
        tables, rows = [INDEX.empty_table()], []
        for messages in self._reader.read(self._spans):
            letters = [letter for message in messages if (letter := self._letter(message)) is not None]
            self.unreadable += len(messages) - len(letters)
            rows += [self._row(letter) for letter in letters]
            if len(rows) >= ROWS_AT_ONCE:
                tables.append(pa.Table.from_pylist(rows, INDEX))
                rows = []
            advance(len(messages))
        return newest(pa.concat_tables([*tables, pa.Table.from_pylist(rows, INDEX)]))

    def fetch(self, index: pa.Table) -> Iterator[Letter]:
        """The letters of these rows with their originals, in the order of their topic's partitions."""
        wanted = {
            partition: np.sort(index.filter(pc.equal(index["at_partition"], partition))["at_offset"].to_numpy())
            for partition in pc.unique(index["at_partition"]).to_pylist()
        }
        spans = {partition: Span(int(offsets[0]), int(offsets[-1]) + 1) for partition, offsets in wanted.items()}
        for messages in self._reader.read(spans):
            for message in messages:
                offsets = wanted[message.partition()]
                place = np.searchsorted(offsets, message.offset())
                if place < len(offsets) and offsets[place] == message.offset():
                    letter = self._letter(message)
                    if letter is not None:
                        yield letter

    @property
    def size(self) -> int:
        """How many records there are to read, at most."""
        return sum(span.size for span in self._spans.values())

    def _letter(self, message: Any) -> Letter | None:
        fields = self._read(message.value())
        if fields is None:
            return None
        _, written_ms = message.timestamp()
        return Letter(fields, written_ms, message.partition(), message.offset(), self._obstacle(fields))

    def _obstacle(self, fields: Mapping[str, Any]) -> str | None:
        if fields["is_cut"]:
            return "cut"
        return "no origin" if fields["topic"] == self._retry_topic else None

    def _row(self, letter: Letter) -> Mapping[str, Any]:
        fields = letter.fields
        return {
            "dead_letter_id": fields["dead_letter_id"],
            "error_class": fields["error_class"],
            "topic": fields["topic"].removeprefix(self._namespace),
            "account_id": fields["account_id"],
            "attempt": fields["attempt"],
            "written_ms": letter.written_ms,
            "obstacle": letter.obstacle,
            "at_partition": letter.at_partition,
            "at_offset": letter.at_offset,
        }


def newest(index: pa.Table) -> pa.Table:
    """Of each dead letter the newest attempt, where it was written more than once."""
    order = [("dead_letter_id", "ascending"), ("attempt", "descending"), ("at_offset", "descending")]
    index = index.sort_by(order)
    ids = index["dead_letter_id"].combine_chunks()
    is_first = np.ones(len(ids), np.bool_)
    is_first[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return index.filter(pa.array(is_first))


def counts(index: pa.Table, by: Sequence[str]) -> pa.Table:
    """How many letters there are by these columns, and the times of the oldest and newest; most first."""
    grouped = index.group_by(list(by)).aggregate([([], "count_all"), ("written_ms", "min"), ("written_ms", "max")])
    return grouped.sort_by([("count_all", "descending"), *((column, "ascending") for column in by)])


def _letter_reader(topic: Topic, source: Registry) -> Callable[[bytes | None], Mapping[str, Any] | None]:
    """A function that reads the value of a dead letter; None for what is not one."""
    reader = parse(without_logical_types(definition(topic.schema).text))
    writers: dict[int, Any] = {}

    def read(value: bytes | None) -> Mapping[str, Any] | None:
        [schema_id] = wire.schema_ids([value]).tolist()
        if schema_id == wire.UNFRAMED or value is None:
            return None
        if schema_id not in writers:
            found = source.writer_schemas(topic.subject, [schema_id])
            writers[schema_id] = parse(without_logical_types(found[schema_id])) if schema_id in found else None
        if writers[schema_id] is None:
            return None
        try:
            fields = fastavro.schemaless_reader(io.BytesIO(value[wire.HEADER_BYTES :]), writers[schema_id], reader)
        except Exception:  # whatever it raises over bytes that are something else
            return None
        return fields if isinstance(fields, dict) else None

    return read
