from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.loader.blocks import Block, CommitNote, Range


@dataclass
class Record:
    at: int

    def offset(self) -> int:
        return self.at


def filled(offsets: list[int], start: int = 0, pending_end: int | None = None) -> Block:
    block = Block("topic-1", 2, start, pending_end)
    for offset in offsets:
        block.add(Record(offset), now=10.0)
    return block


def test_nothing_is_due_before_rows_or_age() -> None:
    assert filled([0, 1]).take(max_rows=3, max_age_s=1.0, now=10.5) is None
    assert filled([]).take(max_rows=3, max_age_s=1.0, now=99.0) is None


def test_a_block_ends_at_its_deadline_and_the_next_begins_there() -> None:
    block = filled([5, 6], start=4)
    assert block.take(max_rows=9, max_age_s=1.0, now=11.0) == (
        Range("topic-1", 2, 4, 7),
        [Record(5), Record(6)],
    )
    assert block.start == 7
    block.add(Record(7), now=12.0)
    assert block.take(max_rows=9, max_age_s=1.0, now=12.5) is None


def test_a_repeat_ends_exactly_where_the_first_attempt_did() -> None:
    block = filled([4, 5, 6, 7, 8], start=4, pending_end=7)
    due = block.take(max_rows=2, max_age_s=0.0, now=10.0)
    assert due == (Range("topic-1", 2, 4, 7), [Record(4), Record(5), Record(6)])
    following = block.take(max_rows=2, max_age_s=0.0, now=10.0)
    assert following == (Range("topic-1", 2, 7, 9), [Record(7), Record(8)])


def test_a_repeat_waits_until_it_is_whole_however_long_that_takes() -> None:
    assert filled([4, 5], start=4, pending_end=7).take(max_rows=1, max_age_s=0.0, now=1e9) is None


def test_a_repeat_of_a_range_whose_end_kafka_keeps_for_itself() -> None:
    """Offset 6 was a transaction marker: the record after it shows that the range is whole."""
    due = filled([4, 5, 7], start=4, pending_end=7).take(max_rows=9, max_age_s=0.0, now=10.0)
    assert due == (Range("topic-1", 2, 4, 7), [Record(4), Record(5)])


def test_the_token_names_generation_partition_and_range() -> None:
    assert Range("topic-1", 2, 4, 7).token == "topic-1-2-4-7"


@given(st.text("abcXYZ019-_", min_size=1), st.none() | st.integers(0, 2**60))
def test_a_commit_note_survives_kafka(topic_id: str, end: int | None) -> None:
    assert CommitNote.read(CommitNote(topic_id, end).text()) == CommitNote(topic_id, end)


@pytest.mark.parametrize("text", [None, ""])
def test_a_commit_without_a_note(text: str | None) -> None:
    assert CommitNote.read(text) is None


@given(st.lists(st.integers(1, 3), max_size=40), st.integers(1, 7), st.lists(st.integers(0, 5), max_size=40))
def test_blocks_cover_every_record_once_in_order(gaps: list[int], max_rows: int, arrivals: list[int]) -> None:
    offsets = [sum(gaps[: index + 1]) for index in range(len(gaps))]
    block, waiting, taken = Block("t", 0, 0), list(offsets), []
    ends = [0]
    for count in [*arrivals, len(offsets)]:
        for offset in waiting[:count]:
            block.add(Record(offset), now=0.0)
        waiting = waiting[count:]
        while due := block.take(max_rows, max_age_s=0.0, now=2.0):
            assert due[0].start == ends[-1]
            assert all(due[0].start <= record.offset() < due[0].end for record in due[1])
            assert len(due[1]) <= max_rows
            ends.append(due[0].end)
            taken += [record.offset() for record in due[1]]
    assert taken == offsets
