import time
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.loader.blocks import Block, CommitNote, Limits, Range


@dataclass
class Record:
    at: int
    size: int = 1

    def offset(self) -> int:
        return self.at

    def __len__(self) -> int:
        return self.size


def limits(rows: int = 1_000, size: int = 1_000_000, age_s: float = 1.0) -> Limits:
    return Limits(rows, size, age_s)


def filled(offsets: list[int], start: int = 0, pending_end: int | None = None) -> Block:
    block = Block("topic-1", 2, start, pending_end)
    for offset in offsets:
        block.extend([Record(offset)], now=10.0)
    return block


def test_nothing_is_due_before_rows_or_size_or_age() -> None:
    assert filled([0, 1]).take(limits(rows=3, size=3), now=10.5) is None
    assert filled([]).take(limits(rows=3), now=99.0) is None


def test_a_block_ends_at_its_deadline_and_the_next_begins_there() -> None:
    block = filled([5, 6], start=4)
    assert block.take(limits(rows=9), now=11.0) == (
        Range("topic-1", 2, 4, 7),
        [Record(5), Record(6)],
    )
    assert block.start == 7
    block.extend([Record(7)], now=12.0)
    assert block.take(limits(rows=9), now=12.5) is None


@pytest.mark.parametrize(
    ("sizes", "limit", "taken"),
    [
        ([10, 10, 10, 1000], 9, 1),
        ([10, 10, 10, 1000], 25, 2),
        ([10, 10, 10, 1000], 30, 3),
        ([10, 10, 10, 1000], 31, 3),
        ([1000, 10], 100, 1),
    ],
)
def test_a_block_takes_what_fits_into_its_bytes_and_at_least_one(sizes: list[int], limit: int, taken: int) -> None:
    block = Block("topic-1", 2, 0)
    block.extend([Record(offset, size) for offset, size in enumerate(sizes)], now=10.0)
    due = block.take(limits(size=limit), now=10.0)
    assert due is not None
    assert [record.at for record in due[1]] == list(range(taken))
    assert block.size == sum(sizes[taken:])


def test_a_repeat_ends_exactly_where_the_first_attempt_did() -> None:
    block = filled([4, 5, 6, 7, 8], start=4, pending_end=7)
    due = block.take(limits(rows=2, size=1, age_s=0.0), now=10.0)
    assert due == (Range("topic-1", 2, 4, 7), [Record(4), Record(5), Record(6)])
    following = block.take(limits(rows=2, age_s=0.0), now=10.0)
    assert following == (Range("topic-1", 2, 7, 9), [Record(7), Record(8)])


def test_a_repeat_waits_until_it_is_whole_however_long_that_takes_and_large_it_is() -> None:
    assert filled([4, 5], start=4, pending_end=7).take(limits(rows=1, size=1, age_s=0.0), now=1e9) is None


def test_a_repeat_of_a_range_whose_end_kafka_keeps_for_itself() -> None:
    """Offset 6 was a transaction marker: the record after it shows that the range is whole."""
    due = filled([4, 5, 7], start=4, pending_end=7).take(limits(rows=9, age_s=0.0), now=10.0)
    assert due == (Range("topic-1", 2, 4, 7), [Record(4), Record(5)])


@pytest.mark.parametrize("again", [3, 5])
def test_a_record_from_before_the_position_is_not_taken(again: int) -> None:
    with pytest.raises(ValueError, match=f"offset {again} came again"):
        filled([4, 5], start=4).extend([Record(again)], now=10.0)


def test_the_age_of_what_is_not_committed() -> None:
    block = Block("topic-1", 2, 0)
    assert block.commit_age() == 0
    began = time.monotonic() - 100
    block.extend([Record(0)], began)
    block.extend([Record(1), Record(2)], began + 60)
    assert 100 <= block.commit_age() < 150
    assert block.take(limits(rows=1), began + 60)
    assert 100 <= block.commit_age() < 150, "taken, and not committed"
    block.committed()
    assert 40 <= block.commit_age() < 90, "the others came later"
    assert block.take(limits(), began + 100)
    block.committed()
    assert block.commit_age() == 0


def test_the_token_names_generation_partition_and_range() -> None:
    assert Range("topic-1", 2, 4, 7).token == "topic-1-2-4-7"


@given(st.text("abcXYZ019-_", min_size=1), st.none() | st.integers(0, 2**60))
def test_a_commit_note_survives_kafka(topic_id: str, end: int | None) -> None:
    assert CommitNote.read(CommitNote(topic_id, end).text()) == CommitNote(topic_id, end)


@pytest.mark.parametrize("text", [None, ""])
def test_a_commit_without_a_note(text: str | None) -> None:
    assert CommitNote.read(text) is None


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=40),
    st.integers(1, 7),
    st.integers(1, 30),
    st.lists(st.integers(0, 5), max_size=40),
)
def test_blocks_cover_every_record_once_in_order(
    gaps_and_sizes: list[tuple[int, int]], rows: int, size: int, arrivals: list[int]
) -> None:
    offsets = [sum(gap for gap, _ in gaps_and_sizes[: index + 1]) for index in range(len(gaps_and_sizes))]
    waiting = [Record(offset, size) for offset, (_, size) in zip(offsets, gaps_and_sizes, strict=True)]
    block = Block("t", 0, 0)
    taken: list[int] = []
    ends = [0]
    for count in [*arrivals, len(waiting)]:
        if waiting[:count]:
            block.extend(waiting[:count], now=0.0)
        waiting = waiting[count:]
        while due := block.take(limits(rows, size, age_s=0.0), now=2.0):
            assert due[0].start == ends[-1]
            assert all(due[0].start <= record.offset() < due[0].end for record in due[1])
            assert len(due[1]) == 1 or (len(due[1]) <= rows and sum(map(len, due[1])) <= size)
            ends.append(due[0].end)
            taken += [record.offset() for record in due[1]]
    assert taken == offsets
    assert block.size == 0
