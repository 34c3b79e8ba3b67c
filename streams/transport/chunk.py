"""What one Faust event carries in the batch lane."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Chunk"]


@dataclass(slots=True)
class Chunk:
    """Consecutive records of one partition.

    start, end: the consumer's position before and after the fetch. They enclose the records' offsets, and also
    what Kafka keeps for itself between them (transaction markers, compacted records).
    generation: of the consumer group when the records were fetched.
    """

    topic: str
    partition: int
    start: int
    end: int
    generation: int
    records: Sequence[Any] = field(repr=False)  # they hold personal data
    is_finished: bool = False

    def finish(self) -> None:
        """Everything the chunk gives rise to is acknowledged: its end may be committed, its records let go.

        Faust's own acknowledgement does not count, since Faust also acknowledges what it skips.
        """
        self.is_finished = True
        self.records = ()
