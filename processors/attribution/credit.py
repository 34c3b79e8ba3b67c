"""Rule-based credit: how a model splits a conversion over its touchpoints.

All functions take the touchpoints of many conversions laid end to end, oldest first, with `offsets` of shape
(conversions + 1,) marking where each conversion's begin; no conversion is without touchpoints. They return
one share a touchpoint; those of a conversion sum to one.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

__all__ = ["MODELS", "first", "last", "linear", "split_micros"]

Offsets = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

#: A share as a whole number of these loses nothing that a float can say.
SHARE_UNITS = 2.0**53
DIGIT_BITS = 10


def first(offsets: Offsets) -> Shares:
    """All to the oldest touchpoint.

    >>> first(np.array([0, 3, 4])).tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    shares = np.zeros(offsets[-1])
    shares[offsets[:-1]] = 1.0
    return shares


def last(offsets: Offsets) -> Shares:
    """All to the newest touchpoint.

    >>> last(np.array([0, 3, 4])).tolist()
    [0.0, 0.0, 1.0, 1.0]
    """
    shares = np.zeros(offsets[-1])
    shares[offsets[1:] - 1] = 1.0
    return shares


def linear(offsets: Offsets) -> Shares:
    """The same to each.

    >>> linear(np.array([0, 4, 5])).tolist()
    [0.25, 0.25, 0.25, 0.25, 1.0]
    """
    counts = np.diff(offsets)
    return np.repeat(1.0 / counts, counts)


MODELS: Mapping[str, Callable[[Offsets], Shares]] = {"first": first, "last": last, "linear": linear}


def split_micros(value: npt.NDArray[np.int64], shares: Shares, offsets: Offsets) -> npt.NDArray[np.int64]:
    """Each conversion's value split by its shares to whole micros, by largest remainder.

    `value` has shape (conversions,), may be negative, and is conserved exactly; no part is a micro or more
    away from its share.

    >>> split_micros(np.array([100]), np.array([1 / 3, 1 / 3, 1 / 3]), np.array([0, 3])).tolist()
    [34, 33, 33]
    """
    if not len(value):
        return np.empty(0, np.int64)
    counts = np.diff(offsets)
    owner = np.repeat(np.arange(len(counts)), counts)
    weights = np.rint(shares * SHARE_UNITS).astype(np.uint64)
    units = np.add.reduceat(weights, offsets[:-1])[owner]
    parts, remainders = _multiply_and_divide(np.abs(value).astype(np.uint64)[owner], weights, units)
    # Rounded down, whichever the sign.
    is_rounded_up = (value < 0)[owner] & (remainders > 0)
    parts = np.where((value < 0)[owner], -parts, parts) - is_rounded_up
    remainders = np.where(is_rounded_up, units - remainders, remainders)
    missing = (value - np.add.reduceat(parts, offsets[:-1]))[owner]
    parts[_largest_first(remainders, owner) < missing] += 1
    return parts


def _multiply_and_divide(
    value: npt.NDArray[np.uint64], weight: npt.NDArray[np.uint64], divisor: npt.NDArray[np.uint64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint64]]:
    """Quotient and remainder of value * weight / divisor, whose product has more digits than an integer here.

    Long division of the value's digits of ten bits: with a weight and a divisor of 53 bits, 64 hold each step. No
    weight is greater than its divisor.
    """
    quotient = np.zeros(len(value), np.uint64)
    remainder = np.zeros(len(value), np.uint64)
    for shift in reversed(range(0, int(value.max()).bit_length(), DIGIT_BITS)):
        digit = (value >> np.uint64(shift)) & np.uint64(2**DIGIT_BITS - 1)
        step, remainder = np.divmod((remainder << np.uint64(DIGIT_BITS)) + digit * weight, divisor)
        quotient = (quotient << np.uint64(DIGIT_BITS)) + step
    return quotient.astype(np.int64), remainder


def _largest_first(remainders: npt.NDArray[np.uint64], owner: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rank within each conversion by the remainder, the largest first, the older first among equals."""
    order = np.lexsort((-remainders.astype(np.int64), owner))
    starts = np.flatnonzero(np.diff(owner, prepend=-1))
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - starts[owner]
    return rank
