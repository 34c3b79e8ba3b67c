"""The probability that a deal in a stage is won, by how long it has been there.

A stage's deals leave it for each destination at a rate that depends on their age in the stage, constant between
AGES_MS: exits over the time that deals spent there. Deals that are still there count with the time they have been there
and are neither won nor lost, so that a stage in which losing takes longer than winning does not look better than it is.
What becomes of a deal follows from the rates by the competing risks they are, and of later stages by the chain they
form.

Andersen, Borgan, Gill, Keiding: Statistical models based on counting processes (1993), for occurrence over exposure.
"""

import numpy as np
import numpy.typing as npt

from processors.pipeline_value.sums import AGES_MS, DAY_MS

__all__ = ["Floats", "destinations", "win_probability"]

Floats = npt.NDArray[np.float64]

#: In the last age all deals leave in the end, however long it takes.
_WIDTHS_D = np.append(np.diff(AGES_MS) / DAY_MS, np.inf)


def destinations(rates: Floats) -> Floats:
    """Where a deal goes that has reached each age of a stage, shape (..., stages, ages, stages + 2), as Sums.exits.

    rates: of the same shape, exits a day. Where nobody leaves any more, a deal goes nowhere: the sum is below one.
    """
    total = rates.sum(axis=-1, keepdims=True)
    expected = np.multiply(total, _WIDTHS_D[:, None], where=total > 0, out=np.zeros_like(total))
    leaves = -np.expm1(-expected)
    by_age = rates / np.maximum(total, 1e-300) * leaves
    found = np.zeros_like(rates)
    onward = np.zeros_like(rates[..., 0, :])
    for age in reversed(range(rates.shape[-2])):
        onward = by_age[..., age, :] + (1 - leaves[..., age, :]) * onward
        found[..., age, :] = onward
    return found


def win_probability(rates: Floats) -> Floats:
    """By stage and age of a deal in it, shape (..., stages, ages); the first age is a deal that has just entered.

    rates: as of `destinations`. A deal may come back to a stage it was in.

    >>> rates = np.zeros((2, len(AGES_MS), 4))
    >>> rates[0, :, 1], rates[0, :, 3] = 0.1, 0.3
    >>> rates[1, :, 2], rates[1, :, 3] = 0.2, 0.2
    >>> win_probability(rates)[:, 0].round(3).tolist()
    [0.125, 0.5]
    """
    stages = rates.shape[-3]
    to = destinations(rates)
    between, won = to[..., 0, :stages], to[..., 0, stages]
    # What goes nowhere is not won; a circle that nothing leaves would have no solution but for it.
    entered = np.linalg.solve(np.eye(stages) - between * (1 - 1e-12), won[..., None])
    found: Floats = to[..., stages] + (to[..., :stages] @ entered[..., None, :, :])[..., 0]
    return np.clip(found, 0, 1)
