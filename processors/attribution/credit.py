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
    # In Python's integers: the product of a large value and a share has more digits than a float or an int64.
    weights = np.rint(shares * SHARE_UNITS).astype(np.int64)
    units = np.add.reduceat(weights, offsets[:-1])
    exact = value.astype(object)[owner] * weights
    parts = exact // units[owner]
    remainders = (exact - parts * units[owner]).astype(np.int64)
    missing = value - np.add.reduceat(parts, offsets[:-1])
    # Rank within each conversion by the remainder, the largest first, the older first among equals.
    order = np.lexsort((np.arange(len(parts)), -remainders, owner))
    rank = np.empty(len(parts), np.int64)
    rank[order] = np.arange(len(parts)) - np.repeat(offsets[:-1], counts)
    parts += rank < missing[owner]
    return parts.astype(np.int64)
