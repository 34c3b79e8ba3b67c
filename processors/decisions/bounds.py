"""Parts of a whole between bounds, in the proportions that are wanted as far as these allow."""

import numpy as np

from processors.decisions.compiled import Floats

__all__ = ["bounded"]

#: Halvings of the interval of the factor: more than a double has digits.
HALVINGS = 200
#: What an unwanted part counts for once the wanted ones are full.
LAST = 1e-9


def bounded(wanted: Floats, low: Floats, high: Floats, total: float = 1.0) -> Floats:
    """Parts that sum to `total`, each the wanted one times a common factor and cut to its bounds; all shape (parts,).

    Where the bounds leave no room for the total, the parts are at the bounds and sum to less or more.

    >>> bounded(np.array([8.0, 1.0, 1.0]), np.zeros(3), np.array([0.5, 1.0, 1.0])).round(3).tolist()
    [0.5, 0.25, 0.25]
    """
    if high.sum() <= total:
        return high.astype(np.float64)
    if low.sum() >= total:
        return low.astype(np.float64)
    largest = float(wanted.max())
    weights = wanted / largest + LAST if largest > 0 else np.ones(len(wanted))
    few, many = 0.0, float((high / weights).max())
    for _ in range(HALVINGS):
        factor = (few + many) / 2
        if factor in (few, many):
            break
        few, many = (factor, many) if np.clip(weights * factor, low, high).sum() < total else (few, factor)
    return np.clip(weights * many, low, high)
