"""What may be committed of one partition, whatever the order in which its chunks are finished."""

from hypothesis import given
from hypothesis import strategies as st

from streams.transport.chunk import Chunk
from streams.transport.progress import MAX_CHUNKS, Progress


def chunk(start: int, end: int) -> Chunk:
    return Chunk("t", 0, start, end, 1, [], [], 10)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=12), st.data())
def test_the_commit_is_the_end_of_the_finished_head(lengths: list[int], data: st.DataObject) -> None:
    progress = Progress(100)
    chunks = []
    for length in lengths:
        chunks.append(chunk(progress.next_start, progress.next_start + length))
        progress.deliver(chunks[-1])
    finished: set[int] = set()
    for position in data.draw(st.permutations(range(len(chunks)))):
        chunks[position].begin()
        chunks[position].finish()
        finished.add(position)
        head = next((n for n in range(len(chunks)) if n not in finished), len(chunks))
        assert progress.committable() == (chunks[head - 1].end if head else None)
    progress.committed(chunks[-1].end)
    assert progress.oldest_taken_at is None


def test_there_is_room_for_two() -> None:
    progress = Progress(0)
    for start in range(MAX_CHUNKS):
        assert progress.has_room
        progress.deliver(chunk(start, start + 1))
    assert not progress.has_room


def test_what_is_abandoned_cannot_be_begun_nor_finished() -> None:
    progress = Progress(0)
    working, waiting = chunk(0, 1), chunk(1, 2)
    progress.deliver(working)
    progress.deliver(waiting)
    working.begin()
    progress.abandon(waiting_only=True)
    assert not progress.is_idle
    assert waiting.is_abandoned
    progress.abandon()
    working.finish()
    assert working.is_abandoned
    assert not waiting.begin()
    assert progress.committable() is None
