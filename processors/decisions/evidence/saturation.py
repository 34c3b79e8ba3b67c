"""Returns that fall as an ad spends more: conversions grow as spend to a power, which the account's own days tell.

Effective spend is s^θ·s0^(1-θ): what it would be if the day were as large as a usual one, s0. Exponents compete by the
evidence of the change-point posterior, so that an ad that faded is not taken for one that is saturated.
"""

import math

import numpy as np

from processors.decisions.compiled import Floats

__all__ = ["EXPONENTS", "effective", "exponent_of", "usual_spend"]

EXPONENTS = np.array([0.6, 0.7, 0.8, 0.9, 1.0])
#: Most accounts spend where returns hardly fall yet.
PRIOR = np.array([0.02, 0.03, 0.06, 0.09, 0.8])
#: Exponents above count as 1.
LINEAR = 0.975


def usual_spend(spend: Floats) -> float:
    """The spend of an ad's day at which effective spend is spend: the geometric mean, weighted by spend.

    >>> round(usual_spend(np.array([[10.0, 0.0, 10.0]])), 9)
    10.0
    """
    paid = spend[spend > 0]
    return math.exp(float((paid * np.log(paid)).sum() / paid.sum())) if len(paid) else 1.0


def effective(spend: Floats, exponent: float, usual: float) -> Floats:
    """Spend as far as it has an effect, same shape.

    >>> effective(np.array([0.0, 40.0]), 0.5, 10.0).round(9).tolist()
    [0.0, 20.0]
    """
    return spend if exponent == 1.0 else np.power(spend, exponent) * usual ** (1 - exponent)


def exponent_of(evidence: Floats) -> float:
    """Posterior mean of the exponent. evidence: logarithm, of each of EXPONENTS.

    >>> exponent_of(np.array([0.0, 0.0, 50.0, 0.0, 0.0]))
    0.8
    """
    weights = PRIOR * np.exp(evidence - evidence.max())
    exponent = float((weights * EXPONENTS).sum() / weights.sum())
    return 1.0 if exponent > LINEAR else round(exponent, 9)
