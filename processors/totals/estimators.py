"""What an ad's conversions come to without its click ids: as the person's identifiers see it, and as the evidence does.

By identifiers: what they find divided by how often they find what a click id knows, by ad; a line over the ad's share
of logged-in clicks says what to expect of it (inverse-probability weights).
By evidence: what identifiers find, and the posterior's shares in the others, divided by how often the cause was among
the candidates where an identifier names the person, by device class. What the shares come to beyond what they would
give to the right ads are strangers' clicks, and the person's on other ads: it is taken off as clicks are.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.leaks import without_leaks
from processors.totals.rates import LOWEST, regression, shrunk
from processors.totals.state import Account
from processors.totals.sums import Sums

__all__ = ["Estimator", "by_evidence", "by_identifiers", "reached_shares"]

Floats = npt.NDArray[np.float64]

#: Withheld conversions of a device class that the account's reach is worth beside its own.
CLASS_PRIOR = 20.0
#: At most so much of the evidence's shares is taken off.
MOST_FALSE = 0.6


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
    return Estimator(found / rate, odds / _right(sums)[0] ** 2, odds / (sums.click[:, 0] + worth))


def reached_shares(sums: Sums) -> Floats:
    """The evidence's shares in open conversions by how often it can have the cause; shape (ads, replicates)."""
    asked, reached = sums.classes(Account.ASKED), sums.classes(Account.REACHED)
    usual = (reached.sum(axis=0) + 1) / (asked.sum(axis=0) + 1)
    rate = np.maximum((reached + CLASS_PRIOR * usual) / (asked + CLASS_PRIOR), LOWEST)
    weighed: Floats = (sums.evidence / rate[:, None]).sum(axis=0)
    return weighed


def by_evidence(sums: Sums, wanted: Floats) -> Estimator:
    """What identifiers find, and what the evidence does of the others. It sums to `wanted`, of shape (replicates,)."""
    others = np.maximum(wanted - sums.person.sum(axis=0), 0)
    weighed = reached_shares(sums)
    whole = np.maximum(weighed.sum(axis=0), 1e-9)
    clicks = sums.clicks / max(float(sums.clicks.sum()), 1.0)
    net = np.maximum(weighed - clicks[:, None] * _false_share(sums, others) * whole, 0)
    scaled = net * others / np.maximum(net.sum(axis=0), 1e-9)
    # A conversion's shares are the fewer and larger, the surer they are.
    size = sums.squared[:, 0].sum() / max(float(sums.evidence[:, :, 0].sum()), 1e-9)
    unit = size * float(others[0]) / max(float(sums.evidence[:, :, 0].sum()), 1e-9)
    return Estimator(sums.person + scaled, np.full(len(clicks), unit), np.zeros(len(clicks)))


def _right(sums: Sums) -> Floats:
    """How much of a person's shares is on the right ad, where a click id tells; shape (replicates,)."""
    right: Floats = (sums.blind_right.sum(axis=0) + 1) / (sums.blind.sum(axis=0) + 1)
    return right


def _false_share(sums: Sums, others: Floats) -> Floats:
    """How much of the evidence's shares goes to wrong ads, where so many of the open conversions were caused by one."""
    account = sums.account
    # The identifiers' shares are on wrong ads, too, where the evidence gives little.
    named = np.minimum(account[Account.WITHHELD_RIGHT] / _right(sums), account[Account.WITHHELD_MASS])
    right = named / np.maximum(account[Account.WITHHELD], 1e-9)
    share: Floats = 1 - others * right / np.maximum(account[Account.OPEN_MASS], 1e-9)
    return np.where(account[Account.WITHHELD] > 0, np.clip(share, 0, MOST_FALSE), 0)
