"""Parts of a whole between bounds, in the proportions that are wanted as far as these allow."""

import numpy as np

from processors.decisions.compiled import Floats, compiled

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
    return _bounded(wanted.astype(np.float64), low.astype(np.float64), high.astype(np.float64), total)


@compiled
def _bounded(wanted: Floats, low: Floats, high: Floats, total: float) -> Floats:
    if high.sum() <= total:
        return high.copy()
    if low.sum() >= total:
        return low.copy()
    largest = wanted.max()
    weights = wanted / largest + LAST if largest > 0.0 else np.ones(len(wanted))
    few, many = 0.0, (high / weights).max()
    for _ in range(HALVINGS):
        factor = (few + many) / 2.0
        if factor in (few, many):
            break
        reached = 0.0
        for part in range(len(weights)):
            reached += min(max(weights[part] * factor, low[part]), high[part])
        if reached < total:
            few = factor
        else:
            many = factor
    parts: Floats = np.minimum(np.maximum(weights * many, low), high)
    return parts
