"""What no decision may exceed, in the currency's minor unit, and the budgets that keep it."""

from typing import NamedTuple

import numpy as np

from processors.decisions.bounds import bounded
from processors.decisions.compiled import Floats, Ints, Mask

__all__ = ["MOST_EDITS", "Allocation", "Limits", "allocate"]

#: Of an ad set's budget in an hour; then Meta refuses it for an hour.
MOST_EDITS = 4
_FREE, _ACCOUNT, _LEAST, _MOST, _OWN, _EDITS, _SMALL, _SWITCH = (
    "",
    "account budget",
    "least budget",
    "greatest budget",
    "share of your own split",
    "edits an hour",
    "change too small",
    "kill switch",
)


class Limits(NamedTuple):
    """Whole minor units of the currency; arrays of shape (ads,).

    account: daily budget. previous: budgets in force. least, most: of each ad's budget. edits: changes of each budget
    in the past hour. own: the advertiser's own budgets, of which no ad gets less than the share `kept`.
    is_stopped: the kill switch: nothing changes.
    """

    account: int
    previous: Ints
    least: Ints
    most: Ints
    edits: Ints
    own: Ints
    kept: float = 0.0
    is_stopped: bool = False


class Allocation(NamedTuple):
    """budgets: minor units, shape (ads,). bound: the limit that decided each, empty where none did."""

    budgets: Ints
    bound: list[str]


def allocate(shares: Floats, limits: Limits, smallest_change: float) -> Allocation:
    """Budgets as near to the shares as the limits allow.

    They sum to the account's budget wherever some budgets within the limits do. Where the least budgets are more than
    the account has, the ads with the smallest shares get nothing; where the greatest are less, the rest is not spent.
    A budget that may not be edited stays, whatever the others are. smallest_change: share of the budget in force by
    which one has to change to be changed at all.
    """
    if limits.is_stopped:
        return Allocation(limits.previous.copy(), [_SWITCH] * len(shares))
    wanted = np.where(np.isfinite(shares) & (shares > 0), shares, 0.0)
    low, high, bound = _bounds(limits)
    dropped = _dropped(wanted, low, high, limits)
    low, high = np.where(dropped, 0, low), np.where(dropped, 0, high)
    budgets = _whole(wanted, low, high, limits.account)
    small = (np.abs(budgets - limits.previous) < smallest_change * limits.previous) & ~dropped
    small &= (limits.previous >= low) & (limits.previous <= high) & (budgets != limits.previous)
    if small.any():
        pinned = np.where(small, limits.previous, low), np.where(small, limits.previous, high)
        calmer = _whole(wanted, *pinned, limits.account)
        if calmer.sum() == budgets.sum():
            budgets = calmer
        else:
            small[:] = False
    names = np.array(bound, object)
    names[(budgets == high) & (high > low)] = _MOST
    names[(budgets > low) & (budgets < high)] = _FREE
    names[dropped] = _ACCOUNT
    names[small & (budgets == limits.previous)] = _SMALL
    return Allocation(budgets, names.tolist())


def _bounds(limits: Limits) -> tuple[Ints, Ints, list[str]]:
    """The least and greatest budget of each ad, and what makes the least one."""
    own = np.ceil(np.clip(limits.kept, 0.0, 1.0) * np.maximum(limits.own, 0)).astype(np.int64)
    high = np.maximum(limits.most, 0)
    low = np.minimum(np.maximum(np.maximum(limits.least, own), 0), high)
    fixed = limits.edits >= MOST_EDITS
    low, high = np.where(fixed, limits.previous, low), np.where(fixed, limits.previous, high)
    names = np.where(fixed, _EDITS, np.where((own > limits.least) & (own > 0), _OWN, np.where(low > 0, _LEAST, _FREE)))
    return low, high, names.tolist()


def _dropped(wanted: Floats, low: Ints, high: Ints, limits: Limits) -> Mask:
    """Ads that get nothing, because not all least budgets can be paid: those with the smallest shares first."""
    dropped = np.zeros(len(low), np.bool_)
    excess = int(low.sum()) - limits.account
    for ad in np.argsort(wanted, kind="stable"):
        if excess <= 0:
            break
        if low[ad] > 0 and limits.edits[ad] < MOST_EDITS:
            dropped[ad] = True
            excess -= int(low[ad])
    return dropped


def _whole(wanted: Floats, low: Ints, high: Ints, account: int) -> Ints:
    """Whole numbers within the bounds that sum to the account's budget, where these allow, by largest remainder."""
    exact = bounded(wanted, low.astype(np.float64), high.astype(np.float64), float(account))
    whole = np.clip(np.floor(exact + 1e-6).astype(np.int64), low, high)
    missing = account - int(whole.sum())
    order = np.argsort(whole - exact, kind="stable")
    for step, room in ((1, high - whole), (-1, whole - low)):
        if step * missing <= 0:
            continue
        for ad in order[::step]:
            moved = min(int(room[ad]), 1, abs(missing))
            whole[ad] += step * moved
            missing -= step * moved
        for ad in order[::step]:
            moved = min(int(room[ad]) - 1, abs(missing)) if room[ad] > 1 else 0
            whole[ad] += step * moved
            missing -= step * moved
    return whole
