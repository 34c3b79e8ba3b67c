"""What an ad's conversions come to without its click ids: as the person's identifiers see it, and as the evidence does.

By identifiers: what they find divided by how often they find what a click id knows, by ad; a line over the ad's share
of logged-in clicks says what to expect of it (inverse-probability weights).
By evidence: the posterior's shares divided by how often the cause was among the candidates where an identifier names
the person, by device class; and by ad, as far as ads differ.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.leaks import without_leaks
from processors.totals.rates import LOWEST, regression, shrunk
from processors.totals.state import Account
from processors.totals.sums import Sums

__all__ = ["Estimator", "by_evidence", "by_identifiers"]

Floats = npt.NDArray[np.float64]

#: Withheld conversions of a device class that the account's reach is worth beside its own.
CLASS_PRIOR = 20.0


class Estimator(NamedTuple):
    """Conversions of each ad without click id, shape (ads, replicates), and how far they may be off.

    Of how many there were, not of how many there might have been: the variance of an ad with n of them is
    n `variance` + n^2 `relative_variance`, both of shape (ads,).
    """

    conversions: Floats
    variance: Floats
    relative_variance: Floats


def by_identifiers(sums: Sums) -> Estimator:
    """What the person's identifiers find, by how often they do."""
    found = without_leaks(sums.person, sums.blind, sums.blind_right, sums.blind_wrong)
    expected = regression(sums.blind, sums.click, sums.logged_in)
    rate, worth = shrunk(sums.blind, sums.click, expected)
    odds = (1 - rate[:, 0]) / rate[:, 0]
    return Estimator(found / rate, odds, odds / (sums.click[:, 0] + worth))


def by_evidence(sums: Sums) -> Estimator:
    """What identifiers find, and what the evidence does of the others, by how often it can."""
    asked, reached = sums.classes(Account.ASKED), sums.classes(Account.REACHED)
    usual = reached.sum(axis=0) / np.maximum(asked.sum(axis=0), 1e-9)
    by_class = np.maximum((reached + CLASS_PRIOR * usual) / (asked + CLASS_PRIOR), LOWEST)
    seen = sums.evidence.sum(axis=0)
    weighed = (sums.evidence / by_class[:, None]).sum(axis=0)
    expected = np.where(weighed > 0, seen / np.maximum(weighed, 1e-9), usual)
    rate, worth = shrunk(sums.reached, sums.asked, np.clip(expected, LOWEST, 1 - LOWEST))
    # A conversion's shares are the fewer and larger, the surer they are.
    size = sums.squared[:, 0].sum() / max(float(seen[:, 0].sum()), 1e-9)
    odds = (1 - rate[:, 0]) / rate[:, 0]
    return Estimator(sums.person + seen / rate, size / rate[:, 0], odds / (sums.asked[:, 0] + worth))
