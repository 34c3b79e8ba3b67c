"""Blocks of a partition: which records go into ClickHouse together, and what the commit says of them."""

import time
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

__all__ = ["Block", "CommitNote", "Limits", "Range"]


@dataclass(frozen=True, slots=True)
class Limits:
    """A block goes out when it has so many rows, so many bytes of values (`size`), or records of this age."""

    rows: int
    size: int
    age_s: float


@dataclass(frozen=True, slots=True)
class Range:
    """Offsets [start, end) of one partition of one generation of a topic."""

    topic_id: str
    partition: int
    start: int
    end: int

    @property
    def token(self) -> str:
        """ClickHouse drops a second insert under the same token."""
        return f"{self.topic_id}-{self.partition}-{self.start}-{self.end}"


@dataclass(frozen=True, slots=True)
class CommitNote:
    """The metadata of an offset commit: the topic's generation, and the end of a block that may have landed.

    >>> CommitNote.read(CommitNote("A1b2", 200).text())
    CommitNote(topic_id='A1b2', pending_end=200)
    >>> CommitNote.read("")
    """

    topic_id: str
    pending_end: int | None = None

    def text(self) -> str:
        """As it is committed."""
        return self.topic_id if self.pending_end is None else f"{self.topic_id} {self.pending_end}"

    @staticmethod
    def read(text: str | None) -> "CommitNote | None":
        """From the metadata of a commit; None where there is none."""
        if not text:
            return None
        topic_id, _, end = text.partition(" ")
        return CommitNote(topic_id, int(end) if end else None)


@dataclass(slots=True)
class Block:
    """Records of one partition on their way into a block.

    start: the position the block begins at.
    pending_end: where it has to end, when it is the repeat of one that may have landed; else None.
    size: bytes of the values held here.
    began_at, grew_at: monotonic time of the oldest and of the newest record held here, seconds.
    loading_since: the same of the oldest record that was taken from here and is not committed yet.
    """

    topic_id: str
    partition: int
    start: int
    pending_end: int | None = None
    records: list[Any] = field(default_factory=list, repr=False)  # they hold personal data
    size: int = 0
    began_at: float | None = None
    grew_at: float = 0.0
    loading_since: float | None = None

    def extend(self, records: Sequence[Any], now: float) -> None:
        """Take the next records of the partition. Raises ValueError for records from before its position."""
        position = self.records[-1].offset() + 1 if self.records else self.start
        if records[0].offset() < position:
            raise ValueError(f"partition {self.partition}: offset {records[0].offset()} came again, after {position}")
        if self.began_at is None:
            self.began_at = now
        self.grew_at = now
        self.records += records
        self.size += sum(map(len, records))

    def take(self, limits: Limits, now: float) -> tuple[Range, Sequence[Any]] | None:
        """The records of a block that is due, and a new block begun after it; None where none is due.

        A repeat ends exactly where the first attempt did, whatever has arrived since.
        """
        if not self.records or self.began_at is None:
            return None
        if self.pending_end is not None:
            if self.records[-1].offset() + 1 < self.pending_end:
                return None
            count = bisect_left(self.records, self.pending_end, key=_offset)
            end = self.pending_end
        elif self._is_due(self.began_at, limits, now):
            count = self._count(limits)
            end = self.records[count - 1].offset() + 1
        else:
            return None
        taken, self.records = self.records[:count], self.records[count:]
        done = Range(self.topic_id, self.partition, self.start, end)
        self.start, self.pending_end = end, None
        self.loading_since = self.began_at
        self.began_at = self.grew_at if self.records else None
        self.size = sum(map(len, self.records))
        return done, taken

    def committed(self) -> None:
        """What was taken last is loaded and committed."""
        self.loading_since = None

    def commit_age(self) -> float:
        """Seconds since the oldest record that is not committed was taken; 0 where there is none."""
        since = self.loading_since if self.loading_since is not None else self.began_at
        return 0.0 if since is None else time.monotonic() - since

    def _is_due(self, began_at: float, limits: Limits, now: float) -> bool:
        return len(self.records) >= limits.rows or self.size >= limits.size or now - began_at >= limits.age_s

    def _count(self, limits: Limits) -> int:
        """As many records as fit, at least one."""
        if self.size <= limits.size:
            return min(len(self.records), limits.rows)
        fitting = bisect_right(list(accumulate(map(len, self.records))), limits.size)
        return max(1, min(fitting, limits.rows))


def _offset(record: Any) -> int:
    offset: int = record.offset()
    return offset
