"""What one Faust event carries in the batch lane."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Chunk"]


@dataclass(frozen=True, slots=True)
class Chunk:
    """Consecutive records of one partition.

    start, end: the consumer's position before and after the fetch. They enclose the records' offsets, and also
    what Kafka keeps for itself between them (transaction markers, compacted records).
    log_end: offset after the partition's newest record, as of the fetch.
    generation: of the consumer group when the records were fetched.
    """

    topic: str
    partition: int
    start: int
    end: int
    log_end: int
    generation: int
    records: Sequence[Any]
