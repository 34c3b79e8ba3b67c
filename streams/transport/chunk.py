"""What one Faust event carries in the batch lane."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

__all__ = ["Abandoned", "Chunk"]


class Abandoned(Exception):
    """The chunk is no longer this worker's to finish: whoever owns the partition now begins it anew."""


class State(Enum):
    WAITING = auto()
    WORKING = auto()
    FINISHED = auto()
    ABANDONED = auto()


@dataclass(slots=True)
class Chunk:
    """Consecutive records of one partition.

    start, end: the consumer's position before and after the fetch. They enclose the records' offsets, and also
    what Kafka keeps for itself between them (transaction markers, compacted records).
    generation: of the consumer group when the records were fetched.
    records: each with offset, timestamp (ms), key, value and headers.
    values: of the records, in their order.
    size_bytes: of the values.
    taken_at: monotonic time of the fetch, seconds.
    """

    topic: str
    partition: int
    start: int
    end: int
    generation: int
    records: Sequence[Any] = field(repr=False)  # they hold personal data
    values: Sequence[bytes | None] = field(repr=False)
    size_bytes: int
    taken_at: float = field(default_factory=time.monotonic)
    _state: State = State.WAITING

    @property
    def is_waiting(self) -> bool:
        """Nobody has begun it."""
        return self._state is State.WAITING

    @property
    def is_being_worked_on(self) -> bool:
        """Somebody has begun it, and it still counts."""
        return self._state is State.WORKING

    @property
    def is_finished(self) -> bool:
        """Its end may be committed."""
        return self._state is State.FINISHED

    @property
    def is_abandoned(self) -> bool:
        """Working on it is in vain."""
        return self._state is State.ABANDONED

    def begin(self) -> bool:
        """Whether it is still to be worked on, which it is from now on."""
        if self._state is not State.WAITING:
            return False
        self._state = State.WORKING
        return True

    def finish(self) -> None:
        """Everything the chunk gives rise to is acknowledged: its end may be committed, its records let go.

        Faust's own acknowledgement does not count, since Faust also acknowledges what it skips.
        """
        if self._state is not State.ABANDONED:
            self._state = State.FINISHED
        self._forget()

    def abandon(self) -> None:
        """The partition went, or begins anew elsewhere in the log. What is under way may end; it counts for nothing."""
        if self._state is State.WAITING:
            self._forget()
        self._state = State.ABANDONED

    def require_current(self) -> None:
        """Raises Abandoned."""
        if self.is_abandoned:
            raise Abandoned(f"{self.topic}/{self.partition} [{self.start}, {self.end})")

    def _forget(self) -> None:
        self.records, self.values = (), ()
