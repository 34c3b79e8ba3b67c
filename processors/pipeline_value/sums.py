"""What stage values are learned from: whole numbers of a pipeline's stays and wins, which add up and come apart."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from processors.pipeline_value.histories import LOST, OPEN, WON, Stays

__all__ = ["AGES_MS", "DAY_MS", "Sums", "sums_of"]

Ints = npt.NDArray[np.int64]

DAY_MS = 86_400_000
#: Ages in a stage at which its rates may change; beyond the last they do not.
AGES_MS = np.array([0, 1, 3, 7, 14, 30, 60, 120], np.int64) * DAY_MS


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Of a pipeline with s stages.

    exits: shape (s, ages, s + 2), stays that ended at an age, by where they led: the stages, then won, then lost.
    exposure_ms: shape (s, ages), how long deals were in a stage at an age, those that are still there included.
    wins: deals won; won_micros: what for; won_squares: of these in whole units of the currency, the sum of squares.
    """

    exits: Ints
    exposure_ms: Ints
    wins: int = 0
    won_micros: int = 0
    won_squares: int = 0

    @classmethod
    def nothing(cls, stages: int) -> "Sums":
        """Of no deals."""
        return cls(np.zeros((stages, len(AGES_MS), stages + 2), np.int64), np.zeros((stages, len(AGES_MS)), np.int64))

    def plus(self, other: "Sums", sign: int = 1) -> "Sums":
        """Both together; with -1 the first without the other."""
        return Sums(
            self.exits + sign * other.exits,
            self.exposure_ms + sign * other.exposure_ms,
            self.wins + sign * other.wins,
            self.won_micros + sign * other.won_micros,
            self.won_squares + sign * other.won_squares,
        )

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sums)
            and np.array_equal(self.exits, other.exits)
            and np.array_equal(self.exposure_ms, other.exposure_ms)
            and (self.wins, self.won_micros, self.won_squares) == (other.wins, other.won_micros, other.won_squares)
        )

    __hash__ = None  # type: ignore[assignment]


def sums_of(found: Stays, stages: int, amounts_micros: npt.ArrayLike = ()) -> Sums:
    """Of stays, and of the amounts of the deals that were won among them.

    >>> sums = sums_of(Stays(np.array([0]), np.array([WON]), np.array([2 * DAY_MS])), 1, [5_000_000])
    >>> sums.exits[0, 1].tolist(), (sums.exposure_ms[0] // DAY_MS).tolist()
    ([0, 1, 0], [1, 1, 0, 0, 0, 0, 0, 0])
    """
    sums = Sums.nothing(stages)
    age = np.searchsorted(AGES_MS, found.duration_ms, "right") - 1
    to = np.where(found.to == WON, stages, np.where(found.to == LOST, stages + 1, found.to))
    has_left = found.to != OPEN
    np.add.at(sums.exits, (found.stage[has_left], age[has_left], to[has_left]), 1)
    widths = np.append(np.diff(AGES_MS), np.iinfo(np.int64).max)
    spent = np.clip(found.duration_ms[:, None] - AGES_MS, 0, widths)
    np.add.at(sums.exposure_ms, found.stage, spent)
    amounts = np.asarray(amounts_micros, np.int64)
    units = (amounts // 1_000_000).tolist()
    return Sums(sums.exits, sums.exposure_ms, len(amounts), int(amounts.sum()), sum(unit * unit for unit in units))
