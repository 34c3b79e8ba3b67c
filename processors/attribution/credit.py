"""Rule-based credit: how a model splits a conversion over its touchpoints.

All functions take the touchpoints of many conversions laid end to end, oldest first, with `offsets` of shape
(conversions + 1,) marking where each conversion's begin; no conversion is without touchpoints. They return
one share a touchpoint; those of a conversion sum to one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "BY_POSITION",
    "CreditRules",
    "first",
    "last",
    "last_non_direct",
    "linear",
    "position_based",
    "shares_by_model",
    "split_micros",
    "time_decay",
]

Offsets = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]

#: What position_based gives to each end of a path, and to all that is between them.
END_SHARE, MIDDLE_SHARE = 0.4, 0.2
#: A share as a whole number of these loses nothing that a float can say.
SHARE_UNITS = 2.0**53
DIGIT_BITS = 10


@dataclass(frozen=True, slots=True)
class CreditRules:
    """What can be set of the models.

    half_life_s: how much older a touchpoint is that time_decay gives half as much; seconds, above zero.
    direct_channels: those last_non_direct passes over; "" is a touchpoint without a channel.
    """

    half_life_s: float
    direct_channels: frozenset[str]


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


def position_based(offsets: Offsets) -> Shares:
    """40 % to the oldest, 40 % to the newest, the rest to those between in equal parts; of two, half to each.

    >>> position_based(np.array([0, 1, 3, 7])).tolist()
    [1.0, 0.5, 0.5, 0.4, 0.1, 0.1, 0.4]
    """
    counts = np.diff(offsets)
    between = MIDDLE_SHARE / np.maximum(counts - 2, 1)
    ends = np.where(counts > 2, END_SHARE, 1.0 / counts)
    shares = np.repeat(between, counts)
    shares[offsets[:-1]] = ends
    shares[offsets[1:] - 1] = ends
    return shares


def time_decay(offsets: Offsets, event_ms: npt.NDArray[np.int64], half_life_s: float) -> Shares:
    """Half as much for every half-life a touchpoint is older; `event_ms` has shape (touchpoints,).

    How long the newest was before the conversion halves all of them alike, and so changes no share.

    >>> time_decay(np.array([0, 2, 3]), np.array([0, 60_000, 5]), 60).tolist()
    [0.3333333333333333, 0.6666666666666666, 1.0]
    """
    counts = np.diff(offsets)
    newest_ms = np.repeat(event_ms[offsets[1:] - 1], counts)
    weights = np.exp2((event_ms - newest_ms) / (half_life_s * 1000))
    shares: Shares = weights / np.repeat(np.add.reduceat(weights, offsets[:-1]), counts)
    return shares


def last_non_direct(offsets: Offsets, is_direct: npt.NDArray[np.bool_]) -> Shares:
    """All to the newest touchpoint that is not direct, to the newest of all where every one is.

    `is_direct` has shape (touchpoints,).

    >>> last_non_direct(np.array([0, 3, 5]), np.array([False, False, True, True, True])).tolist()
    [0.0, 1.0, 0.0, 0.0, 1.0]
    """
    positions = np.arange(offsets[-1])
    newest = np.maximum.reduceat(np.where(is_direct, -1, positions), offsets[:-1])
    shares = np.zeros(offsets[-1])
    shares[np.where(newest >= 0, newest, offsets[1:] - 1)] = 1.0
    return shares


#: Models to which a touchpoint is its place in the path and nothing else.
BY_POSITION: Mapping[str, Callable[[Offsets], Shares]] = {
    "first": first,
    "last": last,
    "linear": linear,
    "position_based": position_based,
}


def shares_by_model(
    offsets: Offsets, event_ms: npt.NDArray[np.int64], is_direct: npt.NDArray[np.bool_], half_life_s: float
) -> dict[str, Shares]:
    """Every model's shares, by its name. `event_ms` and `is_direct` have shape (touchpoints,)."""
    return {
        **{name: model(offsets) for name, model in BY_POSITION.items()},
        "time_decay": time_decay(offsets, event_ms, half_life_s),
        "last_non_direct": last_non_direct(offsets, is_direct),
    }


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
    short = np.flatnonzero(missing)
    parts[short[_largest_first(remainders[short], owner[short]) < missing[short]]] += 1
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
    is_start = np.diff(owner, prepend=-1) > 0
    rank = np.empty(len(owner), np.int64)
    rank[order] = np.arange(len(owner)) - np.flatnonzero(is_start)[np.cumsum(is_start) - 1]
    return rank
