"""Two estimates of each ad made one: each counts as much as its variance lets it, empirical Bayes.

Both say how the account's conversions without click id divide among the ads. What they differ by beyond chance is laid
to the evidence, whose reach differs by ad in ways no identifier shows. Few ads say little about how much that is, so
that what is usual counts as well.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.estimators import Estimator

__all__ = ["Blend", "blend"]

Floats = npt.NDArray[np.float64]

#: What the evidence is usually off by, as a share: of simulated markets; and how many ads that is worth.
MODEL_ERROR = 0.08
MODEL_PRIOR = 100.0


class Blend(NamedTuple):
    """conversions: of each ad without click id, shape (ads, replicates). model_variance: what no replicate shows of
    the first column, shape (ads,)."""

    conversions: Floats
    model_variance: Floats


def blend(by_identifiers: Estimator, by_evidence: Estimator, wanted: Floats) -> Blend:
    """The estimates together, summing to `wanted`, of shape (replicates,)."""
    one, two = (_summing_to(estimator.conversions, wanted) for estimator in (by_identifiers, by_evidence))
    mean = (one[:, 0] + two[:, 0]) / 2
    own, other = (_variance(estimator, mean) for estimator in (by_identifiers, by_evidence))
    model_variance = _model_error(mean, (one[:, 0] - two[:, 0]) ** 2 - own - other) * mean**2
    other = other + model_variance
    weight = np.where(other > 0, other / np.maximum(own + other, 1e-9), 0.5)
    together = weight[:, None] * one + (1 - weight[:, None]) * two
    return Blend(_summing_to(together, wanted), (1 - weight) ** 2 * model_variance)


def _model_error(conversions: Floats, beyond_chance: Floats) -> float:
    """The square of what the evidence is off by, as a share: what the ads show, weighed against what is usual."""
    weight = conversions**2
    shown = max(0.0, float(beyond_chance.sum() / max(float(weight.sum()), 1e-9)))
    # So many ads of the same size would say as much.
    ads = float(weight.sum()) ** 2 / max(float((weight**2).sum()), 1e-9)
    return (ads * shown + MODEL_PRIOR * MODEL_ERROR**2) / (ads + MODEL_PRIOR)


def _variance(estimator: Estimator, conversions: Floats) -> Floats:
    return conversions * estimator.variance + conversions**2 * estimator.relative_variance


def _summing_to(conversions: Floats, wanted: Floats) -> Floats:
    scaled: Floats = conversions * wanted / np.maximum(conversions.sum(axis=0), 1e-9)
    return scaled
