"""What a conversion of each ad is worth: its own mean, drawn to the account's by how much ads differ beyond chance.

Values have heavy tails: ten conversions of an ad say little about its mean. Empirical Bayes with moments.
Source: Casella, An Introduction to Empirical Bayes Data Analysis, 1985.
"""

from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.statistics import Statistics

__all__ = ["Values", "values_of"]


class Values(NamedTuple):
    """By ad, shape (ads,). mean: units of currency a conversion. uncertainty: the squared coefficient of variation
    of that mean, 0 where it is known."""

    mean: Floats
    uncertainty: Floats


def values_of(statistics: Statistics, typical: float) -> Values:
    """Values of cleaned statistics. typical: of accounts like this one, worth one conversion of its own.

    >>> counts = np.array([[[4.0], [4.0]], [[4.0], [4.0]]])
    >>> values = values_of(Statistics(np.ones((2, 2)), counts, 50.0 * counts, now=2.0), typical=50.0)
    >>> values.mean.tolist(), values.uncertainty.tolist()
    ([50.0, 50.0], [0.0, 0.0])
    """
    count, total = statistics.conversions.sum(axis=(1, 2)), statistics.value.sum(axis=(1, 2))
    account = max(float((total.sum() + typical) / (count.sum() + 1.0)), 1e-9)
    own = np.divide(total, count, out=np.full(len(count), account), where=count > 0)
    within, between = _variances(statistics, own, count, account)
    trust = np.divide(between, between + within / np.maximum(count, 1e-9), out=np.zeros(len(count)), where=between > 0)
    trust = np.where(count > 0, trust, 0.0)
    mean = np.maximum(account + trust * (own - account), 1e-3 * account)
    return Values(mean, (1 - trust) * between / mean**2)


def _variances(statistics: Statistics, own: Floats, count: Floats, account: float) -> tuple[float, float]:
    """Of a conversion within an ad, and of ads' means beyond what that explains."""
    cells = statistics.conversions.sum(axis=2)
    sums = statistics.value.sum(axis=2)
    filled = cells > 0
    off = np.divide((sums - cells * own[:, None]) ** 2, cells, out=np.zeros_like(cells), where=filled)
    spare = max(float(filled.sum() - (count > 0).sum()), 0.0)
    within = float(off.sum()) / spare if spare > 0 else 0.0
    ads = int((count > 0).sum())
    if ads < 2 or spare == 0:
        return within, 0.0
    excess = float((count * (own - account) ** 2).sum()) - (ads - 1) * within
    scale = float(count.sum() - (count**2).sum() / count.sum())
    between = max(excess / max(scale, 1e-9), 0.0)
    # What is left of rounding is no difference between ads.
    return within, between if between > 1e-12 * account**2 else 0.0
