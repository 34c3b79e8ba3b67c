"""How many conversions of an account an ad caused, estimated in three ways; and when they disagree.

1. identifiers: click ids, and what the identifiers of a person find, weighed by how often they find what a click id
   knows. It holds where the two depend on each other only by ad.
2. evidence: how often the posterior is sure of open conversions, more often than it is with the clicks that came after
   them, against the same where an identifier is withheld. It holds where organic buyers click as often before as after.
   Where nobody has asked for the clicks after: the posterior's shares, weighed by how often it can have the cause.
3. withheld: how often it is sure of open conversions, against conversions an ad caused, seen where an identifier is
   withheld, and organic ones, which are made by withholding the clicks of the household, too.

All but the first take conversions that only the person's identifiers match for the likes of those nothing matches.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.estimators import reached_shares
from processors.totals.state import Account
from processors.totals.sums import Sums

__all__ = ["NAMES", "AccountTotals", "account_totals", "disagreement"]

Floats = npt.NDArray[np.float64]

#: By how much the evidence has to be sure more often of caused conversions than of organic ones, to tell them apart.
LEAST_TOLD = 0.05
#: Conversions known twice, or withheld, or knocked out, with fewer of which nothing is estimated from them.
FEWEST_KNOWN = 30
NAMES = ("identifiers", "evidence", "withheld")


class AccountTotals(NamedTuple):
    """Conversions that an ad caused. totals: by NAMES, shape (3, replicates); median: shape (replicates,).

    is_founded: enough conversions are known twice for the totals to be held against each other.
    """

    totals: Floats
    median: Floats
    is_founded: bool


def account_totals(sums: Sums, by_identifiers: Floats) -> AccountTotals:
    """The three totals and their median. `by_identifiers`: conversions without click id by ad, (ads, replicates).

    None is less than what identifiers match, nor more than there are conversions. Where too few conversions are known
    both by click id and by an identifier of the person, the first says what the second does.
    """
    click, person = sums.click.sum(axis=0), sums.person.sum(axis=0)
    by_placebo, by_knock_outs = person + _by_placebo(sums), person + _by_knock_outs(sums)
    known_twice = _are_enough(sums.blind.sum(axis=0))
    totals = click + np.stack([by_identifiers.sum(axis=0) if known_twice else by_placebo, by_placebo, by_knock_outs])
    totals = np.clip(totals, click + person, np.maximum(sums.account[Account.ALL], click + person))
    return AccountTotals(totals, np.median(totals, axis=0), known_twice and _are_enough(sums.account[Account.WITHHELD]))


def _by_placebo(sums: Sums) -> Floats:
    """Open conversions that an ad caused, by what the evidence says of clicks before and after."""
    account = sums.account
    opened, known = account[Account.OPEN_PLACEBO], account[Account.WITHHELD_PLACEBO]
    more = _share(opened, account[Account.OPEN_BEFORE] - account[Account.OPEN_AFTER])
    more_of_known = _share(known, account[Account.WITHHELD_BEFORE] - account[Account.WITHHELD_AFTER])
    return _of_open(sums, more, more_of_known, np.zeros_like(more), is_told=_are_enough(opened, known))


def _by_knock_outs(sums: Sums) -> Floats:
    """Open conversions that an ad caused, by how much they are like known ones, and like made-up organic ones."""
    account = sums.account
    caused, organic = account[Account.WITHHELD], account[Account.KNOCKED_OUT]
    return _of_open(
        sums,
        _share(account[Account.OPEN], account[Account.OPEN_SURE]),
        _share(caused, account[Account.WITHHELD_SURE]),
        _share(organic, account[Account.KNOCKED_OUT_SURE]),
        is_told=_are_enough(caused, organic),
    )


def _are_enough(*counts: Floats) -> bool:
    return all(float(count[0]) >= FEWEST_KNOWN for count in counts)


def _of_open(sums: Sums, opened: Floats, caused: Floats, organic: Floats, is_told: bool) -> Floats:
    """How many of the open conversions are of the caused, whose mixture with organic ones they are.

    Where the evidence cannot tell the two apart, or there are too few: what it says itself, by how often it can have
    the cause.
    """
    tells = caused - organic if is_told else np.zeros_like(caused)
    share = np.where(tells >= LEAST_TOLD, (opened - organic) / np.maximum(tells, LEAST_TOLD), 0)
    found = np.where(tells >= LEAST_TOLD, share * sums.account[Account.OPEN], reached_shares(sums).sum(axis=0))
    limited: Floats = np.clip(found, 0, sums.account[Account.OPEN])
    return limited


def _share(of: Floats, part: Floats) -> Floats:
    """What the part is of the whole; none where there is nothing."""
    return part / np.maximum(of, 1e-9)


def disagreement(found: AccountTotals) -> tuple[float, float]:
    """By how much of their median the totals differ at most, and the standard error of that."""
    highest, lowest = found.totals[:, 0].argmax(), found.totals[:, 0].argmin()
    apart = found.totals[highest] - found.totals[lowest]
    median = max(float(found.median[0]), 1.0)
    return float(apart[0]) / median, float(apart[1:].std()) / median
