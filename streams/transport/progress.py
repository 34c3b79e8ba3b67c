"""How far one partition is: what was delivered, what is finished, what may be committed."""

from collections import deque

from streams.transport.chunk import Chunk

__all__ = ["Progress"]

#: One being worked on, one ready.
MAX_CHUNKS = 2


class Progress:
    """Chunks of one partition between fetch and commit, oldest first. They follow each other without a gap.

    >>> progress = Progress(10)
    >>> first, second = (Chunk("t", 0, start, start + 5, 1, [], [], 100) for start in (10, 15))
    >>> progress.deliver(first), progress.deliver(second)
    (None, None)
    >>> second.finish()
    >>> progress.committable()  # nothing: the first is not finished
    >>> first.finish()
    >>> progress.committable()
    20
    >>> progress.abandon()
    >>> progress.has_room, progress.is_given_up  # what came next would be worked on without what was abandoned
    (False, True)
    """

    def __init__(self, start: int) -> None:
        #: Where the next chunk has to begin.
        self.next_start = start
        self._chunks: deque[Chunk] = deque()
        #: Something was abandoned: the partition begins anew, and until then nothing is delivered.
        self.is_given_up = False

    @property
    def has_room(self) -> bool:
        """Whether another chunk may be taken into memory."""
        return not self.is_given_up and sum(not chunk.is_finished for chunk in self._chunks) < MAX_CHUNKS

    @property
    def is_idle(self) -> bool:
        """Nobody works on a chunk."""
        return not any(chunk.is_being_worked_on for chunk in self._chunks)

    @property
    def oldest_taken_at(self) -> float | None:
        """Monotonic time of the oldest fetch that is not committed, seconds; None where all is."""
        return self._chunks[0].taken_at if self._chunks else None

    def deliver(self, chunk: Chunk) -> None:
        """Take the next chunk, which begins at `next_start`."""
        self.next_start = chunk.end
        self._chunks.append(chunk)

    def committable(self) -> int | None:
        """The end of the last chunk with no unfinished one before it; None where there is none to commit."""
        end = None
        for chunk in self._chunks:
            if not chunk.is_finished:
                break
            end = chunk.end
        return end

    def committed(self, offset: int) -> None:
        """Let go of what ends at or before the offset."""
        while self._chunks and self._chunks[0].is_finished and self._chunks[0].end <= offset:
            self._chunks.popleft()

    def abandon(self, *, waiting_only: bool = False) -> None:
        """Whatever is not finished counts for nothing any more."""
        self.is_given_up = True
        for chunk in self._chunks:
            if chunk.is_waiting or not (waiting_only or chunk.is_finished):
                chunk.abandon()
