"""The records of a retry topic, sorted by the topics they come from."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.errors import BadRecord, NotARetry
from schemas.retries import Headers, Origin, origin_of

__all__ = ["Retries", "by_origin", "headers_of"]

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Retries:
    """Those records of a chunk that come from one topic.

    topic: what Kafka calls that.
    rows: shape (n,), their positions in the chunk, ascending.
    origins: shape (n,), where each was.
    """

    topic: str
    rows: Int64s
    origins: Sequence[Origin]

    @property
    def partitions(self) -> npt.NDArray[np.int32]:
        """Of the origins; shape (n,)."""
        return np.fromiter((origin.partition for origin in self.origins), np.int32, len(self.origins))

    @property
    def offsets(self) -> Int64s:
        """Of the origins; shape (n,)."""
        return np.fromiter((origin.offset for origin in self.origins), np.int64, len(self.origins))

    @property
    def ingest_ms(self) -> Int64s:
        """When Kafka took the originals, in milliseconds; shape (n,)."""
        return np.fromiter((origin.time_ms for origin in self.origins), np.int64, len(self.origins))

    def in_chunk(self, bad: Sequence[BadRecord]) -> list[BadRecord]:
        """Bad records of these, by position in the chunk instead of position among these."""
        return [item.moved_to(int(self.rows[item.row])) for item in bad]


def by_origin(headers: Sequence[Headers], topics: Collection[str]) -> tuple[list[Retries], list[BadRecord]]:
    """Sort a chunk by origin; `headers` has those of each record, `topics` what the role reads, by Kafka's names.

    A record that does not say where it came from, or comes from what the role does not read, is bad.
    """
    found: defaultdict[str, list[tuple[int, Origin]]] = defaultdict(list)
    bad = []
    for row, given in enumerate(headers):
        try:
            origin = origin_of(given)
        except NotARetry as error:
            bad.append(BadRecord(row, "not_a_retry", str(error)))
            continue
        if origin.topic in topics:
            found[origin.topic].append((row, origin))
        else:
            bad.append(BadRecord(row, "not_a_retry", "its topic of origin is not one that this role reads"))
    return [_retries(topic, group) for topic, group in found.items()], bad


def headers_of(record: Any) -> Headers:
    """The headers of a record from confluent-kafka; none where a name is not UTF-8, which that cannot read."""
    try:
        return record.headers() or []
    except (SystemError, UnicodeDecodeError):
        return []


def _retries(topic: str, group: Sequence[tuple[int, Origin]]) -> Retries:
    return Retries(topic, np.array([row for row, _ in group], np.int64), [origin for _, origin in group])
