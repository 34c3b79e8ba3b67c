"""Confidences held against audits: conversions of which somebody has found out who the buyer was and what led there."""

from typing import NamedTuple

import numpy as np

from processors.matching.model import Calibration, Floats, MatchModel

__all__ = ["Judged", "calibrate", "platt"]

#: What an audit is weighed against: the confidence as it is, as if so many had confirmed it.
PRIOR = 40.0
STEPS = 25


class Judged(NamedTuple):
    """Confidences that were not calibrated, and 1 where they turned out right, 0 where not. Shape (n,) both."""

    confidence: Floats
    right: Floats


def calibrate(model: MatchModel, person: Judged, ad: Judged) -> MatchModel:
    """The model with calibrations learned from audits of its matches, or of those of models before it.

    They are of conversions drawn at random from those without identifier, organic ones included. `person`: whether
    the credited click was the buyer's; `ad`: whether it was of the right ad, too.
    """
    return model.calibrated(platt(*person), platt(*ad))


def platt(confidence: Floats, right: Floats) -> Calibration:
    """Slope and offset that make the confidences agree with what was right, drawn to 1 and 0 by PRIOR.

    Few audits change little, since a confidence that was estimated is worth more than a handful of them.

    >>> overstated, right = np.full(400, 0.9), np.repeat([1.0, 0.0], [280, 120])
    >>> round(float(platt(overstated, right)(np.array([0.9]))[0]), 2)
    0.72
    """
    inside = (confidence > 0) & (confidence < 1)
    logits = np.log(confidence[inside]) - np.log1p(-confidence[inside])
    features, usual = np.stack([logits, np.ones_like(logits)], axis=1), np.array([1.0, 0.0])
    found = usual
    for _ in range(STEPS):
        expected = 1 / (1 + np.exp(-features @ found))
        slope = features.T @ (right[inside] - expected) - PRIOR * (found - usual)
        curvature = (features * (expected * (1 - expected))[:, None]).T @ features + PRIOR * np.eye(2)
        found = found + np.linalg.solve(curvature, slope)
    return Calibration(float(found[0]), float(found[1]))
