"""Where a role begins a partition, by the kind of state it keeps (delivery.md, rule 3)."""

from collections.abc import Callable, Mapping

from faust.types import TP

from schemas.spans import Partition
from sinks.redis.fences import Fences, StateLost

__all__ = ["LOST", "begin_behind_fences", "start_of_facts", "start_of_sums"]

#: There is no fence though there is a commit: the state is gone.
LOST = None
#: From a partition's fence and commit, None where there is none, and the beginning of its log.
Rule = Callable[[int | None, int | None, int], int | None]


def start_of_facts(fence: int | None, commit: int | None, log_start: int) -> int | None:
    """Behind whichever is earlier, fence or commit. What is stored again changes nothing, and emits again.

    >>> start_of_facts(fence=99, commit=80, log_start=0)  # stored, perhaps not emitted
    80
    >>> start_of_facts(fence=70, commit=80, log_start=0)  # emitted, but forgotten by a machine that died
    71
    >>> start_of_facts(fence=99, commit=None, log_start=5)  # the commit expired: what was emitted is unknown
    5
    >>> start_of_facts(fence=None, commit=80, log_start=0) is LOST
    True
    >>> start_of_facts(fence=None, commit=None, log_start=5)
    5
    >>> start_of_facts(fence=None, commit=3, log_start=5) is LOST  # and records are gone, too
    True
    """
    if fence is None:
        return LOST if commit is not None and commit != log_start else log_start
    return min(fence + 1, commit) if commit is not None else log_start


def start_of_sums(fence: int | None, commit: int | None, log_start: int) -> int | None:
    """Behind the fence, which moved with the sums. What lies below it is clipped.

    >>> start_of_sums(fence=99, commit=80, log_start=0)
    100
    >>> start_of_sums(fence=None, commit=80, log_start=0) is LOST
    True
    """
    if fence is None:
        return LOST if commit is not None and commit != log_start else log_start
    return fence + 1


async def begin_behind_fences(
    fences: Fences,
    partitions: Mapping[TP, Partition],
    committed: Mapping[TP, int | None],
    log_starts: Mapping[TP, int],
    rule: Rule,
) -> Mapping[TP, int]:
    """Where each partition begins by the rule; one without a fence gets it there. May be repeated.

    Raises StateLost, Unavailable, Refused.
    """
    found = await fences.read(list(partitions.values()))
    starts = {}
    for tp, partition in partitions.items():
        start = rule(found[partition], committed[tp], log_starts[tp])
        if start is LOST:
            raise StateLost(fences.role)
        starts[tp] = start
    await fences.begin({partition: starts[tp] for tp, partition in partitions.items() if found[partition] is None})
    return starts
