"""Whole numbers that sum to a whole number, as near to given parts as whole numbers can be."""

import numpy as np
import numpy.typing as npt

__all__ = ["apportion"]

Ints = npt.NDArray[np.int64]


def apportion(total: int, parts: npt.ArrayLike) -> Ints:
    """`total` divided in proportion to the parts, which are not negative, by largest remainder; equal ones by position.

    Where all parts are zero all shares are the same. Raises ValueError where there are no parts for a total to go to.

    >>> apportion(10, [1, 1, 1]).tolist()
    [4, 3, 3]
    """
    weights = np.asarray(parts, np.float64)
    if not len(weights):
        if total:
            raise ValueError(f"{total} to be divided among nobody")
        return np.zeros(0, np.int64)
    largest = float(weights.max())
    weights = weights / largest if largest > 0 else np.ones(len(weights))
    exact = total * (weights / weights.sum())
    whole: Ints = np.floor(exact).astype(np.int64)
    missing = total - int(whole.sum())
    order = np.argsort(whole - exact, kind="stable")
    # Rounding of numbers beyond 2^53 may leave more than one each to be handed out, or taken back.
    each, few = divmod(missing, len(weights))
    whole += each
    whole[order[:few]] += 1
    return whole
