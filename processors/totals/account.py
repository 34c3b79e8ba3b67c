"""How many conversions of an account an ad caused, estimated in three ways that share little; and when they disagree.

1. identifiers: click ids, and what the identifiers of a person find, weighed by how often they find what a click id
   knows. It holds where the two depend on each other only by ad.
2. evidence: identifiers, and the posterior of the others, weighed by how often the cause is among the candidates. It
   holds where the posterior is calibrated.
3. withheld: what the posterior says of the others on average lies between what it says of conversions an ad caused,
   seen where an identifier is withheld, and of organic ones, which are made by withholding the clicks of the household,
   too. It needs no calibration, but that both are like the others.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.state import Account
from processors.totals.sums import Sums

__all__ = ["NAMES", "AccountTotals", "account_totals", "disagreement", "withheld_total"]

Floats = npt.NDArray[np.float64]

NAMES = ("identifiers", "evidence", "withheld")


class AccountTotals(NamedTuple):
    """Conversions that an ad caused. totals: by NAMES, shape (3, replicates); median: shape (replicates,)."""

    totals: Floats
    median: Floats


def account_totals(sums: Sums, by_identifiers: Floats, by_evidence: Floats) -> AccountTotals:
    """The three totals from conversions without click id by ad, shape (ads, replicates), and their median.

    None is less than what identifiers match, nor more than there are conversions.
    """
    click, person = sums.click.sum(axis=0), sums.person.sum(axis=0)
    totals = np.stack(
        [click + by_identifiers.sum(axis=0), click + by_evidence.sum(axis=0), click + person + withheld_total(sums)]
    )
    totals = np.clip(totals, click + person, np.maximum(sums.account[Account.ALL], click + person))
    return AccountTotals(totals, np.median(totals, axis=0))


def withheld_total(sums: Sums) -> Floats:
    """Conversions without identifier that an ad caused, by what the evidence says of those that are known.

    Shape (replicates,). Where it says the same of both, all that can be said is what it says itself.
    """
    account = sums.account
    caused = account[Account.WITHHELD_MASS] / np.maximum(account[Account.WITHHELD], 1e-9)
    organic = account[Account.KNOCKED_OUT_MASS] / np.maximum(account[Account.KNOCKED_OUT], 1e-9)
    tells = caused - organic
    share = (account[Account.OPEN_MASS] - account[Account.OPEN] * organic) / np.where(tells > 0.02, tells, np.inf)
    share = np.where(tells > 0.02, share, account[Account.OPEN_MASS])
    found: Floats = np.clip(share, 0, account[Account.OPEN])
    return found


def disagreement(found: AccountTotals) -> tuple[float, float]:
    """By how much of their median the totals differ at most, and the standard error of that."""
    highest, lowest = found.totals[:, 0].argmax(), found.totals[:, 0].argmin()
    apart = found.totals[highest] - found.totals[lowest]
    median = max(float(found.median[0]), 1.0)
    return float(apart[0]) / median, float(apart[1:].std()) / median
