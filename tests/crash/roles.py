"""The roles as the harness runs them: how each starts, what it notes, and where it can be killed."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from schemas.client.publisher import Publisher
from streams.agents.attribution import Attribution
from streams.cli.main import cli
from streams.loader.blocks import CommitNote, Range
from streams.loader.loader import Loader
from streams.transport.chunk import Chunk
from streams.transport.driver import Consumer
from tests.crash import sums
from tests.crash.journal import Journal
from tests.crash.points import Point

__all__ = ["ROLES", "Role"]


class Role(NamedTuple):
    """`work` runs it to its end; `observe` has it note chunks begun and finished, and commits."""

    work: Callable[..., None]
    observe: Callable[[Journal], None]
    points: Mapping[str, Point]


def _has_any(consumer: Consumer, offsets: Mapping[Any, int], *rest: Any) -> bool:
    return bool(offsets)


def _has_results(role: Attribution, topic: str, chunk: Chunk, bad: Any, attributed: pa.RecordBatch | None) -> bool:
    return attributed is not None


def _is_data(loader: Loader, topic: str, block: Range, table: str, *rest: Any) -> bool:
    return table != "load_progress"


def _is_progress(loader: Loader, topic: str, block: Range, table: str, *rest: Any) -> bool:
    return table == "load_progress"


def _is_end(loader: Loader, topic: str, block: Range, offset: int, note: CommitNote) -> bool:
    return note.pending_end is None


#: A chunk that is finished is committed within a second; the second point is the last moment before.
LANE = {
    "finished": Point(Chunk, "finish", "after"),
    "committing": Point(Consumer, "_commit_offsets", "before", _has_any),
}
ATTRIBUTION = {
    "decoded": Point(Attribution, "_decoded", "after"),
    "stored": Point(Attribution, "_stored", "after"),
    "producing": Point(Publisher, "flush", "inside"),
    "produced": Point(Attribution, "_emit", "after", _has_results),
}
SUMS = {
    "produced": Point(sums.FencedConsumer, "_produce", "after"),
    "adding": Point(sums.FencedConsumer, "_add", "inside"),
    "fenced": Point(sums.FencedConsumer, "_add", "after"),
}
LOADER = {
    "decoded": Point(Loader, "_decode", "after"),
    "pending": Point(Loader, "_insert", "before", _is_data),
    "inserting": Point(Loader, "_insert", "inside", _is_data),
    "inserted": Point(Loader, "_insert", "after", _is_data),
    "refused": Point(Loader, "_refused_rows", "before"),
    "finding": Point(Loader, "_refused_rows", "inside"),
    "buried": Point(Loader, "_bury", "after"),
    "recorded": Point(Loader, "_insert", "after", _is_progress),
    "committing": Point(Loader, "_commit", "before", _is_end),
    "committed": Point(Loader, "_commit", "after", _is_end),
}


def _observe_lane(journal: Journal) -> None:
    begin, finish, commit = Chunk.begin, Chunk.finish, Consumer._commit_offsets

    def noted_begin(chunk: Chunk) -> bool:
        has_begun = begin(chunk)
        if has_begun:
            journal.note("begun", f"{chunk.topic}/{chunk.partition}")
        return has_begun

    def noted_finish(chunk: Chunk) -> None:
        finish(chunk)
        if chunk.is_finished:
            journal.note("finished", f"{chunk.topic}/{chunk.partition}")

    async def noted_commit(consumer: Consumer, *args: Any, **kwargs: Any) -> bool:
        did_commit = await commit(consumer, *args, **kwargs)
        if did_commit:
            journal.note("committed")
        return did_commit

    Chunk.begin, Chunk.finish, Consumer._commit_offsets = noted_begin, noted_finish, noted_commit


def _observe_loader(journal: Journal) -> None:
    load, commit = Loader._load, Loader._commit

    def noted_load(loader: Loader, topic: str, block: Range, *rest: Any) -> None:
        journal.note("begun", f"{topic}/{block.partition}")
        load(loader, topic, block, *rest)
        journal.note("finished", f"{topic}/{block.partition}")

    def noted_commit(loader: Loader, *block: Any) -> None:
        commit(loader, *block)
        if _is_end(loader, *block):
            journal.note("committed")

    Loader._load, Loader._commit = noted_load, noted_commit


ROLES = {
    "attribution": Role(lambda: cli(["worker", "attribution"]), _observe_lane, ATTRIBUTION | LANE),
    "sums": Role(sums.work, _observe_lane, SUMS | LANE),
    "loader": Role(lambda: cli(["load"]), _observe_loader, LOADER),
}
