"""The roles: what each reads, what starts it, and whether it may be given a record again."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from schemas.spans import Partition
from sinks.clickhouse.tables import LOADED
from streams.attribution_inputs import DECODED, attribution_store
from streams.clickhouse import connect
from streams.loader.progress import forget_beyond
from streams.offsets import Offsets
from streams.settings import Settings

__all__ = ["ROLES", "Generation", "Role"]


@dataclass(frozen=True, slots=True)
class Generation:
    """A topic as it is now, and where a role begins in it.

    name, topic_id: Kafka's.
    starts: the offset to begin at, of each partition that cannot go on from where it was.
    """

    name: str
    topic_id: str
    starts: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Role:
    """One role.

    command: what starts a process of it, after `spendloop`.
    inputs: the topics of the contract it reads, beside that of its retries; empty where it keeps no place in
        any, since it reads tables, or all of a period.
    repeats: processing a record again changes nothing, since its effects are idempotent by id. A role whose state
        adds up, or depends on order, is rebuilt instead.
    accept: tells what the role keeps outside Kafka, such as fences, of a new generation of a topic it reads. None
        where the commits are all there is.
    """

    name: str
    command: str
    inputs: tuple[str, ...]
    repeats: bool
    accept: Callable[[Settings, Generation], None] | None = None

    @property
    def reads(self) -> tuple[str, ...]:
        """Every topic it reads."""
        return (*self.inputs, f"{self.name}.retry") if self.inputs else ()


def _accept_facts(settings: Settings, generation: Generation) -> None:
    async def accept() -> None:
        store = attribution_store(settings)
        try:
            starts = {Partition(generation.topic_id, number): start for number, start in generation.starts.items()}
            await store.fences.accept(starts)
        finally:
            await store.close()

    asyncio.run(accept())


def _accept_progress(settings: Settings, generation: Generation) -> None:
    with Offsets(settings) as offsets, connect(settings) as clickhouse:
        ends = offsets.ends(generation.name.removeprefix(settings.namespace))
        forget_beyond(clickhouse, generation.topic_id, {number: ends[number] for number in generation.starts})


#: Each role enters itself here: the commands that replay, accept and start go by it.
ROLES: dict[str, Role] = {
    role.name: role
    for role in (
        Role("attribution", "worker attribution", DECODED, repeats=True, accept=_accept_facts),
        Role("credit", "worker credit", (), repeats=True),
        Role("totals", "worker totals", (), repeats=True),
        Role("loader", "load", LOADED, repeats=True, accept=_accept_progress),
    )
}
