"""Since when an ad has been what it is: posterior over the day of its last change, and what it has shown since.

A segment with conversions C and exposure E under a Gamma(shape, rate) prior has the evidence
Γ(shape + C) / Γ(shape) · rate^shape / (rate + E)^(shape + C); a new one begins each day with the probability `hazard`.
A second pass raises the hazard on days on which other ads changed: changes of a platform come together.
Source: Adams, MacKay, Bayesian Online Changepoint Detection, 2007.
"""

import math
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats, Ints, compiled
from processors.decisions.evidence.prior import Prior

__all__ = ["HAZARD", "Segments", "segments_of"]

#: Of a change of one ad on one day.
HAZARD = 1 / 500
#: What is added where another ad of a few surely changed on that day.
COUPLING = 0.3
#: Ads of which it is said: among more, one that changes says less of each of the others.
FEW = 10
#: Beginnings that are less likely are let go.
NEGLIGIBLE = 1e-6


class Segments(NamedTuple):
    """Of each ad, by the day on which its segment may have begun: shape (ads, days + 1), the last column is a segment
    that begins now.

    weights: probability, rows sum to one. conversions, exposure: since then. evidence: logarithm, all ads.
    """

    weights: Floats
    conversions: Floats
    exposure: Floats
    evidence: float


def segments_of(
    conversions: Floats, exposure: Floats, prior: Prior, hazard: float = HAZARD, coupling: float = COUPLING
) -> Segments:
    """The posterior. conversions, exposure: shape (ads, days); of what has matured, weighted.

    >>> falls = segments_of(np.array([[30.0] * 5 + [5.0] * 5]), np.full((1, 10), 10.0), Prior(1.7, 1.15))
    >>> int(falls.weights[0].argmax())
    5
    """
    ads, days = conversions.shape
    hazards = np.full((ads, days), hazard)
    alone = Segments(*_forward(conversions, exposure, prior.shape, prior.rate, hazards, hazard))
    if ads < 2 or coupling <= 0 or days < 2:
        return alone
    changed = alone.weights[:, :days].copy()
    changed[:, 0] = 0.0
    first, second = np.sort(changed, axis=0)[[-1, -2]]
    others = np.where(changed == first[None, :], second[None, :], first[None, :])
    raised = np.minimum(hazards + coupling * min(1.0, FEW / ads) * others, 0.5)
    return Segments(*_forward(conversions, exposure, prior.shape, prior.rate, raised, hazard))


@compiled
def _forward(
    conversions: Floats, exposure: Floats, shape: float, rate: float, hazards: Floats, now_hazard: float
) -> tuple[Floats, Floats, Floats, float]:
    ads, days = conversions.shape
    weights, count, base = np.zeros((ads, days + 1)), np.zeros((ads, days + 1)), np.zeros((ads, days + 1))
    start = math.lgamma(shape) - shape * math.log(rate)
    begun, marks, mass = np.empty(days + 1, np.int64), np.empty(days + 1), np.empty(days + 1)
    evidence = 0.0
    for ad in range(ads):
        active, unchanged = 0, 1.0
        for day in range(days):
            if day > 0:
                unchanged *= 1.0 - hazards[ad, day]
            if exposure[ad, day] <= 0.0:
                continue
            fresh = 1.0
            if active:
                fresh = 1.0 - unchanged
                for row in range(active):
                    mass[row] *= unchanged
            begun[active], marks[active], mass[active] = day, start, fresh
            active, unchanged = active + 1, 1.0
            evidence += _observe(
                conversions[ad, day], exposure[ad, day], shape, rate, count[ad], base[ad], begun[:active], marks, mass
            )
            active = _kept(begun, marks, mass, active)
        unchanged *= 1.0 - now_hazard
        for row in range(active):
            weights[ad, begun[row]] = mass[row] * unchanged
        weights[ad, days] = 1.0 - unchanged if active else 1.0
    return weights, count, base, evidence


@compiled
def _observe(
    conversions: float,
    exposure: float,
    shape: float,
    rate: float,
    count: Floats,
    base: Floats,
    begun: Ints,
    marks: Floats,
    mass: Floats,
) -> float:
    """Each segment's sums, evidence and mass with one day more; returns the logarithm of the day's evidence."""
    gains, largest = np.empty(len(begun)), -np.inf
    for row, first in enumerate(begun):
        count[first] += conversions
        base[first] += exposure
        seen = shape + count[first]
        mark = math.lgamma(seen) - seen * math.log(rate + base[first])
        gains[row], marks[row] = mark - marks[row], mark
        if mass[row] > 0.0:
            largest = max(largest, gains[row])
    total = 0.0
    for row in range(len(begun)):
        # Relative to the largest: a day beyond belief would be more, or less, than a double holds.
        mass[row] *= math.exp(gains[row] - largest) if mass[row] > 0.0 else 0.0
        total += mass[row]
    for row in range(len(begun)):
        mass[row] /= total
    return largest + math.log(total)


@compiled
def _kept(begun: Ints, marks: Floats, mass: Floats, active: int) -> int:
    """Without segments that are too unlikely; returns how many are left."""
    kept = 0
    for row in range(active):
        if mass[row] >= NEGLIGIBLE or row == active - 1:
            begun[kept], marks[kept], mass[kept] = begun[row], marks[row], mass[row]
            kept += 1
    return kept
