"""What a hold-out test says of the conversions that are attributed: how many of them would not have been otherwise."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Holdout", "Incremental", "incremental"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Standard deviations to either side of a 95 % interval.
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Holdout:
    """The result of a hold-out test of an account.

    factor: incremental conversions for each that is attributed, with its 95 % interval from `low` to `high`.
    Raises ValueError where the factor is not inside it, or not positive.

    >>> Holdout("geo 2026-03", 0.7, 0.9, 1.1)
    Traceback (most recent call last):
    ValueError: hold-out geo 2026-03: 0 < 0.9 <= 0.7 <= 1.1 does not hold
    """

    name: str
    factor: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.factor <= self.high:
            raise ValueError(f"hold-out {self.name}: 0 < {self.low} <= {self.factor} <= {self.high} does not hold")


@dataclass(frozen=True, slots=True)
class Incremental:
    """Totals times the factor, millionths of a conversion, with 95 % intervals.

    They go beside the totals, never in their place.
    """

    holdout: str
    total: Ints
    low: Ints
    high: Ints


def incremental(holdout: Holdout, total: Ints, low: Ints, high: Ints) -> Incremental:
    """The incremental part of totals with 95 % intervals; the errors of both are taken for independent.

    >>> million = np.array([1_000_000])
    >>> incremental(Holdout("geo", 0.5, 0.4, 0.6), 100 * million, 80 * million, 120 * million)
    Incremental(holdout='geo', total=array([50000000]), low=array([35857864]), high=array([64142136]))
    """
    test = (holdout.high - holdout.low) / (2 * NORMAL_95 * holdout.factor)
    own = (high - low) / (2 * NORMAL_95) / np.maximum(total, 1)
    figure = holdout.factor * total
    reach = NORMAL_95 * figure * np.hypot(test, own)
    return Incremental(
        holdout.name,
        total=np.rint(figure).astype(np.int64),
        low=np.rint(np.maximum(figure - reach, 0)).astype(np.int64),
        high=np.rint(figure + reach).astype(np.int64),
    )
