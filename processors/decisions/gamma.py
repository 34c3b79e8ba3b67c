"""The Gamma distribution below a point: its probability and its mean there, of mixtures.

Source: Press et al., Numerical Recipes, 6.2: a series below the mean, a continued fraction above it; the cube-root
normal (Wilson and Hilferty 1931) where both are long.
"""

import math

import numpy as np

from processors.decisions.compiled import Floats, compiled

__all__ = ["below", "probability_below", "shortfall"]

STEPS, PRECISION, LARGE = 1000, 1e-12, 5000.0


@compiled
def below(shape: float, x: float) -> float:
    """Probability that a Gamma of this shape and rate 1 is below x.

    >>> round(below(1.0, 1.0), 6)
    0.632121
    """
    if x <= 0.0:
        return 0.0
    if shape > LARGE:
        deviate = ((x / shape) ** (1.0 / 3.0) - 1.0 + 1.0 / (9.0 * shape)) * 3.0 * math.sqrt(shape)
        return 0.5 * math.erfc(-deviate / math.sqrt(2.0))
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1.0:
        term = 1.0 / shape
        total, at = term, shape
        for _ in range(STEPS):
            at += 1.0
            term *= x / at
            total += term
            if term < total * PRECISION:
                break
        return min(front * total, 1.0)
    tiny = 1e-300
    b = x + 1.0 - shape
    c = 1.0 / tiny
    d = 1.0 / b
    h = d
    for step in range(1, STEPS):
        factor = -step * (step - shape)
        b += 2.0
        d = factor * d + b
        d = 1.0 / (d if abs(d) > tiny else tiny)
        c = b + factor / c
        c = c if abs(c) > tiny else tiny
        h *= d * c
        if abs(d * c - 1.0) < PRECISION:
            break
    return max(1.0 - front * h, 0.0)


@compiled
def probability_below(weights: Floats, shapes: Floats, rates: Floats, point: Floats) -> Floats:
    """Probability that each row's mixture is below the row's point. weights, shapes, rates: shape (rows, components).

    >>> probability_below(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.array([1.0])).round(6).tolist()
    [0.632121]
    """
    rows, components = weights.shape
    found = np.zeros(rows)
    for row in range(rows):
        for at in range(components):
            if weights[row, at] > 1e-9:
                found[row] += weights[row, at] * below(shapes[row, at], rates[row, at] * point[row])
    return found


@compiled
def shortfall(weights: Floats, shapes: Floats, rates: Floats, point: Floats) -> Floats:
    """By how much each row's mixture is expected to fall short of the row's point, 0 where it is above it.

    >>> found = shortfall(np.ones((1, 1)), np.ones((1, 1)), np.ones((1, 1)), np.array([1.0]))
    >>> found.round(6).tolist()
    [0.367879]
    """
    rows, components = weights.shape
    found = np.zeros(rows)
    for row in range(rows):
        for at in range(components):
            if weights[row, at] > 1e-9:
                shape, rate = shapes[row, at], rates[row, at]
                reached = point[row] * rate
                mean = shape / rate * below(shape + 1.0, reached)
                found[row] += weights[row, at] * (point[row] * below(shape, reached) - mean)
    return found
