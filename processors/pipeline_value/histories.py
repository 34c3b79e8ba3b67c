"""Histories of deals as columns of stays: a deal in a stage, from when to when, and where it went."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["LOST", "OPEN", "WON", "Deal", "Stays", "stays"]

Ints = npt.NDArray[np.int64]

#: Where a stay ends that ends in no other stage: nowhere yet.
WON, LOST, OPEN = -1, -2, -3


class Deal(NamedTuple):
    """What is known of a deal.

    entered: (stage, ms) in the order of time; stages by position in the pipeline. outcome: WON, LOST or OPEN;
    closed_ms: when it was won or lost, None where it is open. amount_micros: what it was won for.
    """

    entered: Sequence[tuple[int, int]]
    outcome: int = OPEN
    closed_ms: int | None = None
    amount_micros: int | None = None


class Stays(NamedTuple):
    """One row a stay, shape (n,): its stage, where it led (a stage, WON, LOST or OPEN), and how long it took, ms."""

    stage: Ints
    to: Ints
    duration_ms: Ints


def stays(deals: Iterable[Deal], now_ms: int) -> Stays:
    """The stays of deals as known at `now_ms`; a deal that is open has not left the stage it is in.

    A stage that is entered at the time of the next one is passed in no time; a clock that went back is no time, too.

    >>> [column.tolist() for column in stays([Deal([(0, 100), (2, 400)])], 1_000)]
    [[0, 2], [2, -3], [300, 600]]
    """
    rows = [
        (stage, to, max(left_ms - entered_ms, 0))
        for deal in deals
        for (stage, entered_ms), (to, left_ms) in zip(deal.entered, _next(deal, now_ms), strict=True)
    ]
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return Stays(*columns)


def _next(deal: Deal, now_ms: int) -> list[tuple[int, int]]:
    end = (deal.outcome, now_ms if deal.closed_ms is None else deal.closed_ms)
    return [*deal.entered[1:], end]
