"""Stretches of a partition's log."""

from typing import NamedTuple

__all__ = ["Partition", "Span"]


class Partition(NamedTuple):
    """A partition of one generation of a topic: a topic created anew under its name has another id."""

    topic_id: str
    number: int


class Span(NamedTuple):
    """The offsets [start, end) of a partition."""

    partition: Partition
    start: int
    end: int
