"""Blocks of a partition: which records go into ClickHouse together, and what the commit says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Block", "CommitNote", "Range"]


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
    began_at: monotonic time of its first record, seconds.
    """

    topic_id: str
    partition: int
    start: int
    pending_end: int | None = None
    began_at: float | None = None
    records: list[Any] = field(default_factory=list)

    def add(self, record: Any, now: float) -> None:
        """Take the next record of the partition."""
        if self.began_at is None:
            self.began_at = now
        self.records.append(record)

    def take(self, max_rows: int, max_age_s: float, now: float) -> tuple[Range, Sequence[Any]] | None:
        """The records of a block that is due, and a new block begun after it; None where none is due.

        A repeat ends exactly where the first attempt did, whatever has arrived since.
        """
        if not self.records or self.began_at is None:
            return None
        if self.pending_end is not None:
            if self.records[-1].offset() + 1 < self.pending_end:
                return None
            count = sum(record.offset() < self.pending_end for record in self.records)
            end = self.pending_end
        elif len(self.records) >= max_rows or now - self.began_at >= max_age_s:
            count = min(len(self.records), max_rows)
            end = self.records[count - 1].offset() + 1
        else:
            return None
        taken, self.records = self.records[:count], self.records[count:]
        done = Range(self.topic_id, self.partition, self.start, end)
        self.start, self.pending_end = end, None
        self.began_at = now if self.records else None
        return done, taken
